"""What a person sees: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from orchestrator.common.console import console, format_seconds
from orchestrator.tuning.budget import Budget
from orchestrator.tuning.recent import Recent
from orchestrator.tuning.scheduler import mean_epochs

STATE_STYLE = {"running": "yellow", "completed": "green", "asha": "dim", "failed": "bold red", "diverged": "red"}


@dataclass
class TrialLine:
    """One line of the table; `started` the last time, `seconds` in a slot before that."""

    number: int
    label: str
    epochs: int
    epoch: int = 0
    best: float | None = None
    state: str = "running"
    started: float = 0.0
    seconds: float = 0.0

    def spent(self) -> float:
        """Seconds in a slot."""
        return self.seconds + (time.time() - self.started if self.state == "running" else 0.0)


class SearchProgress:
    """Shows trials as they go. Use as a context manager around the search.

    Args:
        trials: number of trials of the search.
        slots: trials that run side by side.
        metric: name of the primary metric, for the heading.
        budget: the search's budget, for the time left.
        levels: epochs of the rungs at which trials wait.
    """

    def __init__(self, *, trials: int, slots: int, metric: str, budget: Budget, levels: Sequence[int] = ()) -> None:
        self._console, self._trials, self._slots, self._metric, self._budget = console(), trials, slots, metric, budget
        self._levels = levels
        self._rows: dict[str, TrialLine] = {}
        self._left_recently = Recent(self._left, self._rows)
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=2,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> SearchProgress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._console.is_terminal:
            self._live.stop()
            self._console.print(self._table(list(self._rows.values())))

    def started(self, trial_id: str, number: int, label: str, epochs: int) -> None:
        """A trial starts, or goes on after a failure or a rung."""
        row = self._rows.setdefault(trial_id, TrialLine(number, label, epochs, started=time.time()))
        row.seconds, row.started, row.state = row.spent(), time.time(), "running"

    def known(self, trial_id: str, row: TrialLine) -> None:
        """A trial that an earlier launch ended."""
        self._rows[trial_id] = row

    def epoch(self, trial_id: str, epoch: int, best: float) -> None:
        """A trial finished an epoch."""
        self._rows[trial_id].epoch, self._rows[trial_id].best = epoch, best

    def finished(self, trial_id: str, state: str) -> None:
        """A trial ended, or waits; without a terminal this is the line that is printed."""
        if trial_id not in self._rows:
            return  # it was to go on, and did not come to it
        row = self._rows[trial_id]
        row.seconds, row.state = row.spent(), state
        if not self._console.is_terminal:
            best = "  -  " if row.best is None else f"{row.best:.4f}"
            done = sum(row.state != "running" for row in self._rows.values())
            self._console.print(
                f"trial {done}/{self._trials}  {row.label}  epoch {row.epoch}/{row.epochs}  "
                f"best {self._metric} {best}  {state}  {row.seconds:.0f} s  {self._left_recently()}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )

    def _left(self) -> str:
        """A guess, within the budget: what trials take on average; what runs at its own pace, to where it may wait."""
        rows = list(self._rows.values())
        done = sum(row.epoch for row in rows)
        guesses = []
        if done:
            pace = sum(row.spent() for row in rows) / done
            each = mean_epochs(self._levels, sum(row.epochs for row in rows) / len(rows), self._trials)
            running = [
                row.spent() / row.epoch * (self._next_level(row) - row.epoch)
                for row in rows
                if row.state == "running" and row.epoch
            ]
            guesses.append(max(pace * (self._trials * each - done) / self._slots, max(running, default=0.0)))
        if (left := self._budget.left()) is not None:
            guesses.append(max(0.0, left))
        return f"about {format_seconds(min(guesses))} left" if guesses else "time left: known after the first epoch"

    def _next_level(self, row: TrialLine) -> int:
        return min((level for level in self._levels if level > row.epoch), default=row.epochs)

    def _render(self) -> Group:
        rows = list(self._rows.values())
        done = sum(row.state != "running" for row in rows)
        room = max(4, self._console.height - 8)
        best = sorted(rows, key=lambda row: (row.state == "running", row.best or 0.0), reverse=True)[:room]
        hidden = len(rows) - len(best)
        footer = f"{done}/{self._trials} trials done, {self._left()}" + (
            f" ({hidden} more not shown)" if hidden else ""
        )
        return Group(self._table(sorted(best, key=lambda row: row.number)), Text(footer))

    def _table(self, rows: list[TrialLine]) -> Table:
        table = Table(box=None, pad_edge=False)
        for name in ("trial", "architecture", "epoch", f"best {self._metric}", "state"):
            table.add_column(name, justify="right" if name in ("trial", "epoch") else "left")
        top = max((row.best for row in rows if row.best is not None), default=None)
        for row in rows:
            best = "" if row.best is None else f"{row.best:.4f}"
            mark = f"[bold green]{best}[/]" if row.best is not None and row.best == top else best
            state = f"[{STATE_STYLE.get(row.state, 'default')}]{row.state}[/]"
            table.add_row(str(row.number), escape(row.label.split(" ", 1)[1]), f"{row.epoch}/{row.epochs}", mark, state)
        return table
