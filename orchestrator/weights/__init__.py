"""Pretrained weights of encoders, collected where there is a network for a machine where there is none."""

__all__ = ["collect", "places"]
