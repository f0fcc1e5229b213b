"""A Ray session leaves the process's own ways alone, and lets nobody in from elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import ray
from ray._private import services

from orchestrator.cluster.session import ray_session

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


@pytest.mark.parametrize(("address", "here"), [("", True), ("local", True), ("10.0.0.1:6379", False)])
def test_a_ray_of_this_host_takes_loopback_for_its_address(
    address: str, here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # who decides that himself is heeded
    began = list[str]()
    monkeypatch.setattr(services, "node_ip_address_from_perspective", lambda address: "10.0.0.2")
    monkeypatch.setattr(ray, "init", lambda **given: began.append(services.get_node_ip_address()))
    with ray_session(address):
        assert services.get_node_ip_address() == "10.0.0.2"
    assert began == ["127.0.0.1" if here else "10.0.0.2"]
    assert os.environ["RAY_AUTH_MODE"] == "disabled"


LISTENING = """
import json
import os
import psutil
import ray

from orchestrator.cluster.session import ray_session

@ray.remote
def worker() -> str:
    return ray.util.get_node_ip_address()

with ray_session():
    assert ray.get(worker.remote()) == "127.0.0.1"
    here = psutil.Process()
    found = [
        (one.name(), one_socket.laddr.ip)
        for one in [here, *here.children(recursive=True)]
        for one_socket in one.net_connections("inet")
        if one_socket.status == psutil.CONN_LISTEN
    ]
print(json.dumps([found, os.environ["RAY_AUTH_MODE"]]))
"""


@pytest.mark.slow
def test_ray_on_this_host_listens_to_nobody_elsewhere_and_wants_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psutil", reason="psutil is not installed")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    done = subprocess.run([sys.executable, "-c", LISTENING], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-2000:]
    sockets, mode = json.loads(done.stdout)
    assert {name for name, _ in sockets} >= {"gcs_server", "raylet"}
    assert [one for one in sockets if one[1] not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")] == []
    assert mode == "token"
