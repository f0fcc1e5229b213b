"""The product's folder: complete or not there, its members' files, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.inference.combination import Combination
from orchestrator.inference.export import MemberCheckpoints, Sources, write
from orchestrator.inference.format import ModelError, read
from tests.support.products import checkpoint, head, small_product

MEAN = Combination("mean", classes=head(0.5, 0.5))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    points = [{"kept": "specificity", "rate": 0.9, "threshold": 0.25}]
    folder = small_product(tmp_path, "multi", synthetic=True, operating_points=points, tta=True)
    found = read(folder)
    assert (found.task, found.classes) == ("multi", ("normal", "benign", "malignant"))
    assert (found.synthetic, found.tta, found.keep_aspect, found.shape) == (True, True, False, None)
    assert found.operating_points == tuple(points)
    assert found.data_fingerprint == "f1"
    assert found.trained_on == (f"{0:016x}", f"{1:016x}", "f" * 16), "of all members, each once, sorted"
    assert found.main.combination.masks == head(1.0, threshold=0.25)
    assert [network.image_size for network in found.main.members[0].networks] == [64, 64]
    assert json.loads((folder / "predictor.json").read_text())["format"] == 1


def test_nothing_else_is_left_beside_it(tmp_path: Path) -> None:
    folder = small_product(tmp_path / "a folder", "cls")
    assert sorted(path.name for path in folder.parent.iterdir()) == ["cls 0", "cls 1", "ensemble"]
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == [
        "networks/00.safetensors",
        "networks/01.safetensors",
        "predictor.json",
    ]


def test_two_classes_are_the_last_two(tmp_path: Path) -> None:
    one = MemberCheckpoints(0, "a", [checkpoint(tmp_path / "a", "cls", 0, classes=2)])
    write(tmp_path / "out", Sources(Combination("best", head(1.0)), [one], 64), keep_aspect=False, synthetic=False)
    assert read(tmp_path / "out").classes == ("benign", "malignant")


def test_a_checkpoint_of_two_members_is_stored_once(tmp_path: Path) -> None:
    shared = checkpoint(tmp_path / "a", "cls", 0)
    sources = Sources(MEAN, [MemberCheckpoints(0, "a", [shared]), MemberCheckpoints(1, "b", [shared])], 64)
    write(tmp_path / "out", sources, keep_aspect=False, synthetic=False)
    assert len(list((tmp_path / "out" / "networks").iterdir())) == 1


def test_an_earlier_ensemble_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    folder = small_product(tmp_path / "one", "cls")
    one = MemberCheckpoints(0, "a", [checkpoint(tmp_path / "a", "cls", 7)])
    sources = Sources(Combination("best", head(1.0)), [one], 64)
    write(folder, sources, keep_aspect=True, synthetic=False)
    assert read(folder).keep_aspect
    assert len(list((folder / "networks").iterdir())) == 1
    (tmp_path / "thesis").mkdir()
    with pytest.raises(ModelError, match="thesis: exists and holds no ensemble"):
        write(tmp_path / "thesis", sources, keep_aspect=True, synthetic=False)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"task": "cls", "fingerprint": "f2"}, r"different data \(f1, f2\)"),
        ({"task": "multi"}, r"different tasks \(cls, multi\)"),
        ({"task": "cls", "classes": 2}, r"different numbers of classes \(2, 3\)"),
        (None, "needs members \\[1\\]"),
    ],
)
def test_members_that_do_not_belong_together_are_refused(tmp_path: Path, second: dict | None, words: str) -> None:
    members = [MemberCheckpoints(0, "a", [checkpoint(tmp_path / "a", "cls", 0)])]
    if second:
        members.append(MemberCheckpoints(1, "b", [checkpoint(tmp_path / "b", seed=1, **second)]))
    with pytest.raises(ModelError, match=words):
        write(tmp_path / "out", Sources(MEAN, members, 64), keep_aspect=False, synthetic=False)
    assert not (tmp_path / "out").exists()
    assert all(not path.name.startswith(".") for path in tmp_path.iterdir())
