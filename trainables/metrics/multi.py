"""Multi-task metrics: those of masks and of classes, and what needs both."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from trainables.data.manifest import CLASSES
from trainables.metrics.cls import ClassificationMetrics
from trainables.metrics.detection import Boxes, detection_scores, predicted_boxes, true_boxes
from trainables.metrics.seg import SegmentationMetrics, confusion_counts

#: What a pixel can be: background takes the place of normal.
PIXEL_CLASSES = ("background", *CLASSES[1:])


def class_pixel_confusion(counts: Tensor, background: Tensor, predicted: Tensor, truth: Tensor) -> Tensor:
    """Pixels of all images together, int64 [3,3]: truth by prediction, {background, benign, malignant}.

    Args:
        counts: int64 [N,3], true positive, false positive and false negative pixels by image.
        background: int64 [N], true negative pixels.
        predicted: int64 [N], the class that predicted lesion pixels take, 1 or 2.
        truth: int64 [N], the class of true lesion pixels, 1 or 2; of no effect on an image without any.
    """
    tp, fp, fn = counts.unbind(1)
    nothing = torch.zeros_like(truth)
    size = len(PIXEL_CLASSES)
    confusion = torch.zeros(size * size, dtype=torch.int64, device=counts.device)
    for true_class, predicted_class, pixels in (
        (truth, predicted, tp),
        (nothing, predicted, fp),
        (truth, nothing, fn),
        (nothing, nothing, background),
    ):
        confusion.index_add_(0, true_class * size + predicted_class, pixels)
    return confusion.reshape(size, size)


def mean_iou(confusion: Tensor) -> float:
    """Mean over classes of TP / (TP + FP + FN), from counts [C,C]; a class neither true nor predicted is left out."""
    confusion = confusion.double()
    hits = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - hits
    return (hits[union > 0] / union[union > 0]).mean().item()


class MultiMetrics(Metric):
    """Everything said of masks over images with a mask, of classes over images of known class, and of both over both.

    `compute`: all of `segmentation_scores` and `classification_scores`; `score`, the mean of `dice` and `auroc` (of one
    alone where the images have no lesion mask, or a single class); `miou`: pooled pixel IoU of {background, benign,
    malignant}, where lesion pixels take the likelier lesion class of the class head; and `detection_scores`.

    Args:
        classes: K, 3 or 2; the last K of `CLASSES`.
    """

    full_state_update = False
    confusion: Tensor

    def __init__(self, classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.classes = classes
        self.masks = SegmentationMetrics()
        self.labels = ClassificationMetrics(classes)
        size = len(PIXEL_CLASSES)
        self.add_state("confusion", default=torch.zeros(size, size, dtype=torch.int64), dist_reduce_fx="sum")
        self.predicted: list[Boxes] = []
        self.truth: list[Boxes] = []

    def update(
        self, mask_logits: Tensor, class_logits: Tensor, masks: Tensor, has_mask: Tensor, targets: Tensor
    ) -> None:
        """Add a batch. All of it goes to the CPU, where boxes are found: once a batch, not with every question.

        Args:
            mask_logits: floating point [B,1,H,W]. class_logits: floating point [B,K].
            masks: 0 and 1, [B,1,H,W]. has_mask: bool [B]. targets: int64 [B], 0..K-1, or -1 for unknown.
        """
        mask_logits, class_logits, masks, has_mask, targets = (
            tensor.cpu() for tensor in (mask_logits, class_logits, masks, has_mask, targets)
        )
        self.labels.update(class_logits, targets)
        if has_mask.any():
            self.masks.update(mask_logits[has_mask], masks[has_mask])
        both = has_mask & (targets >= 0)
        if not both.any():
            return
        mask_logits, masks = mask_logits[both], masks[both]
        lesion = class_logits[both].softmax(1)[:, -2:]
        # A class's place in PIXEL_CLASSES; of normals 0, who have no lesion pixels to count.
        truth = targets[both] + len(CLASSES) - self.classes
        counts = confusion_counts(mask_logits, masks)
        background = masks[0].numel() - counts.sum(1)
        self.confusion += class_pixel_confusion(counts, background, 1 + lesion.argmax(1), truth)
        probabilities = lesion.tolist()
        for i, (logits, mask) in enumerate(zip(mask_logits.numpy(), masks.numpy(), strict=True)):
            self.predicted.append(predicted_boxes(logits[0], probabilities[i]))
            self.truth.append(true_boxes(mask[0] > 0, int(truth[i]) - 1))

    def compute(self) -> dict[str, float]:
        """The scores; empty if nothing was added."""
        scores = {**self.masks.compute(), **self.labels.compute()}
        parts = [scores[name] for name in ("dice", "auroc") if name in scores]
        if parts:
            scores["score"] = sum(parts) / len(parts)
        if self.confusion.any():
            scores["miou"] = mean_iou(self.confusion)
        return scores | detection_scores(self.predicted, self.truth)

    def reset(self) -> None:
        """Forget everything added."""
        super().reset()
        self.masks.reset()
        self.labels.reset()
        self.predicted, self.truth = [], []
