from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from search_spaces.cls import HOUSE
from trainables import charts
from trainables.batches import Batch, batches
from trainables.data import CLASSES, DataError, Prepared, prepare, read_manifest
from trainables.tasks.cls import Classification, to_targets

#: Mean grey by class, in no order in which folders, classes or letters come.
GREY = {"malignant": 90, "normal": 150, "benign": 210}
COUNTS = {"malignant": 12, "normal": 10, "benign": 14}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BUSI folder in which an image's mean grey is its class. The texture keeps near-duplicates apart."""
    root = tmp_path_factory.mktemp("grey")
    rng = np.random.default_rng(0)
    for name, grey in GREY.items():
        (root / name).mkdir()
        for number in range(1, COUNTS[name] + 1):
            texture = np.kron(rng.integers(-25, 26, (16, 16)), np.ones((4, 4)))
            image = Image.fromarray((grey + texture - texture.mean()).round().astype(np.uint8))
            image.save(root / name / f"{name} ({number}).png")
            mask = np.zeros((64, 64), np.uint8)
            mask[20:40, 20:40] = 255 * (name != "normal")
            Image.fromarray(mask).save(root / name / f"{name} ({number})_mask.png")
    return root


@pytest.fixture(scope="module")
def grey(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(read_manifest(folder), tmp_path_factory.mktemp("cache"), size=64)


class ByGrey(torch.nn.Module):
    """Knows the classes by their grey, and gets `mistaken` images of every class wrong as the class above it."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.greys = torch.tensor([float(GREY[name]) for name in names])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -(images.float().mean((1, 2, 3))[:, None] - self.greys).abs() / 10


@pytest.mark.parametrize("classes", [2, 3])
def test_a_label_is_the_same_class_in_folder_and_report(grey: Prepared, classes: int) -> None:
    """One class at a time is called another: only its own recall, and the other's precision, may fall."""
    task = Classification(classes)
    assert task.names == CLASSES[-classes:]
    rows = task.rows(grey)
    model = ByGrey(task.names)
    loader = list(batches(grey, task.samples(grey, rows), batch_size=8, device=torch.device("cpu")))
    perfect = task.metrics()
    for batch in loader:
        task.update(perfect, model(batch.images), batch)
    assert perfect.compute()["accuracy"] == 1
    for index, name in enumerate(task.names):
        other = (index + 1) % classes
        metrics = task.metrics()
        for batch in loader:
            logits = model(batch.images)
            mistaken = (batch.images.float().mean((1, 2, 3)) - GREY[name]).abs() < 20
            logits[mistaken] = 10.0 * torch.eye(classes)[other]
            task.update(metrics, logits, batch)
        scores = metrics.compute()
        recalls = {known: scores[f"recall_{known}"] for known in task.names}
        assert recalls == {known: float(known != name) for known in task.names}
        seen = COUNTS[task.names[other]]
        assert scores[f"precision_{task.names[other]}"] == pytest.approx(seen / (seen + COUNTS[name]))


def test_the_confusion_matrix_writes_the_true_class_beside_its_row(
    grey: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Classification()
    rows = task.rows(grey)
    drawn = {}
    monkeypatch.setattr(charts, "_picture", lambda figure: drawn.setdefault(figure.axes[0].get_title(), figure))
    task.figures(grey, rows, ByGrey(task.names)(torch.from_numpy(grey.images[rows])[:, None]))
    axes = next(figure for title, figure in drawn.items() if title.startswith("Confusion")).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert [label.get_text() for label in axes.get_xticklabels()] == names
    written = {text.get_position(): int(text.get_text().split("\n")[0]) for text in axes.texts}
    found = {(names[column], names[row]): count for (column, row), count in written.items() if count}
    assert found == {(name, name): COUNTS[name] for name in CLASSES}


def test_rows_are_the_labelled_images_of_the_tasks_classes(grey: Prepared) -> None:
    labels = grey.labels.copy()
    labels[::5] = -1
    unknown = replace(grey, labels=labels)
    assert np.array_equal(Classification(3).rows(unknown), np.flatnonzero(labels >= 0))
    assert np.array_equal(Classification(2).rows(unknown), np.flatnonzero(labels >= 1))
    rows = Classification(2).rows(unknown)
    assert np.array_equal(Classification(2).samples(unknown, rows), rows)


@pytest.mark.parametrize(("label", "classes", "said"), [(1, 3, "benign alone"), (0, 2, "none"), (-1, 3, "none")])
def test_fewer_than_two_classes_are_refused_in_words(grey: Prepared, label: int, classes: int, said: str) -> None:
    with pytest.raises(DataError, match=f"at least two of the classes .*{said}") as error:
        Classification(classes).rows(replace(grey, labels=np.full_like(grey.labels, label)))
    assert "\n" not in str(error.value)


def test_targets_count_from_the_first_class_of_the_task() -> None:
    labels = np.array([-1, 0, 1, 2])
    assert to_targets(labels, 3).tolist() == [-1, 0, 1, 2]
    assert to_targets(torch.from_numpy(labels), 2).tolist() == [-1, -1, 0, 1]


@pytest.mark.parametrize("classes", [2, 3])
def test_loss_falls_where_the_true_class_gains(grey: Prepared, classes: int) -> None:
    task = Classification(classes)
    loss = task.loss({**HOUSE, "balance": "weights"}, grey.labels[task.rows(grey)])
    model = task.build({**HOUSE, "architecture": "mobilenetv3_small"})
    rows = task.rows(grey)[:8]
    image, label = torch.from_numpy(grey.images[rows])[:, None], torch.from_numpy(grey.labels[rows])
    batch = Batch(image, torch.zeros_like(image), label, torch.ones(8, dtype=torch.bool))
    logits = model(image).detach()
    assert logits.shape == (8, classes)
    right = logits + torch.eye(classes)[to_targets(label, classes)]
    assert loss(right, batch) < loss(logits, batch)


def test_figures_are_pictures_whatever_is_there(grey: Prepared) -> None:
    task = Classification()
    rows = task.rows(grey)
    for labels in (grey.labels, np.ones_like(grey.labels)):
        figures = task.figures(replace(grey, labels=labels), rows, torch.zeros(len(rows), 3))
        assert list(figures) == ["confusion", "roc", "precision_recall", "worst_cases"]
        assert {figures[name].shape for name in ("confusion", "roc", "precision_recall")} == {(900, 900, 3)}
        for picture in figures.values():
            assert picture.dtype == np.uint8
            assert picture.std() > 0
    perfect = torch.from_numpy(9.0 * np.eye(3)[grey.labels[rows]])
    assert "worst_cases" not in task.figures(grey, rows, perfect)
