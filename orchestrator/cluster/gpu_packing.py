"""`--gpus-per-trial auto`: what the largest configurations need of a GPU is measured; the rest is arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import ray
import torch

from orchestrator.cluster import resources
from orchestrator.cluster.resources import Host
from search_spaces import SPACES, Config
from trainables import plugins
from trainables.data import Prepared
from trainables.memory import is_out_of_memory, release
from trainables.models.weights import Source
from trainables.training import EVALUATION_BATCH, DivergedError, Training

#: Of a GPU's memory, for what a few batches do not show: other batch sizes leave gaps behind.
HEADROOM = 0.1
#: Trials a GPU. They take turns on it, so ever more of them gain ever less.
MOST = 16
#: Configurations to measure.
MEASURED = 4


@dataclass(frozen=True)
class Need:
    """Bytes that a trial takes of a GPU, and that the GPU has; equal where the trial did not fit.

    Attributes:
        what: the configuration, as a person would name it.
        used: the most that torch reserved, and what CUDA itself takes for the process.
        total: of the GPU.
    """

    what: str
    used: int
    total: int


def gpus_per_trial(
    task: str,
    configs: Sequence[Config],
    data: Prepared,
    sources: Mapping[str, Source],
    host: Host,
    cpus_per_trial: int = 1,
    memory: int | None = None,
) -> tuple[float, str]:
    """GPUs a trial for `resources.plan`, and the reason, one line; (0, "") without a GPU. Ray must be there.

    Args:
        task: name in `TASKS`.
        configs: the largest configurations of the space; see `largest`.
        data: prepared data.
        sources: where encoders' weights come from.
        host: the one with the fewest cores for a GPU.
        cpus_per_trial: what the user fixed, else 1.
        memory: bytes of the smallest GPU of all, which a trial may come to; None where it is the one measured on.
    """
    if not host.gpus:
        return 0.0, ""
    found = measure(task, configs, data, sources)
    if memory and memory < found.total:
        found = replace(found, used=min(found.used, memory), total=memory)
    trials, reason = pack(found, host.cpus, host.gpus, cpus_per_trial)
    return resources.fraction(trials), reason


def pack(need: Need, cpus: int, gpus: int, cpus_per_trial: int = 1) -> tuple[int, str]:
    """Trials a GPU, 1 to `MOST`, as memory and cores allow, and the reason in one line."""
    gib = f"{need.total / 2**30:.3g} GiB"
    if need.used >= need.total:
        return 1, f"1 trial a GPU: {need.what} does not fit in {gib}; where memory runs out, batches are halved"
    by_memory = max(1, int((1 - HEADROOM) * need.total / need.used))
    by_cores = max(1, cpus // cpus_per_trial // gpus)
    trials = min(by_memory, by_cores, MOST)
    memory = f"memory allows {by_memory} ({need.what}, needs {need.used / 2**30:.3g} of {gib})"
    cores = f"cores allow {by_cores} ({cpus} for {gpus} GPU{'s' * (gpus > 1)})"
    return trials, f"{trials} trial{'s' * (trials > 1)} a GPU: {memory}, {cores}, {MOST} is the most"


def largest(
    task: str, pairs: Iterable[tuple[str, str]], *, image_size: int, classes: int, batch_size: int
) -> list[Config]:
    """The `MEASURED` configurations that are likely to need most memory, costliest first.

    Time to train on an image stands in for memory: both grow with the activations. In the full spaces the first four
    hold the network with the most activations and the one with the most parameters.

    Args:
        task: name in `TASKS`.
        pairs: architectures, each with an encoder ("" from scratch), that the search may choose.
        image_size: pixels. classes: of the labels.
        batch_size: the largest that the search may choose.
    """
    space = SPACES[task]
    costliest = sorted(set(pairs), key=lambda pair: (-space.seconds_per_image(*pair, image_size), pair))
    return [
        {
            **space.HOUSE,  # with AdamW, which keeps two more tensors a weight; a moving average is a third
            **{"architecture": architecture, "encoder": encoder, "batch_size": batch_size, "ema": 0.99},
            **{"dropout": 0.0, "warmup_epochs": 0, "seed": 0, "classes": classes, "image_size": image_size},
        }
        for architecture, encoder in costliest[:MEASURED]
    ]


def measure(task: str, configs: Sequence[Config], data: Prepared, sources: Mapping[str, Source]) -> Need:
    """The largest need among `configs`, found on one GPU in a process that then ends: the driver never uses CUDA.

    What other programs hold of that GPU counts as the trial's.
    """
    worker = ray.remote(num_gpus=1, max_calls=1)(_measure)
    return ray.get(worker.remote(task, configs, data, sources, plugins.loaded()))


def train_briefly(task: str, config: Config, data: Prepared, source: Source | None, device: str) -> Training:
    """A training after two batches and an evaluation: it has held all that a trial ever holds at a time."""
    training = Training(task, {**config, "epochs": 1, "freeze_epochs": 0}, data, source, device=device)
    # The odd image goes with the second batch: none is larger.
    training.training_masks = training.training_masks[: 2 * config["batch_size"] + 1]
    with suppress(DivergedError):
        training.train_epoch()
    training.evaluate(training.validation_rows[:EVALUATION_BATCH])
    return training


def need(task: str, config: Config, data: Prepared, source: Source | None) -> Need:
    """What one configuration needs of this process's GPU."""
    torch.cuda.init()  # before it there are no statistics to reset
    torch.cuda.reset_peak_memory_stats()
    try:
        training = train_briefly(task, config, data, source, "cuda")
        fits = training.micro_batch is None and training.evaluation_batch == EVALUATION_BATCH
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        fits = False
    free, total = torch.cuda.mem_get_info()
    outside = total - free - torch.cuda.memory_reserved()
    names = dict.fromkeys(name for name in (config["architecture"], config["encoder"]) if name)
    what = f"{' '.join(names)}, batch {config['batch_size']}"
    return Need(what, torch.cuda.max_memory_reserved() + outside if fits else total, total)


def _measure(
    task: str,
    configs: Sequence[Config],
    data: Prepared,
    sources: Mapping[str, Source],
    loaded: tuple[plugins.Plugin, ...],
) -> Need:
    plugins.install(loaded)
    needs = []
    for config in configs:
        needs.append(need(task, config, data, sources.get(config["encoder"])))
        release()
    return max(needs, key=lambda one: one.used)
