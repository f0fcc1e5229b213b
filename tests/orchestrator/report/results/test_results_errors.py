"""Errors by size, class and sub-group of models whose right answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestrator.report.results.errors import (
    MOST_VALUES,
    OTHERS,
    by_class,
    by_size,
    by_subgroup,
    lesion_shares,
    size_thirds,
    value_names,
)
from orchestrator.report.results.means import Resampled, by_image
from orchestrator.report.results.subject import ImageFiles
from tests.support.subjects import mask, subject, sure, with_columns

N = 90
LABELS = [i % 3 for i in range(N)]
#: The larger the lesion, the better its mask; normals have a false alarm every fifth time.
SIZES = [0 if label == 0 else 20 + i for i, label in enumerate(LABELS)]
TRUE = [mask(size) for size in SIZES]
HIT = [i if i < 30 else size for i, size in enumerate(SIZES)]
PREDICTED = [mask(i % 5 == 0) if LABELS[i] == 0 else mask(min(hit, SIZES[i])) for i, hit in enumerate(HIT)]
CLASSIFIER = subject("cls", LABELS, probabilities=sure([label if i % 2 else 1 for i, label in enumerate(LABELS)]))
SEGMENTER = subject("seg", LABELS, true=TRUE, predicted=PREDICTED)


def _rows(tables: list) -> dict[tuple[str, str], list]:  # type: ignore[type-arg]
    """Rows of the one table by part and model."""
    (table,) = tables
    found, part = {}, ""
    for row in table.rows:
        part = row[0] or part
        found[part, row[1]] = list(row[2:])
    return found


def test_thirds_of_size_are_the_same_for_all_models() -> None:
    rows = _rows(by_size([SEGMENTER, CLASSIFIER]))
    parts = list(dict.fromkeys(part for part, _ in rows))
    assert [part.split(" (")[0] for part in parts] == ["smallest third", "middle third", "largest third"]
    assert [rows[part, "seg"][0] for part in parts] == [20, 20, 20]
    small, large = rows[parts[0], "seg"], rows[parts[2], "seg"]
    assert float(small[1][:5]) < float(large[1][:5])
    assert large[1] == "1.000"  # all alike: a bootstrap says nothing
    assert small[2:] == ["-", "-"]  # no classes
    assert rows[parts[0], "cls"][:2] == ["-", "-"]
    assert rows[parts[0], "cls"][2] == 20  # lesions that only the other model's truth knows
    assert "(95 %" not in small[1]
    assert small[1].count("to") == 1


def test_lesions_as_large_as_the_limit_are_below_it() -> None:
    true = [mask(size) for size in (40, 40, 60, 80, 80, 120, 120)]
    rows = _rows(by_size([subject("seg", [1] * 7, true=true, predicted=true)]))
    assert {part: row[0] for (part, _), row in rows.items()} == {
        "smallest third (to 15.0 %)": 3,
        "middle third (over 15.0, to 20.0 %)": 2,
        "largest third (over 20.0 %)": 2,
    }
    alike = _rows(by_size([subject("seg", [1] * 3, true=true[:1] * 3, predicted=true[:1] * 3)]))
    assert alike == {("smallest third (to 10.0 %)", "seg"): [3, "1.000"]}


def test_without_lesions_there_is_no_table_of_sizes() -> None:
    assert by_size([CLASSIFIER]) == []
    assert by_size([subject("seg", [0, 0], true=[mask(0)] * 2, predicted=[mask(0)] * 2)]) == []


def test_classes_have_what_applies_to_them() -> None:
    rows = _rows(by_class([SEGMENTER, CLASSIFIER]))
    assert rows["normal", "seg"][:2] == ["-", "-"]
    assert rows["normal", "seg"][4] == 30
    assert rows["normal", "seg"][5].startswith("0.200 (")
    assert rows["malignant", "cls"][2:4][0] == 30
    assert rows["malignant", "cls"][3].startswith("0.500 (")
    assert rows["benign", "cls"][3] == "1.000"


def test_subgroups_come_in_tables_of_their_own() -> None:
    source = ["<b>A</b>" if i % 2 else "B" for i in range(N)]
    images = with_columns(N, {"source": source, "constant": ["x"] * N})
    made = subject("cls", LABELS, probabilities=sure([1] * N), images=images)
    rows = _rows(by_subgroup([made]))  # one table: a column of one value has no sub-groups
    assert {part for part, _ in rows} == {"<b>A</b>", "B"}
    assert rows["B", "cls"][0] == 45
    assert by_subgroup([CLASSIFIER]) == []


def test_fewer_than_ten_groups_have_no_interval() -> None:
    source = ["few"] * 9 + ["many"] * (N - 9)
    made = subject("cls", LABELS, probabilities=sure([1] * N), images=with_columns(N, {"source": source}))
    rows = _rows(by_subgroup([made]))
    assert rows["few", "cls"] == [9, "0.333"]
    assert rows["many", "cls"][1].startswith("0.333 (")


def test_a_part_that_is_all_wrong_is_told_from_the_rest() -> None:
    values = np.concatenate([np.arange(90) % 9 > 0, np.zeros(30), np.ones(30)]).astype(float)
    drawn = Resampled(np.arange(150), np.zeros(150, np.int64))
    some, wrong, right = (np.isin(np.arange(150), rows) for rows in (range(90), range(90, 120), range(120, 150)))
    found = drawn.difference(values, some, wrong)
    assert found.value == pytest.approx(8 / 9)
    assert found.apart
    assert drawn.difference(values, right, some).apart
    assert drawn.difference(values, wrong, right).apart
    assert not drawn.difference(values, wrong, some & (values == 0)).known  # alike, both together
    assert not drawn.difference(values, some, wrong & (np.arange(150) < 99)).known  # nine groups


def test_copies_of_a_file_with_masks_of_their_own_are_images_of_their_own() -> None:
    true = [mask(size) for size in (20, 60, 100, 200)]
    digests = ["a", "b", "a", "c"]
    images = {name: ImageFiles(name, Path("nowhere"), (), {"site": f"of {name}"}) for name in "abc"}
    seg = subject("seg", [1] * 4, true=true, predicted=true, digests=digests, images=images)
    cls = subject("cls", [1, 1, 1, -1], probabilities=sure([1] * 4), digests=digests, images=images)
    shares = lesion_shares([seg, cls])
    assert list(shares.values()) == [size / 400 for size in (20, 60, 100, 200)]
    assert size_thirds(cls, shares, (0.1, 0.2)).tolist() == [0, 1, 2, 2]
    assert "n = 4 images" in by_subgroup([seg, cls])[0].caption
    assert "n = 4 images" in by_class([seg, cls])[0].caption
    assert "n = 3 images" in by_class([cls])[0].caption  # of known class


def test_numbers_go_in_thirds_and_other_values_by_how_common_they_are() -> None:
    ages = {str(i): str(20 + i) for i in range(60)} | {"x": ""}
    names = value_names(ages)
    assert list(dict.fromkeys(names.values())) == ["to 39", "over 39, to 59", "over 59", "not given"]
    assert (names["39"], names["40"]) == ("to 39", "over 39, to 59")
    words = {str(i): f"site {i % 20}" for i in range(70)}
    names = value_names(words)
    assert len(set(names.values())) == MOST_VALUES + 1
    assert next(iter(names.values())) == "site 0"
    assert names["site 19"] == OTHERS
    assert value_names({"a": "1", "b": "2"}) == {"1": "1", "2": "2"}


def test_resampled_means_are_of_groups_and_known_values() -> None:
    values = np.array([1.0, 0, 1, np.nan] * 30)
    labels = np.zeros(120, np.int64)
    single, pairs = (Resampled(groups, labels) for groups in (np.arange(120), np.arange(120) // 4))
    everything = np.ones(120, bool)
    mean = single.mean(values, everything)
    assert (mean.value, mean.n) == (pytest.approx(2 / 3), 90)
    assert mean.low < 2 / 3 < mean.high
    assert mean.high - mean.low == pytest.approx(2 * 1.96 * np.sqrt(2 / 9 / 90), rel=0.15)
    whole = pairs.mean(values, everything)  # every group is alike, so nothing varies
    assert (whole.value, whole.known) == (pytest.approx(2 / 3), False)
    nothing = single.mean(values, ~everything)
    assert nothing.n == 0
    assert nothing.words() == "-"
    first = np.arange(120) < 60
    difference = single.difference(values, first, ~first)
    assert difference.value == 0
    assert difference.known
    assert not difference.apart


def test_what_is_right_of_an_image_is_known_where_it_applies() -> None:
    made = subject(
        "multi",
        [1, 0, -1, 2],
        probabilities=sure([1, 2, 0, 1]),
        true=[mask(4), mask(0), mask(4), mask(4)],
        predicted=[mask(4), mask(3), mask(2), mask(4)],
        has_mask=[True, True, True, False],
    )
    found = by_image(made.tested)
    np.testing.assert_allclose(found["right"], [1, 0, np.nan, 0])
    np.testing.assert_allclose(found["dice"], [1, np.nan, 4 / 6, np.nan])
    np.testing.assert_allclose(found["alarm"], [np.nan, 1, np.nan, np.nan])
