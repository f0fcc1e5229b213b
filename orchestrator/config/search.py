"""Settings of the commands: a command-line flag, a line of the YAML file and a Python argument are the same field."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from orchestrator.config.data import SplitSettings
from orchestrator.config.types import WEIGHTS, Duration, OwnStore, SearchName, TaskName, Text, WeightsChoice, one_of
from orchestrator.storage.run_folder import RunFolder
from search_spaces import SPACES
from trainables.plugins import digests


class SearchSettings(SplitSettings):
    """Settings of one search. Paths become absolute; what is not given and depends on the data is filled in."""

    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {
        "data": ("data", "layout", "patient", "test_source", "masks", "resize_masks", "strict"),
        "preparation and split": ("image_size", "keep_aspect", "duplicate_distance", "folds", "split_seed"),
        "what to search": ("task", "classes", "arch", "encoder", "weights", "recipes_only", "warm_start", "plugin"),
        "training": ("epochs", "batch_size", "seed"),
        "budget": ("trials", "trials_per_arch", "time_budget", "gpu_hours"),
        "machines": ("cpus_per_trial", "gpus_per_trial", "max_concurrent", "address", "dashboard"),
        "the ensemble at the end": ("ensemble", "top_k", "boost_rounds"),
        "where things go": ("name", "resume", "storage", "tracking_uri", "experiment", "notify", "dry_run"),
    }
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "--task cls --data path/to/images --trials 60 --time-budget 2h",
        "--resume cls-20261128-200000 --trials 100",
    )

    task: TaskName = Field("seg", description="segmentation, classification, or both at once")
    classes: int = Field(3, ge=2, le=3, description="3: normal, benign, malignant; 2: without normal (not for seg)")
    strict: bool = Field(False, description="stop if any file is faulty, instead of leaving it out")
    arch: tuple[str, ...] = Field((), title="NAME", description="architectures to search [all]")
    encoder: tuple[str, ...] = Field(
        (), title="NAME", description="encoders to search [those with pretrained weights here]"
    )
    weights: WeightsChoice = Field(
        "auto",
        title="auto|imagenet|none|DIR",
        description="encoder weights; DIR: a folder of <timm name>.safetensors",
    )
    recipes_only: bool = Field(False, description="train the reference notebooks' recipes and nothing else")
    epochs: int = Field(0, ge=0, description="epochs of a trial that is not stopped early [30, phantom 12]")
    batch_size: int | None = Field(None, ge=1, title="IMAGES", description="fix the batch size [it is searched]")

    trials: int = Field(0, ge=1, description="number of trials [20, phantom 6]")
    trials_per_arch: int | None = Field(None, ge=1, description="trials for each architecture instead [--trials]")
    time_budget: Duration | None = Field(
        None,
        title="TIME",
        description="how long you wait, from data to registered ensemble: 90s, 25m, 2h [no limit, phantom 6m]",
    )
    gpu_hours: float | None = Field(
        None, gt=0, title="HOURS", description="stop after this many GPU-hours, over all GPUs [no limit]"
    )
    max_concurrent: int | None = Field(None, ge=1, description="most trials at a time [as many as fit]")
    cpus_per_trial: int | None = Field(
        None, ge=1, title="CORES", description="cores, and threads, of a trial [an even share]"
    )
    gpus_per_trial: Literal["auto"] | Annotated[float, Field(ge=0)] | None = Field(
        None,
        title="GPUS|auto",
        description="GPUs of a trial; a fraction packs several on one, auto measures how many fit [1, without any 0]",
    )

    ensemble: bool = Field(True, description="end with an ensemble of the best trials, tested once and registered")
    top_k: int | None = Field(None, ge=1, description="candidates of the ensemble [4, phantom 2]")
    boost_rounds: int | None = Field(None, ge=0, description="new members that it trains [2, phantom 1]")

    seed: int = Field(0, ge=0, title="NUMBER", description="seed of sampling and training")
    name: SearchName = Field("", title="SEARCH", description="what it is called [task and time]")
    dry_run: bool = Field(False, description="say what a search would read and try, and how long; write nothing")
    resume: SearchName = Field(
        "", title="SEARCH", description="go on with this search; its other settings are as they were [a new search]"
    )
    warm_start: SearchName = Field(
        "", title="SEARCH", description="tell the sampler the finished trials of an earlier search of this space [none]"
    )
    address: Text = Field(
        "", title="auto|HOST:PORT", description="Ray cluster; auto: this host's [RAY_ADDRESS, else none]"
    )
    tracking_uri: OwnStore = Field(
        "", validate_default=True, title="URI", description="MLflow store [MLFLOW_TRACKING_URI, else mlflow.db here]"
    )
    experiment: Text = Field("", title="NAME", max_length=256, description="MLflow experiment [breast-ultrasound-TASK]")
    notify: str = Field(
        "",
        title="COMMAND",
        description="shell command for the end, however it comes; it reads summary.json on standard input [none]",
    )
    dashboard: bool = Field(False, description="start Ray's dashboard, on port 8265")

    @field_validator("arch", "encoder", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("arch")
    @classmethod
    def _known_architectures(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        space = SPACES[info.data.get("task", "seg")]
        return tuple(space.architecture(name).name for name in names)

    @field_validator("encoder")
    @classmethod
    def _known_encoders(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        space = SPACES[info.data.get("task", "seg")]
        entries = [space.architecture(name) for name in info.data.get("arch") or space.ARCHITECTURES]
        return tuple(one_of(name, dict.fromkeys(e for entry in entries for e in entry.encoders)) for name in names)

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, given: Any) -> Any:
        """Fill in what depends on other fields: the phantom's defaults end in minutes on a laptop."""
        if not isinstance(given, dict) or given.get("resume"):
            return given  # a stored search has its defaults already
        ignored = [name for name in ("arch", "encoder", "trials_per_arch", "batch_size") if given.get(name)]
        if given.get("recipes_only") is True and ignored:
            raise ValueError(f"recipes_only trains every recipe as it is: leave out {', '.join(ignored)}")
        task = given.get("task", "seg")
        small = not given.get("data")
        defaults: dict[str, Any] = {
            "epochs": 0 if given.get("recipes_only") else 12 if small else 30,
            "trials": 6 if small else 20,
            "name": f"{task}-{datetime.now():%Y%m%d-%H%M%S}",
            "experiment": f"breast-ultrasound-{task}",
        }
        if small:
            defaults["time_budget"] = "6m"
        return {**given, **{name: value for name, value in defaults.items() if given.get(name) in (None, "")}}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if isinstance(self.gpus_per_trial, float) and self.gpus_per_trial > 1:
            raise ValueError("gpus_per_trial: a trial trains on one GPU, others would idle; give 1, or a fraction")
        if self.task == "seg" and self.classes != 3:
            raise ValueError("classes: for cls and multi only; seg has no classes")
        if self.dry_run and self.resume:
            raise ValueError("dry_run: of a new search; leave out --resume")
        if not self.epochs and not self.recipes_only and not self.resume:
            raise ValueError("epochs: at least 1")
        return self

    def stored(self) -> dict[str, Any]:
        """What a resumed search has from this one, which may run on another cluster or on none; what plugins it had.

        A command to notify somebody may hold a password: it is not written.
        """
        own = self.model_dump(mode="json", exclude={"resume", "address", "dry_run", "notify"})
        return own | {"plugins": digests()}

    @property
    def fixed_gpus(self) -> float | None:
        """GPUs of a trial, where they are given as a number."""
        return None if self.gpus_per_trial == "auto" else self.gpus_per_trial

    @property
    def weights_folder(self) -> Path | None:
        """Folder with encoders' weights, where one is given."""
        return None if self.weights in WEIGHTS else Path(self.weights)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.home / self.name

    @property
    def files(self) -> RunFolder:
        """What is in it."""
        return RunFolder(self.folder)
