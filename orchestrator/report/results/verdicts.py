"""What the figures say of one model: its errors, its confidence, its uncertainty and its operating points."""

from __future__ import annotations

import numpy as np

from orchestrator.rendering.document import Observation
from orchestrator.rendering.numbers import counted, number, with_interval
from orchestrator.report.results.means import Mean, Resampled, by_image, value_of
from orchestrator.report.results.subject import ModelResults
from orchestrator.scoring.final_scores import FinalScores
from orchestrator.scoring.metrics import METRICS, lesions


def verdicts(subject: ModelResults) -> list[Observation]:
    """All of it, in the page's order; what the task, or the figures, do not have is left out."""
    found = (_to_single, _alarms, _weakest_class, _confidence, _uncertainty)
    said = [observation for part in found if (observation := part(subject))]
    return [*said, *_operating(subject)]


def _to_single(subject: ModelResults) -> Observation | None:
    figures = subject.figures
    if not isinstance(figures, FinalScores) or figures.value is None:
        return None
    rests_on = (
        lesions(subject.tested.evidence.scored) if figures.metric == "dice" else np.ones(len(subject.tested), bool)
    )
    difference = Mean(figures.difference, *figures.difference_interval, int(rests_on.sum()))
    own = with_interval(figures.value, figures.interval)
    evidence = (
        f"{METRICS[figures.metric].short} {own} against {number(figures.best_single, 3)}, paired difference "
        f"{difference.words(sign=True)}; n = {difference.n:,} images."
    )
    if difference.value == difference.low == difference.high == 0:
        return Observation(f"{subject.title}: it is the best single candidate, or predicts as that does.", evidence)
    if not difference.apart:
        return Observation(f"{subject.title}: it is not told apart from its best single candidate.", evidence)
    which = "better" if difference.value > 0 else "worse"
    return Observation(f"{subject.title}: it is {which} than its best single candidate.", evidence)


def _alarms(subject: ModelResults) -> Observation | None:
    alarms = Resampled.of(subject.tested).mean(by_image(subject.tested)["alarm"], np.ones(len(subject.tested), bool))
    if not alarms.n:
        return None
    false = round(alarms.value * alarms.n)
    evidence = f"{false:,} of {alarms.n:,} images without a lesion, share {alarms.words()}."
    if not false:
        return Observation(f"{subject.title}: no lesion is seen in an image without one.", evidence)
    claim = f"{subject.title}: a lesion is seen in {100 * alarms.value:.0f} % of the images that have none."
    return Observation(claim, evidence)


def _weakest_class(subject: ModelResults) -> Observation | None:
    scored = subject.tested.evidence.scored
    recalls = {name: mean for name in subject.classes if (mean := value_of(subject.figures, f"recall_{name}"))}
    if len(recalls) < 2 or scored.probabilities is None:
        return None
    lowest = min(mean.value for mean in recalls.values())
    weakest = [name for name, mean in recalls.items() if mean.value == lowest]
    if len(weakest) == len(recalls):
        return None
    parts = []
    for name in weakest:
        inside = scored.targets == subject.classes.index(name)
        missed = np.bincount(scored.probabilities[inside].argmax(1), minlength=len(subject.classes))
        taken = [f"{n} called {other}" for other, n in zip(subject.classes, missed, strict=True) if other != name]
        parts.append(f"Recall {recalls[name].words()}; n = {int(inside.sum()):,} {name}, {', '.join(taken)}.")
    others = ", ".join(f"{other} {mean.words()}" for other, mean in recalls.items() if other not in weakest)
    which = "is the class" if len(weakest) == 1 else "are the classes"
    claim = f"{subject.title}: {' and '.join(weakest)} {which} with the lowest recall here."
    return Observation(claim, f"{' '.join(parts)} Others: {others}.")


def _confidence(subject: ModelResults) -> Observation | None:
    scored = subject.tested.evidence.scored
    right = by_image(subject.tested)["right"]
    if scored.probabilities is None or not np.isfinite(right).any():
        return None
    excess = scored.probabilities.max(1) - right
    found = Resampled.of(subject.tested).mean(excess, np.ones(len(right), bool))
    error = value_of(subject.figures, "ece")
    evidence = (
        f"Mean probability of the likeliest class minus accuracy: {found.words(sign=True)}; n = {found.n:,} images"
    )
    evidence += f"; expected calibration error {error.words()}." if error else "."
    if not found.known:
        return Observation(f"{subject.title}: whether its probabilities hold cannot be told.", evidence)
    if not found.apart:
        return Observation(f"{subject.title}: neither over-confidence nor under-confidence is found.", evidence)
    which = "higher" if found.value > 0 else "lower"
    return Observation(f"{subject.title}: its probabilities are {which} than how often it is right.", evidence)


def _uncertainty(subject: ModelResults) -> Observation | None:
    found = subject.figures.uncertainty
    if not found or not found.images:
        return None
    n = f"{counted(found.errors, 'error')} of {found.images:,} images"
    if found.auroc_for_errors is None:
        return Observation(f"{subject.title}: whether its uncertainty tells errors cannot be said.", f"{n}.")
    area = with_interval(found.auroc_for_errors, found.interval)
    evidence = f"Chance that an error is less certain than an image that is right: {area}; .5 says nothing; {n}."
    if found.useful:
        return Observation(f"{subject.title}: its uncertainty is larger where it is wrong.", evidence)
    return Observation(f"{subject.title}: its uncertainty is not shown to tell errors.", evidence)


def _operating(subject: ModelResults) -> list[Observation]:
    """Thresholds that do not keep here what they kept on held-out images; and those of which that is not shown."""
    found, level = [], []
    malignant = int((subject.tested.evidence.scored.targets == len(subject.classes) - 1).sum())
    for point in subject.figures.operating_points:
        here = point.here
        if here is None or here.interval is None:
            continue
        low, high = here.interval
        promised = f"{100 * point.rate:.0f} % {point.kept}"
        kind, n = ("malignant", malignant) if point.kept == "sensitivity" else ("others", point.n - malignant)
        value = with_interval(here.value, here.interval)
        evidence = (
            f"{promised} on held-out images, here {value}, called malignant from a probability of "
            f"{number(point.threshold, 3)}; n = {n:,} {kind}."
        )
        if low <= point.rate <= high:
            level.append(evidence)
            continue
        which = "less" if high < point.rate else "more"
        claim = f"{subject.title}: the threshold that kept {promised} on held-out images keeps {which} here."
        found.append(Observation(claim, evidence))
    if level:
        which = "the other threshold is" if found else "thresholds for malignant are"
        claim = f"{subject.title}: {which} not shown to miss {'its rate' if found else 'their rates'}."
        found.append(Observation(claim, " ".join(level)))
    return found
