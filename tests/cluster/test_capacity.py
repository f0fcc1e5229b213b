"""What fits on the hosts that are there and on those that may come, and whether a host fits the others."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from orchestrator.cluster import compatibility, nodes
from orchestrator.cluster.resources import Host, TrialResources
from orchestrator.common.console import shown_on
from orchestrator.common.errors import UserError
from orchestrator.storage.storage import Storage

SMALL, LARGE = Host(4, 1), Host(8, 2)
#: As `ray up` leaves it on the head, where AWS's hosts got their resources from their type.
WRITTEN = {
    "max_workers": 4,
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 0}, "max_workers": 0},
        "small": {"resources": {"CPU": 4, "GPU": 1, "memory": 10**10}, "max_workers": 3},
        "large": {"resources": {"CPU": 8, "GPU": 2}},
    },
}


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the head keeps what its autoscaler may start; nothing is there yet."""
    file = tmp_path / "ray_bootstrap_config.yaml"
    monkeypatch.setattr(nodes, "BOOTSTRAP", file)
    return file


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The cluster's nodes, to be changed: the head and no worker."""
    found = [_node(0)]
    monkeypatch.setattr("ray.nodes", lambda: found)
    monkeypatch.setattr(nodes, "LOOK", 0.0)
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[dict[str, float]]]:
    """What the autoscaler was asked for."""
    found = list[list[dict[str, float]]]()
    monkeypatch.setattr("ray.autoscaler.sdk.request_resources", lambda bundles: found.append(bundles))
    return found


def _node(cpus: int, gpus: int = 0, alive: bool = True) -> dict[str, Any]:
    return {
        "Alive": alive,
        "Resources": {"memory": 1e9} | ({"CPU": cpus} if cpus else {}) | ({"GPU": gpus} if gpus else {}),
    }


def test_hosts_that_are_there_are_not_counted_again_among_those_that_may_come(
    bootstrap: Path, alive: list[dict[str, Any]]
) -> None:
    bootstrap.write_text(yaml.safe_dump(WRITTEN, sort_keys=False))
    assert nodes.possible() == [SMALL] * 3 + [LARGE] * 4
    alive += [_node(4, 1), _node(2), _node(8, 2, alive=False)]
    assert nodes.possible() == [SMALL, Host(2)] + [SMALL] * 2 + [LARGE] * 4


@pytest.mark.parametrize(
    "text",
    ["", "max_workers: [", "max_workers: 4\nhead_node_type: a\navailable_node_types: {a: {resources: {CPU: 4}}}\n"],
)
def test_only_hosts_that_are_there_where_no_other_may_come(
    bootstrap: Path, alive: list[dict[str, Any]], text: str
) -> None:
    alive.append(_node(4))
    assert nodes.possible() == [Host(4)]
    bootstrap.write_text(text)
    assert nodes.possible() == [Host(4)]


def test_slots_follow_the_cluster(bootstrap: Path, alive: list[dict[str, Any]]) -> None:
    terminal = io.StringIO()
    now = nodes.slots(TrialResources(1, 2, 1.0), 5)
    seen = []
    with shown_on(Console(file=terminal)):
        for change in ([_node(4, 1)], [_node(8, 2)], [_node(8)], [_node(64, 8)]):
            alive += change
            seen.append(now())
        del alive[1:]
        seen += [now(), now()]
        alive.append(_node(8, 2))
        seen.append(now())
    assert seen == [1, 3, 3, 5, 1, 1, 2]
    assert terminal.getvalue().count("waiting for workers: no host is left") == 1


def test_slots_count_hosts_that_may_come(bootstrap: Path, alive: list[dict[str, Any]]) -> None:
    bootstrap.write_text(yaml.safe_dump(WRITTEN, sort_keys=False))
    assert nodes.slots(TrialResources(1, 4, 1.0), None)() == 3 + 4 * 2


def test_the_first_worker_is_asked_for_and_waited_for(
    bootstrap: Path, alive: list[dict[str, Any]], asked: list[list[dict[str, float]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap.write_text(yaml.safe_dump(WRITTEN, sort_keys=False))
    monkeypatch.setattr("time.sleep", lambda seconds: alive.append(_node(4, 1)))
    terminal = io.StringIO()
    with shown_on(Console(file=terminal, width=200)):
        nodes.wait_for_workers(None, 0.5)
    assert terminal.getvalue().splitlines() == [
        "waiting for workers: there are none yet; one is asked for (Ctrl-C leaves)",
        "workers: 1 there",
    ]
    assert asked == [[{"CPU": 1, "GPU": 0.5}], []], "nothing is kept alive for ever"


def test_who_does_not_want_to_wait_takes_the_request_back(
    bootstrap: Path, alive: list[dict[str, Any]], asked: list[list[dict[str, float]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    bootstrap.write_text(yaml.safe_dump(WRITTEN, sort_keys=False))
    monkeypatch.setattr("time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        nodes.wait_for_workers(None, None)
    assert asked == [[{"CPU": 1}], []]


@pytest.mark.parametrize(
    ("cpus", "gpus", "expected"),
    [(16, None, "has 16 cores;"), (None, 4.0, "has 1 cores and 4 GPUs;"), (8, 4.0, "has 8 cores and 4 GPUs;")],
)
def test_waiting_for_what_will_never_come_is_refused(
    bootstrap: Path, alive: list[dict[str, Any]], cpus: int | None, gpus: float | None, expected: str
) -> None:
    bootstrap.write_text(yaml.safe_dump(WRITTEN, sort_keys=False))
    with pytest.raises(UserError, match=expected):
        nodes.wait_for_workers(cpus, gpus)


def test_a_cluster_is_what_was_named(monkeypatch: pytest.MonkeyPatch, alive: list[dict[str, Any]]) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert not nodes.is_one("")
    assert nodes.is_one("auto")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")  # as in a job
    assert nodes.is_one("")


@pytest.mark.parametrize("name", ["Python", "Ray", "torch", compatibility.PROJECT])
def test_versions_that_differ_are_named_with_both(name: str) -> None:
    mine = compatibility.versions()
    assert set(mine) == {"Python", "Ray", "torch", compatibility.PROJECT}
    assert not compatibility.different(mine, dict(mine))
    line = compatibility.different(mine, {**mine, name: "0.0.1"})
    assert line.startswith(f"it has {name} 0.0.1, the driver {mine[name]}; ")


def test_a_host_whose_storage_is_not_that_of_the_driver(tmp_path: Path) -> None:
    """As on a host where the folder is missing, or is another one of the same name."""
    storage = Storage(tmp_path / "runs")
    probe = storage.home / ".probe-1"
    not_shared = f"storage {storage.home} is not shared with it; mount the same folder there"
    assert compatibility.unreachable(storage, probe).startswith(not_shared)
    storage.home.mkdir()
    probe.write_text("of another driver")
    assert compatibility.unreachable(storage, probe).startswith(not_shared)
    storage.write(probe, probe.name.encode())
    assert not compatibility.unreachable(storage, probe)
    assert list(storage.home.iterdir()) == [probe]


def test_a_host_that_cannot_write_to_the_storage(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    probe = tmp_path / ("." + "p" * 240)  # any name that is longer cannot be written, not even by root
    storage.write(probe, probe.name.encode())
    line = compatibility.unreachable(storage, probe)
    assert line.startswith(f"storage {tmp_path} cannot be used there (")
    assert "File name too long" in line


def test_a_host_that_lacks_the_weights(tmp_path: Path) -> None:
    line = compatibility.unreachable(Storage(tmp_path), tmp_path / "probe", tmp_path / "weights")
    assert line.startswith(f"--weights {tmp_path}/weights: no such folder there; ")


def test_a_storage_that_is_away_for_a_while_is_no_misfit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([OSError("AWS Error NETWORK_CONNECTION"), OSError("AWS Error NETWORK_CONNECTION"), None])

    def children(storage: Storage, folder: Path) -> list[Path]:
        if error := next(answers):
            raise error
        return []

    monkeypatch.setattr(Storage, "children", children)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(compatibility, "unreachable", lambda *given: next(answers, ""))
    compatibility.HostRequirements(
        compatibility.versions(), Storage(tmp_path, "s3://bucket/runs"), tmp_path / "probe", None
    )()


def test_a_host_that_came_later_says_who_it_is(tmp_path: Path) -> None:
    storage, probe = Storage(tmp_path), tmp_path / "probe"
    storage.write(probe, b"probe")
    fitting = compatibility.HostRequirements(compatibility.versions(), storage, probe, None)
    fitting()
    older = replace(fitting, versions={**fitting.versions, "Ray": "2.0"})
    with pytest.raises(compatibility.HostError, match=r"^host \S+.*: it has Ray .*, the driver 2\.0; "):
        older()
