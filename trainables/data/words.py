"""What data sets call things, each meaning once: classes, sides of a split, folders, columns; in lower case."""

from __future__ import annotations

from collections.abc import Iterable

from trainables.data.manifest import CLASSES, UNKNOWN

#: Words for a class. 0 and 1 mean one only where a layout says so.
CLASS_WORDS = {
    "normal": ("normal", "normals", "no lesion", "healthy"),
    "benign": ("benign", "benigns", "benigno"),
    "malignant": ("malignant", "malignants", "malign", "maligno", "cancer", "cancerous"),
}
#: Words for a side of a given split.
SIDE_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing"),
}
IMAGE_FOLDERS = ("images", "image", "imgs", "img")
MASK_FOLDERS = ("masks", "mask", "gt", "ground_truth", "labels", "annotations", "segmentations")
IMAGE_COLUMNS = ("image", "file", "filename", "name", "image_filename", "image_name", "id")
LABEL_COLUMNS = ("label", "class", "pathology", "diagnosis", "classification", "type", "category")
PATIENT_COLUMNS = ("patient", "group", "patient_id", "patientid", "case", "caseid", "case_id", "subject", "subject_id")
SPACING_COLUMNS = ("pixel_mm", "spacing_mm")
#: Columns of sizes of pixels in a unit that only a layout knows.
UNITLESS_COLUMNS = ("pixel_size", "pixel_spacing", "spacing")
#: What a cell may say where nobody knows the patient.
NOBODY = ("", "na", "n/a", "nan", "none", "null", "unknown")

ALL_SIDES = tuple(word for side in SIDE_WORDS.values() for word in side)

_CLASSES = {word: CLASSES.index(name) for name, words in CLASS_WORDS.items() for word in words}
_SIDES = {word: side for side, words in SIDE_WORDS.items() for word in words}


def written(name: str) -> str:
    r"""A name as UTF-8 can hold it: of a file's name, a byte that is none stands as `\udcXX`, XX in hexadecimal."""
    return name.encode("utf-8", "backslashreplace").decode()


def class_of(word: str, own: Iterable[tuple[str, str]] = ()) -> int:
    """Index into `CLASSES` of a word, or UNKNOWN; `own` are words of a layout, and the word for what each means."""
    said = word.strip().lower()
    meant = {other.lower(): name for other, name in own}
    return _CLASSES.get(meant.get(said, said).lower(), UNKNOWN)


def side_of(word: str) -> str:
    """Side of the split of a word; "" for none."""
    return _SIDES.get(word.strip().lower(), "")


def spacing_of(word: str, unit_mm: float = 1.0) -> float | None:
    """Millimetres a pixel of a cell; 0 where it says that nobody knows, None where it is no size."""
    if word.strip().lower() in NOBODY:
        return 0.0
    try:
        found = float(word.replace(",", ".")) * unit_mm
    except ValueError:
        return None
    return round(found, 6) if 0 < found < float("inf") else None


def patient_of(word: str) -> str:
    """A patient's identifier; "" for a word that says that nobody knows."""
    return "" if word.strip().lower() in NOBODY else word.strip()
