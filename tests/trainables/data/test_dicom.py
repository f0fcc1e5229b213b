"""DICOM as machines write it: compressed, in colours, in studies, with text burned in; what is not read is said."""

from __future__ import annotations

import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.dicoms import dicom, write_dicom
from trainables.data import CLASSES, UNKNOWN, DataError, Record, prepare, read_manifest
from trainables.data.examine import decode, digest
from trainables.data.pixels import UnreadableError, read_image

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")

ROWS, COLUMNS = np.mgrid[:32, :40]
GREY = np.rint((ROWS + COLUMNS) * 255 / 70).astype(np.uint8)
J2K, JPEG_LS, MPEG = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.102"


def compressed(path: Path, syntax: str, frame: bytes, **said: object) -> Path:
    one = dicom(GREY, **said)
    one.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    one.PixelData = pydicom.encaps.encapsulate([frame])
    one["PixelData"].VR = "OB"
    one.save_as(path, enforce_file_format=True)
    return path


def encoded(form: str, **how: object) -> bytes:
    out = BytesIO()
    Image.fromarray(GREY).save(out, form, **how)
    return out.getvalue()


def test_run_lengths_and_jpeg_are_read(tmp_path: Path) -> None:
    one = dicom(GREY)
    one.compress(pydicom.uid.RLELossless)
    one.save_as(tmp_path / "rle.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(read_image(tmp_path / "rle.dcm"), GREY)
    file = compressed(tmp_path / "jpeg.dcm", "1.2.840.10008.1.2.4.50", encoded("JPEG", quality=98))
    assert np.abs(read_image(file).astype(int) - GREY).max() <= 3


def test_jpeg_2000_is_read_or_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = compressed(tmp_path / "a.dcm", J2K, encoded("JPEG2000", irreversible=False, no_jp2=True))
    np.testing.assert_array_equal(read_image(file), GREY)
    monkeypatch.setattr(pydicom.pixels.get_decoder(J2K), "_available", {})
    said = (
        r"^DICOM compressed as JPEG 2000 Image Compression \(Lossless Only\): needs pylibjpeg and pylibjpeg-openjpeg, "
        r"or convert it with gdcmconv --raw$"
    )
    with pytest.raises(UnreadableError, match=said):
        read_image(file)


def test_what_nothing_here_decodes_is_named_and_not_remembered(tmp_path: Path) -> None:
    file = compressed(tmp_path / "a.dcm", JPEG_LS, b"\xff\xd8\xff\xf7")
    found = decode(Record(file, (), 1), 8, False)
    assert [fault.problem for fault in found.faults] == [
        "DICOM compressed as JPEG-LS Lossless Image Compression: needs pylibjpeg and pylibjpeg-libjpeg, "
        "or convert it with gdcmconv --raw"
    ]
    assert found.passing, "it may be installed before the next run"
    film = compressed(tmp_path / "b.dcm", MPEG, b"\0\0\1")
    with pytest.raises(UnreadableError, match=r"^DICOM compressed as MPEG-4 .* which is not read: convert it"):
        read_image(film)


def test_a_damaged_one_is_not_called_unsupported(tmp_path: Path) -> None:
    file = write_dicom(tmp_path / "a.dcm", GREY)
    file.write_bytes(file.read_bytes()[:-300])
    found = decode(Record(file, (), 1), 8, False)
    assert found.faults[0].problem.startswith("DICOM that cannot be decoded (")
    assert not found.passing


def test_colours(tmp_path: Path) -> None:
    rgb = np.dstack([GREY] * 3)
    np.testing.assert_array_equal(read_image(write_dicom(tmp_path / "a.dcm", rgb)), GREY)
    ycc = np.dstack([GREY, np.full_like(GREY, 128), np.full_like(GREY, 128)])
    file = write_dicom(tmp_path / "b.dcm", ycc, PhotometricInterpretation="YBR_FULL")
    np.testing.assert_array_equal(read_image(file), GREY)
    ramp = (np.arange(256, dtype=np.uint16)[::-1] * 257).tobytes()
    said = {f"{colour}PaletteColorLookupTableDescriptor": [256, 0, 16] for colour in ("Red", "Green", "Blue")}
    said |= {f"{colour}PaletteColorLookupTableData": ramp for colour in ("Red", "Green", "Blue")}
    file = write_dicom(tmp_path / "c.dcm", GREY, PhotometricInterpretation="PALETTE COLOR", **said)
    np.testing.assert_array_equal(read_image(file), 255 - GREY)
    record = Record(file, (), 1)
    assert decode(record, 8, False).digest != digest(record), "arrays of a time when numbers of colours were shades"


def test_the_first_of_several_frames_is_read_and_said(tmp_path: Path) -> None:
    one = dicom(GREY, NumberOfFrames=2)
    one.PixelData = GREY.tobytes() + (255 - GREY).tobytes()
    one.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    found = decode(Record(tmp_path / "a.dcm", (), 1), 8, False)
    assert [(fault.problem, fault.action) for fault in found.faults] == [("2 pictures in a file", "the first is read")]
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm"), GREY)


def pictures(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (64, 80), np.uint8) for _ in range(count)]


def test_text_that_may_be_burned_in_is_one_warning(tmp_path: Path) -> None:
    for number, values in enumerate(pictures(12)):
        said = {} if number == 0 else {"BurnedInAnnotation": "YES" if number < 3 else "NO"}
        write_dicom(tmp_path / CLASSES[1 + number % 2] / f"{number}.dcm", values, **said)
    manifest = read_manifest(tmp_path)
    warning = "warning: 3 of 12 DICOM files do not say that no text is burned in: look for names in them"
    assert manifest.warnings == (warning,)
    data = prepare(manifest, tmp_path / "cache", size=32, folds=2)
    assert data.notes.count(warning) == 1


def study(root: Path) -> None:
    """Eight patients with two images each, in folders of studies and series."""
    for number, values in enumerate(pictures(16)):
        path = root / f"PAT{number // 2}/1.2.840.{number}/series 1/IM{number:04}.dcm"
        write_dicom(path, values, PatientID=f"P{number // 2}", BurnedInAnnotation="NO", PixelSpacing=[0.1, 0.1])


def test_by_study_without_classes(tmp_path: Path) -> None:
    study(tmp_path)
    found = read_manifest(tmp_path)
    assert (found.layout, found.left_over, found.faults, found.warnings) == ("dicom-study", 0, (), ())
    assert (found.patients_from, len({record.patient for record in found.records})) == ("DICOM headers", 8)
    assert {record.label for record in found.records} == {UNKNOWN}


@pytest.mark.parametrize("column", ["PatientID", "file"])
def test_by_study_with_classes_from_a_table(tmp_path: Path, column: str) -> None:
    study(tmp_path)
    names = [f"P{i}" for i in range(8)] if column == "PatientID" else [f"IM{i:04}.dcm" for i in range(16)]
    rows = [f"{name},{CLASSES[1 + i % 2]}" for i, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join([f"{column},diagnosis", *rows, "nobody,benign"]) + "\n")
    found = read_manifest(tmp_path)
    assert [str(fault).removeprefix(f"{tmp_path}/") for fault in found.faults] == [
        "labels.csv: row 'nobody' names no image; ignored"
    ]
    numbers = [int(record.image.stem[2:]) for record in found.records]
    step = 2 if column == "PatientID" else 1
    assert [record.label for record in found.records] == [1 + number // step % 2 for number in numbers]
    assert len({record.patient for record in found.records}) == 8


def test_class_folders_stay_class_folders(tmp_path: Path) -> None:
    for number, values in enumerate(pictures(4)):
        write_dicom(tmp_path / CLASSES[1 + number % 2] / f"{number}.dcm", values)
    assert read_manifest(tmp_path).layout == "classes"


def test_files_without_suffix_are_said(tmp_path: Path) -> None:
    study(tmp_path)
    for path in tmp_path.glob("PAT0/**/*.dcm"):
        path.rename(path.with_suffix(""))
    shutil.copy(next(tmp_path.glob("PAT0/**/IM*")), tmp_path / "DICOMDIR")
    (tmp_path / "notes").write_text("not DICOM")
    with pytest.raises(DataError, match=r"2 of 16 images would be left over by layout dicom-study"):
        read_manifest(tmp_path)
    problems = [fault.problem for fault in read_manifest(tmp_path, "dicom-study").faults]
    assert problems.count("1 DICOM file without the suffix .dcm") == 2
    for path in tmp_path.glob("PAT*/**/*.dcm"):
        path.rename(path.with_name(f"1.2.840.{path.stem[2:]}"))
    with pytest.raises(DataError, match=r"1 DICOM file without the suffix \.dcm; left over: rename them"):
        read_manifest(tmp_path)


def test_spacing_of_an_ultrasound_region(tmp_path: Path) -> None:
    region = pydicom.Dataset()
    region.PhysicalUnitsXDirection, region.PhysicalDeltaX = 3, 0.0071
    write_dicom(tmp_path / "benign/a.dcm", GREY, SequenceOfUltrasoundRegions=[region])
    assert [record.spacing_mm for record in read_manifest(tmp_path).records] == [0.071]


def test_a_table_of_dicom_files_has_their_headers(tmp_path: Path) -> None:
    study(tmp_path)
    files = sorted(tmp_path.glob("**/*.dcm"), key=lambda file: file.stem)
    (tmp_path / "all.csv").write_text(
        "\n".join(["image,label", *(f"{file},benign" for file in files), "gone.dcm,benign"])
    )
    found = read_manifest(tmp_path / "all.csv")
    assert (found.patients_from, len({record.patient for record in found.records} - {""})) == ("DICOM headers", 8)
    assert {record.spacing_mm for record in found.records} == {0.1, 0}
    (tmp_path / "own.csv").write_text(
        "\n".join(["image,label,patient", f"{files[0]},benign,17", f"{files[1]},benign,"])
    )
    named = read_manifest(tmp_path / "own.csv")
    assert (named.patients_from, {record.patient for record in named.records}) == ("column patient", {"17", ""})
