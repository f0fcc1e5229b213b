"""`ray up`, a search with its ensemble on two workers, one of which dies in its middle, and `ray down`.

Commands are those of docs/cluster.md.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.tuning.ledger import ENDED
from tests.support.hosts import HOME, until
from tests.support.hosts_cluster import BUCKET, FILE, Cluster
from tests.support.hosts_network import cut_power
from tests.support.searches import Search, nothing_is_lost
from trainables.data import write_phantom

pytestmark = pytest.mark.long

NAME, TRIALS, EPOCHS = "three hosts", 4, 100
SEARCH = f"python -m orchestrator.search --task seg --data {HOME}/data"
SMALL = "--weights none --arch unet --image-size 64 --batch-size 8 --folds 2"


@dataclass
class Away(Search):
    """A search whose driver ran on the head, read from there; `output` is what it printed."""

    output: str = ""

    @property
    def database(self) -> Path:
        return self.folder / "mlflow" / "mlflow.db"


@pytest.fixture(scope="module")
def cluster(three_hosts: Cluster) -> Cluster:
    """With images on the head alone."""
    write_phantom(three_hosts.laptop.tmp / "images", images=150, seed=3)
    three_hosts.ray(f"rsync-up {FILE} /tmp/images/ data/")
    return three_hosts


def test_all_hosts_join(cluster: Cluster) -> None:
    assert cluster.alive() == [cluster.head.address, *(host.address for host in cluster.workers)]


@pytest.mark.parametrize("token", ["", "0" * 64])
def test_client_without_the_token_is_refused(cluster: Cluster, token: str) -> None:
    """In one line; it is another user of the head."""
    home = f"/tmp/stranger {len(token)}"
    held = cluster.head.tmp / Path(home).name / ".ray"
    held.mkdir(parents=True)
    if token:
        (held / "auth_token").write_text(token)
    said = cluster.on_head(f"cd '{home}' && {SEARCH} {SMALL} --address auto", code=2, HOME=home)
    assert "token" in _error(said)
    assert "token" in cluster.on_head("ray job list --address http://localhost:8265", code=1, HOME=home)


def test_storage_that_one_host_has_alone(cluster: Cluster) -> None:
    said = _error(cluster.on_head(f"{SEARCH} {SMALL} --address auto --storage /tmp/mine", code=2))
    assert said.startswith("error: host worker")
    assert "storage /tmp/mine is not shared with it; " in said


def _error(said: str) -> str:
    """The one line of an error; nothing but what is known of the data stands before it."""
    *_, line = said.splitlines()
    assert line.startswith("error: ")
    assert said.count("error: ") == 1
    assert "Traceback" not in said
    return line


@pytest.fixture(scope="module")
def searched(cluster: Cluster) -> Away:
    """A search as a job: the laptop is closed when it has begun, and a worker loses its power in mid-trial."""
    search = Away(cluster.head.home, NAME, [])
    flags = f"--name '{NAME}' --storage $STORAGE/runs --trials {TRIALS} --epochs {EPOCHS} --top-k 2 --boost-rounds 1"
    _exec(cluster, f"ray job submit --submission-id first --no-wait -- {SEARCH} {SMALL} {flags}")
    logs = f"ray exec {FILE} 'ray job logs --follow first' > logs.txt 2>&1"
    cluster.laptop.run(f"{logs} & echo $! > logs.pid", RAY_AUTH_MODE="token")

    def said() -> str:
        return cluster.on_head("ray job logs first")

    until(lambda: search.events("started"), 120, said)
    cluster.laptop.run("kill -KILL $(cat logs.pid)")
    trial = until(lambda: _midway(search), 120, said)
    cut_power(cluster.writers(NAME).get(trial, cluster.workers)[-1], cluster.laptop)
    until(lambda: "RUNNING" not in cluster.on_head("ray job status first"), 300, said)
    search.output = said()
    assert "succeeded" in _exec(cluster, "ray job status first"), search.output
    return search


def _exec(cluster: Cluster, command: str) -> str:
    return cluster.ray(f"exec {FILE} {shlex.quote(command)}")


def _midway(search: Search) -> str:
    """A trial that went on after a checkpoint or, where epochs take too little time for one, has almost ended."""
    kinds: dict[str, list[str]] = {}
    for event in search.events("checkpoint", "result", "ended"):
        kinds.setdefault(event["trial"], []).append(event["event"])
    for trial, found in kinds.items():
        if found[-1] == "result" and ("checkpoint" in found or len(found) > 0.8 * EPOCHS):
            return trial
    return ""


def test_trials_ran_on_both_workers(searched: Away, cluster: Cluster) -> None:
    assert len(cluster.writers(NAME)) == TRIALS
    assert [host.name for host in cluster.workers if cluster.had_trials(host)] == ["worker1", "worker2"]
    assert not cluster.had_trials(cluster.head)


def test_workers_need_no_images(searched: Away, cluster: Cluster) -> None:
    assert [host.name for host in (cluster.head, *cluster.workers) if (host.home / "data").exists()] == ["head"]
    assert "warning: " not in searched.output


def test_no_trial_is_lost_with_a_host(searched: Away) -> None:
    nothing_is_lost(searched)
    summary = searched.summary()
    assert (summary["status"], summary["launches"], len(summary["trials"])) == ("done", 1, TRIALS)
    assert {row["status"] for row in summary["trials"]} <= {*ENDED} - {"failed"}


def test_a_host_costs_the_epochs_since_the_last_checkpoint(searched: Away) -> None:
    moved = []
    for trial in {event["trial"] for event in searched.events("started")}:
        events = [event for event in searched.events("started", "checkpoint", "result") if event["trial"] == trial]
        _, *again = [number for number, event in enumerate(events) if event["event"] == "started"]
        for number in again:
            saved = [event["epoch"] for event in events[:number] if event["event"] == "checkpoint"]
            goes_on = next(event["epoch"] for event in events[number:] if event["event"] == "result")
            moved.append((max([0, *saved]), goes_on))
    assert moved, "the host that died had a trial"
    assert [goes_on for _, goes_on in moved] == [saved + 1 for saved, _ in moved]


def test_results_come_home(searched: Away, cluster: Cluster) -> None:
    """A folder that every command can use without the cluster."""
    mine, runs = cluster.laptop.tmp / "mine", f"s3://{BUCKET}/runs"
    cluster.python(f"from pyarrow import fs; fs.copy_files('{runs}', '/tmp/mine/runs')")
    cluster.ray(f"rsync-down {FILE} mlflow/mlflow.db /tmp/mine/mlflow.db")
    assert (mine / "runs" / NAME / "trials.jsonl").read_bytes() == (searched.home / "trials.jsonl").read_bytes()
    ended = {event["trial"]: event["path"] for event in searched.events("checkpoint")}
    assert [path for path in ended.values() if not (mine / "runs" / NAME / path / "best.safetensors").is_file()] == []

    here = "--tracking-uri sqlite:////tmp/mine/mlflow.db"
    ranked = cluster.laptop.run(f"python -m orchestrator.leaderboard --json {here} 2> /dev/null")
    assert {trial["search"] for trial in json.loads(ranked)} == {NAME}
    assert len(json.loads(ranked)) == TRIALS
    cluster.laptop.run(f"cd /tmp/mine && python -m orchestrator.report --format md {here} --out report.md")
    ensemble = json.loads((searched.home / "ensemble.json").read_text())
    assert ensemble["winner"] in (mine / "report.md").read_text()


def test_ray_down(searched: Away, cluster: Cluster) -> None:
    """Ray ends on the head, and on workers some time after they hear no more of it; a host that is off is no matter."""
    cluster.ray(f"down -y {FILE}")
    living = [host for host in (cluster.head, *cluster.workers) if host.is_on]
    assert len(living) == 2

    def running() -> str:
        return "".join(host.run("ps -eo args | grep -E '^\\S+/(gcs_server|raylet) ' || true") for host in living)

    until(lambda: not running(), 120, running)


def test_ray_start_by_hand(cluster: Cluster) -> None:
    cluster.ray(f"down -y {FILE}")
    head, worker = cluster.head, next(host for host in cluster.workers if host.is_on)
    host = "ray stop; ray start --disable-usage-stats --object-store-memory=300000000"
    cluster.on_head(f"{host} --head --port=6379 --node-ip-address={head.address} --num-cpus=0 --num-gpus=0")
    worker.run(f"export RAY_AUTH_MODE=token; {host} --address={head.address}:6379 --node-ip-address={worker.address}")
    until(lambda: cluster.alive() == [head.address, worker.address], 60, lambda: str(cluster.alive()))
