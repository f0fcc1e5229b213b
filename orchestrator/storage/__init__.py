"""Where files lie: a folder or a URI, what is in it, and files that are whole or not there."""

__all__ = ["arrays", "atomic", "mirror", "result", "run_folder", "storage"]
