"""The product as an MLflow model: what is in the folder, and that all ways to it give the same predictions."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from importlib.metadata import distribution, packages_distributions
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModelContext
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from orchestrator.inference import mlflow_model
from orchestrator.inference.prediction import ARTIFACT, COLUMNS
from orchestrator.inference.predictor import Predictor
from orchestrator.inference.pyfunc import PyfuncModel
from orchestrator.predict.__main__ import main
from orchestrator.tracking.client import ensure_experiment, open_store
from tests.support.mlflow_runs import free_port
from tests.support.processes import Process
from tests.support.products import give_nan, pictures, small_product

POINT = {"kept": "specificity", "rate": 0.9, "threshold": 0.3}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A saved model of each task."""
    folders = {}
    for task in ("seg", "cls", "multi"):
        folder = tmp_path_factory.mktemp(f"my {task}")
        ensemble = small_product(folder, task, networks=1, operating_points=[POINT])
        mlflow_model.save(folder / "model", ensemble)
        folders[task] = folder / "model"
    return folders


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def expected(folder: Path, images: list[np.ndarray]) -> list[dict[str, Any]]:
    return [one.row() for one in Predictor.load(folder / "artifacts" / "ensemble").predict(images)]


def assert_same(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    for row, other in zip(rows, others, strict=True):
        for name in COLUMNS:
            if other[name] is None:
                assert row[name] is None, name
            else:
                assert row[name] == pytest.approx(other[name], rel=1e-3, abs=1e-3), name


@pytest.mark.slow
def test_nothing_is_pickled_and_nothing_else_is_packed(saved: dict[str, Path]) -> None:
    for task, folder in saved.items():
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        kinds = {Path(name).suffix or Path(name).name for name in names}
        assert kinds == {".py", ".json", ".safetensors", ".yaml", ".txt", "MLmodel"}
        assert not [name for name in names if "__pycache__" in name]
        assert {path.name for path in (folder / "code").iterdir()} == set(mlflow_model.CODE)
        assert not [name for name in names if name.startswith("code/") and ("ensemble" in name or "training" in name)]
        assert "artifacts/ensemble/predictor.json" in names
        assert {path.name for path in folder.parent.iterdir()} == {"model", "ensemble", f"{task} 0"}


#: Hides every installed module whose distribution is not named, and predicts with the folders that are.
CLEAN = """
import json, sys
from importlib.machinery import PathFinder
from importlib.metadata import packages_distributions

allowed, folders = json.loads(sys.argv[1])
hidden = {module for module, owners in packages_distributions().items() if not set(owners) & set(allowed)}
hidden -= {"orchestrator", "trainables", "search_spaces"}


class Clean(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in hidden else super().find_spec(name, path, target)


# Neither the project as it is installed here, which would stand in for code that does not ship.
others = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
sys.meta_path = [Clean if finder is PathFinder else finder for finder in others]
import mlflow, numpy, pandas

for folder in folders:
    model = mlflow.pyfunc.load_model(folder)
    print(len(model.predict(model.input_example)), sorted(hidden & set(sys.modules)))
    for name in [name for name in sys.modules if name.split(".")[0] in ("orchestrator", "trainables", "search_spaces")]:
        assert "/code/" in (sys.modules.pop(name).__file__ or "/code/"), name
"""


@pytest.mark.slow
def test_pinned_requirements_are_all_that_it_needs(saved: dict[str, Path], tmp_path: Path) -> None:
    """As in a clean environment with these and what they bring: no Ray, Optuna, albumentations, torchmetrics."""
    lines = (saved["multi"] / "requirements.txt").read_text().split()
    assert sorted(lines) == sorted(mlflow_model.requirements())
    assert all(re.fullmatch(r"[\w-]+==[\d.]+\w*", line) for line in lines)
    covered = closure({line.partition("==")[0] for line in lines})
    assert not {"ray", "optuna", "albumentations", "torchmetrics"} & covered
    installed = {name for owners in packages_distributions().values() for name in owners}
    allowed = [name for name in installed if canonicalize_name(name) in covered]
    words = json.dumps([allowed, list(map(str, saved.values()))])
    command = [sys.executable, "-c", CLEAN, words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["1 []"] * 3
    assert list(tmp_path.iterdir()) == []


def closure(names: set[str]) -> set[str]:
    """Distributions that installing these brings."""
    found: set[str] = set()
    waiting = {canonicalize_name(name) for name in names}
    while waiting:
        name = waiting.pop()
        found.add(name)
        required = [Requirement(line) for line in distribution(name).requires or []]
        needed = [one.name for one in required if one.marker is None or one.marker.evaluate({"extra": ""})]
        waiting |= {canonicalize_name(one) for one in needed} - found
    return found


@pytest.mark.slow
@pytest.mark.parametrize("task", ["seg", "cls", "multi"])
def test_mlflow_serves_what_the_ensemble_predicts(saved: dict[str, Path], task: str) -> None:
    images = pictures(3)
    model = mlflow.pyfunc.load_model(str(saved[task]))
    found = model.predict(pd.DataFrame({"image": [png(image) for image in images]}))
    assert_same(found.to_dict("records"), expected(saved[task], images))
    text = pd.DataFrame({"image": [base64.b64encode(png(image)).decode() for image in images]})
    pd.testing.assert_frame_equal(model.unwrap_python_model().predict(None, text), found)
    for pixels in (images, [image.tolist() for image in images]):
        pd.testing.assert_frame_equal(model.predict(pd.DataFrame({"image": pixels})), found)
    deep = pd.DataFrame({"image": [images[0].astype(np.uint16) * 16, (images[0].astype(int) * 16).tolist()]})
    assert_same(model.predict(deep).to_dict("records"), expected(saved[task], [deep["image"][0]] * 2))
    assert list(found) == [*COLUMNS, *(["mask_png"] if task != "cls" else [])]
    assert set(found) <= set(model.metadata.get_output_schema().input_names())
    if task != "cls":
        shapes = [Image.open(BytesIO(base64.b64decode(mask))).size[::-1] for mask in found["mask_png"]]
        assert shapes == [image.shape for image in images]
    json.dumps(found.to_dict("records"), allow_nan=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ({"image": [b"no image"]}, "image 0: not an image"),
        ({"image": [png(np.zeros((4, 4), np.uint8)), b""]}, "image 1: 0 bytes"),
        ({"image": ["no base64!"]}, "image 0: not base64"),
        ({"image": [[[0.5, 1.0]]]}, "image 0: send whole numbers from 0"),
        ({"image": [[[1, 2], [3]]]}, "image 0: rows of different lengths"),
        ({"image": [[[1, -2]]]}, "image 0: send whole numbers from 0"),
        ({"image": [np.zeros((4, 4), np.uint8), np.zeros((3, 4, 5), np.uint8)]}, "image 1: .* channels first"),
        ({"image": [None]}, "image 0: NoneType is no image"),
        ({"picture": [b""]}, "no column 'image'"),
    ],
)
def test_a_bad_request_is_answered_in_a_line(saved: dict[str, Path], frame: dict, words: str) -> None:
    model = mlflow.pyfunc.load_model(str(saved["cls"])).unwrap_python_model()
    with pytest.raises(MlflowException, match=words) as found:
        model.predict(None, pd.DataFrame(frame))
    assert found.value.get_http_status_code() == 400


@pytest.mark.slow
def test_an_export_is_taken_as_it_is_and_never_overwritten(
    saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(png(pictures(1)[0]))
    assert main(["--task", "multi", "--model", str(saved["multi"]), "--out", "out", "a.png"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "out"], "no mlflow.db"
    with pytest.raises(FileExistsError):
        mlflow_model.save(saved["multi"], saved["multi"] / "artifacts" / "ensemble")


def test_nan_of_one_image_leaves_its_row_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    images, model = pictures(3), PyfuncModel()
    context = PythonModelContext({ARTIFACT: str(small_product(tmp_path, "multi", networks=1))}, {})
    model.load_context(context)
    give_nan(monkeypatch, lambda image: image.shape == images[1].shape)
    found = model.predict(context, pd.DataFrame({"image": [png(image) for image in images]}))
    assert found.notna().any(axis=1).tolist() == [True, False, True]
    json.dumps(found.to_dict("records"), allow_nan=False)
    assert "image 1: the model gives no number for it (NaN or infinity)" in caplog.text


def register(uri: str, folder: Path, name: str) -> None:
    """The model as the champion of a store."""
    client = open_store(uri, create=True)
    run = client.create_run(ensure_experiment(client, uri, "ensembles", None))
    source = mlflow_model.log(client, run.info.run_id, folder)
    client.create_registered_model(name)
    version = client.create_model_version(name, source, run.info.run_id)
    client.set_registered_model_alias(name, "champion", version.version)
    assert isinstance(client, MlflowClient)


@pytest.mark.slow
def test_the_champion_is_the_default(
    saved: dict[str, Path], store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    images = pictures(2)
    for i, image in enumerate(images):
        (tmp_path / f"{i}.png").write_bytes(png(image))
    words = ["--task", "cls", "--tracking-uri", store, "--out", "out", "0.png", "1.png"]
    assert main(words) == 2
    assert "no model models:/breast-ultrasound-cls@champion in" in capsys.readouterr().err
    register(store, saved["cls"], "breast-ultrasound-cls")
    assert main(words) == 0, capsys.readouterr().err
    rows = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert set(zip(rows["model"], rows["version"], strict=True)) == {("models:/breast-ultrasound-cls@champion", 1)}
    wanted = [row["malignant_score"] for row in expected(saved["cls"], images)]
    np.testing.assert_allclose(rows["malignant_score"], wanted, atol=1e-4)
    assert not (tmp_path / "mlflow.db").exists(), "no store but the given one"
    assert main([*words, "--model", "models:/breast-ultrasound-cls/1"]) == 0
    assert main([*words, "--model", "models:/breast-ultrasound-cls/2"]) == 2


@pytest.mark.slow
def test_a_real_server_answers_a_real_request(saved: dict[str, Path], store: str, tmp_path: Path) -> None:
    register(store, saved["multi"], "breast-ultrasound-multi")
    port, images = free_port(), pictures(2)
    model = "models:/breast-ultrasound-multi@champion"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, "--env-manager", "local"]
    address = f"http://127.0.0.1:{port}"
    records = [{"image": base64.b64encode(png(image)).decode()} for image in images]

    def ask(content: dict) -> tuple[int, Any]:
        data, headers = json.dumps(content).encode(), {"Content-Type": "application/json"}
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{address}/invocations", data, headers)) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def alive() -> bool:
        try:
            with urllib.request.urlopen(f"{address}/ping") as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    # MLflow starts uvicorn by its bare name, so the environment's programs must be on the path.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"MLFLOW_TRACKING_URI": store, "PATH": path}
    with Process([*command, "--port", str(port)], tmp_path, environment, tmp_path / "server.txt") as server:
        server.until(alive)
        status, answer = ask({"dataframe_records": records})
        assert status == 200
        assert_same(answer["predictions"], expected(saved["multi"], images))
        mask = Image.open(BytesIO(base64.b64decode(answer["predictions"][0]["mask_png"])))
        assert mask.size == images[0].shape[::-1]
        pixels = {"columns": ["image"], "data": [[image.tolist()] for image in images]}
        assert ask({"dataframe_split": pixels}) == (200, answer)
        for wrong, words in ((base64.b64encode(b"no image").decode(), "not an image"), ([[0.5]], "send whole numbers")):
            status, answer = ask({"dataframe_records": [records[0], {"image": wrong}]})
            assert status == 400
            assert f"image 1: {words}" in answer
        status, answer = ask({"dataframe_records": records[:1] * 1001})
        assert status == 413
        assert "more than 1,000 images in a request" in answer
