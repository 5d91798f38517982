"""What is measured, how a number per clip becomes one for a set of clips, and how sure it is."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

Better = Literal["higher", "lower", "zero", "neither"]
"""Which values are good."""


def mean(values: Tensor) -> Tensor:
    """Mean over clips.

    Shape:
        - ``values``: (..., N, 1), one value per clip; output: (...).

    Example:
        >>> mean(torch.tensor([[1.0], [3.0]]))
        tensor(2.)
    """
    return values[..., 0].mean(-1)


def pooled_correlation(values: Tensor) -> Tensor:
    r"""Pearson correlation within clips, pooled over clips.

    .. math:: r = \frac{\sum_n S^{xy}_n}{\sqrt{\sum_n S^{xx}_n \sum_n S^{yy}_n}}

    :math:`S_n` are sums over the frames of clip n of products of deviations from the clip's own
    means: clips that differ in their means do not correlate by that alone. Where a side does not
    move but for rounding, there is no correlation: NaN.

    Shape:
        - ``values``: (..., N, 5), per clip :math:`S^{xx}, S^{yy}, S^{xy}`, then the sums of
          squares of x and y as they are; output: (...).

    Example:
        >>> clips = torch.tensor([[4.0, 1.0, 2.0, 9.0, 9.0], [0.0, 0.0, 0.0, 9.0, 9.0]])
        >>> pooled_correlation(clips), pooled_correlation(clips[1:])
        (tensor(1.), tensor(nan))
    """
    xx, yy, xy, raw_x, raw_y = values.double().sum(-2).unbind(-1)
    moves = (xx > 1e-9 * raw_x) & (yy > 1e-9 * raw_y)
    return torch.where(moves, xy / (xx * yy).sqrt(), torch.nan).float()


def within(k: int) -> Callable[[Tensor], Tensor]:
    """Recall at k: how many percent of the ranks (from 1) are at most ``k``.

    Example:
        >>> within(1)(torch.tensor([[1.0], [3.0]]))
        tensor(50.)
    """
    return lambda values: 100 * (values[..., 0] <= k).float().mean(-1)


def median(values: Tensor) -> Tensor:
    """Median over clips; between two clips, their mean.

    Example:
        >>> median(torch.tensor([[1.0], [3.0]]))
        tensor(2.)
    """
    return values[..., 0].quantile(0.5, dim=-1)


@dataclass(frozen=True)
class Measure:
    """A number that compares methods.

    Args:
        metric: Its name, with the network that measures it.
        profile: Which of several definitions.
        region: ``"frame"``, ``"face"``; empty where the metric itself decides.
        better: See :data:`Better`.
        label: Name for people.
        group: Heading under which a report shows it.
        unit: Of the value.
        digits: Decimals that a report shows.
        cap: Value that stands for infinity, which a plot leaves out of its scale.
        whole: Whether it is of the whole set, so that single clips have no value of their own.
        reduce: From the clips' numbers (..., N, k) to one value (...).
    """

    metric: str
    profile: str = ""
    region: str = ""
    better: Better = "neither"
    label: str = field(default="", compare=False)
    group: str = field(default="", compare=False)
    unit: str = field(default="", compare=False)
    digits: int = field(default=3, compare=False)
    cap: float = field(default=math.inf, compare=False)
    whole: bool = field(default=False, compare=False)
    reduce: Callable[[Tensor], Tensor] = field(default=mean, compare=False)

    @property
    def network(self) -> str:
        """The network that reads the frames, where there is one.

        Example:
            >>> Measure("lse_c[syncnet_v2]").network
            'syncnet_v2'
        """
        found = re.search(r"\[(.+)\]", self.metric)
        return found[1] if found else ""

    def of(self, values: Tensor) -> float:
        """The value of one or more clips, (N, k)."""
        return float(self.reduce(values))


def bootstrap(
    values: Tensor,
    reduce: Callable[[Tensor], Tensor] = mean,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Confidence interval of a set's value: clips are drawn with replacement, again and again.

    Args:
        values: What was measured on each clip.
        reduce: From the clips to one value; see :class:`Measure`.
        resamples: How often.
        seed: Of the draws: the same values have the same interval.
        level: Share of the resampled values that the interval holds.

    Shape:
        - ``values``: (N, k).

    Returns:
        Its ends; NaN for a single clip, which says nothing about others.

    Example:
        >>> bootstrap(torch.tensor([[1.0], [1.0], [1.0]]))
        (1.0, 1.0)
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    draw = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(values), (resamples, len(values)), generator=draw)
    results = reduce(values[chosen]).double()
    results = results[~results.isnan()]
    if not len(results):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = results.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high
