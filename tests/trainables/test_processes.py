"""Which process is meant, among those of all hosts and containers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trainables.processes import identity, lives

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")


def test_this_process_lives_and_another_beginning_of_its_id_does_not() -> None:
    boot, space, pid, began = identity().split()
    assert lives(identity()) is True
    assert lives(f"{boot} {space} {pid} {int(began) - 1}") is False


def test_one_that_has_ended_is_dead() -> None:
    tell = "from trainables.processes import identity; print(identity())"
    told = subprocess.run([sys.executable, "-c", tell], capture_output=True, text=True, check=True).stdout
    assert lives(told) is False


@pytest.mark.parametrize("part", [0, 1])
def test_of_another_boot_or_container_nothing_is_known(part: int) -> None:
    told = identity().split()
    told[part] = "another"
    assert lives(" ".join(told)) is None
    assert lives("") is lives("many") is None
