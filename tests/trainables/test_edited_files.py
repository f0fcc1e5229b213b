"""Descriptions of checkpoints and weights, and what is cached of data, edited or cut: named, or made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.support.mutations import cut, refused, survive
from tests.support.products import checkpoint
from trainables import checkpoint_description
from trainables.checkpoint_description import FILE
from trainables.data import prepare, read_manifest
from trainables.models import provenance
from trainables.models.provenance import Provenance
from trainables.stored import DamagedError


def test_any_value_of_a_checkpoint_is_read_or_named(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "made", "cls", 0)
    file = folder / FILE
    found = refused(file, lambda: checkpoint_description.read(folder), DamagedError)
    assert {"image_size", "task", "architecture", "epoch", "trained_on", "best"} <= {keys[-1] for keys, _ in found}
    for content in cut(file.read_bytes()):
        file.write_bytes(content)
        assert not survive(file, lambda: checkpoint_description.read(folder), DamagedError)


def test_any_value_beside_weights_is_read_or_named(tmp_path: Path) -> None:
    weights = tmp_path / "a.safetensors"
    provenance.write(weights, {"w": torch.zeros(2)}, Provenance("s", "l", "p", (0.5,), (0.2,)))
    file = weights.with_suffix(".json")

    def read() -> object:
        return provenance.read(weights)

    found = [keys for keys, _ in refused(file, read, ValueError)]
    assert {"mean", "std", "source"} <= {keys[0] for keys in found}
    for content in cut(file.read_bytes()):
        file.write_bytes(content)
        assert not survive(file, read, ValueError)


@pytest.mark.parametrize("name", ["examined-*.json", "pictures-*.bin", "links-*/checksums.json", "*/checksums.json"])
def test_what_is_cached_of_data_is_made_again_where_it_was_changed(phantom: Path, tmp_path: Path, name: str) -> None:
    manifest = read_manifest(phantom)
    first = prepare(manifest, tmp_path, size=32)
    (file,) = [one for one in tmp_path.glob(name) if "links" in name or "links" not in str(one)]
    content = file.read_bytes()
    damages = [
        *cut(content),
        content.replace(b'"height": 1', b'"height": 9').replace(b'"usable": true', b'"usable": 7'),
    ]
    if file.suffix == ".json" and "examined" not in name:
        damages += [json.dumps({**json.loads(content), "../../x": "0" * 64}).encode(), b'{"pairs": null}']
    for damaged in damages:
        file.write_bytes(damaged)
        again = prepare(manifest, tmp_path, size=32)
        assert (again.data_fingerprint, again.sizes.tolist()) == (first.data_fingerprint, first.sizes.tolist())
        assert (again.images == first.images).all()
