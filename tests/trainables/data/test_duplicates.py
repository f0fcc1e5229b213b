from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.data.duplicates import canonical, cluster, conflicts, oversized, perceptual_hash
from trainables.data.manifest import CLASSES

#: The near-duplicates among the original files, found by eye; the last pair disagrees on its class.
PAIRS = {
    ("benign (15)", "benign (332)"),
    ("benign (206)", "benign (303)"),
    ("benign (309)", "benign (422)"),
    ("benign (437)", "normal (34)"),
}


def shrink(image: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(image)
    scale = 256 / max(picture.size)
    return np.array(picture.resize((round(picture.width * scale), round(picture.height * scale))))


def jpeg(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=80)
    return np.array(Image.open(buffer))


def crop(top: float, bottom: float, left: float, right: float) -> Callable[[np.ndarray], np.ndarray]:
    def cut(image: np.ndarray) -> np.ndarray:
        h, w = image.shape
        return image[round(h * top) : h - round(h * bottom), round(w * left) : w - round(w * right)]

    return cut


CHANGES = {
    "none": lambda image: image,
    "shrunk": shrink,
    "jpeg": jpeg,
    "crop all sides": crop(0.03, 0.03, 0.03, 0.03),
    "crop half on each side": crop(0.015, 0.015, 0.015, 0.015),
    "crop left": crop(0, 0, 0.03, 0),
    "crop right": crop(0, 0, 0, 0.03),
    "crop top left": crop(0.03, 0, 0.03, 0),
    "crop top right": crop(0.03, 0, 0, 0.03),
    "crop, shrunk, jpeg": lambda image: jpeg(shrink(crop(0.03, 0.03, 0.03, 0.03)(image))),
}


@pytest.fixture(scope="module")
def originals(busi_original: Path) -> dict[str, np.ndarray]:
    files = sorted(file for file in busi_original.rglob("*.png") if "_mask" not in file.name)
    return {file.stem: np.array(Image.open(file).convert("L")) for file in files}


@pytest.fixture(scope="module")
def original_hashes(originals: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([perceptual_hash(image) for image in originals.values()])


def joined(clusters: np.ndarray, names: list[str]) -> set[tuple[str, str]]:
    return {(a, b) for i, a in enumerate(names) for j, b in enumerate(names) if i < j and clusters[i] == clusters[j]}


@pytest.mark.parametrize("name", CHANGES)
def test_exactly_the_duplicate_pairs_are_found_where_all_images_are_changed(originals, name):
    hashes = np.stack([perceptual_hash(CHANGES[name](image)) for image in originals.values()])
    assert joined(cluster(hashes), list(originals)) == PAIRS


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("side", [0, 1])
def test_exactly_the_duplicate_pairs_are_found_where_one_of_each_is_changed(originals, original_hashes, name, side):
    changed = {pair[side] for pair in PAIRS}
    hashes = original_hashes.copy()
    for row, (key, image) in enumerate(originals.items()):
        if key in changed:
            hashes[row] = perceptual_hash(CHANGES[name](image))
    assert joined(cluster(hashes), list(originals)) == PAIRS


def test_no_cluster_of_busi_is_suspiciously_large(busi_256):
    files = sorted(file for file in busi_256.rglob("*.png") if "_mask" not in file.name)
    clusters = cluster(np.stack([perceptual_hash(np.array(Image.open(file).convert("L"))) for file in files]))
    sizes = np.bincount(clusters)
    assert sizes[sizes > 1].sum() == 260
    assert oversized(clusters).tolist() == []


def bits_apart(hashes: np.ndarray, i: int, j: int) -> int:
    """Least distance between the whole of one image and a window of the other."""
    a, b = hashes[[i, j]].reshape(2, 4, 32)
    return min(int(np.bitwise_count(x ^ y).sum()) for x, y in [*((a[0], w) for w in b), *((b[0], w) for w in a)])


def test_clusters_are_what_links_within_the_distance_connect():
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (40, 128), dtype=np.uint8)
    hashes = base[rng.integers(0, 40, 150)]
    flipped = rng.random((150, 1024)) < rng.uniform(0, 0.12, (150, 1))
    hashes = hashes ^ np.packbits(flipped, axis=1)
    expected = np.arange(150)
    linked = [(i, j) for i in range(150) for j in range(i) if bits_apart(hashes, i, j) <= 30]
    for _ in range(150):
        for i, j in linked:
            expected[[i, j]] = min(expected[i], expected[j])
    clusters = cluster(hashes, distance=30)
    assert 40 < len(np.unique(expected)) < 150
    assert clusters.tolist() == canonical(expected).tolist()
    assert clusters.dtype == np.int64


def test_canonical_numbers_groups_by_their_first_rows():
    assert canonical(np.array([7, 3, 7, -2, 3])).tolist() == [0, 1, 0, 2, 1]


def test_clustering_no_images_and_one_image():
    assert cluster(np.zeros((0, 128), np.uint8)).tolist() == []
    assert cluster(np.zeros((1, 128), np.uint8)).tolist() == [0]


def test_conflicts_are_all_rows_of_a_cluster_with_two_known_classes():
    clusters = np.array([0, 0, 1, 1, 2, 2, 3, 0])
    labels = np.array([1, 2, 1, 1, -1, 0, 2, 1])
    assert conflicts(clusters, labels).tolist() == [True, True, False, False, False, False, False, True]


def test_the_mislabelled_pair_of_busi_conflicts(originals, original_hashes):
    labels = np.array([CLASSES.index(name.split()[0]) for name in originals])
    rows = conflicts(cluster(original_hashes), labels)
    assert {name for name, row in zip(originals, rows, strict=True) if row} == {"benign (437)", "normal (34)"}


def test_oversized_clusters_are_above_two_per_cent_and_above_five():
    assert oversized(np.repeat(np.arange(20), 5)).tolist() == []
    assert oversized(np.repeat([0, 1, 2], [6, 10, 4])).tolist() == [10, 6]
    assert oversized(np.array([0] * 8 + [1] * 9 + list(range(2, 400)))).tolist() == [9]
