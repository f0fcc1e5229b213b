"""PNG, JPEG, BMP and TIFF files as grey numbers, whatever they are stored as."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from trainables.data.patience import UnreadableError
from trainables.data.pixel_budget import claim

MAX_MEGAPIXELS = 64
#: White is zero in it, which Pillow does not heed.
TURNED = "white is zero"
DAMAGED, UNSUPPORTED = "truncated or damaged", "pixel format not supported"

#: As Pillow names them.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
_PNG, _JPEG, _TIFF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")
#: How files of these formats begin: tells a cut-off image from a file that never was one.
SIGNATURES = (b"\x89PNG", _JPEG, b"BM", *_TIFF)
#: Text of a PNG file, which may be larger when unpacked than Pillow will have it.
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
#: Tags of a TIFF file.
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _KIND = 256, 257, 258, 259, 262, 339
_PARTS = ((273, 279), (324, 325))  # where its strips or tiles are, and how long
_YCBCR = 6
_SIGNED, _FLOAT = 2, 3

# Pillow warns of sizes, which are checked here, and of odd metadata, which do not matter. A filter for good, because
# warnings.catch_warnings is not safe in the threads that decode.
warnings.filterwarnings("ignore", module=r"PIL\.")


class Picture(NamedTuple):
    """The first picture of a file.

    Attributes:
        values: [H, W], grey: uint8, which is final, or other numbers, to be scaled.
        frames: how many pictures the file holds.
        reading: how it is read, where once it was read another way: arrays of then must not be taken for these.
    """

    values: np.ndarray
    frames: int = 1
    reading: str = ""


def read_picture(data: bytes) -> Picture:
    """Decode the bytes of a file; alpha and EXIF rotation are ignored, colour becomes luma (ITU-R 601).

    Raises:
        UnreadableError: not an image, truncated or damaged, a pixel format that is not read, or too many pixels.
    """
    try:
        with opened(data) as image:
            # Pillow keeps one byte a channel of 16-bit colour, and says so only in the tile's raw mode.
            deep_colour = image.mode in ("RGB", "RGBA", "LA") and ";16" in str(image.tile)
            image.load()
            frames = _frames(image)
            if deep_colour:
                return Picture(_deep_colour(data), frames)
            return _of_tiff(image, frames) if isinstance(image, TiffImagePlugin.TiffImageFile) else Picture(grey(image))
    except Image.DecompressionBombError as error:  # Pillow's own limit, twice MAX_IMAGE_PIXELS, comes before ours
        check_size(int(re.findall(r"\d+", str(error))[0]))
        raise
    except UnidentifiedImageError:
        if data.startswith(_TIFF):
            return _unusual_tiff(data)
        raise UnreadableError(_cause(data)) from None
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:  # a damaged file can raise nearly anything: struct.error, zlib.error, SyntaxError...
        if data.startswith(_TIFF) and _tags(data).get(_PHOTOMETRIC) == _YCBCR:
            return _unusual_tiff(data)  # of fewer colours than pixels, stored plainly
        raise UnreadableError(UNSUPPORTED if str(error).startswith("Unsupported BMP") else DAMAGED) from error


@contextmanager
def opened(data: bytes) -> Iterator[ImageFile]:
    """A file in Pillow, of a size that may be decoded. Its pixels are loaded by the caller."""
    if data.startswith(_PNG):
        data = _without_text(data)
    with Image.open(BytesIO(data), formats=FORMATS) as image:
        check_size(image.width * image.height)
        assert isinstance(image, ImageFile)
        yield image


def check_size(pixels: int) -> None:
    """Claim the pixels of an image before it is decoded. Raises UnreadableError above `MAX_MEGAPIXELS`."""
    if pixels > MAX_MEGAPIXELS * 1_000_000:
        raise UnreadableError(f"{pixels / 1e6:.0f} megapixels, more than {MAX_MEGAPIXELS}")
    claim(pixels)


def grey(image: Image.Image) -> np.ndarray:
    """A loaded Pillow image of any mode as [H, W]: uint8, or the numbers of a deeper one."""
    if image.mode.startswith(("I", "F")):
        return np.asarray(image)
    if image.mode == "LAB":  # Pillow has no way out of LAB; its first channel is the lightness
        return np.asarray(image.getchannel(0))
    return np.asarray(image.convert("L"))


def turned_about(values: np.ndarray) -> np.ndarray:
    """Numbers of which 0 is white: whole ones within the bits that they take, of which scanners rarely fill 16."""
    if np.issubdtype(values.dtype, np.unsignedinteger):
        white = 2 ** max(8, int(values.max()).bit_length()) - 1
        return np.asarray(white - values.astype(np.int64), values.dtype)
    return np.asarray(values.max() - values.astype(np.float64) + values.min())


def _of_tiff(image: TiffImagePlugin.TiffImageFile, frames: int) -> Picture:
    """What Pillow leaves to others: numbers with a sign in 8 bits, and white that is zero in more."""
    values = grey(image)
    if image.mode == "L" and image.tag_v2.get(_KIND) == (_SIGNED,):
        values = signed if (signed := values.view(np.int8)).min() < 0 else values
    white_is_zero = image.tag_v2.get(_PHOTOMETRIC) == 0 and image.mode.startswith(("I", "F"))
    return Picture(turned_about(values), frames, TURNED) if white_is_zero else Picture(values, frames)


def _unusual_tiff(data: bytes) -> Picture:
    """A TIFF file that Pillow does not read, by OpenCV: 64-bit numbers, and colours that are not whole numbers."""
    tags = _tags(data)
    if not _whole(tags, len(data)):
        raise UnreadableError(DAMAGED)
    check_size(tags[_WIDTH] * tags[_HEIGHT])
    kinds, bits = set(tags.get(_KIND, (1,))), set(tags.get(_BITS, (1,)))
    known = len(bits) == 1 and bits <= ({32, 64} if kinds == {_FLOAT} else {8, 16, 32, 64}) and max(kinds) <= _FLOAT
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if known else None
    if values is None:
        raise UnreadableError(DAMAGED if known and tags.get(_COMPRESSION, 1) != 1 else UNSUPPORTED)
    if values.ndim == 3:  # OpenCV has blue first
        luma = values[..., :3] @ np.array([0.114, 0.587, 0.299])
        values = np.rint(luma).astype(np.uint8) if values.dtype == np.uint8 else luma
    return Picture(turned_about(values) if tags.get(_PHOTOMETRIC) == 0 else values)


def _tags(data: bytes) -> TiffImagePlugin.ImageFileDirectory_v2:
    """Of the first picture of a TIFF file; without those that are damaged."""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if data[2:3] == b"+" or data[3:4] == b"+" else 8])
        file = BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        list(tags.items())  # each is read where it is asked for
    except Exception:
        return TiffImagePlugin.ImageFileDirectory_v2()
    return tags


def _whole(tags: TiffImagePlugin.ImageFileDirectory_v2, length: int) -> bool:
    """Whether all parts of a picture lie within its file."""
    if _WIDTH not in tags or _HEIGHT not in tags:
        return False
    starts, sizes = next(((tags[a], tags[b]) for a, b in _PARTS if a in tags and b in tags), ((), ()))
    return 0 < len(starts) == len(sizes) and all(a + b <= length for a, b in zip(starts, sizes, strict=True))


def _without_text(data: bytes) -> bytes:
    """A PNG file without its texts; up to where it is cut off."""
    place, kept = len(_PNG), [_PNG]
    while place + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        if name not in _TEXT:
            kept.append(data[place : place + size + 12])
        place += size + 12
    return b"".join(kept)


def _cause(data: bytes) -> str:
    """Why Pillow knows no image in a file."""
    if data.startswith(_JPEG):
        try:
            JpegImageFile(BytesIO(data))
        except Exception as error:
            if str(error).lower().startswith("cannot handle"):  # more than 8 bits
                return UNSUPPORTED
    return DAMAGED if data.startswith(SIGNATURES) else "not an image"


def _frames(image: ImageFile) -> int:
    try:
        return int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
    except Exception:  # what comes after the first picture is damaged, which does not matter
        return 1


def _deep_colour(data: bytes) -> np.ndarray:
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    values = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if values is None:
        raise UnreadableError(DAMAGED)
    return np.asarray(values)
