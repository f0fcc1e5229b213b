"""Formats that are rare and sound: read, or called what they are; numbers below zero; white that is zero."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.support.tiffs import RGB, WHITE, YCBCR, write_tiff
from trainables.data.examine import decode
from trainables.data.manifest import CLASSES, Record
from trainables.data.pixels import UnreadableError, read_image, read_mask

pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\..*")  # pytest undoes the filter that pictures.py sets

ROWS, COLUMNS = np.mgrid[:32, :40]
GREY = np.rint((ROWS + COLUMNS) * 255 / 70).astype(np.uint8)
HIGH = GREY.astype(np.uint16) * 16
NEUTRAL = np.full_like(GREY, 128)
MEGABYTE = 1 << 20


@pytest.mark.parametrize("texts", [(2,), (70,), (1,) * 80], ids=["one", "large", "many"])
def test_text_of_a_png_is_of_no_account(tmp_path: Path, texts: tuple[int, ...]) -> None:
    said = PngImagePlugin.PngInfo()
    for number, megabytes in enumerate(texts):
        said.add_text(f"Comment {number}", "a" * megabytes * MEGABYTE, zip=True)
    said.add_itxt("Comment", "b" * 2 * MEGABYTE, zip=True)
    alpha = Image.fromarray(GREY)
    alpha.save(tmp_path / "text.png", pnginfo=said)
    np.testing.assert_array_equal(read_image(tmp_path / "text.png"), GREY)
    Image.merge("LA", [Image.new("L", (40, 32), 9), alpha]).save(tmp_path / "mask.png", pnginfo=said)
    assert read_mask(tmp_path / "mask.png", (0, 0))[0].any(), "its transparency"


@pytest.mark.parametrize(
    "values", [GREY / 255, GREY * 1e-3, GREY.astype(np.int64) * 10**6, GREY.astype(np.uint64) * 10**6]
)
def test_64_bits(tmp_path: Path, values: np.ndarray) -> None:
    np.testing.assert_array_equal(read_image(write_tiff(tmp_path / "a.tif", values)), GREY)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_colours_that_are_not_whole_numbers(tmp_path: Path, kind: type) -> None:
    file = write_tiff(tmp_path / "a.tif", np.dstack([GREY / 255] * 3).astype(kind), RGB)
    np.testing.assert_array_equal(read_image(file), GREY)
    red = np.zeros((2, 2, 3), kind)
    red[0, 0], red[1, 1] = (1, 0, 0), (1, 1, 1)
    assert read_image(write_tiff(tmp_path / "b.tif", red, RGB)).tolist() == [[76, 0], [0, 255]]


@pytest.mark.parametrize("subsampled", [False, True])
def test_ycbcr(tmp_path: Path, subsampled: bool) -> None:
    file = write_tiff(tmp_path / "a.tif", np.dstack([GREY, NEUTRAL, NEUTRAL]), YCBCR, subsampled)
    assert np.abs(read_image(file).astype(int) - GREY).max() <= 1


@pytest.mark.parametrize("values", [GREY.astype(np.float16), np.dstack([GREY] * 3).astype(np.float16), GREY * (1 + 0j)])
def test_what_nothing_reads_is_not_called_damaged(tmp_path: Path, values: np.ndarray) -> None:
    file = write_tiff(tmp_path / "a.tif", values, RGB if values.ndim == 3 else 1)
    with pytest.raises(UnreadableError, match=r"^pixel format not supported$"):
        read_image(file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UnreadableError, match=r"^truncated or damaged$"):
        read_image(file)


@pytest.mark.parametrize("values", [GREY / 255, np.dstack([GREY / 255] * 3), GREY.astype(np.uint64)])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_cut_off_where_only_the_other_reader_knows_it(tmp_path: Path, values: np.ndarray, share: float) -> None:
    file = write_tiff(tmp_path / "a.tif", values, RGB if values.ndim == 3 else 1)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    with pytest.raises(UnreadableError, match=r"^truncated or damaged$"):
        read_image(file)


def test_more_bits_than_a_jpeg_has_here(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.jpg")
    raw = bytearray((tmp_path / "a.jpg").read_bytes())
    raw[raw.index(b"\xff\xc0") + 4] = 12  # bits a value
    (tmp_path / "a.jpg").write_bytes(raw)
    with pytest.raises(UnreadableError, match=r"^pixel format not supported$"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("values", [-60 + GREY * (60 / 255), GREY.astype(float) - 128, GREY.astype(np.int16) - 100])
def test_below_zero_is_scaled_from_the_minimum(tmp_path: Path, values: np.ndarray) -> None:
    for number, kind in enumerate((values.dtype, np.float32)):
        file = write_tiff(tmp_path / f"{number}.tif", values.astype(kind))
        np.testing.assert_array_equal(read_image(file), GREY)


def test_eight_bits_with_a_sign(tmp_path: Path) -> None:
    file = write_tiff(tmp_path / "a.tif", (GREY.astype(int) - 128).astype(np.int8))
    np.testing.assert_array_equal(read_image(file), GREY)
    half = GREY // 2
    np.testing.assert_array_equal(read_image(write_tiff(tmp_path / "b.tif", half.astype(np.int8))), half)


def test_above_zero_is_scaled_from_zero(tmp_path: Path) -> None:
    values = np.array([[1, 2], [3, 4]], np.float32)
    assert read_image(write_tiff(tmp_path / "a.tif", values)).tolist() == [[64, 128], [191, 255]]


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_pixels_that_are_not_numbers(tmp_path: Path, odd: float, kind: type) -> None:
    values = np.ones((4, 4), kind)
    values[1, 2] = odd
    with pytest.raises(UnreadableError, match=r"^pixels that are not numbers$"):
        read_image(write_tiff(tmp_path / "a.tif", values))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.float32])
def test_white_is_zero(tmp_path: Path, kind: type) -> None:
    top = {np.uint8: 255, np.uint16: 65535, np.uint32: 2**32 - 1, np.float32: 255}[kind]
    dark = GREY if kind in (np.uint8, np.float32) else HIGH
    file = write_tiff(tmp_path / "a.tif", (top - dark.astype(np.int64)).astype(kind), WHITE)
    assert np.abs(read_image(file).astype(int) - GREY).max() <= (kind == np.uint32)


def test_white_is_zero_where_12_of_16_bits_are_used(tmp_path: Path) -> None:
    file = write_tiff(tmp_path / "a.tif", 4095 - HIGH, WHITE)
    np.testing.assert_array_equal(read_image(file), GREY)


def test_only_what_is_read_otherwise_than_before_has_another_digest(tmp_path: Path) -> None:
    """Arrays that were prepared of the old reading are not taken for the new."""
    plain = [GREY, HIGH, GREY.astype(np.float32), GREY.astype(np.int32)]
    other = [GREY.astype(np.float32) - 9, GREY.astype(np.int16) - 9, (GREY.astype(int) - 128).astype(np.int8)]
    for number, values in enumerate([*plain, *other]):
        record = Record(write_tiff(tmp_path / f"{number}.tif", values), (), CLASSES.index("benign"))
        found = decode(record, 8, False)
        assert (found.digest == plain_digest(record)) == (number < len(plain))
    for number, values in enumerate((GREY, HIGH)):
        record = Record(write_tiff(tmp_path / f"w{number}.tif", values, WHITE), (), CLASSES.index("benign"))
        assert (decode(record, 8, False).digest == plain_digest(record)) == (values is GREY)
    mask = Record(tmp_path / "0.tif", (tmp_path / "w1.tif",), CLASSES.index("benign"))
    assert decode(mask, 8, False).digest != plain_digest(mask)


def plain_digest(record: Record) -> str:
    from trainables.data.examine import digest

    return digest(record)


def test_a_stack_is_a_line(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.tif", save_all=True, append_images=[Image.fromarray(255 - GREY)])
    found = decode(Record(tmp_path / "a.tif", (), 1), 8, False)
    assert [(fault.problem, fault.action) for fault in found.faults] == [("2 pictures in a file", "the first is read")]
    assert found.usable
