"""Grouped, stratified, seeded splits as pure functions: nothing here reads a file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from trainables.data.duplicates import canonical
from trainables.data.manifest import CLASSES, TEST

#: What `folds` is where each source is one.
BY_SOURCE = "source"
#: The sides that an image may be put on from outside; what is not given is drawn from TRAIN, see `split`.
TRAIN, VALIDATION, HELD_OUT = SIDES = ("train", "validation", "test")


def merge_groups(*keys: Sequence[str | int]) -> np.ndarray:
    """Groups in which all images that share a value of any key stand together, int64 [N], as `canonical` numbers them.

    Each key gives one value an image: patient ids, cluster numbers. "" and -1 mean an unknown value.
    """
    n = len(keys[0])
    # A graph of images and key values: an image is linked to each of its values.
    nodes: dict[tuple[int, str | int], int] = {}
    links = [
        (row, nodes.setdefault((k, value), n + len(nodes)))
        for k, key in enumerate(keys)
        for row, value in enumerate(key)
        if value not in ("", -1)
    ]
    ends = np.array(links, dtype=np.int64).reshape(-1, 2).T
    size = n + len(nodes)
    graph = coo_array((np.ones(len(links), dtype=bool), tuple(ends)), shape=(size, size))
    return canonical(connected_components(graph, directed=False)[1][:n])


def split(
    groups: np.ndarray,
    labels: np.ndarray,
    digests: Sequence[str],
    *,
    sides: Sequence[str] | None = None,
    seed: int = 0,
    test: float = 0.2,
    folds: int = 5,
) -> np.ndarray:
    """Assign each image to TEST or to a fold: groups and labels int64 [N], one file digest an image -> int64 [N].

    `sides`, one of SIDES an image, is a split that the user gives: "test" images are the test set and "validation"
    images are fold 0; whichever of the test set and the folds is not given is drawn from the "train" images.

    Drawn parts take whole groups. They are stratified by a group's commonest class (UNKNOWN is a class here): the test
    set's share of each class is within one group of `test`, each fold's share of the remainder within one group of 1 /
    folds. The test set does not depend on `folds`, and nothing depends on the order of the rows or on the groups'
    numbers: only on members, labels, sides and seed.

    Raises ValueError where there are too few groups to fill the test set and every fold.
    """
    given = np.array(sides if sides is not None else [TRAIN] * len(groups), dtype=str)
    drawn = np.flatnonzero(given == TRAIN)
    first = int(VALIDATION in given)
    parts = np.where(given == HELD_OUT, TEST, 0).astype(np.int64)
    parts[drawn] = _draw(
        canonical(groups[drawn]),
        labels[drawn],
        [digests[i] for i in drawn.tolist()],
        seed,
        0.0 if HELD_OUT in given else test,
        range(first, folds),
    )
    empty = [f"fold {i}" for i in range(folds) if i not in parts] + ["the test set"] * (TEST not in parts)
    if empty:
        marked = " marked train" if len(drawn) < len(given) else ""
        raise ValueError(
            f"{len(np.unique(groups[drawn]))} groups of images{marked} are too few for a test set and {folds} folds: "
            f"{', '.join(empty)} would be empty; give more images or ask for fewer folds"
        )
    return parts


def split_by_source(
    groups: np.ndarray,
    labels: np.ndarray,
    digests: Sequence[str],
    sources: Sequence[str],
    *,
    sides: Sequence[str],
    order: Sequence[str],
    seed: int = 0,
    test: float = 0.2,
) -> np.ndarray:
    """As `split`, but each source is a fold: what is held out is of a source that is not trained on.

    The test set is given, or drawn from every class of every source; images on the side "validation" are as those on
    "train". No group may lie in two sources.

    Args:
        sources: one name an image. order: of the folds; a source that is wholly in the test set makes none.

    Raises ValueError where there are fewer than two sources to make folds of, or a fold would be empty.
    """
    held_out = np.array([side == HELD_OUT for side in sides])
    names = np.array(sources)
    folds = [name for name in order if (names[~held_out] == name).any()]
    if len(folds) < 2:
        found = ", ".join(folds) or "none is named"
        raise ValueError(f"folds of sources need two sources or more beside the test set (there is {found})")
    strata = labels + len(CLASSES) * 2 * np.array([order.index(name) for name in sources], np.int64)
    given = [HELD_OUT if out else TRAIN for out in held_out]
    drawn = split(groups, strata, digests, sides=given, seed=seed, test=test, folds=1)
    parts = np.array([folds.index(name) if name in folds else TEST for name in sources], np.int64)
    parts[drawn == TEST] = TEST
    if empty := [name for fold, name in enumerate(folds) if fold not in parts]:
        raise ValueError(f"too few groups in {', '.join(empty)} for a test set and a fold; leave it out")
    return parts


def _draw(
    ids: np.ndarray, labels: np.ndarray, digests: Sequence[str], seed: int, test: float, folds: range
) -> np.ndarray:
    """TEST or one of `folds` for each image, whole groups at a time; ids are `canonical`, `test` may be 0."""
    members = np.split(np.argsort(ids, kind="stable"), np.cumsum(np.bincount(ids))[:-1]) if len(ids) else []
    strata = [_commonest(labels[rows]) for rows in members]
    sizes = [len(rows) for rows in members]
    draws = [hashlib.sha256(f"{seed} {min(digests[i] for i in rows.tolist())}".encode()).digest() for rows in members]
    # Large groups first: the small ones then even out what the large ones left uneven.
    order = sorted(range(len(members)), key=lambda group: (strata[group], -sizes[group], draws[group]))
    in_test = _fill(order, sizes, strata, [1 - test, test] if test else [1.0])
    rest = [group for group in order if in_test[group] == 0]
    fold = _fill(rest, sizes, strata, [1 / len(folds)] * len(folds))
    by_group = [folds[fold[group]] if group in fold else TEST for group in range(len(members))]
    return np.take(np.array(by_group, dtype=np.int64), ids)


def _fill(order: list[int], sizes: list[int], strata: list[int], shares: list[float]) -> dict[int, int]:
    """Put each group, in order, into the bin that is furthest below its share of the group's stratum."""
    total = [0] * len(shares)
    held = {stratum: [0] * len(shares) for stratum in strata}
    bins = {}
    for group in order:
        here = held[strata[group]]
        # Ties go to the larger share, so that a class with one group can be learned; then to the emptier bin.
        best = min((here[b] / share, -share, total[b], b) for b, share in enumerate(shares))[-1]
        here[best] += sizes[group]
        total[best] += sizes[group]
        bins[group] = best
    return bins


def _commonest(labels: np.ndarray) -> int:
    values, counts = np.unique(labels, return_counts=True)
    return int(values[counts.argmax()])
