"""The product as MLflow serves it: models-from-code, so that this very script is stored beside the ensemble.

Input: a column `image`, the bytes of an image file in each row; in JSON base64. Output: a row an image with the columns
of `predictions.csv` that tell of it, of which an unknown one is null, and for masks `mask_png`, a grey PNG file in
base64. Where a network gives NaN or infinity for an image, all of its row is null, and the server's log says so.
"""

from __future__ import annotations

import base64
import binascii
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from orchestrator.inference.prediction import ARTIFACT, IMAGE, MASK, UNUSABLE, Row
from orchestrator.inference.predictor import Predictor
from trainables.data.pixels import UnreadableError, read_image

log = logging.getLogger(__name__)


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
            model_input: data frame with a column `image`: bytes of an image file, or the same in base64 as str.
            params: of no account.

        Raises:
            MlflowException: no such column, or an image cannot be read; an HTTP server answers 400.
        """
        if IMAGE not in model_input:
            raise _bad(f'no column \'{IMAGE}\'; send {{"dataframe_records": [{{"{IMAGE}": "base64 of a file"}}]}}')
        images = [_read(row, value) for row, value in enumerate(model_input[IMAGE])]
        rows: list[Row] = []
        for number, prediction in enumerate(self._ensemble.predict_batch(images)):
            if not prediction.usable:
                log.warning("image %d: %s", number, UNUSABLE)
            mask = {MASK: prediction.mask_base64()} if self._ensemble.description.task != "cls" else {}
            rows.append({**prediction.row(), **mask})
        return pd.DataFrame(rows, dtype=object)  # object keeps None, which is null in JSON, where NaN is none of it


def _read(row: int, value: Any) -> np.ndarray:
    if isinstance(value, str):
        try:
            value = base64.b64decode(value, validate=True)
        except binascii.Error:
            raise _bad(f"image {row}: not base64") from None
    if not isinstance(value, bytes):
        raise _bad(f"image {row}: expected the bytes of an image file, got {type(value).__name__}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "image"
        file.write_bytes(value)
        try:
            return read_image(file)
        except UnreadableError as error:
            raise _bad(f"image {row}: {error}") from None


def _bad(message: str) -> MlflowException:
    return MlflowException(message, error_code=INVALID_PARAMETER_VALUE)


set_model(PyfuncModel())
