"""Face alignment network with one hourglass, the trunk of the lip and the non-identity encoders."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PreActivationBlock(nn.Module):
    """Hierarchical block: three 3x3 convolutions whose outputs are concatenated, plus a shortcut.

    Bulat and Tzimiropoulos, "How far are we from solving the 2D & 3D face alignment problem?"
    (2017).

    Shape:
        - input: (B, in_channels, H, W); output: (B, out_channels, H, W).

    Example:
        >>> PreActivationBlock(8, 16)(torch.zeros(1, 8, 5, 5)).shape
        torch.Size([1, 16, 5, 5])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half, quarter = out_channels // 2, out_channels // 4
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, half, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, quarter, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(quarter)
        self.conv3 = nn.Conv2d(quarter, quarter, 3, padding=1, bias=False)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.BatchNorm2d(in_channels),
                nn.ReLU(),
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        a = self.conv1(F.relu(self.norm1(x)))
        b = self.conv2(F.relu(self.norm2(a)))
        c = self.conv3(F.relu(self.norm3(b)))
        return torch.cat([a, b, c], 1) + self.shortcut(x)


class Hourglass(nn.Module):
    """Recursive hourglass: halve, process, and add back to the upper branch at its own size.

    Shape:
        - input and output: (B, channels, H, W) with H, W >= 2 ** depth; they need not be powers of
          two.

    Example:
        >>> Hourglass(8, depth=2)(torch.zeros(2, 8, 7, 7)).shape
        torch.Size([2, 8, 7, 7])
    """

    def __init__(self, channels: int, depth: int, align_corners: bool = False) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.upper = PreActivationBlock(channels, channels)
        self.dropout = nn.Dropout(0.5)
        self.before = PreActivationBlock(channels, channels)
        self.inner: nn.Module = (
            Hourglass(channels, depth - 1, align_corners)
            if depth > 1
            else PreActivationBlock(channels, channels)
        )
        self.after = PreActivationBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the hourglass."""
        upper = self.dropout(self.upper(x))
        lower = self.after(self.inner(self.before(F.max_pool2d(x, 2))))
        return upper + F.interpolate(
            lower, upper.shape[-2:], mode="bilinear", align_corners=self.align_corners
        )


class FAN(nn.Module):
    """Trunk of the face alignment network: landmark-like maps at a quarter of the image size.

    Args:
        landmarks: Number of maps.
        channels: Width of the hourglass; the stem has a quarter and a half of it.
        depth: How often the hourglass halves.
        align_corners: Of the bilinear up-sampling. False in PC-AVS (trained with PyTorch 1.3),
            True in DAVS (trained before 0.4, where it was the only behaviour).

    Shape:
        - input: (B, 3, H, W); H and W divisible by 4, and at least 4 * 2 ** depth.
        - output: (B, landmarks, H / 4, W / 4).

    Example:
        >>> FAN(landmarks=5, channels=16, depth=3)(torch.zeros(1, 3, 96, 96)).shape
        torch.Size([1, 5, 24, 24])
    """

    def __init__(
        self, landmarks: int = 68, channels: int = 256, depth: int = 4, align_corners: bool = False
    ) -> None:
        super().__init__()
        self.smallest = 4 * 2**depth
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels // 4, 7, stride=2, padding=3),
            nn.BatchNorm2d(channels // 4),
            nn.ReLU(),
        )
        self.features = nn.Sequential(
            PreActivationBlock(channels // 4, channels // 2),
            nn.MaxPool2d(2),
            PreActivationBlock(channels // 2, channels // 2),
            PreActivationBlock(channels // 2, channels),
        )
        self.hourglass = Hourglass(channels, depth, align_corners)
        self.top = PreActivationBlock(channels, channels)
        self.last = nn.Sequential(
            nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.ReLU()
        )
        self.heatmaps = nn.Conv2d(channels, landmarks, 1)
        # A third faster on CPUs in bfloat16.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Compute the maps.

        Raises:
            ValueError: If the image size is not divisible by 4 or too small for the hourglass.
        """
        height, width = images.shape[-2:]
        if height % 4 or width % 4 or min(height, width) < self.smallest:
            raise ValueError(
                f"FAN got images of {height} x {width}; both sides must be divisible by 4 and "
                f"at least {self.smallest} px (lower the hourglass depth for smaller images)"
            )
        return self.heatmaps(self.last(self.top(self.hourglass(self.features(self.stem(images))))))


class HeatmapPool(nn.Module):
    """Head that squeezes the maps of :class:`FAN` through one channel into a vector.

    Shape:
        - input: (B, landmarks, size, size); output: (B, dim).

    Example:
        >>> HeatmapPool(5, 24, 32)(torch.zeros(2, 5, 24, 24)).shape
        torch.Size([2, 32])
    """

    def __init__(self, landmarks: int, size: int, dim: int) -> None:
        super().__init__()
        self.size = size
        self.norm = nn.BatchNorm2d(landmarks)
        self.conv = nn.Conv2d(landmarks, 1, 3, stride=2, padding=1)
        # Everything passes this one channel and its ReLU. Its inputs are all positive with equal
        # means, so weights that sum to zero start it half open instead of, for some seeds, dead.
        with torch.no_grad():
            self.conv.weight -= self.conv.weight.mean()
        self.fc = nn.Linear(((size + 1) // 2) ** 2, dim)

    def forward(self, heatmaps: Tensor) -> Tensor:
        """Compute the vector.

        Raises:
            ValueError: If the maps do not have the size that the head was built for.
        """
        if tuple(heatmaps.shape[-2:]) != (self.size, self.size):
            raise ValueError(
                f"the encoder was built for {4 * self.size} px images, got "
                f"{4 * heatmaps.shape[-2]} x {4 * heatmaps.shape[-1]}: resize them or "
                f"build it for that size"
            )
        return self.fc(F.relu(self.conv(F.relu(self.norm(heatmaps)))).flatten(1))
