"""Two datasets of different layouts, made of phantom images that are not alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.replicas import save, table
from trainables.data import CLASSES, phantom, read_manifest


def write(root: Path, images: int = 120) -> tuple[Path, Path]:
    """Half of the images as BUSI is laid out, half as images, masks and a table with patients, two images each."""
    made = read_manifest(phantom.write_phantom(root / "made", images=images, seed=3)).records
    clinics = root / "clinic A", root / "clinic B"
    rows: list[tuple[object, ...]] = [("image", "label", "patient", "ward")]
    for number, record in enumerate(made):
        kind, pixels = CLASSES[record.label], np.array(Image.open(record.image))
        mask = np.array(Image.open(record.masks[0])) if record.masks else np.zeros_like(pixels)
        if number % 2:
            save(pixels, clinics[0] / kind / f"{number}.png")
            save(mask, clinics[0] / kind / f"{number}_mask.png")
        else:
            save(pixels, clinics[1] / f"images/{number}.png")
            save(mask, clinics[1] / f"masks/{number}.png")
            rows.append((f"{number}.png", kind, number // 4, "west"))
    table(clinics[1] / "labels.csv", *rows)
    return clinics
