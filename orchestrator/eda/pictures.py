"""Images of a dataset as tiles with their masks outlined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from orchestrator.eda.survey import ClusterMember, Survey, class_name, disagrees
from orchestrator.rendering.charts import picture
from orchestrator.rendering.document import Picture
from orchestrator.scoring.packed_masks import read

#: Samples of each class.
SAMPLES = 6
#: Boxes that a sample and a near-duplicate fill, width and height in pixels.
SAMPLE_BOX, TWIN_BOX = (340, 420), (280, 120)
#: Images that are shown of clusters that agree on their class, of those that do not, and of one cluster: so that the
#: page stays below 6 MB.
MOST_AGREEING, MOST_DISAGREEING, MOST_OF_ONE = 300, 100, 8
#: RGB of a mask's outline: yellow-green stands out of grey tissue in print, too.
OUTLINE = (190, 242, 60)


@dataclass(frozen=True)
class Cluster:
    """A near-duplicate cluster on the page: its pictures, and the names of its images that are not shown."""

    title: str
    pictures: tuple[Picture, ...]
    more: tuple[str, ...]


def samples(survey: Survey) -> list[tuple[str, str, list[Picture]]]:
    """For each class its name, a caption and at most SAMPLES tiles, of train and validation images.

    From the smallest to the largest lesion in even steps, or from the darkest to the brightest image where there is
    none; one image a group.
    """
    data = survey.data
    found = []
    for label in survey.classes:
        inside = np.flatnonzero(survey.seen & (data.labels == label))
        inside = inside[np.unique(data.groups[inside], return_index=True)[1]]
        if not len(inside):
            continue
        lesions = bool((survey.measured["lesion_pixels"][inside] > 0).any())
        key = survey.measured["lesion_pixels"] / survey.measured["pixels"] if lesions else survey.measured["brightness"]
        ordered = inside[np.argsort(np.nan_to_num(key[inside]), kind="stable")]
        rows = ordered[np.unique(np.linspace(0, len(ordered) - 1, SAMPLES).round().astype(int))]
        order = "from the smallest to the largest lesion" if lesions else "from the darkest to the brightest"
        n = int((survey.seen & (data.labels == label)).sum())
        caption = f"{len(rows)} of {n:,} images, {order}; train and validation, one of a group."
        tiles = [_tile(survey, row) for row in rows.tolist()]
        found.append((class_name(label), caption, tiles))
    return found


def clusters(survey: Survey, disagreeing: bool) -> tuple[list[Cluster], list[tuple[str, ...]]]:
    """Near-duplicate clusters side by side, and the names of the images of those for which there is no room.

    Args:
        disagreeing: those that disagree on their class, or those that agree.
    """
    wanted = [members for members in survey.clusters if disagrees(members) == disagreeing]
    room, placed = MOST_DISAGREEING if disagreeing else MOST_AGREEING, []
    for members in wanted:
        if (room := room - min(len(members), MOST_OF_ONE)) < 0:
            break
        placed.append(members)
    with ThreadPoolExecutor(2) as pool:
        tiles = pool.map(lambda member: _member(survey, member), _first(placed))
        found = []
        for number, members in enumerate(placed, 1):
            pictures = tuple(next(tiles) for _ in members[:MOST_OF_ONE])
            more = tuple(_name(survey, member) for member in members[MOST_OF_ONE:])
            found.append(Cluster(f"{number}: {len(members)} images, {_where(members)}", pictures, more))
    return found, [tuple(_name(survey, member) for member in members) for members in wanted[len(placed) :]]


def _first(placed: Sequence[Sequence[ClusterMember]]) -> Iterator[ClusterMember]:
    return (member for members in placed for member in members[:MOST_OF_ONE])


def _where(members: Sequence[ClusterMember]) -> str:
    return " and ".join(sorted({member.part for member in members}))


def _name(survey: Survey, member: ClusterMember) -> str:
    return survey.manifest.shown(member.record.image)


def _member(survey: Survey, member: ClusterMember) -> Picture:
    record = member.record
    pixels = outlined(str(record.image), tuple(map(str, record.masks)), TWIN_BOX)
    name = _name(survey, member)
    return picture(pixels, f"{class_name(record.label)}: {name}", (name, class_name(record.label)))


def _tile(survey: Survey, row: int) -> Picture:
    data = survey.data
    pixels = outlined(data.files[row], data.mask_files[row], SAMPLE_BOX)
    name = survey.manifest.shown(Path(data.files[row]))
    height, wide = data.sizes[row].tolist()
    lesion, masks = survey.measured["lesion_pixels"][row], survey.measured["masks"][row]
    size = f", lesion {100 * lesion / survey.measured['pixels'][row]:.1f} %" if lesion > 0 else ""
    several = f", {int(masks)} masks" if masks > 1 else ""
    return picture(pixels, f"{class_name(int(data.labels[row]))}: {name}", (name, f"{wide} x {height}{size}{several}"))


def outlined(image_file: str, mask_files: Sequence[str], box: tuple[int, int]) -> np.ndarray:
    """An image with its masks outlined, uint8 RGB, scaled to fill a box of so many pixels in width or in height.

    Raises:
        UserError: a file cannot be read.
    """
    image, masks = read(image_file, mask_files)
    scale = min(box[0] / image.shape[1], box[1] / image.shape[0])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    tile = cv2.cvtColor(cv2.resize(image, size, interpolation=way), cv2.COLOR_GRAY2RGB)
    for mask in masks:
        scaled = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(scaled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, outlines, -1, OUTLINE, 1 + (min(size) > 200), cv2.LINE_AA)
    return tile
