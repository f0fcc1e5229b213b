"""Shape and surroundings of a lesion, in the geometry of the original image: what `stacked` sees beside probabilities.

Outline: the largest 8-connected component, its holes filled (a hole is a slip of segmentation). Signs that readers use
are those of Stavros et al. (Radiology 1995;196:123) and of the BI-RADS ultrasound lexicon (ACR); measures are in common
use for breast ultrasound, see Horsch et al. (Med Phys 2002;29:157) and the 30 that Byra et al. compare
(arXiv:1706.01855).

- `has_lesion`, 0 or 1: whether the mask has a pixel.
- `area`, share of the image, 0 to 1: pixels of the lesion over pixels of the image. Size is no BI-RADS sign.
- `aspect`, ratio above 0: height over width of the upright bounding box; above 1 is taller than wide. Stavros 1995;
  BI-RADS "not parallel"; depth-to-width ratio of Horsch 2002.
- `compactness`, ratio, 0 to 1: 4 pi A / P^2, 1 for a disc. The isoperimetric quotient; BI-RADS shape and margin.
- `solidity`, ratio, 0 to 1: area over that of the convex hull. BI-RADS margin ("microlobulated", "spiculated"); the
  overlap ratio in Byra 2017.
- `roughness`, ratio, at least 0: SD over mean of the distance of outline from centroid, along the outline. Radial
  length after Kilday et al. (IEEE TMI 1993;12:664), who divide by the largest.
- `contrast`, in SD of the ring's grey levels: mean inside minus mean of a ring around it, 20 % of the equivalent
  diameter wide; below 0 is darker than its surroundings. Stavros 1995 "marked hypoechogenicity"; BI-RADS echo pattern.
- `shadow`, in SD of the ring's grey levels: mean of the box below the lesion, one lesion height deep, minus that of its
  neighbours left and right at that depth, each one lesion width wide; below 0 is shadow, above 0 enhancement. Stavros
  1995; BI-RADS posterior features; after the minimum side difference of Horsch 2002, here against both sides together.

The area is a share of the image because no pixel of a PNG says how many millimetres it is, and pixels change with the
scanner's export. A share still changes with depth setting and crop. SD is that of the tissue around the lesion, not of
the whole image, so that gain and dynamic range cancel and black borders do not count; at least one grey level.
"""

from __future__ import annotations

import cv2
import numpy as np

FEATURES = ("has_lesion", "area", "aspect", "compactness", "solidity", "roughness", "contrast", "shadow")
#: Width of the ring around a lesion, over the diameter of the disc of the same area.
RING = 0.2


def lesion_shape(mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    """`FEATURES` of the largest lesion of a mask, float64 [8]; never infinite.

    Without a lesion `has_lesion` is 0 and all else is NaN. NaN also stands for what has no pixels to be measured on:
    `contrast` of a lesion that fills the image, `shadow` of one at the lower border or with nothing beside it.

    Args:
        mask: bool [H,W]. image: grey levels, uint8 [H,W].

    Raises:
        ValueError: they differ in size.
    """
    if mask.shape != image.shape:
        raise ValueError(f"mask {mask.shape} and image {image.shape} differ in size; bring the mask to the image's")
    if not mask.any():
        return np.array([0.0] + [np.nan] * (len(FEATURES) - 1))
    lesion, outline = largest_component(mask)
    area = float(np.count_nonzero(lesion))
    left, top, width, height = cv2.boundingRect(outline)
    inside, free = lesion > 0, ~(mask | (lesion > 0))
    around = _ring(lesion, RING * np.sqrt(4 * area / np.pi)) & free
    unit = max(1.0, float(image[around].std())) if around.any() else np.nan
    return np.array(
        [
            1.0,
            area / mask.size,
            height / width,
            min(1.0, 4 * np.pi * area / perimeter(outline) ** 2),
            area / _hull_area(lesion.shape, outline),
            _roughness(lesion, outline),
            (_mean(image, inside) - _mean(image, around)) / unit,
            _side_difference(image, free, (left, top, width, height)) / unit,
        ]
    )


def largest_component(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest component of a mask, bool [H,W], that has one: uint8 0/1 [H,W], holes filled, and its outline.

    The outline is int32 [n,1,2], (x, y) of its border pixels in order. Of equally large ones the first from the top.
    """
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    part = (parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)
    outlines, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(part, outlines, -1, 1, cv2.FILLED)
    return part, outlines[0]


def perimeter(outline: np.ndarray) -> float:
    """Length in pixels of a component's border, from its outline as in `largest_component`.

    Counting steps as 1 and the root of 2 makes a disc 5 % too long. The estimator of Vossepoel and Smeulders (Computer
    Graphics and Image Processing 1982;20:347) weighs straight and diagonal steps and corners so that straight lines of
    all directions come out right on average. It measures along the centres of the border pixels; the border lies half a
    pixel further out, which makes a closed curve longer by pi.
    """
    steps = np.diff(outline[:, 0], axis=0, append=outline[:1, 0])
    diagonal = np.count_nonzero(np.abs(steps).sum(1) == 2)
    straight = np.count_nonzero(np.abs(steps).sum(1) == 1)
    corners = np.count_nonzero((steps != np.roll(steps, 1, axis=0)).any(1))
    return 0.980 * straight + 1.406 * diagonal - 0.091 * corners + np.pi


def _hull_area(size: tuple[int, ...], outline: np.ndarray) -> int:
    """Pixels of the convex hull, counted as the lesion's are: a convex lesion has a solidity of 1."""
    return int(np.count_nonzero(cv2.fillConvexPoly(np.zeros(size, np.uint8), cv2.convexHull(outline), 1)))


def _roughness(lesion: np.ndarray, outline: np.ndarray) -> float:
    if len(outline) == 1:
        return 0.0
    rows, columns = np.nonzero(lesion)
    radii = np.hypot(outline[:, 0, 0] - columns.mean(), outline[:, 0, 1] - rows.mean())
    # A point counts by the length of outline that it stands for: diagonal runs have fewer points than straight ones.
    steps = np.hypot(*np.diff(outline[:, 0], axis=0, append=outline[:1, 0]).T)
    weights = steps + np.roll(steps, 1)
    mean = np.average(radii, weights=weights)
    return float(np.sqrt(np.average(np.square(radii - mean), weights=weights)) / mean)


def _ring(lesion: np.ndarray, width: float) -> np.ndarray:
    """Pixels outside at most so far from the lesion, at least the next ones, bool [H,W]."""
    distance = cv2.distanceTransform(1 - lesion, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return (distance > 0) & (distance <= max(1.0, width))


def _side_difference(image: np.ndarray, free: np.ndarray, box: tuple[int, int, int, int]) -> float:
    """Mean grey level of the box below a lesion's box minus that of its neighbours left and right, pixels of any lesion
    left out; NaN where there is none below or none beside."""
    left, top, width, height = box
    rows = slice(top + height, top + 2 * height)
    below, beside = np.zeros_like(free), np.zeros_like(free)
    below[rows, left : left + width] = True
    beside[rows, max(0, left - width) : left + 2 * width] = True
    return _mean(image, below & free) - _mean(image, beside & ~below & free)


def _mean(image: np.ndarray, where: np.ndarray) -> float:
    return float(image[where].mean()) if where.any() else np.nan
