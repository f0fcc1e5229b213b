"""What must agree within a description: lengths, positions and names, each of which may be fine by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.inference.combination import Head
from orchestrator.inference.lesion_shape import FEATURES
from orchestrator.inference.stack import Stack, Trees
from trainables.data.manifest import CLASSES

if TYPE_CHECKING:
    from orchestrator.inference.description import Description, Part


def disagreement(description: Description) -> str:
    """The first key of a description that does not go with the others, and why; "" where all do."""
    return next(_of_all(description), "")


def _of_all(description: Description) -> Iterator[str]:
    task, classes, main, shape = description.task, description.classes, description.main, description.shape
    if classes != (() if task == "seg" else CLASSES[-len(classes) :]) or (task != "seg" and len(classes) < 2):
        yield f"classes: not those of task {task}, in their order"
    heads = main.combination
    if bool(heads.classes or heads.stack) != (task != "seg") or bool(heads.masks) != (task != "cls"):
        yield f"combination: not the heads of task {task}"
    for place, point in enumerate(description.operating_points):
        kept, numbers = point.get("kept"), [point.get(name) for name in ("rate", "threshold")]
        if kept not in ("specificity", "sensitivity") or not all(isinstance(one, int | float) for one in numbers):
            yield f"operating_points.{place}: not the kind of rate that is kept, the rate and the threshold"
    yield from _of_part(main, len(classes))
    yield from (f"members: a network of another task than {task}" for one in _tasks(main) if one != task)
    if shape:
        yield from (f"shape.{words}" for words in _of_part(shape, 0))
        if not shape.combination.masks or _tasks(shape) != {"seg"}:
            yield "shape: no masks of segmentation networks"
    if heads.stack:
        yield from (f"combination.stack.{words}" for words in _of_stack(heads.stack, classes))
        if heads.stack.uses_shape and not (shape or heads.masks):
            yield "shape: the stack looks at lesion shape, and no part has masks"


def _tasks(part: Part) -> set[str]:
    return {network.task for member in part.members for network in member.networks}


def _of_part(part: Part, classes: int) -> Iterator[str]:
    for name, head in (("classes", part.combination.classes), ("masks", part.combination.masks)):
        if head:
            yield from (f"combination.{name}.{words}" for words in _of_head(head, classes if name == "classes" else 0))
    if [member.candidate for member in part.members] != list(part.combination.members):
        yield "members: not those that the combination needs, in their order"
    for place, member in enumerate(part.members):
        if not member.networks:
            yield f"members.{place}.networks: none"
        for number, network in enumerate(member.networks):
            if classes and network.config.get("classes", len(CLASSES)) != classes:
                yield f"members.{place}.networks.{number}.config.classes: not {classes}"


def _of_head(head: Head, classes: int) -> Iterator[str]:
    if len(head.temperatures) != len(head.weights):
        yield "temperatures: not one for each weight"
    if abs(sum(head.weights) - 1) > 1e-3:
        yield "weights: their sum is not 1"
    if head.bias and len(head.bias) != classes:
        yield "bias: not one for each class"


def _of_stack(stack: Stack, classes: tuple[str, ...]) -> Iterator[str]:
    count, present, own = len(stack.features), len(stack.present), len(stack.members) * len(classes)
    if stack.classes != classes:
        yield "classes: not those of the model"
    if len(stack.temperatures) != len(stack.members):
        yield "temperatures: not one for each member"
    if stack.features[own:] not in ((), FEATURES) or count < own:
        yield "features: not one for each member and class, and then those of lesion shape or none"
    if {len(stack.mean), len(stack.scale)} != {count}:
        yield "mean: it or scale is not one for each feature"
    if not present or len(set(stack.present) & set(range(len(classes)))) != present:
        yield "present: not classes, each once"
    if len(stack.intercepts) != present:
        yield "intercepts: not one for each present class"
    if stack.coefficients and [len(row) for row in stack.coefficients] != [count] * present:
        yield "coefficients: not one for each feature and present class"
    if stack.trees:
        yield from (f"trees.{words}" for words in _of_trees(stack.trees, count, present))


def _of_trees(trees: Trees, features: int, classes: int) -> Iterator[str]:
    nodes = len(trees.feature)
    for name in ("threshold", "left", "right", "value", "gain"):
        if len(getattr(trees, name)) != nodes:
            yield f"{name}: not one for each node"
    for name, end in (("feature", features), ("left", nodes), ("right", nodes), ("roots", nodes), ("outputs", classes)):
        if max(getattr(trees, name), default=0) >= max(end, 1):
            yield f"{name}: one that is not there"
    if len(trees.roots) != len(trees.outputs):
        yield "outputs: not one for each root"
