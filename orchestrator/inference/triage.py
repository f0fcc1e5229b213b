"""Triage as it ships: two thresholds of the malignant probability, and what they say of an image."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, Field


class Decision(StrEnum):
    """What triage says of an image."""

    RULE_OUT = "rule out"
    RULE_IN = "rule in"
    UNCERTAIN = "uncertain"


class Triage(BaseModel, frozen=True):
    """Thresholds of class-conditional conformal prediction; `orchestrator.scoring.triage` calibrates them.

    Attributes:
        rate: promised at most, of malignant images that are ruled out and of others that are ruled in.
        rule_out_below: what is below is ruled out; 0, and so nothing is, where malignant groups are too few.
        rule_in_above: what is above is ruled in; 1, and so nothing is, where other groups are too few.
        malignant_groups, other_groups: that it was calibrated on.
    """

    rate: float = Field(gt=0, lt=0.5)
    rule_out_below: float = Field(ge=0, le=1)
    rule_in_above: float = Field(ge=0, le=1)
    malignant_groups: int = Field(ge=0)
    other_groups: int = Field(ge=0)

    def decide(self, chance: float) -> Decision:
        """What it says of a malignant probability; uncertain is also what neither kind explains, or both would be."""
        out, into = chance < self.rule_out_below, chance > self.rule_in_above
        if out == into:
            return Decision.UNCERTAIN
        return Decision.RULE_OUT if out else Decision.RULE_IN
