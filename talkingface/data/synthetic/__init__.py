"""Drawn people who speak, with exact labels."""
