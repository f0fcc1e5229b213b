"""What every section on results is drawn from: a model, and what it said of images, beside the truth."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.ensemble.tested import Tested
from trainables.data import Manifest, Prepared


@dataclass(frozen=True)
class Shown:
    """An image's files, and what is known of it beside its class.

    Attributes:
        name: its path below the folder of the data.
        image: its file. masks: those whose union is the true mask.
        columns: sub-groups that errors are looked at by: `source` where there are several, and those of a table.
    """

    name: str
    image: Path
    masks: tuple[Path, ...]
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """A model and what it said of N images.

    Attributes:
        task: seg, cls or multi. title: by which a page tells it from the others, such as "multi-task".
        classes: names of its K classes in the order of its probabilities; empty for seg.
        tested: its stored predictions.
        figures: all metrics with intervals, as `orchestrator.ensemble.evaluation.final_scores` gives them.
        images: the images' files by image digest; those that cannot be read any more are missing.
    """

    task: str
    title: str
    classes: tuple[str, ...]
    tested: Tested
    figures: Mapping[str, Any]
    images: Mapping[str, Shown]


def shown_images(data: Prepared, manifest: Manifest) -> dict[str, Shown]:
    """The files of all images by image digest."""
    folder = manifest.root if manifest.root.is_dir() else manifest.root.parent
    found = {}
    several = len(set(data.sources)) > 1
    for row, digest in enumerate(data.image_digests):
        columns = {"source": data.sources[row]} if several else {}
        columns |= {name: values[row] for name, values in data.subgroups.items()}
        image = Path(data.files[row])
        masks = tuple(map(Path, data.mask_files[row]))
        found[digest] = Shown(os.path.relpath(image, folder), image, masks, columns)
    return found
