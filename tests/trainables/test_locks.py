"""Locks: one process at a time, asked for without being taken, and free when their holder dies."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainables import locks

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from trainables import locks
lock = locks.take(Path(sys.argv[1]))
print(lock is not None, flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(file: Path) -> Iterator[subprocess.Popen[str]]:
    """That holds the lock until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "True\n"
        yield process


def test_one_holds_and_the_others_are_told(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with another_process(file):
        assert locks.is_held(file)
        assert locks.take(file) is None
    assert not locks.is_held(file)
    lock = locks.take(file)
    assert lock
    assert locks.take(file, 0) is None, "in the same process, too"
    locks.release(lock)
    assert not list(tmp_path.iterdir())


def test_who_is_killed_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with another_process(file) as process:
        process.kill()
    assert file.exists()
    assert not locks.is_held(file)
    assert locks.take(file)


def test_who_waits_goes_on_when_the_other_lets_go(tmp_path: Path) -> None:
    file, done = tmp_path / "lock", threading.Event()

    def wait() -> None:
        with locks.held(file):
            done.set()

    with another_process(file) as process:
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not done.is_set()
        process.communicate()
        assert done.wait(60)
        waiting.join()
    assert not file.exists()


def test_looking_makes_no_file(tmp_path: Path) -> None:
    assert not locks.is_held(tmp_path / "nowhere" / "lock")
    assert not locks.is_held(tmp_path / "lock")
    assert not list(tmp_path.iterdir())
