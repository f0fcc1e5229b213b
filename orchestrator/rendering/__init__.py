"""Self-contained HTML pages: no network, no script, readable on a laptop and in print."""
