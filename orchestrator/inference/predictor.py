"""The product at run time: an exported ensemble predicts class, mask, lesion shape and uncertainty of new images.

Needs numpy, scipy, OpenCV, Pillow, torch and safetensors, and what the networks are built from; neither Ray nor
MLflow, Optuna or scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self, overload

import numpy as np
import torch

from orchestrator.common.errors import UserError
from orchestrator.inference.description import Description
from orchestrator.inference.format import ModelError, read
from orchestrator.inference.images import Image, Images, ValueRange, grey_image
from orchestrator.inference.lesion_shape import lesion_shape
from orchestrator.inference.networks import Logits
from orchestrator.inference.part import LoadedPart, Loader, refuse_full_gpu
from orchestrator.inference.prediction import Prediction, lesion_boxes
from orchestrator.inference.uncertainty import class_uncertainty
from trainables import plugins
from trainables.data.pixel_budget import PIXELS, claim, within_budget
from trainables.data.pixels import resize_image
from trainables.devices import UnusableGpuError, find

#: Images that are predicted together; each network's mask logits of all of them are in memory at once.
BATCH = 16
#: The operating point that `above_threshold` goes by.
KEPT, RATE = "specificity", 0.9


def batches(sizes: Sequence[int]) -> Iterator[range]:
    """Images in order, up to `BATCH` at a time, and fewer large ones.

    Args:
        sizes: pixels of each.
    """
    start = pixels = 0
    for stop, size in enumerate(sizes):
        if stop - start == BATCH or (stop > start and pixels + size > PIXELS):
            yield range(start, stop)
            start, pixels = stop, 0
        pixels += size
    if sizes:
        yield range(start, len(sizes))


class Outputs(NamedTuple):
    """Logits of one image from each of T networks, classes [T,K] and planes [T,S,S]: of `main` and of `shape`."""

    main: Logits
    shape: Logits | None = None

    def finite(self) -> bool:
        """Whether every network gave numbers; a stack and a mask would make something of NaN, too."""
        logits = [one for part in (self.main, self.shape) if part for one in part]
        return all(np.isfinite(one).all() for one in logits if one is not None)


class Predictor:
    """A loaded ensemble; `load` makes one.

    Attributes:
        description: what `predictor.json` says. device: of its networks.
        threshold: of the malignant score, which `above_threshold` goes by; None where the product has none.
    """

    def __init__(
        self, description: Description, main: LoadedPart, shape: LoadedPart | None, device: torch.device
    ) -> None:
        self.description, self.device = description, device
        self._main, self._shape = main, shape
        points = [point for point in description.operating_points if (point["kept"], point["rate"]) == (KEPT, RATE)]
        self.threshold: float | None = points[0]["threshold"] if points else None

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "auto") -> Self:
        """The ensemble of a folder that `orchestrator.inference.export.write` wrote.

        Args:
            folder: with `predictor.json`.
            device: for the networks: auto, cpu, cuda or mps; see `trainables.devices.find`.

        Raises:
            ModelError: no such folder, something in it is missing or damaged, or it needs a plugin that has not run
                in this process; one line for the user.
            UserError: a GPU without room, or one that is not there.
        """
        folder = Path(folder)
        description = read(folder)
        try:
            plugins.load()
            plugins.require(description.plugins)
        except plugins.PluginError as error:
            raise ModelError(f"{folder}: {error}") from None
        try:
            place = find(str(device))
        except UnusableGpuError as error:
            raise UserError(f"--device {error}") from None
        load = Loader(folder, place)
        shape = LoadedPart(description.shape, load) if description.shape else None
        return cls(description, LoadedPart(description.main, load), shape, place)

    @overload
    def predict(self, image: Image, *, value_range: ValueRange | None = None) -> Prediction: ...
    @overload
    def predict(self, image: Images, *, value_range: ValueRange | None = None) -> list[Prediction]: ...
    def predict(self, image: Image | Images, *, value_range: ValueRange | None = None) -> Prediction | list[Prediction]:
        """Of an image, or of each of a list; of any size each.

        Args:
            image: a file or an array, see `orchestrator.inference.images.grey_image`; or a list of them.
            value_range: which numbers are black and white in arrays of floats, as (0, 1).

        Raises:
            UserError: not an image, and of a list which.
        """
        if not isinstance(image, list | tuple):
            return self._predict([grey_image(image, value_range)])[0]
        found: list[Prediction] = []
        for start in range(0, len(image), BATCH):  # so that the pixels and logits of all are never in memory together
            found += self._predict(
                [_item(start + i, one, value_range) for i, one in enumerate(image[start : start + BATCH])]
            )
        return found

    def _predict(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        return [self.finish(image, outputs) for image, outputs in zip(images, self.forward(images), strict=True)]

    def forward(self, images: Sequence[np.ndarray]) -> list[Outputs]:
        """What the networks say of grey images, uint8 [H,W]: the first and longest step, for `finish`.

        Raises:
            UserError: a GPU without room for a single image.
        """
        found: list[Outputs] = []
        parts = [self._main, self._shape] if self._shape else [self._main]
        keep_aspect, tta = self.description.keep_aspect, self.description.tta
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            squares = {
                size: np.stack([resize_image(image, size, keep_aspect) for image in batch])
                for size in {size for part in parts for size in part.sizes}
            }
            try:
                logits = [part.logits(squares, tta) for part in parts]
            except RuntimeError as error:
                refuse_full_gpu(error, self.device)
                raise
            found += [Outputs(*(_take(one, i) for one in logits)) for i in range(len(batch))]
        return found

    def plane(self, outputs: Outputs) -> np.ndarray:
        """Calibrated mask logits in the geometry of prepared data, float [S,S], of what `forward` gave for an image.

        The mask is where they exceed `description.main.combination.masks.threshold` at the image's own size; for
        ensembles that predict masks alone.
        """
        return self._main.plane(outputs.main)

    @within_budget()
    def finish(self, image: np.ndarray, outputs: Outputs) -> Prediction:
        """The prediction of an image, uint8 [H,W], from what `forward` gave for it; threads may share the work.

        Where a network gave NaN or infinity it is not `usable`: the others would pass for the whole.
        """
        if not outputs.finite():
            return Prediction.unusable(self.description.classes)
        claim(image.size)
        main, combination, keep_aspect = self._main, self._main.combination, self.description.keep_aspect
        unsure: list[float] = []
        mask = shape = probabilities = reached = triage = None
        if combination.masks:
            plane = main.plane(outputs.main)
            mask = main.mask(plane, image.shape, keep_aspect)
            shape = lesion_shape(mask, image)
            unsure.append(main.mask_uncertainty(outputs.main, plane, image.shape, keep_aspect))
        stacked = shape
        if self._shape and outputs.shape:
            stacked = lesion_shape(self._shape.mask(self._shape.plane(outputs.shape), image.shape, keep_aspect), image)
        if outputs.main.classes is not None and (combination.classes or combination.stack):
            logits = main.by_member(outputs.main.classes)[:, None]
            probabilities = combination.probabilities(logits, None if stacked is None else stacked[None])[0]
            unsure.append(class_uncertainty(main.class_probabilities(outputs.main.classes), probabilities))
        if probabilities is not None:
            chance = float(probabilities[self.description.classes.index("malignant")])
            reached = None if self.threshold is None else chance >= self.threshold
            triage = self.description.triage.decide(chance) if self.description.triage else None
        return Prediction(
            classes=self.description.classes,
            probabilities=probabilities,
            above_threshold=reached,
            mask=mask,
            boxes=None if mask is None else lesion_boxes(mask),
            shape=stacked if shape is None else shape,
            uncertainty=float(np.mean(unsure)),
            triage=triage,
        )


def _item(number: int, image: Image, value_range: ValueRange | None) -> np.ndarray:
    try:
        return grey_image(image, value_range)
    except UserError as error:
        raise UserError(f"image {number}: {error}") from None


def _take(logits: Logits, image: int) -> Logits:
    return Logits(*(None if one is None else one[:, image] for one in logits))
