"""The combiners, one entry each, in the order of the table: all that fits, compares or names them reads from here."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.ensemble.combiners.weights import Weighting, best, boosted, greedy, mean


@dataclass(frozen=True)
class Combiner:
    """One combiner.

    Attributes:
        weigh: the candidates' weights, of each head; None for the one that stacks class probabilities.
        reference: whether it is what the others have to beat.
        may_win_optimistic: whether it may win on the rows on which epoch and configuration were chosen.
        adds_trained: whether members that were trained by boosting come in after the candidates; it is tried last.
    """

    name: str
    weigh: Weighting | None
    reference: bool = False
    may_win_optimistic: bool = False
    adds_trained: bool = False

    def not_for(self, task: str, trained: int) -> str:
        """Why it is not tried for seg, cls or multi with so many members trained by boosting; empty if it is."""
        if self.weigh is None and task == "seg":
            return "stacks class probabilities, and this task has none"
        return "no member was trained by boosting" if self.adds_trained and not trained else ""


_ALL = (
    Combiner("best", best, reference=True, may_win_optimistic=True),
    Combiner("mean", mean, reference=True, may_win_optimistic=True),
    Combiner("greedy", greedy),
    Combiner("boosted", boosted, may_win_optimistic=True),
    Combiner("boosted-trained", boosted, adds_trained=True),
    Combiner("stacked", None),
)
#: By name, in the order of the table.
COMBINERS = {combiner.name: combiner for combiner in _ALL}
#: Those that may take the reference's place, in the order in which they try.
FITTED = [one.name for one in sorted(_ALL, key=lambda one: one.adds_trained) if not one.reference]
#: Those that may win on the rows on which epoch and configuration were chosen.
OPTIMISTIC = [one.name for one in _ALL if one.may_win_optimistic]
