"""Synthetic breast ultrasound: B-mode-like images with known lesions, written as a folder in the BUSI layout.

The image model is the linear one of Field II (Jensen, Med. Biol. Eng. Comput. 34 suppl. 1, 1996, 351-353): random point
scatterers, weighted by the tissue's echogenicity, convolved with a point-spread function; here with many scatterers a
cell and a separable Gaussian, at baseband, so that the envelope is fully developed speckle (Wagner et al., IEEE Trans.
Sonics Ultrason. 30(3), 1983, 156-163). Losses are summed along each beam, which makes shadows and enhancement follow
from attenuation. Lesions carry the signs of Stavros et al. (Radiology 196, 1995, 123-134) and BI-RADS: benign ones are
smooth, wider than tall, with a thin capsule and enhancement behind; malignant ones spiculated, taller than wide, with a
halo and a shadow. Fat lobules, ligament shadows and the poorly compensated depth are dark too, and not lesions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from trainables import unfinished
from trainables.data.manifest import CLASSES, NORMAL, DataError

#: BUSI's shares of normal, benign and malignant images.
SHARES = (0.17, 0.56, 0.27)
BENIGN, MALIGNANT = CLASSES.index("benign"), CLASSES.index("malignant")
NOTE = "PHANTOM.txt"

# Skin, subcutaneous fat, gland, pectoral muscle: echogenicity in dB, and loss in dB per image width that the scanner's
# time gain compensation leaves over.
ECHO = np.array([-3.0, -17.0, -7.0, -15.0])
LOSS = np.array([0.0, 2.0, 6.0, 14.0])


def is_phantom(root: Path) -> bool:
    """Whether a data folder, or that of a table, was written by `write_phantom`."""
    return ((root if root.is_dir() else root.parent) / NOTE).is_file()


def write_phantom(folder: Path, *, images: int = 160, seed: int = 0) -> Path:
    """Write `images` phantom images with masks as PNG files in the BUSI layout, and return the folder.

    A folder that holds this very phantom is used as it is. Raises DataError where it holds anything else.
    """
    note = f"Synthetic breast ultrasound, not patient data.\ngenerator 1, seed {seed}, images {images}\n"
    if _holds(folder, note, images):
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            f"{folder}: holds something else than {images} phantom images of seed {seed}; "
            "delete it or name another folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Under another name until complete, so that what a killed process leaves behind is never read as data.
    with unfinished.beside(folder) as part:
        benign, malignant = round(SHARES[BENIGN] * images), round(SHARES[MALIGNANT] * images)
        for label, count in enumerate((images - benign - malignant, benign, malignant)):
            (part / CLASSES[label]).mkdir(parents=True)
            for i in range(1, count + 1):
                image, mask = phantom_image(np.random.default_rng([seed, label, i]), label)
                stem = part / CLASSES[label] / f"{CLASSES[label]} ({i})"
                Image.fromarray(image).save(f"{stem}.png")
                Image.fromarray(mask).save(f"{stem}_mask.png")
        (part / NOTE).write_text(note)
        try:
            part.replace(folder)
        except OSError:
            # Another process may have written the same phantom meanwhile.
            if not _holds(folder, note, images):
                raise
    return folder


def _holds(folder: Path, note: str, images: int) -> bool:
    return (
        is_phantom(folder)
        and (folder / NOTE).read_text(errors="replace") == note
        and len(list(folder.glob("*/*.png"))) == 2 * images
    )


def phantom_image(rng: np.random.Generator, label: int) -> tuple[np.ndarray, np.ndarray]:
    """One image of a class: B-mode uint8 [H,W], 160 to 256 px wide, and its lesion mask bool [H,W]."""
    width = int(rng.integers(160, 257))
    height = int(width * rng.uniform(0.7, 1.0))
    y, x = np.mgrid[:height, :width] / width  # in image widths, as are all lengths below
    echo, loss, boundaries = _tissue(rng, x, y)
    for _ in range(rng.integers(2, 5) + 2 * (label == NORMAL)):
        _lobule(rng, x, y, echo, boundaries)
    for _ in range(rng.integers(0, 3) + (label == NORMAL)):
        _ligament(rng, x, y, echo, loss, boundaries)
    mask = np.zeros((height, width), dtype=bool)
    if label != NORMAL:
        mask = _lesion(rng, label, x, y, echo, loss)
    return _scan(rng, echo, loss), mask


def _tissue(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four layers with wavy boundaries: echogenicity in dB [H,W], loss in dB a width [H,W], the boundaries [3,W]."""
    h, w = x.shape
    means = np.array([rng.uniform(0.03, 0.06), rng.uniform(0.18, 0.32), rng.uniform(0.62, 0.8)]) * h / w
    waves = np.stack([_noise(rng, (w,), sigma * w) for sigma in (0.3, 0.12, 0.2)])
    boundaries = means[:, None] + np.array([0.003, 0.018, 0.018])[:, None] * waves
    layer = (y[None] > boundaries[:, None, :]).sum(axis=0)
    blobs, streaks = _noise(rng, (h, w), 0.02 * w), _noise(rng, (h, w), (0.008 * w, 0.06 * w))
    texture = np.choose(layer, [0 * blobs, 2 * blobs + 2 * streaks, 3 * blobs + 3 * streaks, 1 * blobs + 5 * streaks])
    echo = (ECHO + rng.normal(0, 1.5, 4))[layer] + texture
    for boundary in boundaries:
        patchy = np.clip(5 + 5 * _noise(rng, (w,), 0.05 * w), 0, 14)
        echo += patchy * np.exp(-(((y - boundary) / 0.006) ** 2))
    return echo, LOSS[layer] + rng.uniform(2, 32), boundaries


def _lobule(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, echo: np.ndarray, boundaries: np.ndarray) -> None:
    """A flat fat lobule between bright septa, in the fat or among the gland: dark, but no deeper than fat is."""
    reach = rng.uniform(0.06, 0.17)
    cx, cy = rng.uniform(0, 1), rng.uniform(boundaries[0].mean() + 0.04, boundaries[2].mean())
    distance = _distance(x, y, cx, cy, reach, reach * rng.uniform(0.18, 0.4), rng.uniform(-0.3, 0.3))
    inside = _edge(distance, 0.1)
    echo += inside * (ECHO[1] + rng.uniform(-5, 0) - echo) * 0.9
    echo += rng.uniform(2, 7) * np.exp(-(((distance - 1.1) / 0.12) ** 2))


def _ligament(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, echo: np.ndarray, loss: np.ndarray, boundaries: np.ndarray
) -> None:
    """A Cooper's ligament: an oblique bright strand whose steep flank casts a shadow down to the bottom."""
    cx, cy, slope = rng.uniform(0.05, 0.95), rng.uniform(boundaries[0].mean(), boundaries[1].mean()), rng.uniform(-1, 1)
    half = rng.uniform(0.02, 0.06)
    strand = np.exp(-((((y - cy) - slope * (x - cx)) / 0.008) ** 2)) * _edge(np.abs(x - cx) / half, 0.3)
    echo += rng.uniform(5, 10) * strand
    loss += rng.uniform(7, 16) * _edge(np.abs(x - cx) / half, 0.5) * np.exp(-(((y - cy) / 0.02) ** 2)) / 0.035


def _lesion(
    rng: np.random.Generator, label: int, x: np.ndarray, y: np.ndarray, echo: np.ndarray, loss: np.ndarray
) -> np.ndarray:
    """Draw one lesion into the tissue and return its mask, bool [H,W]."""
    h, w = x.shape
    size = rng.uniform(0.09, 0.2)  # mean radius
    aspect = rng.uniform(0.5, 0.75) if label == BENIGN else rng.uniform(1.1, 1.5)
    rx, ry = size / np.sqrt(aspect), size * np.sqrt(aspect)
    scale = min(1.0, 0.3 * h / w / ry, 0.4 / rx)
    rx, ry = rx * scale, ry * scale
    cx = rng.uniform(rx + 0.05, 0.95 - rx)
    cy = rng.uniform(0.1 + 1.1 * ry, max(0.1 + 1.1 * ry, 0.8 * h / w - ry))
    angle = np.arctan2((y - cy) / ry, (x - cx) / rx)
    outline = np.ones_like(x)
    for k in (2, 3, 4):
        outline += rng.normal(0, 0.04 if label == BENIGN else 0.06) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    if label == MALIGNANT:
        for direction in rng.uniform(-np.pi, np.pi, rng.integers(7, 13)):
            turn = np.angle(np.exp(1j * (angle - direction)))
            outline += rng.uniform(0.12, 0.4) * np.exp(-((turn / rng.uniform(0.07, 0.16)) ** 2))
    distance = _distance(x, y, cx, cy, rx, ry, rng.uniform(-0.2, 0.2) if label == BENIGN else 0.0) / outline
    inside = _edge(distance, 0.05 if label == BENIGN else 0.08)
    level = rng.uniform(-33, -25) + 1.5 * _noise(rng, (h, w), 0.02 * w)
    if label == BENIGN:
        echo += rng.uniform(3, 8) * np.exp(-(((distance - 1.05) / 0.05) ** 2))
        through = -rng.uniform(5, 11)
    else:
        echo += rng.uniform(2, 6) * np.exp(-(((distance - 1.1) / 0.2) ** 2))
        through = rng.uniform(10, 20)
    echo += inside * (level - echo)
    loss += inside * through / (2 * ry)
    return np.asarray(distance < 1)


def _scan(rng: np.random.Generator, echo: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """What the scanner shows: scatterers through the point-spread function, envelope, log compression, uint8 [H,W]."""
    h, w = echo.shape
    lost = gaussian_filter1d(np.cumsum(loss, axis=0) / w, 0.008 * w, axis=1)
    field = (rng.standard_normal((h, w)) + 1j * rng.standard_normal((h, w))) * 10 ** ((echo - lost) / 20)
    field = gaussian_filter1d(field, rng.uniform(0.6, 1.0), axis=0)
    # The beam is narrow at its focus and widens away from it.
    narrow, wide = (gaussian_filter1d(field, sigma, axis=1) * np.sqrt(sigma) for sigma in (0.9, 2.2))
    away = np.clip(np.abs(np.arange(h) / h - rng.uniform(0.2, 0.6)) * 1.5, 0, 1)[:, None]
    level = 20 * np.log10(np.abs((1 - away) * narrow + away * wide) + 1e-6)
    span, gain = rng.uniform(50, 60), rng.uniform(-8, 4)
    grey = 1 + (level - np.percentile(level, 99.5) + gain) / span
    return np.asarray(np.clip(255 * grey, 0, 255), np.uint8)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float | tuple[float, float]) -> np.ndarray:
    """Gaussian noise smoothed over `sigma` px, of mean 0 and SD 1."""
    smooth = gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return np.asarray((smooth - smooth.mean()) / smooth.std())


def _distance(x: np.ndarray, y: np.ndarray, cx: float, cy: float, rx: float, ry: float, tilt: float) -> np.ndarray:
    """Distance from the centre of a tilted ellipse in units of its radius: 1 on its outline."""
    along, across = (x - cx) * np.cos(tilt) + (y - cy) * np.sin(tilt), (y - cy) * np.cos(tilt) - (x - cx) * np.sin(tilt)
    return np.asarray(np.hypot(along / rx, across / ry))


def _edge(distance: np.ndarray, softness: float) -> np.ndarray:
    """1 where distance is below 1, 0 above, with a soft edge."""
    return 1 / (1 + np.exp(np.clip((distance - 1) / (softness / 3), -50, 50)))
