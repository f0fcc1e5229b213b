"""Image and mask files as arrays: any Pillow mode to 8-bit grey, and one resize geometry for both."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from trainables.data import medical
from trainables.data.manifest import DataError
from trainables.data.medical import is_medical
from trainables.data.polygons import PolygonError, draw, is_polygons

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
MAX_MEGAPIXELS = 64
#: Values of a mask up to which they are kinds of pixels, and not shades.
FEW = 8

_LOSSY = (".jpg", ".jpeg")
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
#: How files of these formats begin: tells a cut-off image from a file that never was one.
_SIGNATURES = (
    *(b"\x89PNG", b"\xff\xd8\xff", b"BM"),
    *(b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+"),
)

# Pillow warns of sizes, which are checked here, and of odd metadata, which do not matter. A filter for good, because
# warnings.catch_warnings is not safe in the threads that decode.
warnings.filterwarnings("ignore", module=r"PIL\.")


class UnreadableError(ValueError):
    """An image file that cannot be decoded; its message is the cause in a few words."""


def read_image(path: Path) -> np.ndarray:
    """Decode the first frame of a PNG, JPEG, BMP, TIFF, DICOM or NIfTI file as uint8 [H, W] grey.

    8-bit grey comes out unchanged, alpha and EXIF rotation are ignored, colour becomes luma (ITU-R 601). Deeper data
    are scaled linearly from 0..their own maximum: scanners rarely fill 16 bits, and 12 of them would come out black.

    Raises:
        UnreadableError: 0 bytes, not an image, truncated, or more than 64 megapixels.
    """
    if _head(path) == b"":
        raise UnreadableError("0 bytes")
    if is_medical(path):
        return _read_medical(path)
    try:
        with Image.open(path, formats=_FORMATS) as image:
            _check_size(image.width * image.height)
            # Pillow keeps one byte a channel of 16-bit colour, and says so only in the tile's raw mode.
            deep_colour = image.mode in ("RGB", "RGBA", "LA") and any(";16" in str(tile) for tile in image.tile)
            image.load()
            return _deep_colour_to_grey(path) if deep_colour else to_grey(image)
    except Image.DecompressionBombError as error:  # Pillow's own limit, twice MAX_IMAGE_PIXELS, comes before ours
        _check_size(int(re.findall(r"\d+", str(error))[0]))
        raise
    except UnidentifiedImageError:
        cause = "truncated or damaged" if _head(path).startswith(_SIGNATURES) else "not an image"
        raise UnreadableError(cause) from None
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:  # a damaged file can raise nearly anything: struct.error, zlib.error, SyntaxError...
        raise UnreadableError("truncated or damaged") from error


def kind_problem(path: Path) -> str:
    """Why a file cannot be an image, in words; "" where its name and first bytes allow it, be it damaged or not."""
    try:
        head = _head(path)
    except UnreadableError as error:
        return str(error)
    if not head:
        return "0 bytes"
    return "" if is_medical(path) or head.startswith(_SIGNATURES) else "not an image"


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
    if is_polygons(path):
        return _read_polygons(path, shape), 2
    grey = read_image(path)
    if grey.min() == grey.max() and (alpha := _transparency(path)) is not None:
        grey = alpha
    values = np.unique(grey)
    if len(values) > (2 if path.suffix.lower() in _LOSSY else FEW):
        return grey > 127, max(len(values), FEW + 1)
    return grey > (values[0] if len(values) > 1 else 0), len(values)


def fit_mask(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask, bool [H, W], at the size of its image, by nearest neighbour; as it is where it has that size."""
    if mask.shape == shape:
        return mask
    return cv2.resize(mask.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)


def _read_medical(path: Path) -> np.ndarray:
    try:
        pixels = medical.read(path)
    except OSError as error:
        raise UnreadableError(f"cannot be opened ({error.strerror or error})") from None
    except DataError:
        raise
    except ValueError as error:
        raise UnreadableError(str(error)) from None
    _check_size(pixels.size)
    return pixels if pixels.dtype == np.uint8 else _scale(pixels)


def _read_polygons(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return draw(path, shape)
    except PolygonError as error:
        raise UnreadableError(str(error)) from None
    except OSError as error:
        raise UnreadableError(f"cannot be opened ({error.strerror})") from None


def _transparency(path: Path) -> np.ndarray | None:
    """The transparency of a file that was read before, uint8 [H, W]; None where there is none."""
    with Image.open(path, formats=_FORMATS) as image:
        return np.asarray(image.getchannel("A")) if "A" in image.getbands() else None


def to_grey(image: Image.Image) -> np.ndarray:
    """Convert a loaded Pillow image of any mode to uint8 [H, W], as read_image describes."""
    if image.mode.startswith(("I", "F")):
        return _scale(np.asarray(image))
    if image.mode == "LAB":  # Pillow has no way out of LAB; its first channel is the lightness
        return np.asarray(image.getchannel(0))
    return np.asarray(image.convert("L"))


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


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError as error:
        raise UnreadableError(f"cannot be opened ({error.strerror})") from None


def _check_size(pixels: int) -> None:
    if pixels > MAX_MEGAPIXELS * 1_000_000:
        raise UnreadableError(f"{pixels / 1e6:.0f} megapixels, more than {MAX_MEGAPIXELS}")


def _deep_colour_to_grey(path: Path) -> np.ndarray:
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    grey = cv2.imdecode(np.fromfile(path, np.uint8), flags)  # not imread, which fails on non-ASCII names on Windows
    if grey is None:
        raise UnreadableError("truncated or damaged")
    return _scale(grey)


def _scale(values: np.ndarray) -> np.ndarray:
    """Scale numbers of any type linearly from 0..their largest finite value to uint8 0..255."""
    values = values.astype(np.float32)
    values[~np.isfinite(values)] = 0
    peak = values.max()
    scaled: np.ndarray = np.rint(values.clip(min=0) * (255 / peak if peak > 0 else 0))
    return scaled.astype(np.uint8)
