"""Writes public data sets as they are distributed, small: each function one of them, below a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

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


def made() -> list[Item]:
    """Ten images of noise with a rectangle as lesion."""
    rng = np.random.default_rng(0)
    found = []
    for number, name in enumerate(NAMES, 1):
        mask = np.zeros((40, 56), np.uint8)
        if name != "normal":
            mask[10 : 16 + number, 20:34] = 255
        found.append(Item(number, name, rng.integers(20, 200, mask.shape).astype(np.uint8), mask))
    return found


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
