"""Ray on this host, or a way into a cluster."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import ray
from ray._private import ray_constants
from ray._raylet import Config  # type: ignore[attr-defined]  # its stubs are not whole

from orchestrator.common.errors import UserError, first_line
from orchestrator.common.signals import Terminated

#: Workers import torch, OpenMP and OpenCV with one thread; a trial then takes as many as it has cores.
WORKER_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"),
    "NO_ALBUMENTATIONS_UPDATE": "1",
}


@contextlib.contextmanager
def ray_session(address: str = "", dashboard: bool = False) -> Iterator[None]:
    """Ray on this host, or the cluster at `address` or RAY_ADDRESS; a Ray that this process uses already goes on.

    Raises:
        UserError: no cluster there, or it does not let this process in.
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
    if not local:
        os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")  # one try of 40 s, not 20 of them
    try:
        with _own_sigterm(), _closed() if local else contextlib.nullcontext():
            ray.init(
                address=address or "local",
                include_dashboard=dashboard if local else None,
                log_to_driver=False,
                configure_logging=False,
                runtime_env=runtime_env,
            )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        if local:
            raise
        raise UserError(
            f"--address {address}: no way into a Ray cluster there ({first_line(error)[:120]}); start one, or give "
            "this user its token: ~/.ray/auth_token and RAY_AUTH_MODE=token (docs/cluster.md)"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


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
        raise Terminated from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
