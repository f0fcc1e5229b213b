"""DICOM and NIfTI files: their pixels as grey images, and what their headers say. Both readers are extras."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainables.data.manifest import DataError, Fault
from trainables.data.patience import PassingError, UnreadableError, openable, patiently, unreadable
from trainables.data.pictures import UNSUPPORTED, Picture, check_size

DICOM, NIFTI = (".dcm",), (".nii", ".nii.gz")
SUFFIXES = (*DICOM, *NIFTI)
#: Numbers of colours, which once were read as shades.
PALETTE = "colours of a palette"
#: Columns of sub-groups that a DICOM header has, named by what it says or "".
SCANNER = ("manufacturer", "model")
NO_SCANNER = tuple((column, "") for column in SCANNER)


class Header(NamedTuple):
    """What a file says beside its pixels: patient, "" for none; mm a pixel, 0 where unknown; scanner, by name.

    And whether a text may be burned into the picture: DICOM that does not deny it; None of what does not speak of it.
    """

    patient: str = ""
    spacing_mm: float = 0.0
    scanner: tuple[tuple[str, str], ...] = NO_SCANNER
    burned_in: bool | None = None


def is_medical(path: Path) -> bool:
    """Whether a file is named as DICOM or NIfTI."""
    return path.name.lower().endswith(SUFFIXES)


def read(path: Path) -> Picture:
    """The pixels of a file, grey: of a stack the first, whole numbers as they are stored.

    Raises:
        ValueError: pixels that cannot be decoded, in words; a PassingError where another package would.
        OSError: it cannot be opened.
    """
    picture = _dicom_pixels(path) if path.name.lower().endswith(DICOM) else _nifti_pixels(path)
    if picture.values.dtype.kind not in "buif":
        raise ValueError(UNSUPPORTED)
    return picture


def header(path: Path) -> Header:
    """What a file says beside its pixels; nothing where it is damaged, which its pixels will tell.

    Raises:
        OSError: it cannot be read, perhaps only now: then nobody knows the patient.
    """
    try:
        if path.name.lower().endswith(NIFTI):
            zooms = patiently(lambda: _nibabel().load(openable(path))).header.get_zooms()
            return Header(spacing_mm=round(float(zooms[0]), 6))
        found = patiently(lambda: _pydicom().dcmread(openable(path), stop_before_pixels=True))
        spacing = found.get("PixelSpacing") or found.get("ImagerPixelSpacing") or _region_spacing(found)
        names = ("Manufacturer", "ManufacturerModelName")
        return Header(
            str(found.get("PatientID") or ""),
            round(float(spacing[0]), 6),
            tuple((column, str(found.get(name) or "")) for column, name in zip(SCANNER, names, strict=True)),
            str(found.get("BurnedInAnnotation") or "").upper() != "NO",
        )
    except DataError:
        raise
    except OSError as error:
        if error.errno is None:  # not of the file system
            return Header()
        raise
    except Exception:
        return Header()


def headers(files: Mapping[str, Path], faults: list[Fault]) -> dict[str, Header]:
    """What the headers of those that are DICOM or NIfTI say; a fault for one that cannot be read now."""
    found = {}
    for name, file in files.items():
        if is_medical(file):
            try:
                found[name] = header(file)
            except FileNotFoundError:  # told when it is decoded
                continue
            except OSError as error:  # its patient is not known, so that it may stand on no side of a split
                faults.append(Fault(file, str(unreadable(error))))
    return found


def burned_in(found: Iterable[Header]) -> list[str]:
    """A warning where text may stand in the pictures."""
    said = [one.burned_in for one in found if one.burned_in is not None]
    words = f"{sum(said)} of {len(said)} DICOM files do not say that no text is burned in: look for names in them"
    return [f"warning: {words}"] if any(said) else []


def _region_spacing(found: Any) -> list[float]:
    """As ultrasound machines say it: cm a pixel of a region of the picture; where all regions agree."""
    regions = found.get("SequenceOfUltrasoundRegions") or []
    mm = {
        round(abs(float(region.PhysicalDeltaX)) * 10, 6)
        for region in regions
        if region.get("PhysicalUnitsXDirection") == 3 and region.get("PhysicalDeltaX")
    }
    return [mm.pop()] if len(mm) == 1 else [0.0]


def _dicom_pixels(path: Path) -> Picture:
    try:
        found = patiently(lambda: _pydicom().dcmread(path))
        if missing := _missing_decoder(found):
            raise PassingError(missing)  # another time it may be installed
        check_size(int(found.Rows) * int(found.Columns))
        found.pixel_array_options(index=0)  # of a stack, the first picture alone
        pixels = np.asarray(found.pixel_array)
        reading = PALETTE * (found.get("PhotometricInterpretation") == "PALETTE COLOR")
        if reading:
            pixels = np.asarray(_pydicom().pixels.apply_color_lut(pixels, found))
    except (DataError, OSError, UnreadableError):
        raise
    except Exception as error:
        raise ValueError(f"DICOM that cannot be decoded ({_short(error)})") from None
    frames = int(found.get("NumberOfFrames") or 1)
    if pixels.ndim == 3:
        pixels = np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(pixels.dtype)
    if found.get("PhotometricInterpretation") == "MONOCHROME1":  # white is zero
        pixels = (2 ** int(found.BitsStored) - 1 - pixels.astype(np.int64)).astype(pixels.dtype)
    return Picture(pixels, frames, reading)


def _missing_decoder(found: Any) -> str:
    """How a file is compressed, and what reads it, where nothing that is installed does; "" where something does."""
    syntax = found.file_meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_compressed or syntax.is_deflated:
        return ""
    try:
        if _pydicom().pixels.get_decoder(syntax).is_available:
            return ""
        reader = "pylibjpeg-openjpeg" if "2000" in syntax.name else "pylibjpeg-libjpeg"
        return f"DICOM compressed as {syntax.name}: needs pylibjpeg and {reader}, or convert it with gdcmconv --raw"
    except NotImplementedError:
        return f"DICOM compressed as {syntax.name}, which is not read: convert it with gdcmconv --raw"


def _nifti_pixels(path: Path) -> Picture:
    try:
        found = patiently(lambda: _nibabel().load(path)).dataobj
        check_size(int(np.prod(found.shape[:2])))
        first = np.s_[:, :, *[0] * (len(found.shape) - 2)]
        pixels = patiently(lambda: np.asarray(found[first]))  # of a stack, the first picture alone
    except (DataError, OSError, UnreadableError):
        raise
    except Exception as error:
        raise ValueError(f"NIfTI that cannot be decoded ({_short(error)})") from None
    return Picture(pixels.T, int(np.prod(found.shape[2:])))  # its first axis runs from left to right


def _short(error: Exception) -> str:
    """The first line of an error, or its kind where it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0][:80]


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
