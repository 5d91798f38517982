"""The generator of StyleGAN2: a mapping network and a synthesis network.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020),
https://arxiv.org/abs/1912.04958
"""

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from talkingface.models.components.stylegan2 import (
    MappingNetwork,
    ModulatedConv2d,
    Modulation,
    ModulationForm,
    Noise,
    StyledConv,
    ToRGB,
    level_channels,
)

Offsets = Mapping[int, Tensor] | Sequence[Tensor | None]
"""Relative changes of convolution kernels, by the number of the convolution."""


class Synthesis(nn.Module):
    """Synthesis network with skip connections to RGB, from a start map of any size.

    Args:
        size: Size of the image; size / 2 ** (len(channels) - 1) is the size of the start map.
        style_dim: Length of the styles.
        channels: Channels per level, from the start map to the image.
        start_channels: Channels of the start map.
        modulation: "weight" is StyleGAN2's, "adain" the ablation (its RGB layers stay modulated).

    Shape:
        - styles: (B, style_dim), or (B, slots, style_dim) with ``slots`` = 2 len(channels): layer
          `conv` takes slot 0, its RGB slot 1, level k takes 2k + 1, 2k + 2 and its RGB 2k + 3.
        - start: (B, start_channels, s, s), or None for the learned constant.
        - noise: "fixed" takes the stored maps, "random" new ones; or 2 len(channels) - 1 maps
          (1 or B, 1, h, w), from the smallest to the largest.
        - offsets: see :class:`~talkingface.models.components.stylegan2.ModulatedConv2d`, for
          convolution 0 to 2 len(channels) - 2; not for "adain".
        - output: (B, 3, size, size), unbounded.

    Raises:
        ValueError: If the size does not divide.

    Example:
        >>> net = Synthesis(24, 16, (8, 8, 4), start_channels=8)
        >>> net(torch.randn(2, 16)).shape, net.start_size
        (torch.Size([2, 3, 24, 24]), 6)
    """

    def __init__(
        self,
        size: int,
        style_dim: int,
        channels: tuple[int, ...],
        start_channels: int,
        modulation: Modulation = "weight",
    ) -> None:
        super().__init__()
        levels = len(channels) - 1
        self.start_size, rest = divmod(size, 2**levels)
        if rest or not self.start_size:
            raise ValueError(
                f"an image of {size} px cannot be reached by doubling {levels} times: "
                f"choose a size divisible by {2**levels} or another number of channels"
            )
        self.slots = 2 * len(channels)
        self.constant = nn.Parameter(
            torch.randn(1, start_channels, self.start_size, self.start_size)
        )
        widths = [(start_channels, channels[0], False)]
        for before, after in itertools.pairwise(channels):
            widths += [(before, after, True), (after, after, False)]
        self.convs = nn.ModuleList(
            StyledConv(before, after, style_dim, upsample, modulation)
            for before, after, upsample in widths
        )
        self.to_rgbs = nn.ModuleList(ToRGB(after, style_dim) for after in channels)
        for layer in range(len(widths)):
            side = self.start_size * 2 ** ((layer + 1) // 2)
            self.register_buffer(f"noise_{layer}", torch.randn(1, 1, side, side))

    @property
    def noise(self) -> list[Tensor]:
        """The stored noise maps (1, 1, h, w), from the smallest to the largest."""
        return [self.get_buffer(f"noise_{layer}") for layer in range(len(self.convs))]

    def forward(
        self,
        styles: Tensor,
        start: Tensor | None = None,
        noise: Noise | Sequence[Tensor] = "fixed",
        offsets: Offsets | None = None,
    ) -> Tensor:
        """Generate images.

        Raises:
            ValueError: If the number of styles, noise maps or offsets, or the start map does not
                fit.
        """
        if styles.ndim == 2:
            styles = styles[:, None].expand(-1, self.slots, -1)
        if styles.shape[1] != self.slots:
            raise ValueError(
                f"got {styles.shape[1]} styles per image, the network takes {self.slots}"
            )
        batch = styles.shape[0]
        x = self.constant.expand(batch, -1, -1, -1) if start is None else start
        if x.shape != (batch, *self.constant.shape[1:]):
            raise ValueError(
                f"got a start map of shape {tuple(x.shape)}, the network takes "
                f"{(batch, *self.constant.shape[1:])}"
            )
        maps, changes = self._noise(noise, batch), self._offsets(offsets)
        x = self.convs[0](x, styles[:, 0], maps[0], changes.get(0))
        rgb = self.to_rgbs[0](x, styles[:, 1])
        for level in range(1, len(self.to_rgbs)):
            for layer in (2 * level - 1, 2 * level):
                x = self.convs[layer](x, styles[:, layer], maps[layer], changes.get(layer))
            rgb = self.to_rgbs[level](x, styles[:, 2 * level + 1], rgb)
        return rgb

    def _noise(self, noise: Noise | Sequence[Tensor], batch: int) -> Sequence[Tensor]:
        fixed = self.noise
        if noise == "fixed":
            return fixed
        if noise == "random":
            return [kept.new_empty(batch, *kept.shape[1:]).normal_() for kept in fixed]
        if isinstance(noise, str) or len(noise) != len(fixed):
            given = repr(noise) if isinstance(noise, str) else f"{len(noise)} maps"
            raise ValueError(f'noise is "fixed", "random" or {len(fixed)} maps, got {given}')
        return noise

    def _offsets(self, offsets: Offsets | None) -> Mapping[int, Tensor | None]:
        changes = (
            (offsets or {}) if isinstance(offsets, Mapping | None) else dict(enumerate(offsets))
        )
        if unknown := sorted(set(changes) - set(range(len(self.convs)))):
            raise ValueError(
                f"got an offset for convolution {unknown[0]}, the network has 0 to "
                f"{len(self.convs) - 1}"
            )
        return changes


class StyleGAN2Generator(nn.Module):
    r"""StyleGAN2's generator: codes z to latents w, and latents, one per layer, to images.

    Args:
        size: Side of the images, a power of two.
        style_dim: Length of codes and latents.
        mapping_layers: Layers of the mapping network.
        channel_multiplier: See :func:`~talkingface.models.components.stylegan2.level_channels`.
        max_channels: See there.
        modulation_form: Form of all modulated convolutions; see
            :class:`~talkingface.models.components.stylegan2.ModulatedConv2d`.

    Shape:
        - latents: (B, style_dim), or (B, num_layers, style_dim) with ``num_layers`` =
          2 log2(size) - 2, 14 at 256 px.
        - noise, offsets: see :class:`Synthesis`; there are ``num_layers`` - 1 convolutions.
        - output: (B, 3, size, size), about [-1, 1], unbounded.

    Raises:
        ValueError: If the size is not a power of two, or inputs do not fit.

    Example:
        >>> generator = StyleGAN2Generator(32, style_dim=16, mapping_layers=2, max_channels=8)
        >>> latents = generator.map(torch.randn(2, 16))
        >>> generator(latents).shape, generator.num_layers
        (torch.Size([2, 3, 32, 32]), 8)
        >>> change = 0.1 * torch.randn(2, 8, 8, 3, 3)  # other kernels in convolution 3
        >>> bool((generator(latents, offsets={3: change}) != generator(latents)).any())
        True
    """

    def __init__(
        self,
        size: int = 256,
        style_dim: int = 512,
        mapping_layers: int = 8,
        channel_multiplier: float = 2,
        max_channels: int = 512,
        modulation_form: ModulationForm = "auto",
    ) -> None:
        super().__init__()
        channels = level_channels(size, channel_multiplier, max_channels)
        self.size, self.style_dim = size, style_dim
        self.mapping = MappingNetwork(style_dim, mapping_layers)
        self.synthesis = Synthesis(size, style_dim, channels, channels[0])
        for layer in self.modules():
            if isinstance(layer, ModulatedConv2d):
                layer.form = modulation_form
        # A third faster on CPUs in bfloat16.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def num_layers(self) -> int:
        """Number of latents that one image takes."""
        return self.synthesis.slots

    def map(self, z: Tensor) -> Tensor:
        """Map codes (B, style_dim), normally distributed, to latents w of the same shape."""
        with torch.autocast(z.device.type, enabled=False):  # cheap, and all the rest builds on it
            latents: Tensor = self.mapping(z)
            return latents

    @torch.no_grad()
    def mean_latent(self, count: int = 10_000) -> Tensor:
        """Mean (style_dim,) of the latents of ``count`` codes, always the same ones."""
        draw = torch.Generator().manual_seed(0)
        codes = torch.randn(count, self.style_dim, generator=draw)
        weight = self.synthesis.constant
        parts = [self.map(part.to(weight.device, weight.dtype)) for part in codes.split(4096)]
        return torch.cat(parts).mean(0)

    def forward(
        self,
        latents: Tensor,
        noise: Noise | Sequence[Tensor] = "fixed",
        offsets: Offsets | None = None,
    ) -> Tensor:
        """Generate images."""
        # By position: what watches the synthesis network sees the noise.
        images: Tensor = self.synthesis(latents, None, noise, offsets=offsets)
        return images


def truncate(latents: Tensor, mean: Tensor, truncation: float) -> Tensor:
    """Bring latents closer to their mean, m + truncation (w - m): less variety, fewer failures.

    Shape:
        - latents: (..., D); mean: (D,); output: like latents.

    Example:
        >>> truncate(torch.tensor([[2.0, 4.0]]), torch.tensor([0.0, 2.0]), 0.5)
        tensor([[1., 3.]])
    """
    return mean + truncation * (latents - mean)
