"""The multi-task loss: a mask loss and a class loss, each over the images that have what it needs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from search_spaces.recipes import Config
from trainables.devices import upload
from trainables.losses import cls, seg

#: (mask logits, class logits), masks, has_mask, targets -> scalar
MultiLoss = Callable[[tuple[Tensor, Tensor], Tensor, Tensor, Tensor], Tensor]


def build_loss(config: Config, targets: np.ndarray, classes: int) -> MultiLoss:
    """``mask_weight * mask loss + (1 - mask_weight) * class loss`` of a batch.

    It takes the outputs (mask logits [B,1,H,W], class logits [B,K]), masks of 0 and 1 [B,1,H,W], has_mask bool [B] and
    targets int64 [B], 0..K-1 or -1 for unknown. The mask loss is the mean over images with a mask, the class loss over
    images of known class; a batch without any trains the other head alone.

    Args:
        config: keys read: `loss` and `loss_weight` (of the mask), `mask_weight`, `class_loss`, and those of
            `losses.cls.build_loss`.
        targets: of the training samples, int64 [N], as above; class weights come from them.
        classes: K.

    Raises:
        ValueError: unknown loss, or a weight outside 0..1.
    """
    weight: float = config["mask_weight"]
    if not 0 <= weight <= 1:
        raise ValueError(f"mask_weight is {weight}: give the weight of the mask loss, 0 to 1")
    mask_loss = seg.build_loss(config["loss"], config["loss_weight"])
    class_loss = cls.build_loss({**config, "loss": config["class_loss"]}, targets, classes)

    def loss(outputs: tuple[Tensor, Tensor], masks: Tensor, has_mask: Tensor, targets: Tensor) -> Tensor:
        mask_logits, class_logits = outputs
        if has_mask.all():
            mask = mask_loss(mask_logits, masks)
        elif has_mask.any():
            rows = upload(has_mask.nonzero()[:, 0], mask_logits.device)
            mask = mask_loss(mask_logits[rows], masks[rows])
        else:
            mask = 0 * mask_logits.sum()
        return weight * mask + (1 - weight) * class_loss(class_logits, targets)

    return loss
