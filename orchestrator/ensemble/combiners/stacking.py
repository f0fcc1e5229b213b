"""Fits a stack: multinomial logistic regression on candidates' log-probabilities and lesion shape, or small trees.

Stacked generalisation (Wolpert, Neural Networks 1992;5:241). Inputs are probabilities rather than votes, and the model
on top of them is linear, as Ting and Witten (JAIR 1999;10:271) found best. It has no temperature of its own:
coefficients and unpenalised intercepts already do what a temperature and a class bias do.

Trees are GradientBoostingClassifier's (Friedman 2001), not HistGradientBoostingClassifier's. Measured on 3 classes, 20
features, one interaction, 100 stages of depth 2, means of 5 draws: log-loss on new rows .80 against .88 from 300 rows,
.72 against .74 from 600, .68 against .68 from 1,500 (logistic: .80, .75, .73). It takes .2 to 1 s rather than .05 s,
which is little beside a network; and its trees are public arrays, while the other's lie behind `_predictors`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from orchestrator.common.errors import UserError
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.inference.lesion_shape import FEATURES
from orchestrator.inference.stack import Stack, Trees, stack_features, standardise, with_floor
from orchestrator.scoring.resampling import grouped_error, inner_folds
from trainables.data.manifest import CLASSES

#: Inverse strengths of the L2 penalty that are tried, the strongest first: ties go to the simpler model.
STRENGTHS = tuple(np.logspace(-4, 1, 11).tolist())
#: Where there is too little to cross-validate.
STRENGTH = 0.1
#: Trees are tried from so many rows on, and have at most so many stages (a tree a class each).
ROWS_FOR_TREES = 300
STAGES = 100


def fit_stack(held_out: OutOfFoldPredictions, temperatures: np.ndarray, seed: int = 0) -> tuple[Stack, str]:
    """A stack of all candidates, and what was chosen, in words.

    The penalty is the one of least log-loss in grouped, class-stratified cross-validation. From `ROWS_FOR_TREES` rows
    on, gradient-boosted trees of depth 2 are tried on the same folds, with the number of stages of least loss, and
    taken where their loss is lower by more than one standard error of the paired difference, groups kept together.
    Neither depends on the order of the rows. Rows with an unknown class are left out.

    Args:
        held_out: of cls or multi. Its shape is used where it has one; members that boosting trained are not used.
        temperatures: of each member, candidates first, float [M], > 0.
        seed: of the folds, and of ties between the splits of trees.

    Raises:
        UserError: there are no class predictions, or no row whose class is known.
    """
    if held_out.class_logits is None:
        raise UserError("stacked: these candidates predict no classes; choose a combiner of masks")
    known = np.flatnonzero(held_out.targets >= 0)
    rows = known[np.argsort([held_out.digests[row] for row in known], kind="stable")]
    if not len(rows):
        raise UserError("stacked: no held-out image has a known class; add labels or choose another combiner")
    data = held_out.take(rows)
    assert data.class_logits is not None
    members = tuple(range(data.candidates))
    classes = CLASSES[-data.class_logits.shape[-1] :]
    empty = Stack(
        members=members,
        temperatures=tuple(float(temperatures[m]) for m in members),
        features=(
            *(f"log p({one}) {data.names[m]}" for m in members for one in classes),
            *(FEATURES if data.shape is not None else ()),
        ),
        classes=tuple(classes),
        mean=(),
        scale=(),
        present=(),
        intercepts=(),
    )
    features = stack_features(data.class_logits[list(members)], empty.temperatures, data.shape)
    folds = _splits(data.targets, data.groups, seed)
    if not folds:
        return _logistic(empty, features, data.targets, STRENGTH), f"logistic, C {STRENGTH:g}; too few rows to tune it"
    return _choose(empty, features, data, folds, seed)


def _splits(targets: np.ndarray, groups: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit on and rows to score, int64 both, of up to 5 grouped folds; [] where not even two can be made.

    A class with fewer groups than there are folds is missing in some of them.
    """
    folds = inner_folds(groups, targets, seed)
    numbers = range(folds.max() + 1) if folds.any() else []
    return [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in numbers]


def _choose(
    empty: Stack,
    features: np.ndarray,
    data: OutOfFoldPredictions,
    folds: list[tuple[np.ndarray, np.ndarray]],
    seed: int,
) -> tuple[Stack, str]:
    """The better of logistic regression and trees by cross-validation, fitted on all rows."""
    targets = data.targets
    losses = np.zeros((len(STRENGTHS), len(targets)))
    for fit, score in folds:
        for index, strength in enumerate(STRENGTHS):
            found = _logistic(empty, features[fit], targets[fit], strength).from_features(features[score])
            losses[index, score] = _losses(found, targets[score])
    best = int(losses.mean(1).argmin())
    note = f"logistic, C {STRENGTHS[best]:.2g}, cross-validated log-loss {losses[best].mean():.3f}"
    if len(targets) < ROWS_FOR_TREES:
        return _logistic(empty, features, targets, STRENGTHS[best]), note

    staged = np.zeros((STAGES, len(targets)))
    for fit, score in folds:
        staged[:, score] = _staged_losses(empty, features, targets, fit, score, seed)
    stages = int(staged.mean(1).argmin()) + 1
    difference = losses[best] - staged[stages - 1]
    loss = staged[stages - 1].mean()
    if difference.mean() <= grouped_error(difference, data.groups):
        return _logistic(empty, features, targets, STRENGTHS[best]), f"{note} (trees {loss:.3f})"
    note = f"trees of depth 2, {stages} stages, cross-validated log-loss {loss:.3f}"
    return _boosted_trees(empty, features, targets, stages, seed), f"{note} (logistic {losses[best].mean():.3f})"


def _standardised(empty: Stack, features: np.ndarray, targets: np.ndarray) -> tuple[Stack, np.ndarray, np.ndarray]:
    """The stack with the moments of these rows; their features in SD; their classes as positions among those there."""
    known = np.isfinite(features)
    count = known.sum(0)
    mean = np.where(known, features, 0.0).sum(0) / count.clip(1)
    scale = np.sqrt(np.where(known, np.square(features - mean), 0.0).sum(0) / count.clip(1))
    # A feature that does not vary is 0 whatever its scale; the least noise of rounding must not be blown up.
    scale = np.where(scale > 1e-9 * np.abs(mean).clip(1e-3), scale, 1.0)
    present, positions = np.unique(targets, return_inverse=True)
    stack = replace(empty, mean=tuple(mean.tolist()), scale=tuple(scale.tolist()), present=tuple(present.tolist()))
    return stack, standardise(features, mean, scale), positions


def _logistic(empty: Stack, features: np.ndarray, targets: np.ndarray, strength: float) -> Stack:
    stack, x, y = _standardised(empty, features, targets)
    if len(stack.present) == 1:
        return replace(stack, intercepts=(0.0,))
    model = LogisticRegression(C=strength, tol=1e-6, max_iter=2000).fit(x, y)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(stack.present) == 2:  # one row for the second class; half of it for each says the same and shows both
        coefficients = np.vstack([-coefficients, coefficients]) / 2
        intercepts = np.array([-intercepts[0], intercepts[0]]) / 2
    return replace(
        stack,
        intercepts=tuple(intercepts.tolist()),
        coefficients=tuple(tuple(row) for row in coefficients.tolist()),
    )


def _classifier(stages: int, seed: int) -> GradientBoostingClassifier:
    return GradientBoostingClassifier(
        n_estimators=stages, learning_rate=0.1, max_depth=2, min_samples_leaf=10, random_state=seed
    )


def _staged_losses(
    empty: Stack, features: np.ndarray, targets: np.ndarray, fit: np.ndarray, score: np.ndarray, seed: int
) -> np.ndarray:
    """Log-loss of the scored rows after 1, 2, ... stages, float64 [STAGES, rows]."""
    stack, x, y = _standardised(empty, features[fit], targets[fit])
    new = standardise(features[score], np.asarray(stack.mean), np.asarray(stack.scale))
    if len(stack.present) == 1:
        stages = [np.ones((len(new), 1))] * STAGES
    else:
        stages = list(_classifier(STAGES, seed).fit(x, y).staged_predict_proba(new))
    return np.stack([_losses(with_floor(one, stack.present, len(stack.classes)), targets[score]) for one in stages])


def _boosted_trees(empty: Stack, features: np.ndarray, targets: np.ndarray, stages: int, seed: int) -> Stack:
    stack, x, y = _standardised(empty, features, targets)
    model = _classifier(stages, seed).fit(x, y)
    trees = _stored(model)
    count = len(stack.present)
    raw = model.decision_function(x[:1]).reshape(1, -1)
    scores = np.hstack([np.zeros((1, 1)), raw]) if count == 2 else raw  # two classes: the second against the first
    start = scores - trees.scores(x[:1], count)
    return replace(stack, intercepts=tuple(start[0].tolist()), trees=trees)


def _stored(model: GradientBoostingClassifier) -> Trees:
    """The trees of a fitted model, from its public arrays."""
    parts: dict[str, list[np.ndarray]] = {
        name: [] for name in ("feature", "threshold", "left", "right", "value", "gain")
    }
    roots, outputs, first = [], [], 0
    for stage in model.estimators_:
        for output, one in enumerate(stage):
            tree, nodes = one.tree_, np.arange(one.tree_.node_count)
            leaf = tree.children_left < 0
            left, right = np.where(leaf, nodes, tree.children_left), np.where(leaf, nodes, tree.children_right)
            error = tree.weighted_n_node_samples * tree.impurity
            parts["feature"].append(np.where(leaf, 0, tree.feature))
            parts["threshold"].append(np.where(leaf, 0.0, tree.threshold))
            parts["left"].append(left + first)
            parts["right"].append(right + first)
            parts["value"].append(model.learning_rate * tree.value[:, 0, 0])
            parts["gain"].append(np.where(leaf, 0.0, error - error[left] - error[right]).clip(0))
            roots.append(first)
            outputs.append(output + (len(stage) == 1))
            first += tree.node_count
    arrays = {name: tuple(np.concatenate(values).tolist()) for name, values in parts.items()}
    return Trees(**arrays, roots=tuple(roots), outputs=tuple(outputs), depth=2)


def _losses(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    losses: np.ndarray = -np.log(probabilities[np.arange(len(targets)), targets])
    return losses
