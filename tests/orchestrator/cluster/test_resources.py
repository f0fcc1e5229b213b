"""How trials share a machine."""

from __future__ import annotations

import pytest

from orchestrator.cluster.resources import Host, TrialResources, fitting, fraction, plan


@pytest.mark.parametrize(
    ("machine", "options", "expected"),
    [
        ((2, 0), {"trials": 10}, TrialResources(2, 1, 0)),
        ((2, 0), {"trials": 1}, TrialResources(1, 2, 0)),
        ((8, 0), {"trials": 10, "max_concurrent": 2}, TrialResources(2, 4, 0)),
        ((8, 0), {"trials": 10, "cpus_per_trial": 3}, TrialResources(2, 3, 0)),
        ((16, 2), {"trials": 10}, TrialResources(2, 8, 1)),
        ((16, 1), {"trials": 10, "gpus_per_trial": 0.25}, TrialResources(4, 4, 0.25)),
        ((16, 1), {"trials": 10, "gpus_per_trial": 0.3333}, TrialResources(3, 5, 0.3333)),
        ((16, 1), {"trials": 10, "gpus_per_trial": 1 / 6}, TrialResources(6, 2, 1 / 6)),
        ((16, 2), {"trials": 40, "gpus_per_trial": 0.125}, TrialResources(16, 1, 0.125)),
        ((16, 1), {"trials": 10, "gpus_per_trial": 0}, TrialResources(10, 1, 0)),
        ((2, 1), {"trials": 10, "gpus_per_trial": 0.25}, TrialResources(2, 1, 0.25)),
    ],
)
def test_plan(machine: tuple[int, float], options: dict, expected: TrialResources) -> None:
    assert plan([Host(*machine)], **options) == expected


@pytest.mark.parametrize(
    ("machines", "options", "expected"),
    [
        ([(4, 0), (2, 0)], {"trials": 10}, TrialResources(6, 1, 0)),
        ([(4, 0), (2, 0)], {"trials": 10, "cpus_per_trial": 3}, TrialResources(1, 3, 0)),
        ([(8, 0), (8, 0), (8, 0)], {"trials": 3}, TrialResources(3, 8, 0)),
        ([(8, 0), (4, 0)], {"trials": 2}, TrialResources(2, 4, 0)),  # 8 cores each were 1 trial at a time
        ([(8, 0), (8, 0)], {"trials": 10, "max_concurrent": 4}, TrialResources(4, 4, 0)),
        ([(2, 0), (8, 1), (8, 1)], {"trials": 10}, TrialResources(2, 8, 1)),  # no trial on the head, which has no GPU
        ([(2, 0), (8, 1), (8, 1)], {"trials": 10, "gpus_per_trial": 0}, TrialResources(10, 1, 0)),
        ([(4, 1), (16, 4)], {"trials": 10}, TrialResources(5, 4, 1)),
        ([(4, 1), (32, 4)], {"trials": 10}, TrialResources(5, 4, 1)),
        ([(4, 1), (16, 4)], {"trials": 100, "gpus_per_trial": 0.5}, TrialResources(10, 2, 0.5)),
        ([(64, 0), (1, 1)], {"trials": 10}, TrialResources(1, 1, 1)),
    ],
)
def test_plan_for_several_hosts(machines: list[tuple[int, int]], options: dict, expected: TrialResources) -> None:
    hosts = [Host(*machine) for machine in machines]
    assert plan(hosts, **options) == expected
    assert plan(hosts[::-1], **options) == expected
    assert fitting(hosts, expected.cpus, expected.gpus) >= expected.slots, "they really fit"


@pytest.mark.parametrize(
    ("machines", "options", "line"),
    [
        ([(8, 0)] * 2, {"gpus_per_trial": 0.5}, "--gpus-per-trial 0.5: only 0 GPUs on any host; "),
        ([(4, 0), (2, 0)], {"cpus_per_trial": 6}, "--cpus-per-trial 6: only 4 cores on any host; "),
        ([(64, 0), (4, 1)], {"cpus_per_trial": 8}, "--cpus-per-trial 8: no host has 8 cores and 1 GPUs; "),
    ],
)
def test_what_fits_on_no_host_is_refused(machines: list[tuple[int, int]], options: dict, line: str) -> None:
    with pytest.raises(ValueError, match=f"^{line}"):
        plan([Host(*machine) for machine in machines], trials=10, **options)


def test_more_than_there_is_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="only 0 GPUs here"):
        plan([Host(2)], trials=1, gpus_per_trial=1)
    with pytest.raises(ValueError, match="only 2 cores here"):
        plan([Host(2)], trials=1, cpus_per_trial=4)


@pytest.mark.parametrize(
    ("gpus", "each", "unused", "good"),
    [
        (1, 0.3, r"3 on a GPU would leave 0\.1 of it", 0.3333),
        (2, 0.4, r"2 on a GPU would leave 0\.2 of it", 0.5),
        (1, 0.6, r"1 on a GPU would leave 0\.4 of it", 1),
        (1, 0.143, r"6 on a GPU would leave 0\.142 of it", 0.1666),
    ],
)
def test_stranded_capacity_is_refused_and_the_next_good_number_named(
    gpus: int, each: float, unused: str, good: float
) -> None:
    with pytest.raises(ValueError, match=rf"--gpus-per-trial {each:g}: {unused}.*; give {good:g}$"):
        plan([Host(64, gpus)], trials=100, gpus_per_trial=each)
    assert plan([Host(64, gpus)], trials=100, gpus_per_trial=good).gpus == good


def test_less_than_ray_can_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--gpus-per-trial 1e-05: .* steps of 0\.0001"):
        plan([Host(64, 1)], trials=10, gpus_per_trial=0.00001)


@pytest.mark.parametrize("trials", range(1, 65))
def test_a_fraction_packs_so_many(trials: int) -> None:
    assert plan([Host(64, 1)], trials=100, gpus_per_trial=fraction(trials)).slots == trials
