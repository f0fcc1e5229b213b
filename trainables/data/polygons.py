"""Masks drawn as polygons: COCO JSON files and YOLO text files, as annotation tools export them."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainables.data import words
from trainables.data.manifest import UNKNOWN
from trainables.data.patience import openable
from trainables.stored import read_yaml

#: Between the file of a COCO export and the image of it that a mask belongs to.
OF = "#"


class PolygonError(ValueError):
    """Polygons that cannot be drawn; its message is the cause in a few words."""


def is_polygons(path: Path) -> bool:
    """Whether a mask's path names polygons: a YOLO file, or an image of a COCO file."""
    return path.suffix.lower() == ".txt" or f".json{OF}" in path.name.lower()


def content(path: Path) -> bytes:
    """What a mask says, in bytes: of a COCO file only what belongs to its image.

    Raises:
        OSError: the file cannot be opened.
    """
    if OF not in path.name:
        return openable(path).read_bytes()
    return json.dumps(_of_image(path), sort_keys=True).encode()


def draw(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The polygons of an image filled, bool [H, W].

    Raises:
        PolygonError: the file is not of the format that its name says. OSError: it cannot be opened.
    """
    mask = np.zeros(shape, np.uint8)
    try:
        rings = _coco_rings(path) if OF in path.name else _yolo_rings(path, shape)
        for ring in rings:
            if len(ring) < 3 or not np.isfinite(ring).all():
                raise ValueError("fewer than 3 points, or what is no number")
            cv2.fillPoly(mask, [np.rint(ring).clip(-1e6, 1e6).astype(np.int32)], 1)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise PolygonError(f"not polygons ({str(error).splitlines()[0][:80] if str(error) else 'damaged'})") from None
    return mask.astype(bool)


def coco_images(file: Path) -> dict[str, tuple[Path, set[int]]]:
    """Images of a COCO file by name: what to call their mask, and the classes of their polygons.

    Raises:
        PolygonError: not a COCO file. OSError: it cannot be opened.
    """
    try:
        found = _coco(file, file.stat().st_mtime_ns)
        names = {one["id"]: words.class_of(str(one["name"])) for one in found["categories"]}
        classes: dict[Any, set[int]] = {}
        for one in found["annotations"]:
            classes.setdefault(one["image_id"], set()).add(names.get(one["category_id"], UNKNOWN))
        return {
            Path(one["file_name"]).name: (file.with_name(f"{file.name}{OF}{one['id']}"), classes.get(one["id"], set()))
            for one in found["images"]
        }
    except (ValueError, KeyError, TypeError) as error:
        raise PolygonError(f"not a COCO file ({error})") from None


def yolo_names(file: Path) -> list[int]:
    """Classes in the order of a data.yaml: index into CLASSES, or UNKNOWN.

    Raises:
        PolygonError: it names none. OSError: it cannot be opened.
    """
    try:
        names = read_yaml(file)["names"]
        listed = [names[key] for key in sorted(names)] if isinstance(names, dict) else list(names)
        return [words.class_of(str(name)) for name in listed]
    except (ValueError, KeyError, TypeError) as error:
        raise PolygonError(f"names no classes ({' '.join(str(error).split())[:200]})") from None


def yolo_classes(file: Path, names: list[int]) -> set[int]:
    """Classes of the polygons of a YOLO file."""
    numbers = {int(line.split()[0]) for line in file.read_text().splitlines() if line.strip()}
    return {names[number] if 0 <= number < len(names) else UNKNOWN for number in numbers}


def _yolo_rings(path: Path, shape: tuple[int, ...]) -> list[np.ndarray]:
    rings = []
    for line in openable(path).read_text().splitlines():
        numbers = np.array(line.split()[1:], float)
        if len(numbers) == 4:  # a box: its centre and its size
            (x, y), (w, h) = numbers[:2], numbers[2:] / 2
            numbers = np.array([x - w, y - h, x + w, y - h, x + w, y + h, x - w, y + h])
        if len(numbers):
            rings.append(numbers.reshape(-1, 2) * (shape[1], shape[0]))
    return rings


def _coco_rings(path: Path) -> list[np.ndarray]:
    rings = []
    for one in _of_image(path):
        if not isinstance(one["segmentation"], list):
            raise PolygonError("run-length encoded: export polygons")
        rings += [np.array(ring, float).reshape(-1, 2) for ring in one["segmentation"]]
    return rings


def _of_image(path: Path) -> list[dict[str, Any]]:
    name, _, number = path.name.rpartition(OF)
    file = path.with_name(name)
    return [one for one in _coco(file, file.stat().st_mtime_ns)["annotations"] if str(one["image_id"]) == number]


@functools.lru_cache(8)
def _coco(file: Path, changed: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(openable(file).read_text())
    return found
