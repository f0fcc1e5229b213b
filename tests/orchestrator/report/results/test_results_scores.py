"""Tables of scores of models whose right answers are known."""

from __future__ import annotations

import numpy as np

from orchestrator.report.results import scores
from orchestrator.scoring.final_scores import ModelScores
from orchestrator.scoring.operating_points import operating_thresholds
from orchestrator.scoring.resampling import Estimate
from tests.support.subjects import mask, subject, sure

LABELS = [0, 1, 1, 2]
CLASSIFIER = subject("cls", LABELS, probabilities=sure([0, 1, 2, 2]), title="classes")
SEGMENTER = subject("seg", LABELS, true=[mask(n) for n in (0, 4, 4, 4)], predicted=[mask(n) for n in (0, 4, 2, 12)])


def test_metrics_stand_in_parts_and_a_dash_is_where_a_task_lacks_one() -> None:
    table = scores.metrics([SEGMENTER, CLASSIFIER])
    rows = {row[0]: list(row[1:]) for row in table.rows}
    assert list(table.columns) == ["metric", "seg", "classes"]
    assert rows["accuracy"] == ["-", "0.750 (0.650 to 0.850)"]
    assert rows["Dice of lesions"][1] == "-"
    assert str(rows["Dice of lesions"][0]).startswith(f"{(1 + 2 * 2 / 6 + 2 * 4 / 16) / 3:.3f} (")
    assert [row[0] for row in table.rows[:2]] == ["Dice of lesions", "AUROC, mean of classes"]  # what they rank by
    assert table.rows[table.rules[0]][0] == "IoU of lesions"
    assert "n = 4 images in 4 groups" in table.caption
    assert "3 images with a lesion, 1 without" in table.caption
    assert "lesion" not in scores.metrics([CLASSIFIER]).caption


def test_less_is_better_is_said_of_alarms_and_not_of_dice() -> None:
    words = [str(row[0]) for row in scores.metrics([SEGMENTER]).rows]
    assert "share of normals with a false alarm (lower is better)" in words
    assert "IoU of lesions" in words


def test_figures_without_intervals_and_numbers_of_images_that_differ() -> None:
    boxes = {"map_box": Estimate(value=0.5)}
    rows, rules = scores.metric_rows([ModelScores(metric="score", scores=boxes)])
    assert (rows, rules) == ([["COCO mAP of boxes", "0.500"]], [])
    other = subject("cls", [0, 1], probabilities=sure([0, 1]), title="fewer")
    assert "classes: 4 images in 4 groups; fewer: 2 images in 2 groups" in scores.metrics([CLASSIFIER, other]).caption


def test_each_class_has_its_own_row() -> None:
    table = scores.per_class(CLASSIFIER)
    assert table
    rows = {row[0]: row[1:] for row in table.rows}
    assert [row[0] for row in rows.values()] == [1, 2, 1]
    precision, recall = rows["malignant"][1:3]
    assert str(precision).startswith("0.500 (")
    assert str(recall).startswith("1.000 (")
    assert scores.per_class(SEGMENTER) is None


def test_a_class_without_images_is_dashes() -> None:
    table = scores.per_class(subject("cls", [1, 2], probabilities=sure([1, 2])))
    assert table
    assert list(table.rows[0]) == ["normal", 0, *["-"] * 5]


def test_operating_points_are_shown_with_what_they_keep_here() -> None:
    assert scores.operating_points([CLASSIFIER, SEGMENTER]) is None
    points = operating_thresholds(CLASSIFIER.tested.evidence.scored)
    table = scores.operating_points([subject("cls", LABELS, probabilities=sure([0, 1, 2, 1]), points=points)])
    assert table
    specific, sensitive = table.rows
    assert specific[1] == "90 % specificity"
    assert sensitive[1] == "95 % sensitivity"
    assert str(sensitive[3]).startswith("0.000 (0.000 to")  # the one malignant image is missed
    assert sensitive[5:] == [1, 3]


def test_without_malignant_images_there_is_no_sensitivity() -> None:
    points = operating_thresholds(CLASSIFIER.tested.evidence.scored)
    table = scores.operating_points([subject("cls", [0, 1], probabilities=sure([0, 1]), points=points)])
    assert table
    assert table.rows[0][3] == "-"


def test_confusion_is_one_table_with_truth_in_rows() -> None:
    table, pixels = scores.confusion(CLASSIFIER), scores.pixels(SEGMENTER)
    assert table
    assert pixels
    assert list(table.rows[1]) == ["benign", "0 (0.0 %)", "1 (50.0 %)", "1 (50.0 %)", 2]
    assert "n = 4 images" in table.caption
    assert [row[-1] for row in pixels.rows] == [1588, 12]
    assert pixels.rows[1][1:3] == ["2 (16.7 %)", "10 (83.3 %)"]
    assert scores.confusion(SEGMENTER) is None
    assert scores.pixels(CLASSIFIER) is None


def test_two_classes_are_named_right() -> None:
    two = subject("cls", [0, 1, 2, 2], probabilities=sure([0, 0, 1, 0], classes=2))
    table = scores.per_class(two)
    assert table
    assert [row[:2] for row in table.rows] == [["benign", 1], ["malignant", 2]]
    assert np.array_equal(two.figures.confusion["classes"], [[1, 0], [1, 1]])
