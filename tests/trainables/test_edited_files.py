"""Descriptions of checkpoints and weights, and what is cached of data, edited or cut: named, or made again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.support.mutations import cut, refusal, refused
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
        assert refusal(file, lambda: checkpoint_description.read(folder), DamagedError)


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
        assert refusal(file, read, ValueError)


def test_what_is_cached_of_data_is_made_again_where_it_was_changed(phantom: Path, tmp_path: Path) -> None:
    manifest = read_manifest(phantom)
    first = prepare(manifest, tmp_path, size=32)
    images = np.array(first.images)  # which are mapped from what is changed below
    kept = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert len(kept) == 8
    value = {b'"height": 1': b'"height": 9', b'"usable": true': b'"usable": [12]', b'"pairs"': b'"../../pairs"'}

    def edited(content: bytes) -> bytes:
        for old, new in value.items():
            content = content.replace(old, new)
        return content if content[:1] in b"{0123456789abcdef" else content[:-99]

    for damage in (edited, lambda content: content[: len(content) // 2], lambda content: b"[]"):
        for file, content in kept.items():
            file.write_bytes(damage(content))
        again = prepare(manifest, tmp_path, size=32)
        assert (again.data_fingerprint, again.sizes.tolist()) == (first.data_fingerprint, first.sizes.tolist())
        assert (again.images == images).all()
