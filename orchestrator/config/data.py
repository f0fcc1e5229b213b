"""Settings of data, and from them to prepared data, telling the user what was found."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from orchestrator.common.console import progress_bar, say
from orchestrator.common.errors import UserError
from orchestrator.config.types import Folder, Place, one_of
from orchestrator.storage.run_folder import NAMES
from orchestrator.storage.storage import HOME, Storage
from trainables.data import CLASSES, LAYOUTS, DataError, Manifest, Prepared, prepare, read_manifest, write_phantom
from trainables.data.duplicates import DEFAULT_DISTANCE

#: Faults shown in the terminal; all of them are in the run's folder.
SHOWN = 20
#: Size of the synthetic dataset of the embedded default.
PHANTOM_IMAGES = 160


class DataSettings(BaseModel):
    """Which images. Paths become absolute; what is not given and depends on the data is filled in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Folder | None = Field(None, description="folder of images, or a CSV table; without it a phantom is made")
    layout: str = Field("auto", description=f"layout of the folder: auto, {', '.join(LAYOUTS)}")

    @field_validator("layout")
    @classmethod
    def _known_layout(cls, layout: str) -> str:
        return one_of(layout, ("auto", *LAYOUTS))


class SplitSettings(DataSettings):
    """Which images, how they are prepared and split, and where they are kept."""

    test_source: str = Field("", description="hold this source of the CSV table out as the test set")
    masks: Literal["merge", "duplicate"] = Field(
        "merge", description="several masks of an image: one union, or one sample each"
    )
    keep_aspect: bool = Field(False, description="letterbox images instead of stretching them to a square")
    image_size: int = Field(0, ge=32, le=2048, description="side of the square images, pixels [256; phantom 96]")
    duplicate_distance: int = Field(
        DEFAULT_DISTANCE, ge=0, le=256, description="largest hash distance of near-duplicates, bits of 256"
    )
    folds: int = Field(0, ge=2, le=20, description="folds over the images that are not test [5; phantom 3]")
    split_seed: int = Field(0, ge=0, description="seed of the split; another one makes another data fingerprint")
    storage: Place = Field(
        HOME,
        validate_default=True,
        description="folder for runs and prepared data, or s3://BUCKET/PREFIX for a cluster",
    )

    @model_validator(mode="before")
    @classmethod
    def _sizes(cls, given: Any) -> Any:
        """Small ones for the phantom."""
        if not isinstance(given, dict) or given.get("resume"):
            return given
        small = given.get("data") is None
        defaults = {
            "image_size": 96 if small else 224 if given.get("task") == "cls" else 256,
            "folds": 3 if small else 5,
        }
        return {**given, **{name: value for name, value in defaults.items() if given.get(name) in (None, "")}}

    @property
    def home(self) -> Path:
        """Folder of searches on this host: the storage, or a working copy of it."""
        return Storage.of(self.storage).home

    @property
    def cache(self) -> Path:
        """Where prepared data are kept."""
        return self.home / NAMES.cache

    @property
    def source(self) -> str:
        """What the data are called wherever their results appear."""
        return "phantom" if self.data is None else str(self.data)


def load(settings: SplitSettings, *, strict: bool = False) -> Prepared:
    """Prepared data, telling what was found.

    Raises:
        UserError: the data cannot be used, or it is `strict` and a file is faulty.
    """
    data, manifest = read(settings)
    _tell(data, manifest.root, manifest.layout)
    if strict and data.faults:
        raise UserError(f"--strict: {len(data.faults)} faults in {manifest.root}, listed above")
    return data


def read(settings: SplitSettings, *, quiet: bool = False) -> tuple[Prepared, Manifest]:
    """Prepared data and the manifest that they come from; shows progress unless `quiet`, and nothing that lasts.

    Raises:
        UserError: the data cannot be used.
    """
    root = settings.data
    try:
        if root is None:
            root = write_phantom(settings.cache / f"phantom-{PHANTOM_IMAGES}", images=PHANTOM_IMAGES)
        manifest = read_manifest(root, settings.layout)
        with progress_bar() as bar:
            job = bar.add_task("decoding images", visible=not quiet)
            data = prepare(
                manifest,
                settings.cache,
                size=settings.image_size,
                keep_aspect=settings.keep_aspect,
                masks=settings.masks,
                folds=settings.folds,
                split_seed=settings.split_seed,
                duplicate_distance=settings.duplicate_distance,
                test_source=settings.test_source,
                progress=lambda done, total: bar.update(job, completed=done, total=total),
            )
    except DataError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{error.filename or root}: {error.strerror}") from None
    return data, manifest


def split_sizes(data: Prepared) -> dict[str, int]:
    """Images to train on, to validate on (fold 0) and to test on."""
    learnt, held_out = data.fold_rows(0)
    return {"train": len(learnt), "validation": len(held_out), "test": len(data.test_rows())}


def _tell(data: Prepared, root: Path, layout: str) -> None:
    if data.synthetic:
        say("SYNTHETIC data: phantom images made by this program; their figures say nothing about patients")
    say(f"data    {root} ({layout} layout)")
    folder = root if root.is_dir() else root.parent
    for fault in data.faults[:SHOWN]:
        file = fault.file.relative_to(folder) if fault.file.is_relative_to(folder) else fault.file
        say(f"  ! {file}: {fault.problem}; {fault.action}")
    if len(data.faults) > SHOWN:
        say(f"  ! ... and {len(data.faults) - SHOWN} more; all are in faults.txt of the run's folder")
    counts = Counter(data.labels.tolist())
    classes = [f"{counts[i]} {name}" for i, name in enumerate(CLASSES)] + (
        [f"{counts[-1]} unlabelled"] if counts[-1] else []
    )
    say(f"        {len(data.images)} images used ({', '.join(classes)}), {data.left_out} left out")
    for note in data.notes:
        say(f"        {note}")
    sizes = ", ".join(f"{count} {name}" for name, count in split_sizes(data).items())
    say(f"split   {sizes}; data fingerprint {data.data_fingerprint[:12]}")
