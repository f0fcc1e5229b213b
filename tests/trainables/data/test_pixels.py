"""Files in every mode come out as the same grey; resized masks stay where their images are."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from trainables.data.pixels import (
    FEW,
    UnreadableError,
    placement,
    read_image,
    read_mask,
    resize_image,
    resize_mask,
    to_grey,
)

pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\..*")  # pytest undoes the filter that pictures.py sets

ROWS, COLUMNS = np.mgrid[:32, :40]
#: Smooth, so that JPEG keeps it, and filling 0..255, so that scaling by the maximum keeps it.
GREY = np.rint((ROWS + COLUMNS) * 255 / 70).astype(np.uint8)
HIGH = GREY.astype(np.uint16) * 16  # 12 of 16 bits
NEUTRAL = Image.new("L", (40, 32), 128)

LOSSLESS = [
    *[("L", suffix) for suffix in ("png", "bmp", "tif", "tiff")],
    *[("RGB", suffix) for suffix in ("png", "bmp", "tif")],
    *[(mode, suffix) for mode in ("LA", "P", "RGBA") for suffix in ("png", "tif")],
    *[(mode, "tif") for mode in ("CMYK", "YCbCr", "PA")],
]


@pytest.mark.parametrize(("mode", "suffix"), LOSSLESS)
def test_lossless_grey_is_unchanged_in_every_mode(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(GREY).convert(mode).save(path)
    out = read_image(path)
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, GREY)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "YCbCr"])
def test_jpeg_modes(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "image.JPG"
    Image.fromarray(GREY).convert(mode).save(path, quality=95)
    assert np.abs(read_image(path).astype(int) - GREY).max() <= 4


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_one_bit(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(GREY > 100).save(tmp_path / f"image.{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"image.{suffix}"), np.where(GREY > 100, 255, 0))


@pytest.mark.parametrize(
    ("image", "mode", "suffix"),
    [
        (Image.fromarray(HIGH), "I;16", "png"),
        (Image.fromarray(HIGH), "I;16", "tif"),
        (Image.frombytes("I;16B", (40, 32), HIGH.astype(">u2").tobytes()), "I;16B", "tif"),
        (Image.fromarray(HIGH.astype(np.int32) * 1000), "I", "tif"),
        (Image.fromarray((HIGH / 5000).astype(np.float32)), "F", "tif"),
        (Image.merge("LAB", [Image.fromarray(GREY), NEUTRAL, NEUTRAL]), "LAB", "tif"),
    ],
)
def test_deep_and_lab_modes(tmp_path: Path, image: Image.Image, mode: str, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    image.save(path)
    with Image.open(path) as stored:
        assert stored.mode == mode
    np.testing.assert_array_equal(read_image(path), GREY)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colour_keeps_its_low_bits(tmp_path: Path, suffix: str, channels: int) -> None:
    path = tmp_path / f"bild größer.{suffix}"
    encoded = cv2.imencode(f".{suffix}", np.dstack([HIGH] * channels))[1]
    path.write_bytes(encoded.tobytes())
    np.testing.assert_array_equal(read_image(path), GREY)


def test_hsv_in_memory() -> None:
    np.testing.assert_array_equal(to_grey(Image.fromarray(GREY).convert("RGB").convert("HSV")), GREY)


def test_colour_becomes_luma_and_alpha_is_ignored(tmp_path: Path) -> None:
    Image.new("RGBA", (3, 2), (255, 0, 0, 0)).save(tmp_path / "red.png")
    assert (read_image(tmp_path / "red.png") == 76).all()


def test_a_transparent_colour_changes_nothing(tmp_path: Path) -> None:
    Image.fromarray(GREY).convert("RGB").save(tmp_path / "a.png", transparency=(7, 8, 9))
    Image.fromarray(GREY).convert("P").save(tmp_path / "b.png", transparency=bytes(range(256)))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), GREY)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), GREY)


def test_first_frame_is_read(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "stack.tif", save_all=True, append_images=[Image.fromarray(255 - GREY)])
    np.testing.assert_array_equal(read_image(tmp_path / "stack.tif"), GREY)


def test_black_sixteen_bit_stays_black(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "black.png")
    assert not read_image(tmp_path / "black.png").any()


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
@pytest.mark.parametrize("share", [0.005, 0.5, 0.95])
def test_truncated(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(UnreadableError, match="truncated"):
        read_image(path)


def test_causes_of_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("this is no image")
    Image.fromarray(GREY).save(tmp_path / "gif.png", format="GIF")
    for name, cause in [("empty", "0 bytes"), ("text", "not an image"), ("gif", "not an image"), ("no", "opened")]:
        with pytest.raises(UnreadableError, match=cause):
            read_image(tmp_path / f"{name}.png")


@pytest.mark.parametrize(
    ("width", "height", "cause"),
    [
        (8000, 8000, "truncated"),  # exactly 64 megapixels pass; only then are the pixels missed
        (8000, 8063, "65 megapixels, more than 64"),
        (10000, 10000, "100 megapixels, more than 64"),  # where Pillow would warn
        (30000, 30000, "900 megapixels, more than 64"),  # where Pillow itself refuses
    ],
)
def test_size_is_checked_before_decoding(tmp_path: Path, width: int, height: int, cause: str) -> None:
    path = tmp_path / "huge.bmp"
    Image.fromarray(GREY).save(path)
    raw = bytearray(path.read_bytes())
    struct.pack_into("<ii", raw, 18, width, height)
    path.write_bytes(raw)
    with pytest.raises(UnreadableError, match=cause):
        read_image(path)


LESION = (ROWS - 15) ** 2 + (COLUMNS - 22) ** 2 < 60


@pytest.mark.parametrize(
    "values",
    [
        np.where(LESION, 255, 0).astype(np.uint8),
        np.where(LESION, 1, 0).astype(np.uint8),
        np.where(LESION, 7, 3).astype(np.uint8),
        np.where(LESION, 65535, 0).astype(np.uint16),
        np.where(LESION, 1, 0).astype(np.uint16),
        LESION,
    ],
)
def test_two_valued_masks_take_the_larger_value(tmp_path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(tmp_path / "mask.png")
    mask, values = read_mask(tmp_path / "mask.png", (0, 0))
    assert values <= 2
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, LESION)


def test_rgba_and_palette_masks(tmp_path: Path) -> None:
    grey = Image.fromarray(np.where(LESION, 255, 0).astype(np.uint8))
    grey.convert("RGBA").save(tmp_path / "a.png")
    red = Image.fromarray(LESION.astype(np.uint8)).convert("P")
    red.putpalette([0, 0, 0, 128, 0, 0])
    red.save(tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        mask, values = read_mask(tmp_path / name, (0, 0))
        assert values <= 2
        np.testing.assert_array_equal(mask, LESION)


@pytest.mark.parametrize(("value", "lesion"), [(0, False), (1, True), (255, True)])
def test_constant_masks(tmp_path: Path, value: int, lesion: bool) -> None:
    Image.new("L", (5, 4), value).save(tmp_path / "mask.png")
    mask, values = read_mask(tmp_path / "mask.png", (0, 0))
    assert values <= 2
    assert (mask == lesion).all()


@pytest.mark.parametrize("scale", [1, 257])
def test_other_masks_are_thresholded_at_half_range(tmp_path: Path, scale: int) -> None:
    shades = [0, 1, 20, 60, 90, 127, 128, 200, 255]
    values = np.array([shades]) * scale
    Image.fromarray(values.astype(np.uint8 if scale == 1 else np.uint16)).save(tmp_path / "mask.png")
    mask, found = read_mask(tmp_path / "mask.png", (0, 0))
    assert found == len(shades) > FEW
    assert mask.tolist() == [[shade > 127 for shade in shades]]


def test_few_values_are_kinds_of_lesion(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, 2, 0]], np.uint8)).save(tmp_path / "index.png")
    assert read_mask(tmp_path / "index.png", (0, 0))[0].tolist() == [[False, True, True, False]]
    colours = np.array([[[0, 0, 0], [0, 255, 0], [255, 0, 0], [0, 0, 0]]], np.uint8)
    Image.fromarray(colours).save(tmp_path / "colours.png")
    mask, found = read_mask(tmp_path / "colours.png", (0, 0))
    assert (mask.tolist(), found) == ([[False, True, True, False]], 3)


def test_transparency_is_the_mask_where_colour_says_nothing(tmp_path: Path) -> None:
    alpha = np.where(LESION, 255, 0).astype(np.uint8)
    Image.merge("LA", [Image.new("L", alpha.shape[::-1], 255), Image.fromarray(alpha)]).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "alpha.png", (0, 0))[0], LESION)
    Image.merge("LA", [Image.fromarray(alpha), Image.new("L", alpha.shape[::-1], 255)]).save(tmp_path / "colour.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "colour.png", (0, 0))[0], LESION)


def test_jpeg_mask_is_said_not_to_be_two_valued(tmp_path: Path) -> None:
    Image.fromarray(np.where(LESION, 255, 0).astype(np.uint8)).save(tmp_path / "mask.jpg", quality=90)
    mask, values = read_mask(tmp_path / "mask.jpg", (0, 0))
    assert values > FEW
    np.testing.assert_array_equal(mask, LESION)


SHAPES = [(32, 40), (500, 30), (33, 71), (7, 5), (310, 190), (64, 64)]


@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_resized_mask_takes_the_pixel_under_each_centre(shape: tuple[int, int], keep_aspect: bool) -> None:
    mask = np.random.default_rng(0).random(shape) < 0.3
    out = resize_mask(mask, 64, keep_aspect)
    top, left, h, w = placement(*shape, 64, keep_aspect)
    rows = ((np.arange(h) + 0.5) * shape[0] / h - 1e-9).astype(int)
    columns = ((np.arange(w) + 0.5) * shape[1] / w - 1e-9).astype(int)
    expected = np.zeros((64, 64), np.uint8)
    expected[top : top + h, left : left + w] = mask[np.ix_(rows, columns)]
    other = np.zeros_like(expected)  # where a centre lies between two pixels, either will do
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * m / n + 1e-9).astype(int), m - 1) for n, m in ((h, shape[0]), (w, shape[1]))
    )
    other[top : top + h, left : left + w] = mask[np.ix_(rows, columns)]
    assert out.dtype == np.uint8
    assert ((out == expected) | (out == other)).mean() > 0.999
    assert set(np.unique(out)) <= {0, 1}


def test_resized_masks_are_neither_dilated_nor_shifted() -> None:
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:470, :560]
    ratios, shifts = [], []
    for _ in range(60):
        y, x, a, b = rng.uniform([100, 100, 10, 10], [370, 460, 80, 80])
        mask = ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 < 1
        out = resize_mask(mask, 128, False)
        ratios.append(out.mean() / mask.mean())
        yy, xx = np.nonzero(out)
        shifts.append([(yy.mean() + 0.5) / 128 - (y + 0.5) / 470, (xx.mean() + 0.5) / 128 - (x + 0.5) / 560])
    assert abs(np.mean(ratios) - 1) < 0.005
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.1 / 128


@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize("size", [32, 128, 600])
def test_image_and_mask_share_one_geometry(size: int, keep_aspect: bool) -> None:
    rows, columns = np.mgrid[:310, :470]
    mask = (rows - 100) ** 2 / 50**2 + (columns - 300) ** 2 / 90**2 < 1
    image = resize_image(np.where(mask, 255, 0).astype(np.uint8), size, keep_aspect)
    out = resize_mask(mask, size, keep_aspect)
    assert image.shape == out.shape == (size, size)
    overlap = ((image > 127) & (out > 0)).sum() * 2 / ((image > 127).sum() + out.sum())
    assert overlap > 0.97


def test_letterbox_is_centred_with_zeros() -> None:
    wide = resize_image(np.full((100, 200), 9, np.uint8), 64, True)
    tall = resize_image(np.full((200, 100), 9, np.uint8), 64, True)
    assert (wide[16:48] == 9).all()
    assert not wide[:16].any()
    assert not wide[48:].any()
    np.testing.assert_array_equal(tall, wide.T)


def test_resizing_averages_what_shrinks_and_keeps_what_fits() -> None:
    stripes = np.tile(np.array([0, 0, 0, 200], np.uint8), (256, 64))  # interpolating would see the middle two only
    assert (resize_image(stripes, 64, False) == 50).all()
    assert (resize_image(stripes[:16], 64, False) == 50).all()  # and one axis grows
    np.testing.assert_array_equal(resize_image(GREY[:, :32], 32, False), GREY[:, :32])
    assert resize_image(np.full((1, 5000), 3, np.uint8), 64, True).max() == 3
