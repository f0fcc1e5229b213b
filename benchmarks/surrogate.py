"""A trial that trains nothing: its learning curve follows from its configuration. For tests of what surrounds trials.

As a script it is `python -m orchestrator.search` with such trials: `python benchmarks/surrogate.py --trials 8 ...`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from ray import tune

from search_spaces import Config
from trainables.memory import halving

# Of a search with such trials: as little as there can be beside what is measured.
SETTINGS: dict[str, Any] = {
    "arch": ("unet", "smp_unet"),
    "encoder": ("resnet18",),
    "weights": "none",
    "image_size": 64,
    "time_budget": "10h",
    "ensemble": False,
}


def quality(config: Config) -> float:
    """What a configuration reaches at last, 0.2 to 0.9: best at a learning rate of 1e-3, with some noise."""
    text = json.dumps({name: config[name] for name in sorted(config)}, default=str)
    noise = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    return 0.2 + 0.5 * math.exp(-((math.log10(config["lr"]) + 3) ** 2)) + 0.2 * noise


class Surrogate(tune.Trainable):
    """Stands in for `trainables.trial.Trial`: same results and checkpoints, no network.

    SURROGATE_SECONDS is the time an epoch takes; each epoch adds the line "<trial id> <epoch> <process id>" to the file
    SURROGATE_LOG, if there is one. SURROGATE_FAULTS makes the trials of an architecture fail, as in "fpn=raise": raise
    (in the first epoch), nan (the loss, in the second) or memory (for more than two images). SURROGATE_BALLAST is the
    size of a checkpoint in bytes.
    """

    def setup(self, config: Config, shared: Any) -> None:  # type: ignore[override]
        """Called once a worker."""
        self.primary = {"seg": "dice", "cls": "auroc", "multi": "score"}[shared.task]
        self.seconds, self.log = float(os.environ.get("SURROGATE_SECONDS", "0")), os.environ.get("SURROGATE_LOG")
        self.reset_config(config)

    def reset_config(self, new_config: Config) -> bool:
        """Take the next trial."""
        self.settings, self.epoch = new_config, 0
        faults = dict(pair.split("=") for pair in os.environ.get("SURROGATE_FAULTS", "").split())
        self.fault = faults.get(new_config["architecture"], "")
        return True

    def step(self) -> dict[str, Any]:
        """An epoch."""
        time.sleep(self.seconds)
        self.epoch += 1
        if self.log:
            with open(self.log, "a") as out:
                out.write(f"{self.trial_id} {self.epoch} {os.getpid()}\n")
        if self.fault == "raise":
            raise RuntimeError("made to fail")
        if self.fault == "nan" and self.epoch == 2:
            return {f"best/{self.primary}": self._value(1), "stopped": "diverged", "done": True}
        halved = (
            {"micro_batch": halving(_fits, self.settings["batch_size"], least=2)[1]} if self.fault == "memory" else {}
        )
        value = self._value(self.epoch)
        return {
            f"best/{self.primary}": value,
            "best/epoch": self.epoch,
            **halved,
            **{f"val/figure_{i}": value * i for i in range(8)},
            "train_seconds": self.epoch * self.seconds,
            "done": self.epoch >= self.settings["epochs"],
            "should_checkpoint": self.epoch % 2 == 0 or self.epoch >= self.settings["epochs"],
        }

    def _value(self, epoch: int) -> float:
        return quality(self.settings) * (1 - math.exp(-epoch / 3))

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write where it is."""
        (Path(checkpoint_dir) / "ballast").write_bytes(bytes(int(os.environ.get("SURROGATE_BALLAST", "1"))))
        (Path(checkpoint_dir) / "surrogate.json").write_text(json.dumps({"epoch": self.epoch}))

    def load_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]
        """Go on from there."""
        self.epoch = json.loads((Path(checkpoint_dir) / "surrogate.json").read_text())["epoch"]


def _fits(images: int) -> None:
    if images > 2:
        raise torch.OutOfMemoryError("made to run out of memory")


if __name__ == "__main__":
    from orchestrator.search import main
    from orchestrator.tuning import launch

    launch.Trial = Surrogate  # type: ignore[misc,assignment]
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
