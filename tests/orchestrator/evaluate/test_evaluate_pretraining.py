"""An evaluation warns where the weights that a model's encoders started from may have seen the images."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.evaluate import external
from tests.support.evaluations import copy, evaluate, images_of
from tests.support.products import small_product


@pytest.mark.parametrize(("folder", "warned"), [("BUSI", True), ("clinic", False)])
def test_weights_that_have_seen_the_images_are_told(
    folder: str, warned: bool, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external, "INTERVAL", 20)
    model = small_product(tmp_path / "model", "cls", networks=1, encoder_weights=["folder, UltraSam", "package"])
    for kind in ("benign", "malignant"):
        for number, image in enumerate(images_of(phantom, kind)[:4]):
            copy(image, tmp_path / folder / kind / f"{kind}{number}.png")
    told = " ".join(evaluate(model, tmp_path / folder, tmp_path / "out.html")["told"])
    assert ("Warning: the authors of UltraSam list BUSI among its data" in told) is warned
