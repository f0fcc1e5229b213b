"""One ensemble: which combiners were compared, which one won, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.ensemble.result import Difference, EnsembleResult
from orchestrator.rendering.document import Block, Heading, Table, Text
from orchestrator.rendering.numbers import counted, number, with_error, with_interval
from orchestrator.report.gather import ReportedSearch
from orchestrator.scoring.metrics import PRIMARY_WORDS

Rows = list[list[str | int]]


def blocks(one: ReportedSearch) -> list[Block]:
    """All that is known of one ensemble."""
    found = one.ensemble
    shown: list[Block] = [Heading(f"{one.title.capitalize()}: {one.search.name}")]
    shown.append(Text(f"Winner: {found.winner}. {found.why}."))
    if found.lacks:
        shown.append(Text(f"It lacks what there was no time for: {'; '.join(found.lacks)}."))
    shown.append(combiners(found, one.title))
    shown += [table for table in (notes(found, one.title),) if table]
    if found.sources:
        shown.append(by_source(found, one.title))
    shown += [candidates(found, one.title), *winners_weights(found, one.title)]
    if found.boost_rounds:
        names = {digest: image.name for digest, image in one.subject.images.items()}
        shown += [boost_rounds(found, one.title), *suspects(found, names)]
    promoted = "it became the champion" if found.promoted else "it did not become the champion"
    return [*shown, *again(one), Text(f"When it was built {promoted}: {found.why_promoted}.")]


def combiners(found: EnsembleResult, title: str) -> Table:
    """The six rows of the comparison, in the order in which they may win."""
    metric, images = PRIMARY_WORDS[found.test.metric], found.compared.images
    masks = any(row.fpr_normal is not None for row in found.combiners)
    rows: Rows = []
    for row in found.combiners:
        name = row.name + (" (winner)" if row.name == found.winner else "")
        alarms = "-" if row.fpr_normal is None else number(row.fpr_normal, 3)
        rows.append(
            [
                name,
                with_error(row.score, row.standard_error),
                *map(_difference, (row.difference_to_best, row.difference_to_mean)),
                *([alarms] if masks else []),
                len(row.members) or "-",
            ]
        )
    folds = f" (folds {', '.join(map(str, found.compared.folds))})" if found.compared.folds else ""
    caption = (
        f"Combiners of {title} on held-out images, n = {images:,}{folds}: {metric} ± standard error, and paired "
        "differences ± theirs. Every image is predicted by what saw neither it nor its group"
    )
    if found.compared.optimistic:
        caption += ", but for the choice of epoch and configuration."
    else:
        caption += (
            ", by one model of each member. On test and new images all models of a member are averaged, so "
            "figures there, false alarms above all, may differ from these."
        )
    alarmed = ["false alarms on normals"] if masks else []
    columns = ("combiner", f"held-out {metric}", "minus best", "minus mean", *alarmed, "members")
    return Table(caption, columns, rows)


def by_source(found: EnsembleResult, title: str) -> Table:
    """The winner on the held-out images of each source."""
    metric = PRIMARY_WORDS[found.test.metric]
    alarmed = any(row.fpr_normal is not None for row in found.sources)
    rows: Rows = []
    for row in found.sources:
        value = "-" if row.value is None else with_interval(row.value, row.interval)
        alarms = "-" if row.fpr_normal is None else number(row.fpr_normal, 3)
        counts = [f"{row.images:,}", f"{row.groups:,}"]
        rows.append([row.name, row.word or "-", *counts, value, *([alarms] if alarmed else []), row.words])
    caption = (
        f"Winner of {title} by source, on held-out images: {metric} with its 95 % interval over groups, none below "
        "10. It won on all of them together; what holds on one source need not hold on another."
    )
    columns = (
        "source",
        "verdict",
        "images",
        "groups",
        f"held-out {metric}",
        *(["false alarms on normals"] if alarmed else []),
    )
    return Table(caption, (*columns, "networks"), rows, texts=2)


def notes(found: EnsembleResult, title: str) -> Table | None:
    """What there is to note of combiners; None where there is nothing."""
    rows: Rows = [[row.name, row.note] for row in found.combiners if row.note]
    caption = (
        f"Notes on the combiners of {title}. Picks: how many times greedy selection took a member, the same one again "
        "perhaps; rounds: how many times boosting moved the weights."
    )
    return Table(caption, ("combiner", "note"), rows, texts=2) if rows else None


def candidates(found: EnsembleResult, title: str) -> Table:
    """The trials that the ensemble was built from."""
    metric = PRIMARY_WORDS[found.test.metric]
    rows: Rows = [[one.name, one.architecture, number(one.score, 4), one.run_id[:8]] for one in found.candidates]
    caption = (
        f"Candidates of {title}, best first: the best {metric} on the validation fold of the search, by which epoch "
        "and trial were chosen: optimistic."
    )
    return Table(caption, ("candidate", "architecture", f"validation {metric}", "MLflow run"), rows, texts=2)


def winners_weights(found: EnsembleResult, title: str) -> list[Table]:
    """What each member, and each feature of a stack, counts for in the winner."""
    given = found.winning.weights
    weights = {head: one for head, one in (("classes", given.classes), ("masks", given.masks)) if one is not None}
    tables = []
    if weights:
        names = list(dict.fromkeys(name for one in weights.values() for name in one))
        rows: Rows = [[name, *(number(one.get(name, 0.0), 3) for one in weights.values())] for name in names]
        caption = f"Weights of the members in {found.winner}, winner of {title}; those of a head sum to 1."
        tables.append(Table(caption, ("member", *weights), rows))
    if features := given.features:
        classes = list(next(iter(features.values())))
        rows = [[name, *(number(one[c], 3, sign=True) for c in classes)] for name, one in features.items()]
        caption = (
            f"Features of the stack that won for {title}, by class. Of a logistic stack: logits for each standard "
            "deviation of the feature; of trees: its share of the class's gain."
        )
        tables.append(Table(caption, ("feature", *classes), rows))
    return tables


def boost_rounds(found: EnsembleResult, title: str) -> Table:
    """What each round of training on errors came to."""
    rows: Rows = []
    for one in found.boost_rounds:
        fall = "-"
        if one.loss_falls_by is not None:
            fall = with_error(one.loss_falls_by, one.standard_error, sign=True)
        rows.append(
            [
                str(one.round),
                one.start or "-",
                "accepted" if one.accepted else "not accepted",
                one.epochs or "-",
                f"{one.effective:.0f} of {one.images}",
                fall,
            ]
        )
    caption = (
        f"Members of {title} trained on what the ensemble gets wrong. A round is accepted where the paired held-out "
        "loss falls by more than one standard error."
    )
    columns = ("round", "starts from", "outcome", "epochs", "effective sample size", "loss falls by")
    return Table(caption, columns, rows, texts=3)


def suspects(found: EnsembleResult, names: Mapping[str, str]) -> list[Text]:
    """The images of the largest error, which boosting weights as if they were all wrong."""
    digests = found.boost_rounds[0].suspects
    if not digests:
        return []
    known = [names[digest] for digest in digests if digest in names]
    listed = f": {', '.join(known)}" if len(known) == len(digests) else ""
    return [
        Text(
            f"Possible label errors, the {counted(len(digests), 'held-out image')} of the largest error{listed}.",
            quiet=True,
        )
    ]


def again(one: ReportedSearch) -> list[Text]:
    """How much the test score varies over models of the folds; nothing where there is one model alone."""
    found = one.ensemble.test.retraining
    if found.standard_deviation is None:
        return []
    values = ", ".join(number(value, 3) for value in found.values)
    words = (
        f"Training again: the models of each fold alone reach a test {PRIMARY_WORDS[one.ensemble.test.metric]} of "
        f"{values}; standard deviation {number(found.standard_deviation, 4)} over {len(found.values)} folds."
    )
    if one.task == "cls" and any(part.shape for part in [one.description] if part):
        words += " Lesion shape is that of the segmentation ensemble with all of its folds each time."
    return [Text(words)]


def _difference(found: Difference | None) -> str:
    return "-" if found is None else with_error(found.value, found.standard_error, sign=True)


def overview(studied: Sequence[ReportedSearch]) -> Table:
    """Each winner with its held-out and its test score."""
    rows: Rows = []
    for one in studied:
        found, test = one.ensemble, one.ensemble.test
        winner, known = found.winning, test.primary.interval if test.primary else None
        rows.append(
            [
                one.title,
                one.search.name,
                found.winner,
                len(winner.members),
                f"{found.compared.images:,}, {len(one.subject.tested):,}",
                PRIMARY_WORDS[test.metric],
                with_error(winner.score, winner.standard_error),
                with_interval(test.value, known),
                with_interval(test.difference, test.difference_interval if known else None, sign=True),
            ]
        )
    columns = ("approach", "search", "winner", "members", "n", "metric", "held out", "test", "test minus best single")
    caption = (
        "Winning combiners, each a way to make one prediction of the members' several. Held out: the score of "
        "cross-fitted predictions ± its standard error; test: the score with "
        "its 95 % interval, if groups are enough, and the paired difference to the best single candidate. n: held-out "
        "and test images."
    )
    return Table(caption, columns, rows, texts=3)


def standing(studied: Sequence[ReportedSearch]) -> list[Block]:
    """Where each winner stands in the registry, and how often test images were looked at."""
    rows: Rows = []
    silent = []
    for one in studied:
        found, said = one.ensemble, one.registered
        rows.append([one.title, found.model_uri, said.state, one.subject.times_scored or 0])
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
