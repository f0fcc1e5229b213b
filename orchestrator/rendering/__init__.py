"""Self-contained HTML pages: no network, no script, readable on a laptop and in print."""

__all__ = ["charts", "document", "html", "markdown", "numbers"]
