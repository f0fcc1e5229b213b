"""Multi-task networks: one encoder, a mask decoder and a class head on the encoder's last feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.multi import architecture
from search_spaces.recipes import Config
from trainables.data.manifest import CLASSES, NORMAL
from trainables.models.seg import SegmentationModel, pretrainable

#: Logit of what refinement rules out: probability .27. Far enough to decide, near enough for the loss to stay finite.
RULED_OUT = -1.0

#: Mask logits float32 [B, 1, H, W] and class logits float32 [B, K].
MultiOutputs = tuple[Tensor, Tensor]


class MultiModel(SegmentationModel):
    """As `SegmentationModel`, with two outputs: mask logits float32 [B,1,H,W] and class logits float32 [B,K].

    Args:
        net: gives both; see `SegmentationModel`.
        smallest: least side in pixels that `net` can take.
        refined: whether outputs outside training go through `refine`, so that metrics, predictions and ensembles alike
            see them refined.
    """

    def __init__(self, net: nn.Module, smallest: int, *, refined: bool) -> None:
        super().__init__(net, channels=3, smallest=smallest)
        self.refined = refined

    def forward(self, images: Tensor) -> MultiOutputs:  # type: ignore[override]
        height, width = images.shape[-2:]
        masks, classes = self.net(self.prepare(images))
        outputs = masks[..., :height, :width].float(), classes.float()
        return refine(*outputs) if self.refined and not self.training else outputs


def build(config: Config, classes: int) -> MultiModel:
    """The network of a configuration for K = `classes` classes, with random weights and no normalisation yet.

    To be filled as `models.seg.build` says. Keys read: `architecture`, `encoder`, `dropout` (before the class head) and
    `refine`, which needs the class normal and is of no effect without it (K = 2).

    Raises:
        ValueError: unknown architecture, or an encoder that it was not tried with.
    """
    entry = architecture(config["architecture"])
    head = {"classes": classes, "dropout": config["dropout"]}
    net = pretrainable(entry, config["encoder"], aux_params=head)
    return MultiModel(net, entry.smallest, refined=config["refine"] and classes == len(CLASSES))


def refine(mask_logits: Tensor, class_logits: Tensor) -> MultiOutputs:
    """Let each head overrule the other where it sees no lesion. Both are judged by what they say before refinement.

    - Normal has the largest class logit: mask logits are cut at -1 (probability .27), so that no pixel is lesion.
    - No mask logit is above 0: the logit of normal becomes at least logsumexp(the other logits) + 1, so that normal has
      a probability of at least .73; the others keep their proportions.

    Args:
        mask_logits: float [B,1,H,W].
        class_logits: float [B,3], in the order of `CLASSES`.

    Returns:
        Mask logits and class logits of the same shapes; the arguments are left as they are.
    """
    normal = class_logits.argmax(1) == NORMAL
    empty = ~(mask_logits > 0).flatten(1).any(1)
    masks = torch.where(normal[:, None, None, None], mask_logits.clamp(max=RULED_OUT), mask_logits)
    least = class_logits[:, NORMAL + 1 :].logsumexp(1) - RULED_OUT  # a list as index would be uploaded
    classes = class_logits.clone()
    classes[:, NORMAL] = torch.where(empty, torch.maximum(class_logits[:, NORMAL], least), class_logits[:, NORMAL])
    return masks, classes
