"""Settings of `python -m orchestrator.ensemble`: flags, YAML lines and Python arguments are the same fields."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from orchestrator.config.command import CommandSettings
from orchestrator.config.types import Duration, NetworkPlace, Place, Plugins, SearchName, Store, TaskName, Text
from orchestrator.storage.storage import HOME, Storage


class EnsembleSettings(CommandSettings):
    """Settings of one ensemble. Paths become absolute; what is None is filled in when its data are known."""

    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {
        "candidates": ("task", "name", "top_k", "plugin"),
        "training and comparison": (
            "out_of_fold",
            "all_folds",
            "boost_rounds",
            "boost_epochs",
            "tta",
            "triage",
            "seed",
        ),
        "budget and machines": ("time_budget", "address"),
        "where things go": ("promote", "export", "storage", "tracking_uri"),
    }
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "--task cls --time-budget 30m",
        "--task seg --name seg-20261128-200000 --all-folds --export model",
    )

    task: TaskName = Field("seg", description="segmentation, classification, or both at once")
    name: SearchName = Field(
        "", title="SEARCH", description="a search: its data are used, its folder takes the result [newest]"
    )
    top_k: int | None = Field(None, ge=1, description="candidates, across searches of these data [4, phantom 2]")
    out_of_fold: bool = Field(
        True, description="train candidates on the other folds, too; without, figures are optimistic"
    )
    all_folds: bool = Field(
        False, description="train every candidate on all folds: smaller standard errors, 2 to 4 times as long"
    )
    time_budget: Duration | None = Field(
        None,
        title="TIME",
        description="from the command's start to its last word: 90s, 25m, 2h; what it cuts short is named [no limit]",
    )
    boost_rounds: int | None = Field(None, ge=0, description="new members, trained on what goes wrong [2, phantom 1]")
    boost_epochs: int | None = Field(
        None,
        ge=1,
        description="epochs of a new member [half of its start's; a round ends within the median candidate's time]",
    )
    tta: bool = Field(False, description="predict each image and its mirror image")
    triage: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        title="RATE",
        description="of malignant images at most this share is ruled out, of others ruled in, by what ships",
    )
    promote: Literal["never", "auto", "always"] = Field("auto", description="whether the result becomes the champion")
    export: NetworkPlace | None = Field(
        None, title="DIR", description="write the model to this new folder, too, for use without MLflow [no]"
    )
    seed: int = Field(0, ge=0, title="NUMBER", description="seed of resamples and of boosting")
    storage: Place = Field(
        HOME, validate_default=True, title="DIR|URI", description="folder of the searches, or s3://BUCKET/PREFIX"
    )
    plugin: Plugins = ()
    address: Text = Field(
        "", title="auto|HOST:PORT", description="Ray cluster; auto: this host's [RAY_ADDRESS, else none]"
    )
    tracking_uri: Store = Field("", title="URI", description="MLflow store [the search's]")

    @property
    def home(self) -> Path:
        """Folder of searches on this host: the storage, or a working copy of it."""
        return Storage.of(self.storage).home

    def limits(self, phantom: bool) -> tuple[int, int]:
        """Candidates and boost rounds, small ones for the embedded default."""
        top_k = self.top_k or (2 if phantom else 4)
        return top_k, (1 if phantom else 2) if self.boost_rounds is None else self.boost_rounds
