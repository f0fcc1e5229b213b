"""The two cluster files: what Ray's launcher makes of them, and what it would leave in AWS."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed (extra: cluster)")
pytest.importorskip("moto", reason="moto is not installed (extra: dev)")

from ray.autoscaler._private.util import prepare_config, validate_config  # noqa: E402

from tests.support.mocked_aws import ROOT, TOKEN, Launched, launched, written  # noqa: E402

FILES = ("cluster.yaml", "cluster.on-prem.yaml")


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    if not shutil.which("rsync"):
        pytest.skip("rsync is not installed, which `ray up` needs")
    with launched(tmp_path_factory.mktemp("aws")) as found:
        yield found


def shell(command: str, home: Path, **environment: str) -> str:
    """What a setup command of a host prints, run by bash in a home of its own."""
    environment = {"HOME": str(home), "PATH": f"{home}:{os.environ['PATH']}", "USER": "ubuntu", **environment}
    (home / ".bashrc").touch()
    done = subprocess.run(["bash", "-c", command], env=environment, check=True, capture_output=True, text=True)
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize("name", FILES)
def test_ray_accepts_the_file(name: str) -> None:
    validate_config(prepare_config(written(name)))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("cluster.yaml", ["max_workers", "region", "InstanceType", "export STORAGE=s3"]),
        ("cluster.on-prem.yaml", ["head_ip", "worker_ips", "ssh_user", "ssh_private_key", "export STORAGE=/nfs"]),
    ],
)
def test_what_a_user_edits_is_marked(name: str, fields: list[str]) -> None:
    marked = [line for line in (ROOT / name).read_text().splitlines() if "# EDIT" in line]
    assert len(marked) == len(fields) <= 5
    for line, field in zip(marked, fields, strict=True):
        assert line.strip().startswith(field)


@pytest.mark.parametrize("name", FILES)
def test_every_host_gets_the_token_and_the_whole_project_but_nothing_else(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {pattern.removesuffix("*") for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    files = {"pyproject.toml", "constraints.txt", *project["project"]["license-files"]}
    wanted = {f"~/breast-ultrasound/{part}": part for part in packages | files}
    assert written(name)["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token", **wanted}


@pytest.mark.parametrize("name", FILES)
def test_every_command_of_ray_on_every_host_has_the_environment(name: str, tmp_path: Path) -> None:
    config = written(name)
    for _ in range(2):  # `ray up` again
        shell(config["setup_commands"][0], tmp_path, SSH_CONNECTION="10.0.0.9 50000 10.0.0.1 22")
    assert (tmp_path / ".bashrc").read_text() == ". ~/cluster.env\n"
    shell("mkdir ~/mlflow", tmp_path)
    names = ("RAY_AUTH_MODE", "HOST_ADDRESS", "STORAGE", "PATH")
    show = "; ".join(f'echo "${name}"' for name in names)
    mode, address, storage, path = shell(f". ~/cluster.env; {show}", tmp_path).splitlines()
    assert (mode, address) == ("token", "10.0.0.1")
    assert storage.startswith(("s3://", "/nfs/"))
    assert path.startswith(f"{tmp_path}/breast-ultrasound/.venv/bin:")
    for command in config["head_start_ray_commands"] + config["worker_start_ray_commands"]:
        assert command.startswith(". ~/cluster.env; ")


def test_mlflow_is_a_service_on_the_private_address(tmp_path: Path) -> None:
    config = written("cluster.yaml")
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/bash\n[ "$1" != tee ] && echo "$@" >> ~/sudo.log || cat > ~/"$(basename "${!#}")"\n')
    sudo.chmod(0o755)
    shell(config["setup_commands"][0], tmp_path, SSH_CONNECTION="203.0.113.7 50000 172.31.0.5 22")
    shell(config["head_setup_commands"][0], tmp_path)
    assert shell(". ~/cluster.env; echo $MLFLOW_TRACKING_URI", tmp_path) == "http://172.31.0.5:5000\n"
    assert (tmp_path / "hosts").read_text() == "172.31.0.5 mlflow\n"
    assert "systemctl restart mlflow" in (tmp_path / "sudo.log").read_text()
    unit = configparser.ConfigParser(interpolation=None)
    unit.read(tmp_path / "mlflow.service")
    service = unit["Service"]
    assert (service["User"], service["Restart"]) == ("ubuntu", "always")
    assert service["WorkingDirectory"] == str(tmp_path / "mlflow")
    command = service["ExecStart"].split()
    assert command[:2] == [f"{tmp_path}/breast-ultrasound/.venv/bin/mlflow", "server"]
    options = dict(zip(command[2::2], command[3::2], strict=True))
    assert options == {
        "--backend-store-uri": "sqlite:///mlflow.db",
        "--artifacts-destination": "s3://my-bucket/mlflow",
        "--host": "172.31.0.5",
        "--port": "5000",
        "--allowed-hosts": "172.31.0.5:5000,localhost:5000",
    }


@pytest.mark.slow
def test_ssh_alone_is_open_to_the_outside(aws: Launched) -> None:
    (group,) = aws.client("ec2").describe_security_groups(GroupNames=["breast-ultrasound"])["SecurityGroups"]
    outside = [rule for rule in group["IpPermissions"] if rule["IpRanges"] or rule["Ipv6Ranges"]]
    assert [(rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in outside] == [("tcp", 22, 22)]
    (inside,) = (rule for rule in group["IpPermissions"] if rule not in outside)
    assert [pair["GroupId"] for pair in inside["UserIdGroupPairs"]] == [group["GroupId"]]
    assert not inside["PrefixListIds"]
    for host in (aws.head, aws.worker):
        assert [found["GroupId"] for found in host["SecurityGroups"]] == [group["GroupId"]]


@pytest.mark.slow
def test_workers_are_spot_and_the_head_is_not(aws: Launched) -> None:
    assert "InstanceLifecycle" not in aws.head
    assert aws.worker["InstanceLifecycle"] == "spot"
    head, worker = (aws.config["available_node_types"][kind] for kind in ("head", "worker"))
    assert (head["resources"], head["max_workers"]) == ({"CPU": 0}, 0)
    assert worker["resources"]["GPU"] >= 1
    assert (worker["min_workers"], worker["max_workers"]) == (0, written("cluster.yaml")["max_workers"])
    assert 0 < aws.config["idle_timeout_minutes"] <= 15
    assert aws.config["provider"]["cache_stopped_nodes"] is False


@pytest.mark.slow
def test_roles_and_tags_are_as_written(aws: Launched) -> None:
    profile = written("cluster.yaml")["available_node_types"]["worker"]["node_config"]["IamInstanceProfile"]["Name"]
    for host in (aws.head, aws.worker):
        assert host["IamInstanceProfile"]["Arn"].endswith(f":instance-profile/{profile}")
        tags = {tag["Key"]: tag["Value"] for tag in host["Tags"]}
        assert (tags["project"], tags["ray-cluster-name"]) == ("breast-ultrasound", "breast-ultrasound")
    (role,) = aws.client("iam").get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
    policies = aws.client("iam").list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
    assert {policy["PolicyName"] for policy in policies} == {"AmazonEC2FullAccess", "AmazonS3FullAccess"}
    page = (ROOT / "docs/cluster.md").read_text()
    policy = page.partition("--policy-document '")[2].partition("'")[0]
    aws.client("iam").put_role_policy(RoleName=role["RoleName"], PolicyName="start-workers", PolicyDocument=policy)
    passed = next(part for part in json.loads(policy)["Statement"] if part["Action"] == "iam:PassRole")
    assert passed["Resource"].endswith(f":role/{role['RoleName']}"), "the head gives its role to workers"
    volumes = aws.client("ec2").describe_volumes(Filters=[{"Name": "tag:project", "Values": ["breast-ultrasound"]}])
    assert len(volumes["Volumes"]) == 2


@pytest.mark.slow
def test_the_project_and_the_token_arrive_and_data_runs_and_environments_do_not(aws: Launched) -> None:
    project = "breast-ultrasound"
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "orchestrator", "trainables", "search_spaces"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    single = {"pyproject.toml", "constraints.txt", "LICENSE", "NOTICE"}
    wanted = {".ray/auth_token"} | {f"{project}/{name}" for name in {*tracked, *single} if (ROOT / name).exists()}
    on_the_head = aws.hosts.files(aws.head["PublicIpAddress"])
    assert on_the_head == wanted | {"ray_bootstrap_config.yaml", "ray_bootstrap_key.pem"}
    address = aws.worker["PrivateIpAddress"]
    assert aws.hosts.files(address) == wanted
    assert (aws.hosts.folder / address / ".ray/auth_token").read_text() == TOKEN


@pytest.mark.slow
def test_what_arrives_can_be_installed(aws: Launched, tmp_path: Path) -> None:
    arrived, target = tmp_path / "arrived", tmp_path / "installed"
    shutil.copytree(aws.hosts.folder / aws.worker["PrivateIpAddress"] / "breast-ultrasound", arrived)
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", *options, str(arrived)], check=True)
    assert (target / "orchestrator/search.py").is_file()
    assert list(target.glob("breast_ultrasound_orchestrator-*.dist-info"))


@pytest.mark.slow
def test_a_worker_is_set_up_by_the_head_and_joins_it(aws: Launched) -> None:
    ran = aws.hosts.ran[aws.worker["PrivateIpAddress"]]
    (start,) = (command for command in ran if "ray start" in command)
    assert f"RAY_HEAD_IP={aws.head['PrivateIpAddress']}; " in start
    assert "ray start --address=$RAY_HEAD_IP:6379" in start
    assert '"GPU":1' in start.partition("RAY_OVERRIDE_RESOURCES=")[2].partition(";")[0]
    assert not any("mlflow server" in command for command in ran)
    for step in written("cluster.yaml")["setup_commands"]:
        assert any(step.splitlines()[0] in command for command in ran)
