"""Which hyperparameters a search's best trials are told by, beside what chance alone would give."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from orchestrator.rendering.charts import HALF, INK, canvas, chart, styled
from orchestrator.rendering.document import Chart, Table
from orchestrator.rendering.numbers import counted, percent
from orchestrator.report.search.trials import TrialOutcome, shown

#: Fewer finished trials than this say nothing.
FEWEST = 10
#: The best tenth is told from all, but never fewer trials than its Parzen estimators can rest on.
SHARE, LEAST = 0.1, 5
#: Shuffles of the values; a parameter above them all is so by chance in 1 of SHUFFLES + 1 cases.
SHUFFLES = 19
#: Parameters shown.
MOST = 12


@dataclass(frozen=True)
class Importance:
    """A hyperparameter's importance.

    Attributes:
        share: of the sum over all parameters. chance: the largest of `SHUFFLES` with values shuffled, in the same unit.
        trials: finished trials that had this parameter.
    """

    name: str
    share: float
    chance: float
    trials: int

    @property
    def beyond_chance(self) -> bool:
        """Whether no shuffle gave as much."""
        return self.share > self.chance


@dataclass(frozen=True)
class Importances:
    """Importances, the largest first, of `trials` finished trials, of which the `best` were told from all."""

    items: Sequence[Importance]
    trials: int
    best: int


def importances(study: optuna.Study, trials: Sequence[TrialOutcome], seed: int = 0) -> Importances | str:
    """Importances by PED-ANOVA, or why there are none.

    PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023) compares where the best trials lie with where all do. In its
    conditional form it takes parameters that only some architectures have, which fANOVA cannot. Values are the
    ledger's: the study knows failed trials as 0, and repeats those that went on after the budget stopped them.

    Args:
        trials: of this search. seed: of the shuffles.
    """
    values = {one.record.study_number: one.value for one in trials if one.value is not None}
    finished = [one for one in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if one.number in values]
    n = len(finished)
    if n < FEWEST:
        return f"Hyperparameter importances are left out: they need {FEWEST} finished trials, and there are {n}."
    best = max(LEAST, math.ceil(SHARE * n))
    own = np.array([values[one.number] for one in finished], float)
    if (own >= np.sort(own)[-best]).all():
        return "Hyperparameter importances are left out: the best trials have the same value as the others."
    had = {
        name: sum(name in one.params for one in finished) for name in {name for one in finished for name in one.params}
    }
    names = sorted(name for name in had if len({repr(one.params.get(name)) for one in finished}) > 1)
    if len(names) < 2:
        return "Hyperparameter importances are left out: the trials differ in fewer than two parameters."
    evaluator = PedAnovaImportanceEvaluator(target_quantile=(best - 0.5) / n)
    found = _evaluated(study, evaluator, finished, own, names)
    random = np.random.default_rng(seed)
    shuffled = [_evaluated(study, evaluator, finished, random.permutation(own), names) for _ in range(SHUFFLES)]
    total = found.sum()
    if not total > 0:
        return "Hyperparameter importances are left out: the best trials lie where all others do."
    chance = np.max(shuffled, axis=0)
    items = [
        Importance(name, float(found[i] / total), float(chance[i] / total), had[name]) for i, name in enumerate(names)
    ]
    return Importances(sorted(items, key=lambda item: (-item.share, item.name)), n, best)


@styled
def importance_chart(name: str, given: Importances) -> Chart:
    """Bars of the largest, and what chance gives."""
    items = given.items[:MOST]
    figure, (axes,) = canvas(HALF, 0.9 + 0.26 * len(items))
    rows = range(len(items))
    colours = ["#0072b2" if item.beyond_chance else "#c3cad2" for item in items]
    axes.barh(rows, [100 * item.share for item in items], color=colours, height=0.62)
    axes.scatter([100 * item.chance for item in items], rows, marker="|", s=90, color=INK, linewidths=1.5)
    axes.set_yticks(rows, [shown(item.name) for item in items])
    axes.set(
        xlabel="% of the sum of all importances", xlim=(0, 110 * max(max(item.share, item.chance) for item in items))
    )
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    return chart(
        name,
        figure,
        f"Importance for reaching the best {given.best} of {given.trials:,} finished trials (PED-ANOVA), this search "
        f"only. Black marks: the largest of {SHUFFLES} shuffles of the values; blue bars are above theirs. Of "
        f"{counted(len(given.items), 'parameter')} about one in {SHUFFLES + 1} would be so by chance.",
    )


def importance_table(given: Importances) -> Table:
    """The same in figures."""
    items = given.items[:MOST]
    rest = f", the {MOST} most important of {len(given.items)}" if len(given.items) > MOST else ""
    return Table(
        f"Hyperparameter importances{rest}: share of all, the largest of {SHUFFLES} shuffles, and the finished trials "
        f"that had the parameter, of {given.trials:,}.",
        ("parameter", "importance", "by chance", "trials"),
        [(shown(item.name), percent(item.share, 1), percent(item.chance, 1), item.trials) for item in items],
    )


def _evaluated(
    study: optuna.Study,
    evaluator: PedAnovaImportanceEvaluator,
    finished: Sequence[FrozenTrial],
    values: np.ndarray,
    names: Sequence[str],
) -> np.ndarray:
    """Importances of these parameters, floating point [P], not normalised; trials that are not `finished` are out."""
    losses = {one.number: -value for one, value in zip(finished, values, strict=True)}
    with warnings.catch_warnings():
        # It warns that a target is minimised, as it is here, and of parameters that a single trial has.
        warnings.simplefilter("ignore")
        found = get_param_importances(
            study, evaluator=evaluator, target=lambda one: losses.get(one.number, math.nan), normalize=False
        )
    return np.array([found[name] for name in names], float)
