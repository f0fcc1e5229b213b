"""Masks, probabilities and overlays of images, from a model."""

__all__ = ["load"]
