"""Audio networks."""

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation


class SEBasicBlock(nn.Module):
    """Residual block with a channel gate, and with the ReLU before the first batch norm.

    The order ReLU, norm is that of the speaker network which the released PC-AVS weights come from.

    Shape:
        - input: (B, in_channels, F, T); output: (B, out_channels, ceil(F / stride), ceil(T /
          stride)).

    Example:
        >>> import torch
        >>> SEBasicBlock(8, 16, stride=2)(torch.zeros(1, 8, 80, 20)).shape
        torch.Size([1, 16, 40, 10])
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, reduction: int = 8
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.gate = SqueezeExcitation(out_channels, max(out_channels // reduction, 1))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y = self.norm1(F.relu(self.conv1(x)))
        y = self.gate(self.norm2(self.conv2(y)))
        return F.relu(y + self.shortcut(x))


class ResNetSE(nn.Module):
    """Squeeze-excitation ResNet over a mel window with self-attentive pooling over time.

    Args:
        feature_dim: Length of the output vector.
        channels: Channels of the stages; every stage after the first halves both axes.
        layers: Blocks per stage.
        mels: Mel bands of the input.

    Shape:
        - input: (B, 1, mels, time), values in [0, 1]; output: (B, feature_dim).

    Example:
        >>> import torch
        >>> ResNetSE(16, (4, 8, 8, 16), (1, 1, 1, 1))(torch.zeros(2, 1, 80, 20)).shape
        torch.Size([2, 16])
    """

    def __init__(
        self,
        feature_dim: int = 512,
        channels: tuple[int, ...] = (32, 64, 128, 256),
        layers: tuple[int, ...] = (3, 4, 6, 3),
        mels: int = 80,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, channels[0], 3, padding=1), nn.ReLU(), nn.BatchNorm2d(channels[0])
        )
        self.stages = nn.Sequential()
        before = channels[0]
        for stage, (after, blocks) in enumerate(zip(channels, layers, strict=True)):
            first = SEBasicBlock(before, after, stride=1 if stage == 0 else 2)
            rest = [SEBasicBlock(after, after) for _ in range(blocks - 1)]
            self.stages.append(nn.Sequential(first, *rest))
            before = after
        bands = -(-mels // 2 ** (len(channels) - 1))
        flat = channels[-1] * bands
        self.attention = nn.Sequential(
            nn.Conv1d(flat, 128, 1), nn.ReLU(), nn.BatchNorm1d(128), nn.Conv1d(128, flat, 1)
        )
        self.fc = nn.Linear(flat, feature_dim)

    def forward(self, mel: Tensor) -> Tensor:
        """Compute one vector per window."""
        features = self.stages(self.stem(mel)).flatten(1, 2)
        weights = self.attention(features).softmax(-1)
        return self.fc((features * weights).sum(-1))
