"""Writing the product: from checkpoints and a combination to the folder that `Predictor` loads."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.inference.combination import Combination
from orchestrator.inference.description import Description, ExportedMember, Network, Part
from orchestrator.inference.format import DESCRIPTION, LEARNT_FROM, LearntFrom, ModelError, described
from orchestrator.inference.triage import Triage
from trainables import checkpoint_description, unfinished
from trainables.checkpoint_description import CheckpointDescription
from trainables.plugins import needed
from trainables.stored import DamagedError

#: Of a checkpoint, as `trainables.checkpoint` writes it.
_WEIGHTS = "best.safetensors"
_VERSIONS = ("torch", "timm", "segmentation-models-pytorch", "numpy", "scipy", "opencv-python-headless")


class MemberCheckpoints(NamedTuple):
    """A member to be written: its position in the combination, its name, and its networks' checkpoint folders."""

    candidate: int
    name: str
    checkpoints: Sequence[Path]


class Sources(NamedTuple):
    """A part to be written; members that the combination does not need are left out.

    Attributes:
        shape: another part, whose masks give the lesion shape of a stack in this one.
    """

    combination: Combination
    members: Sequence[MemberCheckpoints]
    plane_size: int
    shape: Sources | None = None


def write(
    folder: Path,
    main: Sources,
    *,
    keep_aspect: bool,
    synthetic: bool,
    tta: bool = False,
    operating_points: Sequence[dict[str, Any]] = (),
    triage: Triage | None = None,
    learnt_from: LearntFrom | None = None,
    encoder_weights: Iterable[str] = (),
) -> None:
    """Write an ensemble, under another name until it is complete. One that is there already is replaced.

    Weight files are linked, or copied where the file system cannot link; a checkpoint's file is never changed in place.
    Task, classes, data and training images are those of the checkpoints. For the arguments see `Description`,
    and `LearntFrom` for the images by which an evaluation knows near-duplicates of them.

    Raises:
        ModelError: a member is missing, checkpoints are of different tasks or data, or the folder holds something else.
        OSError: a checkpoint cannot be read, or the folder not written.
    """
    if folder.exists() and not described(folder):
        raise ModelError(f"{folder}: exists and holds no ensemble; delete it or name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with unfinished.beside(folder) as scratch:
        new = scratch / "new"
        (new / "networks").mkdir(parents=True)
        checkpoints: dict[Path, CheckpointDescription] = {}
        parts = [_part(sources, new, checkpoints) for sources in (main, main.shape) if sources]
        networks = _networks(parts[:1])
        task = _same({network.task for network in networks}, "tasks")
        models = list(checkpoints.values())
        count = _same({network.config.get("classes", 3) for network in networks}, "numbers of classes")
        description = Description(
            task=task,
            classes=() if task == "seg" else models[0].classes[-count:],
            main=parts[0],
            shape=parts[1] if main.shape else None,
            keep_aspect=keep_aspect,
            tta=tta,
            operating_points=tuple(operating_points),
            data_fingerprint=_same({model.data_fingerprint for model in models}, "data"),
            synthetic=synthetic,
            trained_on=tuple(sorted({digest for model in models for digest in model.trained_on})),
            plugins=needed((one.task, one.config["architecture"]) for one in _networks(parts)),
            versions={"python": platform.python_version(), **{name: version(name) for name in _VERSIONS}},
            encoder_weights=tuple(sorted(set(encoder_weights))),
            triage=triage,
        )
        if learnt_from is not None:
            (new / LEARNT_FROM).write_bytes(learnt_from.to_bytes())
        (new / DESCRIPTION).write_text(json.dumps(description.to_json(), indent=1))
        if folder.exists():
            folder.replace(scratch / "old")
        new.replace(folder)


def _networks(parts: Sequence[Part]) -> list[Network]:
    return [network for part in parts for member in part.members for network in member.networks]


def _part(sources: Sources, new: Path, checkpoints: dict[Path, CheckpointDescription]) -> Part:
    """The part, with its weights in the new folder; a checkpoint that several members share is there once."""
    found = {source.candidate: source for source in sources.members}
    missing = [position for position in sources.combination.members if position not in found]
    if missing:
        raise ModelError(f"the combination needs members {missing}, which are not given")
    members = []
    for position in sources.combination.members:
        source, networks = found[position], []
        for checkpoint in source.checkpoints:
            model = checkpoints.get(checkpoint) or _described(checkpoint)
            checkpoints.setdefault(checkpoint, model)
            file = f"networks/{list(checkpoints).index(checkpoint):02}.safetensors"
            if not (new / file).exists():
                _link(checkpoint / _WEIGHTS, new / file)
            networks.append(Network(file, model.task, model.config, model.image_size))
        if not networks:
            raise ModelError(f"member {source.name} has no checkpoint")
        members.append(ExportedMember(position, source.name, tuple(networks)))
    return Part(sources.combination, tuple(members), sources.plane_size)


def _described(checkpoint: Path) -> CheckpointDescription:
    try:
        return checkpoint_description.read(checkpoint)
    except DamagedError as error:
        raise ModelError(f"{error}; the checkpoint is damaged") from None


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _same(values: set[Any], what: str) -> Any:
    if len(values) != 1:
        raise ModelError(f"the networks are of different {what} ({', '.join(map(str, sorted(values)))})")
    return values.pop()
