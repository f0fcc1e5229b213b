"""MLflow's own pages in Chromium, on a store that real searches wrote: what a person finds there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.tracking import ui_view
from orchestrator.tracking.description import TOP
from orchestrator.tracking.ranking import rank, read_trials
from tests.support.mlflow_runs import free_port

if TYPE_CHECKING:
    from tests.support.home import Home

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[str]:
    """The address of a server on the store."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", home.uri, "--port", str(port)]
    with subprocess.Popen(
        [*command, "--workers", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + 120
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                    break
                except OSError:
                    assert time.monotonic() < deadline, "no answer within two minutes"
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _shown(address: str, folder: Path, words: str) -> str:
    """The page's text, once these words are on it."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--window-size=1440,1600",
    ]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    flags += [f"--user-data-dir={folder / 'browser'}", "--virtual-time-budget=30000", "--dump-dom"]
    done = subprocess.run([browser, *flags, address], capture_output=True, text=True, timeout=240)
    text = unescape(re.sub(r"<style.*?</style>|<script.*?</script>|<[^>]*>", " ", done.stdout, flags=re.DOTALL))
    assert words in text, text[-3000:]
    return re.sub(r"\s+", " ", text)


def test_runs_and_description_stand_in_the_order_of_the_best_value(home: Home, server: str, tmp_path: Path) -> None:
    rows = read_trials(home.uri, "breast-ultrasound-seg")
    (ranking,) = rank(rows)
    text = _shown(ui_view.address(server, _experiment(home), "dice"), tmp_path, "matching runs")
    before, _, table = text.partition("Run Name")
    best = ranking.ranked[0]
    heading = f"best validation dice {best.best:.4f} , {best.name}"
    assert heading in before
    described = before.partition(heading)[2]
    names = list(dict.fromkeys(row.name for row in ranking.ranked[:TOP]))  # two searches may have a trial of one name
    for part in (described, table):
        places = [part.index(name) for name in names]
        assert places == sorted(places)
    assert f"{len(rows)} matching runs" in text
    assert ranking.data_fingerprint[:12] in table, "the Dataset column"


def test_the_models_page_shows_the_trials(home: Home, server: str, tmp_path: Path) -> None:
    address = f"{server}/#/experiments/{_experiment(home)}/models?workflowType=machine_learning"
    text = _shown(address, tmp_path, "Model attributes")
    mine = [row for row in read_trials(home.uri, "breast-ultrasound-seg") if row.search == "seg"]
    assert len(mine) == 2
    for row in mine:
        assert f"seg {row.name}" in text
    assert "Ready" in text


def _experiment(home: Home) -> str:
    from mlflow import MlflowClient

    return str(MlflowClient(home.uri).get_experiment_by_name("breast-ultrasound-seg").experiment_id)
