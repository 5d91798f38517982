"""Finding the other half of a pair by its features."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from talkingface.metrics._base import Described, Value

ROWS = 512
"""Rows of the distance matrix that are computed at a time."""


def own_ranks(queries: Tensor, candidates: Tensor, distance: str = "l2") -> Tensor:
    """Rank of each query's own candidate among all, 1 for the nearest.

    Ties count against: were they broken by luck, features that are all alike would look perfect.
    So do numbers that are none.

    Args:
        queries: Features of shape (N, D).
        candidates: Features of the same shape; row i belongs to query i.
        distance: `l2` or `cosine`.

    Returns:
        (N,) in 1..N.

    Examples:
        >>> own_ranks(torch.eye(3), torch.eye(3)), own_ranks(torch.ones(3, 2), torch.ones(3, 2))
        (tensor([1, 1, 1]), tensor([3, 3, 3]))
    """
    queries, candidates = queries.double(), candidates.double()
    if distance == "cosine":  # the same order as the distance of unit vectors
        queries, candidates = F.normalize(queries, dim=1), F.normalize(candidates, dim=1)
    lengths = candidates.square().sum(1)
    ranks = []
    for start in range(0, len(queries), ROWS):
        rows = queries[start : start + ROWS]
        own = torch.arange(start, start + len(rows), device=rows.device)
        # Squared distances without the query's own length, the same for all its candidates.
        scores = lengths - 2 * rows @ candidates.T
        least = scores.gather(1, own[:, None])
        rounding = 1e-10 * (lengths.max() + rows.square().sum(1, keepdim=True))
        ranks.append(len(candidates) - (scores > least + rounding).sum(1))
    return torch.cat(ranks)


class Retrieval(Described, Metric):
    r"""Cross-modal retrieval: R@k, median and mean rank over all pairs.

    .. math:: \mathrm{R@}k = \frac{100}{N} \sum_i [\mathrm{rank}_i \le k]

    Query i is compared with the candidates of **all** pairs of all updates and processes; its rank
    is the place of its own. Swap the arguments for the other direction. DAVS ranks the test set of
    LRW (N = 25000) by the L2 distance of word features, from video to audio and back; with the
    frames of a video replicated as queries, what is left is due to appearance.

    Args:
        ks: Which R@k to give.
        distance: `l2` or `cosine`.

    Shape:
        - queries, candidates: (B, D), row i of both from the same clip
        - output: dictionary with `r@k` (percent, higher is better; chance is 100 k / N),
          `median_rank` and `mean_rank` (from 1, lower is better; chance is about N / 2)

    Raises:
        ValueError: If an argument is unknown, shapes are wrong or differ, features are not finite,
            or there are fewer pairs than the largest k.

    References:
        Zhou et al., "Talking Face Generation by Adversarially Disentangled Audio-Visual
        Representation", AAAI 2019, Tables 3 and 4, https://arxiv.org/abs/1807.07860; Faghri et
        al., "VSE++", BMVC 2018, https://arxiv.org/abs/1707.05612

    Examples:
        >>> metric = Retrieval(ks=(1, 2))
        >>> audio = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> metric.update(torch.tensor([[0.1], [1.1], [2.6], [2.9]]), audio)
        >>> {key: float(value) for key, value in metric.compute().items()}
        {'r@1': 75.0, 'r@2': 100.0, 'median_rank': 1.0, 'mean_rank': 1.25}
    """

    name = "retrieval"
    values: tuple[Value, ...] = (
        Value("r@1", 0, 100, "higher"),
        Value("r@10", 0, 100, "higher"),
        Value("median_rank", 1, float("inf"), "lower"),
        Value("mean_rank", 1, float("inf"), "lower"),
    )
    full_state_update = False
    is_differentiable = False
    queries: list[Tensor]
    candidates: list[Tensor]

    def __init__(
        self, ks: Sequence[int] = (1, 10), distance: Literal["l2", "cosine"] = "l2"
    ) -> None:
        super().__init__()
        if not ks or min(ks) < 1:
            raise ValueError(f"ks must be 1 or more, got {tuple(ks)}")
        if distance not in ("l2", "cosine"):
            raise ValueError(f"distance is 'l2' or 'cosine', got {distance!r}")
        self.ks = tuple(ks)
        self.distance = distance
        self.name = f"retrieval[{distance}]"
        recalls = (Value(f"r@{k}", 0, 100, "higher") for k in self.ks)
        self.values = (*recalls, *type(self).values[-2:])
        self.add_state("queries", [], dist_reduce_fx="cat")
        self.add_state("candidates", [], dist_reduce_fx="cat")

    def update(self, queries: Tensor, candidates: Tensor) -> None:
        """Take in pairs of features."""
        if queries.dim() != 2 or queries.shape != candidates.shape:
            raise ValueError(
                f"queries and candidates must be pairs of (B, D), got {tuple(queries.shape)} and "
                f"{tuple(candidates.shape)}"
            )
        if not (queries.isfinite().all() and candidates.isfinite().all()):
            raise ValueError("features of retrieval must be finite, got NaN or infinity")
        self.queries.append(queries.float())
        self.candidates.append(candidates.float())

    def compute(self) -> dict[str, Tensor]:
        """Rank all pairs."""
        if not len(self.queries):
            raise ValueError("retrieval: no pairs; call update first")
        ranks = own_ranks(
            dim_zero_cat(self.queries), dim_zero_cat(self.candidates), self.distance
        ).float()
        if len(ranks) < max(self.ks):
            raise ValueError(f"R@{max(self.ks)} of {len(ranks)} pairs says nothing: lower ks")
        recalls = {f"r@{k}": 100 * (ranks <= k).float().mean() for k in self.ks}
        return recalls | {"median_rank": ranks.quantile(0.5), "mean_rank": ranks.mean()}
