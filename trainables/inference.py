"""What a network says of images: batches, mirror images, memory. Needs torch alone."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables.devices import autocast
from trainables.memory import halving

BATCH = 32


def predict(model: nn.Module, images: np.ndarray, *, tta: bool = False) -> Any:
    """Outputs of a model on the CPU for grey images uint8 [N, H, W]: float32 [N, ...], or a tuple of such tensors.

    Args:
        model: on the device that is to be used; a GPU that computes in bfloat16 predicts in it.
        images: at the size that the model was trained with.
        tta: mean of the logits of each image and of its mirror image (left and right), masks mirrored back.

    Raises:
        RuntimeError: out of memory image by image.
    """
    model.eval()
    return halving(functools.partial(_predict, model, images, tta), BATCH, least=1)[0]


def _predict(model: nn.Module, images: np.ndarray, tta: bool, batch_size: int) -> Any:
    device = next(model.parameters()).device
    parts = []
    with torch.inference_mode(), autocast(device):
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(np.array(images[start : start + batch_size]))[:, None].to(device)
            outputs = _outputs(model, batch)
            if tta:
                pairs = zip(outputs, _outputs(model, batch.flip(-1)), strict=True)
                outputs = [(one + (other.flip(-1) if other.ndim == 4 else other)) / 2 for one, other in pairs]
            parts.append([output.float().cpu() for output in outputs])
    joined = tuple(torch.cat(column) for column in zip(*parts, strict=True))
    return joined if len(joined) > 1 else joined[0]


def _outputs(model: nn.Module, batch: Tensor) -> list[Tensor]:
    outputs = model(batch)
    return list(outputs) if isinstance(outputs, tuple) else [outputs]
