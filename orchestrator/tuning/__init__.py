"""A search: from a plan to trials on every device, through a ledger that survives the process."""

__all__ = ["launch", "ledger", "moved", "notification", "rehearsal", "reserve", "resume", "summary"]
