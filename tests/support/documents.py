"""The blocks of the project's pages, and a folder in which their commands run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
#: What `search` and `ensemble` are given besides, so that seconds will do.
SMALL = {
    "search": "--trials 1 --epochs 1 --image-size 64 --batch-size 8 --no-ensemble",
    "ensemble": "--top-k 1 --boost-rounds 0 --no-out-of-fold",
}
COMMAND = """#!/bin/bash
case $1 in
{cases}
esac
exec {python} -m orchestrator "$@" $more
"""


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        language: "" where none is named. mark: what stands behind it: "no-run: WHY", or "serves PORT" of a command
            that goes on to the page's end.
    """

    page: Path
    line: int
    language: str
    mark: str
    text: str

    @property
    def place(self) -> str:
        """Page and line."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def runs(self) -> bool:
        """Whether it can run anywhere."""
        return not self.mark.startswith("no-run: ")

    @property
    def port(self) -> int | None:
        """Where it serves."""
        return int(self.mark.removeprefix("serves ")) if self.mark.startswith("serves ") else None


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    text = page.read_text()
    found = re.finditer(r"^```(\w*) ?(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE)
    return [Block(page, text.count("\n", 0, one.start()) + 1, *one.groups()) for one in found]


def shell_blocks(page: Path) -> list[Block]:
    """Its commands."""
    return [block for block in blocks(page) if block.language == "sh"]


def make_workplace(folder: Path) -> Path:
    """A folder with what the pages speak of: an environment, images, a small search with its ensemble as champion."""
    from trainables.data import write_phantom

    for seed, name in enumerate(("path/to/images", "other/images", "BUSI", "BUS-UCLM", "BUS-BRA"), start=3):
        write_phantom(folder / name, images=24, seed=seed)
    shutil.copy(next((folder / "other/images").rglob("*[0-9).].png")), folder / "image.png")
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text('export PATH="$PWD/.venv/bin:$PATH"\n')
    cases = "\n".join(f"  {name}) more='{words}' ;;" for name, words in SMALL.items())
    scripts = {
        "python": f'#!/bin/bash\nexec {sys.executable} "$@"\n',
        "breast-ultrasound": COMMAND.format(cases=cases, python=sys.executable),
    }
    for name, text in scripts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return folder


def run(block: str, workplace: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run commands as they stand, to the first that fails."""
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", block],
        cwd=workplace,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
