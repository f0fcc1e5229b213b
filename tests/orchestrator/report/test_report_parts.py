"""Parts of the report on constructed results with known answers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from orchestrator.config.search import SearchSettings
from orchestrator.ensemble.result import EnsembleResult
from orchestrator.rendering.document import Text
from orchestrator.report import ensembles, model_card
from orchestrator.report.__main__ import main
from orchestrator.report.checklist import AUTHOR, checklist
from orchestrator.report.ensembles import standing
from orchestrator.report.failure_modes import failure_modes
from orchestrator.report.gather import ReportedSearch, ReportInputs
from orchestrator.report.page import warnings
from orchestrator.report.registered import RegistryStatus, registered
from orchestrator.report.results.subject import ImageFiles, ModelResults
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


def subject(task: str, *, machines: bool = False) -> ModelResults:
    """90 images, 30 a class, each a group of its own.

    Of the malignant, 12 are called benign and 3 normal; of the benign, 3 are called malignant. Every fifth lesion is
    missed wholly, the others are perfect; 6 normals get a lesion. The malignant ones called otherwise are of machine B,
    as are all normals.
    """
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
    machine = np.where((likeliest < 2) & (targets == 2) | (targets == 0), "B <i>", "A")
    images = {
        digest: ImageFiles(f"{number}.png", Path(f"{number}.png"), (), {"machine": str(machine[number])})
        for number, digest in enumerate(digests)
        if machines
    }
    classes = CLASSES if task != "seg" else ()
    return ModelResults(task, task, classes, predicted, ModelScores(metric="auroc"), images, times_scored=2)


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


def test_failures_are_counted() -> None:
    claims = {one.claim: one.evidence for one in failure_modes(subject("multi"))}
    assert "3 normal and 12 benign" in claims["multi: of 30 malignant images, 15 are called something else."]
    lesions = claims["multi: of 60 lesion images, 12 are outlined with a Dice below 0.5."]
    assert "Share 0.200 (" in lesions
    assert "in 12 of them no pixel" in lesions
    assert "multi: of 30 normal images, 6 are given a lesion." in claims
    assert not [claim for one in failure_modes(subject("cls")) for claim in [one.claim] if "lesion" in claim]
    assert not [claim for one in failure_modes(subject("seg")) for claim in [one.claim] if "malignant" in claim]


def test_a_sub_group_is_called_worse_only_where_it_is() -> None:
    (mode,) = [one for one in failure_modes(subject("cls", machines=True)) if "machine" in one.claim]
    assert mode.claim == "cls: some images are worse than others by machine."
    assert "B <i>: accuracy −0.267" in mode.evidence  # 15 of 45 are wrong, of A 3
    assert "A: " not in mode.evidence
    (mode,) = [one for one in failure_modes(subject("seg", machines=True)) if "machine" in one.claim]
    assert (
        "no value of machine is told apart as worse" in mode.claim
    )  # of B's 15 lesions 3 are missed, of A's 45 there are 9


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
    assert model_card.card(gathered)
    answers = {row[0]: row[2] for row in checklist(gathered).rows}
    assert answers["Images left out, and why"] == AUTHOR
    assert answers["Ethical approval"] == AUTHOR


def test_what_figures_must_not_be_taken_for_comes_first() -> None:
    one = studied(compared={"images": 98, "optimistic": True}, out_of_fold=False)
    blocks = warnings(ReportInputs((one,), None, None, ("the data are gone",)))
    said = [block for block in blocks if isinstance(block, Text)]
    assert all(text.warning for text in said)
    assert said[0].words.startswith("cls: Optimistic")
    assert said[-1].words == "The data are gone."
    assert not warnings(ReportInputs((studied(),), None, None, ()))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "no ensemble to report on"),
        (["--name", "nowhere"], "no search 'nowhere'"),
        (["--format", "pdf"], "--format"),
        (["--storage", "elsewhere"], "elsewhere: no such folder"),
        (["--out", "page.md"], "give --format md"),
        (["--out", "table.csv"], "name it table.html"),
        (["--out", "taken/page.html"], "taken cannot be written to"),
        (["--out", "."], "a folder; name the page"),
    ],
)
def test_bad_input_is_one_line(flags: list[str], said: str, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "taken").write_text("a file")
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["taken"]
