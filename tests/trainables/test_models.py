from __future__ import annotations

import pytest
import torch

from search_spaces.recipes import RECIPES
from search_spaces.seg import ARCHITECTURES
from trainables.models.seg import build
from trainables.models.weights import find, load

PAIRS = [(entry.name, encoder) for entry in ARCHITECTURES.values() for encoder in entry.encoders or ("",)]
#: The heaviest pair of each architecture is left to the slow run; the cheapest stands for it in the fast one.
REFERENCE = [(entry.name, (entry.encoders or ("",))[0]) for entry in ARCHITECTURES.values() if entry.name != "resunet"]


def _config(architecture: str, encoder: str) -> dict:
    return {"architecture": architecture, "encoder": encoder, "dropout": 0.1}


def _learns(architecture: str, encoder: str, size: int) -> None:
    torch.manual_seed(0)
    model = build(_config(architecture, encoder))
    logits = model(torch.randint(0, 256, (2, 1, size, size), dtype=torch.uint8))
    assert logits.shape == (2, 1, size, size)
    assert logits.dtype == torch.float32
    logits.square().mean().backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not without
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize(("architecture", "encoder"), REFERENCE)
def test_every_architecture_builds_and_learns(architecture: str, encoder: str) -> None:
    _learns(architecture, encoder, 64)


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize(("architecture", "encoder"), PAIRS)
def test_every_registered_pair_builds_and_learns(architecture: str, encoder: str, size: int) -> None:
    _learns(architecture, encoder, size)


@pytest.mark.parametrize(("architecture", "encoder"), [*REFERENCE, ("resunet", "")])
@pytest.mark.parametrize("size", [(33, 70), (64, 32)])
def test_any_size_keeps_its_size(architecture: str, encoder: str, size: tuple[int, int]) -> None:
    model = build(_config(architecture, encoder)).eval()
    with torch.inference_mode():
        assert model(torch.zeros(1, 1, *size)).shape == (1, 1, *size)


def test_small_images_are_padded_to_what_a_network_can_take() -> None:
    model = build(_config("pan", "resnet18"))
    assert model(torch.zeros(2, 1, 64, 40)).shape == (2, 1, 64, 40)
    assert model.prepare(torch.zeros(1, 1, 64, 40)).shape == (1, 3, 128, 128)
    assert model.prepare(torch.zeros(1, 1, 130, 128)).shape == (1, 3, 160, 128)
    assert build(_config("fpn", "resnet18")).prepare(torch.zeros(1, 1, 64, 40)).shape == (1, 3, 64, 64)


def test_a_short_encoder_holds_only_what_it_uses_and_takes_its_weights() -> None:
    encoder = "tf_efficientnet_lite0"
    short, whole = build(_config("pspnet", encoder)), build(_config("fpn", encoder))
    for model in (short, whole):
        load(model.encoder, encoder, find(encoder, "auto"))
    short_weights, whole_weights = short.encoder.state_dict(), whole.encoder.state_dict()
    assert 0 < len(short_weights) < len(whole_weights)
    assert all(torch.equal(tensor, whole_weights[name]) for name, tensor in short_weights.items())


@pytest.mark.parametrize(("name", "millions"), [("unet", 0.11), ("resunet", 32)])
def test_recipes_have_the_published_number_of_parameters(name: str, millions: float) -> None:
    model = build(RECIPES[name].config)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.07)
    assert model.encoder is None


@pytest.mark.parametrize("encoder", ["", "resnet18"])
def test_normalisation_is_part_of_the_model(encoder: str) -> None:
    model = build(_config("fpn" if encoder else "unet", encoder)).eval()
    seen = []
    model.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.set_normalisation(0.4, 0.2)
    image = torch.arange(256, dtype=torch.uint8).repeat(4, 1).reshape(1, 1, 32, 32)
    with torch.inference_mode():
        assert torch.equal(model(image), model(image.float()))
    expected = (image / 255 - 0.4) / 0.2
    torch.testing.assert_close(seen[0], expected.repeat(1, 3 if encoder else 1, 1, 1))

    copy = build(_config("fpn" if encoder else "unet", encoder)).eval()
    copy.load_state_dict(model.state_dict())
    with torch.inference_mode():
        assert torch.equal(copy(image), model(image))


def test_an_encoder_has_one_mean_a_channel() -> None:
    model = build(_config("fpn", "resnet18"))
    model.set_normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert model.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert model.std.flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])


def test_the_encoder_is_all_that_pretrained_weights_fill() -> None:
    model = build(_config("smp_unet", "resnet18"))
    inner = {id(parameter) for parameter in model.encoder.parameters()}
    rest = [name for name, parameter in model.named_parameters() if id(parameter) not in inner]
    assert inner
    assert all(name.startswith(("net.decoder.", "net.segmentation_head.")) for name in rest)


def test_the_same_seed_builds_the_same_network() -> None:
    torch.manual_seed(3)
    first = build(_config("smp_unet", "resnet18"))
    torch.manual_seed(3)
    second = build(_config("smp_unet", "resnet18"))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_what_was_not_tried_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'vnet'.*unet"):
        build(_config("vnet", ""))
    with pytest.raises(ValueError, match=r"'swin'.*resnet18"):
        build(_config("fpn", "swin"))
