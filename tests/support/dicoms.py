"""Writes DICOM files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest


def dicom(values: np.ndarray, **said: Any) -> Any:
    """A file in memory: unsigned [H,W], or [H,W,3] in RGB; more of its header by keyword."""
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    one = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    one.SOPClassUID, one.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    one.Rows, one.Columns = values.shape[:2]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    if values.ndim == 3:
        one.SamplesPerPixel, one.PhotometricInterpretation, one.PlanarConfiguration = 3, "RGB", 0
    one.PixelRepresentation, bits = 0, values.dtype.itemsize * 8
    one.BitsAllocated, one.BitsStored, one.HighBit = bits, bits, bits - 1
    one.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    for name, value in said.items():
        setattr(one, name, value)
    return one


def write_dicom(path: Path, values: np.ndarray, **said: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dicom(values, **said).save_as(path, enforce_file_format=True)
    return path
