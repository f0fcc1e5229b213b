"""One network of an ensemble: from its file, and its logits for images. No task, loss or metric is needed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from search_spaces import Config
from trainables.data.patience import openable
from trainables.inference import predict
from trainables.models import build_model


class Logits(NamedTuple):
    """What a network says of N images: class logits float32 [N,K], mask logits float32 [N,S,S], or both."""

    classes: np.ndarray | None
    planes: np.ndarray | None


def load_network(file: Path, task: str, config: Config, device: torch.device | str = "cpu") -> nn.Module:
    """The network of a configuration with the weights of a safetensors file, in eval mode on the device.

    Raises:
        ValueError: unknown task or architecture. FileNotFoundError: no such file.
        RuntimeError, safetensors.SafetensorError: the file holds other weights, or is damaged.
    """
    model: nn.Module = build_model(task, config, config.get("classes", 3))
    model.load_state_dict(load_file(openable(file)))
    # channels_last, as in training: convolutions are faster so.
    return model.eval().to(device).to(memory_format=torch.channels_last)


def network_logits(model: nn.Module, images: np.ndarray, *, tta: bool = False) -> Logits:
    """Logits for prepared images, uint8 [N,S,S], as `trainables.inference.predict` computes them.

    Args:
        model: gives class logits [B,K], mask logits [B,1,S,S], or (mask logits, class logits).
        images: N >= 1 of them, at the size that the model was trained with.
        tta: the mean of the logits of each image and of its mirror image.

    Raises:
        RuntimeError: out of memory image by image.
    """
    outputs = predict(model, images, tta=tta)
    heads = [head.numpy() for head in (outputs if isinstance(outputs, tuple) else (outputs,))]
    classes = next((head for head in heads if head.ndim == 2), None)
    return Logits(classes, next((head[:, 0] for head in heads if head.ndim == 4), None))


def enlarge(planes: np.ndarray, size: int) -> np.ndarray:
    """Mask logits float32 [N,S,S] as [N,size,size], bilinear; those of this size are left as they are."""
    if planes.shape[-1] == size:
        return planes
    return np.stack([cv2.resize(plane, (size, size), interpolation=cv2.INTER_LINEAR) for plane in planes])
