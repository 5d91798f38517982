"""Squared differences of codes, in units in which they vary alike in all directions."""

import torch
from torch import Tensor, nn


class Whitening(nn.Module):
    r"""Mean of :math:`e^T \Sigma^{-1} e / D` for errors e of codes with a running covariance.

    Args:
        layers: Codes, each with a covariance of its own.
        dim: Their length D.
        momentum: Weight m of a batch in the covariance, once there were :math:`1 / m` of them.
        floor: What is added to the variance of each direction, as a share of the mean of all.

    Each batch of codes is to be counted once, by :meth:`update`, however many errors are measured
    in its units.

    Shape:
        - error, and codes of `update`: (N, layers, dim); output: scalar.

    Example:
        >>> codes = torch.tensor([[[2.0, 0.0]], [[-2.0, 0.0]], [[0.0, 1.0]], [[0.0, -1.0]]])
        >>> whitening = Whitening(1, 2, floor=0.0)
        >>> whitening.update(codes)  # variances 2 and 0.5
        >>> round(float(whitening(torch.tensor([[[2.0, 1.0]]]))), 3)
        2.0
    """

    mean: Tensor
    square: Tensor
    batches: Tensor

    def __init__(self, layers: int, dim: int, momentum: float = 0.01, floor: float = 0.02) -> None:
        super().__init__()
        self.momentum, self.floor = momentum, floor
        self.register_buffer("mean", torch.zeros(layers, dim))
        self.register_buffer("square", torch.zeros(layers, dim, dim))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update(self, codes: Tensor) -> None:
        """Count a batch of codes in."""
        codes = codes.float()
        self.batches += 1
        weight = max(self.momentum, 1 / int(self.batches))
        self.mean.lerp_(codes.mean(0), weight)
        with torch.autocast(codes.device.type, enabled=False):
            square = torch.einsum("nli,nlj->lij", codes, codes) / len(codes)
        self.square.lerp_(square, weight)

    def forward(self, error: Tensor) -> Tensor:
        """Give the mean of the errors, in units in which codes vary alike in all directions."""
        # In float32 whatever the precision of the rest: directions vary by factors of hundreds.
        with torch.autocast(error.device.type, enabled=False):
            covariance = self.square - self.mean[:, :, None] * self.mean[:, None]
            variances, directions = torch.linalg.eigh(covariance)
            least = self.floor * variances.mean(1, keepdim=True) + 1e-6
            along = torch.einsum("lij,nli->nlj", directions, error.float())
            return (along.square() / (variances.clamp(min=0) + least)).mean()
