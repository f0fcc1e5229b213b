"""DICOM and NIfTI files: their pixels as grey images, and what their headers say. Both readers are extras."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainables.data.manifest import DataError

DICOM, NIFTI = (".dcm",), (".nii", ".nii.gz")
SUFFIXES = (*DICOM, *NIFTI)
#: Columns of sub-groups that a DICOM header has, named by what it says or "".
SCANNER = ("manufacturer", "model")
NO_SCANNER = tuple((column, "") for column in SCANNER)


class Header(NamedTuple):
    """What a file says beside its pixels: patient, "" for none; mm a pixel, 0 where unknown; scanner, by name."""

    patient: str = ""
    spacing_mm: float = 0.0
    scanner: tuple[tuple[str, str], ...] = NO_SCANNER


def is_medical(path: Path) -> bool:
    """Whether a file is named as DICOM or NIfTI."""
    return path.name.lower().endswith(SUFFIXES)


def read(path: Path) -> np.ndarray:
    """The pixels of a file, [H, W], grey: of a stack the first, whole numbers as they are stored.

    Raises:
        ValueError: pixels that cannot be decoded, in words. OSError: it cannot be opened.
    """
    return _dicom_pixels(path) if path.name.lower().endswith(DICOM) else _nifti_pixels(path)


def header(path: Path) -> Header:
    """What a file says beside its pixels; nothing where it is damaged, which its pixels will tell."""
    try:
        if path.name.lower().endswith(NIFTI):
            zooms = _nibabel().load(path).header.get_zooms()
            return Header(spacing_mm=round(float(zooms[0]), 6))
        found = _pydicom().dcmread(path, stop_before_pixels=True)
    except DataError:
        raise
    except Exception:
        return Header()
    spacing = found.get("PixelSpacing") or found.get("ImagerPixelSpacing") or [0]
    names = ("Manufacturer", "ManufacturerModelName")
    return Header(
        str(found.get("PatientID") or ""),
        round(float(spacing[0]), 6),
        tuple((column, str(found.get(name) or "")) for column, name in zip(SCANNER, names, strict=True)),
    )


def _dicom_pixels(path: Path) -> np.ndarray:
    try:
        found = _pydicom().dcmread(path)
        pixels = np.asarray(found.pixel_array)
    except (DataError, OSError):
        raise
    except Exception as error:
        raise ValueError(f"DICOM that cannot be decoded ({str(error).splitlines()[0][:80]})") from None
    if int(found.get("NumberOfFrames") or 1) > 1:
        pixels = pixels[0]
    if found.get("SamplesPerPixel", 1) == 3:
        pixels = np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(pixels.dtype)
    if found.get("PhotometricInterpretation") == "MONOCHROME1":  # white is zero
        pixels = (2 ** int(found.BitsStored) - 1 - pixels.astype(np.int64)).astype(pixels.dtype)
    return pixels


def _nifti_pixels(path: Path) -> np.ndarray:
    try:
        pixels = np.asarray(_nibabel().load(path).dataobj)
    except (DataError, OSError):
        raise
    except Exception as error:
        raise ValueError(f"NIfTI that cannot be decoded ({str(error).splitlines()[0][:80]})") from None
    while pixels.ndim > 2:
        pixels = pixels[..., 0]
    return pixels.T  # its first axis runs from left to right


def _pydicom() -> Any:
    try:
        import pydicom
    except ImportError:
        raise DataError("DICOM files need pydicom: pip install pydicom") from None
    return pydicom


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError:
        raise DataError("NIfTI files need nibabel: pip install nibabel") from None
    return nibabel
