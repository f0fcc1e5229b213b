"""Tables that say where an image belongs: a given split, a source held out, patients of several sources."""

from __future__ import annotations

import csv
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trainables.data import CLASSES, DataError, Prepared, prepare, read_manifest
from trainables.data.manifest import TEST

Change = Callable[[int, dict[str, str]], None]


@pytest.fixture
def tabulated(phantom: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Prepared]:
    """The phantom by a table: `change` alters each row, `more` adds rows; then as `prepare`."""
    cache = tmp_path_factory.getbasetemp() / "tabulated-cache"  # one for all tests: the images are the same

    def make(
        change: Change = lambda i, row: None, more: tuple[dict[str, str], ...] = (), **options: object
    ) -> Prepared:
        images = sorted(file for file in phantom.rglob("*.png") if "_mask" not in file.name)
        rows = []
        for i, image in enumerate(images):
            row = {"image": str(image), "mask": f"{image.parent}/{image.stem}_mask.png", "label": image.parent.name}
            change(i, row)
            rows.append(row)
        rows += more
        with (tmp_path / "table.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
            writer.writeheader()
            writer.writerows(rows)
        return prepare(read_manifest(tmp_path / "table.csv"), cache, **{"size": 32, **options})

    return make


def named(data: Prepared) -> dict[str, int]:
    """Part of the split by image."""
    return {Path(file).name: part for file, part in zip(data.files, data.split.tolist(), strict=True)}


def copy_of(data: Prepared, row: int, folder: Path, **cells: str) -> dict[str, str]:
    """A table's row for a copy of an image, under another name."""
    target = folder / f"copy of {Path(data.files[row]).name}"
    shutil.copy(data.files[row], target)
    label = CLASSES[data.labels[row]]
    return {"image": str(target), "mask": ";".join(data.mask_files[row]), "label": label, **cells}


def test_a_table_of_a_folder_is_the_same_data(
    tabulated: Callable[..., Prepared], phantom: Path, tmp_path: Path
) -> None:
    by_table = tabulated()
    by_folder = prepare(read_manifest(phantom), tmp_path / "cache", size=32)
    assert by_table.data_fingerprint == by_folder.data_fingerprint
    assert by_table.mask_files == by_folder.mask_files
    np.testing.assert_array_equal(by_table.masks, by_folder.masks)


def test_what_a_table_says_follows_its_image(tabulated: Callable[..., Prepared]) -> None:
    def change(i: int, row: dict[str, str]) -> None:
        row |= {"source": f"set {i % 3}", "machine": f"m{i % 4}", "number": str(i), "month": str(i % 6)}
        if i % 5 == 0:
            row["mask"] = ""

    data = tabulated(change)
    data = pickle.loads(pickle.dumps(data))
    images = sorted(data.files)
    assert list(data.subgroups) == ["machine", "month"]
    for row, file in enumerate(data.files):
        i = images.index(file)
        assert data.sources[row] == f"set {i % 3}"
        assert data.subgroups["machine"][row] == f"m{i % 4}"
        assert data.subgroups["month"][row] == str(i % 6)
        normal = data.labels[row] == CLASSES.index("normal")
        assert data.has_mask[row] == (i % 5 != 0 or normal)
        expected = () if i % 5 == 0 else (str(Path(file).with_name(f"{Path(file).stem}_mask.png")),)
        assert data.mask_files[row] == expected
        assert data.masks[row].any() == (i % 5 != 0 and not normal)
    assert data.has_masks
    assert data.has_mask.dtype == bool


@pytest.mark.parametrize("given", [("test", "validation"), ("test",), ("validation",)])
def test_a_given_split_is_honoured(tabulated: Callable[..., Prepared], given: tuple[str, ...]) -> None:
    sides = (*given, "train", "train", "train")
    data = tabulated(lambda i, row: row.update(split=sides[i % len(sides)]), folds=3)
    by_side: dict[str, set[int]] = {side: set() for side in sides}
    for i, file in enumerate(sorted(data.files)):
        by_side[sides[i % len(sides)]].add(data.split[data.files.index(file)])
    drawn = {0, 1, 2, TEST}
    for side, part in (("test", TEST), ("validation", 0)):
        if side in given:
            assert by_side[side] == {part}
            drawn.remove(part)
    assert by_side["train"] == drawn
    missing = {"test", "validation"} - set(given)
    (note,) = (note for note in data.notes if "split is given" in note)
    assert note.endswith(" is drawn from train") == bool(missing)
    assert all(side in note for side in (*given, *missing))
    assert not data.faults


def test_another_given_split_is_other_data(tabulated: Callable[..., Prepared]) -> None:
    prints = {
        tabulated(lambda i, row, k=k: row.update(split=("test", "train")[(i + k) % 2])).data_fingerprint for k in (0, 1)
    }
    assert len(prints) == 2


def test_leaks_of_a_given_split_are_named_and_kept(tabulated: Callable[..., Prepared], tmp_path: Path) -> None:
    sides = ("test", "validation", "train", "train", "train")

    def change(i: int, row: dict[str, str]) -> None:
        row |= {"split": sides[i % 5], "patient": "P" if i in (0, 6) else ""}

    plain = tabulated(change, folds=3)
    assert "warning: 1 group lies on both sides of the given split" in plain.notes[-1]
    image = next(row for row in range(len(plain.files)) if plain.split[row] > 0)
    copy = copy_of(plain, image, tmp_path, split="test", patient="")
    data = tabulated(change, (copy,), folds=3)
    names = sorted(Path(file).name for file in plain.files)
    by_place = {Path(file).name: file for file in sorted(plain.files)}
    first, second = (Path(sorted(plain.files)[i]).name for i in (0, 6))
    original = Path(plain.files[image]).name
    assert sorted(str(fault) for fault in data.faults) == sorted(
        f"{file}: near-duplicate or patient of {other}, which is in {side}; kept: the split was given"
        for file, other, side in [
            (copy["image"], original, "train"),
            (by_place[first], second, "validation"),
            (by_place[second], first, "test"),
        ]
    )
    assert len(names) == len(set(names))
    assert "warning: 2 groups lie on both sides of the given split, first: " in data.notes[-1]
    assert named(data)[Path(copy["image"]).name] == TEST
    assert named(data)[original] > 0
    assert data.left_out == 0


@pytest.mark.parametrize("learnt", [2, 18, 24])
def test_a_leak_is_named_by_an_image_to_train_on_if_there_is_one(
    tabulated: Callable[..., Prepared], learnt: int
) -> None:
    sides = ("test", "validation", "train", "train", "train")

    def change(i: int, row: dict[str, str]) -> None:
        row |= {"split": sides[i % 5], "patient": "P" if i in (0, 1, 5, 6, learnt) else ""}

    data = tabulated(change, folds=3)
    name = Path(sorted(data.files)[learnt]).name
    assert len(data.faults) == 4
    assert all(f"near-duplicate or patient of {name}, which is in train" in str(fault) for fault in data.faults)


def test_a_source_is_held_out(tabulated: Callable[..., Prepared], tmp_path: Path) -> None:
    plain = tabulated(lambda i, row: row.update(source="AB"[i % 2]), test_source="B", folds=3)
    assert [part == TEST for part in plain.split.tolist()] == [source == "B" for source in plain.sources]
    assert set(plain.split.tolist()) == {TEST, 0, 1, 2}
    assert "source B is held out: its 20 images are the test set" in plain.notes

    held_out, learnt = (next(row for row, s in enumerate(plain.sources) if s == source) for source in "BA")
    copy = copy_of(plain, held_out, tmp_path, source="A", patient="7")

    def change(i: int, row: dict[str, str]) -> None:
        row |= {"source": "AB"[i % 2], "patient": "7" if row["image"] == plain.files[learnt] else ""}

    data = tabulated(change, (copy,), test_source="B", folds=3)
    # The copy is of a test image, and its patient's other image goes with it.
    assert set(plain.files) - set(data.files) == {plain.files[learnt]}
    assert copy["image"] not in data.files
    problem = f"near-duplicate or patient of {Path(plain.files[held_out]).name}, which is in test; left out"
    assert sorted(map(str, data.faults)) == sorted(
        f"{file}: {problem}" for file in (copy["image"], plain.files[learnt])
    )
    assert data.left_out == 2
    assert data.test_rows().size == plain.test_rows().size


@pytest.mark.parametrize(
    ("columns", "source", "message"),
    [
        ({}, "BUSI", "names no sources to hold one out; give several datasets, or a table"),
        ({"source": "A B"}, "BUSI", "no source 'BUSI' to hold out; it has A, B$"),
        ({"source": "A B", "split": "test train"}, "A", "gives a split already; remove its column"),
        ({"source": "A A"}, "A", "0 groups of images marked train are too few for a test set and 5 folds"),
        (
            {"source": "A B", "mask": "no-file.png m.png"},
            "A",
            "no usable image is left for test.*first: .*no-file.png: cannot",
        ),
    ],
)
def test_sources_that_cannot_be_held_out(
    tabulated: Callable[..., Prepared], columns: dict[str, str], source: str, message: str
) -> None:
    def change(i: int, row: dict[str, str]) -> None:
        cells = {column: values.split()[i % 2] for column, values in columns.items()}
        row |= {column: value for column, value in cells.items() if value != "m.png"}

    with pytest.raises(DataError, match=message) as error:
        tabulated(change, test_source=source)
    assert "\n" not in str(error.value)


def test_a_folder_has_no_sources(phantom: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="names no sources to hold one out"):
        prepare(read_manifest(phantom), tmp_path, size=32, test_source="BUSI")


def test_patients_are_groups_within_their_source_and_sources_are_not(tabulated: Callable[..., Prepared]) -> None:
    data = tabulated(lambda i, row: row.update(patient=str(i // 4), source="AB"[i % 2]), folds=3)
    images = sorted(data.files)
    groups = [data.groups[data.files.index(file)] for file in images]
    keys = [(i // 4, i % 2) for i in range(len(images))]
    assert len(set(groups)) == len(set(keys)) == len(set(zip(groups, keys, strict=True)))


def test_missing_files_are_faults(tabulated: Callable[..., Prepared], tmp_path: Path) -> None:
    def change(i: int, row: dict[str, str]) -> None:
        if i == 0:
            row["image"] = str(tmp_path / "gone.png")
        if i == 1:
            row["mask"] = str(tmp_path / "gone_mask.png")
        if i == 2:
            (tmp_path / "empty.png").write_bytes(b"")
            row["image"] = str(tmp_path / "empty.png")

    for _ in range(2):  # the second time by what was remembered
        data = tabulated(change)
        assert [str(fault).removeprefix(f"{tmp_path}/") for fault in data.faults] == [
            "empty.png: 0 bytes; left out",
            "gone.png: cannot be opened (No such file or directory); left out",
            "gone_mask.png: cannot be opened (No such file or directory); left out with its image",
        ]
        assert data.left_out == 3
