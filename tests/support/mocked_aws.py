"""`ray up cluster.yaml` against a mocked AWS: Ray's own launcher and installer, with SSH alone replaced."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private import commands
from ray.autoscaler._private.aws import config as aws_config
from ray.autoscaler._private.aws import node_provider, utils
from ray.autoscaler.tags import NODE_KIND_WORKER, TAG_RAY_LAUNCH_CONFIG, TAG_RAY_NODE_KIND, TAG_RAY_USER_NODE_TYPE
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.instance_manager.ray_installer import RayInstaller

ROOT = Path(__file__).parents[2]
TOKEN = "0" * 64


@dataclass
class Hosts:
    """Stands for `subprocess` in Ray's launcher: files arrive in a folder for each address, commands are kept."""

    folder: Path
    ran: dict[str, list[str]] = field(default_factory=dict)
    DEVNULL = subprocess.DEVNULL

    def check_call(self, command: list[str], **_: Any) -> int:
        if command[0] == "rsync":
            address, _, target = command[-1].partition("@")[2].partition(":")
            place = self.folder / address / target.removeprefix("~/")
            place.parent.mkdir(parents=True, exist_ok=True)
            options = command[command.index("-avz") : -1]
            return subprocess.check_call(["rsync", *options, str(place)], stdout=subprocess.DEVNULL)
        (address,) = (word.partition("@")[2] for word in command if word.startswith("ubuntu@"))
        self.ran.setdefault(address, []).append(command[-1])
        return 0

    check_output = check_call

    def files(self, address: str) -> set[str]:
        folder = self.folder / address
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@dataclass
class Launched:
    """What `ray up` and a worker left behind in the mocked AWS and on its hosts."""

    config: dict[str, Any]
    hosts: Hosts
    head: dict[str, Any]
    worker: dict[str, Any]
    client: Any


@contextmanager
def launched(folder: Path) -> Iterator[Launched]:
    """`ray up cluster.yaml`, then a worker as the head's autoscaler makes it; AWS is mocked while this is open."""
    hosts = Hosts(folder / "hosts")
    laptop = folder / "laptop"
    (laptop / ".ray").mkdir(parents=True)
    (laptop / ".ray/auth_token").write_text(TOKEN)
    with pytest.MonkeyPatch.context() as patch, mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        patch.chdir(ROOT)
        patch.setenv("HOME", str(laptop))
        patch.setattr(aws_config, "time", SimpleNamespace(sleep=lambda _: None))  # 30 s for roles to spread
        patch.setattr(node_provider, "TAG_BATCH_DELAY", 0)
        patch.setattr(
            commands, "get_or_create_head_node", functools.partial(commands.get_or_create_head_node, _runner=hosts)
        )
        utils.resource_cache.cache_clear()
        utils.client_cache.cache_clear()
        config = commands.create_or_update_cluster(
            "cluster.yaml", None, None, False, False, yes=True, no_config_cache=True
        )
        (head,) = _instances(config, "head")
        patch.setenv("HOME", str(hosts.folder / head["PublicIpAddress"]))
        _add_worker(hosts, head["PrivateIpAddress"])
        client = functools.partial(boto3.client, region_name=config["provider"]["region"])
        (worker,) = _instances(config, "worker")
        yield Launched(config, hosts, head, worker, client)


def _add_worker(hosts: Hosts, head: str) -> None:
    """A worker, from the file that `ray up` left on the head."""
    remote = json.loads(Path("~/ray_bootstrap_config.yaml").expanduser().read_text())
    kind = remote["available_node_types"]["worker"]
    provider = node_provider.AWSNodeProvider(remote["provider"], remote["cluster_name"])
    tags = {TAG_RAY_NODE_KIND: NODE_KIND_WORKER, TAG_RAY_USER_NODE_TYPE: "worker", TAG_RAY_LAUNCH_CONFIG: "launch"}
    installer = RayInstaller(provider, AutoscalingConfig(remote), hosts)
    provider.create_node(kind["node_config"], tags, 1)
    (made,) = provider.non_terminated_nodes({TAG_RAY_NODE_KIND: NODE_KIND_WORKER})
    installer.install_ray(SimpleNamespace(cloud_instance_id=made, instance_type="worker"), head)


def _instances(config: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = boto3.client("ec2", region_name=config["provider"]["region"]).describe_instances(
        Filters=[{"Name": f"tag:{TAG_RAY_USER_NODE_TYPE}", "Values": [kind]}]
    )
    return [instance for reservation in found["Reservations"] for instance in reservation["Instances"]]


def written(name: str) -> dict[str, Any]:
    """A cluster file of this repository, as Ray reads it."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return loaded
