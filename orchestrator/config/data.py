"""Settings that say which data, how they are prepared and how they are split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from orchestrator.config.command import CommandSettings
from orchestrator.config.types import AND, Folder, Place, Plugins, absolute, one_of, several
from orchestrator.storage.run_folder import NAMES
from orchestrator.storage.storage import HOME, Storage
from trainables.data.layouts import is_layout_file, names
from trainables.data.manifest import DEFAULT_DISTANCE
from trainables.data.words import written


class DataSettings(CommandSettings):
    """Which images. Paths become absolute; what is not given and depends on the data is filled in."""

    data: tuple[Folder, ...] = Field(
        (), title="DIR|FILE.csv", description="folders of images, or CSV tables [a phantom is made]"
    )
    layout: str = Field(
        "auto", title="NAME|FILE.toml", description=f"layout of the folder: auto, a file, {', '.join(names())}"
    )
    patient: str = Field(
        "",
        title="COLUMN|PATTERN",
        description="what names the patient: a column, or file names as {patient}_{any} [as the layout has it]",
    )

    resize_masks: bool = Field(False, description="take masks of another size than their image, of the same aspect")
    plugin: Plugins = ()

    @field_validator("data", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return several(value)

    @field_validator("layout")
    @classmethod
    def _known_layout(cls, layout: str) -> str:
        return str(absolute(layout)) if is_layout_file(layout) else one_of(layout, ("auto", *names()))

    @property
    def source(self) -> str:
        """What the data are called wherever their results appear."""
        return AND.join(map(str, self.data)) or "phantom"


class SplitSettings(DataSettings):
    """Which images, how they are prepared and split, and where they are kept."""

    test_source: Annotated[str, AfterValidator(written)] = Field(
        "",
        title="SOURCE",
        description="hold this source, one of several datasets or of a CSV table, out as the test set [20 % at random]",
    )
    masks: Literal["merge", "duplicate"] = Field(
        "merge", description="several masks of an image: one union, or one sample each"
    )
    keep_aspect: bool = Field(False, description="letterbox images instead of stretching them to a square")
    image_size: int = Field(
        0, ge=32, le=2048, title="PIXELS", description="side of the square images [256, cls 224, phantom 96]"
    )
    duplicate_distance: int = Field(
        DEFAULT_DISTANCE,
        ge=0,
        le=256,
        title="BITS",
        description="largest hash distance of near-duplicates, of 256 bits; at 0 no pictures are aligned either",
    )
    folds: Annotated[int, Field(ge=2, le=20)] | Literal["source"] = Field(
        0, title="N|source", description="folds over the images that are not test, or each source one [5, phantom 3]"
    )
    split_seed: int = Field(
        0, ge=0, title="NUMBER", description="seed of the split; another one makes another data fingerprint"
    )
    storage: Place = Field(
        HOME,
        validate_default=True,
        title="DIR|URI",
        description="folder for runs and prepared data, or s3://BUCKET/PREFIX for a cluster",
    )

    @model_validator(mode="before")
    @classmethod
    def _sizes(cls, given: Any) -> Any:
        """Small ones for the phantom."""
        if not isinstance(given, dict) or given.get("resume"):
            return given
        small = not given.get("data")
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
