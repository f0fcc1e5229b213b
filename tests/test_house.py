"""The house: no arrow upwards, and each package says what others may import of it."""

from __future__ import annotations

import ast
import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("orchestrator", "trainables", "search_spaces")
PACKAGES = sorted(file.parent.relative_to(ROOT) for name in SOURCES for file in (ROOT / name).rglob("__init__.py"))


def _imports(file: Path) -> set[str]:
    """What a file imports, dotted: modules, and names of modules as `module.name`."""
    found = set[str]()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


IMPORTS = {
    file: _imports(file) for name in (*SOURCES, "benchmarks", "tests") for file in sorted((ROOT / name).rglob("*.py"))
}


def _taken(package: str, by: tuple[str, ...]) -> set[str]:
    """What files of these folders, outside the package, import of it: its names, or its modules."""
    own, found = ROOT.joinpath(*package.split(".")), set[str]()
    for file, names in IMPORTS.items():
        if file.relative_to(ROOT).parts[0] in by and own not in file.parents:
            found |= {
                name.removeprefix(f"{package}.").partition(".")[0] for name in names if name.startswith(f"{package}.")
            }
    return found


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: ".".join(package.parts))
def test_a_package_names_all_that_others_import_of_it_and_nothing_else(package: Path) -> None:
    name = ".".join(package.parts)
    face = set(importlib.import_module(name).__all__)
    for one in face:  # a name, or a module of the package
        assert hasattr(importlib.import_module(name), one) or importlib.import_module(f"{name}.{one}")
    if name != "orchestrator":  # whose face is for those who use it from Python
        assert _taken(name, SOURCES) <= face
        assert face <= _taken(name, (*SOURCES, "benchmarks", "tests"))


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        (
            "orchestrator/common/errors.py",
            "import orchestrator.ensemble.run",
            "a floor imports only from floors below it",
        ),
        ("orchestrator/inference/part.py", "import sklearn", "what ships knows nothing of Ray"),
        ("trainables/training.py", "import ray", "a trial is a plain Python call"),
        ("trainables/data/splits.py", "import torch", "data are read without torch"),
    ],
)
def test_a_planted_arrow_is_found(file: str, line: str, broken: str, tmp_path: Path) -> None:
    for name in (*SOURCES, "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    assert _lint(tmp_path).returncode == 0
    with (tmp_path / file).open("a") as source:
        source.write(f"\n{line}\n")
    found = _lint(tmp_path)
    assert found.returncode == 1
    assert any(broken in said and "BROKEN" in said for said in found.stdout.splitlines())
