"""HyperStyle: a network that predicts how a generator's convolutions shall change for one image.

Alaluf et al., "HyperStyle: StyleGAN Inversion with HyperNetworks for Real Image Editing" (CVPR
2022), section 3, https://arxiv.org/abs/2111.15666
"""

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

Kernel = tuple[int, int]
"""Channels out and in of a convolution."""


class ChangeDecoder(nn.Module):
    r"""Turn a code into one relative change per pair of channels of a kernel.

    The two-layer hypernetwork of Ha et al. (2017), equation 5: :math:`a_i = W_i z + b_i` for each
    channel i that comes in, :math:`\Delta_{\cdot i} = V a_i + c`. V and c begin at zero, so that
    training begins at the generator as it is.

    Shape:
        - code: (B, dim); output: (B, out, in, 1, 1), the same for each position of the kernel.

    Example:
        >>> ChangeDecoder(8, (4, 6))(torch.ones(2, 8)).shape
        torch.Size([2, 4, 6, 1, 1])
    """

    def __init__(self, dim: int, kernel: Kernel) -> None:
        super().__init__()
        self.inner = nn.Linear(dim, kernel[1] * dim)
        self.outer = nn.Linear(dim, kernel[0])
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, code: Tensor) -> Tensor:
        """Decode."""
        inner = self.inner(code).unflatten(1, (-1, code.shape[1]))
        return self.outer(inner).mT[..., None, None]


class RefinementBlock(nn.Sequential):
    """Bring the features of an image to a code, by convolutions down to one position.

    Shape:
        - input: (B, channels, side, side); output: (B, dim).

    Example:
        >>> RefinementBlock(8, 16, side=4)(torch.zeros(2, 8, 4, 4)).shape
        torch.Size([2, 16])
    """

    def __init__(self, channels: int, dim: int, side: int) -> None:
        layers: list[nn.Module] = [nn.Conv2d(channels, dim, 3, padding=1), nn.LeakyReLU()]
        for _ in range((side - 1).bit_length()):
            layers += [nn.Conv2d(dim, dim, 3, stride=2, padding=1), nn.LeakyReLU()]
        super().__init__(*layers, nn.Flatten())


class HyperNetwork(nn.Module):
    r"""Predict relative changes of a generator's 3x3 convolutions from an image and its inversion.

    A residual network reads image and reconstruction together; a refinement block per convolution
    makes a code of its features, and a decoder a change d of the kernel, which becomes w (1 + d),
    equation 4. Convolutions of the largest width share one decoder (shared refinement). Layers to
    RGB stay as they are.

    Args:
        kernels: Channels (out, in) of the convolutions, in order.
        image_size: Side of the images that it reads, a multiple of 16 from 32 on.
        channels: Channels of the residual network's stages.
        depths: Blocks of its stages; (3, 4, 6, 3) is ResNet-34.
        dim: Length of the codes.

    Shape:
        - images, reconstructions: (B, 3, image_size, image_size) in [-1, 1]
        - output: a change per convolution, (B, out, in, 1, 1)

    Example:
        >>> network = HyperNetwork([(8, 8), (4, 8)], 32, (4, 4, 8, 8), (1, 1, 1, 1), dim=8)
        >>> [tuple(x.shape) for x in network(*torch.zeros(2, 5, 3, 32, 32))]
        [(5, 8, 8, 1, 1), (5, 4, 8, 1, 1)]
    """

    def __init__(
        self,
        kernels: list[Kernel],
        image_size: int = 256,
        channels: tuple[int, ...] = (64, 128, 256, 512),
        depths: tuple[int, ...] = (3, 4, 6, 3),
        dim: int = 512,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(6, channels[0], 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(channels[0]),
            nn.PReLU(channels[0]),
        )
        self.stages = nn.Sequential()
        before = channels[0]
        for stage, (width, depth) in enumerate(zip(channels, depths, strict=True)):
            for block in range(depth):
                self.stages.append(_block(before, width, 2 if stage and not block else 1))
                before = width
        side = image_size // 2 ** len(channels)
        self.blocks = nn.ModuleList(RefinementBlock(before, dim, side) for _ in kernels)
        widest = max(kernels)
        self.shared = ChangeDecoder(dim, widest)
        self.decoders = nn.ModuleDict(
            {
                str(n): ChangeDecoder(dim, kernel)
                for n, kernel in enumerate(kernels)
                if kernel != widest
            }
        )

    def forward(self, images: Tensor, reconstructions: Tensor) -> list[Tensor]:
        """Predict changes."""
        features = self.stages(self.stem(torch.cat([images, reconstructions], dim=1)))
        changes = []
        for number, block in enumerate(self.blocks):
            decoder = self.decoders[str(number)] if str(number) in self.decoders else self.shared
            changes.append(decoder(block(features)))
        return changes


def _block(before: int, width: int, stride: int) -> nn.Module:
    shortcut = None
    if stride != 1 or before != width:
        shortcut = nn.Sequential(
            nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width)
        )
    return BasicBlock(before, width, stride, shortcut)
