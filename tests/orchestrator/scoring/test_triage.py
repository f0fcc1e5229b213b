"""Triage: what it promises is kept on made-up cases, as crepes has it; where it cannot promise it is silent."""

import numpy as np
import pytest

from orchestrator.inference.triage import Decision
from orchestrator.scoring.triage import apply, calibrate
from orchestrator.scoring.values import ScoredPredictions


def predictions(chances: np.ndarray, malignant: np.ndarray) -> ScoredPredictions:
    probabilities = np.stack([(1 - chances) / 2, (1 - chances) / 2, chances], 1)
    n = len(chances)
    return ScoredPredictions(probabilities, np.where(malignant, 2, 0), None, np.zeros(n, bool))


def cases(n: int, seed: int, images: int = 1) -> tuple[ScoredPredictions, np.ndarray]:
    """Of n patients a third is malignant; their images are alike."""
    rng = np.random.default_rng(seed)
    malignant = rng.random(n) < 1 / 3
    patient = rng.normal(np.where(malignant, 0.8, -0.8), 1)
    groups = np.repeat(np.arange(n), images)
    logits = patient[groups] + rng.normal(0, 0.3, n * images)
    return predictions(1 / (1 + np.exp(-logits)), malignant[groups]), groups


@pytest.mark.parametrize("images", [1, 3])
def test_errors_are_as_rare_as_promised_on_10000_new_cases(images: int) -> None:
    fresh, _ = cases(10_000, 1)
    rates = []
    for seed in range(40):
        triage = calibrate(*cases(300, 2 + seed, images), rate=0.1)
        assert triage
        applied = apply(triage, fresh)
        assert applied
        assert applied.ruled_out
        assert applied.ruled_in
        rates.append((applied.ruled_out.value, applied.ruled_in.value))
    mean = np.mean(rates, 0)
    assert (mean < 0.105).all(), mean
    assert (mean > 0.07).all(), mean  # nor is more left uncertain than has to be


def test_copies_of_a_patients_images_change_nothing() -> None:
    scored, groups = cases(200, 3)
    rows = np.repeat(np.arange(200), np.random.default_rng(0).integers(1, 6, 200))
    assert calibrate(scored.take(rows), groups[rows], 0.05) == calibrate(scored, groups, 0.05)


def test_few_malignant_groups_rule_nothing_out_and_the_least_that_suffice_do() -> None:
    rng = np.random.default_rng(0)
    for count, can in ((18, False), (19, True)):  # .05 * (19 + 1) = 1
        chances = np.concatenate([rng.uniform(0.5, 1, count), rng.uniform(0, 0.5, 50)])
        malignant = np.arange(len(chances)) < count
        triage = calibrate(predictions(chances, malignant), np.arange(len(chances)), 0.05)
        assert triage
        assert (triage.rule_out_below > 0) == can
        assert triage.rule_out_below in (0, chances[:count].min())


def test_each_decision_and_what_is_said_twice_is_uncertain() -> None:
    triage = calibrate(*cases(300, 4), rate=0.2)
    assert triage
    low, high = sorted((triage.rule_out_below, triage.rule_in_above))
    assert triage.decide(low / 2) == Decision.RULE_OUT
    assert triage.decide((1 + high) / 2) == Decision.RULE_IN
    assert triage.decide((low + high) / 2) == Decision.UNCERTAIN


def test_shares_are_counted_with_exact_intervals() -> None:
    triage = calibrate(*cases(300, 5), rate=0.05)
    assert triage
    chances = np.array([0.0, 1.0, (triage.rule_out_below + triage.rule_in_above) / 2, 0.0])
    applied = apply(triage, predictions(chances, np.array([True, True, False, False])))
    assert applied
    assert applied.ruled_out
    assert applied.ruled_in
    assert (applied.ruled_out.value, applied.ruled_in.value, applied.uncertain.value) == (0.5, 0.0, 0.25)
    assert applied.ruled_in.interval == pytest.approx((0, 1 - 0.025**0.5))  # Clopper and Pearson of 0 of 2
    assert applied.kept


def test_a_shifted_model_is_told() -> None:
    triage = calibrate(*cases(300, 6), rate=0.05)
    scored, _ = cases(2000, 7)
    assert triage
    assert scored.probabilities is not None
    shifted = predictions(scored.probabilities[:, -1] ** 3, scored.targets == 2)
    applied = apply(triage, shifted)
    assert applied
    assert not applied.kept


def test_without_both_kinds_there_is_none() -> None:
    scored = predictions(np.array([0.2, 0.4]), np.array([False, False]))
    assert calibrate(scored, np.arange(2), 0.05) is None


def test_as_crepes_has_it() -> None:
    crepes = pytest.importorskip("crepes", reason="the reference is a tool of developers: pip install crepes")
    scored, groups = cases(300, 8)
    fresh, _ = cases(500, 9)
    triage = calibrate(scored, groups, 0.1)
    assert triage
    assert scored.probabilities is not None
    assert fresh.probabilities is not None
    reference = crepes.ConformalClassifier()
    chance, truth = scored.probabilities[:, -1], (scored.targets == 2).astype(int)
    scores = np.stack([chance, 1 - chance], 1)  # nonconformity of "other" and of "malignant"
    reference.fit(scores[np.arange(300), truth], bins=truth)
    chance = fresh.probabilities[:, -1]
    sets = np.stack(
        [
            reference.predict_p(np.stack([chance, 1 - chance], 1), bins=np.full(500, label), smoothing=False)[:, label]
            for label in (0, 1)
        ],
        1,
    )
    other, malignant = (sets > 0.1).T
    said = np.array([triage.decide(one) for one in chance])
    assert (said == Decision.RULE_OUT).tolist() == (other & ~malignant).tolist()
    assert (said == Decision.RULE_IN).tolist() == (malignant & ~other).tolist()
