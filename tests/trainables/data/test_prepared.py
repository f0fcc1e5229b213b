"""Prepared data: identity, reuse, damage, and what each split is made of."""

from __future__ import annotations

import dataclasses
import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.data import CLASSES, DataError, Prepared, prepare, read_manifest


class Progress:
    """Counts decoded images."""

    def __init__(self) -> None:
        self.decoded = 0

    def __call__(self, done: int, total: int) -> None:
        self.decoded += 1


def _prepare(root: Path, cache: Path, **options: object) -> tuple[Prepared, int]:
    progress = Progress()
    data = prepare(read_manifest(root), cache, progress=progress, **{"size": 64, **options})
    return data, progress.decoded


def test_decodes_once_and_is_mapped_afterwards(phantom: Path, tmp_path: Path) -> None:
    first, decoded = _prepare(phantom, tmp_path)
    again, decoded_again = _prepare(phantom, tmp_path)
    assert decoded == len(first.images)
    assert decoded_again == 0
    assert isinstance(again.images, np.memmap)
    assert not again.images.flags.writeable
    assert again.prepared_fingerprint == first.prepared_fingerprint
    np.testing.assert_array_equal(again.images, first.images)


def test_shapes_and_types(prepared: Prepared) -> None:
    count = len(prepared.images)
    assert prepared.images.shape == (count, 64, 64)
    assert prepared.images.dtype == prepared.masks.dtype == np.uint8
    assert set(np.unique(prepared.masks)) == {0, 1}
    for name in ("labels", "groups", "split"):
        assert getattr(prepared, name).shape == (count,)
        assert getattr(prepared, name).dtype == np.int64
    assert len(prepared.files) == len(prepared.digests) == len(prepared.sizes) == count
    assert prepared.has_mask.shape == (count,)
    assert prepared.has_mask.all()
    assert prepared.has_masks
    assert all(Path(mask).is_file() for masks in prepared.mask_files for mask in masks)
    assert [Path(masks[0]).stem for masks in prepared.mask_files] == [f"{Path(f).stem}_mask" for f in prepared.files]
    assert (prepared.keep_aspect, prepared.sources, prepared.subgroups) == (False, ("",) * count, {})
    has_lesion = prepared.masks[:count].any(axis=(1, 2))
    np.testing.assert_array_equal(has_lesion, prepared.labels != CLASSES.index("normal"))


def test_nothing_is_known_of_masks_in_class_folders(phantom: Path, tmp_path: Path) -> None:
    data = prepare(read_manifest(phantom, "classes"), tmp_path, size=32, keep_aspect=True)
    assert not data.has_masks
    assert not data.has_mask.any()
    assert not data.masks.any()
    assert set(data.mask_files) == {()}
    assert data.keep_aspect


def test_fingerprints_of_busi_stand(busi_256: Path, busi_original: Path, tmp_path: Path) -> None:
    # Leaderboards and champions are kept by these: no change of the code may change them, unless it finds copies
    # that it did not see before, such as `ALIGNED` in test_links.py for the first of these.
    small, _ = _prepare(busi_256, tmp_path, size=16)
    sample, _ = _prepare(busi_original, tmp_path, size=16, folds=3)
    assert small.data_fingerprint == "5b739a87907c521ad9e875c98b5f61081d88071b39d039c86308c319c7be24b8"
    assert sample.data_fingerprint == "0da45583981be04beb06263de76bb627f62a1e3098532f27c5ddb7616ee0e3c8"


def test_a_pickled_copy_says_the_same(prepared: Prepared) -> None:
    copy = pickle.loads(pickle.dumps(prepared))
    for field in dataclasses.fields(Prepared):
        np.testing.assert_array_equal(getattr(copy, field.name), getattr(prepared, field.name))


@pytest.mark.parametrize("damage", ["cut", "flip", "remove", "checksums"])
def test_damaged_cache_is_rebuilt_not_trusted(phantom: Path, tmp_path: Path, damage: str) -> None:
    first, _ = _prepare(phantom, tmp_path)
    images = np.array(first.images)
    folder = tmp_path / first.prepared_fingerprint[:20]
    file = folder / "images.npy"
    content = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(content[:-100])
    elif damage == "flip":
        content[-100] ^= 255
        file.write_bytes(content)
    elif damage == "remove":
        file.unlink()
    else:
        (folder / "checksums.json").write_text("{")
    again, _ = _prepare(phantom, tmp_path)
    np.testing.assert_array_equal(again.images, images)


def test_half_written_cache_is_not_used(phantom: Path, tmp_path: Path) -> None:
    first, _ = _prepare(phantom, tmp_path)
    folder = tmp_path / first.prepared_fingerprint[:20]
    folder.rename(tmp_path / "abandoned.part")
    (tmp_path / "examined-1.json").write_text('{"cut off')
    again, decoded = _prepare(phantom, tmp_path)
    assert decoded == len(first.images)
    np.testing.assert_array_equal(again.images, first.images)


def test_identity_is_content_not_names_or_place(phantom: Path, tmp_path: Path) -> None:
    first, _ = _prepare(phantom, tmp_path / "cache")
    copy = tmp_path / "a copy" / "elsewhere"
    shutil.copytree(phantom, copy)
    for image in sorted((copy / "benign").glob("*[0-9)].png")):
        for file in sorted(image.parent.glob(f"{image.stem.replace('[', '[[]')}*")):
            file.rename(file.with_name("z renamed " + file.name))
    other, decoded = _prepare(copy, tmp_path / "cache")
    assert decoded == 0
    assert other.data_fingerprint == first.data_fingerprint
    np.testing.assert_array_equal(other.images, first.images)
    assert all(name.startswith(str(copy)) for name in other.files)


def test_fingerprints_tell_what_changed(phantom: Path, tmp_path: Path) -> None:
    base, _ = _prepare(phantom, tmp_path)
    larger, _ = _prepare(phantom, tmp_path, size=96)
    letterboxed, _ = _prepare(phantom, tmp_path, keep_aspect=True)
    other_split, _ = _prepare(phantom, tmp_path, split_seed=1)
    assert base.data_fingerprint == larger.data_fingerprint == letterboxed.data_fingerprint
    assert base.data_fingerprint != other_split.data_fingerprint
    assert len({data.prepared_fingerprint for data in (base, larger, letterboxed, other_split)}) == 4


def test_splits_are_grouped_and_the_test_set_does_not_move(phantom: Path, tmp_path: Path) -> None:
    five, _ = _prepare(phantom, tmp_path)
    three, _ = _prepare(phantom, tmp_path, folds=3)
    assert {five.digests[row] for row in five.test_rows()} == {three.digests[row] for row in three.test_rows()}
    train, validation = five.fold_rows(0)
    parts = [set(five.groups[rows]) for rows in (train, validation, five.test_rows())]
    assert sum(len(part) for part in parts) == len(set.union(*parts))
    assert len(train) + len(validation) + len(five.test_rows()) == len(five.images)


def test_masks_duplicate_trains_on_each_and_scores_the_merged(busi_original: Path, tmp_path: Path) -> None:
    merged, _ = _prepare(busi_original, tmp_path, masks="merge", folds=3)
    single, _ = _prepare(busi_original, tmp_path, masks="duplicate", folds=3)
    count = len(merged.images)
    assert merged.data_fingerprint == single.data_fingerprint
    np.testing.assert_array_equal(single.masks[:count], merged.masks)
    assert len(merged.masks) == count < len(single.masks)
    several = Counter(single.mask_image[count:].tolist())
    assert set(several.values()) <= {2, 3}
    for row in several:
        own = single.masks[count:][single.mask_image[count:] == row]
        np.testing.assert_array_equal(own.any(axis=0), merged.masks[row])
    learnt = single.training_masks(np.arange(count))
    assert Counter(single.mask_image[learnt].tolist()) == Counter({row: several.get(row, 1) for row in range(count)})


def test_cluster_that_disagrees_on_its_class_is_left_out(busi_original: Path, tmp_path: Path) -> None:
    data, _ = _prepare(busi_original, tmp_path, folds=3)
    named = [fault for fault in data.faults if "near-duplicate of another class" in fault.problem]
    assert len(named) >= 2
    assert data.left_out == len(named)
    assert not {str(fault.file) for fault in named} & set(data.files)


def test_a_near_duplicate_of_unknown_class_is_not_named_as_of_another(phantom: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    picture = phantom / "benign" / "benign (1).png"
    for name in ("a", "b", "c", "d"):
        shutil.copy(picture, tmp_path / "images" / f"{name}.png")
        shutil.copy(picture.with_name("benign (1)_mask.png"), tmp_path / "masks" / f"{name}.png")
    others = sorted((phantom / "malignant").glob("*).png"))
    for file in others:
        shutil.copy(file, tmp_path / "images")
        shutil.copy(file.with_name(f"{file.stem}_mask.png"), tmp_path / "masks")
    rows = ["a,benign", "b,malignant", "c,", "d,benign", *(f"{file.stem},malignant" for file in others)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,label", *rows]))
    data, _ = _prepare(tmp_path, tmp_path / "cache", folds=3)
    problems = {fault.file.stem: fault.problem for fault in data.faults if fault.action == "left out"}
    assert problems == {
        "a": "near-duplicate of another class (malignant/b.png)",
        "b": "near-duplicate of another class (benign/a.png, benign/d.png)",
        "c": "near-duplicate of another class (benign/a.png, malignant/b.png, benign/d.png)",
        "d": "near-duplicate of another class (malignant/b.png)",
    }


def test_no_usable_image_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "set" / "benign").mkdir(parents=True)
    (tmp_path / "set" / "benign" / "a.png").write_bytes(b"")
    Image.new("L", (40, 40)).save(tmp_path / "set" / "benign" / "a_mask.png")
    with pytest.raises(DataError, match="none of 1 images is usable") as error:
        _prepare(tmp_path / "set", tmp_path / "cache")
    assert "\n" not in str(error.value)


def test_too_few_groups_is_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "benign").mkdir()
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (40, 40), np.uint8)).save(tmp_path / "benign" / f"{i}.png")
        mask = np.zeros((40, 40), np.uint8)
        mask[10:20, 10:20] = 255
        Image.fromarray(mask).save(tmp_path / "benign" / f"{i}_mask.png")
    with pytest.raises(DataError, match="groups") as error:
        _prepare(tmp_path, tmp_path / "cache")
    assert "\n" not in str(error.value)
