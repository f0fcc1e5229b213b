"""A fitted stack: class probabilities from candidates' log-probabilities and lesion shape. Plain numpy, stored as JSON.

`orchestrator.ensemble.combiners.stacking` fits it; nothing here needs scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.special import log_softmax, softmax

#: Bounds are looked at where a file is read; see `orchestrator.inference.agreement` for what must agree.
Position = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(ge=1e-9, le=1e9)]
Weight = Annotated[float, Field(ge=0, le=1.001)]
Logit = Annotated[float, Field(ge=-1e9, le=1e9)]
#: The least probability of a class, also of one that the fitted rows had none of: log-loss stays finite.
FLOOR = 1e-6
#: Standardised features are held within so many SD: one odd outline must not outvote every candidate.
LIMIT = 5.0


@dataclass(frozen=True)
class Trees:
    """Regression trees that are summed. All nodes lie in one list; a leaf's children are the leaf itself.

    Attributes:
        feature, threshold, left, right: of each node; a row goes left where its feature (as float32, as in
            scikit-learn) is at most the threshold.
        value: what a leaf adds. gain: how much a split lowered the squared error it was grown on, 0 for a leaf.
        roots: each tree's first node. outputs: the position among the fitted classes that each tree adds to.
        depth: of the deepest tree.
    """

    feature: tuple[Position, ...]
    threshold: tuple[float, ...]
    left: tuple[Position, ...]
    right: tuple[Position, ...]
    value: tuple[Logit, ...]
    gain: tuple[float, ...]
    roots: tuple[Position, ...]
    outputs: tuple[Position, ...]
    depth: Annotated[int, Field(ge=0, le=64)]

    def scores(self, features: np.ndarray, classes: int) -> np.ndarray:
        """The trees' sums for each class, float64 [N,classes], from features, float64 [N,F]."""
        x = features.astype(np.float32)
        feature, threshold, left, right = map(np.asarray, (self.feature, self.threshold, self.left, self.right))
        rows = np.arange(len(x))
        node = np.repeat(np.asarray(self.roots, np.int64)[:, None], len(x), axis=1)
        for _ in range(self.depth):
            node = np.where(x[rows, feature[node]] <= threshold[node], left[node], right[node])
        scores = np.zeros((classes, len(x)))
        np.add.at(scores, np.asarray(self.outputs, np.int64), np.asarray(self.value)[node])
        return np.asarray(scores.T)

    def importance(self, features: int, classes: int) -> np.ndarray:
        """Share of each class's gain that each feature brings, float64 [classes,features]; rows sum to 1, or are 0."""
        first = np.asarray((*self.roots, len(self.feature)), np.int64)
        output = np.repeat(np.asarray(self.outputs, np.int64), np.diff(first))
        gains = np.zeros((classes, features))
        np.add.at(gains, (output, np.asarray(self.feature, np.int64)), self.gain)
        total = gains.sum(1, keepdims=True)
        shares: np.ndarray = np.divide(gains, total, out=np.zeros_like(gains), where=total > 0)
        return shares


@dataclass(frozen=True)
class Stack:
    """Softmax of intercepts + coefficients x features, or + trees, over the classes that the fitted rows had.

    Features: for each member in order the K log-probabilities of its logits over its temperature, then lesion shape,
    if it was fitted on that. All are standardised; an unknown one (NaN) is then 0, the mean of the fitted rows.

    Attributes:
        members: positions of the members that are looked at: every candidate. temperatures: of each of them, > 0.
        features: names of the F features. classes: names of the K classes.
        mean, scale: of each feature over the fitted rows; scale > 0.
        present: positions of the C <= K classes that the fitted rows had; the others get `FLOOR`.
        intercepts: of each present class. coefficients: C rows of F, for features in SD; empty where there are
            trees, and where C is 1.
        trees: in place of coefficients.
    """

    members: tuple[Position, ...]
    temperatures: tuple[Positive, ...]
    features: tuple[str, ...]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[Positive, ...]
    present: tuple[Position, ...]
    intercepts: tuple[Logit, ...]
    coefficients: tuple[tuple[Logit, ...], ...] = ()
    trees: Trees | None = None

    @property
    def uses_shape(self) -> bool:
        """Whether `probabilities` requires lesion shape, that is, masks of segmentation candidates."""
        return len(self.features) > len(self.members) * len(self.classes)

    def probabilities(self, class_logits: np.ndarray, shape: np.ndarray | None = None) -> np.ndarray:
        """Class probabilities, float64 [N,K], each at least about `FLOOR`.

        Args:
            class_logits: of all members, candidates first, float [M,N,K]. shape: lesion shape, float64 [N,F'], the
                columns as when fitted; not looked at where the stack was fitted without.

        Raises:
            ValueError: it was fitted on lesion shape and there is none, or it has another number of columns.
        """
        names = self.features[len(self.members) * len(self.classes) :]
        if names and (shape is None or shape.shape[1] != len(names)):
            raise ValueError(f"the stack was fitted on lesion shape: pass {len(names)} columns ({', '.join(names)})")
        return self.from_features(
            stack_features(class_logits[list(self.members)], self.temperatures, shape if names else None)
        )

    def from_features(self, features: np.ndarray) -> np.ndarray:
        """Class probabilities, float64 [N,K], from what `stack_features` makes, float64 [N,F]."""
        x = standardise(features, np.asarray(self.mean), np.asarray(self.scale))
        scores = np.asarray(self.intercepts) + np.zeros((len(x), 1))
        if self.trees:
            scores += self.trees.scores(x, len(self.present))
        elif self.coefficients:
            scores += x @ np.asarray(self.coefficients).T
        return with_floor(softmax(scores, axis=1), self.present, len(self.classes))

    def weights(self) -> dict[str, dict[str, float]]:
        """What each feature (by name) is worth to each class (by name), for showing.

        Logistic regression: its coefficient, in logits for each SD of the feature. Trees: the share, 0 to 1, of the
        class's gain that the feature brings, without a sign.
        """
        if self.trees:
            worth = self.trees.importance(len(self.features), len(self.present))
        else:
            worth = np.asarray(self.coefficients or np.zeros((len(self.present), len(self.features))))
        names = [self.classes[position] for position in self.present]
        return {
            feature: dict(zip(names, column, strict=True))
            for feature, column in zip(self.features, worth.T.tolist(), strict=True)
        }


def stack_features(class_logits: np.ndarray, temperatures: tuple[float, ...], shape: np.ndarray | None) -> np.ndarray:
    """Features as they are, float64 [N, M K + F'].

    Args:
        class_logits: of the M members that are used, float [M,N,K]. temperatures: of each of them, > 0.
        shape: lesion shape, float64 [N,F'], or None.
    """
    scaled = class_logits.astype(np.float64) / np.asarray(temperatures)[:, None, None]
    logs = np.maximum(log_softmax(scaled, axis=-1), np.log(FLOOR))
    columns = np.moveaxis(logs, 0, 1).reshape(logs.shape[1], -1)
    return columns if shape is None else np.hstack([columns, np.asarray(shape, np.float64)])


def standardise(features: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Features [N,F] in SD from the mean, held within `LIMIT`; unknown ones (NaN) are 0."""
    return np.asarray(np.nan_to_num(((features - mean) / scale).clip(-LIMIT, LIMIT), nan=0.0))


def with_floor(probabilities: np.ndarray, present: tuple[int, ...], classes: int) -> np.ndarray:
    """Probabilities of the present classes, float64 [N,C], as those of all, [N,classes]; none is 0, rows sum to 1."""
    full = np.full((len(probabilities), classes), FLOOR)
    full[:, list(present)] = probabilities.clip(FLOOR)
    full /= full.sum(1, keepdims=True)
    return full
