"""Preparing: memory beyond the arrays' mapping, and time, of N generated images of 224 x 256 px.

`python -m benchmarks.preparing [--sizes 1000 10000] [--code DIR ...]`. Each measurement is a process of its own, with
the code of a checkout (this one, and those of --code). Anonymous memory (RssAnon of Linux) is looked at every 5 ms;
what stood after imports is subtracted. Pages of mapped files are not in it: the kernel takes them back.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from benchmarks.report import machine, table

SIZE = 128
MEASURE = f"""
import json, sys, threading, time
from pathlib import Path
from trainables.data import prepare, read_manifest
import cv2, scipy.sparse.csgraph, imagehash

def anonymous():
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024

manifest = read_manifest(Path(sys.argv[1]))
base, peak, done = anonymous(), 0.0, threading.Event()

def watch():
    global peak
    while not done.wait(0.005):
        peak = max(peak, anonymous())

watcher = threading.Thread(target=watch)
watcher.start()
start = time.perf_counter()
data = prepare(manifest, Path(sys.argv[2]), size={SIZE})
seconds = time.perf_counter() - start
done.set()
watcher.join()
arrays = (data.images.nbytes + data.masks.nbytes) / 2**20
print(json.dumps([arrays, peak - base, seconds, data.prepared_fingerprint]))
"""


def write(folder: Path, count: int) -> None:
    """Images of blurred noise with an ellipse as lesion, half benign, half malignant, in the BUSI layout."""
    for label in ("benign", "malignant"):
        (folder / label).mkdir(parents=True)

    def one(row: int) -> None:
        rng = np.random.default_rng(row)
        image = 110 + 200 * cv2.GaussianBlur(rng.standard_normal((224, 256), np.float32), (0, 0), 3)
        mask = np.zeros((224, 256), np.uint8)
        cv2.ellipse(mask, (int(rng.integers(60, 196)), int(rng.integers(60, 164))), (40, 25), 0, 0, 360, 255, -1)
        stem = folder / ("benign" if row % 2 else "malignant") / f"{row}"
        cv2.imwrite(f"{stem}.png", image.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])
        cv2.imwrite(f"{stem}_mask.png", mask)

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, range(count)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 10000])
    parser.add_argument("--code", type=Path, nargs="*", default=[], help="checkouts to measure beside this one")
    args = parser.parse_args()
    print(machine() + "\n")
    rows: list[dict[str, str | float]] = []
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as scratch:
            write(Path(scratch) / "data", size)
            for code in (Path(__file__).parents[1], *args.code):
                for run in ("first", "again"):
                    command = [sys.executable, "-c", MEASURE, f"{scratch}/data", f"{scratch}/{code.name}"]
                    environment = {**os.environ, "PYTHONPATH": str(code)}
                    found = subprocess.run(
                        command, env=environment, cwd=code, check=True, capture_output=True, text=True
                    )
                    arrays, peak, seconds, name = json.loads(found.stdout.splitlines()[-1])
                    rows.append(
                        {
                            "code": code.name,
                            "images": size,
                            "launch": run,
                            "arrays, MiB": arrays,
                            "anonymous, MiB": peak,
                            "of the arrays": peak / arrays,
                            "s": seconds,
                            "prepared": name[:12],
                        }
                    )
    print(table(rows))


if __name__ == "__main__":
    main()
