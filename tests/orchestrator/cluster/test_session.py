"""A Ray session leaves the process's own ways alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import signal

from orchestrator.cluster.session import ray_session

def mine(number, frame):
    print("mine")

signal.signal(signal.SIGTERM, mine)
with ray_session():
    signal.raise_signal(signal.SIGTERM)
"""


@pytest.mark.slow
def test_sigterm_is_handled_as_before_the_session() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stdout) == (0, "mine\n"), done.stderr[-2000:]
