"""Uncertainty of constructed predictions."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.inference.uncertainty import class_uncertainty, mask_uncertainty


def test_networks_that_are_sure_of_different_classes_are_as_unsure_as_can_be() -> None:
    assert class_uncertainty(np.eye(3), np.full(3, 1 / 3)) == pytest.approx(1)


def test_networks_that_agree_on_not_knowing_do_not_disagree() -> None:
    assert class_uncertainty(np.full((4, 3), 1 / 3), np.full(3, 1 / 3)) == 0


def test_two_networks_by_hand() -> None:
    networks = np.array([[0.9, 0.1], [0.5, 0.5]])

    def entropy(*p: float) -> float:
        return -sum(x * np.log2(x) for x in p)

    expected = entropy(0.7, 0.3) - (entropy(0.9, 0.1) + entropy(0.5, 0.5)) / 2
    assert class_uncertainty(networks, np.array([0.7, 0.3])) == pytest.approx(expected)


def test_a_single_network_has_the_entropy_of_what_the_ensemble_says() -> None:
    other = np.array([[0.98, 0.01, 0.01]])
    assert class_uncertainty(other, np.full(3, 1 / 3)) == pytest.approx(1)
    assert class_uncertainty(other, np.array([1.0, 0.0, 0.0])) == 0


def _mask(*pixels: int) -> np.ndarray:
    return np.isin(np.arange(8), pixels).reshape(2, 4)


def test_masks_disagree_by_one_minus_dice() -> None:
    networks = np.stack([_mask(0, 1), _mask(1, 2), _mask()])
    # Dice with {0, 1}: 1, 1/2, 0.
    assert mask_uncertainty(networks, _mask(0, 1), np.zeros((2, 4))) == pytest.approx(1 - 0.5)


def test_empty_masks_agree() -> None:
    empty = np.stack([_mask(), _mask()])
    assert mask_uncertainty(empty, _mask(), np.full((2, 4), 0.5)) == 0


def test_a_single_network_is_unsure_by_its_pixels() -> None:
    sure = np.full((2, 4), 0.01)
    mask = _mask(0)
    assert mask_uncertainty(mask[None], _mask(), sure) == 0, "nothing is lesion and nothing undecided"
    half = np.where(mask, 0.5, sure)
    assert mask_uncertainty(mask[None], mask, half) == pytest.approx(1), "background that is sure does not count"
    assert mask_uncertainty(mask[None], mask, np.where(mask, 0.999, sure)) < 0.02
