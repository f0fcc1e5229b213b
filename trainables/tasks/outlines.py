"""Pictures of predicted masks: images side by side, with truth and prediction outlined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from trainables.data import CLASSES, Prepared

#: RGB colours of outlines.
TRUTH, PREDICTION = (0, 220, 0), (255, 60, 60)
IMAGES, COLUMNS, TILE, LINE = 12, 4, 256, 20
#: Characters that fit under a tile.
CAPTION = 36


def draw_outlines(data: Prepared, rows: np.ndarray, mask_logits: np.ndarray, captions: Sequence[str]) -> np.ndarray:
    """Images with truth (green) and prediction (red) outlined.

    Args:
        data: prepared data.
        rows: int64 [N].
        mask_logits: float [N,1,S,S], cut at 0.
        captions: N short texts.

    Returns:
        uint8 RGB [20 + lines * 276, 1024, 3]: a legend, then four tiles of 256 px a line with their captions below.
    """
    tiles = []
    for row, logits, caption in zip(rows, mask_logits[:, 0], captions, strict=True):
        tile = cv2.cvtColor(cv2.resize(data.images[row], (TILE, TILE)), cv2.COLOR_GRAY2RGB)
        for lesion, colour in ((data.masks[row], TRUTH), ((logits > 0).astype(np.uint8), PREDICTION)):
            enlarged = cv2.resize(lesion, (TILE, TILE), interpolation=cv2.INTER_NEAREST)
            outlines, _ = cv2.findContours(enlarged, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(tile, outlines, -1, colour, 1)
        tile = cv2.copyMakeBorder(tile, 0, LINE, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0))
        _write(tile, caption, 4, TILE + 14, (255, 255, 255))
        tiles.append(tile)
    tiles += [np.zeros((TILE + LINE, TILE, 3), np.uint8)] * (-len(tiles) % COLUMNS)
    legend = np.zeros((LINE, COLUMNS * TILE, 3), np.uint8)
    _write(legend, "truth", 4, 14, TRUTH)
    _write(legend, "prediction", 60, 14, PREDICTION)
    return np.vstack([legend, *(np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS))])


def spread(labels: np.ndarray, count: int = IMAGES) -> np.ndarray:
    """Positions (int64) of at most `count` labels (int64 [N]), the classes taking turns; no randomness."""
    turn = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        which = np.flatnonzero(labels == label)
        turn[which] = np.arange(len(which))
    return np.lexsort((-labels, turn))[:count]


def image_name(data: Prepared, row: int) -> str:
    """An image's name for a caption: its file's, after its class where the file's name does not begin with it."""
    name = Path(data.files[row]).stem
    label = CLASSES[data.labels[row]] if data.labels[row] >= 0 else ""
    return name if name.startswith(label) else f"{label} {name}"


def _write(picture: np.ndarray, text: str, x: int, y: int, colour: tuple[int, int, int]) -> None:
    ascii_text = text.encode("ascii", "replace").decode()[:CAPTION]
    cv2.putText(picture, ascii_text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
