"""Segmentation losses by name, from segmentation_models_pytorch, for logits and targets [B,1,H,W].

Region losses are taken image by image, as the lesion Dice that ranks trials is. Where a target is empty they are
undefined, and smp's are 0: a false positive on a normal would teach nothing. The mean predicted probability stands in.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from segmentation_models_pytorch.losses import DiceLoss, FocalLoss, SoftBCEWithLogitsLoss, TverskyLoss
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]

PIXEL: dict[str, Loss] = {
    "bce": SoftBCEWithLogitsLoss(),
    # gamma 2: Lin et al., "Focal loss for dense object detection", ICCV 2017, arXiv:1708.02002.
    "focal": FocalLoss("binary", gamma=2.0),
}
REGION: dict[str, Loss] = {
    "dice": DiceLoss("multilabel"),
    # A missed pixel costs more than a false one: Salehi et al., MLMI 2017, arXiv:1706.05721.
    "tversky": TverskyLoss("multilabel", alpha=0.3, beta=0.7),
}
#: Name -> (region term, pixel term); "" where a loss has only one.
LOSSES: dict[str, tuple[str, str]] = {
    "bce": ("", "bce"),
    "focal": ("", "focal"),
    "dice": ("dice", ""),
    "tversky": ("tversky", ""),
    "dice_bce": ("dice", "bce"),
    "dice_focal": ("dice", "focal"),
    "tversky_bce": ("tversky", "bce"),
    "tversky_focal": ("tversky", "focal"),
}


def build_loss(name: str, weight: float = 0.5) -> Loss:
    """The loss ``weight * region + (1 - weight) * pixel``; of a single term, that term whatever the weight.

    The loss takes logits, floating point [B,1,H,W], and targets of 0 and 1, float or uint8 [B,1,H,W]; it returns a
    scalar, the mean over images.

    Raises:
        ValueError: unknown name, or a weight outside 0..1.
    """
    if name not in LOSSES:
        raise ValueError(f"unknown loss '{name}': choose from {', '.join(LOSSES)}")
    if not 0 <= weight <= 1:
        raise ValueError(f"loss_weight is {weight}: give the weight of the region term, 0 to 1")
    region, pixel = LOSSES[name]

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        target = target.to(logits.dtype)
        if not region:
            return PIXEL[pixel](logits, target)
        if not pixel:
            return _by_image(REGION[region], logits, target)
        return weight * _by_image(REGION[region], logits, target) + (1 - weight) * PIXEL[pixel](logits, target)

    return loss


def _by_image(region: Loss, logits: Tensor, target: Tensor) -> Tensor:
    """Mean over images of a region loss; of the mean predicted probability where the target is empty."""
    empty = (target.flatten(1).sum(1) == 0).to(logits.dtype)
    # smp's "multilabel" scores each channel by itself: images take the channels' place.
    lesions = region(logits.transpose(0, 1), target.transpose(0, 1))
    return lesions + (empty * torch.sigmoid(logits).flatten(1).mean(1)).mean()
