"""Several datasets as one: sources are kept, patients count within them, near-duplicates across them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import replicas, two_sets
from tests.support.replicas import Item, save, table
from trainables.data import DataError, Prepared, prepare
from trainables.data.folders import read_manifest
from trainables.data.manifest import TEST
from trainables.data.sources import read_sources


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return two_sets.write(tmp_path_factory.mktemp("sets"))


def prepared(roots: tuple[Path, ...], cache: Path, **given: object) -> Prepared:
    return prepare(read_sources(roots), cache, size=32, **given)  # type: ignore[arg-type]


def test_each_image_keeps_its_source_and_patients_count_within_it(phantoms: tuple[Path, Path], tmp_path: Path) -> None:
    manifest = read_sources(phantoms)
    assert manifest.sources == ("clinic A", "clinic B")
    assert (manifest.layout, manifest.root) == ("busi + folders", phantoms[0].parent)
    assert Counter(record.source for record in manifest.records) == {"clinic A": 60, "clinic B": 60}
    data = prepared(phantoms, tmp_path)
    assert set(data.sources) == {"clinic A", "clinic B"}
    said = [note for note in data.notes if "patients" in note]
    assert said == [
        "clinic A: patients unknown: images of one patient may be in train and in test",
        "clinic B: patients: 30, from labels.csv",
    ]


def test_patient_1_of_two_sets_is_two_patients(items: list[Item], tmp_path: Path) -> None:
    for name, chosen in (("one", items[:5]), ("two", items[5:])):
        for item in chosen:
            save(item.image, tmp_path / name / "images" / f"{item.number}.png")
            save(item.mask, tmp_path / name / "masks" / f"{item.number}.png")
        rows = [(f"{item.number}.png", "1") for item in chosen]
        table(tmp_path / name / "labels.csv", ("image", "patient"), *rows)
    with pytest.raises(DataError, match="2 groups of images are too few"):
        prepared((tmp_path / "one", tmp_path / "two"), tmp_path / "cache", folds=2)


def test_a_copy_in_another_set_is_found(phantoms: tuple[Path, Path], tmp_path: Path) -> None:
    first = sorted((phantoms[0] / "benign").glob("*[0-9].png"))[0]
    other = tmp_path / "elsewhere"
    for file in (first, first.with_name(f"{first.stem}_mask.png")):
        save(np.array(Image.open(file)), other / "benign" / file.name.replace(first.stem, "again"))
    data = prepared((*phantoms, other), tmp_path / "cache")
    rows = {name: row for row, name in enumerate(data.files)}
    twin, original = rows[str(other / "benign/again.png")], rows[str(first)]
    assert data.groups[twin] == data.groups[original]
    left_out = prepared((*phantoms, other), tmp_path / "cache", test_source="elsewhere", folds=2)
    assert str(first) not in left_out.files, "what is tested on is not trained on"
    with pytest.raises(DataError, match=r"two sources or more beside the test set \(there is clinic A\)"):
        prepared((phantoms[0], other), tmp_path / "cache", folds="source")


def test_a_source_can_be_the_test_set(phantoms: tuple[Path, Path], tmp_path: Path) -> None:
    data = prepared(phantoms, tmp_path, test_source="clinic B")
    assert {data.sources[row] for row in data.test_rows()} == {"clinic B"}
    assert len(data.test_rows()) == 60
    with pytest.raises(DataError, match="no source 'BUSI' to hold out; it has clinic A, clinic B"):
        prepared(phantoms, tmp_path, test_source="BUSI")


def test_each_source_can_be_a_fold(phantoms: tuple[Path, Path], tmp_path: Path) -> None:
    data = prepared(phantoms, tmp_path, folds="source")
    held = {(int(fold), source) for fold, source in zip(data.split, data.sources, strict=True) if fold != TEST}
    assert held == {(0, "clinic A"), (1, "clinic B")}
    tested = Counter(data.sources[row] for row in data.test_rows())
    assert all(9 <= tested[name] <= 15 for name in ("clinic A", "clinic B")), tested
    note = "each source is a fold, and what is held out is of a source not trained on: "
    assert f"{note}clinic A (fold 0), clinic B (fold 1)" in data.notes
    turned = prepared(phantoms[::-1], tmp_path, folds="source")
    assert "clinic B (fold 0), clinic A (fold 1)" in turned.notes[-1], "the first is validated on"
    np.testing.assert_array_equal(data.split == TEST, turned.split == TEST)
    with pytest.raises(DataError, match="folds of sources need two sources or more beside the test set"):
        prepared(phantoms[:1], tmp_path, folds="source")
    with pytest.raises(DataError, match=r"two sources or more beside the test set \(there is clinic B\)"):
        prepared(phantoms, tmp_path, folds="source", test_source="clinic A")


def test_sub_groups_are_there_for_all(items: list[Item], tmp_path: Path) -> None:
    replicas.bus_bra(tmp_path / "BUSBRA", items)
    replicas.busi(tmp_path / "BUSI", items)
    manifest = read_sources([tmp_path / "BUSBRA", tmp_path / "BUSI"])
    columns = {tuple(column for column, _ in record.subgroups) for record in manifest.records}
    assert len(columns) == 1


def test_sets_that_cannot_be_told_apart(items: list[Item], tmp_path: Path) -> None:
    replicas.busi(tmp_path / "a/set", items)
    replicas.busi(tmp_path / "b/set", items)
    assert read_sources([tmp_path / "a/set", tmp_path / "b/set"]).sources == ("a/set", "b/set")
    with pytest.raises(DataError, match="one lies within the other"):
        read_sources([tmp_path / "a", tmp_path / "a/set"])
    for name in ("x", "y"):
        picture = tmp_path / "a/set/Dataset_BUSI_with_GT/benign/benign (1).png"
        (tmp_path / f"{name}.csv").write_text(f"image,label,source\n{picture},benign,BUSI\n")
    with pytest.raises(DataError, match="both have a source 'BUSI'; rename one"):
        read_sources([tmp_path / "x.csv", tmp_path / "y.csv"])


def test_two_sets_below_one_folder_are_named_with_the_command_that_reads_both(
    items: list[Item], tmp_path: Path
) -> None:
    root = tmp_path / "my data"
    replicas.bus_bra(root / "BUSBRA", items)
    replicas.busi_by_class(root / "other", items)
    with pytest.raises(DataError) as caught:
        read_manifest(root)
    assert str(caught.value) == (
        f"{root}: holds several datasets: BUSBRA/BUSBRA (bus-bra), other (class-folders); give one of them, or "
        f"all: --data '{root}/BUSBRA/BUSBRA' '{root}/other'"
    )


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return replicas.made()
