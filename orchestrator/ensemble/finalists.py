"""The winner and the best single candidate: what both predict with, and the name of that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.ensemble.member import Member, Segmenter
from orchestrator.ensemble.selection import CombinerResult
from orchestrator.inference.combination import Combination
from trainables import checkpoint

if TYPE_CHECKING:
    from orchestrator.ensemble.members import MemberTrainer


@dataclass(frozen=True)
class Finalists:
    """The winner and the best single candidate, which the test images are scored with.

    Attributes:
        winner, single: their rows in the comparison.
        members: all of them; the first `candidates` are candidates.
        segmenter: whose masks give lesion shape; None where the members' own do, or none is needed.
    """

    winner: CombinerResult
    single: CombinerResult
    members: Sequence[Member]
    candidates: int
    segmenter: Segmenter | None

    @property
    def combinations(self) -> tuple[Combination, Combination]:
        """Of the winner, and of the best single candidate."""
        assert self.winner.combination
        assert self.single.combination
        return self.winner.combination, self.single.combination

    def digest(self, team: MemberTrainer) -> str:
        """Names the two by what they predict with, and for which data: a winner is scored once."""
        parts = [list(self._parts(one)) for one in self.combinations]
        size = max(member.size for member in self.members)
        # The data, since what the same networks say of other test images, or beside other labels, is another result.
        identity = [team.data.data_fingerprint, team.tta, size, *parts]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]

    def _parts(self, combination: Combination) -> Iterator[str | list[str]]:
        """Networks, weights and calibration, of what it uses alone.

        Numbers are rounded to what makes no difference, so that the same ensemble, fitted again, has the same name.
        """

        def rounded(values: Sequence[float]) -> list[str]:
            return [f"{value:.3g}" for value in values]

        used = combination.members
        for position in used:
            yield from map(_weights, self.members[position].checkpoints.values())
        for head in (combination.classes, combination.masks):
            if head:
                shares = [head.weights[i] / head.temperatures[i] for i in used]
                yield rounded([*shares, head.temperature, *head.bias, head.threshold])
        if combination.stack:
            yield rounded([value for one in combination.stack.weights().values() for value in one.values()])
            if combination.stack.uses_shape and self.segmenter:
                yield from map(_weights, self.segmenter.member.checkpoints.values())


def _weights(folder: Path) -> str:
    return hashlib.sha256((folder / checkpoint.WEIGHTS).read_bytes()).hexdigest()
