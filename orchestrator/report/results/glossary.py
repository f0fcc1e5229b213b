"""The words of this program that a page uses, explained where it ends."""

from __future__ import annotations

from orchestrator.rendering.document import Table

WORDS = (
    ("group", "images that a split never divides: near-duplicates, or all of one patient"),
    ("fold", "a part of the training groups that is left out of training in its turn; fold 0 is for validation"),
    ("models of folds", "one configuration trained once for each fold left out; in use they are averaged"),
    ("held-out images", "training images, each predicted by the model of the fold that left it out"),
    ("candidate", "a trial of the search whose best epoch the ensemble may use"),
    ("member", "a candidate, or a model trained on what others get wrong, that the ensemble's prediction rests on"),
    ("combiner", "how the members' predictions become one: the best alone, their mean, chosen or fitted weights"),
    ("champion", "the registered model that is used where no version is named"),
    ("net benefit", "malignant images acted on less others acted on, these weighted by the odds of the threshold"),
    ("triage", "ruling malignancy out or in at thresholds that keep either error rare, and leaving the rest uncertain"),
    ("data fingerprint", "a hash of the images, masks, groups and split: figures of one hash may be compared"),
)


def table() -> Table:
    """All of them."""
    return Table("What words mean on this page.", ("word", "meaning"), WORDS, texts=2)
