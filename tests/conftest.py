"""Shared fixtures. Real BUSI images live outside the repository; tests that need them skip where they are absent."""

from __future__ import annotations

import os
from pathlib import Path

# One thread a process: two test processes on two cores must not fight (set before numpy and torch are imported).
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

#: Collected where it is named alone: it alters torch for its process.
APART = Path(__file__).parent / "pretended_gpu"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--plugin FILE`: the contract tests, of what it registers, too."""
    parser.addoption("--plugin", action="append", default=[], metavar="FILE.py", help="a plugin to run first")


def pytest_configure(config: pytest.Config) -> None:
    """Before tests are collected, of each name in the registries."""
    if files := config.getoption("plugin"):
        from trainables import plugins

        plugins.load(*files)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what needs a process of its own, unless it was asked for."""
    asked = [Path(argument.split("::")[0]).resolve() for argument in config.args]
    named = any(path == APART or APART in path.parents for path in asked)
    return True if collection_path == APART and not named else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    needing = [item for item in items if item.get_closest_marker("cuda")]
    if needing:
        import torch

        if not torch.cuda.is_available():
            for item in needing:
                item.add_marker(pytest.mark.skip(reason="no GPU that torch can use"))


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"real images not on this machine: {folder} is absent")
    return folder


@pytest.fixture(scope="session")
def busi_256() -> Path:
    """625 BUSI images shrunk to 256 px."""
    return _shared("busi-256")


@pytest.fixture(scope="session")
def busi_original() -> Path:
    """36 BUSI images, original bytes: several masks, near-duplicate pairs, one pair with conflicting classes."""
    return _shared("busi-original-sample")


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic dataset, as files."""
    from trainables.data import write_phantom

    return write_phantom(tmp_path_factory.mktemp("data") / "phantom", images=40, seed=3)


@pytest.fixture(scope="session")
def prepared(phantom: Path, tmp_path_factory: pytest.TempPathFactory):
    """The small synthetic dataset, prepared at 64 px."""
    from trainables.data import prepare, read_manifest

    return prepare(read_manifest(phantom), tmp_path_factory.mktemp("cache"), size=64)


@pytest.fixture(scope="session")
def ray_local():
    """One Ray for all tests that search in this process."""
    from orchestrator.cluster.session import ray_session

    with ray_session():
        yield
