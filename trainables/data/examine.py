"""One record decoded, checked, fingerprinted and resized: what preparing data does to every image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from trainables.data.duplicates import perceptual_hash
from trainables.data.manifest import LEFT_OUT, LEFT_OUT_WITH_IMAGE, NORMAL, UNKNOWN, Fault, Record
from trainables.data.patience import PassingError, UnreadableError, openable, passes, patiently, unreadable
from trainables.data.pixel_budget import within_budget
from trainables.data.pixels import FEW, fit_mask, read_grey, read_lesion, resize_image, resize_mask
from trainables.data.polygons import content, is_polygons
from trainables.data.thumbnails import SIDE, small_picture

#: What is done about a mask of several values. Part of the digest: arrays of a time when such masks were cut at half of
#: the range must not be taken for these.
KINDS = "all but the smallest are lesion"
#: Share by which the aspect of a mask may differ from its image's for it to be the same picture at another size.
MOST_STRETCHED = 0.02
#: Share of an image above which a mask is not believed.
MOST_LESION = 0.8


@dataclass(frozen=True, eq=False)
class Decoded:
    """A record as arrays, S = the prepared size; what is not usable has neither image nor masks.

    Attributes:
        faults: everything wrong with its files, in the order of the files.
        usable: False where a fault leaves the image out.
        digest: digest(record).
        image_digest: sha256 hex of the image file's bytes.
        height, width: the image's original size in pixels; 0 where the image is unreadable.
        image: uint8 [S, S] grey.
        masks: uint8 [k, S, S] of 0 and 1, one per mask file with any lesion pixel; k may be 0.
        image_hash: perceptual_hash of the image at original size; empty where the image is unreadable.
        picture: uint8 [64,64], small_picture of the image; black where it is unreadable.
        passing: whether a file could not be read in this run, which says nothing of its content.
    """

    faults: tuple[Fault, ...]
    usable: bool
    digest: str
    image_digest: str
    height: int
    width: int
    image: np.ndarray | None
    masks: np.ndarray | None
    image_hash: np.ndarray
    picture: np.ndarray
    passing: bool = False


def digest(record: Record) -> str:
    """Sha256 hex that stands for the bytes of a record's image and masks, masks in order; nothing is decoded.

    Raises:
        PassingError: a file could not be read in this run.
    """
    return _combine(_file_digest(path) for path in (record.image, *record.masks))


@within_budget()
def decode(record: Record, size: int, keep_aspect: bool) -> Decoded:
    """Read, check and resize one record. Bad files become faults, never exceptions."""
    digests: list[str] = []
    try:
        for path in (record.image, *record.masks):
            digests.append(_file_digest(path))
        path = record.image
        image, reading, frames = read_grey(path)
    except UnreadableError as error:
        fault = Fault(path, str(error), LEFT_OUT if path == record.image else LEFT_OUT_WITH_IMAGE)
        passing = isinstance(error, PassingError)
        nothing = np.zeros(0, np.uint8), np.zeros((SIDE, SIDE), np.uint8)
        first = next(iter(digests), "")
        return Decoded((fault,), False, _combine(digests), first, 0, 0, None, None, *nothing, passing)
    lesions, faults, readings, passing = _read_lesions(record, image.shape, size, keep_aspect)
    if np.count_nonzero(cv2.calcHist([image], [0], None, [256], (0, 256))) == 2:
        faults.insert(0, Fault(record.image, "an image of two values: is it a mask?"))
    if frames > 1:
        faults.insert(0, Fault(record.image, f"{frames} pictures in a file", "the first is read"))
    usable = not any(fault.left_out for fault in faults)
    return Decoded(
        faults=tuple(faults),
        usable=usable,
        digest=_combine([*digests, *filter(None, (reading, *readings))]),
        image_digest=digests[0],
        height=image.shape[0],
        width=image.shape[1],
        image=resize_image(image, size, keep_aspect) if usable else None,
        masks=np.array(lesions, np.uint8).reshape(-1, size, size) if usable else None,
        image_hash=perceptual_hash(image),
        picture=small_picture(image),
        passing=passing,
    )


def _read_lesions(
    record: Record, shape: tuple[int, ...], size: int, keep_aspect: bool
) -> tuple[list[np.ndarray], list[Fault], list[str], bool]:
    """The masks of a record that hold a lesion, uint8 [S, S] each, and what is wrong with its masks.

    And how they were read, where that was once another way; and whether one could not be read in this run.
    """
    lesions: list[np.ndarray] = []
    faults: list[Fault] = []
    readings: list[str] = []
    empty: list[Path] = []
    passing = False
    for path in record.masks:
        try:
            mask, values, reading = read_lesion(path, shape)
        except UnreadableError as error:
            passing |= isinstance(error, PassingError)
            faults.append(Fault(path, str(error), LEFT_OUT_WITH_IMAGE))
            continue
        if record.resized_masks or (record.scaled_masks and _same_aspect(mask.shape, shape)):
            mask = fit_mask(mask, shape)
        if mask.shape != shape:
            sizes = f"{mask.shape[1]} x {mask.shape[0]} pixels, its image {shape[1]} x {shape[0]}"
            why = ", and of another shape, so that it is not resized" if record.scaled_masks else ""
            faults.append(Fault(path, f"mask of another size than its image ({sizes}){why}", LEFT_OUT_WITH_IMAGE))
            continue
        readings += [reading, KINDS * (2 < values <= FEW)]
        if values > FEW:
            faults.append(Fault(path, "mask not two-valued", "thresholded at half range"))
        elif values > 2:
            faults.append(Fault(path, f"mask of {values} values", KINDS))
        if mask.mean() > MOST_LESION:
            covered = f"mask covers {mask.mean():.0%} of its image: is it inverted?"
            faults.append(Fault(path, covered, LEFT_OUT_WITH_IMAGE))
            continue
        if not mask.any():
            empty.append(path)
        elif record.label == NORMAL:
            faults.append(Fault(path, "lesion mask on a normal", LEFT_OUT_WITH_IMAGE))
        else:
            lesions.append(resize_mask(mask, size, keep_aspect))
    if lesions:
        faults += [Fault(path, "empty mask beside others", "ignored") for path in empty]
    elif record.label not in (NORMAL, UNKNOWN):
        faults += [Fault(path, "empty lesion mask", LEFT_OUT_WITH_IMAGE) for path in empty]
    return lesions, faults, readings, passing


def _same_aspect(mask: tuple[int, ...], image: tuple[int, ...]) -> bool:
    stretched = (mask[1] / mask[0]) / (image[1] / image[0])
    return max(stretched, 1 / stretched) <= 1 + MOST_STRETCHED


def _file_digest(path: Path) -> str:
    """Sha256 hex of a file's bytes; of the cause where it cannot be opened, so that it is no file of 0 bytes.

    Raises:
        PassingError: the cause says nothing of the file.
    """
    try:
        if is_polygons(path):
            return hashlib.sha256(patiently(lambda: content(path))).hexdigest()
        return patiently(lambda: _hashed(path))
    except (ValueError, KeyError, TypeError) as error:
        return hashlib.sha256(f"not polygons: {error}".encode()).hexdigest()
    except OSError as error:
        if passes(error):
            raise unreadable(error) from None
        return hashlib.sha256(f"cannot be opened: {error.strerror}".encode()).hexdigest()


def _hashed(path: Path) -> str:
    with openable(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _combine(digests: Iterable[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()
