"""Discriminators on images."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class PatchDiscriminator(nn.Module):
    """PatchGAN with spectral and instance norm that also returns its features.

    Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (2017); kernel
    4 and padding 2 throughout.

    Args:
        in_channels: Channels of the image.
        channels: Channels of the first layer; they double up to 8 times that.
        layers: Layers before the logits; all but the last have stride 2.

    Shape:
        - input: (B, in_channels, H, W) in [-1, 1].
        - output: list of layers + 2 tensors: the input itself, the activations, and the logits (B,
          1, h, w).

    Example:
        >>> import torch
        >>> [f.shape[-1] for f in PatchDiscriminator(channels=4)(torch.zeros(1, 3, 96, 96))]
        [96, 49, 25, 13, 14, 15]
    """

    def __init__(self, in_channels: int = 3, channels: int = 64, layers: int = 4) -> None:
        super().__init__()
        first = nn.Conv2d(in_channels, channels, 4, stride=2, padding=2)
        self.layers = nn.ModuleList([nn.Sequential(first, nn.LeakyReLU(0.2))])
        for layer in range(1, layers):
            before, after = channels * 2 ** min(layer - 1, 3), channels * 2 ** min(layer, 3)
            stride = 1 if layer == layers - 1 else 2
            conv = spectral_norm(nn.Conv2d(before, after, 4, stride, padding=2, bias=False))
            self.layers.append(nn.Sequential(conv, nn.InstanceNorm2d(after), nn.LeakyReLU(0.2)))
        self.layers.append(nn.Conv2d(channels * 2 ** min(layers - 1, 3), 1, 4, padding=2))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute features and logits."""
        outputs = [images]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        return outputs


class MultiscaleDiscriminator(nn.Module):
    """The same PatchGAN architecture on the image and on its halved copies.

    Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs"
    (2018).

    Args:
        in_channels: Channels of the image.
        channels: Channels of the first layer of each discriminator.
        layers: Layers of each discriminator before its logits.
        scales: Number of discriminators; each sees half the size of the one before.

    Shape:
        - input: (B, in_channels, H, W) in [-1, 1].
        - output: per scale the list of :class:`PatchDiscriminator`: image, features, logits last.

    Example:
        >>> import torch
        >>> scales = MultiscaleDiscriminator(channels=4)(torch.zeros(1, 3, 96, 96))
        >>> [(len(outputs), tuple(outputs[-1].shape)) for outputs in scales]
        [(6, (1, 1, 15, 15)), (6, (1, 1, 9, 9))]
    """

    def __init__(
        self, in_channels: int = 3, channels: int = 64, layers: int = 4, scales: int = 2
    ) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(
            PatchDiscriminator(in_channels, channels, layers) for _ in range(scales)
        )

    def forward(self, images: Tensor) -> list[list[Tensor]]:
        """Compute features and logits of every scale, full size first."""
        outputs = []
        for scale, discriminator in enumerate(self.discriminators):
            if scale:
                images = F.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
            outputs.append(discriminator(images))
        return outputs
