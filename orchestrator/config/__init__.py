"""Settings of the commands, and a command line made from them."""

__all__ = ["cli", "command", "data", "ensemble", "loading", "plugins", "search", "types"]
