"""Convolutional blocks of Wav2Lip, and its audio encoder.

Prajwal et al., "A Lip Sync Expert Is All You Need for Speech to Lip Generation In The Wild" (ACM MM
2020).
"""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

# Blocks as (channels / width, kernel, stride, padding, residual).
_AUDIO = [
    (1, 3, 1, 1, False),
    *[(1, 3, 1, 1, True)] * 2,
    (2, 3, (3, 1), 1, False),
    *[(2, 3, 1, 1, True)] * 2,
    (4, 3, 3, 1, False),
    *[(4, 3, 1, 1, True)] * 2,
    (8, 3, (3, 2), 1, False),
    (8, 3, 1, 1, True),
    (16, 3, 1, 0, False),
    (16, 1, 1, 0, False),
]


class ConvBlock(nn.Module):
    """Convolution, batch norm, plus the input where residual, ReLU.

    Shape:
        - input: (B, before, H, W); output: (B, after, H', W'), 0 or more.

    Example:
        >>> import torch
        >>> ConvBlock(4, 8, 3, 2, 1, residual=False)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 8, 4, 4])
    """

    def __init__(
        self, before: int, after: int, kernel: int, stride: Any, padding: int, residual: bool
    ) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.Conv2d(before, after, kernel, stride, padding), nn.BatchNorm2d(after)
        )
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y = self.conv_block(x)
        return F.relu(y + x if self.residual else y)


def conv_encoder(channels: int, width: int, blocks: Sequence[tuple[Any, ...]]) -> nn.Sequential:
    """Stack blocks given as (channels / width, kernel, stride, padding, residual).

    Example:
        >>> len(conv_encoder(1, 4, [(1, 3, 1, 1, False), (1, 3, 1, 1, True)]))
        2
    """
    encoder = nn.Sequential()
    for factor, *rest in blocks:
        encoder.append(ConvBlock(channels, factor * width, *rest))
        channels = factor * width
    return encoder


class Wav2LipAudioEncoder(nn.Module):
    """Encode 0.2 s of sound, as Wav2Lip's generator does.

    The layers are the sync expert's but for one block less at the fourth width. The tensors have
    the names of the released weights (``audio_encoder.*`` in ``wav2lip.pth``).

    Args:
        width: Channels of the first blocks; the codes have 16 times as many entries. The released
            weights have 32 (2.8 million parameters).

    Shape:
        - mel: (N, 1, 80, 16), see
          :class:`~talkingface.models.components.audio_frontends.Wav2LipMel`
        - output: (N, 16 * width), 0 or more

    Example:
        >>> import torch
        >>> Wav2LipAudioEncoder(width=2)(torch.zeros(3, 1, 80, 16)).shape
        torch.Size([3, 32])
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.audio_encoder = conv_encoder(1, width, _AUDIO)
        self.dim = 16 * width

    def forward(self, mel: Tensor) -> Tensor:
        """Encode windows of sound."""
        return self.audio_encoder(mel).flatten(1)
