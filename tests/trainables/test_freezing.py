"""Which part of an encoder trains."""

from __future__ import annotations

import pytest
import torch

from trainables.models.freezing import thaw


@pytest.mark.parametrize(("part", "trained"), [("none", ()), ("se", ("se",)), ("last", ("blocks.6", "blocks_6"))])
def test_only_the_named_part_of_an_encoder_trains(part: str, trained: tuple[str, ...]) -> None:
    import timm

    encoder = timm.create_model("efficientnet_b0", num_classes=0)
    encoder.train()
    thaw(encoder, part)
    free = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    expected = {name for name, _ in encoder.named_parameters() if any(f"{word}." in name for word in trained)}
    assert free == expected
    moving = [m for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d) and m.training]
    assert bool(moving) == (part == "last")
    thaw(encoder, "all")
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_unknown_part_lists_the_known() -> None:
    with pytest.raises(ValueError, match="none, se, last, all"):
        thaw(torch.nn.Linear(1, 1), "half")
    with pytest.raises(ValueError, match="no part 'se'"):
        thaw(torch.nn.Linear(1, 1), "se")
