"""What one ensemble came to: what `runs/NAME/ensemble.json` holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    BaseModel,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from orchestrator.config.types import TaskName
from orchestrator.inference.format import RESULTS, damaged
from orchestrator.scoring.final_scores import FinalScores, ModelScores
from orchestrator.scoring.verdict import Judgement, Verdict, Word
from orchestrator.storage.result import Result
from trainables import stored
from trainables.stored import DamagedError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Difference:
    """Of two scores on the same images, and its standard error over the same resamples of both."""

    value: float
    standard_error: float


class _Sparse(BaseModel, frozen=True):
    """Written without what is not known."""

    @model_serializer(mode="wrap")
    def _known(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if value is not None}


class Weights(_Sparse, frozen=True):
    """Of each member by head, and of each feature of a stack by class."""

    classes: dict[str, float] | None = None
    masks: dict[str, float] | None = None
    features: dict[str, dict[str, float]] | None = None


class CombinerRow(BaseModel, frozen=True):
    """A combiner in the comparison: see `orchestrator.ensemble.selection.CombinerResult`."""

    name: str
    score: float | None
    standard_error: float | None
    difference_to_best: Difference | None
    difference_to_mean: Difference | None
    fpr_normal: float | None
    members: tuple[str, ...]
    note: str
    weights: Weights


class BoostRound(_Sparse, frozen=True):
    """A round of training on what the ensemble gets wrong.

    Attributes:
        effective: effective sample size of the weights of `images` images. suspects: digests of possible label errors.
        start: the candidate that the new member starts from. epochs: of each fold's training.
        loss_falls_by, standard_error, score_before, score_with: what it does on held-out rows; None of one not trained.
    """

    round: int
    effective: float
    images: int
    suspects: tuple[str, ...] = ()
    accepted: bool = False
    start: str | None = None
    epochs: int | None = None
    note: str = ""
    loss_falls_by: float | None = None
    standard_error: float | None = None
    score_before: float | None = None
    score_with: float | None = None


class Retraining(BaseModel, frozen=True):
    """The primary metric with each fold's models alone, and its standard deviation: what training again changes."""

    values: tuple[float, ...]
    standard_deviation: float | None


class TestResult(FinalScores, frozen=True):
    """The winner's look at the test images; `times_scored` winners of these data had one so far, over the store.

    `judgement` is what it may be called by them; None where an older version wrote it.
    """

    __test__ = False  # no test of pytest's

    value: float
    interval: tuple[float, float]
    retraining: Retraining
    times_scored: int = 0
    judgement: Judgement | None = None


class OwnHeldOut(BaseModel, frozen=True):
    """The winner's score on the held-out images that combiners were compared on."""

    metric: str
    value: float
    standard_error: float
    images: int
    optimistic: bool


class OwnTest(ModelScores, frozen=True, extra="allow"):
    """The winner's look at the test images, as an older or newer version may have written it, too."""

    times_scored: int = 0


class OwnResults(BaseModel, frozen=True):
    """What a product reached on its own data, for who has it alone: `results.json` in its folder.

    Attributes:
        members: of the winning combiner. test_images: how many of each class.
        verdict: what it may be called; None where an older version wrote it.
    """

    data_fingerprint: str = ""
    synthetic: bool = False
    combiner: str = ""
    members: tuple[str, ...] = ()
    held_out: OwnHeldOut
    test: OwnTest
    test_images: dict[str, int]
    verdict: Verdict | None = None

    @classmethod
    def read(cls, folder: Path) -> OwnResults | None:
        """Of the product in a folder; None where an older version wrote it.

        Raises:
            ModelError: the file is damaged.
        """
        file = folder / RESULTS
        try:
            return stored.read_finite(file, cls) if file.is_file() else None
        except (OSError, DamagedError) as error:
            raise damaged(str(error)) from None


class ScoredData(BaseModel, frozen=True):
    """The data of an ensemble."""

    fingerprint: str
    source: str
    synthetic: bool


class Compared(BaseModel, frozen=True):
    """What combiners were compared on.

    Attributes:
        images: how many held-out ones. optimistic: they are those that chose epoch and configuration.
        folds: theirs; none where an older version wrote it, or they are optimistic.
    """

    images: int
    optimistic: bool
    folds: tuple[int, ...] = ()


class ReportedCandidate(BaseModel, frozen=True):
    """A trial that the ensemble was built from, with its validation score."""

    run_id: str
    name: str
    architecture: str
    score: float


class SourceRow(BaseModel, frozen=True):
    """The winner on the held-out images of one source.

    Attributes:
        value: the primary metric; None where the images have nothing that it rests on. interval: over groups; None
            with fewer than 10. fpr_normal: None without masks or normals.
        word: what the winner may be called by this source alone; None where an older version wrote it.
        unseen: whether no network learnt from this source. chose: whether epochs and configurations were chosen on it.
    """

    name: str
    images: int
    groups: int
    value: float | None
    interval: tuple[float, float] | None
    fpr_normal: float | None
    unseen: bool
    chose: bool
    word: Word | None = None

    @property
    def words(self) -> str:
        """How independent of this source the figure is."""
        if not self.unseen:
            return "trained on all sources"
        return "trained on the others" + (", but epochs chosen on it" if self.chose else "")


class EnsembleResult(Result, frozen=True):
    """What one ensemble came to.

    Attributes:
        identity: of `plan.identity`; "" where an older version wrote it.
        settings: those of `EnsembleSettings`, as plain values. classes: of the data, whatever the task is.
        sources: the winner on each of several sources. combiners: all six. winner: one of them, and why it is.
        verdict: what it may be called. digest: names the winner among those of all searches.
        model_uri: of the registered version. seconds: that all of it took.
        lacks: what there was no time for, in words; the same command goes on with it.
    """

    task: TaskName
    classes: Annotated[int, Field(ge=2, le=3)]
    name: str = ""
    identity: str = ""
    settings: dict[str, Any]
    data: ScoredData
    out_of_fold: bool
    compared: Compared
    candidates: tuple[ReportedCandidate, ...]
    combiners: tuple[CombinerRow, ...]
    boost_rounds: tuple[BoostRound, ...]
    winner: str
    why: str
    digest: Annotated[str, Field(pattern=r"^\w+$")]
    test: TestResult
    model_uri: str
    promoted: bool
    why_promoted: str
    sources: tuple[SourceRow, ...] = ()
    verdict: Verdict | None = None
    seconds: float = 0.0
    lacks: tuple[str, ...] = ()

    @field_validator("settings")
    @classmethod
    def _needed(cls, settings: dict[str, Any]) -> dict[str, Any]:
        for name, kind in {"tta": bool, "tracking_uri": str}.items():
            if not isinstance(settings.get(name), kind):
                raise ValueError(f"{name} is no {kind.__name__}")
        return settings

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.winner not in {row.name for row in self.combiners}:
            raise ValueError("winner: none of the combiners")
        return self

    @property
    def winning(self) -> CombinerRow:
        """The winner's row."""
        return next(row for row in self.combiners if row.name == self.winner)

    @property
    def tta(self) -> bool:
        """Whether each image and its mirror image are averaged."""
        return bool(self.settings["tta"])

    @property
    def tracking_uri(self) -> str:
        """The store that it is registered in."""
        return str(self.settings["tracking_uri"])

    def combiners_frame(self) -> pd.DataFrame:
        """A row a combiner; differences in columns such as `difference_to_best` and `difference_to_best_error`."""
        import pandas as pd

        rows = []
        for row in self.combiners:
            plain = row.model_dump(include={"name", "score", "standard_error", "fpr_normal", "note"})
            for name in ("difference_to_best", "difference_to_mean"):
                found: Difference | None = getattr(row, name)
                plain |= {name: found and found.value, f"{name}_error": found and found.standard_error}
            rows.append(plain | {"members": len(row.members), "winner": row.name == self.winner})
        return pd.DataFrame(rows).set_index("name")

    def test_frame(self) -> pd.DataFrame:
        """The winner's metrics on the test images: value, and bounds of the 95 % interval, NaN where there is none."""
        import pandas as pd

        rows = {name: (one.value, *(one.interval or (None, None))) for name, one in self.test.scores.items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"])
