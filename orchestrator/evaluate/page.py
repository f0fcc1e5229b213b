"""The page of an external validation: the result on images that are new to a model, beside the model's own."""

from __future__ import annotations

from orchestrator.ensemble.result import OwnResults
from orchestrator.evaluate.findings import Evaluation, most_left_out
from orchestrator.evaluate.findings import listed as listed_counts
from orchestrator.inference.description import Description, Network
from orchestrator.rendering.document import Answer, Block, Chart, Document, Section, Table, Text
from orchestrator.rendering.numbers import count, counted, number, with_error, with_interval
from orchestrator.report.results import answers, cases, curves, errors, glossary, malignancy, scores
from orchestrator.report.results.means import counted_images
from orchestrator.report.results.statements import listed, statements
from orchestrator.report.results.subject import ModelResults
from orchestrator.scoring.metrics import PRIMARY_WORDS
from orchestrator.scoring.resampling import INTERVAL

#: Rows of a table of files; all of them are in the file of figures.
MOST_FILES = 200


def document(found: Evaluation) -> Document:
    """The page."""
    described, subject = found.description, found.subject
    return Document(
        title="External validation",
        lead=(
            f"Model {found.model}",
            f"Data {found.manifest.places}, layout {found.manifest.layout}",
        ),
        sections=(
            Section("answer", "Can I use it?", _answers(found)),
            Section("strengths", "Strengths and limits", listed(statements([subject]))),
            Section("result", "External beside internal", [*_told(found), _beside(found)]),
            Section("classes", "Classes", _classes(found)),
            Section("masks", "Masks", _masks(subject)),
            Section("cases", "Best and worst cases", cases.best_and_worst(subject)),
            Section("errors", "Errors by size, class and sub-group", _errors(subject)),
            Section("uncertainty", "Uncertainty", _filled(curves.risk_coverage([subject]))),
            Section("left-out", "Images left out", _left_out(found)),
            Section("model", "The model", _model(found)),
            Section("words", "Words", [glossary.table()]),
        ),
        synthetic=found.synthetic or described.synthetic,
        warnings=most_left_out(found.fresh),
        end=f"Model trained on data of fingerprint {described.data_fingerprint}.",
    )


def _answers(found: Evaluation) -> list[Answer]:
    """By these images, and by the model's own."""
    subject, results = found.subject, found.results
    sizes = ", ".join(map(str, sorted({network.image_size for network in _networks(found.description)})))
    here, own = (answers.purpose(subject, source, sizes) for source in (found.manifest.places, "its own data"))
    by_here, by_own = found.verdicts().values()
    lines = [("how sure", f"{answers.measured(subject)}; nothing was fitted here")]
    if subject.synthetic:
        lines.append(("synthetic", " ".join(line for line in found.told() if line.startswith("SYNTHETIC"))))
    sure = [] if results is None else [("how sure", _own(results))]
    return [
        answers.answer("On these images", by_here, here, *lines),
        answers.answer("On its own data", by_own, own, *sure),
    ]


def _own(results: OwnResults) -> str:
    held_out, test = results.held_out, results.test
    known = f", {with_interval(test.primary.value, test.primary.interval)} on" if test.primary else ","
    optimistic = ", optimistic: of the fold of selection" if held_out.optimistic else ""
    return (
        f"{PRIMARY_WORDS[held_out.metric]} {with_error(held_out.value, held_out.standard_error, 3)} (standard error) "
        f"on {counted(held_out.images, 'held-out image')}{optimistic}{known} "
        f"{counted(sum(results.test_images.values()), 'test image')}; {answers.looked(results.test.times_scored)}"
    )


def _beside(found: Evaluation) -> Table:
    columns = found.columns()
    rows, rules = scores.metric_rows(list(columns.values()))
    who = f"external {counted_images(found.subject.tested)}"
    if found.results:
        who += f", internal {counted(sum(found.results.test_images.values()), 'test image')} of the model's own data"
    caption = (
        f"Scores at original size, with the model's own thresholds: nothing was fitted here. n = {who}. In brackets "
        f"95 % intervals over {INTERVAL:,} resamples of groups within classes; boxes and calibration error have none."
    )
    if found.results:
        caption += " No paired difference can be given: the model's own test images are not at hand."
    return Table(caption, ("metric", *columns), rows, rules)


def _told(found: Evaluation) -> list[Block]:
    elsewhere = most_left_out(found.fresh)  # on top of the page
    said = [line for line in found.told() if line not in elsewhere and not line.startswith("SYNTHETIC")]
    return [Text(line, warning=line.startswith("Warning")) for line in said]


def _classes(found: Evaluation) -> list[Block]:
    subject = found.subject
    if not subject.classes or not (subject.tested.evidence.scored.targets >= 0).any():
        return []
    tables = _filled(scores.confusion(subject), scores.per_class(subject), _operating_points(found))
    return [*tables, *curves.of_classes([subject]), *malignancy.blocks([subject])]


def _operating_points(found: Evaluation) -> Table | None:
    """Each of the model's thresholds here and on its own test images; None where it has none."""
    columns = found.columns()
    by_column = [
        {(point.kept, point.rate): point for point in figures.operating_points} for figures in columns.values()
    ]
    rows: list[list[str | int]] = []
    for kept, rate in dict.fromkeys(key for points in by_column for key in points):
        for number_, (name, points) in enumerate(zip(columns, by_column, strict=True)):
            head: list[str | int] = ["" if number_ else f"{100 * rate:.0f} % {kept}", name]
            if (point := points.get((kept, rate))) is None:
                rows.append([*head, *"----"])
                continue
            shares = [point.sensitivity, point.specificity]
            cells = ["-" if one is None else with_interval(one.value, one.interval) for one in shares]
            rows.append([*head, number(point.threshold, 3), *cells, point.n])
    if not rows:
        return None
    caption = (
        "Malignant against the rest: an image is called malignant from a threshold of its probability upwards that "
        "keeps a rate on held-out predictions of the model's own data. Nothing was fitted here; in brackets Wilson "
        "intervals of 95 %, which take images for independent."
    )
    heads = ("rate kept", "images", "threshold", "sensitivity", "specificity", "n")
    return Table(caption, heads, rows, range(len(columns), len(rows), len(columns)), texts=2)


def _masks(subject: ModelResults) -> list[Block]:
    if subject.task == "cls" or not subject.tested.evidence.scored.has_mask.any():
        return []
    return _filled(curves.dice_histogram([subject]), scores.pixels(subject))


def _errors(subject: ModelResults) -> list[Block]:
    return [*errors.by_size([subject]), *errors.by_class([subject]), *errors.by_subgroup([subject])]


def _filled(*blocks: Chart | Table | None) -> list[Block]:
    return [block for block in blocks if block]


def _left_out(found: Evaluation) -> list[Block]:
    fresh = found.fresh
    blocks: list[Block] = [
        Text(
            "Left out is every image that the model may know: a file among its training images, a near-duplicate of "
            "one that it learnt from or was chosen by, and whatever is of the same patient or near-duplicate cluster. "
            f"What differs from such an image by at most {fresh.known_distance} of 256 bits of a perceptual hash is "
            "near it, and so is what is nearer still once it is mirrored, cropped or turned. Near-duplicates among the "
            f"images here differ by at most {fresh.distance}, or show the same once they are aligned.",
            quiet=True,
        )
    ]
    if not fresh.seen:
        blocks.append(Text("No image is known to the model."))
    lists = {
        "Known to the model": fresh.seen,
        "Without a number of the model": fresh.unanswered,
        "Faulty files, and what was done": fresh.faults,
    }
    for words, faults in lists.items():
        if faults:
            first = f", the first {MOST_FILES:,} of them" if len(faults) > MOST_FILES else ""
            rows = [(found.manifest.shown(one.file), one.problem, one.action) for one in faults[:MOST_FILES]]
            caption = f"{words}: {counted(len(faults), 'row')}{first}."
            blocks.append(Table(caption, ("file", "why", "what was done"), rows, texts=3))
    return blocks


def _model(found: Evaluation) -> list[Block]:
    described, results = found.description, found.results
    networks = _networks(described)
    sizes = sorted({network.image_size for network in networks})
    rows: list[tuple[str, str | int]] = [
        ("task", described.task),
        *([("classes", ", ".join(described.classes))] if described.classes else []),
        ("combiner", described.main.combination.name),
        ("members", len(described.main.members)),
        ("networks", len({network.file for network in networks})),
        ("size of the images that they take, pixels", ", ".join(map(str, sizes))),
        ("images letterboxed", "yes" if described.keep_aspect else "no, stretched"),
        ("images in training groups", len(described.trained_on)),
        ("training data", "synthetic (phantom)" if described.synthetic else "not phantom images"),
        ("data fingerprint", described.data_fingerprint),
    ]
    if results:
        rows.append(("test images", listed_counts({name: n for name, n in results.test_images.items() if n})))
    rows += [(f"written with {name}", version) for name, version in described.versions.items()]
    caption = "What the model says of itself" + ("." if results else "; it ships no results of its own.")
    # Text to the left, also of figures: they are of many kinds.
    return [Table(caption, ("", "value"), [(name, count(value)) for name, value in rows], texts=2)]


def _networks(described: Description) -> list[Network]:
    parts = (described.main, described.shape) if described.shape else (described.main,)
    return [network for part in parts for member in part.members for network in member.networks]
