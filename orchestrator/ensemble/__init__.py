"""The selector and the boosted ensemble: from the best checkpoints to one model that is registered."""

__all__ = ["candidates", "plan", "promotion", "result", "run"]
