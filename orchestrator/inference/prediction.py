"""What an ensemble says of one image, and the same as a row of a table."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from orchestrator.inference.lesion_shape import FEATURES
from orchestrator.inference.triage import Decision
from trainables.data.manifest import CLASSES

#: Components below this share of the image have no box unless they are the largest, as in the detection metrics.
LEAST_AREA = 0.001
#: Why an image has no prediction although it can be read.
UNUSABLE = "the model gives no number for it (NaN or infinity)"
#: Of the model that MLflow serves: the column of its input, that of masks in its output, and the ensemble within it.
IMAGE, MASK, ARTIFACT = "image", "mask_png", "ensemble"
BOX = ("left", "top", "right", "bottom")
#: The only column of words.
TRIAGE = "triage"
#: Columns of a row, the same for every task; what a task does not predict is empty.
COLUMNS = (
    *(f"probability_{name}" for name in CLASSES),
    *("malignant_score", "above_threshold", TRIAGE, "lesion_area"),
    *BOX,
    *(f"shape_{name}" for name in FEATURES),
    "uncertainty",
)
Value = float | int | None
#: Of one image, by column.
Row = dict[str, Value | str]


@dataclass(frozen=True)
class Prediction:
    """Of one image.

    Attributes:
        classes: the K class names; empty for seg. probabilities: of each, float64 [K]; None for seg.
        above_threshold: whether the malignant score reaches the operating point that keeps 90 % specificity; None
            without one.
        mask: lesion, bool [H,W] at original size; None for cls.
        boxes: int64 [k,4] (left, top, right, bottom), pixels, right and bottom exclusive: one for each 8-connected
            component of the mask, the largest first, and others of at least .1 % of the image. None for cls.
        shape: `FEATURES` of the largest component, float64 [F], NaN where there is none; None where nothing predicts
            a mask. For cls it is that of the masks that its stack looks at.
        uncertainty: 0..1, see `orchestrator.inference.uncertainty`; NaN where it is not usable.
        usable: whether every network gave numbers; after a NaN or infinity of one, nothing is predicted: all that may
            be None is.
        triage: whether the malignant score rules malignancy out or in; None where the model promises nothing.
    """

    classes: tuple[str, ...]
    probabilities: np.ndarray | None
    above_threshold: bool | None
    mask: np.ndarray | None
    boxes: np.ndarray | None
    shape: np.ndarray | None
    uncertainty: float
    usable: bool = True
    triage: Decision | None = None

    @classmethod
    def unusable(cls, classes: tuple[str, ...]) -> Self:
        """Of an image for which a network gave NaN or infinity."""
        return cls(classes, None, None, None, None, None, uncertainty=math.nan, usable=False)

    @property
    def malignant_score(self) -> float | None:
        """The probability of malignant; None for seg, and where nothing is predicted."""
        return None if self.probabilities is None else float(self.probabilities[self.classes.index("malignant")])

    def row(self) -> Row:
        """Plain values by column; None is unknown, or not predicted by the task."""
        values: Row = dict.fromkeys(COLUMNS)
        if self.probabilities is not None:
            found = zip(self.classes, self.probabilities.tolist(), strict=True)
            values.update({f"probability_{name}": value for name, value in found})
            values["malignant_score"] = self.malignant_score
        values["above_threshold"] = None if self.above_threshold is None else int(self.above_threshold)
        values[TRIAGE] = None if self.triage is None else self.triage.value
        if self.mask is not None and self.boxes is not None:
            values["lesion_area"] = int(self.mask.sum())
            values.update(zip(BOX, self.boxes[0].tolist(), strict=True) if len(self.boxes) else {})
        if self.shape is not None:
            found = zip(FEATURES, self.shape.tolist(), strict=True)
            values.update({f"shape_{name}": value for name, value in found if np.isfinite(value)})
        values["uncertainty"] = self.uncertainty if self.usable else None
        return values

    def mask_png(self) -> bytes | None:
        """The mask as a grey PNG file, 255 = lesion; None without a mask."""
        return None if self.mask is None else encode_png(self.mask.astype(np.uint8) * 255)

    def mask_base64(self) -> str | None:
        """`mask_png` in base64."""
        png = self.mask_png()
        return None if png is None else base64.b64encode(png).decode()


def encode_png(picture: np.ndarray) -> bytes:
    """A PNG file of uint8 [H,W] grey or [H,W,3] in OpenCV's order, blue first."""
    return cv2.imencode(".png", picture)[1].tobytes()


def lesion_boxes(mask: np.ndarray) -> np.ndarray:
    """Boxes of a mask, bool [H,W], as `Prediction.boxes` describes them."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    largest_first = sorted(range(1, count), key=lambda i: -areas[i])
    kept = largest_first[:1] + [i for i in largest_first[1:] if areas[i] >= LEAST_AREA * mask.size]
    corners = stats[kept, :2].astype(np.int64)
    return np.hstack([corners, corners + stats[kept, 2:4]])
