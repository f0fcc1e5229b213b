"""Trainings and predictions as Ray tasks whose storage goes away and comes back: they are tried again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import numpy as np
import pytest
import ray

from orchestrator.cluster.resources import TrialResources
from orchestrator.common.errors import first_line
from orchestrator.ensemble.member import PredictionRequest
from orchestrator.ensemble.tasks import RETRIES, TaskPool
from orchestrator.inference.networks import Logits
from orchestrator.storage.storage import Storage
from trainables.data import Prepared
from trainables.held_out import Job

if TYPE_CHECKING:
    from tests.support.s3_server import S3, Bucket

pytestmark = pytest.mark.slow

CONFIG: dict[str, Any] = {
    "architecture": "unet", "encoder": "", "dropout": 0.0, "loss": "dice_bce", "loss_weight": 0.5, "lr": 1e-3,
    "optimizer": "adamw", "weight_decay": 0.0, "batch_size": 8, "augmentation": "none", "balance": "none", "ema": 0.0,
    "freeze_epochs": 0, "warmup_epochs": 0, "epochs": 1, "seed": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Shaky(Storage):
    """A storage that goes away so many times, when something is sent or borrowed, until its answer is awaited."""

    state: Path = Path()

    def goes_away(self, times: int) -> None:
        """So many times from now on."""
        self._say(times)

    def await_answer(self) -> None:
        """It is back."""
        self._say(self._left)

    def send(self, path: Path, source: Path | None = None) -> None:
        """Send, or fail as pyarrow does."""
        self._fail()
        super().send(path, source)

    def borrow(self, folder: Path) -> AbstractContextManager[Path]:
        """Borrow, or fail as pyarrow does."""
        self._fail()
        return super().borrow(folder)

    @property
    def _left(self) -> int:
        return int(self.state.read_text().split()[0])

    def _say(self, times: int, more: str = "") -> None:
        self.state.write_text(f"{times} {more}")

    def _fail(self) -> None:
        away = self.state.read_text().endswith("away")
        if away or self._left:
            self._say(self._left - (not away), "away")
            raise OSError("AWS Error NETWORK_CONNECTION during some operation: gone")


@pytest.fixture
def uri(s3_server: S3, bucket: Bucket) -> str:
    """A place in the bucket with all that a worker needs to find it, which was started before there was a server."""
    keys = (s3_server.environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    options = {"endpoint_override": s3_server.environment["AWS_ENDPOINT_URL"], "region": "us-east-1"}
    return f"s3://{':'.join(map(quote, keys))}@{bucket.name}/runs?{urlencode(options)}"


@pytest.fixture
def by_value() -> Iterator[None]:
    """Workers cannot import this file."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.mark.parametrize(("times", "succeeds"), [(RETRIES, True), (RETRIES + 1, False)])
@pytest.mark.usefixtures("ray_local", "by_value")
def test_a_task_is_tried_again_but_not_for_ever(
    times: int, succeeds: bool, uri: str, prepared: Prepared, tmp_path: Path
) -> None:
    storage = Shaky(tmp_path / "runs", uri, tmp_path / "state")
    job = Job(storage.home / "one" / "folds" / "a" / "fold-1", "seg", CONFIG, fold=1)
    with TaskPool(TrialResources(1, 1, 0), tmp_path / "cache", storage) as workers:
        ended: dict[str, dict[str, Any] | BaseException] = {}

        def train() -> dict[str, Any] | BaseException:
            workers.train({"one": job}, {"one": prepared}, {"one": None}, ended.__setitem__)
            return ended["one"]

        def predict() -> Logits | str:
            (answer,) = workers.predict([PredictionRequest(job.folder, prepared, np.arange(3))])
            return answer

        storage.goes_away(times)
        found = train()
        assert job.done == succeeds
        if not succeeds:
            assert isinstance(found, OSError)
            assert "NETWORK_CONNECTION" in first_line(found), "not where Ray says that it was"
            found = train()
        assert found == job.outcome

        storage.goes_away(times)
        if not succeeds:
            with pytest.raises(OSError, match="NETWORK_CONNECTION"):
                predict()
        assert isinstance(predict(), Logits)
