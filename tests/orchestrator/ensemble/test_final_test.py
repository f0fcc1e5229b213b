"""The look at the test images: that the product says what was scored, whatever either of them says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.ensemble.final_test import _ask_product
from orchestrator.inference.predictor import Predictor
from orchestrator.scoring.measure import Predicted
from tests.support.products import give_nan, pictures, small_product


@pytest.fixture
def asked(tmp_path: Path) -> tuple[Path, Any, Any, Predicted]:
    """A product, images that it is asked about, and what it says of them as it is scored."""
    images, files = pictures(3), []
    for number, image in enumerate(images):
        files.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(image).save(files[-1])
    folder = small_product(tmp_path / "product", "multi", networks=1)
    product = Predictor.load(folder, "cpu")
    outputs = product.forward(images)
    found = [product.finish(image, one) for image, one in zip(images, outputs, strict=True)]
    masks = product.description.main.combination.masks
    assert masks is not None
    probabilities = np.array([one.probabilities for one in found])
    predicted = Predicted(probabilities, np.stack([product.plane(one) for one in outputs]), masks.threshold)
    digests = tuple("abc")
    team = SimpleNamespace(data=SimpleNamespace(image_digests=digests, files=files))
    said = type("Said", (), {"digests": digests, "keep_aspect": False, "__len__": lambda self: len(digests)})()
    return folder, team, said, predicted


def test_what_the_product_says_as_scored_passes(asked: tuple[Path, Any, Any, Predicted]) -> None:
    assert np.isfinite(_ask_product(*asked)).all()


def test_a_product_that_gives_no_number_is_refused(
    asked: tuple[Path, Any, Any, Predicted], monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = pictures(2)[1].shape
    give_nan(monkeypatch, lambda image: image.shape == shape)
    with pytest.raises(RuntimeError, match=r"the product: the model gives no number for it .*test image b"):
        _ask_product(*asked)


@pytest.mark.parametrize("what", ["probabilities", "planes"])
def test_scored_nan_is_refused(what: str, asked: tuple[Path, Any, Any, Predicted]) -> None:
    getattr(asked[-1], what)[1].flat[0] = np.nan
    with pytest.raises(RuntimeError, match="differs from what is scored, by nan"):
        _ask_product(*asked)
