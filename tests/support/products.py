"""Ensembles of small networks with random weights: what they predict is nonsense, and known."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from orchestrator.inference.combination import Combination, Head
from orchestrator.inference.export import MemberCheckpoints, Sources, write
from orchestrator.inference.predictor import Outputs, Predictor
from trainables.data.pixels import resize_image
from trainables.models import build_model
from trainables.models.heads import HEADS

CONFIGS: dict[str, dict[str, Any]] = {
    "seg": {"architecture": "unet", "encoder": "", "dropout": 0.0},
    "cls": {"architecture": "mobilenetv3_small", "encoder": "mobilenetv3_small_100", "head": "gap", "dropout": 0.0},
    "multi": {"architecture": "linknet", "encoder": "resnet18", "dropout": 0.0, "refine": False},
}


def checkpoint(
    folder: Path, task: str, seed: int, *, size: int = 64, fingerprint: str = "f1", classes: int = 3
) -> Path:
    """A checkpoint as `trainables.checkpoint.save` writes it, with random weights that tell images apart."""
    config = CONFIGS[task] | {"classes": classes}
    torch.manual_seed(seed)
    model = build_model(task, config, classes).eval()
    model.set_normalisation(0.3, 0.2)
    _standardise(model, size)
    folder.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "best.safetensors")
    description = {
        "task": task,
        "config": config,
        "classes": ["normal", "benign", "malignant"],
        "best": {"value": 0.5, "epoch": 1},
        "image_size": size,
        "data_fingerprint": fingerprint,
        "trained_on": sorted([f"{seed:016x}", "f" * 16]),
    }
    (folder / "model.json").write_text(json.dumps(description))
    return folder


@torch.no_grad()
def _standardise(model: nn.Module, size: int) -> None:
    """Give logits a mean of 0 and an SD of 2 over some images: those of random weights are all alike."""
    images = torch.from_numpy(np.stack([resize_image(image, size, False) for image in pictures(16, seed=99)]))[:, None]
    outputs = model(images)
    layers = [layer for name, layer in model.named_modules() if f"{name}.".startswith(HEADS)]
    last = [layer for layer in layers if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer, logits in zip(last, outputs if isinstance(outputs, tuple) else (outputs,), strict=True):
        over = [axis for axis in range(logits.ndim) if axis != 1]
        mean, spread = logits.mean(over), logits.std(over) / 2
        layer.weight /= spread.reshape(-1, *[1] * (layer.weight.ndim - 1))
        layer.bias.copy_((layer.bias - mean) / spread)


def head(*weights: float, **others: Any) -> Head:
    return Head(temperatures=tuple(1.0 + 0.5 * i for i in range(len(weights))), weights=weights, **others)


def small_product(folder: Path, task: str, *, networks: int = 2, synthetic: bool = False, **others: Any) -> Path:
    """The folder of an ensemble with one member of so many networks."""
    checkpoints = [checkpoint(folder / f"{task} {seed}", task, seed) for seed in range(networks)]
    combination = Combination(
        "mean",
        classes=None if task == "seg" else head(1.0, temperature=2.0),
        masks=None if task == "cls" else head(1.0, threshold=0.25),
    )
    source = Sources(combination, [MemberCheckpoints(0, "first", checkpoints)], plane_size=64)
    write(folder / "ensemble", source, **{"keep_aspect": False, "synthetic": synthetic, **others})
    return folder / "ensemble"


def give_nan(monkeypatch: pytest.MonkeyPatch, to: Callable[[np.ndarray], bool], value: float = np.nan) -> None:
    """From now on one logit of the last network is NaN, or infinite, for images of this kind."""
    honest = Predictor.forward

    def forward(self: Predictor, images: Sequence[np.ndarray]) -> list[Outputs]:
        found = honest(self, images)
        for image, outputs in zip(images, found, strict=True):
            for logits in outputs.main if to(image) else ():
                if logits is not None:
                    logits[-1].flat[0] = value
        return found

    monkeypatch.setattr(Predictor, "forward", forward)


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Grey images of many sizes, uint8 [H,W]: blobs on noise."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        height, width = rng.integers(40, 120, 2)
        y, x = np.mgrid[:height, :width]
        blob = np.hypot(y - rng.uniform(0, height), x - rng.uniform(0, width)) < rng.uniform(8, 30)
        found.append(np.clip(rng.normal(90, 30, (height, width)) + 100 * blob, 0, 255).astype(np.uint8))
    return found
