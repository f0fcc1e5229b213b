"""Evaluations by the command, and products that have learnt from given images."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.evaluate.__main__ import main
from orchestrator.inference.format import LEARNT_FROM, LearntFrom
from tests.support.webpages import Page, assert_self_contained
from trainables.data.duplicates import perceptual_hash
from trainables.data.pixels import read_image


def images_of(phantom: Path, name: str) -> list[Path]:
    return sorted(file for file in (phantom / name).glob("*.png") if not file.stem.endswith("_mask"))


def mask_of(image: Path) -> Path:
    return image.with_stem(f"{image.stem}_mask")


def copy(image: Path, target: Path) -> Path:
    """An image and its mask under another name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(image, target)
    shutil.copy(mask_of(image), mask_of(target))
    return target


def knowing(product: Path, folder: Path, *images: Path, files: tuple[Path, ...] = ()) -> Path:
    """The product as if it had learnt from these images, and been trained on these very files."""
    shutil.copytree(product, folder)
    known = LearntFrom(np.stack([perceptual_hash(read_image(file)) for file in images]), 50)
    (folder / LEARNT_FROM).write_bytes(known.to_bytes())
    described = json.loads((folder / "predictor.json").read_text())
    described["trained_on"] = sorted(hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files)
    (folder / "predictor.json").write_text(json.dumps(described))
    return folder


def evaluate(model: Path | str, data: Path, out: Path, *flags: str) -> dict[str, Any]:
    """Figures of an evaluation; the page, in HTML, is self-contained."""
    assert main(["--model", str(model), "--data", str(data), "--out", str(out), *flags]) == 0
    if out.suffix == ".html":
        assert_self_contained(Page(out.read_text()))
    found: dict[str, Any] = json.loads(out.with_suffix(".json").read_text())
    return found


def page_of(out: Path) -> Page:
    return Page(out.read_text())
