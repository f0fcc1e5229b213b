"""What one evaluation found, beside what the model says of itself; and what its figures cannot say, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.ensemble.result import OwnResults
from orchestrator.evaluate.leakage import UnseenImages
from orchestrator.inference.description import Description
from orchestrator.rendering.numbers import counted
from orchestrator.report.results.means import counted_images, lesions_unknown
from orchestrator.report.results.subject import ModelResults
from orchestrator.scoring.final_scores import ModelScores
from orchestrator.scoring.metrics import lesions
from orchestrator.scoring.resampling import FEWEST_GROUPS
from orchestrator.scoring.verdict import Judgement, Verdict
from trainables.data import CLASSES, UNKNOWN, Fault, Manifest
from trainables.pretraining import overlaps

#: The headings of the result on new images, and of that on the model's own test images.
EXTERNAL, INTERNAL = "external", "internal"
#: What to do where most images were left out, by the reason of most; for any other the truth of images is lacking.
INSTEAD = {
    "known to the model": "use images of other patients, or a model that was not trained on them",
    "faulty": "mend the files that are listed, or use others",
    "no number of the model": "use another model, since this one fails on such images",
}
TRUTH = "add the classes or masks that are lacking, or use a model that does without"


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found.

    Attributes:
        model: its address. description: what it says of itself.
        manifest: the external data as they were read. fresh: those that were scored. subject: the result.
        results: what the model reached on its own data; None where an older version wrote it.
        hashed: whether the model ships what its near-duplicates are known by.
        synthetic: whether the external data are phantom images.
    """

    model: str
    description: Description
    manifest: Manifest
    fresh: UnseenImages
    subject: ModelResults
    results: OwnResults | None
    hashed: bool
    synthetic: bool

    def columns(self) -> dict[str, ModelScores]:
        """Figures by the heading of their column."""
        own = {INTERNAL: self.results.test} if self.results else {}
        return {EXTERNAL: self.subject.figures} | own

    @property
    def judgement(self) -> Judgement:
        """What the model may be called by these images alone."""
        return self.subject.judged["here"]

    def verdicts(self) -> dict[str, Judgement | Verdict | None]:
        """What it may be called, by the images that this rests on; None where an older version wrote no verdict."""
        return {"on these images": self.judgement, "on its own data": self.results.verdict if self.results else None}

    def told(self) -> list[str]:
        """What a reader must know of these figures, a sentence each: what was left out, and what cannot be computed."""
        fresh = self.fresh
        lines = [*most_left_out(fresh), *_synthetic(self.synthetic, self.description.synthetic)]
        lines.append(f"Scored: {counted_images(self.subject.tested)}: {listed(by_class(fresh.labels))}.")
        if fresh.seen:
            reasons = Counter(fault.problem.partition(" (")[0] for fault in fresh.seen)
            why = "; ".join(f"{reason}: {n:,}" for reason, n in reasons.items())
            lines.append(f"{counted(len(fresh.seen), 'image')} left out that the model may know ({why}).")
        if not self.hashed:
            lines.append(
                "Warning: the model was written without hashes of its training images. Only copies of their very files "
                "are left out, near-duplicates cannot be told, and figures may be of images that it knows; build the "
                "ensemble again to have them."
            )
        if fresh.left_out:
            lines.append(f"{counted(fresh.left_out, 'image')} left out for faults.")
        if fresh.unanswered:
            words = f"{counted(len(fresh.unanswered), 'image')} left out of all figures: {fresh.unanswered[0].problem}"
            lines.append(f"Warning: {words}; the model failed on them, and these figures do not show it.")
        lines += [f"{counted(n, 'image')} passed over: {reason}." for reason, n in fresh.passed_over.items()]
        lines += gaps(self.subject)
        if self.results is None:
            lines.append("The model was written without its own results, so there is nothing to show beside these.")
        patients = {(row.record.source, row.record.patient) for row in fresh.rows if row.record.patient}
        lines.append(
            f"Images of {counted(len(patients), 'patient')}."
            if patients
            else "Patients unknown: what is not a near-duplicate counts as of a patient of its own, so that intervals "
            "may be too narrow."
        )
        tested = [row.record.image for row in fresh.rows]
        seen = [] if self.synthetic else overlaps(self.description.encoder_weights, tested)
        warned = [*seen, *(note for note in fresh.notes if "warning: " in note)]
        return [*lines, *(f"{note[0].upper()}{note[1:]}." for note in warned)]

    def to_json(self) -> dict[str, Any]:
        """Plain values: all that the page says."""
        fresh, described = self.fresh, self.description
        return {
            "model": self.model,
            "task": described.task,
            "classes": list(described.classes),
            "combiner": described.main.combination.name,
            "model_data_fingerprint": described.data_fingerprint,
            "model_synthetic": described.synthetic,
            "data": self.manifest.places,
            "layout": self.manifest.layout,
            "synthetic": self.synthetic,
            "images": len(fresh.rows),
            "groups": len(np.unique(fresh.groups)),
            "class_counts": by_class(fresh.labels),
            "duplicate_distance": fresh.distance,
            "known_distance": fresh.known_distance,
            "near_duplicates_known": self.hashed,
            "left_out": [self._fault(fault) for fault in fresh.seen],
            "faults": [self._fault(fault) for fault in fresh.faults],
            "unanswered": [self._fault(fault) for fault in fresh.unanswered],
            "passed_over": fresh.passed_over,
            "told": self.told(),
            "verdict": self.judgement.model_dump(mode="json"),
            "external": self.subject.figures.model_dump(mode="json") | {"synthetic": self.subject.synthetic},
            "internal": self.results.model_dump(mode="json") if self.results else None,
        }

    def _fault(self, fault: Fault) -> dict[str, str]:
        return {"file": self.manifest.shown(fault.file), "problem": fault.problem, "action": fault.action}


def most_left_out(fresh: UnseenImages) -> list[str]:
    """That more than half of the images were left out, why, and what to do about it; nothing where less were."""
    reasons = {"known to the model": len(fresh.seen), "faulty": fresh.left_out, **fresh.passed_over}
    reasons["no number of the model"] = len(fresh.unanswered)
    lost = sum(reasons.values())
    images = lost + len(fresh.rows)
    if 2 * lost <= images:
        return []
    most = max(reasons, key=lambda reason: reasons[reason])
    why = ", ".join(f"{reason} {n:,}" for reason, n in reasons.items() if n)
    return [
        f"Warning: {lost:,} of {images:,} images were left out ({why}): the figures are of the rest, which may be a "
        f"special part; {INSTEAD.get(most, TRUTH)}."
    ]


def gaps(subject: ModelResults) -> list[str]:
    """What cannot be computed from these images, and why, a sentence each."""
    scored = subject.tested.evidence.scored
    lesion = lesions(scored)
    lines = []
    groups = len(np.unique(subject.tested.evidence.groups))
    if groups < FEWEST_GROUPS:
        few = f"{counted(groups, 'group')} of images, fewer than {FEWEST_GROUPS}: no interval over groups is given"
        lines.append(f"{few}; Wilson intervals are, which take images for independent.")
    if subject.task != "cls":
        if not scored.has_mask.any():
            lines.append("No mask is known: Dice and all else that is told of masks cannot be computed.")
        elif lesions_unknown(scored):
            normals = counted(int(scored.has_mask.sum()), "normal")
            lines.append(f"The mask of no lesion is known: figures of masks are of {normals} alone.")
        elif not lesion.any():
            lines.append("No image that is scored has a lesion: Dice, IoU and Hausdorff distance cannot be computed.")
        elif not (scored.has_mask & ~lesion).any():
            lines.append("No image is known to be without a lesion: false alarms cannot be computed.")
    if subject.classes:
        there = [name for index, name in enumerate(subject.classes) if (scored.targets == index).any()]
        if not there:
            lines.append("No class is known: nothing can be computed of classes.")
        elif len(there) == 1:
            lines.append(f"All images of known class are {there[0]}: AUROC and specificity cannot be computed.")
        elif len(there) < len(subject.classes):
            missing = _listed_words([name for name in subject.classes if name not in there])
            lines.append(f"No image is {missing}: means over classes are of the others, and so not the internal ones.")
    if subject.task == "multi" and "score" not in subject.figures.scores:
        lines.append("The score, the mean of Dice and AUROC, cannot be computed.")
    return lines


def _synthetic(data: bool, model: bool) -> list[str]:
    if data and model:
        return ["SYNTHETIC: both the images and the model's training images are phantoms."]
    if data:
        return ["SYNTHETIC: the images are phantoms; the model was trained on others."]
    if model:
        return ["SYNTHETIC: the model was trained on phantom images; these are others."]
    return []


def by_class(labels: np.ndarray) -> dict[str, int]:
    """Images of each class that occurs, and of those whose class is not known."""
    counts = Counter(labels.tolist())
    names = {**dict(enumerate(CLASSES)), UNKNOWN: "unlabelled"}
    return {name: counts[label] for label, name in names.items() if counts[label]}


def listed(counts: Mapping[str, int]) -> str:
    """`3 benign, 4 malignant`."""
    return ", ".join(f"{n:,} {name}" for name, n in counts.items())


def _listed_words(words: Sequence[str]) -> str:
    return " or ".join(words) if len(words) < 3 else ", ".join(words)
