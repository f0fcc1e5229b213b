"""The winner by source: what is held out of a source is scored by what never learnt from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.ensemble.by_source import source_rows
from orchestrator.ensemble.combiners.fits import Fits
from orchestrator.ensemble.selection import cross_fit
from orchestrator.scoring.values import primary
from tests.support import heldouts


def test_a_row_a_source_and_the_first_chose_the_epochs() -> None:
    held = heldouts.classification(n=300)
    folds = np.arange(300) % 3
    held = replace(held, folds=folds, compared=folds > 0)
    sources = dict(zip(held.digests, np.array(["B", "A", "C"])[folds].tolist(), strict=True))
    rows = source_rows("cls", "boosted", Fits(held), sources, by_fold=True)
    assert [(row.name, row.images, row.chose, row.unseen) for row in rows] == [
        ("B", 100, True, True),
        ("A", 100, False, True),
        ("C", 100, False, True),
    ]
    assert rows[0].words == "trained on the others, but epochs chosen on it"
    crossed = cross_fit(["boosted"], Fits(held))["boosted"]
    assert not isinstance(crossed, Exception)
    compared = folds[folds > 0]
    for row, fold in ((rows[1], 1), (rows[2], 2)):
        assert row.value == primary("cls", crossed.take(np.flatnonzero(compared == fold)))
        assert row.interval
        assert row.interval[0] < row.value < row.interval[1]


def test_a_source_without_a_second_class_has_no_figure() -> None:
    held = heldouts.classification(n=300)
    sources = {
        digest: "cancers" if label == 2 else "rest" for digest, label in zip(held.digests, held.labels, strict=True)
    }
    rows = {row.name: row for row in source_rows("cls", "mean", Fits(held), sources, by_fold=False)}
    assert (rows["cancers"].value, rows["cancers"].interval) == (None, None)
    assert rows["rest"].value is not None
    assert rows["rest"].words == "trained on all sources"


@pytest.mark.parametrize("optimistic", [False, True])
def test_one_source_alone_has_no_rows(optimistic: bool) -> None:
    held = replace(heldouts.classification(n=100), optimistic=optimistic)
    sources = {digest: "AB"[row % 2] if optimistic else "A" for row, digest in enumerate(held.digests)}
    assert source_rows("cls", "mean", Fits(held), sources, by_fold=False) == ()
