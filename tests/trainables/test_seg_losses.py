from __future__ import annotations

import numpy as np
import pytest
import torch

from search_spaces.seg import LOSSES as SEARCHABLE
from trainables.losses.seg import LOSSES, build_loss

NAMES = tuple(LOSSES)


def _batch(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Two images with a lesion, one without."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 6, 6, generator=generator, dtype=dtype)
    target = (torch.rand(3, 1, 6, 6, generator=generator) > 0.6).to(torch.uint8)
    target[2] = 0
    return logits, target


def _expected(name: str, weight: float, logits: np.ndarray, target: np.ndarray) -> float:
    """The same losses in numpy, from their definitions."""
    p, t = 1 / (1 + np.exp(-logits)), target
    right = np.where(t == 1, p, 1 - p)

    def region(alpha: float, beta: float) -> float:
        by_image = []
        for q, s in zip(p, t, strict=True):
            tp, fp, fn = (q * s).sum(), (q * (1 - s)).sum(), ((1 - q) * s).sum()
            by_image.append(1 - tp / (tp + alpha * fp + beta * fn) if s.any() else q.mean())
        return float(np.mean(by_image))

    def lovasz() -> float:
        """Lovász extension of the Jaccard loss of the set of wrong pixels, at the hinge errors (Berman et al. 2018)."""
        by_image = []
        for q, x, s in zip(p, logits, target, strict=True):
            if not s.any():
                by_image.append(q.mean())
                continue
            s, errors = s.ravel(), np.maximum(0, 1 - x.ravel() * (2 * s.ravel() - 1))
            wrong, before, total = np.zeros(s.size, bool), 0.0, 0.0
            for pixel in np.argsort(-errors, kind="stable"):
                wrong[pixel] = True
                jaccard = wrong.sum() / ((s == 1) | wrong).sum()
                total += errors[pixel] * (jaccard - before)
                before = jaccard
            by_image.append(total)
        return float(np.mean(by_image))

    terms = {
        "lovasz": lovasz(),
        "bce": -np.log(right).mean(),
        "focal": (-((1 - right) ** 2) * np.log(right)).mean(),
        "dice": region(0.5, 0.5),
        "tversky": region(0.3, 0.7),
    }
    if "_" not in name:
        return float(terms[name])
    first, second = name.split("_")
    return float(weight * terms[first] + (1 - weight) * terms[second])


def test_the_search_space_offers_these_losses() -> None:
    assert set(SEARCHABLE) == set(LOSSES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_values_are_those_of_the_definitions(name: str, weight: float) -> None:
    logits, target = _batch(torch.float64)
    expected = _expected(name, weight, logits.numpy(), target.numpy().astype(float))
    assert build_loss(name, weight)(logits, target).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_normals_alone_push_predictions_down(name: str) -> None:
    logits = torch.zeros(2, 1, 8, 8, requires_grad=True)
    build_loss(name)(logits, torch.zeros(2, 1, 8, 8)).backward()
    assert (logits.grad > 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lesion", [0, 1])
@pytest.mark.parametrize("value", [-50.0, 50.0])
def test_extreme_logits_and_empty_masks_stay_finite(name: str, lesion: int, value: float) -> None:
    logits = torch.full((2, 1, 8, 8), value, requires_grad=True)
    target = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    target[0] = lesion
    loss = build_loss(name)(logits, target)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_right(name: str) -> None:
    logits, target = _batch(torch.float64)
    # Lovász is computed in float32, and linear within so small a step.
    steps = {"eps": 1e-3, "atol": 1e-3} if "lovasz" in name else {}
    assert torch.autograd.gradcheck(lambda x: build_loss(name, 0.4)(x, target), logits.requires_grad_(), **steps)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_counts_the_same_in_any_batch(name: str) -> None:
    logits, target = _batch()
    loss = build_loss(name)
    alone = torch.stack([loss(logits[i : i + 1], target[i : i + 1]) for i in range(3)]).mean()
    assert loss(logits, target).item() == pytest.approx(alone.item(), rel=1e-5)


def test_unknown_names_and_weights_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'hinge'.*tversky_focal"):
        build_loss("hinge")
    with pytest.raises(ValueError, match=r"1\.5.*0 to 1"):
        build_loss("dice_bce", 1.5)
