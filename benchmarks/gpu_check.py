"""What a GPU here does for this project: what works, what fits, what bounds it; in at most 8 minutes, without network.

`make gpu-check`, or `python -m benchmarks.gpu_check [--data DIR] [--device cpu] [--out FILE]`. The card, the tests
marked `cuda`, training at the two ways from an image to a batch, packing (1, 2, 4 and 8 trials at a time, and the most
of them under MPS where its daemon is there), and a real search with its ensemble on the data or the phantom. It ends
with a table, a sentence for each line of it, and a JSON file. On a CPU it is short, and says what it leaves out.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import packing
from benchmarks._gpu import images_per_second, in_a_process, mps
from benchmarks.report import machine, table
from orchestrator import run_search
from orchestrator.common.errors import UserError
from orchestrator.storage.atomic import write_text
from trainables import devices

#: Seconds of the packing search with one trial on the GPU: the others take in proportion.
PACKING_SECONDS = 30
#: Trials on the GPU that MPS is tried with.
WITH_MPS = 8


@dataclass
class Line:
    """One thing that was looked at: what is said of it, its figures, whether it works; None where it was not seen."""

    what: str
    works: bool | None
    said: str
    figures: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def card(device: str) -> Line:
    """The card, tried out."""
    if device == "cpu":
        return Line("card", None, "on the CPU, as asked: nothing here says anything of a GPU")
    found = in_a_process(devices.try_out)
    kind = "bfloat16" if found.bfloat16 else "float32: it has no bfloat16 of its own"
    said = f"{found.name}, {found.memory / 2**30:.0f} GiB, allocates, convolves and goes backward; trains in {kind}"
    return Line("card", True, said, asdict(found))


def tests(device: str) -> Line:
    """The tests that need a GPU."""
    if device == "cpu":
        return Line("tests", None, "not run: those marked cuda are skipped without a GPU")
    command = [sys.executable, "-m", "pytest", "-m", "cuda", "tests"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr.strip()[-200:]
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    works = done.returncode == 0 and bool(counts.get("passed"))
    return Line("tests", works, f"tests marked cuda: {last.split(' in ')[0]}", counts)


def input_paths(device: str) -> Line:
    """Images per second of one training at 256 px, strongly augmented, from the GPU's memory and from the host's."""
    size, images = (256, 512) if device == "cuda" else (64, 32)
    paths = ("on the GPU", "on the host") if device == "cuda" else ("on the host",)
    found = {path: in_a_process(images_per_second, device, size, images, path == "on the GPU") for path in paths}
    said = "; ".join(
        f"augmented {path} {one['images/s']:.0f} images/s, {one['waiting']:.0%} of it waiting for input"
        for path, one in found.items()
    )
    works = None if device == "cpu" else found["on the GPU"]["waiting"] < 0.05
    return Line("input", works, f"one training, {size} px, strong: {said}", found)


def packed(device: str) -> Line:
    """Trials an hour with several on the GPU."""
    if device == "cpu":
        return Line("packing", None, "not run: a CPU packs nothing")
    with tempfile.TemporaryDirectory() as folder:
        rows = packing.measure(Path(folder), seconds=PACKING_SECONDS)
    best = max(rows, key=lambda row: float(row["ratio to one"]))
    ratio, busy = float(best["ratio to one"]), float(best["utilisation, %"])
    bound = "the GPU's arithmetic" if busy > 90 else "launching, or cores"
    goal = f"goal {packing.TARGET:g}"
    said = f"{best['trials on the GPU']} trials on it do {ratio:.1f} times the trials an hour of one ({goal}); "
    figures: dict[str, Any] = {"rows": rows}
    with mps() as there, tempfile.TemporaryDirectory() as folder:
        if there:
            under = packing.measure(Path(folder), (1, WITH_MPS), PACKING_SECONDS)[-1]
            figures["mps"] = under
            said += f"{WITH_MPS} under MPS {float(under['ratio to one']):.1f} times; "
    said += f"busy {busy:.0f} % of the time, so {bound} bounds it" + ("" if there else "; MPS: no daemon here")
    return Line("packing", ratio >= packing.TARGET, said, figures)


def search(device: str, data: Path | None) -> Line:
    """A real search, and the ensemble of its best."""
    short: dict[str, Any] = {"image_size": 128, "trials": 8, "epochs": 6, "time_budget": 90, "gpus_per_trial": "auto"}
    if device == "cpu":
        short = {
            "image_size": 32,
            "trials": 2,
            "epochs": 1,
            "time_budget": None,
            "arch": ("unet",),
            "gpus_per_trial": 0,
        }
    with tempfile.TemporaryDirectory() as folder:
        store = {"storage": Path(folder) / "runs", "tracking_uri": f"sqlite:///{folder}/mlflow.db"}
        found = run_search(data=data, weights="none", top_k=2, boost_rounds=0, name="gpu-check", **store, **short)
        built = (Path(folder) / "runs" / "gpu-check" / "ensemble.json").is_file()
    failed = sum(trial.status == "failed" for trial in found.trials)
    said = f"{len(found.trials)} trials, {failed} failed, in {found.wall_seconds:.0f} s, {found.slots} at a time"
    best = found.best.metric if found.best else None
    works = best is not None and not failed and built
    return Line("search", works, f"{said}; ensemble {'built' if built else 'not built'}", {found.metric: best})


def main(argv: Sequence[str] | None = None) -> int:
    """Look, print and write; 1 where something that ran does not work, 2 without a GPU that can be used."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of images [the phantom]")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, default=Path("gpu-check.json"))
    given = parser.parse_args(argv)
    parts: list[Callable[[], Line]] = [
        *(lambda part=part: part(given.device) for part in (card, tests, input_paths, packed)),
        lambda: search(given.device, given.data),
    ]
    lines: list[Line] = []
    for part in parts:
        started = time.monotonic()
        try:
            with redirect_stdout(sys.stderr):
                line = part()
        except devices.UnusableGpuError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except (UserError, RuntimeError) as error:  # the others may say what is wrong
            line = Line(getattr(part, "__name__", "part"), False, str(error).splitlines()[0])
        line.seconds = round(time.monotonic() - started, 1)
        lines.append(line)
    marks = {True: "works", False: "DOES NOT", None: "not seen"}
    print(f"{machine()}\n")
    print(table([{"what": line.what, "": marks[line.works], "s": line.seconds} for line in lines]), end="\n\n")
    for line in lines:
        print(f"- {line.what}: {line.said}.")
    write_text(
        given.out, json.dumps({"machine": machine(), "lines": [asdict(line) for line in lines]}, indent=2) + "\n"
    )
    print(f"\nfigures in {given.out}")
    return int(any(line.works is False for line in lines))


if __name__ == "__main__":
    sys.exit(main())
