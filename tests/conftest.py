"""Fixtures that every test may use."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # many small computations; the cores are shared out between workers

SHARED_DATA = Path(__file__).parents[1] / "../shared/data"


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start every test from the same state of all random generators."""
    # not Lightning's seed_everything, which also leaves its seed in the environment
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real clips that lies beside the repository; tests skip without it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real clips are not here: ../shared/data is absent")
    return SHARED_DATA.resolve()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a CUDA device where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
