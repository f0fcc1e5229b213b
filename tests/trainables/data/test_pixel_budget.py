"""What small files unpack to: never more at a time than there is room for, and nothing is opened that does not end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from trainables import checkpoint
from trainables.data import Record, prepare, read_manifest
from trainables.data.examine import decode
from trainables.data.pixel_budget import PIXELS, claim, within_budget
from trainables.data.pixels import UnreadableError, kind_problem, pixel_count, read_image, read_mask

DECODED = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from trainables.data import Record
from trainables.data.examine import decode

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

file, before = Path(sys.argv[1]), peak()
with ThreadPoolExecutor(4) as pool:
    found = list(pool.map(lambda _: decode(Record(file, (file,), 1), 64, False).height, range(4)))
print(found[0], (peak() - before) // 1024)
"""


def met(pixels: int) -> bool:
    """Whether two threads hold so many pixels at once."""
    barrier = threading.Barrier(2)

    def hold(_: int) -> bool:
        with within_budget():
            claim(1)
            claim(pixels)
            try:
                barrier.wait(0.3)
            except threading.BrokenBarrierError:
                return False
            return True

    with ThreadPoolExecutor(2) as pool:
        return any(pool.map(hold, range(2)))


def test_small_images_are_decoded_together_and_large_ones_one_by_one() -> None:
    assert met(PIXELS // 2)
    assert not met(PIXELS // 2 + 1)
    assert not met(2 * PIXELS)  # more than there is counts as all
    assert met(PIXELS // 2)


def test_what_is_decoded_within_shares_and_what_fails_gives_back() -> None:
    @within_budget()
    def fail() -> None:
        claim(PIXELS)
        with within_budget():
            claim(PIXELS)
        raise ValueError

    for _ in range(3):
        with pytest.raises(ValueError, match=r"^$"):
            fail()
    assert met(PIXELS // 2)


@pytest.mark.slow
def test_a_small_file_of_64_megapixels_takes_one_room_however_many_threads(tmp_path: Path) -> None:
    pixels = np.zeros((8000, 8000), np.uint16)
    pixels[:9, :9] = 60000
    Image.fromarray(pixels).save(tmp_path / "large.png")
    assert (tmp_path / "large.png").stat().st_size < 1e6
    command = [sys.executable, "-c", DECODED, str(tmp_path / "large.png")]
    height, mebibytes = map(int, subprocess.check_output(command, timeout=300).split())
    assert height == 8000
    assert mebibytes < 900  # of one thread 500; of four without a common room 3,400


def test_the_size_is_known_before_a_pixel_is_decoded(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(tmp_path / "a.png")
    cut = tmp_path / "cut.png"
    cut.write_bytes((tmp_path / "a.png").read_bytes()[:45])
    assert pixel_count(tmp_path / "a.png") == pixel_count(cut) == 1200
    (tmp_path / "b.png").write_bytes(b"nothing")
    assert pixel_count(tmp_path / "b.png") == 7


def test_of_a_stack_the_first_picture_alone_is_read(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    stack = np.zeros((64, 32, 5000), np.uint8)
    stack[1, :, 0] = 7
    nibabel.save(nibabel.Nifti1Image(stack, np.eye(4)), tmp_path / "a.nii.gz")
    tracemalloc.start()
    first = read_image(tmp_path / "a.nii.gz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(first, stack[..., 0].T)
    assert peak < stack.nbytes / 4


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.dcm", "a.nii.gz", "a.txt", "a.json#1"])
def test_pipes_and_devices_are_refused_before_they_are_opened(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name.partition("#")[0])
    pipe = tmp_path / name
    with pytest.raises(UnreadableError, match="a pipe, a socket or a device"):
        read_mask(pipe, (8, 8))
    Image.fromarray(np.full((8, 8), 9, np.uint8)).save(tmp_path / "sound.png")
    (fault,) = decode(Record(tmp_path / "sound.png", (pipe,), 1), 8, False).faults
    assert fault.left_out
    assert fault.file == pipe


def test_a_table_that_names_pipes_and_devices_is_read_without_them(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    rows = ["image,mask,label", "pipe.png,,benign", "/dev/zero,,benign"]
    for number, label in enumerate(("normal", "benign", "malignant") * 12):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 40), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,pipe.png,{label}" if number == 0 else f"{number}.png,,{label}")
    (tmp_path / "all.csv").write_text("\n".join(rows))
    prepared = prepare(read_manifest(tmp_path / "all.csv"), tmp_path / "cache", size=32)
    assert len(prepared.images) == 35
    told = [str(fault) for fault in prepared.faults if "a pipe, a socket or a device" in str(fault)]
    assert len(told) == 3


def test_neither_networks_nor_checkpoints_are_pipes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / checkpoint.STATE)
    with pytest.raises(OSError, match="a pipe, a socket or a device"):
        checkpoint.resume(tmp_path, SimpleNamespace(load_state_dict=print))  # type: ignore[arg-type]
    assert kind_problem(tmp_path / checkpoint.STATE) == "cannot be opened (a pipe, a socket or a device)"
