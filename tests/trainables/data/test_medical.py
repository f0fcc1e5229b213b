"""DICOM and NIfTI data sets: their pixels, patients, scanner and spacing; and a reader that is missing."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.support.replicas import LESIONS, Item, made
from trainables.data import CLASSES, DataError, read_manifest
from trainables.data.pixels import read_image


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return made()


def test_dicom_by_class(items: list[Item], tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
    for item in items[:8]:
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
        meta.MediaStorageSOPInstanceUID = f"1.2.3.{item.number}"
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        one = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        one.PatientID, one.Manufacturer, one.PixelSpacing = f"P{item.patient}", "ACME", [0.1, 0.1]
        one.Rows, one.Columns = item.image.shape
        one.SamplesPerPixel, one.PixelRepresentation, one.BitsAllocated, one.BitsStored, one.HighBit = 1, 0, 8, 8, 7
        white_is_zero = item.number == 1
        one.PhotometricInterpretation = "MONOCHROME1" if white_is_zero else "MONOCHROME2"
        one.PixelData = (255 - item.image if white_is_zero else item.image).tobytes()
        path = tmp_path / item.name / f"IM{item.number}.dcm"
        path.parent.mkdir(exist_ok=True)
        one.save_as(path, enforce_file_format=True)
    found = read_manifest(tmp_path)
    assert (found.layout, found.patients_from, found.faults) == ("classes", "DICOM headers", ())
    assert len({record.patient for record in found.records}) == 4
    assert {record.spacing_mm for record in found.records} == {0.1}
    assert {record.subgroups for record in found.records} == {(("manufacturer", "ACME"), ("model", ""))}
    images = {item.image.tobytes() for item in items[:8]}
    assert {read_image(record.image).tobytes() for record in found.records} == images


def test_nifti_with_its_spacing(items: list[Item], tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    for item in items[:8]:
        value = 1 + (item.name == "malignant")
        for folder, array, end in (("imagesTr", item.image, "_0000"), ("labelsTr", item.mask // 255 * value, "")):
            (tmp_path / folder).mkdir(exist_ok=True)
            picture = nibabel.Nifti1Image(array.T[..., None].copy(), np.diag([0.07, 0.07, 1, 1]))
            nibabel.save(picture, tmp_path / folder / f"b{item.number}{end}.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "benign": 1, "malignant": 2}}))
    found = read_manifest(tmp_path)
    assert Counter(CLASSES[record.label] for record in found.records) == LESIONS
    assert {record.spacing_mm for record in found.records} == {0.07}
    assert {read_image(record.image).tobytes() for record in found.records} == {i.image.tobytes() for i in items[:8]}


def test_a_reader_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    (tmp_path / "benign").mkdir()
    (tmp_path / "benign" / "a.dcm").write_bytes(b"\0" * 128 + b"DICM")
    with pytest.raises(DataError, match=r"^DICOM files need pydicom: pip install pydicom$"):
        read_manifest(tmp_path)
