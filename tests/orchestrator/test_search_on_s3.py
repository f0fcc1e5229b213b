"""A search whose storage is a URI: from one host to another, home again, and through an outage. Ray and S3 are real."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from orchestrator import SearchSettings, search
from orchestrator.common.errors import UserError
from orchestrator.config.cli import parse_fields
from orchestrator.eda import __main__ as eda
from orchestrator.ensemble import __main__ as ensemble
from orchestrator.ensemble.run import run_ensemble
from orchestrator.report import __main__ as report
from orchestrator.storage.mirror import pull
from orchestrator.storage.storage import Storage
from orchestrator.tuning import resume
from tests.support.processes import Process
from tests.support.searches import SURROGATE, Search, nothing_is_lost

if TYPE_CHECKING:
    from tests.support.s3_server import S3, Bucket


def parse(*argv: str) -> SearchSettings:
    return resume.load(parse_fields(SearchSettings, argv, "search", ""))


def test_the_uri_is_kept_and_comes_back(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("head", "laptop"):
        (tmp_path / host).mkdir()
    monkeypatch.chdir(tmp_path / "head")
    settings = parse("--storage", f"{bucket.uri}/runs/", "--name", "one", "--trials", "3")
    assert settings.storage == f"{bucket.uri}/runs"
    assert settings.folder == tmp_path / "head" / "runs" / "one"
    assert settings.cache == tmp_path / "head" / "runs" / ".cache"
    resume.make_folder(settings.folder, settings.stored())
    assert yaml.safe_load((settings.files.settings).read_text())["storage"] == f"{bucket.uri}/runs"
    Storage.of(settings.storage).send(settings.files.settings)

    monkeypatch.chdir(tmp_path / "laptop")
    with pytest.raises(UserError, match=r"--resume: no search 'one' in .*/laptop/runs"):
        parse("--resume", "one")
    again = parse("--resume", "one", "--storage", settings.storage, "--trials", "4")
    assert (again.storage, again.trials, again.seed) == (settings.storage, 4, settings.seed)
    assert again.folder == tmp_path / "laptop" / "runs" / "one"
    assert parse("--resume", "one").storage == settings.storage, "what is here says where it belongs"
    with pytest.raises(UserError, match=r"no search 'two' in s3://.*there are one"):
        parse("--resume", "two", "--storage", settings.storage)


@pytest.mark.parametrize("command", [eda.main, report.main])
def test_other_commands_say_what_to_do(
    command: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(["--storage", "s3://bucket/runs"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'s3://bucket/runs' is not a folder; bring home what is there, and give that" in line


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://no-such-bucket-here/runs", "NO_SUCH_BUCKET"),
        ("s4://bucket/runs", "Unrecognized filesystem type in URI"),
        ("s3://bucket//runs", "not a place in a bucket; write s3://BUCKET/PREFIX"),
    ],
)
@pytest.mark.usefixtures("bucket")
def test_storage_that_cannot_be_used_is_refused_at_once(
    uri: str, expected: str, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (search.main, ensemble.main):
        arguments = ["--data", str(phantom)] if command is search.main else []
        assert command([*arguments, "--storage", uri]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: --storage {uri}: ")
        assert expected in line
    assert list(tmp_path.iterdir()) == []


@dataclass
class Carried:
    """A search that began on one host and went on on another, after all of the first was lost.

    Attributes:
        search: as it stands on the second. first, second: what it printed.
        before, after: when the weights in the bucket were written, by name.
    """

    bucket: Bucket
    search: Search
    first: str
    second: str
    before: dict[str, str]
    after: dict[str, str]


@pytest.fixture(scope="module")
def carried(s3_server: S3, phantom: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Carried:
    """Two trials with their ensemble, then a third."""
    folder, bucket = tmp_path_factory.mktemp("carried"), s3_server.bucket()
    shutil.copy(empty_store, folder / "mlflow.db")
    small = "--arch smp_unet --encoder tf_efficientnet_lite0 --epochs 3 --image-size 64 --batch-size 8 --folds 3"
    begun = ["--name", "one", "--data", str(phantom), "--tracking-uri", f"sqlite:///{folder}/mlflow.db", *small.split()]

    def run(host: str, *flags: str) -> str:
        (folder / host).mkdir()
        command = [sys.executable, "-m", "orchestrator.search", "--storage", f"{bucket.uri}/runs", *flags]
        with Process(command, folder / host, s3_server.environment, folder / f"{host}.txt") as process:
            return process.end()

    first = run("head", *begun, "--trials", "2", "--top-k", "1", "--boost-rounds", "0")
    before = bucket.written(".safetensors")
    shutil.rmtree(folder / "head" / "runs")
    # Another head has another MLflow, as its address is another and the first one's disk is gone.
    shutil.copy(empty_store, folder / "laptop.db")
    (folder / "mlflow.db").unlink()
    second = run("laptop", "--resume", "one", "--trials", "3", "--tracking-uri", f"sqlite:///{folder}/laptop.db")
    (folder / "laptop.db").rename(folder / "mlflow.db")
    search = Search(folder, "one", [], storage=folder / "laptop" / "runs")
    return Carried(bucket, search, first, second, before, bucket.written(".safetensors"))


@pytest.mark.slow
def test_another_host_goes_on_from_the_bucket_alone(carried: Carried) -> None:
    assert "2 trials are done, 0 go on" in carried.second
    assert len(carried.search.summary()["trials"]) == 3
    nothing_is_lost(carried.search)
    assert len(carried.before) >= 2 + 2
    assert carried.before.items() <= carried.after.items(), "what was trained is not written again"
    assert f"best checkpoint   {carried.bucket.uri}/runs/one/tune/" in carried.second


@pytest.mark.slow
def test_all_that_matters_is_in_the_bucket(carried: Carried) -> None:
    here = {str(path.relative_to(carried.search.home)) for path in carried.search.home.rglob("*") if path.is_file()}
    there = {key.removeprefix("runs/one/") for key in carried.bucket.keys("runs/one/")}
    assert here - there <= {".tune.lock", "ensemble/lock"}
    for name in ("trials.jsonl", "study.journal", "summary.json", "ensemble.json", "settings.yaml"):
        assert carried.bucket.get(f"runs/one/{name}") == (carried.search.home / name).read_bytes()
    assert "holder" not in there
    assert not [key for key in there if key.endswith(".part.tar")]


@pytest.mark.slow
def test_home_again_it_is_a_storage_folder(carried: Carried, tmp_path: Path, ray_local: None) -> None:
    home, uri = carried.bucket.download("runs", tmp_path / "my runs"), carried.search.uri
    page = tmp_path / "report.html"
    assert report.main(["--storage", str(home), "--tracking-uri", uri, "--out", str(page)]) == 0
    assert "smp_unet" in page.read_text()
    weights = {file: file.stat().st_mtime_ns for file in home.rglob("best.safetensors")}
    found = run_ensemble(task="seg", name="one", storage=home, tracking_uri=uri, top_k=1, boost_rounds=0)
    now = {file: file.stat().st_mtime_ns for file in home.rglob("best.safetensors")}
    assert weights
    assert weights.items() <= now.items(), "no fold is trained again"
    assert found.name == "one"


@dataclass
class OnS3(Search):
    """A search of stand-in trials whose storage is a URI.

    Attributes:
        place: what `--storage` is given.
    """

    place: str = ""

    def _launch(self, flags: list[str], environment: dict[str, str]) -> Process:
        self.launches += 1
        command = [sys.executable, str(self.script), *flags, "--storage", self.place, "--no-ensemble"]
        log = {"SURROGATE_LOG": str(self.folder / "epochs.log")}
        output = self.folder / f"output {self.launches}.txt"
        return Process(command, self.folder, {**log, **self.environment, **environment}, output)


@pytest.fixture
def stand_in(s3_server: S3, bucket: Bucket, phantom: Path, empty_store: Path, tmp_path: Path) -> OnS3:
    """A search that waits 8 seconds for a storage that is away; without an answer pyarrow tries for 6 each time."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    script = tmp_path / "impatient.py"
    script.write_text(
        "import runpy\nfrom orchestrator.tuning import callback\ncallback.PATIENCE = 8.0\n"
        f"runpy.run_path({str(SURROGATE)!r}, run_name='__main__')\n"
    )
    flags = "--image-size 64 --batch-size 8 --epochs 6 --max-concurrent 2 --weights none --arch unet --trials 4"
    environment = {**s3_server.environment, "SURROGATE_SECONDS": "0.5", "SURROGATE_BALLAST": "1000"}
    begun = ["--data", str(phantom), *flags.split()]
    return OnS3(tmp_path, "away", begun, script, environment, place=f"{bucket.uri}/runs")


@pytest.mark.slow
def test_a_short_outage_is_waited_out(stand_in: OnS3, s3_server: S3) -> None:
    stand_in.script = SURROGATE
    with stand_in.begin() as launch:
        launch.until(lambda: len(stand_in.events("checkpoint")) > 1)
        s3_server.stop()
        try:
            launch.until(lambda: "the search waits" in launch.output)
        finally:
            s3_server.start()
        output = launch.end()
    assert "does not answer (NETWORK_CONNECTION" in output
    assert {row["status"] for row in stand_in.summary()["trials"]} <= {"completed", "asha"}
    nothing_is_lost(stand_in)


@pytest.mark.long
def test_a_long_outage_ends_the_search_in_one_line_and_it_goes_on_later(
    stand_in: OnS3, s3_server: S3, tmp_path: Path
) -> None:
    with stand_in.begin() as launch:
        launch.until(lambda: len(stand_in.events("checkpoint")) > 1)
        s3_server.stop()
        try:
            output = launch.end(1)
        finally:
            s3_server.start()
    lines = output.splitlines()
    assert [line for line in lines if line.startswith(f"storage {stand_in.place} cannot be used (NETWORK_CONNECTION")]
    assert lines[-1].startswith(f"{stand_in.place}/away lacks what is new in {stand_in.home} (NETWORK_CONNECTION")
    assert stand_in.summary()["status"] == "failed"
    assert "failed" not in {row["status"] for row in stand_in.summary()["trials"]}
    nothing_is_lost(stand_in)
    with stand_in.resume() as launch:
        launch.end()
    assert stand_in.summary()["status"] == "done"
    nothing_is_lost(stand_in)
    elsewhere = Storage(tmp_path / "elsewhere", stand_in.place)
    pull(elsewhere, "away")
    assert (elsewhere.home / "away" / "trials.jsonl").read_bytes() == (stand_in.home / "trials.jsonl").read_bytes()
