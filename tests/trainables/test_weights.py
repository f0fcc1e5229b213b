from __future__ import annotations

import pickle
import threading
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from search_spaces.seg import ARCHITECTURES
from trainables.models import hub, weights
from trainables.models.seg import build
from trainables.models.weights import Source

ENCODERS = tuple(dict.fromkeys(encoder for entry in ARCHITECTURES.values() for encoder in entry.encoders))
IMAGENET_MEAN = (0.485, 0.456, 0.406)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No internet: nobody listens where the hub is looked for, and its cache is empty."""
    monkeypatch.setattr(hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(hub, "answers", cache(hub.answers.__wrapped__))
    monkeypatch.setattr(hub, "_failed", threading.Event())


def _save(encoder: str, folder: Path, seed: int = 0, **options: int) -> torch.nn.Module:
    """A timm model with random weights and running statistics, saved as a user would."""
    torch.manual_seed(seed)
    model = timm.create_model(encoder, pretrained=False, **options)
    for tensor in model.state_dict().values():
        if tensor.dtype.is_floating_point:
            tensor.add_(0.02 * torch.rand_like(tensor))
    save_file(model.state_dict(), folder / f"{encoder}.safetensors")
    return model.eval()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_folder_fills_every_tensor_of_the_encoder(encoder: str, tmp_path: Path) -> None:
    plain = _save(encoder, tmp_path)
    source = weights.find(encoder, str(tmp_path))
    assert (source.kind, Path(source.location).name) == (weights.FOLDER, f"{encoder}.safetensors")

    torch.manual_seed(1)
    model = build({"architecture": "deeplabv3plus", "encoder": encoder}).eval()
    weights.load(model.encoder, encoder, source)
    reference = {name.replace(".", "_", 1): tensor for name, tensor in plain.state_dict().items()} | plain.state_dict()
    assert all(torch.equal(tensor, reference[name]) for name, tensor in model.encoder.state_dict().items())

    # timm's own loading of the same file is the reference for the features, stage by stage.
    timms = timm.create_model(
        encoder, features_only=True, pretrained=True, pretrained_cfg_overlay={"file": source.location}
    ).eval()
    unet = build({"architecture": "smp_unet", "encoder": encoder}).eval()
    weights.load(unet.encoder, encoder, source)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected, found = timms(image), unet.net.encoder(image)[-len(timms.feature_info) :]
    assert len(expected) >= 4
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_a_head_of_another_size_does_not_matter(tmp_path: Path) -> None:
    plain = _save("resnet18", tmp_path, num_classes=3)
    model = build({"architecture": "fpn", "encoder": "resnet18"})
    weights.load(model.encoder, "resnet18", weights.find("resnet18", str(tmp_path)))
    assert torch.equal(model.encoder.layer4[1].conv2.weight, plain.layer4[1].conv2.weight)


def _encoder(name: str) -> torch.nn.Module:
    module = build({"architecture": "fpn", "encoder": name}).encoder
    assert module is not None
    return module


@pytest.mark.parametrize("other", ["resnet34", "mobilenetv3_large_100", "resnet50"])
def test_weights_of_another_network_are_refused(other: str, tmp_path: Path) -> None:
    """resnet34 covers every tensor of resnet18, with the right shapes, and is still not a resnet18."""
    _save(other, tmp_path)
    (tmp_path / f"{other}.safetensors").rename(tmp_path / "resnet18.safetensors")
    encoder = _encoder("resnet18")
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    with pytest.raises(ValueError, match=r"do not fit 'resnet18'.*tensors.*timm.create_model\('resnet18'\)"):
        weights.load(encoder, "resnet18", weights.find("resnet18", str(tmp_path)))
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_a_file_that_is_not_safetensors_is_refused_and_never_unpickled(tmp_path: Path) -> None:
    file = tmp_path / "resnet18.safetensors"
    torch.save(timm.create_model("resnet18").state_dict(), file)
    with pytest.raises(ValueError, match=r"'resnet18' cannot be read from folder .*resnet18\.safetensors"):
        weights.load(_encoder("resnet18"), "resnet18", weights.find("resnet18", str(tmp_path)))
    file.unlink()
    with pytest.raises(ValueError, match="cannot be read from folder"):
        weights.load(_encoder("resnet18"), "resnet18", Source(weights.FOLDER, str(file)))


def _need_package(encoder: str) -> None:
    if weights.package_file(encoder) is None:
        pytest.skip(f"extra `offline` is not installed: {weights.PACKAGES[encoder]}")


@pytest.mark.parametrize("encoder", sorted(weights.PACKAGES))
def test_the_packages_hold_trained_weights_under_the_right_names(encoder: str, busi_256: Path) -> None:
    """On real images each batch norm sees about what its running statistics say; misplaced ones would not fit."""
    _need_package(encoder)
    source = weights.find(encoder, "auto")
    assert source == Source(weights.PACKAGE, weights.PACKAGES[encoder], (0.5,) * 3, (0.5,) * 3)
    files = sorted(busi_256.rglob("*(?).png"))[:8]
    images = np.stack([np.asarray(Image.open(file).convert("L").resize((128, 128))) for file in files])
    pixels = (torch.from_numpy(images)[:, None] / 255 - 0.5).div(0.5).repeat(1, 3, 1, 1)

    def agreement(module: torch.nn.Module) -> float:
        """Median correlation, over batch norms, of the channels' means on real images with the running means."""
        seen = []

        def record(norm: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            means = inputs[0].mean((0, 2, 3))
            seen.append(torch.corrcoef(torch.stack([means, norm.running_mean]))[0, 1].item())

        for child in module.modules():
            if isinstance(child, torch.nn.BatchNorm2d):
                child.register_forward_pre_hook(record)
        with torch.inference_mode():
            module.eval()(pixels)
        return float(np.median(seen))

    trained, shuffled = _encoder(encoder), _encoder(encoder)
    weights.load(trained, encoder, source)
    weights.load(shuffled, encoder, source)
    for name, tensor in shuffled.state_dict().items():
        if name.endswith("running_mean"):
            tensor.copy_(tensor.roll(1))
    assert agreement(trained) > 0.6
    assert agreement(shuffled) < 0.3


def test_auto_without_internet_is_random_and_quick(offline: None) -> None:
    started = time.perf_counter()
    for _ in range(3):
        assert weights.find("resnet18", "auto") == Source(weights.RANDOM)
    assert time.perf_counter() - started < hub.SECONDS + 1


def test_a_hub_that_does_not_answer_costs_one_time_out(offline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "SECONDS", 0.2)
    monkeypatch.setattr(hub.urllib.request, "urlopen", lambda *_, **__: time.sleep(30))
    started = time.perf_counter()
    for encoder in ("resnet18", "resnet34", "resnet50"):
        assert weights.find(encoder, "auto").kind == weights.RANDOM
    assert time.perf_counter() - started < 2


def test_a_hub_that_answers_and_fails_is_asked_once(offline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fail(repository: str, *_: object, **__: object) -> str:
        asked.append(repository)
        raise ConnectionError("reset by peer")

    monkeypatch.setattr(hub, "answers", lambda: True)
    monkeypatch.setattr(hub, "hf_hub_download", fail)
    assert weights.find("resnet18", "auto").kind == weights.find("resnet34", "auto").kind == weights.RANDOM
    assert asked == ["timm/resnet18.a1_in1k"]


def test_the_hubs_cache_is_used_without_asking_the_hub(
    offline: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = _save("resnet18", tmp_path)
    cached = {"timm/resnet18.a1_in1k": str(tmp_path / "resnet18.safetensors")}
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda repository, _: cached.get(repository))
    source = weights.find("resnet18", "imagenet")
    assert (source.kind, source.location, source.mean) == (weights.CACHE, "timm/resnet18.a1_in1k", IMAGENET_MEAN)
    encoder = _encoder("resnet18")
    weights.load(encoder, "resnet18", source)
    assert torch.equal(encoder.conv1.weight, plain.conv1.weight)


def test_imagenet_is_strict_and_none_is_random(offline: None, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none found for 'resnet18'.*resnet18\.safetensors") as error:
        weights.find("resnet18", "imagenet")
    assert "\n" not in str(error.value)
    assert weights.find("tf_efficientnet_lite0", "none") == weights.find("", "imagenet") == Source(weights.RANDOM)


def test_a_folder_comes_first_and_the_rest_of_auto_after_it(offline: None, tmp_path: Path) -> None:
    _save("tf_efficientnet_lite0", tmp_path)
    assert weights.find("tf_efficientnet_lite0", str(tmp_path)).kind == weights.FOLDER
    assert weights.find("resnet18", str(tmp_path)).kind == weights.RANDOM
    with pytest.raises(ValueError, match="no such folder"):
        weights.find("resnet18", str(tmp_path / "missing"))


def test_a_source_travels(tmp_path: Path) -> None:
    _save("resnet18", tmp_path)
    source = weights.find("resnet18", str(tmp_path))
    assert source.mean == IMAGENET_MEAN
    assert Path(source.location).is_absolute()
    assert pickle.loads(pickle.dumps(source)) == source
