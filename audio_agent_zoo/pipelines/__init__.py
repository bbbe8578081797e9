"""Inference: weights and a request in, sound out."""
