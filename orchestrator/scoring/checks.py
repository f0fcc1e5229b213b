"""The figures that a verdict rests on, each with the side that it speaks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel

from orchestrator.scoring import weighted
from orchestrator.scoring.metrics import each_class, lesions
from orchestrator.scoring.operating_points import OperatingPoint, apply_thresholds
from orchestrator.scoring.resampling import enough, finite, interval, telling_interval
from orchestrator.scoring.values import ScoredPredictions, class_confusion, dice_by_image
from trainables.data.manifest import CLASSES

#: A lesion is found where the predicted mask has this IoU with it.
FOUND = 0.1
#: Share of the lesions to be found: below the first a model is not usable, below the second weak.
LEAST_FOUND, ENOUGH_FOUND = 0.5, 0.8
#: What each figure is called; two checks of one figure have one name.
TO_TRIVIAL, SHARE_FOUND = "lesion Dice minus that of the trivial mask", "share of lesions found"
ALARMS, AREA, RIGHT = "share of normals in which something is seen", "AUROC", "share called what they are"
#: Those of masks; the others are of classes.
OF_MASKS = frozenset({TO_TRIVIAL, SHARE_FOUND, ALARMS})
#: Share of the normals in which something may be seen.
MOST_ALARMS = 0.5
#: Sensitivity at the shipped point of 90 % specificity.
LEAST_SENSITIVITY = 0.5
#: By how much the lower bound of a rate may lie below what was promised.
SLACK = 0.2


class Check(BaseModel, frozen=True):
    """One figure that a verdict rests on.

    Attributes:
        claim: what it says, without a full stop. value, interval (95 %), n: images.
        side: whether it speaks for the model; unknown where there are too few groups of what it rests on.
        floor: whether a model is not usable without it; else it is weak.
        name: of the figure, by which one on held-out and one on test images are paired; "" in older files.
    """

    claim: str
    value: float
    interval: tuple[float, float] | None
    n: int
    side: Literal["for", "against", "unknown"]
    floor: bool
    name: str = ""


def mask_checks(
    scored: ScoredPredictions, groups: np.ndarray, counts: np.ndarray, trivial: tuple[str, np.ndarray]
) -> list[Check]:
    """Lesions and normals: whether masks are better than trivial ones, how many are found, and false alarms.

    Args:
        groups: int64 [N]. counts: of resamples, float64 [B,N]. trivial: the best trivial prediction, and its Dice on
            each image, float64 [N], NaN without a lesion.
    """
    assert scored.counts is not None
    lesion = lesions(scored)
    if not lesion.any():
        return []
    name, theirs = trivial
    many = enough(groups, [lesion])
    dice = dice_by_image(scored.counts)
    own, other = float(dice[lesion].mean()), float(theirs[lesion].mean())
    bounds = finite(interval(weighted.mean(np.where(lesion, dice - theirs, 0), lesion, counts)))
    better = bool(bounds and bounds[0] > 0)
    found = scored.counts[:, 0] >= FOUND * scored.counts.sum(1)
    share, total = float(found[lesion].mean()), int(lesion.sum())
    share_bounds = finite(telling_interval(weighted.mean(found.astype(float), lesion, counts)))
    n_found = int(found[lesion].sum())
    checks = [
        Check(
            claim=f"Dice {own:.3f} of lesions against {other:.3f} of {name}, without any network",
            value=own - other,
            interval=bounds if many else None,
            n=total,
            side=_side(better, many, fails=own <= other),
            floor=True,
            name=TO_TRIVIAL,
        )
    ]
    for least, floor in ((LEAST_FOUND, True), (ENOUGH_FOUND, False)):
        checks.append(
            Check(
                claim=f"{n_found} of {total} lesions are found"
                + ("" if share >= least else f", {'fewer than half' if floor else f'fewer than {least:.0%}'}"),
                value=share,
                interval=share_bounds if many else None,
                n=total,
                side=_side(share >= least, many, fails=share < least),
                floor=floor,
                name=SHARE_FOUND,
            )
        )
    normal = scored.has_mask & ~lesion
    if normal.any():
        alarms = float(1 - dice[normal].mean())
        checks.append(
            Check(
                claim=f"something is seen in {round(alarms * normal.sum())} of {int(normal.sum())} normal images",
                value=alarms,
                interval=finite(telling_interval(weighted.mean(1 - dice, normal, counts)))
                if enough(groups, [normal])
                else None,
                n=int(normal.sum()),
                side=_side(alarms <= MOST_ALARMS, enough(groups, [normal]), fails=alarms > MOST_ALARMS),
                floor=False,
                name=ALARMS,
            )
        )
    return checks


def class_checks(
    scored: ScoredPredictions, groups: np.ndarray, counts: np.ndarray, points: Sequence[OperatingPoint]
) -> list[Check]:
    """Whether classes are told at all, each of them, and what the shipped operating points keep; as `mask_checks`."""
    known = scored.targets >= 0
    kinds = each_class(scored)
    if len(kinds) < 2:
        return []
    many = enough(groups, kinds)
    value = weighted.once(weighted.FAST["auroc"], scored)
    bounds = finite(interval(weighted.FAST["auroc"](scored, counts)))
    above = bool(bounds and bounds[0] > 0.5)
    shown = f"{value:.3f}" + (f", 95 % from {bounds[0]:.3f}" if bounds and many else "")
    checks = [
        Check(
            claim=f"AUROC {shown}, where .5 is guessing",
            value=value,
            interval=bounds if many else None,
            n=int(known.sum()),
            side=_side(above, many, fails=value <= 0.5),
            floor=True,
            name=AREA,
        )
    ]
    table = class_confusion(scored)
    names = CLASSES[-len(table) :]
    missing = [i for i in range(len(names)) if table[i].any() and not table[i, i]]
    never = [i for i in missing if enough(groups, [scored.targets == i])]
    right, total = int(table.trace()), int(table.sum())
    claim = f"{right} of {total} images are called what they are, some of each class"
    if missing:
        claim = "; ".join(f"none of {table[i].sum()} {names[i]} images is called {names[i]}" for i in never or missing)
    checks.append(
        Check(
            claim=claim,
            value=right / total,
            interval=None,
            n=total,
            side="against" if never else "unknown" if missing else "for",
            floor=True,
            name=RIGHT,
        )
    )
    last = scored.targets == len(table) - 1
    for point in apply_thresholds(points, scored):
        rates = {"sensitivity": (point.sensitivity, last), "specificity": (point.specificity, known & ~last)}
        kept, inside = rates[point.kept]
        if kept and kept.interval:
            low = kept.interval[0]
            checks.append(
                Check(
                    claim=f"the threshold that is to keep {point.rate:.0%} {point.kept} keeps {kept.value:.0%}, "
                    f"95 % from {low:.0%}",
                    value=kept.value,
                    interval=kept.interval,
                    n=int(inside.sum()),
                    side=_side(
                        low >= point.rate - SLACK, enough(groups, [inside]), fails=kept.value < point.rate - SLACK
                    ),
                    floor=False,
                    name=f"{point.kept} at the threshold for {point.rate:.0%}",
                )
            )
        if point.kept == "specificity" and point.sensitivity:
            enough_of_it = point.sensitivity.value >= LEAST_SENSITIVITY
            checks.append(
                Check(
                    claim=f"at {point.rate:.0%} specificity {point.sensitivity.value:.0%} of {int(last.sum())} "
                    "malignant images are told",
                    value=point.sensitivity.value,
                    interval=point.sensitivity.interval,
                    n=int(last.sum()),
                    side=_side(enough_of_it, enough(groups, [last]), fails=not enough_of_it),
                    floor=False,
                    name=f"sensitivity at {point.rate:.0%} specificity",
                )
            )
    return checks


def _side(holds: bool, many: bool, *, fails: bool) -> Literal["for", "against", "unknown"]:
    """A figure that fails by itself speaks against a model however few images there are."""
    if fails:
        return "against"
    return "unknown" if not many else "for" if holds else "against"
