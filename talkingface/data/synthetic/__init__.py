"""Talking-face generation: drawn people who speak, with exact labels."""
