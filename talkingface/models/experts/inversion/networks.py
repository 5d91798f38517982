"""The networks of inversion: pSp's encoder, the generator it inverts, HyperStyle's hypernetwork."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from talkingface.models.components.hyperstyle import HyperNetwork
from talkingface.models.components.psp import LARGEST_INPUT, PSPEncoder, fit_input
from talkingface.models.components.stylegan2 import ModulatedConv2d
from talkingface.models.components.stylegan2_generator import StyleGAN2Generator


class InversionNetworks(nn.Module):
    """Encode images as latents of a generator, refine the generator for them, and paint them again.

    Args:
        image_size: Side of the images, a power of two from 32 on.
        style_dim: Length of a latent.
        mapping_layers: Layers of the generator's mapping network.
        channel_multiplier: Of the generator's channels, see
            :func:`~talkingface.models.components.stylegan2.level_channels`.
        max_channels: Of the generator, see there.
        encoder_channels: Channels of the four stages of the encoder's trunk.
        encoder_depths: Units of these stages.
        hyper: Have a :class:`~talkingface.models.components.hyperstyle.HyperNetwork`.
        hyper_channels: Channels of the stages of its residual network.
        hyper_depths: Blocks of these stages.
        hyper_dim: Length of its codes.

    Shape:
        - images: (B, 3, image_size, image_size) RGB in [-1, 1]
        - latents: (B, num_layers, style_dim)
        - output: images painted again, unbounded

    Example:
        >>> sizes = {"mapping_layers": 2, "max_channels": 8, "encoder_channels": (4, 4, 8, 8)}
        >>> networks = InversionNetworks(32, 16, **sizes, encoder_depths=(1, 1, 1, 1))
        >>> images = torch.zeros(2, 3, 32, 32)
        >>> networks.encode(images).shape, networks(images).shape
        (torch.Size([2, 8, 16]), torch.Size([2, 3, 32, 32]))
    """

    average: Tensor

    def __init__(
        self,
        image_size: int = 256,
        style_dim: int = 512,
        mapping_layers: int = 8,
        channel_multiplier: float = 2.0,
        max_channels: int = 512,
        encoder_channels: tuple[int, ...] = (64, 128, 256, 512),
        encoder_depths: tuple[int, ...] = (3, 4, 14, 3),
        hyper: bool = False,
        hyper_channels: tuple[int, ...] = (64, 128, 256, 512),
        hyper_depths: tuple[int, ...] = (3, 4, 6, 3),
        hyper_dim: int = 512,
    ) -> None:
        super().__init__()
        self.generator = StyleGAN2Generator(
            image_size, style_dim, mapping_layers, channel_multiplier, max_channels
        )
        layers = self.generator.num_layers
        side = min(image_size, LARGEST_INPUT)
        self.encoder = PSPEncoder(side, layers, style_dim, encoder_channels, encoder_depths)
        self.register_buffer("average", torch.zeros(layers, style_dim))
        self.hyper: HyperNetwork | None = None
        if hyper:
            weights = [
                part.weight
                for part in self.generator.synthesis.convs.modules()
                if isinstance(part, ModulatedConv2d)
            ]
            kernels = [(weight.shape[0], weight.shape[1]) for weight in weights]
            self.hyper = HyperNetwork(kernels, side, hyper_channels, hyper_depths, hyper_dim)

    def encode(self, images: Tensor) -> Tensor:
        """Give the latents of images: what the encoder says, from the average latent on."""
        styles: Tensor = self.encoder(fit_input(images))
        return styles + self.average

    def refinements(
        self, images: Tensor, latents: Tensor, iterations: int
    ) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """Change the generator for its images again and again, each time looking at what it gives.

        Yields the images painted by the generator as it is, then those after each refinement, with
        the offsets so far, which :class:`StyleGAN2Generator` takes. No gradient flows from one
        refinement to the next.

        Raises:
            ValueError: If refinements are wanted and there is no hypernetwork.
        """
        painted = self.generator(latents)
        offsets: list[Tensor] = []
        yield painted, offsets
        for _ in range(iterations):
            if self.hyper is None:
                raise ValueError("these networks have no hypernetwork: make them with hyper=True")
            changes = self.hyper(fit_input(images), fit_input(painted.detach()))
            changes = [change.to(self.average.dtype) for change in changes]
            if offsets:
                changes = [x.detach() + change for x, change in zip(offsets, changes, strict=True)]
            offsets = changes
            painted = self.generator(latents, offsets=offsets)
            yield painted, offsets

    def forward(self, images: Tensor, iterations: int = 0) -> Tensor:
        """Paint images again, after so many refinements."""
        for painted, _ in self.refinements(images, self.encode(images), iterations):
            last = painted
        return last
