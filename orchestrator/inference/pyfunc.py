"""The product as MLflow serves it: models-from-code, so that this very script is stored beside the ensemble.

Input: a column `image`, in each row the bytes of an image file, the same in base64, or the pixels: an array, or nested
lists of whole numbers, of which those up to 255 are 8-bit and others up to 65535 are 16-bit. Output: a row an image
with the columns of `predictions.csv` that tell of it, of which an unknown one is null, and for masks `mask_png`, a grey
PNG file in base64. Where a network gives NaN or infinity for an image, all of its row is null, and the server's log
says so.

Every image of a request lies in memory at once, and the answer comes when the last is predicted: so a request has
limits, `MAX_IMAGES` and those below it. Beyond one, an HTTP server answers 413, in words.
"""

from __future__ import annotations

import base64
import binascii
import logging
import tempfile
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from orchestrator.common.errors import UserError
from orchestrator.inference.images import grey_image
from orchestrator.inference.prediction import ARTIFACT, IMAGE, MASK, UNUSABLE, Row
from orchestrator.inference.predictor import Predictor
from trainables.data.pixels import UnreadableError, pixel_count, read_image

#: The most of a request. All of BUSI has 234 megapixels.
MAX_IMAGES, MAX_MEGABYTES, MAX_MEGAPIXELS = 1000, 100, 256

log = logging.getLogger(__name__)


class TooLargeError(MlflowException):
    """A request beyond one of its limits."""

    def get_http_status_code(self) -> int:
        """As MLflow's server asks for it, which has no error code for this."""
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class PyfuncModel(PythonModel):
    """Predicts rows of image files with the ensemble among its artifacts."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the ensemble. Raises ModelError where it cannot be used."""
        self._ensemble = Predictor.load(context.artifacts[ARTIFACT])

    def predict(
        self, context: PythonModelContext | None, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """A row an image, in the order of the input.

        Args:
            context: of no account.
            model_input: data frame with a column `image`: bytes of an image file, the same in base64 as str, or pixels
                as `orchestrator.inference.images.grey_image` takes them.
            params: of no account.

        Raises:
            MlflowException: no such column, or an image cannot be read; an HTTP server answers 400. TooLargeError:
                more than a request may hold; it answers 413.
        """
        if IMAGE not in model_input:
            raise _bad(
                f'no column \'{IMAGE}\'; send {{"dataframe_records": [{{"{IMAGE}": "base64 of a file, or pixels"}}]}}'
            )
        images = _read(list(model_input[IMAGE]))
        rows: list[Row] = []
        for number, prediction in enumerate(self._ensemble.predict(images)):
            if not prediction.usable:
                log.warning("image %d: %s", number, UNUSABLE)
            mask = {MASK: prediction.mask_base64()} if self._ensemble.description.task != "cls" else {}
            rows.append({**prediction.row(), **mask})
        return pd.DataFrame(rows, dtype=object)  # object keeps None, which is null in JSON, where NaN is none of it


def _read(values: list[Any]) -> list[np.ndarray]:
    """The images of a request, uint8 [H,W] each, from files, base64 or pixels."""
    _limit(len(values), MAX_IMAGES, "images")
    _limit(sum(len(one) for one in values if isinstance(one, bytes | str)) / 1e6, MAX_MEGABYTES, "megabytes")
    images, pixels = list[np.ndarray](), 0
    with tempfile.TemporaryDirectory() as folder:
        for row, value in enumerate(values):
            try:
                image = _file_or_pixels(value, Path(folder) / "image")
                pixels += pixel_count(image) if isinstance(image, Path) else int(np.prod(image.shape[:2]))
                _limit(pixels / 1e6, MAX_MEGAPIXELS, "megapixels")  # of a file, before it is decoded
                images.append(read_image(image) if isinstance(image, Path) else grey_image(image))
            except binascii.Error:
                raise _bad(f"image {row}: not base64") from None
            except (UnreadableError, UserError) as error:
                raise _bad(f"image {row}: {error}") from None
    return images


def _limit(found: float, most: int, what: str) -> None:
    if found > most:
        raise TooLargeError(
            f"more than {most:,} {what} in a request; send fewer images in each, or smaller ones",
            error_code=INVALID_PARAMETER_VALUE,
        )


def _file_or_pixels(value: Any, file: Path) -> Path | np.ndarray:
    if isinstance(value, str):
        value = base64.b64decode("".join(value.split()), validate=True)  # `base64 FILE` breaks lines
    if not isinstance(value, bytes):
        return _pixels(value)
    file.write_bytes(value)
    return file


def _pixels(value: Any) -> np.ndarray:
    """An array as it is; of nested lists, whose numbers JSON gave no type, the smallest that files have, too."""
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, list):
        raise UserError(f"{type(value).__name__} is no image: send a file's bytes, the same in base64, or pixels")
    try:
        pixels = np.array(value)
    except ValueError:
        raise UserError("rows of different lengths; send one list of pixels for each row of the image") from None
    if pixels.dtype.kind != "i" or not pixels.size or pixels.min() < 0 or pixels.max() >= 1 << 16:
        raise UserError("send whole numbers from 0 (black) to 255 (white), or to 65535 of a 16-bit image")
    return pixels.astype(np.uint8 if pixels.max() < 1 << 8 else np.uint16)


def _bad(message: str) -> MlflowException:
    return MlflowException(message, error_code=INVALID_PARAMETER_VALUE)


set_model(PyfuncModel())
