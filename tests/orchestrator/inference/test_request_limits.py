"""What a request to the served model may hold, told in words and by 413, before anything of it is decoded."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image

from orchestrator.inference import pyfunc
from orchestrator.inference.predictor import BATCH, batches
from trainables.data.pixel_budget import PIXELS


def png(side: int) -> bytes:
    stream = BytesIO()
    Image.new("L", (side, side)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("images", "told"),
    [
        ([b"x"] * (pyfunc.MAX_IMAGES + 1), "more than 1,000 images in a request"),
        (["A" * 60_000_000] * 2, "more than 100 megabytes in a request"),
        ([png(8000), png(64)] * 5, "more than 256 megapixels in a request"),
        ([base64.b64encode(png(8000)).decode()] * 5, "more than 256 megapixels in a request"),
        ([np.zeros((8000, 8000), np.uint8)] * 5, "more than 256 megapixels in a request"),
    ],
    ids=["images", "bytes", "files", "base64", "pixels"],
)
def test_more_than_a_request_may_hold(images: list[Any], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[object]()
    monkeypatch.setattr(pyfunc, "read_image", read.append)
    monkeypatch.setattr(pyfunc, "grey_image", read.append)
    with pytest.raises(MlflowException) as refused:
        pyfunc.PyfuncModel().predict(None, pd.DataFrame({"image": images}))
    assert refused.value.get_http_status_code() == 413
    said = json.loads(refused.value.serialize_as_json())["message"]
    assert said == f"{told}; send fewer images in each, or smaller ones"
    assert len(read) < 9  # none from the one on that is too much


def test_large_images_are_predicted_in_smaller_batches() -> None:
    small, large = 1000, PIXELS // 2
    assert list(batches([])) == []
    assert list(batches([small] * (BATCH + 2))) == [range(BATCH), range(BATCH, BATCH + 2)]
    assert list(batches([large, large, small, 2 * PIXELS, small])) == [range(2), range(2, 3), range(3, 4), range(4, 5)]
