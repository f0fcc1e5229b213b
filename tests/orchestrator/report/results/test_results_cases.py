"""Galleries of the best and the worst images."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from orchestrator.rendering.document import Gallery, Heading, Picture, Text
from orchestrator.report.results.cases import best_and_worst
from orchestrator.report.results.subject import ModelResults
from tests.support.subjects import SIDE, files, mask, subject, sure

LABELS = [1, 2, 1, 2, 1, 0, 0]
TRUE = [mask(10)] * 5 + [mask(0)] * 2
#: Dice 0, .5, .67 (as often in one group), 1; a false alarm in the last normal.
PREDICTED = [mask(10, 50), mask(30), mask(20), mask(20), mask(10), mask(0), mask(8)]
GROUPS = [0, 1, 2, 2, 4, 5, 6]


def _masks(folder: Path, **fields: object) -> ModelResults:
    made = subject("seg", LABELS, true=TRUE, predicted=PREDICTED, groups=GROUPS, title="masks")
    return replace(made, images=files(folder, TRUE), **fields)  # type: ignore[arg-type]


def _galleries(one: ModelResults, count: int = 6) -> dict[str, Gallery]:
    blocks = best_and_worst(one, count)
    names = [block.words for block in blocks if isinstance(block, Heading)]
    return dict(zip(names, [block for block in blocks if isinstance(block, Gallery)], strict=True))


def _pixels(picture: Picture) -> np.ndarray:
    stored = np.frombuffer(base64.b64decode(picture.address.split(",")[1]), np.uint8)
    return cv2.cvtColor(cv2.imdecode(stored, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB).astype(int)


def test_the_worst_come_first_and_one_of_a_group(tmp_path: Path) -> None:
    found = _galleries(_masks(tmp_path))
    lowest = [picture.lines for picture in found["Lowest Dice: masks"].pictures]
    assert lowest == [
        ("folder/image-0.png", "true: benign", "Dice 0.000"),
        ("folder/image-1.png", "true: malignant", "Dice 0.500"),
        ("folder/image-2.png", "true: benign", "Dice 0.667"),
    ]
    highest = [picture.lines[2] for picture in found["Highest Dice: masks"].pictures]
    assert highest == ["Dice 1.000", "Dice 0.667"]
    assert "3 of 5 images with a lesion; one of a group" in found["Lowest Dice: masks"].caption
    alarms = found["Largest false alarms: masks"]
    assert [picture.lines[0] for picture in alarms.pictures] == ["folder/image-6.png"]
    assert "1 of 1 with a false alarm, of 2 images without a lesion" in alarms.caption
    assert len(_galleries(_masks(tmp_path), count=1)["Lowest Dice: masks"].pictures) == 1


def test_an_empty_mask_is_said_in_words(tmp_path: Path) -> None:
    made = subject("seg", LABELS, true=TRUE, predicted=[mask(0), *PREDICTED[1:]], groups=GROUPS, title="masks")
    lowest = _galleries(replace(made, images=files(tmp_path, TRUE)))["Lowest Dice: masks"].pictures[0]
    assert lowest.lines == ("folder/image-0.png", "true: benign", "no lesion found")


def test_truth_is_green_and_the_prediction_red(tmp_path: Path) -> None:
    worst = _galleries(_masks(tmp_path))["Lowest Dice: masks"].pictures[0]
    pixels = _pixels(worst)
    assert (worst.width, worst.height) == (pixels.shape[1], pixels.shape[0])
    assert worst.width == worst.height  # its own aspect
    red = (pixels[..., 0] - pixels[..., 1]) > 60
    green = (pixels[..., 1] - pixels[..., 0]) > 60
    # The truth lies in the first row, the prediction in the third (pixels 50 to 59).
    step = worst.height / SIDE
    assert green[: int(1.5 * step)].any()
    assert not green[int(2.5 * step) :].any()
    assert red[int(1.5 * step) : int(3.5 * step)].any()
    assert not red[int(4 * step) :].any()


def test_classifiers_show_their_most_confident_errors(tmp_path: Path) -> None:
    likeliest, chance = [1, 1, 0, 2, 1, 0, 2], [0.9, 0.6, 0.8, 0.9, 0.9, 0.9, 0.7]
    chances = np.vstack([sure([one], part) for one, part in zip(likeliest, chance, strict=True)])
    made = subject("cls", LABELS, probabilities=chances, title="classes")
    found = _galleries(replace(made, images=files(tmp_path, TRUE)))
    (gallery,) = found.values()
    assert [picture.lines[1:] for picture in gallery.pictures] == [
        ("true: benign", "called normal, 0.800"),
        ("true: normal", "called malignant, 0.700"),
        ("true: malignant", "called benign, 0.600"),
    ]
    assert "3 of 3 images taken for another class, of 7" in gallery.caption
    assert "predicted" not in gallery.caption  # it predicts no masks


def test_without_images_nothing_but_the_reason_is_shown() -> None:
    made = subject("seg", LABELS, true=TRUE, predicted=PREDICTED)
    (block,) = best_and_worst(made)
    assert isinstance(block, Text)
    assert "no pictures are shown" in block.words
    assert "0000" not in block.words


def test_images_that_vanished_are_passed_over_and_counted(tmp_path: Path) -> None:
    made = _masks(tmp_path)
    (tmp_path / "image-0.png").unlink()
    (tmp_path / "image-1.png").write_bytes(b"\x89PNG cut off")
    gallery = _galleries(made)["Lowest Dice: masks"]
    assert [picture.lines[0] for picture in gallery.pictures] == ["folder/image-2.png"]
    assert "2 images could not be read any more" in gallery.caption
    for file in tmp_path.glob("*.png"):
        file.unlink()
    (block,) = best_and_worst(made)
    assert isinstance(block, Text)


def test_a_model_without_errors_has_no_gallery_of_them(tmp_path: Path) -> None:
    made = subject("cls", LABELS, probabilities=sure(LABELS))
    assert best_and_worst(replace(made, images=files(tmp_path, TRUE))) == []


@pytest.mark.parametrize("name", ['"><script>alert(1)</script>', "\u202egnp.exe", "a\nb"])
def test_names_are_text(tmp_path: Path, name: str) -> None:
    made = replace(_masks(tmp_path), images=files(tmp_path, TRUE, [name] * len(TRUE)))
    assert _galleries(made)["Lowest Dice: masks"].pictures[0].lines[0] == name
