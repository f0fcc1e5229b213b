"""How many trials run side by side, and what each of them gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Ray counts GPUs in ten-thousandths and cuts off what is finer.
UNITS = 10_000
#: Share of a GPU that may stay unused: a third cannot be given without a rest.
STRANDED = 0.01


@dataclass(frozen=True)
class Host:
    """What Ray may use of a host."""

    cpus: int
    gpus: int = 0


@dataclass(frozen=True)
class TrialResources:
    """Slots, and the cores and GPUs of each trial. A trial runs as many threads as it has cores."""

    slots: int
    cpus: int
    gpus: float


def plan(
    hosts: Sequence[Host],
    *,
    trials: int,
    cpus_per_trial: int | None = None,
    gpus_per_trial: float | None = None,
    max_concurrent: int | None = None,
) -> TrialResources:
    """Share out what there is: a GPU a trial where there are GPUs, else a core a trial; spare cores go to the trials.

    Args:
        hosts: those that trials may run on; a trial runs on one.
        trials: number of trials of the search.
        cpus_per_trial, gpus_per_trial (at most 1), max_concurrent: what the user fixed.

    Raises:
        ValueError: a trial needs more than any host has, or GPUs would stay partly unused.
    """
    cpus, gpus = (max((getattr(host, kind) for host in hosts), default=0) for kind in ("cpus", "gpus"))
    gpus_each = gpus_per_trial if gpus_per_trial is not None else float(gpus >= 1)
    where = "here" if len(hosts) == 1 else "on any host"
    if gpus_each > gpus:
        raise ValueError(f"--gpus-per-trial {gpus_each:g}: only {gpus:g} GPUs {where}; lower it, or leave it out")
    if (cpus_per_trial or 1) > cpus:
        raise ValueError(
            f"--cpus-per-trial {cpus_per_trial or 1}: only {cpus} cores {where}; lower it, or leave it out"
        )
    if gpus_each:
        _refuse_stranded(gpus_each)
    slots = fitting(hosts, cpus_per_trial or 1, gpus_each)
    if not slots:
        both = f"{cpus_per_trial or 1} cores and {gpus_each:g} GPUs"
        raise ValueError(f"--cpus-per-trial {cpus_per_trial or 1}: no host has {both}; lower one of them")
    slots = min(slots, trials, max_concurrent or slots)
    spare = (each for each in range(cpus, 0, -1) if fitting(hosts, each, gpus_each) >= slots)
    return TrialResources(slots, cpus_per_trial or next(spare), gpus_each)


def fitting(hosts: Sequence[Host], cpus: int, gpus: float) -> int:
    """How many trials of so many cores and GPUs fit on the hosts at a time."""
    fits = 0
    for host in hosts:
        on_cpus = host.cpus // cpus
        fits += min(on_cpus, _on_gpus(gpus, host.gpus)) if gpus else on_cpus
    return fits


def fraction(trials: int) -> float:
    """GPUs a trial, with which this many trials (at most `UNITS`) fit on one GPU."""
    return UNITS // trials / UNITS


def _on_gpus(each: float, gpus: int) -> int:
    """How many trials of `each` GPUs, at most 1, fit: a fraction lies on one GPU."""
    return gpus * (UNITS // int(each * UNITS))


def _refuse_stranded(each: float) -> None:
    """See that trials of `each` GPUs, at most 1, use all of one.

    Raises:
        ValueError: it would stay partly unused; the message names the next number that uses it all.
    """
    units = int(each * UNITS)
    if not units:
        raise ValueError(f"--gpus-per-trial {each:g}: Ray shares a GPU in steps of {1 / UNITS}; give that or more")
    fits, left = divmod(UNITS, units)
    good = fraction(fits)
    if left >= STRANDED * UNITS and each < good:
        unused = f"{fits} on a GPU would leave {1 - fits * each:.3g} of it unused"
        raise ValueError(f"--gpus-per-trial {each:g}: {unused}; give {good:g}")
