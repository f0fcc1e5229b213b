"""Items of CLAIM and TRIPOD+AI with what a run can say to them; the others are left to the author.

CLAIM: Tejani et al., Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update, Radiology:
Artificial Intelligence 6, 2024. TRIPOD+AI: Collins et al., BMJ 385, 2024, e078378. Items have short names of our own.
"""

from __future__ import annotations

from orchestrator.rendering.document import Table
from orchestrator.rendering.numbers import counted
from orchestrator.report.gather import ReportInputs
from orchestrator.report.results.errors import columns
from trainables.data import UNKNOWN

AUTHOR = "for the author"
UNREAD = "the data cannot be read any more"
CAPTION = (
    "Items of CLAIM (2024 update; Tejani et al., Radiology: Artificial Intelligence 2024) and of TRIPOD+AI (Collins et "
    "al., BMJ 2024) by short names of our own, with what this run can say. It is no substitute for the checklists."
)


def checklist(gathered: ReportInputs) -> Table:
    """An item a row, in about the order of a paper."""
    rows = [[item, by, answer] for item, by, answer in _items(gathered)]
    return Table(CAPTION, ("item", "asked for by", "answer"), rows, texts=3)


def _items(gathered: ReportInputs) -> list[tuple[str, str, str]]:
    claim, tripod, both = "CLAIM", "TRIPOD+AI", "both"
    return [
        ("Title and abstract name the method", both, AUTHOR),
        ("Background, intended use and clinical role", both, f"intended use: model card; clinical role: {AUTHOR}"),
        ("Objectives, hypotheses and aim of the study", both, AUTHOR),
        ("Prospective or retrospective design", claim, AUTHOR),
        ("Health inequalities between groups of patients", tripod, AUTHOR),
        ("Sources of the data, sites and dates", both, f"folder or table: model card; sites and dates: {AUTHOR}"),
        ("Participants: who was eligible, and where", both, AUTHOR),
        ("Images left out, and why", both, _left_out(gathered)),
        ("Image acquisition", claim, AUTHOR),
        ("De-identification", claim, AUTHOR),
        ("Preparation of the data", both, _preparation(gathered)),
        ("Missing data", both, _missing(gathered)),
        ("Reference standard, its rationale and its source", both, f"the labels and masks as given; else {AUTHOR}"),
        ("Annotators, their tools and their agreement", claim, AUTHOR),
        ("Predictors", tripod, "the image alone; nothing is known of the patient"),
        ("Partitions, and the level at which they are disjoint", claim, _partitions(gathered)),
        ("Sample size", both, f"{_sizes(gathered)}; no calculation was made: {AUTHOR}"),
        ("Model: structure, inputs and outputs", both, "model card and search; networks in the registered models"),
        ("Software and versions", claim, "model card"),
        ("Initial parameters", claim, _initial(gathered)),
        ("Training, hyperparameters, number of models trained", both, f"search: {_trials(gathered)}"),
        (
            "Class imbalance",
            tripod,
            "balance is a searched hyperparameter; the classes of parts: model card",
        ),
        ("Selection of the final model", both, "model card; ensembles: rule, rows and reason"),
        ("Ensembling", claim, "ensembles: combiners, members and weights"),
        ("Metrics, and their uncertainty", both, "side by side: 95 % intervals over groups of images, within classes"),
        ("Robustness to training again", claim, _robustness(gathered)),
        ("Explainability", claim, f"none is given beside outlines and lesion-shape features; else {AUTHOR}"),
        ("Fairness: sub-groups", tripod, _subgroups(gathered)),
        ("Output of the model and its thresholds", tripod, _thresholds(gathered)),
        ("Evaluation on internal data", both, _internal(gathered)),
        ("Evaluation on external data", both, f"python -m orchestrator.evaluate, on a page of its own; {AUTHOR}"),
        ("Flow of participants, their demographics", both, f"images and groups: model card; patients: {AUTHOR}"),
        ("Performance with intervals, by sub-group, too", both, "side by side; errors"),
        ("Calibration", tripod, _calibration(gathered)),
        ("Clinical utility: net benefit", tripod, _utility(gathered)),
        ("Failure analysis", claim, "best and worst cases; errors; known failure modes"),
        ("Model updating", tripod, "none: the models are as they were trained"),
        ("Interpretation, and implications for practice", both, AUTHOR),
        ("Limitations", both, f"strengths and limits, from the figures; others: {AUTHOR}"),
        ("Use in practice: poor input, skills of users", tripod, AUTHOR),
        ("Ethical approval", tripod, AUTHOR),
        ("Registration and protocol", both, AUTHOR),
        ("Availability of data, code and models", both, AUTHOR),
        ("Funding and conflicts of interest", both, AUTHOR),
        ("Involvement of patients and the public", tripod, AUTHOR),
    ]


def _left_out(gathered: ReportInputs) -> str:
    said = next((one.summary.data.left_out for one in gathered.studied if one.summary), None)
    left = gathered.data.left_out if gathered.data is not None else said
    return AUTHOR if left is None else f"{counted(left, 'image')}, by rules of files and duplicates; else {AUTHOR}"


def _preparation(gathered: ReportInputs) -> str:
    sizes = sorted({one.search.image_size for one in gathered.studied})
    kept = {one.search.keep_aspect for one in gathered.studied}
    how = "letterboxed" if kept == {True} else "stretched" if kept == {False} else "letterboxed or stretched"
    return f"grey, {how} to squares of {' or '.join(map(str, sizes))} px; several masks of an image are united to score"


def _missing(gathered: ReportInputs) -> str:
    if gathered.data is None:
        return AUTHOR
    masks = int((~gathered.data.has_mask).sum())
    classes = int((gathered.data.labels == UNKNOWN).sum())
    return f"{counted(masks, 'image')} without a known mask, {classes:,} without a class; nothing is imputed"


def _partitions(gathered: ReportInputs) -> str:
    if gathered.manifest is None:
        return f"{UNREAD}: {AUTHOR}"
    known = any(record.patient for record in gathered.manifest.records)
    level = "patients and clusters of near-duplicates" if known else "clusters of near-duplicates; no patient is known"
    given = any(record.split for record in gathered.manifest.records)
    if given or any(one.search.test_source for one in gathered.studied):
        return f"as given with the data; groups: {level}"
    return f"drawn at random by group, within classes: {level}"


def _sizes(gathered: ReportInputs) -> str:
    tested = len(gathered.studied[0].subject.tested)
    trained = gathered.studied[0].description
    return f"{tested:,} test images" + (f", {len(trained.trained_on):,} trained on" if trained else "")


def _initial(gathered: ReportInputs) -> str:
    summaries = [one.summary for one in gathered.studied if one.summary]
    kinds = sorted({trial.weights_source for summary in summaries for trial in summary.trials})
    return f"encoder weights of the trials: {', '.join(kinds)}" if kinds else "see the search"


def _trials(gathered: ReportInputs) -> str:
    """Trials, and what the ensemble trained beside them: a model for each fold beyond the first, of each start."""
    counts = []
    for one in gathered.studied:
        rounds = sum(round_.epochs is not None for round_ in one.ensemble.boost_rounds)
        beside = len(one.ensemble.candidates) * (one.folds - 1) + rounds * one.folds
        more = f" and {counted(beside, 'model')} of folds" if one.ensemble.out_of_fold else ""
        trials = counted(len(one.summary.trials), "trial") if one.summary else "trials"
        counts.append(f"{one.title} {trials}{more}")
    return "; ".join(counts)


def _robustness(gathered: ReportInputs) -> str:
    tested = [one.ensemble.test.retraining.standard_deviation for one in gathered.studied]
    known = any(value is not None for value in tested)
    return "ensembles: spread over the models of each fold" if known else AUTHOR


def _internal(gathered: ReportInputs) -> str:
    sources = sorted({one.search.test_source for one in gathered.studied if one.search.test_source})
    tested = f"the source {', '.join(sources)}, held out" if sources else "test images of the same data"
    return f"results are of {tested}; held-out and validation figures are marked as such"


def _calibration(gathered: ReportInputs) -> str:
    if any(one.subject.classes for one in gathered.studied):
        return "classification: calibration curves, intercept and slope, Brier score, calibration error"
    return f"masks alone are predicted: {AUTHOR}"


def _utility(gathered: ReportInputs) -> str:
    known = any(one.subject.figures.decision_curve for one in gathered.studied)
    return f"classification: decision curve; costs and harms of acting: {AUTHOR}" if known else AUTHOR


def _thresholds(gathered: ReportInputs) -> str:
    points = any(one.subject.figures.operating_points for one in gathered.studied)
    return "model card; operating points; triage" if points else "model card; the threshold of masks is in the model"


def _subgroups(gathered: ReportInputs) -> str:
    if gathered.manifest is None:
        return f"{UNREAD}: {AUTHOR}"
    named = columns([one.subject for one in gathered.studied])
    return f"errors by {', '.join(named)}" if named else f"no sub-groups are known in these data: {AUTHOR}"
