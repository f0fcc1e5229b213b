"""A Ray cluster on test hosts as a user makes one: the shipped on-prem file, edited, and `ray up` from a laptop."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

from tests.support.hosts import HOME, SOURCES, Host, make_key, until
from tests.support.hosts_network import joined

SHIPPED = SOURCES / "cluster.on-prem.yaml"
FILE = "/tmp/cluster.yaml"  # on the laptop
BUCKET, REGION = "bucket", "us-east-1"
KEYS = "[default]\naws_access_key_id = somebody\naws_secret_access_key = secret\n"
SMALL = "--object-store-memory=300000000"  # bytes; three of them share the memory of one machine
# Ray's own would be 65 s until a host that is silent is taken for dead, and 60 s until workers end without a head.
SOON = "RAY_health_check_period_ms=1000 RAY_health_check_timeout_ms=3000 RAY_gcs_rpc_server_reconnect_timeout_s=15"
NODES = "import json, ray; ray.init(address='auto', log_to_driver=False); print(json.dumps(ray.nodes()))"


class Cluster:
    """A laptop, a head and workers. The laptop has the switch of their network, and a server that speaks S3.

    Args:
        hosts: the laptop, the head, the workers.
    """

    def __init__(self, hosts: list[Host]) -> None:
        self.laptop, self.head, *self.workers = hosts
        self.server = f"http://{self.laptop.address}:9000"
        self._requests = self.laptop.tmp / "s3.txt"

    def serve_storage(self) -> None:
        """A server that speaks S3, with an empty bucket."""
        folder = self.laptop.home / ".aws"
        folder.mkdir()
        (folder / "credentials").write_text(KEYS)
        self.laptop.run(f"moto_server --host {self.laptop.address} --port 9000 > {self._requests.name} 2>&1 &")
        until(lambda: "Running on" in self._requests.read_text(), 60, self._requests.read_text)
        self.python(f"import boto3; boto3.client('s3').create_bucket(Bucket='{BUCKET}')")

    def up(self) -> None:
        """`ray up`; all hosts are in the cluster when it returns."""
        (self.laptop.tmp / Path(FILE).name).write_text(yaml.safe_dump(self._edited(SHIPPED.read_text())))
        self.laptop.run("ray get-auth-token --generate")
        self.ray(f"up -y {FILE}")
        log = "tail -n 20 /tmp/ray/session_latest/logs/monitor.*"
        until(lambda: len(self.alive()) == 1 + len(self.workers), 180, lambda: self.head.run(log))

    def ray(self, command: str) -> str:
        """What Ray's command line on the laptop prints, in the folder of the sources."""
        return self.laptop.run(f"cd {shlex.quote(str(SOURCES))} && ray {command}", seconds=240, RAY_AUTH_MODE="token")

    def on_head(self, command: str, code: int = 0, **environment: str) -> str:
        """What a command prints on the head, in the environment that its shells have."""
        return self.head.run(f". {HOME}/cluster.env; {command}", code, seconds=120, **environment)

    def python(self, program: str) -> str:
        """What a program prints on the laptop, with access to the storage."""
        access = {"AWS_ENDPOINT_URL": self.server, "AWS_DEFAULT_REGION": REGION}
        return self.laptop.run(f"python -c {shlex.quote(program)}", **access)

    def alive(self) -> list[str]:
        """Addresses of the hosts that are in the cluster."""
        nodes = json.loads(self.on_head(f'python -c "{NODES}" 2> /dev/null').splitlines()[-1])
        return sorted(node["NodeManagerAddress"] for node in nodes if node["Alive"])

    def writers(self, search: str) -> dict[str, list[Host]]:
        """The workers that wrote a trial's checkpoints, in order, by trial, as the server saw it."""
        hosts = {host.address: host for host in self.workers}
        found: dict[str, list[Host]] = {}
        request = re.compile(rf'^(\S+) .*"PUT /{BUCKET}/runs/{search}/tune/\d+/(\w+)/checkpoint_')
        for line in unquote(self._requests.read_text()).splitlines():
            if match := request.match(line):
                found.setdefault(match[2], []).append(hosts[match[1]])
        return found

    def had_trials(self, host: Host) -> bool:
        """Whether a trial ran on a host, also one that died before its first checkpoint, as Ray's log there says."""
        logs = host.tmp.glob("ray/session_2*/logs/worker-*.out")
        return any(":actor_name:Trial" in log.read_text(errors="replace") for log in logs)

    def _edited(self, text: str) -> dict[str, Any]:
        """The shipped file with what it tells a user to edit, for small hosts that need not install anything."""
        for mark in ("# ~/.aws/credentials", "# export AWS_ENDPOINT_URL"):
            assert mark in text
            text = text.replace(mark, mark.removeprefix("# "))
        shipped = yaml.safe_load(text)
        variables, install = shipped["setup_commands"]
        assert "pip install" in install
        storage = f"s3://{BUCKET}"
        for name, value in (("STORAGE", storage), ("AWS_ENDPOINT_URL", self.server), ("AWS_DEFAULT_REGION", REGION)):
            variables, found = re.subn(rf"\b{name}=\S+", f"{name}={value}", variables)
            assert found == 1, name
        link = f"ln -sfn {shlex.quote(sys.prefix)} ~/breast-ultrasound/.venv"
        sources = "PYTHONPATH=$HOME/breast-ultrasound"  # those that `ray up` copied
        addresses = {"head_ip": self.head.address, "worker_ips": [host.address for host in self.workers]}
        shipped["head_start_ray_commands"][-1] += f" {SMALL}"
        shipped["worker_start_ray_commands"][-1] += f" {SMALL} --num-cpus=1"
        return {
            **shipped,
            "provider": {**shipped["provider"], **addresses},
            "auth": {"ssh_user": "root", "ssh_private_key": "~/.ssh/cluster"},
            "setup_commands": [variables, link, f'echo "export {sources} {SOON}" >> ~/cluster.env'],
        }


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A laptop, a head and two workers, after `ray up`."""
    key = folder / "key"
    make_key(key)
    with joined(["laptop", "head", "worker1", "worker2"], folder, key) as hosts:
        made = Cluster(hosts)
        shutil.copy(key, made.laptop.home / ".ssh" / "cluster")
        made.serve_storage()
        made.up()
        yield made
