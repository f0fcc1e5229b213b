"""Tasks by name. A task is an object that says what its model, loss, metrics, primary metric and predictions are."""

from trainables.tasks.base import Task
from trainables.tasks.cls import Classification
from trainables.tasks.multi import MultiTask
from trainables.tasks.seg import Segmentation

TASKS = ("seg", "cls", "multi")


def make_task(name: str, classes: int = 3) -> Task:
    """The task of a name in `TASKS`; `classes` is 3, or 2 for benign and malignant alone (segmentation has none)."""
    if name == "seg":
        return Segmentation()
    return Classification(classes) if name == "cls" else MultiTask(classes)


__all__ = ["TASKS", "Task", "base", "cls", "make_task", "multi", "outlines", "seg"]
