"""What a product says of itself: how its networks' outputs become predictions. Plain values; nothing is pickled."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from orchestrator.inference.combination import Combination
from orchestrator.inference.stack import Position
from orchestrator.inference.triage import Triage
from trainables.checkpoint_description import NetworkConfig, Side, TaskName

#: Of `Description.to_json`; another is not read.
FORMAT = 1


@dataclass(frozen=True)
class Network:
    """A trained network: its file within the folder, what builds it, and the side in pixels of the images it takes."""

    file: Annotated[str, Field(pattern=r"^networks/[0-9]+\.safetensors$")]
    task: TaskName
    config: NetworkConfig
    image_size: Side


@dataclass(frozen=True)
class ExportedMember:
    """A member of a combination: its position there, its name, and the networks whose mean logits are its own."""

    candidate: Position
    name: str
    networks: tuple[Network, ...]


@dataclass(frozen=True)
class Part:
    """A combination and the members that it needs; mask logits are combined at `plane_size` pixels a side."""

    combination: Combination
    members: tuple[ExportedMember, ...]
    plane_size: Side


@dataclass(frozen=True)
class Description:
    """What `predictor.json` holds.

    Attributes:
        task: `seg`, `cls` or `multi`. classes: names in the order of class logits; empty for seg.
        main: what predicts. shape: whose masks give the lesion shape of a stack in `main`; None where its own masks do,
            or none are needed.
        keep_aspect: whether images are letterboxed. tta: whether each image and its mirror image are averaged.
        operating_points: `{kept, rate, threshold}`: a malignant score from the threshold upwards kept the rate.
        triage: thresholds that rule out and in; None of seg, of an older version, and where none can be promised.
        data_fingerprint: of the data that all networks were trained on. synthetic: whether these were phantom images.
        trained_on: hashes (16 hexadecimal digits of an image file's SHA-256) of all images in training groups, sorted.
        plugins: SHA-256 by name of those that the networks are built with.
        versions: of Python and the libraries that it was written with.
        encoder_weights: what the networks' encoders started from, as `Source.words` has it; () of an older version.
    """

    __pydantic_config__ = ConfigDict(allow_inf_nan=False, extra="forbid")

    task: TaskName
    classes: tuple[str, ...]
    main: Part
    shape: Part | None
    keep_aspect: bool
    tta: bool
    operating_points: tuple[dict[str, Any], ...]
    data_fingerprint: str
    synthetic: bool
    trained_on: tuple[str, ...]
    versions: dict[str, str]
    plugins: dict[str, str] = field(default_factory=dict)
    encoder_weights: tuple[str, ...] = ()
    triage: Triage | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `read`; those of `main` stand at the top."""
        plain = asdict(self) | {"triage": self.triage and self.triage.model_dump()}
        return {"format": FORMAT, **plain.pop("main"), **plain}
