"""Hosts and devices: what is there, whether it fits together, and how it is shared out."""
