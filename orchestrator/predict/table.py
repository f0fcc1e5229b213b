"""The table of predictions: what was found in each image, and by what."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from orchestrator.common.harmless import cell
from orchestrator.inference.prediction import COLUMNS, TRIAGE, Row
from orchestrator.inference.triage import Decision

#: What the last line says of triage.
TRIAGED = {Decision.RULE_OUT: "ruled out", Decision.RULE_IN: "ruled in", Decision.UNCERTAIN: "uncertain"}


class Source(NamedTuple):
    """What predicted: a model's address, its version where a registry knows it, and the threshold of its score."""

    model: str
    version: str
    threshold: float | None


def write_table(file: Path, rows: Sequence[Row], source: Source) -> None:
    """Rows as CSV: text is quoted and no formula, numbers are as they are, what is unknown is empty."""
    # A file's name need not be UTF-8; a table that is none cannot be read by others.
    with file.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        table = csv.DictWriter(stream, ["file", *COLUMNS, "mask", *Source._fields], quoting=csv.QUOTE_NONNUMERIC)
        table.writeheader()
        for row in rows:
            whole = row | source._asdict()
            table.writerow({name: cell(value) if isinstance(value, str) else value for name, value in whole.items()})


def summary(rows: Sequence[Row], source: Source) -> str:
    """`43 predicted, 12 above the threshold, 3 without a lesion`, as far as the model tells; then what it failed on."""
    known = [row for row in rows if row["uncertainty"] is not None]
    parts = [f"{len(known):,} predicted"]
    if source.threshold is not None:
        parts.append(f"{sum(row['above_threshold'] == 1 for row in known):,} above the threshold")
    if any(row[TRIAGE] for row in known):
        said = Counter(row[TRIAGE] for row in known)
        parts += [f"{said[name]:,} {words}" for name, words in TRIAGED.items()]
    if any(row["lesion_area"] is not None for row in known):
        parts.append(f"{sum(row['lesion_area'] == 0 for row in known):,} without a lesion")
    if len(known) < len(rows):
        parts.append(f"{len(rows) - len(known):,} without a result")
    return ", ".join(parts)
