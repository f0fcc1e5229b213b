"""Parts of the report on constructed results with known answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from orchestrator.config.search import SearchSettings
from orchestrator.ensemble.result import EnsembleResult
from orchestrator.rendering.document import Statement, Statements, Text
from orchestrator.report import ensembles, model_card
from orchestrator.report.answers import answer
from orchestrator.report.checklist import AUTHOR, checklist
from orchestrator.report.ensembles import standing
from orchestrator.report.gather import ReportedSearch, ReportInputs
from orchestrator.report.page import warnings
from orchestrator.report.registered import RegistryStatus, registered
from orchestrator.report.results import scores
from orchestrator.report.results.subject import ModelResults
from orchestrator.scoring import predictions
from orchestrator.scoring.final_scores import ModelScores
from orchestrator.scoring.predictions import StoredPredictions
from orchestrator.scoring.values import ScoredPredictions
from trainables.data import CLASSES, Fault

#: Of `ensemble.json`.
TESTED: dict[str, Any] = {
    **{"metric": "auroc", "value": 0.93, "interval": [0.9, 0.95]},
    **{"best_single": 0.9, "difference": 0.03, "difference_interval": [0.01, 0.05]},
    **{"times_scored": 2, "retraining": {"values": [0.9], "standard_deviation": None}},
}


def found(**changes: Any) -> EnsembleResult:
    """What `ensemble.json` says of a cls ensemble of two members, of which boosting was won."""
    nothing = {"value": 0.0, "standard_error": 0.0}
    rows = [
        combiner("best", 0.9, nothing, {"value": -0.02, "standard_error": 0.004}, {"a": 1.0, "b": 0.0}),
        combiner("mean", 0.92, {"value": 0.02, "standard_error": 0.004}, nothing, {"a": 0.5, "b": 0.5}),
        combiner("boosted", 0.93, {"value": 0.03, "standard_error": 0.006}, nothing, {"a": 0.25, "b": 0.75}),
        combiner("stacked", None, None, None, {}) | {"note": "failed: ValueError: <b>"},
    ]
    stored = {
        "task": "cls",
        "classes": 3,
        "digest": "d",
        "data": {"fingerprint": "f" * 64, "source": "x <i>", "synthetic": False},
        "settings": {"tta": False, "tracking_uri": ""},
        "out_of_fold": True,
        "compared": {"images": 1388, "optimistic": False},
        "candidates": [{"run_id": "0123456789", "name": "s #1 a", "architecture": "a", "score": 0.91}],
        "combiners": rows,
        "boost_rounds": [],
        "winner": "boosted",
        "why": "boosted is better",
        "test": TESTED,
        "model_uri": "models:/breast-ultrasound-cls/7",
        "promoted": False,
        "why_promoted": "--promote never",
        **changes,
    }
    return EnsembleResult.model_validate(stored)


def combiner(name: str, score: float | None, best: Any, mean: Any, weights: dict[str, float]) -> dict[str, Any]:
    return {
        "name": name,
        "score": score,
        "standard_error": None if score is None else 0.01,
        "difference_to_best": best,
        "difference_to_mean": mean,
        "fpr_normal": None,
        "members": [one for one, weight in weights.items() if weight],
        "note": "",
        "weights": {"classes": weights} if weights else {},
    }


def subject(task: str) -> ModelResults:
    """90 images, 30 a class, each a group of its own."""
    targets = np.repeat([0, 1, 2], 30)
    likeliest = targets.copy()
    likeliest[60:72], likeliest[72:75], likeliest[30:33] = 1, 0, 2
    probabilities = np.full((90, 3), 0.1)
    probabilities[np.arange(90), likeliest] = 0.8
    counts = np.tile([100, 0, 0], (90, 1))
    counts[:30] = 0
    counts[:6, 1] = 5
    counts[30::5] = 0, 0, 100
    masked = task != "cls"
    scored = ScoredPredictions(
        probabilities if task != "seg" else None,
        targets if task != "seg" else np.full(90, -1),
        counts if masked else None,
        np.full(90, masked),
    )
    digests = tuple(f"{number:064x}" for number in range(90))
    evidence = StoredPredictions(scored, digests, np.arange(90), targets)
    predicted = predictions.TestPredictions(evidence, np.full(90, 1000), np.full(90, np.nan), np.zeros(90), None)
    classes = CLASSES if task != "seg" else ()
    return ModelResults(task, task, classes, predicted, ModelScores(metric="auroc"), {}, times_scored=2)


def studied(task: str = "cls", said: RegistryStatus | None = None, **changes: Any) -> ReportedSearch:
    search = SearchSettings(task=task, name="a name", data=None)  # type: ignore[arg-type]
    return ReportedSearch(
        search, None, found(**changes), subject(task), None, said or RegistryStatus("7", "7", 2), running=False
    )


def test_combiners_stand_as_they_were_compared() -> None:
    table = ensembles.combiners(found(), "classification")
    assert "n = 1,388" in table.caption
    assert "false alarms on normals" not in table.columns
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["boosted (winner)"] == ["0.9300 ± 0.0100", "+0.0300 ± 0.0060", "+0.0000 ± 0.0000", 2]
    assert rows["best"] == ["0.9000 ± 0.0100", "+0.0000 ± 0.0000", "−0.0200 ± 0.0040", 1]
    assert rows["stacked"] == ["-"] * 4
    (note,) = (ensembles.notes(found(), "classification"),)
    assert note
    assert note.rows == [["stacked", "failed: ValueError: <b>"]]


def test_false_alarms_have_a_column_where_there_are_masks() -> None:
    rows = [row | {"fpr_normal": 0.25 if row["name"] == "mean" else None} for row in found().model_dump()["combiners"]]
    table = ensembles.combiners(found(combiners=rows), "segmentation")
    place = table.columns.index("false alarms on normals")
    assert [row[place] for row in table.rows] == ["-", "0.250", "-", "-"]


def test_weights_are_those_of_the_winner() -> None:
    (table,) = ensembles.winners_weights(found(), "classification")
    assert table.rows == [["a", "0.250"], ["b", "0.750"]]
    features = {"log p(benign) a": {"benign": 0.5, "malignant": -0.25}}
    rows = [row | {"weights": {"features": features}} for row in found().model_dump()["combiners"]]
    (table,) = ensembles.winners_weights(found(combiners=rows), "classification")
    assert table.columns == ("feature", "benign", "malignant")
    assert table.rows == [["log p(benign) a", "+0.500", "−0.250"]]


def test_boost_rounds_and_the_images_that_they_suspect() -> None:
    rounds = [
        {"round": 1, "accepted": True, "start": "a", "epochs": 3, "note": "", "effective": 80.4, "images": 100}
        | {"loss_falls_by": 0.0101, "standard_error": 0.0053, "suspects": ["x", "y"]},
        {"round": 2, "accepted": False, "effective": 97.0, "images": 100, "note": "nothing to boost", "suspects": []},
    ]
    given = found(boost_rounds=rounds)
    table = ensembles.boost_rounds(given, "classification")
    assert table.rows == [
        ["1", "a", "accepted", 3, "80 of 100", "+0.0101 ± 0.0053"],
        ["2", "-", "not accepted", "-", "97 of 100", "-"],
    ]
    (text,) = ensembles.suspects(given, {"x": "x.png", "y": "<y>.png"})
    assert "the 2 held-out images" in text.words
    assert "x.png, <y>.png" in text.words
    (text,) = ensembles.suspects(given, {"x": "x.png"})  # not all of them are in the folder any more
    assert "x.png" not in text.words


def test_where_a_winner_stands() -> None:
    for said, state in (
        (RegistryStatus("7", "7", 2), "the champion"),
        (RegistryStatus("7", "6", 2), "not the champion; that is version 6"),
        (RegistryStatus("7", "", 2), "no champion stands"),
        (RegistryStatus("7", silence="no answer"), "not known"),
    ):
        table, *silent = standing([studied(said=said)])
        assert table.rows[0][1:3] == ["models:/breast-ultrasound-cls/7", state]  # type: ignore[union-attr]
        assert bool(silent) == (state == "not known")


def test_a_store_that_does_not_answer_is_said(tmp_path: Path) -> None:
    said = registered(f"sqlite:///{tmp_path}/none.db", found())
    assert "none.db" in said.silence
    assert said.times_scored is None
    assert not (tmp_path / "none.db").exists()


CHECK = {"value": 0.1, "interval": [0.05, 0.15], "n": 45, "name": "lesion Dice minus that of the trivial mask"}
FAILED = {"claim": "Dice 0.1 of lesions against 0.3 of the mean", "side": "against", "floor": True, **CHECK}
BELOW = {"word": "not usable", "checks": [FAILED]}


def test_the_first_words_are_whether_for_what_and_how_sure() -> None:
    one = answer(studied(verdict={"word": "not usable", "held_out": BELOW}))
    assert (one.name, one.word, one.tone) == ("Cls, search a name", "not usable", "red")
    lines = dict(one.lines)
    assert lines["why"] == "Dice 0.1 of lesions against 0.3 of the mean"
    assert lines["for what"].startswith("nothing yet; it is meant for telling normal, benign and malignant apart")
    assert "like those of x <i>, seen at" in lines["for what"]
    assert lines["how sure: held-out images"].startswith("1,388 images, each predicted")
    assert "AUROC 0.930 ± 0.010 (standard error)" in lines["how sure: held-out images"]
    assert "90 images in 90 groups" in lines["how sure: test images"]
    assert "looked at 2 times" in lines["how sure: test images"]
    usable = {"word": "usable for research", "checks": []}
    fine = answer(studied(verdict={"word": "usable for research", "held_out": usable}))
    assert fine.tone == "quiet"
    assert dict(fine.lines)["for what"].startswith("telling normal")


def test_without_a_verdict_the_answer_says_what_to_do() -> None:
    row = {"name": "a", "images": 9, "groups": 9, "value": None, "interval": None, "fpr_normal": None}
    older = [
        {**row, "unseen": False, "chose": False},
        {**row, "name": "b", "unseen": True, "chose": False, "word": "weak"},
    ]
    one = answer(studied(sources=older))
    assert (one.word, one.tone) == ("no verdict was written; build the ensemble again", "amber")
    lines = dict(one.lines)
    assert "why" not in lines
    assert lines["by source"] == "a: no verdict was written, b: weak (each source has its own verdict)"


def test_the_model_card_takes_what_speaks_against_a_model() -> None:
    said = [Statement("Bad.", "against", 0.5, more="Figures."), Statement("Good.", "for", 0.5)]
    blocks = model_card.card(ReportInputs((studied(),), None, None, ()), said)
    (modes,) = [block for block in blocks if isinstance(block, Statements)]
    assert [(one.claim, one.evidence) for one in modes.items] == [("Bad.", "")]


def test_an_interval_is_shown_by_the_same_rule_everywhere() -> None:
    """The primary metric in the answer and in the overview has none where the table of scores has none."""
    few = found(test=TESTED | {"scores": {"auroc": {"value": 0.93}}})
    one = replace(studied(), ensemble=few, subject=replace(subject("cls"), figures=few.test))
    lines = dict(answer(one).lines)
    assert "AUROC 0.930, too few groups for an interval" in lines["how sure: test images"]
    row = ensembles.overview([one]).rows[0]
    assert row[-2:] == ["0.930", "+0.030"]
    (table,) = [scores.metrics([one.subject])]
    assert table.rows[0][1] == "0.930"
    many = found(test=TESTED | {"scores": {"auroc": {"value": 0.93, "interval": [0.9, 0.95]}}})
    assert ensembles.overview([replace(one, ensemble=many)]).rows[0][-2:] == [
        "0.930 (0.900 to 0.950)",
        "+0.030 (+0.010 to +0.050)",
    ]


def test_what_is_left_out_is_counted_by_kind() -> None:
    def fault(name: str, problem: str, action: str) -> Fault:
        return Fault(Path(name), problem, action)

    faults = (
        fault("a", "near-duplicate of another class (b)", "left out"),
        fault("b", "near-duplicate of another class (a)", "left out"),
        fault("c", "grey levels", "thresholded at 127"),
    )
    table = model_card.left_out(SimpleNamespace(faults=faults, left_out=2))  # type: ignore[arg-type]
    assert table
    assert table.rows == [["near-duplicate of another class", "left out", 2], ["grey levels", "thresholded at 127", 1]]
    assert model_card.left_out(SimpleNamespace(faults=(), left_out=0)) is None  # type: ignore[arg-type]


def test_without_data_and_summary_the_card_still_stands() -> None:
    gathered = ReportInputs((studied(),), None, None, ("the data are gone",))
    rows = dict(model_card.data_facts(gathered).rows)  # type: ignore[arg-type]
    assert rows["source"] == "x <i>"
    assert "images used" not in rows
    assert model_card.card(gathered, [])
    answers = {row[0]: row[2] for row in checklist(gathered).rows}
    assert answers["Images left out, and why"] == AUTHOR
    assert answers["Ethical approval"] == AUTHOR


def test_what_figures_must_not_be_taken_for_comes_first() -> None:
    one = studied(compared={"images": 98, "optimistic": True}, out_of_fold=False)
    blocks = warnings(ReportInputs((one,), None, None, ("the data are gone",)))
    said = [block for block in blocks if isinstance(block, Text)]
    assert all(text.warning for text in said)
    assert [text.words for text in said] == ["The data are gone."]
    assert "optimistic: of the fold that chose" in dict(answer(one).lines)["how sure: held-out images"]
    assert not warnings(ReportInputs((studied(),), None, None, ()))
