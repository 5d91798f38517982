"""Small networks that read faces: landmarks and motion in one, identity in the other."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

POINTS = 68
"""Landmarks in the order of iBUG."""
MEASURES = ("yaw", "pitch", "roll", "gaze_x", "gaze_y", "blink", "opening")
"""What the face network reads besides landmarks, each of about unit size."""
_RIGHT_EYE, _LEFT_EYE, _MOUTH = slice(36, 42), slice(42, 48), slice(48, 68)


class ConvStages(nn.Module):
    """A convolution, then residual stages, each at half of the resolution before it.

    Args:
        channels: Channels of the convolution, at half of the input's resolution, and the stages.
        blocks: Residual blocks of each stage.

    Shape:
        - frames: (N, 3, S, S)
        - output: one map per stage, (N, channels[i], S / 2**(i + 1), S / 2**(i + 1))
    """

    def __init__(self, channels: tuple[int, ...], blocks: int = 1) -> None:
        super().__init__()
        self.stages = nn.ModuleList([_conv(3, channels[0], stride=2)])
        for before, width in pairwise(channels):
            layers = [_block(before, width, stride=2)]
            layers += [_block(width, width) for _ in range(blocks - 1)]
            self.stages.append(nn.Sequential(*layers))

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Encode frames."""
        # Convolutions on CPUs are twice as fast in this layout.
        features = frames.contiguous(memory_format=torch.channels_last)
        maps = []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return maps


class FaceNetwork(nn.Module):
    r"""Read landmarks by heat maps, then motion from the eyes and the mouth that they show.

    A feature pyramid gives a heat map per landmark, whose expected position
    :math:`\sum_x x\,\mathrm{softmax}(h)_x` is a first estimate. Eyes and mouth are cut out of the
    frame there, upright and at one scale. A perceptron takes what convolutions see in the cuttings,
    the points and the encoder's mean features; it moves the points, and reads pose, gaze, blink and
    mouth opening.

    Args:
        channels: Channels of the encoder's stages, from half of the resolution on.
        pyramid: Channels of the feature pyramid.
        hidden: Width of the perceptron.

    Shape:
        - frames: (N, 3, S, S) in [-1, 1], S a multiple of 16
        - points: (N, 68, 2), the expected positions as fractions of the side, x right and y down
        - refined: (N, 68, 2), the same after the perceptron
        - measures: (N, 7), see :data:`MEASURES`
        - presence: (N,) logit of there being a face

    Example:
        >>> network = FaceNetwork((8, 8, 16, 16), pyramid=8, hidden=16)
        >>> [tuple(part.shape) for part in network(torch.zeros(2, 3, 64, 64))]
        [(2, 68, 2), (2, 68, 2), (2, 7), (2,)]
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (24, 48, 96, 128),
        pyramid: int = 64,
        hidden: int = 160,
    ) -> None:
        super().__init__()
        self.encoder = ConvStages(channels)
        self.lateral = nn.ModuleList(nn.Conv2d(width, pyramid, 1) for width in channels[1:])
        self.smooth = nn.ModuleList(_conv(pyramid, pyramid) for _ in channels[2:])
        self.heat = nn.Conv2d(pyramid, POINTS, 1)
        self.eyes, self.mouth = _look(6, 64), _look(3, 48)
        seen = (64 + 48) * 3 * 5
        self.perceptron = nn.Sequential(
            nn.Linear(seen + 2 * POINTS + channels[-1], hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
        )
        self.shift = nn.Linear(hidden, 2 * POINTS)
        self.measure = nn.Linear(hidden, len(MEASURES))
        self.presence = nn.Linear(channels[-1], 1)
        nn.init.zeros_(self.shift.weight)
        nn.init.zeros_(self.shift.bias)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Read frames."""
        maps = self.encoder(frames)[1:]
        pooled = maps[-1].mean((2, 3))
        features = self.lateral[-1](maps[-1])
        for lateral, smooth, fine in zip(
            reversed(self.lateral[:-1]), self.smooth, reversed(maps[:-1]), strict=True
        ):
            features = smooth(lateral(fine) + F.interpolate(features, scale_factor=2.0))
        points = expected_position(self.heat(features))
        # The perceptron shall not bend the heat maps to its own ends.
        still = points.detach()
        scale = (still.amax(1) - still.amin(1)).prod(1).sqrt()[:, None]
        right, left = still[:, _RIGHT_EYE].mean(1), still[:, _LEFT_EYE].mean(1)
        across = F.normalize(left - right, dim=1) * scale
        eyes = [cut_out(frames, eye, 0.17 * across) for eye in (right, left)]
        mouth = cut_out(frames, still[:, _MOUTH].mean(1), 0.32 * across)
        centred = (still - still.mean(1, keepdim=True)) / scale[..., None]
        seen = [self.eyes(torch.cat(eyes, dim=1)), self.mouth(mouth), centred.flatten(1), pooled]
        hidden = self.perceptron(torch.cat([part.float() for part in seen], dim=1))
        shift = 0.1 * self.shift(hidden).float().unflatten(1, (POINTS, 2))
        refined = still + scale[..., None] * shift
        return points, refined, self.measure(hidden).float(), self.presence(pooled)[:, 0].float()


class IdentityNetwork(nn.Module):
    """Residual stages, their mean features, and a projection to a unit vector.

    Args:
        channels: Channels of the stages.
        blocks: Residual blocks of each stage.
        dim: Size of the embedding.

    Shape:
        - frames: (N, 3, S, S) in [-1, 1]
        - output: (N, dim), rows of length 1

    Example:
        >>> IdentityNetwork((8, 16), dim=4)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self, channels: tuple[int, ...] = (32, 64, 128, 192), blocks: int = 1, dim: int = 128
    ) -> None:
        super().__init__()
        self.encoder = ConvStages(channels, blocks)
        self.project = nn.Sequential(nn.Linear(channels[-1], dim), nn.BatchNorm1d(dim))

    def forward(self, frames: Tensor) -> Tensor:
        """Embed frames."""
        pooled = self.encoder(frames)[-1].mean((2, 3))
        return F.normalize(self.project(pooled).float(), dim=1)


def expected_position(heat: Tensor) -> Tensor:
    r"""Expected position under the softmax of each heat map, as fractions of the side.

    A cell's position is its centre: the map's corners lie at (0, 0) and (1, 1).

    Shape:
        - heat: (N, K, h, w)
        - output: (N, K, 2), x and y

    References:
        Nibali et al., "Numerical Coordinate Regression with Convolutional Neural Networks", 2018,
        section 4.1, https://arxiv.org/abs/1801.07372

    Example:
        >>> heat = torch.zeros(1, 1, 4, 4)
        >>> heat[0, 0, 3, 0] = 100.0
        >>> expected_position(heat)
        tensor([[[0.1250, 0.8750]]])
    """
    rows, columns = heat.shape[2:]
    weight = heat.float().flatten(2).softmax(2).unflatten(2, (rows, columns))
    x = (torch.arange(columns, device=heat.device) + 0.5) / columns
    y = (torch.arange(rows, device=heat.device) + 0.5) / rows
    return torch.stack([weight.sum(2) @ x, weight.sum(3) @ y], dim=2)


def cut_out(
    frames: Tensor, centre: Tensor, across: Tensor, size: tuple[int, int] = (12, 20)
) -> Tensor:
    """Cut a turned rectangle out of each frame.

    Args:
        frames: Frames.
        centre: Middle of the rectangle, as fractions of the side.
        across: From the middle to the middle of the right edge.
        size: Height and width of what comes out; the rectangle has the same proportions.

    Shape:
        - frames: (N, C, S, S)
        - centre, across: (N, 2) x and y
        - output: (N, C, height, width) of ``size``

    Example:
        >>> frames = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> cut_out(frames, torch.tensor([[0.5, 0.5]]), torch.tensor([[0.0, 0.5]]), (4, 4))[0, 0, 0]
        tensor([ 3.,  7., 11., 15.])
    """
    height, width = size
    down = torch.stack([-across[:, 1], across[:, 0]], dim=1) * height / width
    # affine_grid counts from -1 to 1, over the frame as well as over what comes out.
    theta = torch.stack([2 * across, 2 * down, 2 * centre - 1], dim=2)
    grid = F.affine_grid(theta, [len(frames), frames.shape[1], *size], align_corners=False)
    return F.grid_sample(frames, grid, padding_mode="border", align_corners=False)


def _look(before: int, width: int) -> nn.Sequential:
    """Convolutions over a cutting of 12 x 20, to features at each of 3 x 5 places."""
    return nn.Sequential(
        _conv(before, width // 2),
        _conv(width // 2, width // 2),
        _conv(width // 2, width, stride=2),
        _conv(width, width, stride=2),
        nn.Flatten(),
    )


def _conv(before: int, width: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, 3, stride, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


def _block(before: int, width: int, stride: int = 1) -> BasicBlock:
    shortcut = None
    if stride > 1 or before != width:
        shortcut = nn.Sequential(
            nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width)
        )
    return BasicBlock(before, width, stride, shortcut)
