"""What a caller may give as an image: files and arrays by one rule, and a line for what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from orchestrator import UserError
from orchestrator.inference.images import grey_image
from orchestrator.inference.predictor import Predictor
from tests.support.dicoms import write_dicom
from tests.support.products import pictures, small_product

GREY = pictures(1)[0]
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)
#: 12 bits of 16.
DEEP = GREY.astype(np.uint16) * 16 + 3


def write(path: Path, pixels: np.ndarray) -> Path:
    cv2.imwrite(str(path), pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]])
    return path


@pytest.mark.parametrize(
    "pixels",
    [GREY, DEEP, COLOUR, np.dstack([COLOUR, GREY // 2])],
    ids=["grey", "16-bit", "colour", "transparent colour"],
)
def test_a_file_and_its_pixels_are_read_alike(pixels: np.ndarray, tmp_path: Path) -> None:
    file = write(tmp_path / "a.png", pixels)
    assert np.array_equal(grey_image(pixels), grey_image(file))
    assert np.array_equal(grey_image(pixels[::-1]), grey_image(file)[::-1]), "whatever the order in memory"


def test_deep_colour_is_read_as_of_a_file(tmp_path: Path) -> None:
    deep = COLOUR.astype(np.uint16) * 200
    found, of_file = grey_image(deep), grey_image(write(tmp_path / "a.png", deep))
    np.testing.assert_allclose(found.astype(int), of_file.astype(int), atol=1)


def test_numbers_of_dicom_are_read_as_the_file(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    file = write_dicom(tmp_path / "a.dcm", DEEP)
    assert np.array_equal(grey_image(pydicom.dcmread(file).pixel_array), grey_image(str(file)))
    signed = DEEP.astype(np.int16) - 900  # decibels, or numbers with a sign
    file = write_dicom(tmp_path / "b.dcm", signed, PixelRepresentation=1)
    assert np.array_equal(grey_image(pydicom.dcmread(file).pixel_array), grey_image(file))


def test_floats_are_taken_where_their_range_is_said() -> None:
    assert np.array_equal(grey_image(GREY / 255, (0, 1)), GREY)
    assert np.array_equal(grey_image((GREY / 127.5 - 1).astype(np.float32)[..., None], (-1, 1)), GREY)
    found = grey_image(COLOUR / 255, (0, 1)).astype(int)
    np.testing.assert_allclose(found, grey_image(COLOUR).astype(int), atol=1)


@pytest.mark.parametrize(
    ("image", "value_range", "words"),
    [
        (GREY / 255, None, r"floats without a range: give value_range=\(0, 1\)"),
        (GREY.astype(float), (0, 1), r"go beyond value_range=\(0, 1\)"),
        (GREY / 255, (1, 0), "the lesser first"),
        (np.where(GREY > 90, np.nan, 0.5), (0, 1), "NaN or infinity"),
        (GREY, (0, 255), "value_range is for arrays of floats"),
        ("a.png", (0, 1), "value_range is for arrays of floats"),
        (np.zeros((0, 5), np.uint8), None, "is empty"),
        (np.moveaxis(COLOUR, 2, 0), None, r"channels first: give np.moveaxis\(image, 0, -1\)"),
        (GREY[None], None, "channels first"),
        (np.dstack([GREY, GREY]), None, "not of one image"),
        (np.stack([COLOUR, COLOUR]), None, "several images as a list"),
        (GREY[0], None, "not of one image"),
        (GREY.astype(object), None, "dtype object does not say what is white"),
        (GREY.astype(np.int64), None, "dtype int64 does not say what is white"),
        (GREY > 90, None, "dtype bool does not say what is white"),
        (GREY.tobytes(), None, "bytes is no image"),
        (None, None, "NoneType is no image"),
        ("no/such.png", None, "no/such.png: cannot be opened"),
        (__file__, None, "not an image"),
        (np.broadcast_to(np.uint8(0), (9000, 9000)), None, "81 megapixels"),
    ],
)
def test_what_is_no_image_is_said_in_a_line(image: Any, value_range: Any, words: str) -> None:
    with pytest.raises(UserError, match=words) as found:
        grey_image(image, value_range)
    assert "\n" not in str(found.value)


def test_a_predictor_takes_one_image_or_a_list(tmp_path: Path) -> None:
    predictor = Predictor.load(small_product(tmp_path, "multi", networks=1), "cpu")
    file = write(tmp_path / "deep.png", DEEP)
    of_file, of_array, *_ = predictor.predict([file, DEEP, GREY, COLOUR])
    assert of_file.row() == of_array.row()
    assert predictor.predict(str(file)).row() == predictor.predict(DEEP).row()
    assert predictor.predict(GREY / 255, value_range=(0, 1)).row() == predictor.predict(GREY).row()
    with pytest.raises(UserError, match="image 1: floats without a range"):
        predictor.predict([GREY, GREY / 255])
