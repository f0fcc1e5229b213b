"""The same trials by the documented recipe: function trainable, OptunaSearch, MLflowLoggerCallback, files read.

It follows tune-mlflow.html and tune-pytorch-cifar.html of https://docs.ray.io/en/latest/tune/examples/. In its favour:
no checkpoints, none of Tune's own log files, the Optuna study in memory, usage statistics and telemetry off.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import ray
import torch
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.search.optuna import OptunaSearch
from torch.utils.data import DataLoader, Dataset

from benchmarks._work import SLOTS, SPACE, configuration, prepared
from search_spaces import Config, seg
from trainables.augment import build_augmentation
from trainables.batches import Batch
from trainables.tasks import make_task

#: An image's file, its mask's file and its label.
Sample = tuple[str, str, int]


class Images(Dataset):
    """Images and masks read from their files each time, as in the seed notebooks."""

    def __init__(self, samples: list[Sample], size: int, augmentation: str) -> None:
        self.samples, self.size = samples, size
        self.augment = build_augmentation(augmentation, size)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Batch:
        image, mask, label = self.samples[index]
        seed = int(torch.randint(2**31, ()))
        pixels, lesion = self._read(image, cv2.INTER_AREA), self._read(mask, cv2.INTER_NEAREST)
        pixels, lesion = self.augment(pixels, (lesion > 0).astype(np.uint8), seed)
        return Batch(torch.tensor(pixels)[None], torch.tensor(lesion)[None], torch.tensor(label), torch.tensor(True))

    def _read(self, file: str, interpolation: int) -> np.ndarray:
        pixels = cv2.imread(file, cv2.IMREAD_GRAYSCALE)
        if pixels is None:
            raise FileNotFoundError(file)
        return cv2.resize(pixels, (self.size, self.size), interpolation=interpolation)


def train(config: Config, train_on: list[Sample], validate_on: list[Sample]) -> None:
    """The function trainable: the model, loss, steps and metrics of `configuration`, reported every epoch."""
    config = configuration(config["epochs"], config["seed"])
    torch.manual_seed(config["seed"])
    task = make_task("seg")
    model = task.build(config).to(memory_format=torch.channels_last)
    loss_of = task.loss(config, np.array([label for *_, label in train_on]))
    # No workers of its own: on cores that are all taken, two of them made a trial slower.
    loader = DataLoader(
        Images(train_on, config["image_size"], config["augmentation"]), config["batch_size"], shuffle=True
    )
    validation = DataLoader(Images(validate_on, config["image_size"], "none"), batch_size=32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"], weight_decay=config["weight_decay"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config["epochs"] * len(loader))
    for _ in range(config["epochs"]):
        model.train()
        total = 0.0
        for batch in loader:
            loss = loss_of(model(batch.images), batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch.images)
        model.eval()
        metrics, held_out = task.metrics(), 0.0
        with torch.inference_mode():
            for batch in validation:
                logits = model(batch.images)
                task.update(metrics, logits, batch)
                held_out += loss_of(logits, batch).item() * len(batch.images)
        scores = {f"val_{name}": value for name, value in metrics.compute().items()}
        tune.report({"train_loss": total / len(train_on), "val_loss": held_out / len(validate_on), **scores})


def suggest(trial: Any, epochs: int) -> dict[str, Any]:
    """Have Optuna sample the default space, and name what is trained."""
    seg.suggest(trial, **SPACE, epochs=epochs)
    return {"epochs": epochs, "seed": trial.number}


def run(folder: str, name: str, epochs: int, trials: int) -> None:
    """One `Tuner.fit`, tracked in `folder`/`name`.db."""
    data = prepared(Path(folder))
    learnt, held_out = (
        [(data.files[row], data.mask_files[row][0], int(data.labels[row])) for row in rows]
        for rows in data.fold_rows(0)
    )
    ray.init(num_cpus=SLOTS)
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(train, train_on=learnt, validate_on=held_out), {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(partial(suggest, epochs=epochs), metric="val_dice", mode="max"), num_samples=trials
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(Path(folder) / "tune"),
            callbacks=[MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder}/{name}.db", experiment_name=name)],
        ),
    )
    tuner.fit()
