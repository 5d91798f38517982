"""Talking-face generation: published methods, their losses and their data under one API."""

__version__ = "0.1.0"
