"""`python -m orchestrator.search` with real trials that fail on purpose, in the words of `benchmarks/surrogate.py`."""

from __future__ import annotations

import math
import os
import sys
from typing import Any

import torch

from orchestrator.search import main
from orchestrator.tuning import launch
from search_spaces import Config
from trainables.trial import Trial


class Faulty(Trial):
    """Saves every second epoch; SURROGATE_LOG and SURROGATE_FAULTS are those of the surrogate."""

    def _start(self, config: Config) -> None:
        super()._start(config)
        faults = dict(pair.split("=") for pair in os.environ.get("SURROGATE_FAULTS", "").split())
        self.fault = faults.get(config["architecture"], "")
        if self.fault == "memory":
            self.training.model.register_forward_pre_hook(_room_for_four)

    def step(self) -> dict[str, Any]:
        """An epoch."""
        epoch = self.iteration + 1
        if self.fault == "nan" and epoch == 2:
            self.training.loss = lambda outputs, batch: outputs.sum() * math.nan
        result = super().step()
        with open(os.environ["SURROGATE_LOG"], "a") as log:
            log.write(f"{self.trial_id} {epoch} {os.getpid()}\n")
        if self.fault == "raise":
            raise RuntimeError("made to fail")
        return {**result, "should_checkpoint": epoch % 2 == 0}


def _room_for_four(model: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
    if model.training and len(inputs[0]) > 4:
        raise torch.OutOfMemoryError("made to run out of memory")


if __name__ == "__main__":
    launch.Trial = Faulty  # type: ignore[misc]
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
