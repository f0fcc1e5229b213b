"""Final evaluation of masks: predictions brought back to each image's original size, against the masks in the files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.batches import Batch
from trainables.data.manifest import DataError
from trainables.data.pixels import UnreadableError, fit_mask, read_mask, to_original_size
from trainables.data.prepared import Prepared
from trainables.metrics.seg import confusion_counts, hd95, pixel_confusion
from trainables.tasks.base import Outputs, Task


def evaluate_at_original_size(
    task: Task, outputs: Outputs, data: Prepared, rows: np.ndarray, originals: Sequence[np.ndarray] | None = None
) -> dict[str, float]:
    """The task's metrics at each image's own size, with those that are too slow for every epoch.

    Args:
        task: one that predicts masks.
        outputs: of the model for `rows` at the prepared size: mask logits [N,1,S,S], or (mask logits, class logits
            [N,K]). The mask logits are resized (bilinear) and then cut at 0.
        data: prepared data.
        rows: int64 [N].
        originals: their merged masks at original size, N of bool [H,W]; without, they are read from the mask files.

    Returns:
        What `task.metrics()` computes (pixels are now those of the original images), and:
        `hd95`: mean over images that have a lesion, as for `dice`, so that what is averaged over does not depend on the
        model; an empty prediction there counts as the image's diagonal, and false alarms on normals are `fpr_normal`.
        `pixels_tn`, `pixels_fp`, `pixels_fn`, `pixels_tp`: the confusion matrix of all pixels, {background, lesion}.

    Raises:
        DataError: a mask file cannot be read.
    """
    mask_logits, class_logits = outputs if isinstance(outputs, tuple) else (outputs, None)
    metrics, distances = task.metrics(), []
    pixels = torch.zeros(2, 2, dtype=torch.int64)
    for i, row in enumerate(rows):
        logits = to_original_size(mask_logits[i, 0].numpy(), *data.sizes[row], keep_aspect=data.keep_aspect)
        truth = read_merged_mask(data, row) if originals is None else originals[i]
        batch = _batch_of_one(truth, data, row)
        resized = torch.from_numpy(logits)[None, None]
        whole: Any = resized if class_logits is None else (resized, class_logits[i : i + 1])
        task.update(metrics, whole, batch)
        if data.has_mask[row]:
            pixels += pixel_confusion(confusion_counts(resized, batch.masks), truth.size)
        if truth.any():
            distances.append(hd95(logits > 0, truth))
    names = ("pixels_tn", "pixels_fp", "pixels_fn", "pixels_tp")
    scores = {**metrics.compute(), **dict(zip(names, pixels.flatten().tolist(), strict=True))}
    return {**scores, "hd95": float(np.mean(distances))} if distances else scores


def read_merged_mask(data: Prepared, row: int) -> np.ndarray:
    """The union of an image's mask files at original size, bool [H,W]; all False without one.

    Raises:
        DataError: a mask file cannot be read, or is of another size than it was.
    """
    merged = np.zeros(tuple(data.sizes[row]), bool)
    for file in data.mask_files[row]:
        try:
            mask, _ = read_mask(Path(file), merged.shape)
            mask = fit_mask(mask, merged.shape) if data.resized_masks else mask
        except UnreadableError as error:
            raise DataError(f"{file}: {error}; it was readable when the data were prepared: restore the file") from None
        if mask.shape != merged.shape:
            raise DataError(f"{file}: its size changed since the data were prepared: restore it, or prepare again")
        merged |= mask
    return merged


def _batch_of_one(truth: np.ndarray, data: Prepared, row: int) -> Batch:
    masks = torch.from_numpy(truth.astype(np.uint8))[None, None]
    labels, has_mask = torch.tensor([data.labels[row]]), torch.tensor([data.has_mask[row]])
    nothing: Tensor = torch.empty(0)  # the images themselves: no metric looks at them
    return Batch(nothing, masks, labels, has_mask)
