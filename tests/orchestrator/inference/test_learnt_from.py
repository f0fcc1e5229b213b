"""What a product ships for external validation: hashes of what it learnt from, and its own results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestrator.ensemble.result import OwnResults
from orchestrator.inference.format import LEARNT_FROM, RESULTS, LearntFrom, ModelError, read_learnt_from
from orchestrator.inference.predictor import Predictor
from tests.support.products import small_product


def test_hashes_are_written_and_read(tmp_path: Path) -> None:
    hashes = np.random.default_rng(0).integers(0, 256, (5, 128), np.uint8)
    # Rows of a larger array, in another order: safetensors would store the memory as it lies.
    folder = small_product(tmp_path, "cls", networks=1, learnt_from=LearntFrom(hashes[::-1], 37))
    found = read_learnt_from(folder)
    assert found is not None
    np.testing.assert_array_equal(found.hashes, hashes[::-1])
    assert found.distance == 37


def test_a_product_of_an_older_version_has_neither_and_loads(tmp_path: Path) -> None:
    folder = small_product(tmp_path, "cls", networks=1)
    assert not (folder / LEARNT_FROM).exists()
    assert read_learnt_from(folder) is None
    assert OwnResults.read(folder) is None
    Predictor.load(folder)


@pytest.mark.parametrize(("name", "read"), [(LEARNT_FROM, read_learnt_from), (RESULTS, OwnResults.read)])
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str, read) -> None:
    (tmp_path / name).write_bytes(b"\x00 cut")
    with pytest.raises(ModelError, match=f"{name}: .*the model is damaged: export it again") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)
