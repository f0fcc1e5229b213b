"""Every registered architecture, for every task, keeps the same contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from search_spaces import SPACES
from trainables.batches import Batch
from trainables.models.heads import load_body
from trainables.tasks import make_task

SIZE = 64
CASES = [(task, name) for task, space in SPACES.items() for name in space.ARCHITECTURES]


def config(task: str, name: str, **own: Any) -> dict[str, Any]:
    """The house configuration on this architecture with its reference encoder."""
    entry = SPACES[task].ARCHITECTURES[name]
    encoder = entry.encoders[0] if entry.encoders else ""
    house = {**SPACES[task].HOUSE, "architecture": name, "encoder": encoder, "image_size": SIZE, "classes": 3}
    return {**house, "dropout": 0.0, **own}


def tensors(outputs: Any) -> tuple[torch.Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def batch(height: int = SIZE, width: int = SIZE, count: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 1, height, width), generator=generator, dtype=torch.uint8)
    masks = torch.zeros(count, 1, height, width, dtype=torch.uint8)
    masks[1:, :, height // 4 : height // 2, width // 4 : width // 2] = 1
    return Batch(images, masks, torch.arange(count) % 3, torch.ones(count, dtype=torch.bool))


@pytest.fixture(scope="module", params=CASES, ids=["-".join(case) for case in CASES])
def case(request: pytest.FixtureRequest) -> tuple[Any, dict[str, Any], torch.nn.Module]:
    torch.manual_seed(0)
    task, name = request.param
    settings = config(task, name)
    made = make_task(task, 3)
    model = made.build(settings)
    model.set_normalisation(0.4, 0.2)
    return made, settings, model


@pytest.mark.slow
class TestArchitecture:
    def test_shapes_and_types(self, case: Any) -> None:
        made, _, model = case
        data = batch()
        with torch.no_grad():
            outputs = tensors(model.eval()(data.images))
        expected = {"seg": [(3, 1, SIZE, SIZE)], "cls": [(3, 3)], "multi": [(3, 1, SIZE, SIZE), (3, 3)]}[made.name]
        assert [tuple(output.shape) for output in outputs] == expected
        assert all(output.dtype == torch.float32 for output in outputs)

    def test_every_trainable_parameter_gets_a_gradient(self, case: Any) -> None:
        made, settings, model = case
        model.train()
        model.zero_grad(set_to_none=True)
        data = batch()
        made.loss(settings, np.array([0, 1, 2]))(model(data.images), data).backward()
        without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not without
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)

    def test_eval_is_deterministic(self, case: Any) -> None:
        _, _, model = case
        images = batch().images
        with torch.no_grad():
            one, other = tensors(model.eval()(images)), tensors(model(images))
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))

    def test_safetensors_round_trip(self, case: Any, tmp_path: Path) -> None:
        made, settings, model = case
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "m.safetensors")
        other = made.build(settings)
        other.load_state_dict(load_file(tmp_path / "m.safetensors"))
        images = batch().images
        with torch.no_grad():
            pairs = zip(tensors(model.eval()(images)), tensors(other.eval()(images)), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)

    def test_its_head_can_be_drawn_anew(self, case: Any) -> None:
        _, _, model = case
        load_body(model, model.state_dict())

    @pytest.mark.parametrize(("height", "width", "count"), [(SIZE, SIZE, 1), (SIZE + 3, SIZE + 3, 2), (SIZE, 96, 2)])
    def test_batch_of_one_odd_sizes_and_non_square(self, case: Any, height: int, width: int, count: int) -> None:
        _, _, model = case
        data = batch(height, width, count)
        with torch.no_grad():
            outputs = tensors(model.eval()(data.images))
        for output in outputs:
            assert output.shape[0] == count
            assert output.ndim == 2 or output.shape[-2:] == (height, width)
            assert torch.isfinite(output).all()
