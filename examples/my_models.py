"""A plugin: a network, a loss, an augmentation and a layout of one's own, for `--plugin examples/my_models.py`.

python -m orchestrator.search --plugin examples/my_models.py --arch dilated_net
"""

import torch
from torch import Tensor, nn

from search_spaces import seg
from trainables.data.layouts import Layout
from trainables.plugins import register_architecture, register_augmentation, register_layout, register_loss
from trainables.policies import Policy, Range


class DilatedNet(nn.Module):
    """Convolutions that look ever farther at full size: normalised images [B,1,H,W] -> mask logits [B,1,H,W]."""

    def __init__(self, widths: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(zip((1, *widths), widths, strict=False)):
            convolution = nn.Conv2d(inputs, outputs, 3, padding=2**i, dilation=2**i, bias=False)
            layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers, nn.Dropout2d(dropout))
        self.head = nn.Conv2d(widths[-1], 1, 1)  # so called, as it is drawn anew where a training starts from another

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))


def log_cosh_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """log(cosh(1 - Dice)), the mean over images: Jadon, CIBCB 2020, arXiv:2006.14822. One pixel more, it is defined."""
    found = torch.sigmoid(logits).flatten(1)
    truth = masks.flatten(1)
    dice = (2 * (found * truth).sum(1) + 1) / (found.sum(1) + truth.sum(1) + 1)
    return torch.log(torch.cosh(1 - dice)).mean()


# The cost is of one image of 128 px, seconds on one CPU thread, compared with others: here about that of `unet`.
register_architecture(seg.Architecture("dilated_net", DilatedNet, {"": 0.022}, widths=(8, 8, 16, 16)))
register_loss("seg", "log_cosh_dice", log_cosh_dice)
register_augmentation("speckle", Policy(horizontal=0.5, noise=Range(0.02, 0.1, p=0.8)))
register_layout("scans", Layout("folders scans and outlines", images=("scans/{name}",), masks=("outlines/{name}",)))
