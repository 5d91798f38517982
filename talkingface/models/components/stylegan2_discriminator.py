"""The residual discriminator of StyleGAN2.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020),
https://arxiv.org/abs/1912.04958
"""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from talkingface.models.components.stylegan2 import (
    ActivatedLinear,
    Blur,
    EqualLinear,
    level_channels,
)


class EqualConv2d(nn.Module):
    """Convolution with equalised learning rate, y = conv(x, W / sqrt(in k k)).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel.
        stride: Of the convolution.
        padding: Zeros on each side.
        activate: Add a bias and apply sqrt(2) leaky_relu(y, 0.2).

    Shape:
        - input: (B, in_channels, H, W); output: (B, out_channels, H', W').

    Example:
        >>> EqualConv2d(3, 8, 3, padding=1)(torch.zeros(2, 3, 5, 5)).shape
        torch.Size([2, 8, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        activate: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if activate else None
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        y = F.conv2d(x, self.weight * self.scale, self.bias, self.stride, self.padding)
        return y if self.bias is None else F.leaky_relu(y, 0.2) * math.sqrt(2)


class ResidualBlock(nn.Module):
    """Two convolutions, of which the second halves the size, beside a blurred 1x1 convolution.

    Shape:
        - input: (B, in_channels, H, W); output: (B, out_channels, H / 2, W / 2).

    Example:
        >>> ResidualBlock(4, 8)(torch.zeros(2, 4, 16, 16)).shape
        torch.Size([2, 8, 8, 8])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = EqualConv2d(in_channels, in_channels, 3, padding=1)
        self.blur = Blur(padding=2)
        self.conv2 = EqualConv2d(in_channels, out_channels, 3, stride=2)
        self.skip_blur = Blur(padding=1)
        self.skip = EqualConv2d(in_channels, out_channels, 1, stride=2, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y = self.conv2(self.blur(self.conv1(x)))
        return (y + self.skip(self.skip_blur(x))) / math.sqrt(2)


class StyleGAN2Discriminator(nn.Module):
    """StyleGAN2's discriminator: residual blocks down to 4 px, minibatch deviation, two layers.

    Args:
        size: Side of the images, a power of two.
        channel_multiplier: See :func:`~talkingface.models.components.stylegan2.level_channels`.
        max_channels: See there.
        in_channels: Channels of the images.
        stddev_group: Images that are compared for the minibatch deviation; the largest number up
            to it that divides the batch.

    Shape:
        - images: (B, in_channels, size, size) in [-1, 1]; output: (B, 1), raw scores.

    Raises:
        ValueError: If the size is not a power of two.

    Example:
        >>> StyleGAN2Discriminator(32, max_channels=8)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        size: int = 256,
        channel_multiplier: float = 2,
        max_channels: int = 512,
        in_channels: int = 3,
        stddev_group: int = 4,
    ) -> None:
        super().__init__()
        channels = level_channels(size, channel_multiplier, max_channels)[::-1]
        last = channels[-1]
        self.stddev_group = stddev_group
        self.from_rgb = EqualConv2d(in_channels, channels[0], 1)
        self.blocks = nn.Sequential(
            *(ResidualBlock(*pair) for pair in itertools.pairwise(channels))
        )
        self.final_conv = EqualConv2d(last + 1, last, 3, padding=1)
        self.final_linear = nn.Sequential(ActivatedLinear(16 * last, last), EqualLinear(last, 1))
        # A third faster on CPUs in bfloat16.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Score images."""
        return self.maps(images)[-1]

    def maps(self, images: Tensor) -> list[Tensor]:
        """The images, their maps from the full size down to 4 px, and last the scores."""
        found = [images, self.from_rgb(images)]
        for block in self.blocks:
            found.append(block(found[-1]))
        x = found[-1]
        with torch.autocast(x.device.type, enabled=False):  # 4 px: precise at little cost
            x = x.to(self.final_conv.weight.dtype)
            x = torch.cat([x, minibatch_deviation(x, self.stddev_group)], dim=1)
            found.append(self.final_linear(self.final_conv(x).flatten(1)))
        return found


def minibatch_deviation(x: Tensor, group: int) -> Tensor:
    """Standard deviation over groups of a batch, mean over all features, as one more channel.

    A group is images b, b + B / group, and so on. Karras et al., "Progressive Growing of GANs for
    Improved Quality, Stability, and Variation" (2018), section 3.

    Args:
        x: Features.
        group: Images in a group; the largest number up to it that divides the batch is taken.

    Shape:
        - x: (B, C, H, W); output: (B, 1, H, W).

    Example:
        >>> x = torch.tensor([1.0, 5.0, 3.0, 5.0]).view(4, 1, 1, 1)
        >>> minibatch_deviation(x, group=2).flatten().round(decimals=3)
        tensor([1., 0., 1., 0.])
    """
    batch = x.shape[0]
    group = max(size for size in range(1, min(batch, group) + 1) if batch % size == 0)
    groups = x.view(group, batch // group, *x.shape[1:])
    deviation = (groups.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
    return deviation.repeat(group)[:, None, None, None].expand(-1, 1, *x.shape[2:])
