"""The winners in one view: held-out and test scores, and where each stands in the registry."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.pages.document import Block, Text
from orchestrator.pages.page import Table, with_interval
from orchestrator.pages.report.ensembles import Rows, winner_of, with_error
from orchestrator.pages.report.found import METRICS
from orchestrator.pages.report.gather import Studied


def overview(studied: Sequence[Studied]) -> Table:
    """Each winner with its held-out and its test score."""
    rows: Rows = []
    for one in studied:
        found, test = one.ensemble, one.ensemble["test"]
        winner = winner_of(found)
        rows.append(
            [
                one.title,
                one.search.name,
                found["winner"],
                len(winner["members"]),
                f"{found['compared']['images']:,}, {len(one.subject.tested):,}",
                METRICS[test["metric"]],
                with_error(winner["score"], winner["standard_error"]),
                with_interval(test["value"], test["interval"]),
                with_interval(test["difference"], test["difference_interval"], sign=True),
            ]
        )
    columns = ("approach", "search", "winner", "members", "n", "metric", "held out", "test", "test minus best single")
    caption = (
        "Winning combiners. Held out: the score of cross-fitted predictions ± its standard error; test: the score with "
        "its 95 % interval, and the paired difference to the best single candidate. n: held-out and test images."
    )
    return Table(caption, columns, rows, texts=3)


def standing(studied: Sequence[Studied]) -> list[Block]:
    """Where each winner stands in the registry, and how often test images were looked at."""
    rows: Rows = []
    silent = []
    for one in studied:
        found, said = one.ensemble, one.registered
        rows.append([one.title, found["model_uri"], said.state, one.subject.figures["times_scored"]])
        if said.silence:
            words = (
                f"{one.title}: the tracking store does not say where it stands ({said.silence}). Scorings are counted "
                "as when it was built."
            )
            silent.append(Text(words, warning=True))
    caption = (
        "The registry. Scorings: winners that were scored on the test images of these data, over all ensembles of the "
        "store; whoever chooses by test figures sees them too high."
    )
    columns = ("approach", "registered as", "today", "scorings")
    return [Table(caption, columns, rows, texts=3), *silent]
