"""Masks, probabilities and overlays of images, from a model."""
