"""Hosts and devices: what is there, whether it fits together, and how it is shared out."""

__all__ = ["cards", "compatibility", "deaths", "gpu_packing", "nodes", "resources", "session", "workers"]
