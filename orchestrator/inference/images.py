"""What a caller may give as an image, read by one rule: a file's pixels and the same pixels in an array are alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from orchestrator.common.errors import UserError
from trainables.data.manifest import DataError
from trainables.data.pictures import check_size
from trainables.data.pixels import UnreadableError, read_image, to_uint8

#: Numbers that files hold, too; of others nobody knows what is black and what is white.
_KINDS = (np.uint8, np.uint16, np.int16)
#: Luma of ITU-R 601, of red, green and blue.
_LUMA = np.array([0.299, 0.587, 0.114])
#: (least, most) of an array's numbers: what is black, what is white.
ValueRange = tuple[float, float]
#: A file, or an array; see `grey_image`.
Image = np.ndarray | Path | str
#: Several of them.
Images = list[Any] | tuple[Any, ...]


def grey_image(image: Image, value_range: ValueRange | None = None) -> np.ndarray:
    """An image as networks are given it, uint8 [H,W].

    Args:
        image: a file, as `orchestrator.predict` reads it; or an array [H,W], [H,W,1], [H,W,3] (red, green, blue) or
            [H,W,4], whose transparency is ignored as a file's is. uint8 is taken as it is; uint16 and int16 are scaled
            as a file's, from 0 or from a minimum below to their own maximum; floats by `value_range`.
        value_range: which numbers are black and white in an array of floats, as (0, 1).

    Raises:
        UserError: neither file nor such an array, or pixels that mean nothing.
    """
    if not isinstance(image, Image):
        raise UserError(f"{type(image).__name__} is no image: give a numpy array or a path")
    is_floats = isinstance(image, np.ndarray) and image.dtype.kind == "f"
    if value_range is not None and not is_floats:
        raise UserError("value_range is for arrays of floats; leave it out")
    try:
        if not isinstance(image, np.ndarray):
            return _read(Path(image))
        _check_shape(image)
        return np.ascontiguousarray(_from_range(_luma(image), value_range) if is_floats else _from_whole(image))
    except UnreadableError as error:
        raise UserError(f"{error}; give a smaller one") from None


def _read(path: Path) -> np.ndarray:
    try:
        return read_image(path)
    except (UnreadableError, DataError) as error:
        raise UserError(f"{path}: {error}") from None


def _check_shape(image: np.ndarray) -> None:
    shape = image.shape
    if not image.size:
        raise UserError(f"shape {shape} is empty: give an array of pixels")
    if image.ndim == 2 or (image.ndim == 3 and shape[2] in (1, 3, 4)):
        check_size(shape[0] * shape[1])
    elif image.ndim == 3 and shape[0] in (1, 3, 4):
        raise UserError(f"shape {shape} has its channels first: give np.moveaxis(image, 0, -1)")
    else:
        allowed = "(H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"
        raise UserError(f"shape {shape} is not of one image: give {allowed}, and several images as a list")


def _from_whole(image: np.ndarray) -> np.ndarray:
    if image.dtype not in _KINDS:
        allowed = "uint8, uint16 or int16, or floats with value_range"
        raise UserError(f"dtype {image.dtype} does not say what is white: give {allowed}")
    return to_uint8(_luma(image))[0]


def _from_range(image: np.ndarray, value_range: ValueRange | None) -> np.ndarray:
    if value_range is None:
        raise UserError("floats without a range: give value_range=(0, 1) if 0 is black and 1 is white")
    low, high = value_range
    if not low < high:
        raise UserError(f"value_range={value_range}: give (black, white), the lesser first")
    if not np.isfinite(image).all():
        raise UserError("NaN or infinity among the pixels; replace them")
    if image.min() < low or image.max() > high:
        raise UserError(f"pixels from {image.min():g} to {image.max():g} go beyond value_range={value_range}; widen it")
    return np.rint((image - low) * (255 / (high - low))).astype(np.uint8)


def _luma(image: np.ndarray) -> np.ndarray:
    """[H,W] of the same dtype; 8-bit colours exactly as of a file."""
    if image.ndim == 2 or image.shape[2] == 1:
        return image if image.ndim == 2 else image[..., 0]
    colours = image[..., :3]
    if image.dtype == np.uint8:
        return np.asarray(PIL.Image.fromarray(np.ascontiguousarray(colours)).convert("L"))
    luma: np.ndarray = colours @ _LUMA
    return luma if image.dtype.kind == "f" else np.rint(luma).astype(image.dtype)
