"""ResNeXt trunk of any width, from torchvision's bottleneck blocks."""

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, conv1x1


class ResNeXt(nn.Module):
    """ResNeXt without a head; the defaults are ResNeXt-50 32x4d.

    torchvision's own class is fixed to 64 planes, hence this one around its blocks. Xie et al.,
    "Aggregated Residual Transformations for Deep Neural Networks" (2017).

    Args:
        layers: Blocks per stage.
        width: Planes of the first stage; each next stage doubles them, and a stage puts out four
            times its planes.
        groups: Groups of the 3x3 convolutions.
        width_per_group: Channels per group in a first stage of 64 planes (scaled with `width`).

    Shape:
        - input: (B, 3, H, W); output: (B, 4 * width * 2 ** (len(layers) - 1), H / 32, W / 32) for
          four stages.

    Raises:
        ValueError: If the width leaves no channel per group.

    Example:
        >>> import torch
        >>> network = ResNeXt((1, 1, 1, 1), width=16, groups=4, width_per_group=16)
        >>> network(torch.zeros(1, 3, 96, 96)).shape
        torch.Size([1, 512, 3, 3])
    """

    def __init__(
        self,
        layers: tuple[int, ...] = (3, 4, 6, 3),
        width: int = 64,
        groups: int = 32,
        width_per_group: int = 4,
    ) -> None:
        super().__init__()
        if width * width_per_group < 64:
            raise ValueError(
                f"ResNeXt of width {width} with {width_per_group} channels per group has none "
                f"left: width * width_per_group must be at least 64"
            )
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stages = nn.Sequential()
        channels = width
        for stage, blocks in enumerate(layers):
            planes, stride = width * 2**stage, 1 if stage == 0 else 2
            shortcut = nn.Sequential(
                conv1x1(channels, 4 * planes, stride), nn.BatchNorm2d(4 * planes)
            )
            parts = [Bottleneck(channels, planes, stride, shortcut, groups, width_per_group)]
            channels = 4 * planes
            parts += [
                Bottleneck(channels, planes, groups=groups, base_width=width_per_group)
                for _ in range(blocks - 1)
            ]
            self.stages.append(nn.Sequential(*parts))
        self.out_channels = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Compute the last feature map."""
        return self.stages(self.stem(images))
