"""A network from outside the package, as a user has it: searched, built into an ensemble, predicted with."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from mlflow import MlflowClient

from orchestrator import run_ensemble, run_search
from orchestrator.inference.format import read
from orchestrator.predict.__main__ import main
from tests.support.plugins import forgotten

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "my_models.py"


@pytest.mark.slow
def test_a_plugin_goes_wherever_its_network_goes(
    phantom: Path, ray_local: None, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = Path(shutil.copy(EXAMPLE, tmp_path / "my_models.py"))
    digests = {"my_models": sha256(plugin.read_bytes()).hexdigest()}
    given = {"name": "own", "storage": tmp_path / "runs", "tracking_uri": store}
    with forgotten():
        search = run_search(
            **given, data=phantom, image_size=64, trials=2, epochs=1, arch="dilated_net", plugin=plugin, ensemble=False
        )
        assert search.status == "done"
        built = {"out_of_fold": False, "top_k": 2, "boost_rounds": 0, "export": tmp_path / "model"}
        assert run_ensemble(**given, task="seg", **built).winner
    assert yaml.safe_load((tmp_path / "runs/own/settings.yaml").read_text())["plugins"] == digests
    runs = MlflowClient(store).search_runs(["1"])
    assert len(runs) == 4, "the search, its trials, the ensemble"
    assert {one.data.tags["plugin.my_models"] for one in runs} == set(digests.values())
    assert read(tmp_path / "model/artifacts/ensemble").plugins == digests
    files = [file for file in (tmp_path / "model").rglob("*") if file.is_file()]
    assert not [file for file in files if b"DilatedNet" in file.read_bytes()], "a product brings no plugin's code"

    image = tmp_path / "a.png"
    cv2.imwrite(str(image), np.full((50, 70), 90, np.uint8))
    words = ["--task", "seg", "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out"), str(image)]
    capsys.readouterr()
    assert main(words) == 2
    advice = "it needs the plugin my_models: give --plugin my_models.py, or install its package"
    assert capsys.readouterr().err == f"error: {tmp_path}/model/artifacts/ensemble: {advice}\n"
    with forgotten():
        assert main([*words, "--plugin", str(plugin)]) == 0, capsys.readouterr().err
