"""The model card: data, intended use, how models were trained and chosen, known failure modes, versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from orchestrator.config.loading import split_sizes
from orchestrator.rendering.document import Block, Heading, Statement, Statements, Table, Text
from orchestrator.rendering.numbers import counted
from orchestrator.report.gather import ReportedSearch, ReportInputs
from orchestrator.report.results.errors import columns
from trainables.data import CLASSES, UNKNOWN, Prepared
from trainables.data.manifest import TEST
from trainables.data.splits import BY_SOURCE

Rows = list[list[str | int]]
#: What is given out, by task.
OUTPUT = {
    "seg": "an outline of lesions and an uncertainty from 0 to 1",
    "cls": "a probability of each class and an uncertainty from 0 to 1",
    "multi": "a probability of each class, an outline of lesions and an uncertainty from 0 to 1",
}
USE = (
    "For research on how models of breast ultrasound compare, and as a start for work on one's own images. Input is "
    "one B-mode image at a time, read as grey; the models see no patient, no history and no second view."
)
NOT_FOR = (
    "Not a medical device. Not for diagnosis, screening, triage or any other decision on a patient; no clinical "
    "study was made. Figures hold for images like those of the test set alone; other machines, sites and patients need "
    "their own validation (python -m orchestrator.evaluate)."
)


def card(gathered: ReportInputs, said: Sequence[Statement]) -> list[Block]:
    """All of it; `said` is what the page says of the models, of which the card repeats what speaks against them."""
    blocks: list[Block] = [Heading("Data"), data_facts(gathered)]
    if gathered.data is not None:
        blocks.append(class_counts(gathered.data))
        blocks += [table for table in (left_out(gathered.data),) if table]
        blocks += [Text(note, quiet=True) for note in gathered.data.notes]
    blocks += [Heading("Intended use"), Text(USE), outputs(gathered), Text(NOT_FOR, warning=True)]
    blocks.append(Heading("Known failure modes"))
    modes = [replace(one, figures=(), more="") for one in said if one.side == "against"]
    if modes:
        blocks += [Statements(modes), Text("The figures are among strengths and limits.", quiet=True)]
    else:
        blocks.append(Text("The figures show none; that is no proof that there are none."))
    if gathered.data is not None and not columns([one.subject for one in gathered.studied]):
        words = "No sub-groups (age, machine, site) are known of these images, so none was looked at."
        blocks.append(Text(words, quiet=True))
    blocks += [Heading("Training and selection"), *procedure(gathered), trained(gathered)]
    return [*blocks, Heading("Versions"), versions(gathered)]


def procedure(gathered: ReportInputs) -> list[Text]:
    """How the models came about."""
    studied = gathered.studied
    tried = "tries configurations that Optuna suggests, goes on with the best third at each rung (ASHA)"
    if all(one.search.recipes_only for one in studied):
        tried = "trains named recipes"
    but = ", ".join(one.title for one in studied if one.optimistic)
    lines = [
        "Images of one patient and near-duplicates form groups. No split that the program draws divides a group; test "
        "images are set apart before anything is trained. Clusters of near-duplicates that disagree on their class are "
        "left out.",
        f"Each search {tried} and ranks by the best value on fold 0. Candidates are the best trials that differ. "
        f"Each{f', but for those of {but},' if but else ''} is trained again for every other fold: a training image "
        "then has a prediction of a model that never saw its group.",
        "Combiners, temperatures and thresholds are fitted on these predictions, and compared by nested "
        "cross-validation. The better of the best candidate and of the mean of all stays, unless a fitted combiner is "
        "better by more than one standard error of the paired difference. Test images are scored once for each winner; "
        "they choose no model, and can only keep one from becoming the champion.",
    ]
    return [Text(line) for line in lines]


def data_facts(gathered: ReportInputs) -> Table:
    """Source, identity and counts of the data."""
    data, first = gathered.data, gathered.studied[0]
    said = next((one.summary.data for one in gathered.studied if one.summary), None)
    rows: Rows = [["source", first.ensemble.data.source]]
    if gathered.manifest is not None:
        rows.append(["layout", gathered.manifest.layout])
    rows += [["data fingerprint", gathered.fingerprint], ["synthetic", "yes" if gathered.synthetic else "no"]]
    if data is not None:
        images, groups, left = len(data.images), len(set(data.groups.tolist())), data.left_out
        sizes: dict[str, int] = split_sizes(data)
        known = f"{int(data.has_mask.sum()):,} with a known mask, {int((data.labels != UNKNOWN).sum()):,} with a class"
        rows.append(["known", known])
        rows += [["patients", note] for note in data.notes if "patient" in note]
    elif said:
        images, groups, left, sizes = said.images, said.groups, said.left_out, said.split_sizes
    else:
        return Table("Data of all models on this page.", ("", ""), rows, texts=2)
    parts = ", ".join(f"{count:,} {name}" for name, count in sizes.items())
    rows += [["images used", f"{images:,}"], ["groups", f"{groups:,}"], ["left out", f"{left:,}"]]
    folds = "one a source" if first.search.folds == BY_SOURCE else first.search.folds
    rows += [["split", f"{parts} images (validation is fold 0; folds: {folds})"]]
    return Table("Data of all models on this page.", ("", ""), rows, texts=2)


def class_counts(data: Prepared) -> Table:
    """Images of each class in each part of the split, and groups."""
    learnt, held_out = data.fold_rows(0)
    parts = (learnt, held_out, np.flatnonzero(data.split == TEST), np.arange(len(data.labels)))
    names = {**dict(enumerate(CLASSES)), UNKNOWN: "no class given"}
    there = set(data.labels.tolist())
    rows: Rows = [
        [name, *(int((data.labels[part] == label).sum()) for part in parts)]
        for label, name in names.items()
        if label in there
    ]
    rows.append(["images", *(len(part) for part in parts)])
    rows.append(["groups", *(len(np.unique(data.groups[part])) for part in parts)])
    caption = f"Images of each class by part of the split, and groups. n = {len(data.labels):,} images used."
    return Table(caption, ("class", "train", "validation", "test", "all"), rows, rules=(len(rows) - 2,))


def left_out(data: Prepared) -> Table | None:
    """What was wrong with files, and what was done, counted; None where nothing was."""
    kinds = Counter((fault.problem.split(" (")[0], fault.action) for fault in data.faults)
    if not kinds:
        return None
    rows: Rows = [[problem, action, n] for (problem, action), n in kinds.most_common()]
    caption = f"Faults of files by kind. Left out: {counted(data.left_out, 'image')}. The EDA page names each."
    return Table(caption, ("fault", "what was done", "faults"), rows, texts=2)


def outputs(gathered: ReportInputs) -> Table:
    """What each model gives out."""
    rows: Rows = [[one.title, OUTPUT[one.task], ", ".join(one.subject.classes) or "-"] for one in gathered.studied]
    return Table("Output of each model for one image.", ("model", "output", "classes"), rows, texts=3)


def trained(gathered: ReportInputs) -> Table:
    """How each search was run, a column a search."""
    columns = [_training(one) for one in gathered.studied]
    rows: Rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    titles = [one.title for one in gathered.studied]
    return Table("How each model was trained and chosen.", ("", *titles), rows, texts=1 + len(titles))


def _training(one: ReportedSearch) -> dict[str, str]:
    search, summary, ensemble = one.search, one.summary, one.ensemble
    trials = summary.trials if summary else ()
    return {
        "search": search.name,
        "trials": str(len(trials)) if summary else "not ended yet" if one.running else "not known",
        "epochs of a trial, at most": str(search.epochs) if search.epochs else "as in each recipe",
        "image size, pixels": str(search.image_size) + (", letterboxed" if search.keep_aspect else ""),
        "encoder weights": ", ".join(sorted({trial.weights_source for trial in trials})) or "-",
        "folds": str(search.folds),
        "seed of split, of search": f"{search.split_seed}, {search.seed}",
        "out-of-fold predictions": "yes" if ensemble.out_of_fold else "no: figures are optimistic",
        "candidates": str(len(ensemble.candidates)),
        "combiner": ensemble.winner,
        "members": ", ".join(ensemble.winning.members),
        "networks": str(one.subject.networks or "-"),
        "mirrored, too": "yes" if ensemble.tta else "no",
        "images trained on": str(len(one.description.trained_on)) if one.description else "-",
    }


def versions(gathered: ReportInputs) -> Table:
    """Python and libraries that each model was written with."""
    found = [one.description.versions if one.description else {} for one in gathered.studied]
    names = list(dict.fromkeys(name for one in found for name in one))
    rows: Rows = [[name, *(one.get(name, "-") for one in found)] for name in names]
    titles = [one.title for one in gathered.studied]
    return Table("Versions that the models were written with.", ("", *titles), rows, texts=1 + len(titles))
