"""Of one time budget, what is not the search's: what came before it, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.tuning.ledger import Ledger, TrialRecord

#: At most this share of the budget is kept for what follows, which makes do with the time that there is.
MOST = 0.5
#: Share that is kept while nothing is known of what a trial takes.
UNKNOWN = 1 / 3
#: Seconds of a trial's pictures, and of writing and registering what a search found.
PICTURES, CLOSING = 3.0, 10.0


@dataclass(frozen=True)
class Forecast:
    """What an ensemble will take.

    Attributes:
        candidates: how many it is built from; 0 where none follows.
        seconds: by the epochs of each candidate and the seconds of one, best first, and the slots.
    """

    candidates: int
    seconds: Callable[[Sequence[tuple[int, float]], int], float]


#: Of a search without an ensemble.
NOTHING = Forecast(0, lambda trainings, slots: 0.0)


@dataclass(frozen=True)
class Reserve:
    """Seconds of a time budget that a search leaves; what trials took so far tells how many.

    Attributes:
        ledger: of the search. metric: what its trials are ranked by.
        budget: seconds from the command's start to its last word. before: of these, until the search began.
        slots: trials at a time.
        forecast: of the ensemble. trials: of the search.
        usual: epochs of a usual trial and seconds of one; None where that is not known.
    """

    ledger: Ledger
    metric: str
    budget: float
    before: float
    slots: int
    forecast: Forecast
    trials: int
    usual: tuple[int, float] | None = None

    def __call__(self) -> float:
        """All that is not the search's by now."""
        return self.before + self.after() + self._last_epochs()

    def after(self) -> float:
        """What is kept for what follows the search, were it over now."""
        return min(MOST * self.budget, self._expected())

    def _expected(self) -> float:
        records = list(self.ledger.trials.values())
        closing = CLOSING + PICTURES * sum(bool(record.epoch) for record in records) / self.slots
        if not self.forecast.candidates:
            return closing
        trained = sorted((one for one in records if one.epoch), key=lambda one: -one.result.get(self.metric, 0.0))
        candidates = min(self.forecast.candidates, self.trials)
        costs = [(int(one.result.get("best/epoch", one.epoch)), _epoch(one)) for one in trained[:candidates]]
        usual = self.usual or (costs[-1] if costs else None)
        if usual is None:
            return UNKNOWN * self.budget
        return closing + self.forecast.seconds([*costs, *[usual] * (candidates - len(costs))], self.slots)

    def _last_epochs(self) -> float:
        """Running trials stop after the epoch that they are in."""
        running = (one for one in list(self.ledger.trials.values()) if one.state == "running" and one.epoch)
        return max(map(_epoch, running), default=0.0)


def _epoch(record: TrialRecord) -> float:
    """Seconds of an epoch."""
    return record.result["train_seconds"] / record.epoch
