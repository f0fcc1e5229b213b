"""Key observations as sentences: each is computed from these data, and a difference is stated only where it is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count as from_here

import numpy as np

from orchestrator.eda.statistics import DRAWS, TEST_SHARE, Comparison, ratio_interval, twins_in_training
from orchestrator.eda.survey import PARTS, Survey, class_name, disagrees
from orchestrator.rendering.document import Observation
from orchestrator.rendering.numbers import number, percent, spanned
from orchestrator.scoring.resampling import FEWEST_GROUPS, INTERVAL
from trainables.data import CLASSES

#: Ratio of pixel sizes of two sources above which it is said.
MOST_APART = 1.5


def observations(survey: Survey, comparisons: Sequence[Comparison]) -> list[Observation]:
    """What these data show, in the page's order."""
    found = [_balance(survey), *_duplicates(survey), *_disagreement(survey), *_pixels(survey), *_masks(survey)]
    found += [_difference(comparison) for comparison in comparisons if comparison.asserted]
    found += _undecided(comparisons)
    return [observation for observation in (*found, _sizes(survey), *_spacing(survey), _splits(survey)) if observation]


def _balance(survey: Survey) -> Observation | None:
    labels, groups = survey.data.labels, survey.data.groups
    counts = Counter(labels[labels >= 0].tolist())
    if not counts:
        return None
    (most, large), (least, small) = counts.most_common()[0], counts.most_common()[-1]
    n = _n(int((labels >= 0).sum()), groups[labels >= 0])
    if most == least:
        return Observation(f"All images are {CLASSES[most]}: nothing can be classified here.", f"{n}.")
    low, high = ratio_interval(labels == most, labels == least, groups)
    evidence = (
        f"{large} and {small}, ratio {number(large / small, 2)} ({_interval(low, high, 2)}); {n}. "
        f"Answering {CLASSES[most]} every time would be right for {percent(large, counts.total())} of the images."
    )
    if low <= 1 or not np.isfinite(low):
        return Observation("That one class is more frequent than another cannot be told.", evidence)
    times = number(large / small, 1)
    return Observation(f"{_plural(most)} are {times} times as many as {_plural(least).lower()}.", evidence)


def _duplicates(survey: Survey) -> list[Observation]:
    rows = {file: row for row, file in enumerate(survey.data.files)}
    numbers = np.full(len(rows), -1)
    for which, members in enumerate(survey.clusters):
        inside = [rows[file] for member in members if (file := str(member.record.image)) in rows]
        if len(inside) > 1:
            numbers[inside] = which
    twin = numbers >= 0
    n = _n(len(rows), survey.data.groups)
    if not twin.any():
        return [Observation("No image that is used has a near-duplicate.", f"{n}.")]
    low, high = ratio_interval(twin, np.ones(len(twin)), survey.data.groups)
    fresh = from_here(len(survey.clusters))
    mean, least, most = twins_in_training([which if which >= 0 else next(fresh) for which in numbers.tolist()])
    evidence = (
        f"{int(twin.sum())} of {len(twin)} images have one ({percent(twin.sum(), len(twin))}, "
        f"{_interval(100 * low, 100 * high, 1)}); {n}. The middle 95 % of {DRAWS:,} random splits with "
        f"{100 * TEST_SHARE:.0f} % test images lie between {number(100 * least, 1)} and {number(100 * most, 1)} %. "
        "Here groups are never divided."
    )
    share = number(100 * mean, 0)
    claim = f"Splitting image by image would leave {share} % of test images with a near-duplicate in training."
    return [Observation(claim, evidence)]


def _disagreement(survey: Survey) -> list[Observation]:
    wrong = np.array([disagrees(members) for members in survey.clusters], bool)
    if not wrong.any():
        return []
    images = sum(len(members) for members in survey.clusters if disagrees(members))
    low, high = ratio_interval(wrong, np.ones(len(wrong)), np.arange(len(wrong)))
    evidence = (
        f"{int(wrong.sum())} of {len(wrong)} clusters ({percent(wrong.sum(), len(wrong))}, "
        f"{_interval(100 * low, 100 * high, 1)}); their {images} of {survey.examined} readable images are left out "
        "of every part."
    )
    some = (
        "One cluster of near-duplicates disagrees" if wrong.sum() == 1 else "Some clusters of near-duplicates disagree"
    )
    return [Observation(f"{some} on the class: some labels are probably wrong.", evidence)]


def _pixels(survey: Survey) -> list[Observation]:
    known = survey.data.has_mask
    if not known.any():
        return []
    lesion, pixels = (survey.measured[name][known] for name in ("lesion_pixels", "pixels"))
    groups = survey.data.groups[known]
    low, high = ratio_interval(pixels - lesion, pixels, groups)
    evidence = (
        f"Background is {percent((pixels - lesion).sum(), pixels.sum())} of all pixels "
        f"({_interval(100 * low, 100 * high, 1)}); {_n(int(known.sum()), groups)}. Accuracy over pixels says little; "
        "lesion Dice of the same prediction is 0."
    )
    right = percent((pixels - lesion).sum(), pixels.sum(), 0)
    return [Observation(f"Predicting no lesion anywhere would be right for {right} of all pixels.", evidence)]


def _masks(survey: Survey) -> list[Observation]:
    masks = survey.measured["masks"]
    lesions = masks > 0
    if not (several := masks > 1).any():
        return []
    low, high = ratio_interval(several[lesions], np.ones(lesions.sum()), survey.data.groups[lesions])
    evidence = (
        f"{int(several.sum())} of {int(lesions.sum())} images with a lesion ({percent(several.sum(), lesions.sum())}, "
        f"{_interval(100 * low, 100 * high, 1)}), at most {int(np.nanmax(masks))} masks; "
        f"{_n(int(lesions.sum()), survey.data.groups[lesions])}. They are merged, or trained on one by one with "
        "--masks duplicate."
    )
    return [Observation("Some images have several masks.", evidence)]


def _difference(comparison: Comparison) -> Observation:
    quantity, (first, second) = comparison.quantity, comparison.medians
    words = quantity.more if comparison.difference > 0 else quantity.less
    a, b = CLASSES[comparison.a], CLASSES[comparison.b]
    value = [number(median.value, quantity.digits) + quantity.unit for median in (second, first)]
    points = " points" if quantity.unit else ""
    evidence = (
        f"{quantity.words[0].upper()}{quantity.words[1:]}: median {value[0]} against {value[1]}, difference "
        f"{number(comparison.difference, quantity.digits, sign=True)}{points} "
        f"(95 % {spanned(comparison.low, comparison.high, quantity.digits, sign=True)}); "
        f"n = {second.n} {b} and {first.n} {a} images, train and validation."
    )
    return Observation(f"{b.capitalize()} {quantity.subject} are {words} {a} ones.", evidence)


def _undecided(comparisons: Sequence[Comparison]) -> list[Observation]:
    found = []
    if zero := [one for one in comparisons if one.known and not one.asserted]:
        claim = f"For {len(zero)} of {len(comparisons)} comparisons of classes no difference is asserted."
        found.append(Observation(claim, f"The interval includes zero: {'; '.join(map(_in_short, zero))}."))
    if few := [one for one in comparisons if not one.known]:
        claim = f"For {len(few)} of {len(comparisons)} comparisons of classes there are too few images."
        pairs = "; ".join(dict.fromkeys(f"{CLASSES[one.a]} and {CLASSES[one.b]}" for one in few))
        found.append(Observation(claim, f"A class has fewer than {FEWEST_GROUPS} groups: {pairs}."))
    return found


def _in_short(one: Comparison) -> str:
    digits = one.quantity.digits
    bounds = spanned(one.low, one.high, digits, sign=True)
    n = f"n = {one.medians[0].n} and {one.medians[1].n}"
    return f"{one.quantity.words.split(' (')[0]}, {CLASSES[one.a]} and {CLASSES[one.b]} ({bounds}; {n})"


def _sizes(survey: Survey) -> Observation:
    sizes = survey.data.sizes
    (low, wide), (high, broad) = sizes.min(0).tolist(), sizes.max(0).tolist()
    n = _n(len(sizes), survey.data.groups)
    if (sizes == sizes[0]).all():
        return Observation("All images are of one size.", f"{wide} x {low} pixels; {n}.")
    ratios = sizes[:, 1] / sizes[:, 0]
    bounds = np.percentile(ratios, (2.5, 97.5))
    middle = number(float(np.median(ratios)), 2)
    evidence = (
        f"{wide} to {broad} pixels wide, {low} to {high} high; width over height {middle} in the median, "
        f"the middle 95 % of images from {number(bounds[0], 2)} to {number(bounds[1], 2)}; {n}. "
        "They are stretched to squares, or letterboxed with --keep-aspect."
    )
    return Observation(f"Images come in {len(np.unique(sizes, axis=0))} sizes.", evidence)


def _spacing(survey: Survey) -> list[Observation]:
    """Where pixels are known in mm: whether of all images, and alike in all sources."""
    spacing, found = survey.spacing_mm, []
    known = np.isfinite(spacing)
    if known.any() and not known.all():
        evidence = f"{int(known.sum())} of {len(known)} images have one. Only their lesions are measured in mm."
        found.append(Observation("The size of a pixel is known of some images only.", evidence))
    sources = np.array(survey.data.sources)
    medians = {name: float(np.median(spacing[known & (sources == name)])) for name in sorted(set(sources[known]))}
    if medians and max(medians.values()) > MOST_APART * min(medians.values()):
        each = ", ".join(f"{name or 'no source'} {number(value, 3)} mm" for name, value in medians.items())
        claim = "Pixels are of other sizes in one source than in another: a lesion of as many pixels is not as large."
        found.append(Observation(claim, f"Medians: {each}. This is counted, so it has no interval."))
    return found


def _splits(survey: Survey) -> Observation:
    labels, parts = survey.data.labels, survey.parts
    whole = np.array([(labels == label).mean() for label in survey.classes])
    gaps = {
        (part, label): abs(float((labels[parts == part] == label).mean()) - share)
        for part in PARTS
        for label, share in zip(survey.classes, whole, strict=True)
    }
    part, label = max(gaps, key=lambda key: gaps[key])
    sizes = ", ".join(f"{int((parts == name).sum())} {name}" for name in PARTS)
    return Observation(
        f"The share of a class in a part of the split is at most {number(100 * gaps[part, label], 1)} points off its "
        "share of all images.",
        f"Furthest off: {class_name(label)} in {part}; n = {sizes}. This is counted, so it has no interval.",
    )


def _n(images: int, groups: np.ndarray) -> str:
    return f"n = {images:,} images in {len(np.unique(groups)):,} groups"


def _interval(low: float, high: float, digits: int) -> str:
    return f"95 % {spanned(low, high, digits)}" if np.isfinite(low) else "too few groups for an interval"


def _plural(label: int) -> str:
    return "Normals" if CLASSES[label] == "normal" else f"{CLASSES[label].capitalize()} images"


#: Said below the observations.
METHOD = (
    f"Intervals are percentiles over {INTERVAL:,} bootstrap samples of whole groups (near-duplicates and patients), "
    "within classes where classes are compared. They are of single comparisons, and not corrected for their number."
)
