"""Masks at original size, a bit a pixel, and images with them, read at that size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from orchestrator.common.errors import UserError
from trainables.data.pixels import UnreadableError, fit_mask, read_image, read_mask


class PackedMasks:
    """Masks at original size, a bit a pixel.

    Args:
        masks: N of bool [H,W], each of its own size.
    """

    def __init__(self, masks: list[np.ndarray]) -> None:
        self._sizes = [mask.shape for mask in masks]
        self._bits = [np.packbits(mask) for mask in masks]

    def __len__(self) -> int:
        return len(self._bits)

    def __getitem__(self, row: int) -> np.ndarray:
        """Image `row`'s mask, bool [H,W]."""
        height, width = self._sizes[row]
        return np.unpackbits(self._bits[row], count=height * width).reshape(height, width).view(bool)

    def arrays(self) -> dict[str, np.ndarray]:
        """`bits`, uint8: of one mask after the other, each from a byte's first bit. `sizes`: int64 [N,2]."""
        sizes = np.array(self._sizes, np.int64).reshape(-1, 2)
        return {"bits": np.concatenate([np.empty(0, np.uint8), *self._bits]), "sizes": sizes}

    @classmethod
    def of_arrays(cls, bits: np.ndarray, sizes: np.ndarray) -> PackedMasks:
        """What `arrays` gave. Raises ValueError where the bits are not those of masks of these sizes."""
        count = sum(-(-height * width // 8) for height, width in sizes.tolist())  # of Python's: none overflows
        if bits.dtype != np.uint8 or bits.ndim != 1 or (sizes < 0).any() or count != len(bits):
            raise ValueError("not the sizes of the masks that are there")
        found = object.__new__(cls)
        found._sizes = [(height, width) for height, width in sizes.tolist()]
        found._bits = np.split(bits, np.cumsum(-(-sizes.prod(1) // 8))[:-1]) if len(sizes) else []
        return found

    @classmethod
    def join(cls, parts: Sequence[PackedMasks]) -> PackedMasks:
        """All masks of the parts, one part after the other."""
        found = cls([])
        for part in parts:
            found._sizes += part._sizes
            found._bits += part._bits
        return found

    def take(self, rows: np.ndarray) -> PackedMasks:
        """The masks of these rows."""
        taken = object.__new__(PackedMasks)
        taken._sizes, taken._bits = [self._sizes[i] for i in rows], [self._bits[i] for i in rows]
        return taken


def read(image_file: str, mask_files: Sequence[str]) -> tuple[np.ndarray, list[np.ndarray]]:
    """An image, uint8 [H,W], and those of its masks that hold a lesion, bool [H,W] each.

    Raises:
        UserError: a file cannot be read.
    """
    file = image_file
    try:
        image, masks = read_image(Path(file)), []
        for file in mask_files:
            mask, _ = read_mask(Path(file), image.shape)
            if mask.any():
                masks.append(fit_mask(mask, image.shape))
    except (UnreadableError, OSError) as error:
        raise UserError(f"{file}: {error}; it was good a moment ago, run again") from None
    return image, masks
