"""A network of test hosts: a switch, cables, a power cut; and why there may be none on this machine."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.hosts import ALONE, Host

NEEDED = ("setpriv", "unshare", "nsenter", "mount", "ip", "sshd", "ssh", "ssh-keygen", "rsync")


@contextmanager
def joined(names: list[str], folder: Path, key: Path) -> Iterator[list[Host]]:
    """Hosts of these names, with a switch on the first; what is beyond their network cannot be reached, at once."""
    hosts = [Host(name, f"10.77.0.{n}", folder / name, key) for n, name in enumerate(names, start=1)]
    with ExitStack() as stack:
        for host in hosts:
            stack.enter_context(host)
        first, *others = hosts
        first.run(f"ip link add switch type bridge && ip addr add {first.address}/24 dev switch")
        first.run("ip link set switch up && ip route add unreachable default && sysctl -qw net.ipv4.ip_forward=1")
        for host in others:
            cable = f"ip link add name {host.name} type veth peer name eth0 netns {host.first}"
            subprocess.run(["nsenter", "--target", str(first.first), "--net", *cable.split()], check=True)
            first.run(f"ip link set dev {host.name} master switch up")
            host.run(f"ip addr add {host.address}/24 dev eth0 && ip link set eth0 up")
            host.run(f"ip route add default via {first.address}")
        yield hosts


def cut_power(host: Host, switch: Host) -> None:
    """End a host at once; the others hear nothing more of it, not even that its connections end."""
    switch.run(f"ip link set dev {host.name} down")
    host.end()


def why_not() -> str:
    """Why there can be no such hosts on this machine; "" where there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "it takes root on Linux"
    if shlex.quote(sys.prefix) != sys.prefix:
        return f"Ray does not quote the path of Python, {sys.prefix}: no worker would start"
    if missing := [name for name in NEEDED if not shutil.which(name)]:
        return f"there is no {', '.join(missing)}"
    attempt = ["unshare", *ALONE, "bash", "-c", "mount -t tmpfs tmpfs /run && ip link add switch type bridge"]
    found = subprocess.run(attempt, capture_output=True, text=True)
    return "" if found.returncode == 0 else f"no namespace with a bridge can be made: {found.stderr.strip()}"
