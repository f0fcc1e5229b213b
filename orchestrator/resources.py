"""How many trials run side by side, and what each of them gets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """Slots, and the cores and GPUs of each trial. A trial runs as many threads as it has cores."""

    slots: int
    cpus: int
    gpus: float


def plan(
    cpus: int,
    gpus: float,
    *,
    trials: int,
    cpus_per_trial: int | None = None,
    gpus_per_trial: float | None = None,
    max_concurrent: int | None = None,
) -> Resources:
    """Share out what there is: a GPU a trial where there are GPUs, else a core a trial; spare cores go to the trials.

    Args:
        cpus: cores. gpus: GPUs. trials: number of trials of the search.
        cpus_per_trial, gpus_per_trial, max_concurrent: what the user fixed.

    Raises:
        ValueError: a trial needs more than there is.
    """
    gpus_each = gpus_per_trial if gpus_per_trial is not None else float(gpus >= 1)
    if gpus_each > gpus:
        raise ValueError(f"--gpus-per-trial {gpus_each:g}: only {gpus:g} GPUs here; lower it, or leave it out")
    if (cpus_per_trial or 1) > cpus:
        raise ValueError(f"--cpus-per-trial {cpus_per_trial}: only {cpus} cores here; lower it, or leave it out")
    per_gpu = int(1 / gpus_each) if 0 < gpus_each < 1 else 1
    slots = cpus // (cpus_per_trial or 1)
    if gpus_each:
        slots = min(slots, int(gpus) * per_gpu if gpus_each <= 1 else int(gpus // gpus_each))
    slots = max(1, min(slots, trials, max_concurrent or slots))
    return Resources(slots, cpus_per_trial or max(1, cpus // slots), gpus_each)
