"""A search on a cluster whose hosts come, go and differ, with real Ray nodes on this machine and stand-in trials."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.tracking.client import open_store
from tests.support import virtual_nodes
from tests.support.mlflow_runs import free_port
from tests.support.processes import Process
from tests.support.searches import Search, nothing_is_lost
from tests.support.virtual_nodes import EPOCHS, Nodes, other_sources

pytestmark = pytest.mark.long

WAITING = "waiting for workers: there are none yet; start some with `ray start "
ALONE = "waiting for workers: no host is left"
DIFFERS = ": it has breast-ultrasound-orchestrator "
Begin = Callable[..., Search]


@pytest.fixture(scope="module")
def running() -> Iterator[Nodes]:
    """The cluster's head."""
    nodes = Nodes()
    yield nodes
    nodes.close()


@pytest.fixture
def nodes(running: Nodes) -> Nodes:
    """A cluster without workers."""
    running.clear()
    return running


@pytest.fixture(scope="module")
def begin(running: Nodes, phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Begin:
    """A search on the cluster in a folder of its own, whose trials wait after the third epoch; yet to be launched."""
    store = tmp_path_factory.mktemp("store") / "mlflow.db"
    open_store(f"sqlite:///{store}", create=True)

    def make(name: str, *flags: str) -> Search:
        folder = tmp_path_factory.mktemp(name)
        shutil.copy(store, folder / "mlflow.db")
        (folder / "epoch").write_text("3")
        given = ["--data", str(phantom), "--image-size", "64", "--batch-size", "8", "--epochs", str(EPOCHS)]
        space = ["--weights", "none", "--arch", "unet", "--address", running.address]
        fixed = {"SURROGATE_SECONDS": "0.1", "SURROGATE_GATES": str(folder)}
        script = Path(virtual_nodes.__file__)
        return Search(folder, name, [*given, *space, *flags], script=script, environment=fixed)

    return make


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C is heard by what is started, also where a shell has the tests in its background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def go_on(search: Search) -> None:
    """Let trials train all their epochs."""
    (search.folder / "epoch").unlink()


def trained_on(search: Search, nodes: Nodes) -> set[str]:
    """Addresses of the workers, of those that are there, on which an epoch was trained."""
    return {nodes.of(line.pid) for line in search.epochs()} - {""}


def refused(launch: Process) -> str:
    """The one line of a search that was refused."""
    (line,) = [line for line in launch.end(2).splitlines() if line.startswith("error: ")]
    return line


def nothing_is_left(search: Search) -> None:
    """What holds when a search was not to be."""
    assert [path.name for path in search.home.parent.iterdir()] == [".cache"]
    assert not search.runs()


def test_search_waits_for_workers_and_uses_those_that_come(nodes: Nodes, begin: Begin) -> None:
    search = begin("waits", "--trials", "3")
    (search.folder / "epoch").write_text("1")  # before the rung, where one of the three alone goes on
    with search.begin() as launch:
        launch.until(lambda: WAITING in launch.output)
        first = nodes.add()
        launch.until(lambda: trained_on(search, nodes) == {first})
        second = nodes.add()
        launch.until(lambda: trained_on(search, nodes) == {first, second})
        go_on(search)
        launch.end()
    nothing_is_lost(search)
    assert search.summary()["status"] == "done"


def test_ctrl_c_while_it_waits_leaves_nothing(nodes: Nodes, begin: Begin, ctrl_c: None) -> None:
    search = begin("left")
    with search.begin() as launch:
        launch.until(lambda: WAITING in launch.output)
        launch.interrupt()
        assert launch.end(130).endswith("interrupted\n")
    nothing_is_left(search)


def test_trial_whose_host_dies_thrice_goes_on_elsewhere(nodes: Nodes, begin: Begin) -> None:
    """Tune gives up a trial that fails three times: a host that is taken away is no failure of its trial."""
    search = begin("moved", "--trials", "1")
    nodes.add()
    with search.begin() as launch:
        for trained in (3, 4, 5):
            launch.until(lambda: len(search.epochs()) == trained)  # noqa: B023
            nodes.add()
            nodes.kill(nodes.of(search.epochs()[-1].pid))
        go_on(search)
        launch.end()
    nothing_is_lost(search)
    assert [line.epoch for line in search.epochs()] == [1, 2, 3, 3, 3, 3, 4, 5, 6]
    assert search.summary()["trials"][0]["status"] == "completed"


def test_search_without_a_host_waits_for_another(nodes: Nodes, begin: Begin) -> None:
    search = begin("alone", "--trials", "3")
    last = nodes.add()
    with search.begin() as launch:
        launch.until(search.epochs)
        nodes.kill(last)
        launch.until(lambda: ALONE in launch.output)
        nodes.add()
        go_on(search)
        launch.end()
    nothing_is_lost(search)
    assert not [row for row in search.summary()["trials"] if row["status"] == "failed"]


def test_trial_whose_host_dies_as_a_worker_takes_it_over_goes_on_elsewhere(nodes: Nodes, begin: Begin) -> None:
    """Tune does not try such a trial again."""
    search = begin("handed over", "--trials", "2")
    handover = search.folder / "handover"
    nodes.add()
    with search.begin() as launch:
        handover.touch()
        go_on(search)
        worker = launch.until(handover.read_text)
        nodes.kill(nodes.of(int(worker)))
        handover.unlink()
        nodes.add()
        launch.end()
    nothing_is_lost(search)
    assert not [row for row in search.summary()["trials"] if row["status"] == "failed"]


@pytest.mark.parametrize(
    ("gpus", "flags", "expected"),
    [
        (0, ["--gpus-per-trial", "1"], "--gpus-per-trial 1: only 0 GPUs on any host; "),
        (2, ["--gpus-per-trial", "3"], "--gpus-per-trial 3: only 2 GPUs on any host; "),
    ],
    ids=["no GPU", "too many GPUs"],
)
def test_more_than_a_host_has_is_refused(
    nodes: Nodes, begin: Begin, gpus: int, flags: list[str], expected: str
) -> None:
    nodes.add(gpus=gpus)
    nodes.add(gpus=gpus)
    search = begin("much", *flags)
    with search.begin() as launch:
        assert expected in refused(launch)
    nothing_is_left(search)


def test_host_with_other_sources_is_refused(nodes: Nodes, begin: Begin, tmp_path: Path) -> None:
    nodes.add()
    other = nodes.add(**other_sources(tmp_path, "# changed"))
    search = begin("differs")
    with search.begin() as launch:
        assert f"({other}){DIFFERS}" in refused(launch)
    nothing_is_left(search)


@pytest.mark.parametrize("text", ["# changed", "import absent"], ids=["other words", "cannot be imported"])
def test_host_with_other_sources_that_comes_later_stops_the_search(
    nodes: Nodes, begin: Begin, tmp_path: Path, text: str
) -> None:
    """No trial is to blame, so none is lost: the search is resumed when the host is gone."""
    search = begin("joins", "--trials", "3")
    nodes.add()
    with search.begin() as launch:
        launch.until(search.epochs)
        nodes.add(**other_sources(tmp_path, text))
        (line,) = [line for line in launch.end(1).splitlines() if DIFFERS in line]
    assert line.endswith("; then resume")
    assert search.summary()["why"] == line
    nothing_is_lost(search)
    nodes.clear()
    nodes.add()
    go_on(search)
    with search.resume() as launch:
        launch.end()
    assert search.summary()["status"] == "done"
    nothing_is_lost(search)


def test_address_without_a_cluster_is_refused(begin: Begin) -> None:
    search = begin("nowhere")
    address = f"127.0.0.1:{free_port()}"
    with search.begin("--address", address) as launch:
        assert f"--address {address}: no way into a Ray cluster there " in refused(launch)
    nothing_is_left(search)
