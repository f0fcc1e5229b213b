"""Known failure modes: those that happened, and no others."""

from __future__ import annotations

from orchestrator.report.failure_modes import failure_modes
from tests.support.subjects import mask, subject, sure, with_columns

N = 120
LABELS = [i % 3 for i in range(N)]
TRUE = [mask(0 if label == 0 else 10) for label in LABELS]


def _claims(one: object) -> list[str]:
    return [mode.claim for mode in failure_modes(one)]  # type: ignore[arg-type]


def test_what_never_happened_is_no_failure() -> None:
    assert _claims(subject("multi", LABELS, probabilities=sure(LABELS), true=TRUE, predicted=TRUE)) == []
    alarm = [mask(10 if i % 3 or i == 0 else 0) for i in range(N)]
    claims = _claims(subject("multi", LABELS, probabilities=sure([1, *LABELS[1:]]), true=TRUE, predicted=alarm))
    assert claims == ["multi: of 40 normal images, 1 are given a lesion."]


def test_a_machine_on_which_all_is_wrong_is_a_failure_and_a_blank_is_no_machine() -> None:
    machine = ["A"] * 60 + ["B"] * 30 + [""] * 30
    likeliest = [(label + (i % 9 == 0 if i < 60 else 1)) % 3 for i, label in enumerate(LABELS)]
    images = with_columns(N, {"machine": machine})
    modes = failure_modes(subject("cls", LABELS, probabilities=sure(likeliest), images=images))
    (mode,) = [mode for mode in modes if "machine" in mode.claim]
    assert mode.evidence.startswith("B: accuracy \u22120.883 (")
    assert "not given" not in mode.evidence
