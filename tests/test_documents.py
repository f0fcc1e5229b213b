"""Every command of README and docs runs as it stands; its flags exist, and links lead somewhere."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from operator import attrgetter
from pathlib import Path

import pytest

from orchestrator.config.cli import make_parser
from tests.support.commands import SETTINGS
from tests.support.documents import PAGES, ROOT, Block, blocks, make_workplace, run, shell_blocks

SHELL = [block for page in PAGES for block in shell_blocks(page)]
NAME = attrgetter("name")
FLAGS = {name: set(make_parser(model, name, None)._option_string_actions) for name, model in SETTINGS.items()}


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Of a user who has activated nothing."""
    hidden = ("MLFLOW_", "RAY_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return {**kept, "PYTHONPATH": str(ROOT), "no_proxy": "localhost,127.0.0.1", "COLUMNS": "200"}


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """What the pages speak of, with one small search and its ensemble."""
    folder = make_workplace(tmp_path_factory.mktemp("a place with spaces"))
    environment["PATH"] = f"{folder}/.venv/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
    made = run(
        "breast-ultrasound search --data path/to/images --name NAME; breast-ultrasound ensemble --promote always",
        folder,
        environment,
    )
    assert made.returncode == 0, made.stdout
    (folder / "said.txt").write_text(made.stdout)
    return folder


@contextmanager
def serving(block: Block, port: int, workplace: Path, environment: dict[str, str]) -> Iterator[None]:
    """A block that serves, until it is not needed any more."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            pytest.skip(f"port {port} is taken")
    with (workplace / f"{port}.log").open("w") as log:
        server = subprocess.Popen(
            ["bash", "-e", "-c", block.text],
            cwd=workplace,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while server.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        else:
            pytest.fail(f"{block.place}: {(workplace / f'{port}.log').read_text()}")
        yield
    finally:
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # minutes, on a machine that does other things, too
@pytest.mark.parametrize("page", [page for page in PAGES if any(one.runs for one in shell_blocks(page))], ids=NAME)
def test_commands_run_as_they_stand(page: Path, workplace: Path, environment: dict[str, str]) -> None:
    with ExitStack() as servers:
        for block in shell_blocks(page):
            if block.port:
                servers.enter_context(serving(block, block.port, workplace, environment))
            elif block.runs:
                done = run(block.text, workplace, environment)
                assert done.returncode == 0, f"{block.place}: {done.stdout}"


@pytest.mark.slow
def test_advice_of_commands_runs_as_it_stands(workplace: Path, environment: dict[str, str]) -> None:
    said = (workplace / "said.txt").read_text()
    for lead in ("go on with  ", "leaderboard  ", "use it  "):
        (command,) = re.findall(rf"^{lead} *(.*)$", said, re.MULTILINE)
        done = run(command, workplace, environment)
        assert done.returncode == 0, f"{command}: {done.stdout}"


@pytest.mark.parametrize("block", SHELL, ids=attrgetter("place"))
def test_commands_are_shell(block: Block) -> None:
    assert not block.mark or block.port or block.mark.removeprefix("no-run: ") != block.mark
    assert subprocess.run(["bash", "-n", "-c", block.text], check=False).returncode == 0
    for target in re.findall(r"^make ([a-z-]+)", block.text, re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


@pytest.mark.parametrize("page", PAGES, ids=NAME)
def test_flags_exist(page: Path) -> None:
    for name, words in re.findall(r"(?:breast-ultrasound |-m orchestrator\.)([a-z]+)\b([^\n`#]*)", page.read_text()):
        if name in FLAGS:  # others have parsers of their own
            unknown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", words)) - FLAGS[name]
            assert not unknown, f"{name}: {unknown}"


@pytest.mark.parametrize("page", PAGES, ids=NAME)
def test_blocks_say_what_they_are_and_links_lead_somewhere(page: Path) -> None:
    assert all(block.language for block in blocks(page))
    for link in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), link
