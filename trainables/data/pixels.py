"""Image and mask files as arrays: any Pillow mode to 8-bit grey, and one resize geometry for both."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from trainables.data import medical
from trainables.data.manifest import DataError
from trainables.data.medical import is_medical
from trainables.data.patience import UnreadableError as UnreadableError
from trainables.data.patience import check_bytes, contents, openable, patiently, unreadable
from trainables.data.pictures import FORMATS, SIGNATURES, Picture, grey, opened, read_picture
from trainables.data.pixel_budget import within_budget
from trainables.data.polygons import PolygonError, draw, is_polygons

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
#: Values of a mask up to which they are kinds of pixels, and not shades.
FEW = 8
#: A reading that once was another, as `Picture.reading` has them.
FROM_MINIMUM = "scaled from its minimum"

_COLOURS = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")
_LOSSY = (".jpg", ".jpeg")


class Grey(NamedTuple):
    """A file's first picture, uint8 [H, W]; how it was read, as `Picture.reading`; how many pictures there are."""

    image: np.ndarray
    reading: str = ""
    frames: int = 1


class Lesion(NamedTuple):
    """A mask, bool [H, W]; how many values its file holds, above `FEW` they are shades; how it was read."""

    mask: np.ndarray
    values: int
    reading: str = ""


def read_image(path: Path) -> np.ndarray:
    """Decode the first frame of a PNG, JPEG, BMP, TIFF, DICOM or NIfTI file as uint8 [H, W] grey.

    8-bit grey comes out unchanged, alpha and EXIF rotation are ignored, colour becomes luma (ITU-R 601). Deeper data
    are scaled linearly from 0..their own maximum: scanners rarely fill 16 bits, and 12 of them would come out black.
    Where any is below zero (decibels, or numbers with a sign), from their minimum.

    Raises:
        UnreadableError: 0 bytes, not an image, truncated, a pixel format that is not read, pixels that are not numbers,
            or more than 64 megapixels; a PassingError where it could not be read in this run.
    """
    return read_grey(path).image


@within_budget()
def read_grey(path: Path) -> Grey:
    """As `read_image`, and how it was read."""
    picture = read_values(path)
    image, reading = to_uint8(picture.values)
    return Grey(image, picture.reading or reading, picture.frames)


def read_values(path: Path) -> Picture:
    """The numbers of a file as they are stored; raises as `read_image`."""
    if is_medical(path):
        return _read_medical(path)
    if not (data := contents(path)):
        raise UnreadableError("0 bytes")
    return read_picture(data)


@within_budget()
def read_kinds(path: Path) -> set[tuple[int, ...]]:
    """The whole numbers that a mask holds, (value,), or its colours, (red, green, blue); above `FEW` only as many.

    Raises:
        UnreadableError: as read_image.
    """
    values = read_values(path).values
    if values.dtype.kind == "f" and not (values == np.rint(values)).all():
        values = read_image(path)
    if not is_medical(path):
        with suppress(OSError), opened(contents(path)) as image:  # what Pillow does not read has no colours here
            if image.mode in _COLOURS:
                red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), np.int64), 2, 0)
                found = np.unique(red << 16 | green << 8 | blue)[: FEW + 1].tolist()
                colours = [(kind >> 16, kind >> 8 & 255, kind & 255) for kind in found]
                return {kind[:1] if len(set(kind)) == 1 else kind for kind in colours}
    return {(int(value),) for value in np.unique(values)[: FEW + 1]}


def kind_problem(path: Path) -> str:
    """Why a file cannot be an image, in words; "" where its name and first bytes allow it, be it damaged or not."""
    try:
        with openable(path).open("rb") as file:
            head = file.read(8)
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    if not head:
        return "0 bytes"
    return "" if is_medical(path) or head.startswith(SIGNATURES) else "not an image"


def pixel_count(path: Path) -> int:
    """Pixels that a file's header says it has, nothing being decoded; its bytes, where none is read here.

    Raises:
        OSError: it cannot be opened.
    """
    with suppress(Exception), Image.open(openable(path), formats=FORMATS) as image:
        return image.width * image.height
    return openable(path).stat().st_size


def read_mask(path: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """Decode a mask as bool [H, W] (True = lesion), and how many values the file holds; above `FEW` they are shades.

    Of two values the larger is lesion; a constant file is all lesion, or empty if it is zero. Up to `FEW` values are
    kinds of lesion, and the smallest is background. More, and those of a JPEG, are shades, thresholded at half of the
    8-bit range. Where the colour is constant and the transparency is not, that is the mask. Polygons are filled.

    Args:
        shape: height and width of its image; polygons have none of their own.

    Raises:
        UnreadableError: as read_image.
    """
    return read_lesion(path, shape)[:2]


@within_budget()
def read_lesion(path: Path, shape: tuple[int, ...]) -> Lesion:
    """As `read_mask`, and how it was read."""
    if is_polygons(path):
        return Lesion(_read_polygons(path, shape), 2)
    image, reading, _ = read_grey(path)
    if image.min() == image.max() and (alpha := _transparency(path)) is not None:
        image = alpha
    values = np.unique(image)
    if len(values) > (2 if path.suffix.lower() in _LOSSY else FEW):
        return Lesion(image > 127, max(len(values), FEW + 1), reading)
    return Lesion(image > (values[0] if len(values) > 1 else 0), len(values), reading)


def fit_mask(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask, bool [H, W], at the size of its image, by nearest neighbour; as it is where it has that size."""
    if mask.shape == shape:
        return mask
    return cv2.resize(mask.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)


def _read_medical(path: Path) -> Picture:
    try:
        check_bytes(path)
        if not path.stat().st_size:
            raise UnreadableError("0 bytes")
        return medical.read(path)
    except OSError as error:
        raise unreadable(error) from None
    except (DataError, UnreadableError):
        raise
    except ValueError as error:
        raise UnreadableError(str(error)) from None


def _read_polygons(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return patiently(lambda: draw(path, shape))
    except PolygonError as error:
        raise UnreadableError(str(error)) from None
    except OSError as error:
        raise unreadable(error) from None


def _transparency(path: Path) -> np.ndarray | None:
    """The transparency of a file that was read before, uint8 [H, W]; None where there is none."""
    if is_medical(path):
        return None
    try:
        with opened(contents(path)) as image:
            return np.asarray(image.getchannel("A")) if "A" in image.getbands() else None
    except OSError:  # not one of Pillow's, which read it otherwise
        return None


def to_grey(image: Image.Image) -> np.ndarray:
    """Convert a loaded Pillow image of any mode to uint8 [H, W], as read_image describes."""
    return to_uint8(grey(image))[0]


def placement(height: int, width: int, size: int, keep_aspect: bool) -> tuple[int, int, int, int]:
    """Where an image of height x width lies in its size x size square: (top, left, height, width) in pixels."""
    if not keep_aspect:
        return 0, 0, size, size
    scale = size / max(height, width)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    return (size - h) // 2, (size - w) // 2, h, w


def resize_image(image: np.ndarray, size: int, keep_aspect: bool) -> np.ndarray:
    """Resize uint8 [H, W] to uint8 [size, size]: stretched, or letterboxed with zeros around the centre."""
    height, width = image.shape
    top, left, h, w = placement(height, width, size, keep_aspect)
    # One axis may shrink while the other grows: area averaging for the first, then linear for the second.
    small = cv2.resize(image, (min(w, width), min(h, height)), interpolation=cv2.INTER_AREA)
    square = np.zeros((size, size), np.uint8)
    square[top : top + h, left : left + w] = cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)
    return square


def resize_mask(mask: np.ndarray, size: int, keep_aspect: bool) -> np.ndarray:
    """Resize bool or 0/1 [H, W] to uint8 0/1 [size, size] by nearest neighbour, in the geometry of resize_image."""
    top, left, h, w = placement(mask.shape[0], mask.shape[1], size, keep_aspect)
    square = np.zeros((size, size), np.uint8)
    # EXACT takes pixel centres; plain INTER_NEAREST takes corners and shifts the mask by up to half a pixel.
    resized = cv2.resize((mask > 0).astype(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST_EXACT)
    square[top : top + h, left : left + w] = resized
    return square


def to_original_size(plane: np.ndarray, height: int, width: int, *, keep_aspect: bool) -> np.ndarray:
    """A prediction in the geometry of prepared data, float32 [S,S], as float32 [height,width], by bilinear resizing."""
    top, left, h, w = placement(int(height), int(width), plane.shape[0], keep_aspect)
    inside = plane[top : top + h, left : left + w]
    return cv2.resize(inside, (int(width), int(height)), interpolation=cv2.INTER_LINEAR)


def to_uint8(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Numbers of any type as uint8 0..255, linear from 0, or from their minimum where that is less; and which it was.

    Raises:
        UnreadableError: some are not finite.
    """
    if values.dtype == np.uint8:
        return values, ""
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise UnreadableError("pixels that are not numbers")
    low = min(values.min(), 0)
    peak = values.max() - low
    values -= low  # in place, from here on: a large image would take its room several times
    values *= 255 / peak if peak > 0 else 0
    return np.rint(values, out=values).astype(np.uint8), FROM_MINIMUM if low < 0 else ""
