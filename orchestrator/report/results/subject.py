"""What every section on results is drawn from: a model, and what it said of images, beside the truth."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.scoring.final_scores import ModelScores
from orchestrator.scoring.predictions import TestPredictions
from orchestrator.scoring.verdict import Judgement
from trainables.data import Manifest, Prepared, Record


@dataclass(frozen=True)
class ImageFiles:
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
class ModelResults:
    """A model and what it said of N images.

    Attributes:
        task: seg, cls or multi. title: by which a page tells it from the others, such as "multi-task".
        classes: names of its K classes in the order of its probabilities; empty for seg.
        tested: its stored predictions.
        figures: all metrics with intervals; `FinalScores` where the best single candidate is known.
        images: the images' files by image digest; those that cannot be read any more are missing.
        times_scored: winners that were scored on these test images. networks: how many it has. synthetic: whether
            images, or those that it was trained on, are phantoms.
        judged: what it may be called by each kind of images; the first decides, others may lower it. Empty of an older
            version's.
    """

    task: str
    title: str
    classes: tuple[str, ...]
    tested: TestPredictions
    figures: ModelScores
    images: Mapping[str, ImageFiles]
    times_scored: int | None = None
    networks: int | None = None
    synthetic: bool = False
    judged: Mapping[str, Judgement] = field(default_factory=dict)

    @property
    def keys(self) -> list[tuple[str, int]]:
        """What two models know an image by: its digest, and how many images of the same digest come before it.

        Copies of a file may have masks, and so figures, of their own.
        """
        seen = Counter[str]()
        found = []
        for digest in self.tested.evidence.digests:
            found.append((digest, seen[digest]))
            seen[digest] += 1
        return found


def shown_images(data: Prepared, manifest: Manifest) -> dict[str, ImageFiles]:
    """The files of all images by image digest."""
    by_file = {str(record.image): record for record in manifest.records}
    return dict(zip(data.image_digests, shown([by_file[file] for file in data.files], manifest), strict=True))


def shown(records: Sequence[Record], manifest: Manifest) -> list[ImageFiles]:
    """The files of some images of the data that were read."""
    several = len({record.source for record in records}) > 1
    return [
        ImageFiles(
            os.path.relpath(record.image, manifest.folder),
            record.image,
            record.masks,
            {**({"source": record.source} if several else {}), **dict(record.subgroups)},
        )
        for record in records
    ]
