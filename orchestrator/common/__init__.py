"""What every package may use: errors, the console, logs."""

__all__ = ["console", "errors", "harmless", "logs", "process", "signals", "steps"]
