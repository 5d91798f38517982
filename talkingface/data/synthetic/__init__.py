"""Procedural talking heads with exact labels."""
