"""Tasks by name. A task is an object that says what its model, loss, metrics, primary metric and predictions are."""

from trainables.tasks.seg import Segmentation

TASKS = {task.name: task for task in (Segmentation(),)}

__all__ = ["TASKS", "Segmentation"]
