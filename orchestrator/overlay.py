"""A predicted mask drawn on its image."""

from __future__ import annotations

import cv2
import numpy as np

from orchestrator.product.prediction import Prediction, encode_png

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
    scale = max(0.35, min(image.shape) / 1000)
    width = max(1, round(2 * scale))
    assert prediction.mask is not None
    outlines, _ = cv2.findContours(prediction.mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, OUTLINE, width)
    words = [] if prediction.malignant_score is None else [f"malignant {prediction.malignant_score:.2f}"]
    lines = [(", ".join([*words, f"uncertainty {prediction.uncertainty:.2f}"]), TEXT)]
    if synthetic:
        lines.append(("MODEL OF SYNTHETIC DATA", WARNING))
    for number, (line, colour) in enumerate(lines, 1):
        place = (round(12 * scale), round(34 * scale * number))
        for ink, thickness in (((0, 0, 0), width + 2), (colour, width)):  # a dark rim: readable on any tissue
            cv2.putText(picture, line, place, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thickness, cv2.LINE_AA)
    return encode_png(picture)
