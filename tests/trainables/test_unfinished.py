"""What is being written: nobody else's while its writer lives, and gone with the next command once that is dead."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from orchestrator.storage.atomic import write_arrays, write_text
from orchestrator.storage.run_folder import RunFolder
from trainables import processes, unfinished
from trainables.models import provenance
from trainables.models.provenance import Provenance

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from contextlib import ExitStack
from pathlib import Path
from trainables import unfinished
with ExitStack() as open_parts:
    for folder in sys.argv[1:]:
        Path(folder).mkdir(parents=True, exist_ok=True)
        open_parts.enter_context(unfinished.beside(Path(folder) / "file")).write_text("half")
        made = open_parts.enter_context(unfinished.beside(Path(folder) / "model"))
        made.mkdir()
        (made / "weights").write_text("half")
    print("written", flush=True)
    sys.stdin.read()
"""
SAID = Provenance("somebody", "MIT", "", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def writer(*folders: Path) -> subprocess.Popen[str]:
    """A process with a half-written file and folder in each."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, *map(str, folders)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout
    assert process.stdout.readline() == "written\n"
    return process


def test_what_lives_is_left_alone_and_what_was_killed_goes(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "runs" / "a")
    folders = (run.path, run.pictures, run.predictions, run.winners / "1", run.path.parent)
    with writer(*folders) as process:
        run.sweep()
        assert [len(list(folder.glob(".*.part"))) for folder in folders] == [2] * len(folders)
        process.kill()
        process.wait()
        run.sweep()
    assert not list(tmp_path.rglob("*.part"))


def test_whoever_writes_there_next_sweeps(tmp_path: Path) -> None:
    with writer(tmp_path) as process:
        process.kill()
        process.wait()
    write_text(tmp_path / "summary.json", "{}")
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize(("hours", "stays"), [(1, True), (30, False)])
def test_what_another_host_writes_goes_after_a_day(hours: int, stays: bool, tmp_path: Path) -> None:
    part = tmp_path / ".file.00000000-1-0-0.part"
    part.touch()
    os.utime(part, (time.time() - 3600 * hours,) * 2)
    unfinished.sweep(tmp_path)
    assert part.exists() == stays


def test_what_a_dead_process_left_goes_though_its_id_was_given_again(tmp_path: Path) -> None:
    with unfinished.beside(tmp_path / "a") as part:
        began = processes.beginning(os.getpid())
        assert f"-{began}-" in part.name
        part.touch()
        (tmp_path / part.name.replace(f"-{began}-", "-1-")).touch()
        unfinished.sweep(tmp_path)
        assert list(tmp_path.iterdir()) == [part]


def test_what_others_call_so_stays(tmp_path: Path) -> None:
    names = ["fold-1.part", ".a.part", ".notes-of-mine.part", ".-1-.part"]
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    unfinished.sweep(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(names)


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    with suppress(ZeroDivisionError), unfinished.beside(tmp_path / "a") as part:
        part.mkdir()
        1 / 0  # noqa: B018
    assert not list(tmp_path.iterdir())


def test_writers_at_once_do_not_meet(tmp_path: Path) -> None:
    tensors = {name: torch.full((50,), float(i)) for i, name in enumerate("abcd")}
    weights = tmp_path / "encoder.safetensors"

    def write(i: int) -> None:
        provenance.write(weights, {name: one + i % 4 for name, one in tensors.items()}, SAID)
        write_text(tmp_path / "text", f"{i}\n" * 50)
        write_arrays(tmp_path / "arrays.npz", {"a": np.full(50, i)})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(40)))
    found = provenance.read(weights)
    assert found
    assert found.source == SAID.source
    assert len(set((tmp_path / "text").read_text().split())) == 1
    assert len(set(np.load(tmp_path / "arrays.npz")["a"])) == 1
    assert {file.name for file in tmp_path.iterdir()} == {
        "encoder.safetensors",
        "encoder.json",
        "text",
        "arrays.npz",
    }
