"""A GPU without room is told as that, and no model is blamed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from orchestrator.common.errors import UserError
from orchestrator.inference import part
from orchestrator.inference.description import Network
from orchestrator.inference.format import ModelError
from orchestrator.inference.part import Loader
from tests.support.pretended_gpu import PretendedGpu


@pytest.mark.parametrize("full", [True, False])
def test_a_network_that_finds_no_room(full: bool, gpu: PretendedGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.") if full else RuntimeError("cut")

    monkeypatch.setattr(part, "load_network", load)
    with pytest.raises(UserError) as told:
        Loader(Path("model"), torch.device("cuda"))(Network("one.safetensors", "seg", {}, 32))
    assert isinstance(told.value, ModelError) != full
    line = str(told.value)
    assert ("export the model again" in line) != full
    assert (line.startswith("cuda (Pretended): its memory is full (CUDA out of memory.")) == full
