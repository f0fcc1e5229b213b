"""One record at a time: what is decoded, and the exact line for each way in which files can be bad."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.data.duplicates import perceptual_hash
from trainables.data.examine import Decoded, decode, digest
from trainables.data.folders import read_manifest
from trainables.data.manifest import CLASSES, UNKNOWN, Record

NORMAL, BENIGN, MALIGNANT = (CLASSES.index(name) for name in ("normal", "benign", "malignant"))
ROWS, COLUMNS = np.mgrid[:48, :64]
IMAGE = np.rint((ROWS * 2 + COLUMNS) * 255 / 157).astype(np.uint8)
LEFT, RIGHT, EMPTY = (np.where(mask, 255, 0).astype(np.uint8) for mask in (COLUMNS < 16, COLUMNS >= 32, ROWS < 0))


def write(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def record(root: Path, label: int, *masks: np.ndarray) -> Record:
    image = write(root / "scan (1).png", IMAGE)
    return Record(image, tuple(write(root / f"scan (1)_mask_{i}.png", mask) for i, mask in enumerate(masks)), label)


def lines(decoded: Decoded) -> list[str]:
    return [f"{fault.file.name}: {fault.problem}; {fault.action}" for fault in decoded.faults]


def test_a_sound_record(tmp_path: Path) -> None:
    sound = record(tmp_path, BENIGN, LEFT, RIGHT)
    decoded = decode(sound, 32, False)
    assert decoded.usable
    assert decoded.faults == ()
    assert (decoded.height, decoded.width) == (48, 64)
    assert decoded.image is not None
    assert decoded.masks is not None
    assert decoded.image.dtype == decoded.masks.dtype == np.uint8
    assert decoded.image.shape == (32, 32)
    assert decoded.masks.shape == (2, 32, 32)
    assert decoded.masks.mean(axis=(1, 2)).tolist() == [0.25, 0.5]
    assert decoded.digest == digest(sound)
    np.testing.assert_array_equal(decoded.image_hash, perceptual_hash(IMAGE))


def test_an_image_of_two_values_is_taken_for_a_mask(tmp_path: Path) -> None:
    found = decode(Record(write(tmp_path / "a.png", LEFT), (), BENIGN), 32, False)
    assert not found.usable
    assert lines(found) == ["a.png: an image of two values: is it a mask?; left out"]


def test_letterboxed(tmp_path: Path) -> None:
    high = EMPTY.copy()
    high[:, :40] = 255
    decoded = decode(record(tmp_path, BENIGN, high), 32, True)
    assert decoded.masks is not None
    assert decoded.masks[0].any(axis=1).nonzero()[0].tolist() == list(range(4, 28))


@pytest.mark.parametrize("label", [NORMAL, UNKNOWN])
def test_images_without_lesion(tmp_path: Path, label: int) -> None:
    for masks in ((), (EMPTY,)):
        decoded = decode(record(tmp_path, label, *masks), 16, False)
        assert decoded.usable
        assert decoded.faults == ()
        assert decoded.masks is not None
        assert decoded.masks.shape == (0, 16, 16)


def test_without_masks_nothing_is_asked_of_them(tmp_path: Path) -> None:
    decoded = decode(record(tmp_path, MALIGNANT), 16, False)
    assert decoded.usable
    assert decoded.faults == ()


def grey_mask() -> np.ndarray:
    """A lesion with shades below half beside it."""
    mask = LEFT.copy()
    mask[:, 16:30] = np.linspace(10, 120, 14).astype(np.uint8)
    return mask


@pytest.mark.parametrize(
    ("label", "masks", "usable", "expected"),
    [
        (BENIGN, [LEFT, EMPTY], True, ["scan (1)_mask_1.png: empty mask beside others; ignored"]),
        (BENIGN, [grey_mask()], True, ["scan (1)_mask_0.png: mask not two-valued; thresholded at half range"]),
        (BENIGN, [LEFT // 255], True, []),
        (
            BENIGN,
            [(LEFT // 255 * (1 + COLUMNS % 2)).astype(np.uint8)],
            True,
            ["scan (1)_mask_0.png: mask of 3 values; all but the smallest are lesion"],
        ),
        (
            MALIGNANT,
            [EMPTY + 255],
            False,
            ["scan (1)_mask_0.png: mask covers 100% of its image: is it inverted?; left out with its image"],
        ),
        (MALIGNANT, [EMPTY], False, ["scan (1)_mask_0.png: empty lesion mask; left out with its image"]),
        (NORMAL, [LEFT], False, ["scan (1)_mask_0.png: lesion mask on a normal; left out with its image"]),
        (
            BENIGN,
            [LEFT[:, :40], RIGHT],
            False,
            [
                "scan (1)_mask_0.png: mask of another size than its image (40 x 48 pixels, its image 64 x 48); "
                "left out with its image"
            ],
        ),
        (
            BENIGN,
            [(grey_mask() // 3)],
            False,
            [
                "scan (1)_mask_0.png: mask not two-valued; thresholded at half range",
                "scan (1)_mask_0.png: empty lesion mask; left out with its image",
            ],
        ),
    ],
)
def test_bad_masks(tmp_path: Path, label: int, masks: list[np.ndarray], usable: bool, expected: list[str]) -> None:
    decoded = decode(record(tmp_path, label, *masks), 32, False)
    assert lines(decoded) == expected
    assert decoded.usable == usable
    if usable:
        assert decoded.masks is not None
        assert len(decoded.masks) == 1
        assert decoded.masks[0].mean() == 0.25
    else:
        assert decoded.image is None
        assert decoded.masks is None


def damage(path: Path, how: str) -> None:
    if how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("no image at all")
    elif how == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "huge":
        Image.fromarray(IMAGE).save(path, format="BMP")
        raw = bytearray(path.read_bytes())
        struct.pack_into("<ii", raw, 18, 9000, 8000)
        path.write_bytes(raw)
    else:
        path.unlink()


DAMAGES = {
    "empty": "0 bytes",
    "text": "not an image",
    "cut": "truncated or damaged",
    "huge": "72 megapixels, more than 64",
    "gone": "cannot be opened (No such file or directory)",
}


@pytest.mark.parametrize("how", DAMAGES)
def test_unreadable_images_and_masks(tmp_path: Path, how: str) -> None:
    for which, action in [("image", "left out"), ("mask", "left out with its image")]:
        sound = record(tmp_path / which, BENIGN, LEFT, RIGHT)
        path = sound.image if which == "image" else sound.masks[1]
        damage(path, how)
        decoded = decode(sound, 32, False)
        assert lines(decoded) == [f"{path.name}: {DAMAGES[how]}; {action}"]
        assert not decoded.usable
        assert decoded.image is None
        assert decoded.masks is None
        assert decoded.digest == digest(sound)


def test_a_folder_damaged_in_every_way_gives_exactly_its_lines(tmp_path: Path) -> None:
    for number, how in enumerate(DAMAGES):
        if how != "gone":
            write(tmp_path / f"benign/b ({number}).png", IMAGE)
            write(tmp_path / f"benign/b ({number})_mask.png", LEFT)
            damage(tmp_path / f"benign/b ({number}).png", how)
    for name, mask in [
        ("benign/grey", grey_mask()),
        ("benign/none", EMPTY),
        ("benign/size", LEFT[:20]),
        ("benign/sound", RIGHT),
        ("normal/lesion", LEFT),
        ("normal/sound", EMPTY),
    ]:
        write(tmp_path / f"{name}.png", IMAGE)
        write(tmp_path / f"{name}_mask.png", mask)
    write(tmp_path / "benign/alone.png", IMAGE)
    write(tmp_path / "benign/orphan_mask.png", LEFT)
    (tmp_path / "malignant").mkdir()
    manifest = read_manifest(tmp_path)
    decoded = [decode(one, 32, False) for one in manifest.records]
    faults = [*manifest.faults, *(fault for one in decoded for fault in one.faults)]
    assert [str(fault).removeprefix(f"{tmp_path}/") for fault in faults] == [
        "benign/alone.png: image without mask; left out",
        "benign/orphan_mask.png: mask without image; ignored",
        "malignant: class has no images; ignored",
        "benign/b (0).png: 0 bytes; left out",
        "benign/b (1).png: not an image; left out",
        "benign/b (2).png: truncated or damaged; left out",
        "benign/b (3).png: 72 megapixels, more than 64; left out",
        "benign/grey_mask.png: mask not two-valued; thresholded at half range",
        "benign/none_mask.png: empty lesion mask; left out with its image",
        "benign/size_mask.png: mask of another size than its image (64 x 20 pixels, its image 64 x 48); "
        "left out with its image",
        "normal/lesion_mask.png: lesion mask on a normal; left out with its image",
    ]
    usable = [one.image.stem for one, result in zip(manifest.records, decoded, strict=True) if result.usable]
    assert usable == ["grey", "sound", "sound"]


def test_digest_follows_contents_and_nothing_else(tmp_path: Path) -> None:
    one = record(tmp_path / "one", BENIGN, LEFT, RIGHT)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    copy = Record(tmp_path / "two" / one.image.name, tuple(tmp_path / "two" / mask.name for mask in one.masks), NORMAL)
    assert digest(copy) == digest(one)
    without_mask = Record(one.image, (), BENIGN)
    assert decode(without_mask, 8, False).image_digest == decode(one, 8, False).image_digest
    write(copy.masks[1], EMPTY)
    swapped = Record(one.image, one.masks[::-1], BENIGN)
    assert len({digest(one), digest(copy), digest(swapped), digest(without_mask)}) == 4


def test_a_missing_file_is_not_a_file_of_0_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    empty, gone = (Record(tmp_path / name, (), BENIGN) for name in ("empty.png", "gone.png"))
    assert digest(empty) != digest(gone)


def test_busi_sample_decodes_without_faults(busi_original: Path) -> None:
    manifest = read_manifest(busi_original)
    decoded = [decode(one, 128, False) for one in manifest.records]
    assert not any(one.faults for one in decoded)
    counts = [len(one.masks) for one in decoded if one.masks is not None]
    assert (len(counts), counts.count(0), counts.count(1), counts.count(2)) == (36, 9, 23, 4)


def test_shrunk_busi_decodes_without_faults(busi_256: Path) -> None:
    decoded = [decode(one, 64, True) for one in read_manifest(busi_256).records]
    assert not any(one.faults for one in decoded)
    lesions = [len(one.masks) for one in decoded if one.masks is not None]
    assert (len(lesions), sum(lesions)) == (625, 503 + 2 * 13 + 3)
