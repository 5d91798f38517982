"""Talking-face generation: data."""
