"""Near-duplicates: how many changed copies are linked, which pairs are linked beyond the hash, and how long it takes.

`python -m benchmarks.duplicates [--data DIR] [--sizes 1000 4000 10000]`. Without a folder the copies are of phantom
images. 100 images are changed and put beside all of them; a copy counts where it is in its original's cluster. `by
hash` is what hashes alone link, `evaluate` what a model's hash of the original tells of the copy. The seconds are of
images of blurred noise that darkens with depth, every tenth a mirrored crop of another; decoding is not in them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.report import machine, table
from trainables.data import duplicates, read_manifest, write_phantom
from trainables.data.duplicates import cluster, connected, near, perceptual_hash
from trainables.data.examine import Decoded
from trainables.data.known import near_in_a_view
from trainables.data.links import near_duplicates
from trainables.data.manifest import DEFAULT_DISTANCE
from trainables.data.pixels import read_image
from trainables.data.thumbnails import small_picture

Change = Callable[[np.ndarray], np.ndarray]
Row = dict[str, str | float]


def crop(top: float, bottom: float, left: float, right: float) -> Change:
    """Leave out a share of each side."""

    def cut(image: np.ndarray) -> np.ndarray:
        h, w = image.shape
        return image[round(h * top) : h - round(h * bottom), round(w * left) : w - round(w * right)]

    return cut


def border(image: np.ndarray) -> np.ndarray:
    """5 % of black around an image."""
    h, w = image.shape
    return np.pad(image, ((round(h * 0.05),) * 2, (round(w * 0.05),) * 2))


def turn(degrees: float) -> Change:
    """Turned, black corners."""
    return lambda image: np.array(Image.fromarray(image).rotate(degrees, Image.Resampling.BILINEAR))


CHANGES: dict[str, Change] = {
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "cropped 6 % a side": crop(0.06, 0.06, 0.06, 0.06),
    "cropped 10 % at the left": crop(0, 0, 0.1, 0),
    "cropped 10 % at the right": crop(0, 0, 0, 0.1),
    "cropped 10 % at the top": crop(0.1, 0, 0, 0),
    "cropped 10 % at the bottom": crop(0, 0.1, 0, 0),
    "5 % black border": border,
    "turned by 5 degrees": turn(5),
}


def outcome(image: np.ndarray, name: str) -> Decoded:
    """What examining an image would find."""
    h, w = image.shape
    return Decoded((), True, name, name, h, w, None, None, perceptual_hash(image), small_picture(image))


def copies(originals: list[np.ndarray], outcomes: list[Decoded]) -> list[Row]:
    """A row a change: its name, and how many of 100 copies are found by hash, by near_duplicates, by evaluate."""
    rows: list[Row] = []
    chosen = np.random.default_rng(0).choice(len(originals), min(100, len(originals)), replace=False)
    for name, change in CHANGES.items():
        changed = [outcome(change(originals[i]), f"copy {i}") for i in chosen]
        both, n = [*outcomes, *changed], len(outcomes)
        hashes = np.stack([one.image_hash for one in both])
        counts = [
            int((clusters[n:] == clusters[chosen]).sum())
            for clusters in (cluster(hashes), connected(near_duplicates(both, DEFAULT_DISTANCE), len(both)))
        ]
        known = [
            near_in_a_view(copy.picture[None], hashes[[i]], DEFAULT_DISTANCE)[0]
            or near(copy.image_hash[None], hashes[[i]])[0]
            for copy, i in zip(changed, chosen, strict=True)
        ]
        rows.append({"change": name, "by hash": counts[0], "linked": counts[1], "evaluate": sum(map(int, known))})
    return rows


def beyond_the_hash(names: list[str], outcomes: list[Decoded]) -> list[str]:
    """Pairs of images that pictures link and hashes do not."""
    hashes = np.stack([one.image_hash for one in outcomes])
    pairs = near_duplicates(outcomes, DEFAULT_DISTANCE).tolist()
    return [f"{names[i]} - {names[j]}" for i, j in pairs if not near(hashes[[i]], hashes[[j]])[0]]


def synthetic(row: int) -> Decoded:
    """An image of 96 x 112 px of its own, or where row ends in 9 a mirrored crop of the one before."""
    rng = np.random.default_rng(row - (row % 10 == 9))
    depth = np.linspace(150, 20, 96)[:, None]
    noise = [
        cv2.GaussianBlur(rng.standard_normal((96, 112)), (0, 0), s * 2, sigmaY=s) * s * w
        for s, w in ((1, 60), (4, 200))
    ]
    image = (depth + noise[0] + noise[1]).clip(0, 255).astype(np.uint8)
    return outcome(crop(0.06, 0.06, 0.06, 0.06)(image)[:, ::-1] if row % 10 == 9 else image, f"{row:09d}")


def timed(sizes: list[int]) -> list[Row]:
    """A row a number of images: seconds of hashes alone, of all, of a second launch, and the copies that are linked."""
    rows: list[Row] = []
    for size in sizes:
        with ThreadPoolExecutor() as pool, tempfile.TemporaryDirectory() as folder:
            outcomes = list(pool.map(synthetic, range(size)))
            hashes = np.stack([one.image_hash for one in outcomes])
            start = time.perf_counter()
            duplicates.whole_in_window(hashes, hashes, DEFAULT_DISTANCE, pool)
            by_hash = time.perf_counter() - start
            start = time.perf_counter()
            pairs = near_duplicates(outcomes, DEFAULT_DISTANCE, Path(folder))
            first = time.perf_counter() - start
            start = time.perf_counter()
            near_duplicates(outcomes, DEFAULT_DISTANCE, Path(folder))
            again = time.perf_counter() - start
        linked = connected(pairs, size)
        found = float((linked[9::10] == linked[8::10]).mean())
        joined = size - size // 10 - len(np.unique(linked[np.arange(size) % 10 != 9]))
        rows.append(
            {
                "images": size,
                "hashes alone, s": by_hash,
                "all, s": first,
                "second launch, s": again,
                "share of copies linked": found,
                "strangers joined": joined,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 4000, 10000])
    args = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        files = [record.image for record in read_manifest(args.data or write_phantom(Path(folder) / "phantom")).records]
        images = [read_image(file) for file in files]
    outcomes = [outcome(image, str(file)) for image, file in zip(images, files, strict=True)]
    print(f"\nOf 100 changed copies among {len(images)} images:\n")
    print(table(copies(images, outcomes)))
    print(
        "\nLinked beyond the hash: " + ("; ".join(beyond_the_hash([file.stem for file in files], outcomes)) or "none")
    )
    print()
    print(table(timed(args.sizes)))


if __name__ == "__main__":
    main()
