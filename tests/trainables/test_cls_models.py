from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from search_spaces.cls import ARCHITECTURES
from trainables.models import weights
from trainables.models.cls import build, check_encoder
from trainables.models.se import squeeze_excite

#: One of each kind, small: the others are left to the slow run.
FEW = ("tf_efficientnet_lite0", "mobilenetv3_small", "resnet18", "convnext_atto", "vit_tiny")
KINDS = (*FEW, "swin_tiny")


def _config(architecture: str, head: str = "gap", dropout: float = 0.0) -> dict:
    return {"architecture": architecture, "head": head, "dropout": dropout}


def _heads(name: str) -> tuple[str, ...]:
    return ("gap", "se") if ARCHITECTURES[name].has_map else ("gap",)


def _learns(name: str, head: str, size: int) -> None:
    torch.manual_seed(0)
    model = build(_config(name, head), 3)
    logits = model(torch.randint(0, 256, (2, 1, size, size), dtype=torch.uint8))
    assert logits.shape == (2, 3)
    assert logits.dtype == torch.float32
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2])).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not without
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize(("name", "head"), [(name, head) for name in FEW for head in _heads(name)])
def test_every_kind_builds_and_learns(name: str, head: str) -> None:
    _learns(name, head, 64)


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize(("name", "head"), [(name, head) for name in ARCHITECTURES for head in _heads(name)])
def test_every_registered_architecture_builds_and_learns(name: str, head: str, size: int) -> None:
    _learns(name, head, size)


@pytest.mark.parametrize("name", KINDS)
def test_a_batch_of_one_odd_sizes_and_no_square(name: str) -> None:
    model = build(_config(name), 2).eval()
    with torch.inference_mode():
        for size in ((33, 70), (64, 32), (1, 1)):
            logits = model(torch.zeros(1, 1, *size))
            assert logits.shape == (1, 2)
            assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_builds_without_memory(name: str) -> None:
    with torch.device("meta"):
        model = build(_config(name, _heads(name)[-1]), 3)
        assert model(torch.empty(2, 1, 96, 96)).shape == (2, 3)


@pytest.mark.parametrize("name", KINDS)
def test_the_encoder_is_what_pretrained_weights_fill_and_the_rest_trains_while_it_is_frozen(
    name: str, tmp_path: Path
) -> None:
    (timm_name,) = ARCHITECTURES[name].encoders
    torch.manual_seed(1)
    plain = timm.create_model(timm_name, pretrained=False)
    file = tmp_path / f"{timm_name}.safetensors"
    save_file(plain.state_dict(), file)
    model = build(_config(name, _heads(name)[-1]), 3)
    weights.load(model.encoder, timm_name, weights.Source(weights.FOLDER, str(file), (0.5,) * 3, (0.5,) * 3))
    assert all(torch.equal(tensor, plain.state_dict()[key]) for key, tensor in model.encoder.state_dict().items())
    # At the size that the weights were made for, the features are those of the plain network.
    image = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        expected = plain.eval().forward_head(plain.forward_features(image), pre_logits=True)
        torch.testing.assert_close(model.eval().encoder(image), expected)

    model.encoder.requires_grad_(False)
    left = {key.split(".")[0] for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert left == ({"attention", "head"} if ARCHITECTURES[name].has_map else {"head"})


def test_the_package_fills_the_house_backbone() -> None:
    name = "tf_efficientnet_lite0"
    source = weights.find(name, "auto")
    if source.kind != weights.PACKAGE:
        pytest.skip(f"extra `offline` is not installed: {weights.PACKAGES[name]}")
    model = build(_config(name), 3)
    before = {key: tensor.clone() for key, tensor in model.encoder.state_dict().items()}
    weights.load(model.encoder, name, source)
    unchanged = [key for key, tensor in model.encoder.state_dict().items() if torch.equal(tensor, before[key])]
    assert not [key for key in unchanged if "num_batches" not in key]


def test_seresnet50_has_an_se_block_in_each_bottleneck() -> None:
    with torch.device("meta"):
        encoder = build(_config("seresnet50"), 3).encoder
    blocks = [block for layer in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4) for block in layer]
    assert len(blocks) == 16
    assert all(block.se.fc1.in_channels == 16 * block.se.fc1.out_channels for block in blocks)


def test_squeeze_and_excitation_is_as_published() -> None:
    torch.manual_seed(0)
    block = squeeze_excite(48)
    maps = torch.randn(2, 48, 5, 7)
    first, second = (layer.weight[..., 0, 0] for layer in (block.fc1, block.fc2))
    hidden = torch.relu(maps.mean((2, 3)) @ first.T + block.fc1.bias)
    gates = torch.sigmoid(hidden @ second.T + block.fc2.bias)
    assert hidden.shape == (2, 3)
    torch.testing.assert_close(block(maps), maps * gates[:, :, None, None])


def test_normalisation_is_part_of_the_model() -> None:
    model = build(_config("resnet18"), 3).eval()
    model.set_normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    seen = []
    model.encoder.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.arange(256, dtype=torch.uint8).repeat(4, 1).reshape(1, 1, 32, 32)
    copy = build(_config("resnet18"), 3).eval()
    copy.load_state_dict(model.state_dict())
    with torch.inference_mode():
        assert torch.equal(model(image), model(image.float()))
        assert torch.equal(copy(image), model(image))
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    torch.testing.assert_close(seen[0], (image / 255 - mean) / std)


def test_dropout_is_on_the_head_and_only_in_training() -> None:
    torch.manual_seed(0)
    model = build(_config("resnet18", dropout=0.5), 3).eval()
    features = torch.randn(4, 512)
    assert torch.equal(model.head(features), model.head(features))
    model.head.train()
    assert not torch.equal(model.head(features), model.head(features))


def test_the_same_seed_builds_the_same_network() -> None:
    def weights_of_first_and_last() -> list[torch.Tensor]:
        torch.manual_seed(3)
        return list(build(_config("mobilenetv3_small", "se"), 3).parameters())

    assert all(map(torch.equal, weights_of_first_and_last(), weights_of_first_and_last()))


def test_any_other_backbone_of_timm_is_tried_before_it_is_trusted() -> None:
    check_encoder("regnety_008", 96)
    check_encoder("vit_tiny_patch16_224", 96)
    model = build(_config("timm:regnety_002"), 2).eval()
    with torch.inference_mode():
        assert model(torch.zeros(1, 1, 64, 64)).shape == (1, 2)
    with pytest.raises(ValueError, match=r"timm has no model 'resnet51': did you mean .*resnet50") as error:
        check_encoder("resnet51", 96)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="timm has no model 'resnet51'"):
        build(_config("timm:resnet51"), 2)


def test_a_backbone_of_one_size_is_refused_at_others() -> None:
    check_encoder("mixer_s32_224", 224)
    with pytest.raises(ValueError, match=r"'mixer_s32_224'.*128 px.*made for 224 px.*--image-size") as error:
        check_encoder("mixer_s32_224", 128)
    assert "\n" not in str(error.value)


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'lenet'.*resnet18"):
        build(_config("lenet"), 3)
    with pytest.raises(ValueError, match=r"'vit_tiny' has no feature map"):
        build(_config("vit_tiny", "se"), 3)
    with pytest.raises(ValueError, match=r"unknown head 'max'"):
        build(_config("resnet18", "max"), 3)
