"""Near-duplicates that a hash does not see: mirrored, cropped, bordered and turned copies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks.duplicates import border, crop, turn
from trainables.data import links, proposals
from trainables.data.alignment import agreement
from trainables.data.duplicates import connected, near, perceptual_hash
from trainables.data.examine import Decoded
from trainables.data.known import near_in_a_view
from trainables.data.links import AGREE, near_duplicates
from trainables.data.phantom import phantom_image
from trainables.data.thumbnails import SIDE, PictureFile, small_picture, trimmed
from trainables.data.views import View, sampling

CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "6 % a side": crop(0.06, 0.06, 0.06, 0.06),
    "10 % left": crop(0, 0, 0.1, 0),
    "10 % right": crop(0, 0, 0, 0.1),
    "10 % top": crop(0.1, 0, 0, 0),
    "10 % bottom": crop(0, 0.1, 0, 0),
    "5 % black border": border,
    "turned by 5": turn(5),
    "turned by -5": turn(-5),
    "mirrored, 6 % a side": lambda image: crop(0.06, 0.06, 0.06, 0.06)(image)[:, ::-1].copy(),
}


def outcome(image: np.ndarray) -> Decoded:
    digest = hashlib.sha256(image.tobytes() + str(image.shape).encode()).hexdigest()
    return Decoded((), True, digest, digest, *image.shape, None, None, perceptual_hash(image), small_picture(image))


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [phantom_image(np.random.default_rng([9, i]), i % 3)[0] for i in range(24)]


def screen(image: np.ndarray) -> np.ndarray:
    """What a scanner shows: the image amid text, ticks and a wedge of greys, which are the same for all."""
    whole = np.zeros((300, 400), np.uint8)
    whole[38:263, 50:350] = cv2.resize(image, (300, 225), interpolation=cv2.INTER_AREA)
    whole[40:140, 10:20] = np.linspace(255, 0, 100, dtype=np.uint8)[:, None]
    for y in range(38, 264, 15):
        cv2.line(whole, (362, y), (374, y), 180, 1)
    for text, at in {"LOGIQ Breast ML6-15": (60, 14), "MI 1.2 TIs 0.3": (60, 32), "LT 3 OCLOCK": (60, 285)}.items():
        cv2.putText(whole, text, at, 0, 0.5, 255, 1)
    return whole


def test_views_are_crops_mirrors_and_turns() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).astype(np.float32)

    def seen(view: View) -> np.ndarray:
        return (sampling(view, SIDE, 16, 16) @ picture.ravel()).reshape(16, 16)

    cells = picture.reshape(16, 4, 16, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(seen(View()), cells, atol=0.01)
    np.testing.assert_allclose(seen(View(mirrored=True)), cells[:, ::-1], atol=0.01)
    assert not seen(View(left=-0.25, right=0.25))[:, :4].any()
    np.testing.assert_allclose(seen(View(left=-0.25, right=0.25))[:, 4:], cells[:, :12], atol=0.01)
    np.testing.assert_allclose(seen(View(angle=90)), np.rot90(cells), atol=0.01)


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_linked_to_its_original_and_to_nothing_else(images: list[np.ndarray], name: str) -> None:
    outcomes = [outcome(image) for image in [*images, *map(CHANGES[name], images)]]
    clusters = connected(near_duplicates(outcomes, 50), len(outcomes))
    assert clusters.tolist() == [*range(24), *range(24)]


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_known_by_the_hash_of_its_original(images: list[np.ndarray], name: str) -> None:
    copies = np.stack([small_picture(CHANGES[name](image)) for image in images])
    hashes = np.stack([perceptual_hash(image) for image in images])
    assert sum(near_in_a_view(copies[i : i + 1], hashes[i : i + 1], 50)[0] for i in range(0, 24, 2)) >= 11
    assert not near_in_a_view(copies[:12], hashes[12:], 50).any()
    assert near_in_a_view(copies[:0], hashes, 50).tolist() == []
    assert not near_in_a_view(copies, hashes[:0], 50).any()


def test_distance_0_aligns_nothing(images: list[np.ndarray]) -> None:
    outcomes = [outcome(image) for image in (images[0], images[0][:, ::-1].copy(), images[0])]
    assert near_duplicates(outcomes, 0).tolist() == [[0, 2]]


def test_images_without_texture_and_noise_are_not_linked() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (100, 120), np.uint8) for _ in range(20)]
    outcomes = [outcome(image) for image in [*noise, np.zeros((100, 120), np.uint8)]]
    assert near_duplicates(outcomes, 50).tolist() == []
    assert near_duplicates([], 50).shape == (0, 2)


def test_a_screen_around_strangers_does_not_align_them(images: list[np.ndarray]) -> None:
    pictures = [trimmed(small_picture(screen(image))) for image in images]
    start = View().matrix(SIDE)
    strangers = [agreement(pictures[i], pictures[j], start) for i in range(12) for j in range(i)]
    assert max(strangers) < AGREE - 0.1
    copies = [
        agreement(picture, trimmed(small_picture(screen(image[2:, 3:]))), start)
        for picture, image in zip(pictures, images, strict=True)
    ]
    assert min(copies) > AGREE


def test_copies_are_found_among_many_cells(images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "IN_CELL", 4)
    outcomes = [outcome(image) for image in [*images, *(image[:, ::-1].copy() for image in images)]]
    clusters = connected(near_duplicates(outcomes, 50), len(outcomes))
    assert clusters.tolist() == [*range(24), *range(24)]


def test_pairs_are_remembered_by_content_and_a_damaged_memory_is_rebuilt(
    images: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = [outcome(image) for image in [*images[:4], *map(CHANGES["mirrored"], images[:4])]]
    searched: list[int] = []
    find = links._find
    monkeypatch.setattr(links, "_find", lambda some, distance: searched.append(len(some)) or find(some, distance))

    def clusters(some: list[Decoded], distance: int = 50) -> list[int]:
        return connected(near_duplicates(some, distance, tmp_path), len(some)).tolist()

    assert clusters(outcomes) == [0, 1, 2, 3] * 2
    assert clusters(outcomes[::-1]) == [0, 1, 2, 3] * 2  # in another order
    assert clusters([*outcomes, *outcomes[:2]]) == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]  # some of them twice
    assert searched == [8]
    (file,) = tmp_path.glob("links-*/pairs.npy")
    file.write_bytes(file.read_bytes()[:-8])
    assert clusters(outcomes) == [0, 1, 2, 3] * 2
    assert searched == [8, 8]
    clusters(outcomes, 49)
    clusters(outcomes[:-1])
    assert searched == [8, 8, 8, 7]


def test_pictures_are_kept_and_damaged_ones_are_not_believed(tmp_path: Path) -> None:
    file, rng = tmp_path / "pictures.bin", np.random.default_rng(0)
    pictures = {f"{i}:1:1": rng.integers(0, 256, (SIDE, SIDE), np.uint8) for i in range(5)}
    kept = PictureFile(file)
    for key, picture in [*pictures.items()][:3]:
        kept.put(key, picture)
    assert kept.get("0:1:1") is None
    kept.save()
    other = PictureFile(file)
    for key, picture in [*pictures.items()][3:]:
        other.put(key, picture)
    other.save()
    for key, picture in pictures.items():
        np.testing.assert_array_equal(PictureFile(file).get(key), picture)
    assert [part.name for part in tmp_path.iterdir()] == ["pictures.bin"]
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content[:-1])
    damaged = PictureFile(file)
    assert [key for key in pictures if damaged.get(key) is None] == ["0:1:1", "4:1:1"]
    damaged.put("4:1:1", pictures["4:1:1"])
    damaged.save()
    assert [key for key in pictures if PictureFile(file).get(key) is None] == ["0:1:1"]


#: Pairs of BUSI whose hashes are too far apart, each looked at: one scene, or the next frame of it.
ALIGNED = {
    ("benign (140)", "benign (62)"),
    ("malignant (106)", "malignant (107)"),
    ("malignant (11)", "malignant (113)"),
    ("malignant (128)", "malignant (129)"),
    ("malignant (4)", "malignant (7)"),
    ("malignant (4)", "malignant (8)"),
    ("malignant (4)", "malignant (9)"),
    ("malignant (65)", "malignant (66)"),
    ("malignant (80)", "malignant (81)"),
    ("malignant (98)", "malignant (99)"),
    ("normal (43)", "normal (53)"),
}


class Busi(NamedTuple):
    """All images, what examining them finds, and their pairs."""

    names: list[str]
    images: list[np.ndarray]
    outcomes: list[Decoded]
    pairs: np.ndarray


@pytest.fixture(scope="module")
def busi(busi_256: Path) -> Busi:
    files = sorted(file for file in busi_256.rglob("*.png") if "_mask" not in file.name)
    images = [np.array(Image.open(file).convert("L")) for file in files]
    outcomes = [outcome(image) for image in images]
    return Busi([file.stem for file in files], images, outcomes, near_duplicates(outcomes, 50))


def test_only_pairs_of_busi_that_show_one_scene_are_linked(busi: Busi) -> None:
    hashes = np.stack([one.image_hash for one in busi.outcomes])
    far = [(i, j) for i, j in busi.pairs.tolist() if not near(hashes[[i]], hashes[[j]])[0]]
    assert {tuple(sorted((busi.names[i], busi.names[j]))) for i, j in far} == ALIGNED


def test_no_stranger_of_busi_is_known_by_a_view(busi: Busi) -> None:
    pictures, clusters = np.stack([one.picture for one in busi.outcomes]), connected(busi.pairs, len(busi.names))
    hashes = np.stack([one.image_hash for one in busi.outcomes])
    for start in range(0, len(clusters), 125):
        some = slice(start, start + 125)
        others = ~np.isin(clusters, clusters[some])
        assert not near_in_a_view(pictures[some], hashes[others], 50).any()


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_changed_copies_of_busi_are_linked_and_join_no_strangers(busi: Busi, name: str) -> None:
    n, clusters = len(busi.images), connected(busi.pairs, len(busi.images))
    chosen = np.random.default_rng(0).choice(n, 100, replace=False)
    changed = [CHANGES[name](busi.images[i]) for i in chosen]
    copies = [outcome(image) for image in changed]
    together = connected(near_duplicates([*busi.outcomes, *copies], 50), n + 100)
    assert (together[n:] == together[chosen]).sum() >= 95
    joined = [i for i in range(n) if len(np.unique(clusters[together[:n] == together[i]])) > 1]
    assert {busi.names[i] for i in joined} <= {"benign (125)", "benign (126)"}  # two frames of one scene
    known = [
        near_in_a_view(copy.picture[None], busi.outcomes[i].image_hash[None], 50)[0]
        or near(copy.image_hash[None], busi.outcomes[i].image_hash[None])[0]
        for copy, i in zip(copies, chosen, strict=True)
    ]
    assert sum(known) >= 95
