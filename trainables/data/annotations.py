"""Labels and masks of the images of a folder from polygons that an annotation tool exported."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from trainables.data.layouts import Layout
from trainables.data.listing import Listing
from trainables.data.manifest import UNKNOWN, DataError
from trainables.data.paths import fields
from trainables.data.polygons import PolygonError, coco_images, yolo_classes, yolo_names


class Annotated(NamedTuple):
    """Of an image: where its polygons are, "" for none, and the classes that they name."""

    mask: str
    classes: frozenset[int]

    @property
    def label(self) -> int:
        """The class, where it is one."""
        return next(iter(self.classes)) if len(self.classes) == 1 else UNKNOWN


def annotation_files(layout: Layout, listing: Listing) -> list[str]:
    """The files that a layout's polygons come from."""
    if not layout.annotations:
        return []
    return [path for path in listing.others if fields(layout.annotations, path) is not None]


def annotated(layout: Layout, listing: Listing, images: list[str]) -> dict[str, Annotated]:
    """What polygons say of images, by path.

    Raises:
        DataError: a file of them is damaged.
    """
    files = annotation_files(layout, listing)
    try:
        if layout.annotations.endswith(".json"):
            return _coco(listing.root, files, images)
        return _yolo(listing, yolo_names(listing.root / files[0]), images) if files else {}
    except (PolygonError, ValueError) as error:
        raise DataError(f"{listing.root}: {', '.join(files)}: {error}; export it again") from None


def _coco(root: Path, files: list[str], images: list[str]) -> dict[str, Annotated]:
    """Each JSON file speaks of the images beside and below it, by name."""
    found = {}
    for file in files:
        said = coco_images(root / file)
        folder = PurePosixPath(file).parent
        for path in images:
            name = PurePosixPath(path).name
            if name in said and PurePosixPath(path).is_relative_to(folder):
                mask, classes = said[name]
                found[path] = Annotated(mask.relative_to(root).as_posix() if classes else "", frozenset(classes))
    return found


def _yolo(listing: Listing, names: list[int], images: list[str]) -> dict[str, Annotated]:
    """An image in a folder `images` has its polygons in the folder `labels` beside it."""
    there, found = set(listing.others), {}
    for path in images:
        parts = ["labels" if part.lower() == "images" else part for part in PurePosixPath(path).parts]
        mask = PurePosixPath(*parts).with_suffix(".txt").as_posix()
        if mask in there:
            classes = yolo_classes(listing.root / mask, names)
            found[path] = Annotated(mask if classes else "", frozenset(classes))
    return found
