"""How many trials run side by side, and what each of them gets."""

from __future__ import annotations

from dataclasses import dataclass

#: Ray counts GPUs in ten-thousandths and cuts off what is finer.
UNITS = 10_000
#: Share of a GPU that may stay unused: a third cannot be given without a rest.
STRANDED = 0.01


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
        ValueError: a trial needs more than there is, or GPUs would stay partly unused.
    """
    gpus_each = gpus_per_trial if gpus_per_trial is not None else float(gpus >= 1)
    if gpus_each > gpus:
        raise ValueError(f"--gpus-per-trial {gpus_each:g}: only {gpus:g} GPUs here; lower it, or leave it out")
    if (cpus_per_trial or 1) > cpus:
        raise ValueError(f"--cpus-per-trial {cpus_per_trial}: only {cpus} cores here; lower it, or leave it out")
    slots = cpus // (cpus_per_trial or 1)
    if gpus_each:
        slots = min(slots, _on_gpus(gpus_each, int(gpus)))
    slots = max(1, min(slots, trials, max_concurrent or slots))
    return Resources(slots, cpus_per_trial or max(1, cpus // slots), gpus_each)


def fraction(trials: int) -> float:
    """GPUs a trial, with which this many trials (at most `UNITS`) fit on one GPU."""
    return UNITS // trials / UNITS


def _on_gpus(each: float, gpus: int) -> int:
    """How many trials of `each` GPUs fit. A fraction lies on one GPU, and whole GPUs are not shared.

    Raises:
        ValueError: GPUs would stay partly unused; the message names the next number that uses them all.
    """
    if each < 1:
        units = int(each * UNITS)
        if not units:
            raise ValueError(f"--gpus-per-trial {each:g}: Ray shares a GPU in steps of {1 / UNITS}; give that or more")
        fitting, left = divmod(UNITS, units)
        good = fraction(fitting)
        if left >= STRANDED * UNITS and each < good:
            unused = f"{fitting} on a GPU would leave {1 - fitting * each:.3g} of it unused"
            raise ValueError(f"--gpus-per-trial {each:g}: {unused}; give {good:g}")
        return gpus * fitting
    fitting, left = divmod(gpus, int(each))
    if left:
        whole = next(number for number in range(int(each), gpus + 1) if gpus % number == 0)
        raise ValueError(f"--gpus-per-trial {each:g}: {left} of {gpus} GPUs would stay unused; give {whole}")
    return fitting
