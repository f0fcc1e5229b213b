"""Ray on this host, or a way into a cluster."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import ray
from ray._private import ray_constants
from ray._raylet import Config  # type: ignore[attr-defined]  # its stubs are not whole

from orchestrator.cluster.deaths import death
from orchestrator.common import signals
from orchestrator.common.errors import UserError, first_line

log = logging.getLogger(__name__)

#: Workers import torch, OpenMP and OpenCV with one thread; a trial then takes as many as it has cores.
WORKER_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"),
    "NO_ALBUMENTATIONS_UPDATE": "1",
}
#: How often Ray is begun on a host that is too busy for it.
STARTS = 3


class RayStartError(Exception):
    """Ray did not start on this host, which is nobody's input."""


@contextlib.contextmanager
def ray_session(address: str = "", dashboard: bool = False) -> Iterator[None]:
    """Ray on this host, or the cluster at `address` or RAY_ADDRESS; a Ray that this process uses already goes on.

    Raises:
        UserError: no cluster there, or it does not let this process in; or Ray cannot have its sockets here.
        RayStartError: this host is too busy for Ray to start.
    """
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS", "")
    local = address in ("", "local")
    runtime_env: dict[str, Any] = {"env_vars": WORKER_ENVIRONMENT}
    if shlex.quote(sys.executable) != sys.executable:
        # Ray starts such workers through a shell and does not quote this: where the path has a space none would start.
        # On a cluster the other hosts must have it under the same path.
        runtime_env["py_executable"] = shlex.quote(sys.executable)
    if dashboard and importlib.util.find_spec("aiohttp_cors") is None:
        raise UserError('--dashboard: Ray\'s dashboard is not installed; pip install "ray[default]", or leave it out')
    shared: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "runtime_env": runtime_env}
    if local:
        _start(include_dashboard=dashboard, **shared)
    else:
        _join(address, **shared)
    try:
        yield
    except ray.exceptions.RayError as error:
        raise death(error) from None
    finally:
        ray.shutdown()


def _start(**options: Any) -> None:
    """Ray on this host. Where it is too busy, Ray gives up after half a minute; it is begun again, from nothing.

    Raises:
        UserError: where it keeps its files is no place for that. RayStartError: all tries failed.
    """
    # Its agents, too: else they end it after 15 s, and Ray this process, without a word.
    os.environ.setdefault("RAY_agent_register_timeout_ms", "60000")
    for left in reversed(range(STARTS)):
        before = _children()
        try:
            with _own_sigterm(), _witnessed(), _closed():
                ray.init(address="local", **options)
            return
        except Exception as error:  # Ray's own has no class
            ray.shutdown()
            for process in _children() - before:  # what the failed start left running
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            if isinstance(error, OSError) and "AF_UNIX" in str(error):
                raise UserError(
                    "TMPDIR is too long a path for the sockets that Ray makes below it; give Ray a short one, as in "
                    "RAY_TMPDIR=/tmp"
                ) from None
            if not left:
                raise RayStartError(
                    f"Ray did not start on this host in {STARTS} tries ({first_line(error)}); wait until the host is "
                    "less busy, then run it again"
                ) from error
            log.warning("Ray did not start (%s); trying again", first_line(error))


@contextlib.contextmanager
def _witnessed() -> Iterator[None]:
    """Where a start fails, Ray may end this process from C++, in which nothing of Python runs: another says so."""
    if sys.platform == "win32":
        yield
        return
    words = "failed: Ray ended this process as it started; wait until the host is less busy, then run it again"
    # It says what it is told to, or these words where it is told nothing.
    script = 'read -r line || line=$0; [ -z "$line" ] || echo "$line" >&2'
    witness = subprocess.Popen(
        ["/bin/sh", "-c", script, words], stdin=subprocess.PIPE, stderr=signals.stderr(), start_new_session=True
    )
    assert witness.stdin
    with witness, signals.heard_on(witness.stdin.fileno()):
        try:
            yield
        finally:
            witness.stdin.write(b"\n")


def _children() -> set[int]:
    """Ids of the processes that this one has started, and they."""
    import psutil  # Ray carries it, and makes it known

    return {process.pid for process in psutil.Process().children(recursive=True)}


def _join(address: str, **options: Any) -> None:
    """The cluster at an address.

    Raises:
        UserError: none is there, or it does not let this process in.
    """
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")  # one try of 40 s, not 20 of them
    try:
        with _own_sigterm():
            ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(
            f"--address {address}: no way into a Ray cluster there ({first_line(error)[:120]}); start one, or give "
            "this user its token: ~/.ray/auth_token and RAY_AUTH_MODE=token (docs/cluster.md)"
        ) from None


@contextlib.contextmanager
def _closed() -> Iterator[None]:
    """A Ray that starts within it listens on 127.0.0.1 alone, and asks whoever comes for this user's token.

    By default its servers listen on all interfaces, and not every version asks for a token. On macOS and Windows it
    takes 127.0.0.1 for its address, and then all of its servers listen there; this is what tells it so here. An
    address that is given to `ray.init` it would turn into that of the network again.
    """
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        Config.initialize("")  # what this process has read of the environment before
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """`ray.init` makes SIGTERM an exit with code 15 and no word; afterwards it is again what it was."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:
        raise signals.Terminated from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
