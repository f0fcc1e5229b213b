"""A product whose files somebody edited, or that were cut, says in one line which file, and where in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from orchestrator.ensemble.result import OwnResults
from orchestrator.inference.combination import Combination
from orchestrator.inference.export import MemberCheckpoints, Sources, write
from orchestrator.inference.format import DESCRIPTION, LEARNT_FROM, LearntFrom, ModelError, read, read_learnt_from
from orchestrator.inference.lesion_shape import FEATURES
from orchestrator.inference.part import LoadedPart, Loader
from orchestrator.inference.stack import Stack, Trees
from tests.support.mutations import cut, refusal, refused
from tests.support.products import checkpoint, head

POINTS = [{"kept": "specificity", "rate": 0.9, "threshold": 0.25}]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack of trees over a classifier's classes and the lesion shape of a segmenter: all that a description has."""
    folder = tmp_path_factory.mktemp("made")
    one, other = checkpoint(folder / "cls", "cls", 0), checkpoint(folder / "seg", "seg", 1)
    size = 3 + len(FEATURES)
    trees = Trees((2, 0, 0), (0.5, 0.0, 0.0), (1, 1, 2), (2, 1, 2), (0.0, 0.1, 0.2), (1.0, 0.0, 0.0), (0,), (1,), 2)
    names = ("normal", "benign", "malignant")
    stack = Stack(
        *((0,), (2.0,), (*"abc", *FEATURES), names, (0.0,) * size, (1.0,) * size, (0, 1, 2), (0.1, 0.2, 0.3)),
        coefficients=((0.5,) * size,) * 3,
        trees=trees,
    )
    shape = Sources(Combination("mean", masks=head(1.0)), [MemberCheckpoints(0, "s", [other])], 64)
    main = Sources(Combination("stacked", stack=stack), [MemberCheckpoints(0, "c", [one])], 64, shape)
    learnt_from = LearntFrom(np.zeros((3, 128), np.uint8), 50)
    write(folder / "out", main, keep_aspect=False, synthetic=False, operating_points=POINTS, learnt_from=learnt_from)
    return folder / "out"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "product"))


def test_any_value_of_the_description_is_read_or_named(folder: Path) -> None:
    file = folder / DESCRIPTION
    found = refused(file, lambda: read(folder), ModelError)
    for key in ("image_size", "plane_size", "file", "task", "candidate", "depth", "temperatures", "classes", "scale"):
        values = [value for keys, value in found if keys[-1] == key]
        assert all(value in values for value in (None, "", -1, 10**9)), key
    for content in cut(file.read_bytes()):
        file.write_bytes(content)
        assert refusal(file, lambda: read(folder), ModelError, content[:20])


@pytest.mark.parametrize("name", ["/etc/passwd", "../out/networks/00.safetensors", "networks/../../00.safetensors"])
def test_no_path_leads_out_of_the_folder(folder: Path, name: str) -> None:
    plain = json.loads((folder / DESCRIPTION).read_text())
    plain["members"][0]["networks"][0]["file"] = name
    (folder / DESCRIPTION).write_text(json.dumps(plain))
    with pytest.raises(ModelError, match=r"predictor.json: members.0.networks.0.file: "):
        read(folder)


def test_no_link_leads_out_of_the_folder(folder: Path, made: Path) -> None:
    file = folder / "networks" / "00.safetensors"
    file.unlink()
    file.symlink_to(made / "networks" / "00.safetensors")
    with pytest.raises(ModelError, match=r"00.safetensors: a link that leads out of the model's folder"):
        LoadedPart(read(folder).main, Loader(folder, torch.device("cpu")))


@pytest.mark.parametrize(
    ("name", "value"),
    [("architecture", "x"), ("dropout", None), ("dropout", []), ("head", None), ("classes", 10**9)],
)
def test_a_configuration_that_builds_nothing_is_said(folder: Path, name: str, value: object) -> None:
    plain = json.loads((folder / DESCRIPTION).read_text())
    plain["members"][0]["networks"][0]["config"][name] = value
    (folder / DESCRIPTION).write_text(json.dumps(plain))
    with pytest.raises(ModelError, match=r"predictor\.json") as found:
        LoadedPart(read(folder).main, Loader(folder, torch.device("cpu")))
    assert "\n" not in str(found.value)


def test_weights_that_are_cut_or_of_another_size_are_said(folder: Path) -> None:
    file = folder / "networks" / "00.safetensors"
    content = file.read_bytes()
    header = (10**12).to_bytes(8, "little")
    for damaged in (b"", content[:6], content[: len(content) // 2], header + content[8:], bytes(len(content))):
        file.unlink()
        file.write_bytes(damaged)
        load = Loader(folder, torch.device("cpu"))
        assert refusal(file, lambda load=load: LoadedPart(read(folder).main, load), ModelError)


def test_what_it_learnt_from_is_read_or_named(folder: Path) -> None:
    file = folder / LEARNT_FROM
    for content in cut(file.read_bytes()):
        file.write_bytes(content)
        assert refusal(file, lambda: read_learnt_from(folder), ModelError)
    good = np.zeros((3, 128), np.uint8)
    for hashes, distance in ((good[:, :3], "50"), (good.astype(np.float32), "50"), (good, "999"), (good, "x")):
        save_file({"hashes": np.ascontiguousarray(hashes)}, file, {"distance": distance})
        assert refusal(file, lambda: read_learnt_from(folder), ModelError)


def test_its_own_results_are_read_or_named(folder: Path) -> None:
    file = folder / "results.json"
    judged = {"word": "weak", "checks": [{"claim": "c", "value": 0.5, "interval": None, "n": 3, "side": "for"}]}
    judged["checks"][0]["floor"] = True  # type: ignore[index]
    scores = {"metric": "auroc", "value": 0.9, "interval": [0.8, 0.95], "scores": {"auroc": {"value": 0.9}}}
    plain = {
        "combiner": "mean",
        "members": ["a"],
        "held_out": {"metric": "auroc", "value": 0.9, "standard_error": 0.1, "images": 9, "optimistic": False},
        "test": scores,
        "test_images": {"benign": 3},
        "verdict": {"word": "weak", "held_out": judged, "line": "weak: c"},
    }
    file.write_text(json.dumps(plain))
    assert OwnResults.read(folder) is not None
    assert len(refused(file, lambda: OwnResults.read(folder), ModelError)) > 100
    for content in cut(file.read_bytes()):
        file.write_bytes(content)
        assert refusal(file, lambda: OwnResults.read(folder), ModelError)
