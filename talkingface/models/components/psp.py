"""The encoder of pixel2style2pixel (pSp): an image to one style per layer of a StyleGAN2.

Richardson et al., "Encoding in Style: a StyleGAN Encoder for Image-to-Image Translation" (CVPR
2021), section 3, https://arxiv.org/abs/2008.00951
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from talkingface.models.components.ir_se import IRSETrunk
from talkingface.models.components.stylegan2 import EqualLinear

LARGEST_INPUT = 256
"""Larger images are averaged down to this side before they are encoded, as pSp does."""
COARSE, MIDDLE = 3, 7
"""Layers below the first read the deepest map, those below the second the middle one."""


class MapToStyle(nn.Module):
    """Bring a map to a style by convolutions of stride two, down to one position (map2style).

    Args:
        in_channels: Channels of the map.
        style_dim: Length of the style.
        side: Height and width of the map.

    Shape:
        - input: (B, in_channels, side, side); output: (B, style_dim).

    Example:
        >>> MapToStyle(8, 16, side=4)(torch.zeros(2, 8, 4, 4)).shape
        torch.Size([2, 16])
    """

    def __init__(self, in_channels: int, style_dim: int, side: int) -> None:
        super().__init__()
        self.convs = nn.Sequential()
        for _ in range((side - 1).bit_length()):
            conv = nn.Conv2d(in_channels, style_dim, 3, stride=2, padding=1)
            # Under PyTorch's own start styles hardly vary, and what learns from them starts slowly.
            nn.init.kaiming_normal_(conv.weight, a=0.01)
            self.convs.append(conv)
            self.convs.append(nn.LeakyReLU())
            in_channels = style_dim
        self.linear = EqualLinear(style_dim, style_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the style."""
        return self.linear(self.convs(x).flatten(1))


def fit_input(images: Tensor) -> Tensor:
    """Average images of more than :data:`LARGEST_INPUT` pixels a side down to it.

    Example:
        >>> fit_input(torch.zeros(1, 3, 512, 512)).shape, fit_input(torch.zeros(1, 3, 64, 64)).shape
        (torch.Size([1, 3, 256, 256]), torch.Size([1, 3, 64, 64]))
    """
    if images.shape[-1] <= LARGEST_INPUT:
        return images
    return F.adaptive_avg_pool2d(images, LARGEST_INPUT)


class PSPEncoder(IRSETrunk):
    """Encode an image as styles, one per layer: feature pyramid on an IR-SE trunk, map2style heads.

    The styles are offsets from the generator's average latent, which is not added here. Layers 0 to
    2 are read from the deepest map, 3 to 6 from the middle one, the others from the finest.

    Args:
        image_size: Side of the images, a multiple of 16 from 32 on; the released networks have 256.
        num_layers: Number of styles, ``2 * log2(generator's size) - 2``.
        style_dim: Length of a style.
        channels: Channels of the trunk's four stages.
        depths: Units of the trunk's stages.

    Shape:
        - images: (B, 3, image_size, image_size) RGB in [-1, 1].
        - output: (B, num_layers, style_dim).

    Raises:
        ValueError: If the size or the number of stages is another.

    Example:
        >>> encoder = PSPEncoder(32, 8, style_dim=16, channels=(4, 4, 8, 8), depths=(1, 1, 1, 1))
        >>> encoder(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 8, 16])
    """

    def __init__(
        self,
        image_size: int = 256,
        num_layers: int = 14,
        style_dim: int = 512,
        channels: tuple[int, ...] = (64, 128, 256, 512),
        depths: tuple[int, ...] = (3, 4, 14, 3),
    ) -> None:
        if image_size < 32 or image_size % 16:
            raise ValueError(f"image_size={image_size}: give a multiple of 16 from 32 on")
        if len(channels) != 4:
            raise ValueError(f"the trunk has four stages, channels={channels} names other ones")
        super().__init__(channels, depths)
        self.image_size = image_size
        sides = [
            image_size // (16 if i < COARSE else 8 if i < MIDDLE else 4) for i in range(num_layers)
        ]
        self.styles = nn.ModuleList(MapToStyle(channels[3], style_dim, side) for side in sides)
        self.latlayer1 = nn.Conv2d(channels[2], channels[3], 1)
        self.latlayer2 = nn.Conv2d(channels[1], channels[3], 1)

    def forward(self, images: Tensor) -> Tensor:
        """Encode images."""
        _, fine, middle, coarse = self.stages(images)
        p2 = _enlarge(coarse, middle) + self.latlayer1(middle)
        p1 = _enlarge(p2, fine) + self.latlayer2(fine)
        maps = [coarse if i < COARSE else p2 if i < MIDDLE else p1 for i in range(len(self.styles))]
        styles = [style(x) for style, x in zip(self.styles, maps, strict=True)]
        return torch.stack(styles, dim=1)


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)
