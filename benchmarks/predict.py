"""Prediction: how much longer images take from file to file than their three steps, each measured alone.

`python -m benchmarks.predict [--images N]`. Decoding, the networks, and finishing (masks, shapes, overlays, PNG files)
are each run alone with the threads that they have in the command, then all together by `predict_files`. An ensemble of
two members with two networks each of random weights, phantom images enlarged to the size of BUSI's. The repetitions
alternate; the first, which fills caches, does not count.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.report import machine, table
from orchestrator.common.console import threads
from orchestrator.inference.combination import Combination, Head
from orchestrator.inference.export import MemberCheckpoints, Sources, write
from orchestrator.inference.predictor import BATCH, Predictor
from orchestrator.predict.files import decode, finish, predict_files
from orchestrator.predict.find import find_images
from trainables.data.phantom import phantom_image
from trainables.models import build_model

CONFIG = {"architecture": "smp_unet", "encoder": "tf_efficientnet_lite0", "dropout": 0.0, "refine": False, "classes": 3}
SIZE, REPETITIONS, LIMIT = 128, 5, 1.15
ENLARGED = 2.5


def product(folder: Path) -> Predictor:
    """An ensemble of the task multi, written and loaded."""
    members = []
    for member in range(2):
        checkpoints = [folder / f"{member}-{fold}" for fold in range(2)]
        for seed, checkpoint in enumerate(checkpoints):
            checkpoint.mkdir()
            torch.manual_seed(2 * member + seed)
            model = build_model("multi", CONFIG, 3)
            model.set_normalisation(0.3, 0.2)
            save_file({k: v.contiguous() for k, v in model.state_dict().items()}, checkpoint / "best.safetensors")
            about = {"task": "multi", "config": CONFIG, "classes": ["normal", "benign", "malignant"]}
            about |= {"image_size": SIZE, "data_fingerprint": "", "trained_on": []}
            (checkpoint / "model.json").write_text(json.dumps(about))
        members.append(MemberCheckpoints(member, str(member), checkpoints))
    head = Head((1.0, 1.0), (0.5, 0.5))
    sources = Sources(Combination("mean", classes=head, masks=head), members, SIZE)
    write(folder / "ensemble", sources, keep_aspect=False, synthetic=True)
    return Predictor.load(folder / "ensemble")


def phantoms(folder: Path, count: int) -> Path:
    """Grey PNG files of 400 to 640 px width."""
    folder.mkdir()
    for i in range(count):
        image, _ = phantom_image(np.random.default_rng(i), i % 3)
        large = cv2.resize(image, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
        Image.fromarray(large).save(folder / f"{i}.png")
    return folder


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Wall time of some work, and its result."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def measure(ensemble: Predictor, source: Path, out: Path) -> dict[str, float]:
    """Seconds of each step alone, and of all together."""
    files, _ = find_images([source], out)
    with ThreadPoolExecutor(threads()) as pool:
        decoding, decoded = seconds(lambda: list(pool.map(decode, files)))
    images = [one.image for one in decoded]
    starts = range(0, len(images), BATCH)
    forward, outputs = seconds(lambda: [one for i in starts for one in ensemble.forward(images[i : i + BATCH])])
    with ThreadPoolExecutor(threads()) as pool:
        jobs = list(zip(files, images, outputs, strict=True))
        writing, _ = seconds(lambda: list(pool.map(lambda job: finish(ensemble, *job, out / "alone", True), jobs)))
    together, _ = seconds(lambda: predict_files(ensemble, files, out / "together", overlays=True))
    return {"decode": decoding, "networks": forward, "finish": writing, "together": together}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64, help="number of phantom images [64]")
    count = parser.parse_args(argv).images
    cv2.setNumThreads(1)  # as the command does
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        ensemble, source = product(folder), phantoms(folder / "in", count)
        found = [measure(ensemble, source, folder / "out") for _ in range(REPETITIONS + 1)][1:]
    alone = ("decode", "networks", "finish")
    sums = [sum(one[name] for name in alone) for one in found]
    ratio = median(one["together"] / total for one, total in zip(found, sums, strict=True))
    print(f"{machine()}\n\n{count} images, 4 networks at {SIZE} px, median of {REPETITIONS}.\n")
    rows = [{"step": name, "s": median(one[name] for one in found)} for name in (*alone, "together")]
    print(table([{**row, "images/s": count / float(row["s"])} for row in rows]))
    print("\n| measure | target | found |\n| --- | ---: | ---: |")
    print(f"| all together, times the sum of the steps alone | <= {LIMIT} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
