"""Identity loss: the person in a generated frame is the person in the target."""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def identity_loss(fake: Tensor, real: Tensor) -> Tensor:
    r"""Compare people by the vectors of a face recognition network (FC-TFG, eq. 5).

    .. math:: \mathcal{L}_{id} = 1 - \cos(E_{id}(x_g), E_{id}(x_d))

    Args:
        fake: Vectors of generated frames (..., D), of any length.
        real: Vectors of the target frames, the same shape; they are detached.

    Returns:
        Scalar in [0, 2], the mean.

    Raises:
        ValueError: If the shapes differ.

    References:
        Jang et al., "That's What I Said: Fully-Controllable Talking Face Generation", ACM MM 2023,
        eq. 5, https://arxiv.org/abs/2304.03275; the same in pSp, section 3.2,
        https://arxiv.org/abs/2008.00951

    Examples:
        >>> identity_loss(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]]))
        tensor(0.4000)
    """
    if fake.shape != real.shape:
        raise ValueError(
            f"vectors must have one shape, got {tuple(fake.shape)} and {tuple(real.shape)}"
        )
    with torch.autocast(fake.device.type, enabled=False):
        return 1 - F.cosine_similarity(fake.float(), real.detach().float(), dim=-1).mean()


class IdentityLoss(nn.Module):
    """:func:`identity_loss` of frames, by a network that stays frozen and in evaluation mode.

    Args:
        network: Maps frames (N, 3, H, W) in [-1, 1] to vectors (N, D).

    Shape:
        - fake, real: (N, 3, H, W); ``fake`` is clipped to [-1, 1], ``real`` lies there
        - output: scalar

    Examples:
        >>> loss = IdentityLoss(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        >>> red = torch.tensor([1.0, 0.0, 0.0])[None, :, None, None].expand(1, 3, 8, 8)
        >>> loss(red, red), loss(red.flip(1), red)  # blue for red
        (tensor(0.), tensor(1.))
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.requires_grad_(False).eval()

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Compare frames."""
        with torch.no_grad():
            vectors = self.network(real)
        return identity_loss(self.network(fake.clamp(-1, 1)), vectors)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: batch statistics would mix people."""
        return super().train(False)
