"""A predicted mask drawn on its image."""

from __future__ import annotations

import cv2
import numpy as np

from orchestrator.inference.prediction import Prediction, encode_png

#: Blue, green, red.
OUTLINE, TEXT, WARNING = (60, 60, 255), (255, 255, 255), (30, 140, 230)


def draw_overlay(image: np.ndarray, prediction: Prediction, *, synthetic: bool) -> bytes:
    """A PNG file of the image, uint8 [H,W], with the lesion outlined and the prediction in words, at original size.

    Args:
        image: grey.
        prediction: one with a mask.
        synthetic: whether the ensemble was trained on synthetic data, which the picture then says.
    """
    picture = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    scale = max(0.4, min(image.shape) / 1000)
    width = max(1, round(scale))
    assert prediction.mask is not None
    outlines, _ = cv2.findContours(prediction.mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, OUTLINE, width)
    words = [] if prediction.malignant_score is None else [f"malignant {prediction.malignant_score:.2f}"]
    lines = [(", ".join([*words, f"uncertainty {prediction.uncertainty:.2f}"]), TEXT)]
    if synthetic:
        lines.append(("MODEL OF SYNTHETIC DATA", WARNING))
    bottom = 0
    for line, colour in lines:
        (right, height), below = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, scale, width)
        top, bottom = bottom, bottom + height + 2 * below
        cv2.rectangle(picture, (0, top), (right + 2 * below, bottom), (0, 0, 0), cv2.FILLED)  # readable on any tissue
        place = (below, bottom - below)
        cv2.putText(picture, line, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, width, cv2.LINE_AA)
    return encode_png(picture)
