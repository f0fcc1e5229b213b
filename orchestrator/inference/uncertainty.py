"""How unsure an ensemble is of an image, 0 (sure) to 1: its networks' disagreement; one network's entropy."""

from __future__ import annotations

import numpy as np
from scipy.special import entr

#: Pixels whose probability of lesion is between this and its complement count as undecided.
UNDECIDED = 0.05


def class_uncertainty(networks: np.ndarray, combined: np.ndarray) -> float:
    """Mutual information between class and network: entropy of the mean probability minus the mean entropy.

    Houlsby et al., arXiv:1112.5745; for ensembles Lakshminarayanan et al., NeurIPS 2017, arXiv:1612.01474. In units of
    log K, the most that it can be.

    Args:
        networks: probabilities of each of T networks, float64 [T,K].
        combined: of the ensemble, float64 [K]; with a single network the result is its entropy, in units of log K.
    """
    if len(networks) < 2:
        return _unit(entr(combined).sum() / np.log(len(combined)))
    mutual = entr(networks.mean(0)).sum() - entr(networks).sum(1).mean()
    return _unit(mutual / np.log(networks.shape[1]))


def mask_uncertainty(networks: np.ndarray, combined: np.ndarray, probability: np.ndarray) -> float:
    """One minus the mean Dice of each network's own mask with the ensemble's.

    As in Roy et al., NeuroImage 195 (2019) 11-22, arXiv:1811.09800 (there between pairs of samples). Two empty masks
    agree (Dice 1).

    Args:
        networks: bool [T,h,w].
        combined: bool [h,w].
        probability: of lesion, float [h,w]. With a single network the result is its mean binary entropy, in bits, over
            the pixels that are lesion or undecided (probability .05 to .95); 0 where there is none.
    """
    if len(networks) < 2:
        looked_at = combined | ((probability > UNDECIDED) & (probability < 1 - UNDECIDED))
        p = probability[looked_at].astype(np.float64)
        return _unit((entr(p) + entr(1 - p)).mean() / np.log(2)) if len(p) else 0.0
    both = (networks & combined).sum((1, 2))
    either = networks.sum((1, 2)) + combined.sum()
    return _unit(1 - np.where(either > 0, 2 * both / np.maximum(either, 1), 1.0).mean())


def _unit(value: float) -> float:
    """Without what rounding puts below 0 or above 1."""
    return float(min(max(value, 0.0), 1.0))
