"""Segmentation losses by name, from segmentation_models_pytorch, for logits and targets [B,1,H,W].

Region losses are taken image by image, as the lesion Dice that ranks trials is. Where a target is empty they are
undefined, or a matter of a single pixel (Lovász), and smp's Dice and Tversky are 0: a false positive on a normal would
teach nothing. The mean predicted probability stands in.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from segmentation_models_pytorch.losses import DiceLoss, FocalLoss, LovaszLoss, SoftBCEWithLogitsLoss, TverskyLoss
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]

PIXEL: dict[str, Loss] = {
    "bce": SoftBCEWithLogitsLoss(),
    # gamma 2: Lin et al., "Focal loss for dense object detection", ICCV 2017, arXiv:1708.02002.
    "focal": FocalLoss("binary", gamma=2.0),
}
_DICE = DiceLoss("multilabel")
# A missed pixel costs more than a false one: Salehi et al., MLMI 2017, arXiv:1706.05721.
_TVERSKY = TverskyLoss("multilabel", alpha=0.3, beta=0.7)
# The hinge form: Berman et al., "The Lovász-Softmax loss", CVPR 2018, arXiv:1705.08790.
_LOVASZ = LovaszLoss("binary", per_image=True)


def _by_channel(loss: Loss) -> Loss:
    # smp's "multilabel" scores each channel by itself, leaving out empty ones: images take the channels' place.
    return lambda logits, target: loss(logits.transpose(0, 1), target.transpose(0, 1))


def _lovasz(logits: Tensor, target: Tensor) -> Tensor:
    # In float32 whatever comes: smp's mixes in float32 of its own, which a float64 input does not go with.
    logits, target = logits.float(), target.float()
    has_lesion = target.flatten(1).any(1).float()
    by_image = torch.stack([_LOVASZ(one, truth) for one, truth in zip(logits, target, strict=True)])
    return (has_lesion * by_image).mean()


#: Mean over the images of a batch; an image with an empty target counts as 0.
REGION: dict[str, Loss] = {"dice": _by_channel(_DICE), "tversky": _by_channel(_TVERSKY), "lovasz": _lovasz}
#: Name -> (region term, pixel term); "" where a loss has only one.
LOSSES: dict[str, tuple[str, str]] = {
    "bce": ("", "bce"),
    "focal": ("", "focal"),
    "dice": ("dice", ""),
    "tversky": ("tversky", ""),
    "lovasz": ("lovasz", ""),
    "dice_bce": ("dice", "bce"),
    "dice_focal": ("dice", "focal"),
    "tversky_bce": ("tversky", "bce"),
    "tversky_focal": ("tversky", "focal"),
    "lovasz_bce": ("lovasz", "bce"),
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
            return _with_normals(REGION[region], logits, target)
        return weight * _with_normals(REGION[region], logits, target) + (1 - weight) * PIXEL[pixel](logits, target)

    return loss


def _with_normals(region: Loss, logits: Tensor, target: Tensor) -> Tensor:
    """Mean over images of a region loss; of the mean predicted probability where the target is empty."""
    empty = (target.flatten(1).sum(1) == 0).to(logits.dtype)
    return region(logits, target) + (empty * torch.sigmoid(logits).flatten(1).mean(1)).mean()
