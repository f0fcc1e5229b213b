"""Files that an ensemble leaves, edited or cut: read, named in one line, or made again where they are a cache."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from orchestrator.ensemble import final_test, lesion_shape, tasks
from orchestrator.ensemble.lesion_shape import KeptSegmenter
from orchestrator.ensemble.result import EnsembleResult
from orchestrator.inference.combination import Combination, Head
from orchestrator.scoring.packed_masks import PackedMasks
from orchestrator.scoring.predictions import StoredPredictions, TestPredictions
from orchestrator.scoring.values import ScoredPredictions
from orchestrator.storage.arrays import read_arrays
from orchestrator.storage.atomic import write_arrays
from tests.orchestrator.ensemble.test_result import STORED
from tests.support.mutations import cut, refusal, refused
from trainables import stored
from trainables.stored import DamagedError


def test_any_value_of_the_result_is_read_or_named(tmp_path: Path) -> None:
    file = tmp_path / "ensemble.json"
    file.write_text(json.dumps(STORED))
    found = refused(file, lambda: EnsembleResult.read(file), DamagedError)
    assert len(found) > 200
    assert {"winner", "digest", "tta", "value", "classes"} <= {keys[-1] for keys, _ in found}
    for content in cut(file.read_bytes()):
        file.write_bytes(content)
        assert refusal(file, lambda: EnsembleResult.read(file), DamagedError)


def test_a_damaged_segmenter_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = KeptSegmenter("seg", "f", False, False, "a", 64, {"0": "x"}, Combination("best", masks=Head((1.5,), (1.0,))))
    file = tmp_path / "members.json"
    file.write_text(json.dumps(asdict(kept)))
    assert stored.read_finite(file, KeptSegmenter) == kept
    assert len(refused(file, lambda: stored.read_finite(file, KeptSegmenter), DamagedError)) > 50
    team: Any = SimpleNamespace(data=SimpleNamespace(data_fingerprint="f", keep_aspect=False), tta=False)
    home = tmp_path / "one" / "ensemble"
    home.mkdir(parents=True)
    (home / "members.json").write_text("{")
    assert lesion_shape.find(tmp_path, team, [0]) is None
    assert f"left out: {home / 'members.json'}: " in capsys.readouterr().out


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """Those of a test, of 3 images."""
    masks = PackedMasks([np.ones((3, 5), bool), np.zeros((8, 9), bool), np.ones((1, 1), bool)])
    scored = ScoredPredictions(np.full((3, 3), 1 / 3), np.arange(3), np.ones((3, 3), np.int64), np.ones(3, bool))
    evidence = StoredPredictions(scored, ("a", "b", "c"), np.arange(3), np.arange(3))
    TestPredictions(evidence, np.ones(3, np.int64), np.ones(3), np.ones(3), masks).save(tmp_path / "test.npz")
    return tmp_path / "test.npz"


def test_predictions_that_are_cut_or_changed_are_named(predictions: Path) -> None:
    content = predictions.read_bytes()
    assert len(TestPredictions.load(predictions)) == 3
    flipped = [content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :] for at in range(0, len(content), 29)]
    for damaged in (*cut(content), *flipped):
        predictions.write_bytes(damaged)
        refusal(predictions, lambda: TestPredictions.load(predictions), DamagedError)
    predictions.write_bytes(content[: len(content) // 2])
    assert final_test.stored(predictions.parent) is None, "scored again"


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("labels", np.full(3, 9)),
        ("labels", np.zeros(2, np.int64)),
        ("labels", np.array(["x"] * 3)),
        ("targets", np.full(3, 10**9)),
        ("counts", np.full((3, 3), -1)),
        ("counts", np.zeros((3, 2), np.int64)),
        ("probabilities", np.zeros(3)),
        ("pixels", np.zeros((3, 1), np.int64)),
        ("mask_sizes", np.full((3, 2), 10**9)),
        ("mask_sizes", np.full((3, 2), 1 << 62)),
        ("mask_sizes", np.array([[-3, -5], [8, 9], [1, 1]])),
        ("mask_sizes", np.zeros((0, 2), np.int64)),
        ("mask_bits", np.zeros(2, np.uint8)),
        ("digests", None),
        ("mask_sizes", None),
    ],
)
def test_arrays_that_do_not_go_together_are_named(predictions: Path, name: str, array: np.ndarray | None) -> None:
    arrays = read_arrays(predictions)
    write_arrays(
        predictions, {**arrays, name: array} if array is not None else {k: a for k, a in arrays.items() if k != name}
    )
    with pytest.raises(DamagedError, match=rf"test.npz: ({name}|groups|mask_sizes): ") as found:
        TestPredictions.load(predictions)
    assert "\n" not in str(found.value)


def _of_a_size(file: Path, shape: str, dtype: str = "<f8") -> None:
    """An array of a few bytes whose header says that it is of this shape."""
    stream = BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": (2,)})
    with zipfile.ZipFile(file, "w") as packed:
        header = stream.getvalue().replace(b"(2,)", shape.encode())
        packed.writestr("classes.npy", header + bytes(16))


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(-2,)", "(2, 10000000, 100000)", "(x,)"])
def test_an_array_is_not_larger_than_its_file(tmp_path: Path, shape: str) -> None:
    file = tmp_path / "cached.npz"
    _of_a_size(file, shape)
    with pytest.raises(DamagedError, match=r"cached.npz: "):
        read_arrays(file)
    assert tasks._read(file, 2) is None, "predicted again"


def test_predictions_of_other_images_are_made_again(tmp_path: Path) -> None:
    file = tmp_path / "cached.npz"
    write_arrays(file, {"classes": np.zeros((3, 2), np.float32)})
    assert tasks._read(file, 3) is not None
    assert tasks._read(file, 2) is None
    write_arrays(file, {})
    assert tasks._read(file, 2) is None
