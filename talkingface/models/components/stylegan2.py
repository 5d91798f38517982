"""Layers of StyleGAN2.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020).
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ModulationForm = Literal["auto", "weights", "activations"]
Modulation = Literal["weight", "adain"]
Noise = Literal["fixed", "random"]


def level_channels(size: int, multiplier: float = 2, max_channels: int = 512) -> tuple[int, ...]:
    """Channels of StyleGAN2's levels, from 4 px to the image: 16384 multiplier / side, capped.

    Args:
        size: Side of the image.
        multiplier: Factor of the numbers that are not capped; 2 in configuration F.
        max_channels: Largest number.

    Raises:
        ValueError: If the size is not a power of two from 8 on.

    Example:
        >>> level_channels(256)
        (512, 512, 512, 512, 512, 256, 128)
        >>> level_channels(64, multiplier=0.125, max_channels=128)
        (128, 128, 128, 64, 32)
    """
    if size < 8 or size & (size - 1):
        raise ValueError(f"StyleGAN2's images have a side of 8, 16, 32 ... px, not {size}")
    sides = [2**level for level in range(2, size.bit_length())]
    return tuple(max(1, min(max_channels, int(16384 * multiplier) // side)) for side in sides)


class PixelNorm(nn.Module):
    """Scale every vector to a root mean square of one: x / sqrt(mean(x^2) + 1e-8).

    Shape:
        - input and output: (B, C, ...), normalised over C.

    Example:
        >>> PixelNorm()(torch.tensor([[3.0, 4.0]])).square().mean().round(decimals=4)
        tensor(1.)
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise."""
        return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class EqualLinear(nn.Module):
    """Linear layer with equalised learning rate: y = c (x W^T / sqrt(in) + b), c = lr_multiplier.

    Shape:
        - input: (..., in_features); output: (..., out_features).

    Example:
        >>> EqualLinear(4, 2, bias=1.0)(torch.zeros(3, 4))[0].tolist()
        [1.0, 1.0]
    """

    def __init__(
        self, in_features: int, out_features: int, bias: float = 0.0, lr_multiplier: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias / lr_multiplier))
        self.lr_multiplier = lr_multiplier
        self.scale = lr_multiplier / math.sqrt(in_features)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        return F.linear(x, self.weight * self.scale, self.bias * self.lr_multiplier)


class ActivatedLinear(EqualLinear):
    """:class:`EqualLinear` followed by sqrt(2) leaky_relu(y, 0.2), which keeps the variance.

    Shape:
        - input: (..., in_features); output: (..., out_features).

    Example:
        >>> y = ActivatedLinear(4, 2, bias=1.0)(torch.zeros(3, 4))
        >>> y[0].detach().round(decimals=4)
        tensor([1.4142, 1.4142])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        return F.leaky_relu(super().forward(x), 0.2) * math.sqrt(2)


class MappingNetwork(nn.Sequential):
    """Mapping network z -> w: pixel norm, then equalised linear layers with fused leaky ReLU.

    Shape:
        - input and output: (B, dim).

    Example:
        >>> MappingNetwork(8, layers=2)(torch.randn(3, 8)).shape
        torch.Size([3, 8])
    """

    def __init__(self, dim: int, layers: int = 8, lr_multiplier: float = 0.01) -> None:
        super().__init__(
            PixelNorm(),
            *(ActivatedLinear(dim, dim, lr_multiplier=lr_multiplier) for _ in range(layers)),
        )


class Blur(nn.Module):
    """FIR low-pass filter outer([1, 3, 3, 1]) / 64 * gain with zero padding.

    Args:
        padding: Zeros on each side; the output is 2 * padding - 3 larger than the input.
        gain: Factor on the values; 4 after zero insertion by two.

    Shape:
        - input: (B, C, H, W); output: (B, C, H + 2 padding - 3, W + 2 padding - 3).

    Example:
        >>> Blur(padding=2)(torch.ones(1, 1, 6, 6))[0, 0, 3]
        tensor([0.5000, 0.8750, 1.0000, 1.0000, 1.0000, 0.8750, 0.5000])
    """

    kernel: Tensor

    def __init__(self, padding: int, gain: float = 1.0) -> None:
        super().__init__()
        self.padding = padding
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", torch.outer(taps, taps) * gain, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Filter."""
        # One depthwise convolution: measured faster than two one-dimensional passes or shifted
        # sums, and several times faster than a FIR filter folded into a 6x6 transposed convolution.
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, 4, 4)
        return F.conv2d(x, kernel, padding=self.padding, groups=channels)


class Upsample(nn.Module):
    """Double the size: zero insertion, then the FIR filter outer([1, 3, 3, 1]) / 16.

    That equals bilinear interpolation of the image in a frame of zeros, which is how it is
    computed.

    Shape:
        - input: (B, C, H, W); output: (B, C, 2H, 2W).

    Example:
        >>> Upsample()(torch.ones(1, 1, 2, 2))[0, 0, 0]
        tensor([0.5625, 0.7500, 0.7500, 0.5625])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Up-sample."""
        framed = F.pad(x, (1, 1, 1, 1))
        return F.interpolate(framed, scale_factor=2, mode="bilinear")[..., 2:-2, 2:-2].to(x.dtype)


class ModulatedConv2d(nn.Module):
    r"""Convolution whose input channels are scaled by a style, with optional demodulation.

    :math:`w' = s\,w\,m_i`, :math:`w'' = w' / \sqrt{\sum_{i,k} w'^2 + 10^{-8}}` (equations 1 to 3),
    with m = affine(style). Two forms give the same result: *weights* scales one kernel per sample
    and convolves with one group per sample; *activations* scales the input, convolves all samples
    with the shared kernel and scales the output. *auto* chooses (see :meth:`pick_form`).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd side of the kernel.
        style_dim: Length of the style.
        demodulate: Normalise the output to unit expected variance.
        upsample: Double the size with a transposed convolution and a FIR filter.
        form: Form of the computation.

    Shape:
        - x: (B, in_channels, H, W); style: (B, style_dim).
        - offset: relative change d of the kernel, which becomes w (1 + d), of one or of each
          sample: (1 or B, out_channels, in_channels, k, k), or 1 in place of any of these sizes.
        - output: (B, out_channels, H, W), or (B, out_channels, 2H, 2W) with `upsample`.

    Example:
        >>> conv = ModulatedConv2d(8, 4, 3, style_dim=16, upsample=True)
        >>> conv(torch.randn(2, 8, 5, 5), torch.randn(2, 16)).shape
        torch.Size([2, 4, 10, 10])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        style_dim: int,
        demodulate: bool = True,
        upsample: bool = False,
        form: ModulationForm = "auto",
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.modulation = EqualLinear(style_dim, in_channels, bias=1.0)
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)
        self.demodulate = demodulate
        self.form = form
        self.blur = Blur(padding=1, gain=4.0) if upsample else None

    def pick_form(self, x: Tensor) -> ModulationForm:
        """Choose the form that is expected to be faster for an input.

        "weights" writes one kernel per sample, "activations" writes input and output once more, so
        it is a question of which are fewer numbers; timed on a CPU they break even where the
        activations have about four times as many. Convolutions with one group per sample lose more
        than that where they are transposed, where channels lie last, and on GPUs: there "weights"
        is for single samples only. ``benchmarks/modulated_convolution.py`` repeats the comparison.
        """
        if self.form != "auto":
            return self.form
        batch, in_channels, height, width = x.shape
        growth = 1 if self.blur is None else 4
        activations = height * width * (in_channels + growth * self.weight.shape[0])
        plain = x.device.type == "cpu" and self.blur is None and x.is_contiguous()
        grouped = batch == 1 or plain
        return "weights" if grouped and activations >= 4 * self.weight.numel() else "activations"

    def forward(self, x: Tensor, style: Tensor, offset: Tensor | None = None) -> Tensor:
        """Convolve."""
        modulation = self.modulation(style) * self.scale
        weight: Tensor = self.weight
        if offset is not None:  # one kernel for all samples, or one for each
            # Not 1 + d, which rounds a small change in bfloat16 away.
            weight = (weight + weight * offset).squeeze(0)
        if weight.ndim == 5 or self.pick_form(x) == "weights":
            return self._scaled_weights(x, weight, modulation)
        return self._scaled_activations(x, weight, modulation)

    @staticmethod
    def _demodulation(weight: Tensor, modulation: Tensor) -> Tensor:
        # A sum over thousands of squares: in float32 also under autocast.
        with torch.autocast(modulation.device.type, enabled=False):
            wide = torch.promote_types(modulation.dtype, torch.float32)
            energy = weight.to(wide).square().sum((-2, -1))
            squares = modulation.to(wide).square()[:, None]
            return ((squares @ energy.mT)[:, 0] + 1e-8).rsqrt()

    def _scaled_weights(self, x: Tensor, weight: Tensor, modulation: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        scaled = weight * modulation[:, None, :, None, None]
        if self.demodulate:
            scaled = scaled * self._demodulation(weight, modulation)[:, :, None, None, None]
        scaled = scaled.to(x.dtype)
        x = x.reshape(1, -1, height, width)
        if self.blur is None:
            y = F.conv2d(x, scaled.flatten(0, 1), padding=scaled.shape[-1] // 2, groups=batch)
        else:
            scaled = scaled.transpose(1, 2).flatten(0, 1)
            y = self.blur(F.conv_transpose2d(x, scaled, stride=2, groups=batch))
        return y.view(batch, -1, *y.shape[-2:])

    def _scaled_activations(self, x: Tensor, weight: Tensor, modulation: Tensor) -> Tensor:
        x = x * modulation.to(x.dtype)[:, :, None, None]
        kernel = weight.to(x.dtype)
        if self.blur is None:
            y = F.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
        else:
            y = self.blur(F.conv_transpose2d(x, kernel.transpose(0, 1), stride=2))
        if self.demodulate:
            y = y * self._demodulation(weight, modulation).to(y.dtype)[:, :, None, None]
        return y


class AdaINConv2d(nn.Module):
    """Convolution with adaptive instance normalisation, the ablation of weight modulation.

    y = scale(style) * (h - mean(h)) / std(h) + shift(style) with h = conv(x). Huang and Belongie,
    "Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization" (2017), equation 8.

    Shape:
        - x: (B, in_channels, H, W); style: (B, style_dim).
        - output: (B, out_channels, H, W), or (B, out_channels, 2H, 2W) with `upsample`.

    Example:
        >>> conv = AdaINConv2d(8, 4, 3, style_dim=16)
        >>> conv(torch.randn(2, 8, 5, 5), torch.randn(2, 16)).shape
        torch.Size([2, 4, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        style_dim: int,
        upsample: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)
        self.style_scale = EqualLinear(style_dim, out_channels, bias=1.0)
        self.style_shift = EqualLinear(style_dim, out_channels)
        self.blur = Blur(padding=1, gain=4.0) if upsample else None

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Convolve, normalise, and apply the style."""
        weight = (self.weight * self.scale).to(x.dtype)
        if self.blur is None:
            y = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        else:
            y = self.blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        scale, shift = self.style_scale(style).to(y.dtype), self.style_shift(style).to(y.dtype)
        return F.instance_norm(y) * scale[:, :, None, None] + shift[:, :, None, None]


class StyledConv(nn.Module):
    """Styled 3x3 convolution, noise, bias and fused leaky ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        style_dim: Length of the style.
        upsample: Double the size.
        modulation: "weight" is StyleGAN2's, "adain" the ablation.

    Shape:
        - x: (B, in_channels, H, W); style: (B, style_dim); noise: (1 or B, 1, H', W').
        - offset: see :class:`ModulatedConv2d`; not for "adain".
        - output: (B, out_channels, H', W') with H' = 2H if `upsample` else H.

    Example:
        >>> x, style, noise = torch.randn(2, 8, 5, 5), torch.randn(2, 16), torch.randn(1, 1, 5, 5)
        >>> StyledConv(8, 4, 16)(x, style, noise).shape
        torch.Size([2, 4, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style_dim: int,
        upsample: bool = False,
        modulation: Modulation = "weight",
    ) -> None:
        super().__init__()
        kind = {"weight": ModulatedConv2d, "adain": AdaINConv2d}[modulation]
        self.conv = kind(in_channels, out_channels, 3, style_dim, upsample=upsample)
        self.noise_strength = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(
        self, x: Tensor, style: Tensor, noise: Tensor, offset: Tensor | None = None
    ) -> Tensor:
        """Apply the layer."""
        y = self.conv(x, style) if offset is None else self.conv(x, style, offset)
        # In place, because at full size the temporaries cost as much as the arithmetic; no backward
        # pass needs the overwritten values. sqrt(2) leaky_relu(y) = leaky_relu(sqrt(2) y).
        y += (self.noise_strength * noise).to(y.dtype)
        y += self.bias.to(y.dtype)[:, None, None]
        y *= math.sqrt(2)
        return F.leaky_relu_(y, 0.2)


class ToRGB(nn.Module):
    """1x1 convolution to RGB, modulated only, added to the doubled image of the level before.

    Args:
        in_channels: Channels of the input.
        style_dim: Length of the style.

    Shape:
        - x: (B, in_channels, H, W); style: (B, style_dim); skip: (B, 3, H/2, W/2) or None.
        - output: (B, 3, H, W).

    Example:
        >>> ToRGB(8, 16)(torch.randn(2, 8, 4, 4), torch.randn(2, 16), torch.randn(2, 3, 2, 2)).shape
        torch.Size([2, 3, 4, 4])
    """

    def __init__(self, in_channels: int, style_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(in_channels, 3, 1, style_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3, 1, 1))
        self.upsample = Upsample()

    def forward(self, x: Tensor, style: Tensor, skip: Tensor | None = None) -> Tensor:
        """Compute the image of this level."""
        # Under autocast the bias, a float32, lifts the sum over the levels to full precision.
        rgb = self.conv(x, style) + self.bias
        return rgb if skip is None else rgb + self.upsample(skip)
