"""The report on real searches with ensembles: every figure against its source, nothing scored again, bad input."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image
from sklearn.metrics import roc_auc_score

from orchestrator.report.__main__ import main
from orchestrator.scoring.metrics import METRICS
from orchestrator.scoring.predictions import TestPredictions
from tests.support.home import Home
from tests.support.webpages import Page, assert_self_contained, looked_at
from trainables.data import CLASSES

pytestmark = pytest.mark.slow

TITLES = {"seg": "segmentation", "cls": "classification", "multi": "multi-task"}


def snapshot(home: Home) -> tuple[dict[Path, tuple[int, int]], dict[str, Any]]:
    """Sizes and times of all files of searches and winners, and what the store holds of each run."""
    files = [file for file in (home.folder / "runs").rglob("*") if file.is_file()]
    client = MlflowClient(tracking_uri=home.uri)
    ids = [one.experiment_id for one in client.search_experiments()]
    runs = {run.info.run_id: (run.data.tags, run.data.metrics, run.info.end_time) for run in client.search_runs(ids)}
    return {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in files}, runs


@pytest.fixture(scope="module")
def written(home: Home, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The report as HTML and as Markdown; nothing else is written while it is made."""
    folder = tmp_path_factory.mktemp("reports")
    before = snapshot(home)
    files = {kind: folder / f"report.{kind}" for kind in ("html", "md")}
    for kind, file in files.items():
        flags = ["--storage", str(home.folder / "runs"), "--name", *TITLES, "--format", kind, "--out", str(file)]
        assert main(flags) == 0
    assert snapshot(home) == before
    return files


@pytest.fixture(scope="module")
def page(written: dict[str, Path]) -> Page:
    return Page(written["html"].read_text())


def numbers(cell: str) -> list[float]:
    return [float(found) for found in re.findall(r"[-+]?\d+\.\d+", cell.replace("−", "-"))]


def predictions(home: Home, task: str) -> TestPredictions:
    return TestPredictions.load(home.folder / "runs" / ".cache" / "winners" / home.found(task)["digest"] / "test.npz")


def test_all_metrics_and_intervals_are_those_of_the_final_evaluation(page: Page, home: Home) -> None:
    rows = page.rows("Scores on images that no model was trained on")
    shown = 0
    for column, task in enumerate(TITLES):
        test = json.loads(
            (home.folder / "runs" / ".cache" / "winners" / home.found(task)["digest"] / "test.json").read_text()
        )
        for name, metric in METRICS.items():
            found = next((cells for words, cells in rows.items() if words.split(" (lower")[0] == metric.words), None)
            if name not in test["scores"]:
                assert found is None or found[column] == "-"
                continue
            assert found
            expected = [test["scores"][name]["value"], *(test["scores"][name]["interval"] or [])]
            digits = 1 if name == "hd95" else 3
            assert numbers(found[column]) == pytest.approx(expected, abs=0.5001 * 10**-digits)
            shown += 1
        assert f"{test['value']:.3f}" in page.text
    assert shown > 35


def test_confusions_are_counts_of_stored_predictions(page: Page, home: Home) -> None:
    for task in ("cls", "multi"):
        scored = predictions(home, task).evidence.scored
        assert scored.probabilities is not None
        table = page.rows(f"{TITLES[task]}: images by true class")
        for label, name in enumerate(CLASSES):
            called = scored.probabilities[scored.targets == label].argmax(1)
            counts = [int((called == other).sum()) for other in range(3)]
            assert [int(cell.split(" ")[0]) for cell in table[name]] == [*counts, len(called)]
    for task in ("seg", "multi"):
        shown = page.rows(f"{TITLES[task]}: pixels at original size")
        tp, fp, fn = predictions(home, task).evidence.scored.counts.sum(0)  # type: ignore[union-attr]
        assert [cell.split(" ")[0] for cell in shown["lesion"]] == [f"{fn:,}", f"{tp:,}", f"{tp + fn:,}"]
        assert shown["background"][1].split(" ")[0] == f"{fp:,}"


def test_combiners_are_those_of_the_ensemble(page: Page, home: Home) -> None:
    for task, title in TITLES.items():
        found = home.found(task)
        rows = page.rows(f"Combiners of {title} on held-out images, n = {found['compared']['images']}")
        assert [name.removesuffix(" (winner)") for name in rows] == [row["name"] for row in found["combiners"]]
        assert [name for name in rows if name.endswith(" (winner)")] == [f"{found['winner']} (winner)"]
        for cells, row in zip(rows.values(), found["combiners"], strict=True):
            if row["score"] is None:
                assert set(cells) == {"-"}
                continue
            differences = [row["difference_to_best"], row["difference_to_mean"]]
            expected = [row["score"], row["standard_error"]]
            expected += [one[key] for one in differences for key in ("value", "standard_error")]
            expected += [] if row["fpr_normal"] is None else [row["fpr_normal"]]
            assert numbers(" ".join(cells)) == pytest.approx(expected, abs=6e-4)
            assert cells[-1] == str(len(row["members"]))


def test_paired_differences_by_another_route(page: Page, home: Home) -> None:
    table = page.table("Paired differences")[1:]
    (dice,) = [row for row in table if row[1] == METRICS["dice"].words]
    values = [mean_dice(home, task) for task in ("seg", "multi")]
    assert numbers(" ".join(dice[4:7])) == pytest.approx([*values, values[0] - values[1]], abs=6e-4)
    (auroc,) = [row for row in table if row[1] == METRICS["auroc"].words]
    values = []
    for task in ("cls", "multi"):
        scored = predictions(home, task).evidence.scored
        values.append(roc_auc_score(scored.targets, scored.probabilities, multi_class="ovr"))
    assert numbers(" ".join(auroc[4:7])) == pytest.approx([*values, values[0] - values[1]], abs=6e-4)


def mean_dice(home: Home, task: str) -> float:
    """From the files of true masks and the stored predicted ones."""
    found = predictions(home, task)
    truths = {}
    for image in home.phantom.rglob("*.png"):
        if "_mask" not in image.stem:
            masks = image.parent.glob(f"{image.stem}_mask*.png".replace("[", "[[]"))
            truths[hash_of(image)] = [np.asarray(Image.open(mask)) > 0 for mask in masks]
    values = []
    for row, digest in enumerate(found.evidence.digests):
        truth = np.logical_or.reduce(truths[digest]) if truths[digest] else np.zeros(1, bool)
        if truth.any():
            predicted = found.masks[row]  # type: ignore[index]
            values.append(2 * (predicted & truth).sum() / (predicted.sum() + truth.sum()))
    return float(np.mean(values))


def hash_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_scorings_and_champions_are_those_of_the_store(page: Page, home: Home) -> None:
    client = MlflowClient(tracking_uri=home.uri)
    rows = page.rows("The registry.")
    for task, title in TITLES.items():
        found = home.found(task)
        ids = [one.experiment_id for one in client.search_experiments()]
        mine = f"tags.data_fingerprint = '{found['data']['fingerprint']}'"
        tags = {tag for run in client.search_runs(ids, mine) for tag in run.data.tags if tag.startswith("test_scored.")}
        champion = str(client.get_model_version_by_alias(f"breast-ultrasound-{task}", "champion").version)
        version = found["model_uri"].rsplit("/")[-1]
        today = "the champion" if champion == version else f"not the champion; that is version {champion}"
        assert rows[title][:2] == [found["model_uri"], today]
        assert rows[title][2] == str(len(tags))


def test_model_card_counts_the_files(page: Page, home: Home) -> None:
    rows = page.rows("Images of each class by part of the split")
    summary = json.loads((home.folder / "runs" / "seg" / "summary.json").read_text())["data"]
    assert list(map(int, rows["images"])) == [*summary["split_sizes"].values(), summary["images"]]
    assert int(rows["groups"][-1]) == summary["groups"]
    for name in CLASSES:
        files = [file for file in (home.phantom / name).glob("*.png") if "_mask" not in file.stem]
        assert int(rows[name][-1]) == len(files)


def test_synthetic_data_are_marked_and_the_page_stands_alone(page: Page, written: dict[str, Path]) -> None:
    assert_self_contained(page)
    assert page.text.index("SYNTHETIC DATA") < page.text.rindex("Results and comparisons")
    assert "SYNTHETIC DATA" in written["md"].read_text()[:300]
    assert {"answer", "strengths", "comparison", "cases", "search", "card", "checklist"} <= set(page.sections)
    assert "Not a medical device" in page.sections["card"]


def test_markdown_holds_every_row_of_every_table(page: Page, written: dict[str, Path]) -> None:
    def cells(line: str) -> tuple[str, ...]:
        found = re.split(r"(?<!\\) \| ", line[2:-2])
        return tuple(
            re.sub(r"\\(.)", r"\1", re.sub(r"^\*\*(.*)\*\*$", r"\1", cell)) for cell in found
        )  # totals are bold

    lines = {cells(line) for line in written["md"].read_text().splitlines() if line.startswith("| ")}
    rows = {tuple(" ".join(cell.split()) for cell in row) for table in page.tables.values() for row in table}
    assert len(rows) > 150
    assert rows <= lines


@pytest.mark.long
@pytest.mark.parametrize("width", [1440, 420])
def test_nothing_overflows_and_the_console_is_silent(written: dict[str, Path], tmp_path: Path, width: int) -> None:
    found = looked_at(written["html"], tmp_path, width)
    assert found["title"] == "Results and comparisons"
    assert found["scroll"] <= width
    if width > 1000:  # on a narrow page wide tables scroll in their own frames
        assert found["wide"] == []
    assert found["broken"] == 0
    assert found["console"] == []
