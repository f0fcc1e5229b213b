"""What stands beside a file of weights, and that a search reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch

from trainables.models import provenance, weights
from trainables.models.provenance import Provenance

ENCODER = "mobilenetv3_small_100"
SAID = Provenance("somebody", "MIT", "UltraSam", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    file = tmp_path / "new" / f"{ENCODER}.safetensors"
    provenance.write(file, timm.create_model(ENCODER).state_dict(), SAID)
    return file


def test_a_search_reads_mean_std_and_pretraining(written: Path) -> None:
    source = weights.find(ENCODER, str(written.parent))
    assert (source.mean, source.std, source.words) == (SAID.mean, SAID.std, "folder, UltraSam")
    assert sorted(file.name for file in written.parent.iterdir()) == [f"{ENCODER}.json", f"{ENCODER}.safetensors"]
    written.with_suffix(".json").unlink()
    by_hand = weights.find(ENCODER, str(written.parent))
    assert (by_hand.mean, by_hand.words) == ((0.485, 0.456, 0.406), "folder")


def test_another_file_or_a_damaged_note_is_one_line(written: Path) -> None:
    note = written.with_suffix(".json")
    good = note.read_text()
    with written.open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match=rf"{ENCODER}\.safetensors: not the file that {ENCODER}\.json is of.*delete"):
        weights.find(ENCODER, str(written.parent))
    for damaged in ("{", json.dumps({**json.loads(good), "mean": "grey"})):
        note.write_text(damaged)
        with pytest.raises(ValueError, match=rf"{ENCODER}\.json: .*orchestrator\.weights") as error:
            provenance.read(written)
        assert "\n" not in str(error.value)


def test_what_cannot_be_written_leaves_what_was_there(written: Path) -> None:
    before = {file.name: file.read_bytes() for file in written.parent.iterdir()}
    with pytest.raises(AttributeError):
        provenance.write(written, {"a": None}, SAID)  # type: ignore[dict-item]
    assert {file.name: file.read_bytes() for file in written.parent.iterdir()} == before
