"""What every package may use: errors, the console, logs."""

__all__ = ["console", "errors", "harmless", "logs", "signals", "steps"]
