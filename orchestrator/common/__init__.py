"""What every package may use: errors, the console, logs."""
