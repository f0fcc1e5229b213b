"""A part of a loaded ensemble: its networks in memory, and what their logits become by its combination."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from scipy.special import expit, softmax
from torch import nn

from orchestrator.common.errors import UserError, first_line
from orchestrator.inference.combination import Combination, Head
from orchestrator.inference.description import Network, Part
from orchestrator.inference.format import DESCRIPTION, ModelError
from orchestrator.inference.networks import Logits, enlarge, load_network, network_logits
from orchestrator.inference.uncertainty import mask_uncertainty
from trainables.data.pixels import placement, to_original_size
from trainables.devices import shown
from trainables.memory import is_out_of_memory


class Loader:
    """Networks of a folder, each loaded once."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._folder, self._device = folder, device
        self._loaded: dict[str, nn.Module] = {}

    def __call__(self, network: Network) -> nn.Module:
        """The network, ready to predict.

        Raises:
            ModelError: its file is missing or damaged, or this version cannot build it. UserError: a full GPU.
        """
        file = self._folder / network.file
        if network.file not in self._loaded:
            if not file.resolve().is_relative_to(self._folder.resolve()):
                raise ModelError(f"{file}: a link that leads out of the model's folder; put the file itself there")
            try:
                self._loaded[network.file] = load_network(file, network.task, network.config, self._device)
            except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
                refuse_full_gpu(error, self._device)
                reason = getattr(error, "strerror", None) or first_line(error)
                raise ModelError(
                    f"{file}: cannot be loaded as {DESCRIPTION} has it ({reason}); export the model again"
                ) from None
        return self._loaded[network.file]


def refuse_full_gpu(error: Exception, device: torch.device) -> None:
    """Tell of a GPU without room, which is no fault of the model.

    Raises:
        UserError: the error means that the device's memory ran out.
    """
    if device.type == "cuda" and isinstance(error, RuntimeError) and is_out_of_memory(error):
        raise UserError(
            f"{shown(device)}: its memory is full ({first_line(error)}); end what else runs on it, or hide it: "
            "CUDA_VISIBLE_DEVICES= before the command predicts on the CPU"
        ) from None


class LoadedPart:
    """A part with its T networks in memory.

    Attributes:
        combination: of the members. sizes: side in pixels of the images that each network takes.
    """

    def __init__(self, part: Part, load: Loader) -> None:
        self.combination: Combination = part.combination
        self._size = part.plane_size
        networks = [(member.candidate, network) for member in part.members for network in member.networks]
        self._models = [load(network) for _, network in networks]
        self.sizes = [network.image_size for _, network in networks]
        self._positions = np.array([position for position, _ in networks])
        heads = [head for head in (part.combination.classes, part.combination.masks) if head]
        used = [*(len(head.weights) for head in heads), int(self._positions.max()) + 1]
        self._members = max(used)

    def logits(self, squares: Mapping[int, np.ndarray], tta: bool) -> Logits:
        """Of N images from each network: classes float32 [T,N,K], planes float32 [T,N,S,S].

        Args:
            squares: the images, uint8 [N,s,s], by their side s, for each of `sizes`.
            tta: whether to average each image and its mirror image.
        """
        found = [
            network_logits(model, squares[size], tta=tta) for model, size in zip(self._models, self.sizes, strict=True)
        ]
        classes = [one.classes for one in found if one.classes is not None]
        planes = [enlarge(one.planes, self._size) for one in found if one.planes is not None]
        return Logits(np.stack(classes) if classes else None, np.stack(planes) if planes else None)

    def by_member(self, networks: np.ndarray) -> np.ndarray:
        """The mean of each member's networks, float32 [M,...], from float32 [T,...]; 0 for one that is not here."""
        members = np.zeros((self._members, *networks.shape[1:]), networks.dtype)
        for position in np.unique(self._positions):
            members[position] = networks[self._positions == position].mean(0)
        return members

    def plane(self, logits: Logits) -> np.ndarray:
        """Calibrated mask logits of an image, float32 [S,S], from its planes [T,S,S]."""
        assert logits.planes is not None
        return self.combination.mask_logits(self.by_member(logits.planes))

    def mask(self, plane: np.ndarray, shape: tuple[int, ...], keep_aspect: bool) -> np.ndarray:
        """Lesion, bool [H,W], of an image of this shape."""
        return to_original_size(plane, *shape, keep_aspect=keep_aspect) > self._head.threshold

    def mask_uncertainty(self, logits: Logits, plane: np.ndarray, shape: tuple[int, ...], keep_aspect: bool) -> float:
        """Judged at the planes' size, where the image lies; each network's plane is calibrated and cut as the whole."""
        assert logits.planes is not None
        top, left, height, width = placement(shape[0], shape[1], self._size, keep_aspect)
        inside = np.s_[..., top : top + height, left : left + width]
        used, scale = self._calibration(self._head)
        cut = (self._head.threshold * scale)[used, None, None]
        whole = plane[inside]
        return mask_uncertainty(logits.planes[used][inside] > cut, whole > self._head.threshold, expit(whole))

    def class_probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Of each network that counts, float64 [T,K], calibrated as the whole; from class logits [T,K]."""
        if self.combination.stack:
            stack = self.combination.stack
            temperatures = dict(zip(stack.members, stack.temperatures, strict=True))
            used = np.isin(self._positions, stack.members)
            scale = np.array([temperatures.get(position, 1.0) for position in self._positions])
            bias = np.zeros(1)
        else:
            assert self.combination.classes
            used, scale = self._calibration(self.combination.classes)
            bias = np.asarray(self.combination.classes.bias or (0.0,))
        return np.asarray(softmax(logits[used].astype(np.float64) / scale[used, None] + bias, axis=1))

    @property
    def _head(self) -> Head:
        assert self.combination.masks
        return self.combination.masks

    def _calibration(self, head: Head) -> tuple[np.ndarray, np.ndarray]:
        """Which networks the head counts, bool [T], and what their logits are divided by, float64 [T]."""
        weights, temperatures = np.array(head.weights), np.array(head.temperatures)
        return weights[self._positions] > 0, temperatures[self._positions] * head.temperature
