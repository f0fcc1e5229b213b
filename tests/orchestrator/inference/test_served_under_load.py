"""The served model under load: 100 requests at once and 300 in a row, none lost, and memory that stays where it is."""

from __future__ import annotations

import base64
import json
import os
import sys
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import pytest

from orchestrator.inference import mlflow_model
from orchestrator.inference.predictor import Predictor
from tests.support.mlflow_runs import free_port
from tests.support.processes import Process
from tests.support.products import pictures, small_product

pytestmark = pytest.mark.long

#: Of the memory after 50 requests, what 250 more may add.
GROWTH = 0.05


class Served(NamedTuple):
    """A model that is served: its process, how it is asked for an image by its number, and what it has to say."""

    process: Process
    ask: Callable[[int], dict[str, Any]]
    expected: list[float]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model for images of different sizes, as `docs/ensemble.md` serves it."""
    folder, images, port = tmp_path_factory.mktemp("served"), pictures(5), free_port()
    product = small_product(folder, "multi", networks=1)
    mlflow_model.save(folder / "model", product)
    sent = [base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode() for image in images]
    address = f"http://127.0.0.1:{port}"

    def ask(number: int) -> dict[str, Any]:
        data = json.dumps({"dataframe_records": [{"image": sent[number % len(sent)]}]}).encode()
        request = urllib.request.Request(f"{address}/invocations", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=300) as answer:
            (row,) = json.load(answer)["predictions"]
        return row

    def alive() -> bool:
        try:
            with urllib.request.urlopen(f"{address}/ping") as answer:
                return answer.status == 200
        except OSError:
            return False

    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder / "model"), "--env-manager", "local"]
    # MLflow starts uvicorn by its bare name, so the environment's programs must be on the path.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    expected = [one.row()["malignant_score"] for one in Predictor.load(product).predict(images)]
    with Process([*command, "--port", str(port)], folder, {"PATH": path}, folder / "server.txt") as process:
        process.until(alive)
        yield Served(process, ask, expected)


def test_a_hundred_at_once_are_all_answered(served: Served) -> None:
    with ThreadPoolExecutor(100) as pool:
        rows = list(pool.map(served.ask, range(100)))
    expected = served.expected * (100 // len(served.expected))
    assert [row["malignant_score"] for row in rows] == pytest.approx(expected, abs=1e-3)


def test_memory_stays_where_it_is(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    memory = {}
    for number in range(300):
        row = served.ask(number)
        assert row["malignant_score"] == pytest.approx(served.expected[number % len(served.expected)], abs=1e-3)
        if number + 1 in (50, 300):
            memory[number + 1] = served.process.memory() / 1e6
    with capsys.disabled():
        print(f"\nmemory of the server, MB: {memory[50]:.0f} after 50 requests, {memory[300]:.0f} after 300")
    assert memory[300] <= (1 + GROWTH) * memory[50]
