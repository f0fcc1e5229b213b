"""Weights of one encoder, from wherever they are to be had, as a safetensors file with its provenance beside it."""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import safetensors
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor

from orchestrator.common.errors import UserError, first_line
from trainables.data.patience import openable
from trainables.models import provenance, weights
from trainables.models.provenance import Provenance
from trainables.pretraining import recognised

#: Under which a checkpoint may keep its state dict.
KEYS = ("state_dict", "model")
#: Before timm's names in the state dict of what wraps an encoder.
PREFIXES = ("module.", "backbone.", "encoder.")


def check_name(encoder: str) -> None:
    """Whether timm knows an encoder.

    Raises:
        UserError: it does not; the line names those that are spelt nearly so.
    """
    known = timm.list_models()
    if encoder not in known:
        near = difflib.get_close_matches(encoder, known, 5)
        told = f"near it are {', '.join(near)}" if near else "timm.list_models() has all names"
        raise UserError(f"{encoder}: timm has no such model; {told}")


def collect(encoder: str, out: Path, file: Path | None = None) -> Provenance:
    """Write an encoder's weights to a folder, and read them back as a search would.

    Args:
        encoder: timm name.
        file: where they are; None for the first of package, hub's cache, hub and torch's cache that has them.

    Raises:
        UserError: they are not to be had, do not fit, or cannot be written.
    """
    target = out / f"{encoder}.safetensors"
    try:
        tensors, found = _given(encoder, file) if file else _known(encoder)
        provenance.write(target, tensors, found)
        weights.find(encoder, str(out))
    except ValueError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{error.filename or target}: {error.strerror or first_line(error)}") from None
    return found


def torch_cached(encoder: str) -> Path | None:
    """The file of timm's weights in torch's cache, where older versions of timm left them."""
    url = weights.pretrained(encoder).url
    file = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2]) if isinstance(url, str) else None
    return file if file and file.suffix == ".pth" and file.is_file() else None


def licence(encoder: str) -> str:
    """Of timm's default weights."""
    own = weights.pretrained(encoder)
    return own.license or (f"see https://huggingface.co/{own.hf_hub_id}" if own.hf_hub_id else "")


def _known(encoder: str) -> tuple[dict[str, Tensor], Provenance]:
    own = weights.pretrained(encoder)
    source = weights.find(encoder, weights.AUTO)
    if source.kind == weights.PACKAGE:
        package = source.location.replace("_", "-")
        place = f"package {package} {version(package)}"
    else:
        place = f"https://huggingface.co/{source.location}"
    if source.kind != weights.RANDOM:
        tensors, mean, std = weights.read(encoder, source), source.mean, source.std
    elif cached := torch_cached(encoder):
        tensors, mean, std, place = _read(encoder, cached), own.mean, own.std, str(own.url)
    else:
        raise UserError(
            f"{encoder}: no weights here (no package, nothing in the caches of hub and torch, and the hub does not "
            "deliver); run this where there is a network, or give --from FILE"
        )
    return tensors, Provenance(place, licence(encoder), recognised(own.tag or ""), tuple(mean), tuple(std))


def _given(encoder: str, file: Path) -> tuple[dict[str, Tensor], Provenance]:
    own = weights.pretrained(encoder)
    said = Provenance(file.name, "", recognised(file.name), tuple(own.mean), tuple(own.std))
    return _read(encoder, file), said


def _read(encoder: str, file: Path) -> dict[str, Tensor]:
    """The tensors of a file under timm's names, with what wraps them taken off; nothing in it is run.

    Raises:
        ValueError: it cannot be read so, or holds others than the encoder's. OSError: it cannot be opened.
    """
    state = _state(file)
    plain = timm.create_model(encoder, pretrained=False).state_dict()
    own = {prefix for prefix in PREFIXES if any(name.startswith(prefix) for name in plain)}
    while prefix := next((one for one in PREFIXES if one not in own and any(n.startswith(one) for n in state)), ""):
        state = {name.removeprefix(prefix): one for name, one in state.items() if name.startswith(prefix)}
    weights.require_fit(state, encoder, str(file), plain)
    return state


def _state(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(openable(file))
        found = torch.load(openable(file), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, safetensors.SafetensorError) as error:
        raise ValueError(
            f"{file}: cannot be read without running what is in it ({first_line(error)}); "
            "save its state dict alone, where you trust it: torch.save(state_dict, FILE)"
        ) from None
    for key in KEYS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    state = {name: one for name, one in found.items() if isinstance(one, Tensor)} if isinstance(found, Mapping) else {}
    if not state:
        raise ValueError(f"{file}: holds no state dict, by itself or under {' or '.join(KEYS)}")
    return state
