"""What holds for every metric."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torchmetrics import Metric

from talkingface import metrics
from talkingface.metrics._base import Described
from tests.metrics.two_processes import CLIPS, JOBS, measure

CLASSES = [
    item
    for item in vars(metrics).values()
    if isinstance(item, type) and issubclass(item, Described)
]


@pytest.fixture(scope="module")
def one() -> dict[str, Any]:
    return measure(range(CLIPS))


@pytest.mark.ddp
def test_two_processes_give_what_one_gives(one: dict[str, Any], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.metrics.two_processes", str(tmp_path)]
    root = Path(__file__).parents[2]
    ranks = [
        subprocess.Popen([*command, str(rank)], cwd=root, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], errors
    for rank in range(2):
        two = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name in JOBS:
            torch.testing.assert_close(two[name], one[name], rtol=1e-5, atol=1e-6, msg=name)


def test_jobs_cover_every_metric() -> None:
    assert {type(make()) for make, _ in JOBS.values()} == set(CLASSES)


@pytest.mark.parametrize("name", JOBS)
def test_results_are_described(name: str, one: dict[str, Any]) -> None:
    metric = JOBS[name][0]()
    assert isinstance(metric, Metric)
    assert metric.name and metric.profile in (metric.profiles or ("",))
    results = one[name] if isinstance(one[name], dict) else {metric.values[0].key: one[name]}
    assert list(results) == [value.key for value in metric.values]
    for value in metric.values:
        number = float(results[value.key])
        assert value.low <= number <= value.high, value
    directions = {value.better for value in metric.values}
    if metric.higher_is_better is not None:
        assert ("higher" if metric.higher_is_better else "lower") in directions


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_docstrings_say_what_is_needed(kind: type) -> None:
    text = kind.__doc__ or ""
    assert "Shape:" in text and "Raises:" in text and ">>> " in text
    assert "better" in text or "sharper" in text


def test_every_module_has_its_section() -> None:
    root = Path(__file__).parents[2]
    modules = {path.stem for path in (root / "talkingface/metrics").glob("[a-z]*.py")}
    page = (root / "docs/metrics.md").read_text()
    assert set(re.findall(r"automodule:: talkingface\.metrics\.(\w+)", page)) == modules


def test_reset_forgets(one: dict[str, Any]) -> None:
    metric: Any = JOBS["fid"][0]()
    make_clip = JOBS["fid"][1]
    metric.update(*make_clip(7))
    metric.reset()
    for index in range(CLIPS):
        metric.update(*make_clip(index))
    torch.testing.assert_close(metric.compute(), one["fid"])
