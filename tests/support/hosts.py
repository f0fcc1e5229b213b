"""Hosts on one machine: each has its own network, processes, /tmp, /dev/shm, home folder and sshd, as a real one has.

They see one file system with the same source tree and virtual environment; what is in /tmp, /dev/shm or the home folder
of a host is that host's alone. Nothing of them is on the machine itself, so nothing is left when their processes end.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

Found = TypeVar("Found")

SOURCES = Path(__file__).resolve().parents[2]
HOME = Path("~root").expanduser()
PATH = f"{sys.prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ALONE = ("--fork", "--kill-child", "--mount-proc", "--pid", "--mount", "--uts", "--ipc", "--net")
SSHD = f"HostKey {HOME}/.ssh/host_key\nPidFile none\nUsePAM no\nUseDNS no\nStrictModes no\nMaxStartups 100\n"
BEGIN = """\
set -e
folder=$1 home=$2 name=$3 sshd=$4; shift 4
while [ $# -gt 0 ]; do mount --bind "$1" "$2"; shift 2; done
mount --bind "$folder/hosts" /etc/hosts
mount --bind /dev/null /etc/resolv.conf
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir /run/sshd
hostname "$name"
ip link set lo up
mount --rbind "$folder/home" "$home"
mount --rbind "$folder/tmp" /tmp
exec "$sshd" -D -e -f "$home/.ssh/sshd_config"
"""


class Host:
    """A host with an sshd; it ends, with all that runs on it, as the block is left.

    Args:
        folder: what is this host's alone: `tmp` and `home` within it are its /tmp and its home folder.
        key: file of the private key that its sshd lets in.

    Attributes:
        first: process id, on the machine, of its first process.
    """

    def __init__(self, name: str, address: str, folder: Path, key: Path) -> None:
        self.name, self.address, self.folder = name, address, folder
        self.tmp, self.home = folder / "tmp", folder / "home"
        self._key, self._log = key, folder / "sshd.txt"

    def __enter__(self) -> Self:
        self._furnish()
        words = [str(self.folder), str(HOME), self.name, str(shutil.which("sshd")), *self._shown()]
        # The kernel ends the host if the tests die, however they die.
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", *ALONE, "bash", "-c", BEGIN, "begin", *words]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until(lambda: "Server listening" in self._log.read_text(), 20, self._log.read_text)
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
            self.first = int(children.read_text())
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self) -> None:
        """SIGKILL to its first process: the kernel ends all others, and takes away its network and its mounts."""
        if self._process.poll() is None:
            os.kill(self.first, signal.SIGKILL)
        self._process.wait()

    @property
    def is_on(self) -> bool:
        """Whether it has power."""
        return self._process.poll() is None

    def run(self, command: str, code: int = 0, seconds: float = 60, **environment: str) -> str:
        """What a shell command prints, run in the host's /tmp; it must end with this exit code, in this time."""
        inside = ["nsenter", "--target", str(self.first), "--mount", "--uts", "--ipc", "--net", "--pid", "--wdns=/tmp"]
        given = {"PATH": PATH, "HOME": str(HOME), "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", **environment}
        variables = [f"{key}={value}" for key, value in given.items()]
        words = [*inside, "env", "-i", *variables, "timeout", "--kill-after", "5", str(seconds), "bash", "-c", command]
        out = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = out.stdout.decode(errors="replace")
        assert out.returncode == code, f"{command}\nended with {out.returncode} on {self.name}:\n{said}"
        return said

    def _furnish(self) -> None:
        ssh = self.home / ".ssh"
        ssh.mkdir(parents=True)
        self.tmp.mkdir()
        self.tmp.chmod(0o1777)
        shutil.copy(self._key.with_suffix(".pub"), ssh / "authorized_keys")
        make_key(ssh / "host_key")
        (ssh / "sshd_config").write_text(SSHD)
        (self.home / ".bashrc").write_text(f"export PATH={shlex.quote(PATH)}\n")
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n{self.address} {self.name}\n")

    def _shown(self) -> list[str]:
        """Sources and Python that lie below a folder that the host has of its own, and where they are to be seen."""
        shown: list[str] = []
        for place in sorted({SOURCES, Path(sys.prefix), Path(sys.base_prefix)}):
            for hidden, own in ((Path("/tmp"), self.tmp), (HOME, self.home)):
                if place.is_relative_to(hidden):
                    (own / place.relative_to(hidden)).mkdir(parents=True, exist_ok=True)
                    shown += [str(place), str(own / place.relative_to(hidden))]
        return shown


def make_key(file: Path) -> None:
    """A key for SSH without a passphrase; its public half is beside it."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)


def until(condition: Callable[[], Found], seconds: float, said: Callable[[], str]) -> Found:
    """Wait for something to be true; its value. It fails with what was `said` if that takes longer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited for {seconds:.0f} s:\n{said()}")
