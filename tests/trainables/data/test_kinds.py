"""What values and colours of masks mean: classes where an entry says so, a question where nobody does."""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import replicas
from tests.support.replicas import Item, made, save
from trainables.data import CLASSES, DataError, Manifest, prepare, read_manifest
from trainables.data.layouts import LAYOUTS, Layout

ASKED = "no label is known: if they are classes, say so in a layout file"


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return made()


def labels(found: Manifest) -> Counter[str]:
    return Counter(CLASSES[record.label] if record.label >= 0 else "unknown" for record in found.records)


def test_values_that_may_be_classes_are_asked_about(items: list[Item], tmp_path: Path) -> None:
    replicas.index_masks(tmp_path, items)
    manifest = read_manifest(tmp_path)
    warning = f"warning: masks hold values 1 and 2 and {ASKED}"
    assert manifest.warnings == (warning,)
    assert warning in prepare(manifest, tmp_path / "cache", size=32, folds=2).notes


def test_colours_too_and_in_a_table(items: list[Item], tmp_path: Path) -> None:
    for item in items[:8]:
        colours = np.zeros((*item.mask.shape, 3), np.uint8)
        colours[item.mask > 0] = (0, 255, 0) if item.name == "benign" else (255, 0, 0)
        save(item.image, tmp_path / f"images/{item.number}.png")
        save(colours, tmp_path / f"masks/{item.number}.png")
    said = f"warning: masks hold colours (0, 255, 0) and (255, 0, 0) and {ASKED}"
    assert read_manifest(tmp_path).warnings == (said,)
    rows = [f"images/{item.number}.png,masks/{item.number}.png" for item in items[:8]]
    (tmp_path / "all.csv").write_text("\n".join(["image,mask", *rows]))
    assert read_manifest(tmp_path / "all.csv").warnings == (said,)


@pytest.mark.parametrize(
    "build",
    [replicas.busi, replicas.bus_uclm, replicas.nnunet, replicas.stu, replicas.yolo, replicas.other_columns],
    ids=lambda build: build.__name__,
)
def test_nothing_is_asked_where_it_is_known(build: object, items: list[Item], tmp_path: Path) -> None:
    build(tmp_path, items)  # type: ignore[operator]
    assert read_manifest(tmp_path).warnings == ()


@pytest.mark.parametrize("values", [(0, 255), (0, 1), (3, 7)])
def test_two_values_are_no_classes(values: tuple[int, int], items: list[Item], tmp_path: Path) -> None:
    for item in items[:8]:
        save(item.image, tmp_path / f"images/{item.number}.png")
        save(np.where(item.mask > 0, values[1], values[0]).astype(np.uint8), tmp_path / f"masks/{item.number}.png")
    assert read_manifest(tmp_path).warnings == ()


def test_colours_tell_the_class_where_the_table_does_not(items: list[Item], tmp_path: Path) -> None:
    replicas.bus_uclm(tmp_path, items)
    table = tmp_path / "BUS-UCLM/INFO.csv"
    lines = table.read_text(encoding="utf-8-sig").splitlines()
    table.write_text("\n".join(lines[:1] + lines[3:5] + lines[6:10]))  # without 1, 2, 5 and 10
    found = read_manifest(tmp_path)
    assert labels(found) == replicas.ALL
    assert [(fault.file.stem[-3:], fault.action) for fault in found.faults] == [
        (number, "label from its mask") for number in ("001", "002", "005", "010")
    ]


def test_values_of_an_entry(items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = replace(LAYOUTS["folders"], means=(("benign", (1,)), ("malignant", (2,)), ("normal", (0,))))
    monkeypatch.setitem(LAYOUTS, "folders", layout)
    replicas.index_masks(tmp_path, items)
    save(items[9].image, tmp_path / "images/10.png")
    save(items[9].mask, tmp_path / "masks/10.png")
    found = read_manifest(tmp_path)
    assert labels(found) == {"benign": 4, "malignant": 4, "normal": 1}
    assert found.warnings == ()
    both = np.array([[0, 1, 2]], np.uint8)
    save(np.zeros((1, 3), np.uint8), tmp_path / "images/11.png")
    save(both, tmp_path / "masks/11.png")
    assert labels(read_manifest(tmp_path))["unknown"] == 1, "a mask of both is of neither"


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32])
def test_values_are_read_as_they_are_stored(kind: type, items: list[Item], tmp_path: Path) -> None:
    """Scaled to 0..255 they would mean nothing."""
    replicas.nnunet(tmp_path, items)
    for file in list(tmp_path.glob("*/labelsTr/*.png")):
        Image.fromarray(np.asarray(Image.open(file)).astype(kind)).save(file.with_suffix(".tif"))
        file.unlink()
    assert labels(read_manifest(tmp_path)) == replicas.LESIONS


def test_a_layout_says_nothing_unless_told() -> None:
    assert Layout("x", ("{name}",)).means == ()


@pytest.mark.parametrize("task", ["cls", "multi"])
def test_where_classes_matter_the_question_is_in_the_refusal(task: str, items: list[Item], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from trainables.tasks import make_task

    replicas.index_masks(tmp_path, items)
    data = prepare(read_manifest(tmp_path), tmp_path / "cache", size=32, folds=2)
    with pytest.raises(DataError, match=r"; masks hold values 1 and 2 and no label is known: if they are classes"):
        make_task(task).rows(data)


def test_without_its_table_the_entry_must_be_named(items: list[Item], tmp_path: Path) -> None:
    replicas.bus_uclm(tmp_path, items)
    (tmp_path / "BUS-UCLM/INFO.csv").unlink()
    assert read_manifest(tmp_path).layout == "folders"
    found = read_manifest(tmp_path, "bus-uclm")
    assert (labels(found), found.patients_from, found.faults) == (replicas.ALL, "file names", ())


def test_a_mask_that_cannot_be_read_now_does_not_lose_its_class(
    items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replicas.nnunet(tmp_path, items)
    monkeypatch.setattr("trainables.data.patience.PAUSES", ())

    def away(path: Path, mode: str = "r", **kwargs: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    kept = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *a, **k: (kept if path.suffix != ".png" else away)(path, *a, **k))
    with pytest.raises(
        DataError, match=r"labelsTr/b1\.png: could not be read just now \(Too many open files\); run again$"
    ):
        read_manifest(tmp_path)
