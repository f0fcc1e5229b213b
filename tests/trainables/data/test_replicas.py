"""Public data sets as they are distributed, made small from phantom images: what a reader must find in each."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from trainables.data import CLASSES, DataError, Manifest, read_manifest
from trainables.data.examine import decode
from trainables.data.pixels import read_image

NAMES = ("benign",) * 4 + ("malignant",) * 4 + ("normal",) * 2


class Item(NamedTuple):
    """An image: its number from 1, its class, uint8 [H,W], and its mask of 0 and 255."""

    number: int
    name: str
    image: np.ndarray
    mask: np.ndarray

    @property
    def patient(self) -> int:
        """Two images a patient."""
        return (self.number - 1) // 2


@pytest.fixture(scope="module")
def items() -> list[Item]:
    rng = np.random.default_rng(0)
    made = []
    for number, name in enumerate(NAMES, 1):
        mask = np.zeros((40, 56), np.uint8)
        if name != "normal":
            mask[10 : 16 + number, 20:34] = 255
        made.append(Item(number, name, rng.integers(20, 200, mask.shape).astype(np.uint8), mask))
    return made


def save(array: np.ndarray, path: Path, mode: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path)


def table(path: Path, *rows: tuple[Any, ...], separator: str = ",") -> None:
    path.write_text("\n".join(separator.join(map(str, row)) for row in rows) + "\n", encoding="utf-8-sig")


def busi(root: Path, items: list[Item]) -> None:
    for item in items:
        stem = root / "Dataset_BUSI_with_GT" / item.name / f"{item.name} ({item.number})"
        save(item.image, stem.with_suffix(".png"))
        save(item.mask, stem.with_name(f"{stem.name}_mask.png"))


def busi_by_class(root: Path, items: list[Item]) -> None:
    for item in items:
        save(item.image, root / item.name / "images" / f"{item.number}.png")
        save(item.mask, root / item.name / "mask" / f"{item.number}_mask.png")


def class_words(root: Path, items: list[Item]) -> None:
    for item in items:
        folder = root / {"malignant": "cancer"}.get(item.name, item.name.capitalize())
        save(item.image, folder / f"{item.number}.png")
        save(item.mask, folder / f"{item.number}_mask.png")


def split_folders(root: Path, items: list[Item]) -> None:
    for item in items:
        folder = root / ("train", "train", "val", "test")[item.number % 4] / item.name
        save(item.image, folder / f"{item.number}.png")
        save(item.mask, folder / f"{item.number}_mask.png")


def bus_uc(root: Path, items: list[Item]) -> None:
    for item in items:
        for folder in (item.name.capitalize(), "All") if item.name != "normal" else ():
            save(item.image, root / "BUS_UC" / folder / "images" / f"{item.number:03}.png")
            save(item.mask, root / "BUS_UC" / folder / "masks" / f"{item.number:03}.png")


def bus_uclm(root: Path, items: list[Item]) -> None:
    rows = [("Image", "Label", "Doppler")]
    for item in items:
        file = f"{'ABCDE'[item.patient]}XYZ_{item.number:03}.png"
        colours = np.zeros((*item.mask.shape, 3), np.uint8)
        colours[item.mask > 0] = (0, 255, 0) if item.name == "benign" else (255, 0, 0)
        save(item.image, root / "BUS-UCLM/images" / file)
        save(colours, root / "BUS-UCLM/masks" / file)
        rows.append((file, item.name.capitalize(), "no"))
    table(root / "BUS-UCLM/INFO.csv", *rows, separator=";")


def bus_bra(root: Path, items: list[Item]) -> None:
    rows = [("ID", "Case", "Pathology", "BIRADS", "Device")]
    for item in items[:8]:
        name = f"{1 + item.patient:04}-{'lr'[item.number % 2]}"
        save(item.image, root / f"BUSBRA/Images/bus_{name}.png")
        save(item.mask, root / f"BUSBRA/Masks/mask_{name}.png")
        rows.append((f"bus_{name}", 1 + item.patient, item.name, 2 + item.number % 4, "GE"))
    table(root / "BUSBRA/bus_data.csv", *rows)


def other_columns(root: Path, items: list[Item]) -> None:
    rows = [("image", "patient_id", "pathology")]
    for item in items[:8]:
        save(item.image, root / f"images/{item.number}.png")
        save(item.mask, root / f"masks/{item.number}.png")
        rows.append((f"{item.number}.png", item.patient, item.name))
    table(root / "labels.csv", *rows)


def buid(root: Path, items: list[Item]) -> None:
    for item in items[:8]:
        word = item.name.capitalize()
        save(item.image, root / word / f"{item.number} {word} Image.bmp", "RGB")
        save(item.mask, root / word / f"{item.number} {word} Mask.tif")
        save(np.maximum(item.image, item.mask), root / word / f"{item.number} {word} Lesion.bmp")


def stu(root: Path, items: list[Item]) -> None:
    for item in items[:8]:
        save(item.image, root / f"Hospital/Test_Image_{item.number}.png")
        save(np.array(Image.fromarray(item.mask).resize((64, 64))), root / f"Hospital/mask_{item.number}.png")


def index_masks(root: Path, items: list[Item]) -> None:
    for item in items[:8]:
        save(item.image, root / f"images/{item.number}.png")
        save(item.mask // 255 * (1 + (item.name == "malignant")), root / f"masks/{item.number}.png")


def breast(root: Path, items: list[Item]) -> None:
    openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is not installed")
    book, folder = openpyxl.Workbook(), root / "BrEaST-Lesions"
    book.active.append(("CaseID", "Image_filename", "Classification", "BIRADS"))
    for item in items:
        name = f"case{item.number:03}"
        save(item.image, folder / f"{name}.png", "RGBA")
        if item.name != "normal":
            save(item.mask, folder / f"{name}_tumor.png", "RGBA")
        if item.number == 3:
            save(item.mask[::-1].copy(), folder / f"{name}_other1.png", "RGBA")
        book.active.append((item.number, f"{name}.png", item.name, "4a"))
    book.save(root / "clinical.xlsx")


def coco(root: Path, items: list[Item]) -> None:
    for part in ("train", "valid"):
        chosen = [item for item in items[:8] if (item.number % 4 == 0) == (part == "valid")]
        said: dict[str, Any] = {
            "images": [{"id": item.number, "file_name": f"{item.number}.png"} for item in chosen],
            "annotations": [
                {"image_id": item.number, "category_id": 1 + (item.name == "malignant"), "segmentation": [ring(item)]}
                for item in chosen
            ],
            "categories": [{"id": i, "name": name} for i, name in enumerate(("lesion", "benign", "malignant"))],
        }
        for item in chosen:
            save(item.image, root / part / f"{item.number}.png")
        (root / part / "_annotations.coco.json").write_text(json.dumps(said))


def yolo(root: Path, items: list[Item]) -> None:
    for item in items[:8]:
        folder = root / ("valid" if item.number % 4 == 0 else "train")
        save(item.image, folder / f"images/{item.number}.png")
        (folder / "labels").mkdir(exist_ok=True)
        height, width = item.mask.shape
        points = [value / (width, height)[i % 2] for i, value in enumerate(ring(item))]
        line = f"{int(item.name == 'malignant')} {' '.join(f'{point:.5f}' for point in points)}\n"
        (folder / f"labels/{item.number}.txt").write_text(line)
    (root / "data.yaml").write_text("names: ['benign', 'malignant']\n")


def ring(item: Item) -> list[int]:
    """The corners of its lesion, which is a rectangle."""
    rows, columns = np.nonzero(item.mask)
    top, bottom, left, right = (int(end) for end in (rows.min(), rows.max(), columns.min(), columns.max()))
    return [left, top, right, top, right, bottom, left, bottom]


def nnunet(root: Path, items: list[Item]) -> None:
    for item in items[:8]:
        save(item.image, root / f"Dataset501/imagesTr/b{item.number}_0000.png")
        save(item.mask // 255 * (1 + (item.name == "malignant")), root / f"Dataset501/labelsTr/b{item.number}.png")
    said = {"labels": {"background": 0, "benign": 1, "malignant": 2}}
    (root / "Dataset501/dataset.json").write_text(json.dumps(said))


LESIONS, ALL = {"benign": 4, "malignant": 4}, {"benign": 4, "malignant": 4, "normal": 2}
Build = Callable[[Path, list[Item]], None]


@pytest.mark.parametrize(
    ("build", "layout", "labels", "patients"),
    [
        (busi, "busi", ALL, 0),
        (busi_by_class, "class-folders", ALL, 0),
        (class_words, "busi", ALL, 0),
        (split_folders, "split-classes", ALL, 0),
        (bus_uc, "class-folders", LESIONS, 0),
        (bus_uclm, "bus-uclm", ALL, 5),
        (bus_bra, "bus-bra", LESIONS, 4),
        (other_columns, "folders", LESIONS, 4),
        (buid, "buid", LESIONS, 0),
        (stu, "stu", {}, 0),
        (index_masks, "folders", {}, 0),
        (breast, "breast", ALL, 10),
        (coco, "coco", LESIONS, 0),
        (yolo, "yolo", LESIONS, 0),
        (nnunet, "nnunet", LESIONS, 0),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_each_is_recognised_and_read_whole(
    build: Build, layout: str, labels: dict[str, int], patients: int, items: list[Item], tmp_path: Path
) -> None:
    build(tmp_path, items)
    found = read_manifest(tmp_path)
    assert (found.layout, found.left_over, found.faults) == (layout, 0, ())
    assert Counter(CLASSES[record.label] for record in found.records if record.label >= 0) == labels
    assert len({record.patient for record in found.records} - {""}) == patients
    assert len(found.records) == (sum(labels.values()) or 8)
    for record, item in pairs(found, items):
        outcome = decode(record, 32, keep_aspect=False)
        assert outcome.usable, outcome.faults
        assert outcome.masks is not None
        share = outcome.masks.any(0).mean() if len(outcome.masks) else 0.0
        assert share == pytest.approx((item.mask > 0).mean(), abs=0.03), "no lesion pixel is lost"


def pairs(found: Manifest, items: list[Item]) -> Iterator[tuple[Any, Item]]:
    """Each record with the item whose image it shows."""
    by_image = {item.image.tobytes(): item for item in items}
    for record in found.records:
        yield record, by_image[np.array(Image.open(record.image).convert("L")).tobytes()]


def test_a_given_split_is_honoured(items: list[Item], tmp_path: Path) -> None:
    split_folders(tmp_path, items)
    found = Counter(record.split for record in read_manifest(tmp_path).records)
    assert found == {"train": 5, "validation": 3, "test": 2}


def test_what_no_rule_reads_is_named_and_refused(items: list[Item], tmp_path: Path) -> None:
    busi(tmp_path, items)
    root = tmp_path / "Dataset_BUSI_with_GT"
    for item in items[:3]:
        save(item.image, root / "benign" / "batch 2" / f"{item.number}.png")
    with pytest.raises(DataError, match=r"3 of 23 images would be left over by layout busi .*benign/batch 2: \*.png 3"):
        read_manifest(tmp_path)
    found = read_manifest(tmp_path, "busi")
    assert found.left_over == 3
    assert [str(fault).removeprefix(f"{root}/") for fault in found.faults] == [
        "benign/batch 2: 3 images that no rule of the layout reads; left over"
    ]


def test_what_cannot_be_read_is_a_line_and_stops_nothing(items: list[Item], tmp_path: Path) -> None:
    busi(tmp_path, items)
    folder = tmp_path / "Dataset_BUSI_with_GT/benign"
    (folder / "gone.png").symlink_to(folder / "not there.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "back").symlink_to(folder.parent)
    (tmp_path / "lost+found").mkdir()
    save(items[0].image, tmp_path / "runs/night/pictures/predictions.png")
    found = read_manifest(tmp_path)
    assert len(found.records) == len(items)
    assert [(fault.file.name, fault.problem) for fault in found.faults] == [
        ("gone.png", "a link to nothing"),
        ("pipe.png", "neither a file nor a link to one"),
    ]


def test_dicom_by_class(items: list[Item], tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
    for item in items[:8]:
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
        meta.MediaStorageSOPInstanceUID = f"1.2.3.{item.number}"
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        one = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        one.PatientID, one.Manufacturer, one.PixelSpacing = f"P{item.patient}", "ACME", [0.1, 0.1]
        one.Rows, one.Columns = item.image.shape
        one.SamplesPerPixel, one.PixelRepresentation, one.BitsAllocated, one.BitsStored, one.HighBit = 1, 0, 8, 8, 7
        white_is_zero = item.number == 1
        one.PhotometricInterpretation = "MONOCHROME1" if white_is_zero else "MONOCHROME2"
        one.PixelData = (255 - item.image if white_is_zero else item.image).tobytes()
        path = tmp_path / item.name / f"IM{item.number}.dcm"
        path.parent.mkdir(exist_ok=True)
        one.save_as(path, enforce_file_format=True)
    found = read_manifest(tmp_path)
    assert (found.layout, found.patients_from, found.faults) == ("classes", "DICOM headers", ())
    assert len({record.patient for record in found.records}) == 4
    assert {record.spacing_mm for record in found.records} == {0.1}
    assert {record.subgroups for record in found.records} == {(("manufacturer", "ACME"),)}
    images = {item.image.tobytes() for item in items[:8]}
    assert {read_image(record.image).tobytes() for record in found.records} == images


def test_nifti_with_its_spacing(items: list[Item], tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    for item in items[:8]:
        value = 1 + (item.name == "malignant")
        for folder, array, end in (("imagesTr", item.image, "_0000"), ("labelsTr", item.mask // 255 * value, "")):
            (tmp_path / folder).mkdir(exist_ok=True)
            picture = nibabel.Nifti1Image(array.T[..., None].copy(), np.diag([0.07, 0.07, 1, 1]))
            nibabel.save(picture, tmp_path / folder / f"b{item.number}{end}.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "benign": 1, "malignant": 2}}))
    found = read_manifest(tmp_path)
    assert Counter(CLASSES[record.label] for record in found.records) == LESIONS
    assert {record.spacing_mm for record in found.records} == {0.07}
    assert {read_image(record.image).tobytes() for record in found.records} == {i.image.tobytes() for i in items[:8]}


def test_a_reader_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    (tmp_path / "benign").mkdir()
    (tmp_path / "benign" / "a.dcm").write_bytes(b"\0" * 128 + b"DICM")
    with pytest.raises(DataError, match=r"^DICOM files need pydicom: pip install pydicom$"):
        read_manifest(tmp_path)
