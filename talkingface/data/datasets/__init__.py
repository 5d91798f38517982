"""Datasets: layout, licence and citation in each docstring."""
