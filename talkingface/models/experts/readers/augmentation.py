"""Make frames look like anything a generator may make of them, and labels follow."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

MIRRORED = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)
"""Which of the 68 landmarks each one becomes in the mirror."""


def degrade(frames: Tensor, smallest: int = 28, groups: int = 4) -> Tensor:
    """Lose detail, at random: lower resolution, blur, other colours, noise.

    The frames are dealt to groups; each group gets one resolution, down to ``smallest`` pixels or
    none at all, and one blur. Colour and noise are drawn for each frame.

    Args:
        frames: Frames.
        smallest: Least resolution, in pixels.
        groups: Number of groups.

    Shape:
        - frames: (N, 3, S, S) in [-1, 1]
        - output: the same

    Example:
        >>> degrade(torch.zeros(4, 3, 64, 64)).shape
        torch.Size([4, 3, 64, 64])
    """
    size = frames.shape[-1]
    parts = []
    for part in frames.chunk(groups):
        sharp, side, sigma = torch.rand(3).tolist()
        if sharp > 0.4:
            coarse = min(size, smallest + int(side * (size - smallest + 1)))
            part = F.interpolate(part, (coarse, coarse), mode="bilinear", antialias=True)
            part = F.interpolate(part, (size, size), mode="bilinear")
        if sharp > 0.75:
            part = gaussian_blur(part, [7, 7], [0.3 + 1.5 * sigma])
        parts.append(part)
    frames = torch.cat(parts)
    gain = 1 + 0.2 * _spread(frames, 1) + 0.08 * _spread(frames, 3)
    shift = 0.15 * _spread(frames, 1) + 0.05 * _spread(frames, 3)
    noise = 0.08 * torch.rand(len(frames), 1, 1, 1, device=frames.device).square()
    return (frames * gain + shift + noise * torch.randn_like(frames)).clamp(-1, 1)


def reframe(frames: Tensor, points: Tensor, shift: float, zoom: float) -> tuple[Tensor, Tensor]:
    """Shift and scale frames at random, and their points with them; borders are mirrored.

    Args:
        frames: Frames.
        points: Points as fractions of the side.
        shift: Largest shift, as a fraction of the side.
        zoom: Largest change of scale.

    Shape:
        - frames: (N, 3, S, S)
        - points: (N, K, 2)
        - output: both, the same

    Example:
        >>> frames, points = reframe(torch.zeros(2, 3, 8, 8), torch.full((2, 1, 2), 0.5), 0.1, 0.1)
        >>> bool(((points - 0.5).abs() <= 0.1).all())
        True
    """
    count = len(frames)
    scale = 1 + zoom * (2 * torch.rand(count, 1, 1, device=frames.device) - 1)
    move = shift * (2 * torch.rand(count, 1, 2, device=frames.device) - 1)
    # grid_sample asks where each pixel comes from, in [-1, 1]: p' = s p + 2 m, so p = (p' - 2 m)/s.
    eye = torch.eye(2, device=frames.device).expand(count, 2, 2)
    theta = torch.cat([eye / scale, (-2 * move / scale).transpose(1, 2)], dim=2)
    grid = F.affine_grid(theta, list(frames.shape), align_corners=False)
    frames = F.grid_sample(frames, grid, padding_mode="reflection", align_corners=False)
    return frames, (points - 0.5) * scale + 0.5 + move


def spoil(frames: Tensor) -> Tensor:
    """Frames without a face: shuffled squares, bare noise or one colour, in equal parts.

    Shape:
        - frames: (N, 3, S, S) in [-1, 1], S a multiple of 4
        - output: the same

    Example:
        >>> spoil(torch.zeros(3, 3, 16, 16)).shape
        torch.Size([3, 3, 16, 16])
    """
    shuffled, noise, flat = frames.tensor_split(3)
    count, side = len(shuffled), frames.shape[-1] // 4
    squares = F.unfold(shuffled, side, stride=side)  # (N, 3 * side * side, 16)
    order = torch.rand(count, 16, device=frames.device).argsort(1)
    squares = squares.gather(2, order[:, None].expand_as(squares))
    shuffled = F.fold(squares, (4 * side, 4 * side), side, stride=side)
    coarse = torch.randn_like(noise[..., ::8, ::8])
    noise = F.interpolate(coarse, noise.shape[-2:], mode="bilinear") + 0.3 * torch.randn_like(noise)
    flat = (2 * torch.rand_like(flat[..., :1, :1]) - 1).expand_as(flat)
    return torch.cat([shuffled, noise.clamp(-1, 1), flat])


def _spread(frames: Tensor, channels: int) -> Tensor:
    return 2 * torch.rand(len(frames), channels, 1, 1, device=frames.device) - 1
