"""Pictures of images side by side: with truth and prediction outlined, or as they are; and which to show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from trainables.data.manifest import CLASSES
from trainables.data.prepared import Prepared
from trainables.metrics.seg import confusion_counts

#: RGB colours of outlines.
TRUTH, PREDICTION, WHITE = (0, 220, 0), (255, 60, 60), (255, 255, 255)
IMAGES, COLUMNS, TILE, LINE = 12, 4, 256, 20
#: Normal images among the worst masks.
NORMALS = 4
#: Characters that fit under a tile, and beside the legend.
CAPTION, TITLE = 36, 70


def draw_outlines(
    data: Prepared, rows: np.ndarray, mask_logits: np.ndarray, captions: Sequence[str], title: str = ""
) -> np.ndarray:
    """Images with truth (green) and prediction (red) outlined.

    Args:
        data: prepared data.
        rows: int64 [N].
        mask_logits: float [N,1,S,S], cut at 0.
        captions: N short texts. title: stands beside the legend.

    Returns:
        uint8 RGB [20 + lines * 276, 1024, 3]: a legend, then four tiles of 256 px a line with their captions below.
    """
    tiles = []
    for row, logits, caption in zip(rows, mask_logits[:, 0], captions, strict=True):
        tile = _tile(data, row)
        for lesion, colour in ((data.masks[row], TRUTH), ((logits > 0).astype(np.uint8), PREDICTION)):
            enlarged = cv2.resize(lesion, (TILE, TILE), interpolation=cv2.INTER_NEAREST)
            outlines, _ = cv2.findContours(enlarged, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(tile, outlines, -1, colour, 1)
        tiles.append(_captioned(tile, caption))
    legend = _legend()
    _write(legend, "truth", 4, 14, TRUTH)
    _write(legend, "prediction", 60, 14, PREDICTION)
    _write(legend, title, 170, 14, WHITE, TITLE)
    return _sheet(legend, tiles)


def draw_images(data: Prepared, rows: np.ndarray, captions: Sequence[str], title: str) -> np.ndarray:
    """Images as they are, as for `draw_outlines`, below a title."""
    legend = _legend()
    _write(legend, title, 4, 14, WHITE, TITLE)
    tiles = [_captioned(_tile(data, row), caption) for row, caption in zip(rows, captions, strict=True)]
    return _sheet(legend, tiles)


def lowest_dice(data: Prepared, rows: np.ndarray, mask_logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The worst masks: positions (int64, at most `IMAGES`) among `rows`, lowest Dice first, and their Dice (float64).

    A normal image counts 0 where anything is predicted, else 1, as in `dice_all`; of equals the one with more wrong
    pixels comes first. Normals are at most `NORMALS` of them, or an early model would show nothing else. Images whose
    mask is not known are left out. Pixels are those of the prepared size.
    """
    known = np.flatnonzero(data.has_mask[rows])
    truth = torch.from_numpy(np.array(data.masks[rows[known]]))[:, None]
    tp, fp, fn = confusion_counts(torch.from_numpy(mask_logits[known]), truth).numpy().astype(np.float64).T
    dice = np.where(tp + fn > 0, 2 * tp / np.maximum(2 * tp + fp + fn, 1), fp == 0)
    order = np.lexsort((-(fp + fn), dice))
    normal = (tp + fn == 0)[order]
    worst = order[~normal | (normal.cumsum() <= NORMALS)][:IMAGES]
    return known[worst], dice[worst]


def confident_errors(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Positions (int64, at most `IMAGES`) where the likeliest class is wrong, the surest first.

    Args:
        probabilities: floating point [N,K]. targets: int64 [N], 0..K-1.
    """
    wrong = np.flatnonzero(probabilities.argmax(1) != targets)
    return wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")][:IMAGES]


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


def _tile(data: Prepared, row: int) -> np.ndarray:
    return np.asarray(cv2.cvtColor(cv2.resize(data.images[row], (TILE, TILE)), cv2.COLOR_GRAY2RGB))


def _captioned(tile: np.ndarray, caption: str) -> np.ndarray:
    tile = cv2.copyMakeBorder(tile, 0, LINE, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    _write(tile, caption, 4, TILE + 14, WHITE)
    return tile


def _legend() -> np.ndarray:
    return np.zeros((LINE, COLUMNS * TILE, 3), np.uint8)


def _sheet(legend: np.ndarray, tiles: list[np.ndarray]) -> np.ndarray:
    tiles = tiles + [np.zeros((TILE + LINE, TILE, 3), np.uint8)] * (-len(tiles) % COLUMNS)
    return np.vstack([legend, *(np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS))])


def _write(picture: np.ndarray, text: str, x: int, y: int, colour: tuple[int, int, int], length: int = CAPTION) -> None:
    ascii_text = text.encode("ascii", "replace").decode()[:length]
    cv2.putText(picture, ascii_text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
