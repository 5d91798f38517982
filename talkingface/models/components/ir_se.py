"""IR-SE networks: face recognition with ArcFace, and the trunk of inversion encoders.

Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition" (2019). The tensors
have the names of the released weights (``model_ir_se50.pth``), which pSp's encoder starts from.
"""

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation


class IRSEUnit(nn.Module):
    """Residual unit with a batch norm in front, a channel gate, and nothing after the sum.

    Shape:
        - input: (B, in_channels, H, W); output: (B, out_channels, ceil(H / stride), ...).

    Example:
        >>> import torch
        >>> IRSEUnit(8, 16, stride=2)(torch.zeros(1, 8, 6, 6)).shape
        torch.Size([1, 16, 3, 3])
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if in_channels != out_channels:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.PReLU(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            _gate(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the unit."""
        return self.res_layer(x) + self.shortcut_layer(x)


class IRSETrunk(nn.Module):
    """A convolution, then stages of IR-SE units; the first unit of each stage halves both sides.

    Args:
        channels: Channels of the stages; the convolution has the first one's.
        depths: Units per stage; (3, 4, 14, 3) is IR-SE50.

    Shape:
        - images: (B, 3, H, W); output of :meth:`stages`: a map per stage,
          (B, channels[i], H / 2**(i + 1), W / 2**(i + 1)).

    Example:
        >>> import torch
        >>> trunk = IRSETrunk((8, 16), depths=(1, 2))
        >>> [tuple(x.shape[1:]) for x in trunk.stages(torch.zeros(1, 3, 32, 32))]
        [(8, 16, 16), (16, 8, 8)]
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (64, 128, 256, 512),
        depths: tuple[int, ...] = (3, 4, 14, 3),
    ) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, channels[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(channels[0]),
            nn.PReLU(channels[0]),
        )
        self.body = nn.Sequential()
        self.ends: list[int] = []  # index of each stage's last unit
        before = channels[0]
        for width, depth in zip(channels, depths, strict=True):
            for unit in range(depth):
                self.body.append(IRSEUnit(before, width, stride=1 if unit else 2))
                before = width
            self.ends.append(len(self.body) - 1)

    def stages(self, images: Tensor) -> list[Tensor]:
        """Compute the map at the end of each stage."""
        maps, x = [], self.input_layer(images)
        for index, unit in enumerate(self.body):
            x = unit(x)
            if index in self.ends:
                maps.append(x)
        return maps


class ArcFace(IRSETrunk):
    """The face recognition network IR-SE50 at 112 px.

    Args:
        channels: Channels of the stages.
        depths: Units per stage.
        dim: Length of the vector.

    Shape:
        - faces: (B, 3, 112, 112) RGB in [-1, 1]; output: (B, dim), of length one.

    Example:
        >>> import torch
        >>> network = ArcFace((4, 4, 8, 8), depths=(1, 1, 1, 1), dim=16).eval()
        >>> network(torch.rand(2, 3, 112, 112)).norm(dim=1).allclose(torch.ones(2))
        True
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (64, 128, 256, 512),
        depths: tuple[int, ...] = (3, 4, 14, 3),
        dim: int = 512,
    ) -> None:
        super().__init__(channels, depths)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(channels[-1]),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(channels[-1] * (112 // 2 ** len(channels)) ** 2, dim),
            nn.BatchNorm1d(dim),
        )

    def forward(self, faces: Tensor) -> Tensor:
        """Embed faces."""
        return F.normalize(self.output_layer(self.stages(faces)[-1]), dim=1)


def _gate(channels: int) -> nn.Module:
    gate = SqueezeExcitation(channels, max(channels // 16, 1))
    for layer in (gate.fc1, gate.fc2):
        layer.register_parameter("bias", None)
    return gate
