"""The GPUs of a cluster: each tried out in a process of its own before anything is trained on it."""

from __future__ import annotations

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.cluster import nodes
from orchestrator.common.errors import UserError
from trainables.devices import Card, UnusableGpuError, try_out

#: Seconds in which they answer; those that another job holds are passed over.
ANSWER = 120.0


def tried() -> dict[str, list[Card]]:
    """The GPUs of the hosts that are there, by host; Ray must be there, and its GPUs free.

    Raises:
        UserError: one that Ray counts cannot be used.
    """
    tasks = dict[Any, str]()
    for node in nodes.nodes():
        here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        # A GPU each, and a process each: CUDA keeps the one that it began with.
        look = ray.remote(num_cpus=0, num_gpus=1, max_calls=1, max_retries=1)(_try_out).options(
            scheduling_strategy=here
        )
        tasks |= {look.remote(): node["NodeManagerHostname"] for _ in range(int(node["Resources"].get("GPU", 0)))}
    found: dict[str, list[Card]] = {}
    for task in ray.wait(list(tasks), num_returns=len(tasks), timeout=ANSWER)[0] if tasks else []:
        card = ray.get(task)
        if isinstance(card, str):
            raise UserError(f"host {tasks[task]}: {card}")
        found.setdefault(tasks[task], []).append(card)
    return found


def least_memory(found: dict[str, list[Card]]) -> int | None:
    """Bytes of the smallest card; None where there is none."""
    return min((card.memory for cards in found.values() for card in cards), default=None)


def notes(found: dict[str, list[Card]]) -> list[str]:
    """What a user should know of them, a line each."""
    slow = dict.fromkeys(card.name for cards in found.values() for card in cards if not card.bfloat16)
    return [f"{name}: no bfloat16 of its own, so it trains in float32, slower and with more memory" for name in slow]


def _try_out() -> Card | str:
    try:
        return try_out()
    except UnusableGpuError as error:
        return str(error)
