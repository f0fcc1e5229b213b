"""Whose pre-training held these images? Warnings from `pretraining.toml`, a register of public weights and data sets.

Only what the register knows is warned of: its silence on some weights says nothing.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter


@dataclass(frozen=True)
class Pretraining:
    """What weights of one name were trained on.

    Attributes:
        pattern: of where such weights come from. data: public data sets among what they were made with, by name.
        source: who says so. told: whether the authors say so at all.
    """

    pattern: str
    source: str
    data: tuple[str, ...] = ()
    told: bool = True


@dataclass(frozen=True)
class Register:
    """Weights by name, and patterns of the images of data sets by name."""

    data: dict[str, str]
    weights: dict[str, Pretraining]


@cache
def register() -> Register:
    """What is known."""
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    return TypeAdapter(Register).validate_python(tomllib.loads(text))


def recognised(place: str) -> str:
    """The name of the weights that come from a place, as a file or a repository; "" where the register knows none."""
    known = register().weights.items()
    return next((name for name, one in known if re.search(one.pattern, place, re.IGNORECASE)), "")


def data_sets(files: Iterable[str | Path]) -> tuple[str, ...]:
    """The public data sets that images are of, by the last parts of their paths, in the register's order."""
    ends = {"/".join(Path(file).parts[-4:]) for file in files}
    return tuple(
        name for name, pattern in register().data.items() if any(re.search(pattern, end, re.IGNORECASE) for end in ends)
    )


def overlaps(weights: Iterable[str], tested: Sequence[str | Path]) -> list[str]:
    """A warning for each kind of weights whose pre-training may have held images that a model is tested on.

    Args:
        weights: `Source.words` of encoders.
        tested: image files; none of phantoms, which are named like BUSI's.
    """
    names = sorted({recognised(words) for words in weights} - {""})
    lines = []
    for name in names:
        one = register().weights[name]
        found = [data for data in data_sets(tested) if data in one.data or not one.told]
        if not found:
            continue
        listed = ", ".join(found)
        said = f"list {listed} among its data" if one.told else f"do not say whether {listed} was among its data"
        lines.append(
            f"warning: the authors of {name} {said}, and images that are tested on here are named so: "
            f"figures on them may not be of unseen images ({one.source})"
        )
    return lines
