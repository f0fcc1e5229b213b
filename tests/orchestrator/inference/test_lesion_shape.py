from __future__ import annotations

import cv2
import numpy as np
import pytest

from orchestrator.inference.lesion_shape import FEATURES, largest_component, lesion_shape, perimeter

SIZE = 400
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]
NOISE = np.random.default_rng(0).normal(120, 10, (SIZE, SIZE)).clip(0, 255).astype(np.uint8)


def _of(mask: np.ndarray, image: np.ndarray = NOISE) -> dict[str, float]:
    return dict(zip(FEATURES, lesion_shape(mask, image).tolist(), strict=True))


def _ellipse(width: float, height: float, degrees: float = 0, x: float = 200, y: float = 200) -> np.ndarray:
    turn = np.deg2rad(degrees)
    u = (COLUMNS - x) * np.cos(turn) + (ROWS - y) * np.sin(turn)
    v = -(COLUMNS - x) * np.sin(turn) + (ROWS - y) * np.cos(turn)
    return (u / width) ** 2 + (v / height) ** 2 <= 1


def _polygon(points: np.ndarray) -> np.ndarray:
    return cv2.fillPoly(np.zeros((SIZE, SIZE), np.uint8), [np.round(points).astype(np.int32)], 1) > 0


def _box(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[top : top + height, left : left + width] = True
    return mask


@pytest.mark.parametrize("radius", [10, 20, 40, 120])
def test_a_disc(radius: int) -> None:
    found = _of(_ellipse(radius, radius, x=200.3, y=199.6))  # centred on a pixel, it would end in four lone pixels
    assert found["has_lesion"] == 1
    assert found["area"] == pytest.approx(np.pi * radius**2 / SIZE**2, rel=0.04)
    assert found["aspect"] == pytest.approx(1, abs=0.06)
    assert found["compactness"] == pytest.approx(1, abs=0.02)
    assert found["solidity"] == pytest.approx(1, abs=0.04)
    assert found["roughness"] < 0.06


@pytest.mark.parametrize("degrees", [0, 20, 45, 90])
def test_an_ellipse_twice_as_long_as_wide(degrees: float) -> None:
    found = _of(_ellipse(100, 50, degrees))
    t = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    length = np.hypot(100 * np.sin(t), 50 * np.cos(t))
    radii = np.hypot(100 * np.cos(t), 50 * np.sin(t))
    mean = np.average(radii, weights=length)
    assert found["compactness"] == pytest.approx(4 * np.pi * np.pi * 5000 / (length.mean() * 2 * np.pi) ** 2, rel=0.01)
    assert found["roughness"] == pytest.approx(
        np.sqrt(np.average((radii - mean) ** 2, weights=length)) / mean, abs=0.005
    )
    turn = np.deg2rad(degrees)
    across, down = (
        np.hypot(100 * np.cos(turn), 50 * np.sin(turn)),
        np.hypot(100 * np.sin(turn), 50 * np.cos(turn)),
    )
    assert found["aspect"] == pytest.approx(down / across, rel=0.02)


@pytest.mark.parametrize("degrees", [0, 15, 30, 45])
def test_a_square_in_any_direction(degrees: float) -> None:
    turn = np.deg2rad(degrees)
    corners = np.array([[-60, -60], [60, -60], [60, 60], [-60, 60]]) @ np.array(
        [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    )
    found = _of(_polygon(corners + 200))
    assert found["compactness"] == pytest.approx(np.pi / 4, rel=0.05)
    assert found["solidity"] == pytest.approx(1, abs=0.02)
    # Radii along a side of half-length 1: mean (sqrt 2 + asinh 1) / 2, mean square 4 / 3.
    mean = (np.sqrt(2) + np.arcsinh(1)) / 2
    assert found["roughness"] == pytest.approx(np.sqrt(4 / 3 - mean**2) / mean, abs=0.003)


def test_a_star() -> None:
    turn = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    radius = np.where(np.arange(10) % 2, 40, 100)
    found = _of(_polygon(np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1) + 200))
    area, hull = 5 * 100 * 40 * np.sin(np.pi / 5), 2.5 * 100**2 * np.sin(2 * np.pi / 5)
    side = np.sqrt(100**2 + 40**2 - 2 * 100 * 40 * np.cos(np.pi / 5))
    assert found["compactness"] == pytest.approx(4 * np.pi * area / (10 * side) ** 2, rel=0.04)
    assert found["solidity"] == pytest.approx(area / hull, rel=0.04)
    assert found["roughness"] > 0.2


def test_the_shape_does_not_depend_on_the_resolution() -> None:
    small, large = _of(_ellipse(30, 20, x=100, y=100)), _of(_ellipse(90, 60))
    for name in ("aspect", "compactness", "solidity", "roughness"):
        assert small[name] == pytest.approx(large[name], abs=0.03), name


def test_without_a_lesion_only_its_absence_is_known() -> None:
    found = _of(np.zeros((SIZE, SIZE), bool))
    assert found.pop("has_lesion") == 0
    assert all(np.isnan(list(found.values())))


def test_the_largest_component_counts_whatever_else_there_is() -> None:
    lesion, other = _box(100, 150, 60, 80), _box(300, 20, 30, 30)
    flat = np.full((SIZE, SIZE), 120, np.uint8)
    flat[lesion], flat[other] = 60, 5
    assert _of(lesion | other, flat) == _of(lesion, flat)


def test_other_lesions_are_not_surroundings() -> None:
    lesion, close = _box(100, 150, 60, 80), _box(100, 232, 60, 20)
    below = _box(162, 150, 20, 80)
    image = np.full((SIZE, SIZE), 120, np.uint8)
    image[lesion], image[close], image[below] = 100, 0, 0
    found = _of(lesion | close | below, image)
    assert found["contrast"] == -20
    assert found["shadow"] == 0


def test_holes_are_filled() -> None:
    ring = _ellipse(60, 60) & ~_ellipse(30, 30)
    assert _of(ring) == _of(_ellipse(60, 60))


def test_contrast_is_in_sd_of_the_ring() -> None:
    lesion = _ellipse(40, 40)
    image = NOISE.copy()
    image[lesion] = 90
    assert _of(lesion, image)["contrast"] == pytest.approx(-30 / 10, rel=0.03)
    half = 60 + (image.astype(float) * 0.5)
    assert _of(lesion, half.astype(np.uint8))["contrast"] == pytest.approx(-3, rel=0.05), "gain cancels"


def test_the_ring_is_a_fifth_of_the_diameter_wide() -> None:
    image = np.full((SIZE, SIZE), 100, np.uint8)
    image[~_ellipse(40 + 16.5, 40 + 16.5)] = 0  # .2 x 80 = 16
    image[_ellipse(40, 40)] = 90
    assert _of(_ellipse(40, 40), image)["contrast"] == -10
    image[~_ellipse(40 + 14, 40 + 14)] = 0
    assert _of(_ellipse(40, 40), image)["contrast"] > -10


@pytest.mark.parametrize(("inside", "below"), [(200, 60), (20, 180)])
def test_shadow_and_enhancement_whatever_the_lesion_looks_like(inside: int, below: int) -> None:
    lesion = _box(100, 150, 60, 80)
    image = np.full((SIZE, SIZE), 120, np.uint8)
    image[lesion] = inside
    image[160:220, 150:230] = below
    found = _of(lesion, image)
    ring = cv2.distanceTransform((~lesion).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    around = (ring > 0) & (ring <= 0.2 * np.sqrt(4 * 60 * 80 / np.pi))
    assert found["shadow"] == pytest.approx((below - 120) / image[around].std())
    assert np.sign(found["contrast"]) == np.sign(inside - 120)


def test_shadow_looks_one_height_down_and_one_width_to_either_side() -> None:
    lesion = _box(100, 150, 60, 80)
    image = np.full((SIZE, SIZE), 120, np.uint8)
    expected = _of(lesion, image)["shadow"]
    image[220:] = 0
    image[:, :70] = 0
    image[:, 310:] = 0
    assert _of(lesion, image)["shadow"] == expected == 0
    image[219, 150:230] = 0
    assert _of(lesion, image)["shadow"] == -120 / 60


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(_box(7, 9, 1, 1), id="one pixel"),
        pytest.param(_box(0, 0, 1, 1), id="corner"),
        pytest.param(_box(SIZE - 1, SIZE - 1, 1, 1), id="last corner"),
        pytest.param(_box(50, 60, 1, 30), id="a line"),
        pytest.param(_box(50, 60, 30, 1), id="a standing line"),
        pytest.param(_box(0, 0, 80, 90), id="upper border"),
        pytest.param(_box(SIZE - 80, 100, 80, 90), id="lower border"),
        pytest.param(_box(0, 0, SIZE - 1, SIZE), id="all but one row"),
        pytest.param(_box(0, 0, SIZE, SIZE), id="everything"),
        pytest.param(np.eye(SIZE, dtype=bool), id="diagonal"),
    ],
)
@pytest.mark.parametrize("image", [NOISE, np.zeros_like(NOISE), np.full_like(NOISE, 255)], ids=["noise", "0", "255"])
def test_odd_lesions_give_numbers_in_range(mask: np.ndarray, image: np.ndarray) -> None:
    with np.errstate(all="raise"):
        found = _of(mask, image)
    unmeasured = {name for name, value in found.items() if np.isnan(value)}
    low, wide = mask[-1].any(), mask.all(1).any()
    assert unmeasured == ({"contrast"} if mask.all() else set()) | ({"shadow"} if low or wide else set())
    assert not np.isinf(list(found.values())).any()
    assert 0 < found["area"] <= 1
    assert 0 < found["compactness"] <= 1
    assert 0 < found["solidity"] <= 1
    assert 0 <= found["roughness"] < 1
    if image is not NOISE:
        assert {found["contrast"], found["shadow"]} - {0} == {found[name] for name in unmeasured}


def test_the_perimeter_of_a_bar_is_that_of_its_border() -> None:
    _, outline = largest_component(_box(50, 60, 10, 200))
    assert perimeter(outline) == pytest.approx(2 * (200 + 10), rel=0.025)


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        lesion_shape(np.zeros((4, 4), bool), NOISE)
