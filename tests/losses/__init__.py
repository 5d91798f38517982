"""Tests of the losses; helpers that read the released code's numbers."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.fixtures import fill

FIXTURES = Path(__file__).parents[1] / "fixtures"


def expected(fixture: str, output: str) -> float:
    """Give a number computed by the released code."""
    values, _ = fill.expected(FIXTURES, fixture, output)
    return float(values[0])


def inp_normal(tag: str, *shape: int, scale: float = 1.0) -> Tensor:
    """Give a fixture's input."""
    return torch.from_numpy(fill.inp_normal(tag, shape, scale=scale))


def close(actual: Tensor | float, wanted: Tensor | float, tolerance: float = 1e-5) -> None:
    """Demand equality to 1e-5, relative above 1."""
    np.testing.assert_allclose(
        float(actual), float(wanted), rtol=0, atol=tolerance * max(1.0, abs(float(wanted)))
    )
