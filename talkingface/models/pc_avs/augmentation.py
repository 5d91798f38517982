"""Augmentation of the frames from which PC-AVS takes pose and speech content."""

import torch
from einops import rearrange
from kornia.geometry import (
    get_affine_matrix2d,
    get_perspective_transform,
    warp_affine,
    warp_perspective,
)
from torch import Tensor, nn


def perspective_points(
    margin: Tensor, step: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    r"""Give the four point pairs that define the paper's perspective transformation.

    .. math::
        P_s &= [(-r_s, -r_s), (W + r_s, -r_s), (-r_s, H + r_s), (W + r_s, H + r_s)] \\
        P_t &= [(-r_s + r_t, -r_s), (W + r_s, -r_s), (-r_s, H + r_s), (W + r_s + r_t, H + r_s)]

    These are the points as printed: upper left and lower right move along x by the same step,
    upper right and lower left stay. The upper edge so loses what the lower edge gains, and the
    face becomes a trapezoid that is symmetric about the axis x = (W + r_t) / 2. This is how
    "symmetrically moving the points along the x axis" is read.

    Args:
        margin: :math:`r_s` in pixels, of shape (B,).
        step: :math:`r_t` in pixels, of shape (B,), of either sign; positive narrows the top.
        height: H.
        width: W.

    Returns:
        Source and target points, both (B, 4, 2) as (x, y).

    References:
        Zhou et al., "Pose-Controllable Talking Face Generation by Implicitly Modularized
        Audio-Visual Representation", CVPR 2021, above eq. 1, https://arxiv.org/abs/2104.11116

    Examples:
        >>> source, target = perspective_points(torch.tensor([2.0]), torch.tensor([3.0]), 10, 20)
        >>> source[0].tolist()
        [[-2.0, -2.0], [22.0, -2.0], [-2.0, 12.0], [22.0, 12.0]]
        >>> target[0].tolist()
        [[1.0, -2.0], [22.0, -2.0], [-2.0, 12.0], [25.0, 12.0]]
    """
    left, top, right, bottom = -margin, -margin, width + margin, height + margin
    source = torch.stack([left, top, right, top, left, bottom, right, bottom], dim=-1)
    moved = [left + step, top, right, top, left, bottom, right + step, bottom]
    return source.unflatten(-1, (4, 2)), torch.stack(moved, dim=-1).unflatten(-1, (4, 2))


class PCAVSAugmentation(nn.Module):
    """Change colors, facial shape and scale at random, keep pose and mouth.

    What survives the augmentation of the target frames is what the non-identity encoder can use
    to rebuild them: head pose and speech content. Three steps, all drawn once per clip, so that
    the frames of a clip stay comparable over time:

    1. *perspective transformation* (eq. 1), see `perspective_points`,
    2. *centred random crop*, resized back; its centre is where the perspective has brought the
       frame's centre, so a face is not moved aside (its place is part of the pose),
    3. *color transfer*: each of R, G and B is multiplied by a random factor and shifted.

    The paper gives no strengths; the defaults are chosen by eye. Both warps are done at once, by
    bilinear interpolation; what comes from outside the frame is mirrored at its border, since
    black wedges would give the transformation away. All random numbers come from the global torch
    generator of the frames' device.

    Args:
        color: Largest change of a channel's factor from 1; half of it is the largest shift, as a
            fraction of the value range.
        margin: Largest :math:`r_s`, as a fraction of the width.
        step: Largest :math:`r_t` to either side, as a fraction of the width.
        crop: Largest part of height and width that is cut away.

    Shape:
        - frames: (B, T, 3, H, W) RGB in [-1, 1]
        - output: the same

    Raises:
        ValueError: If a strength is out of range, or the frames are not of this shape and type.

    References:
        Zhou et al., "Pose-Controllable Talking Face Generation by Implicitly Modularized
        Audio-Visual Representation", CVPR 2021, section 3.1, https://arxiv.org/abs/2104.11116

    Examples:
        >>> augment = PCAVSAugmentation()
        >>> frames = torch.rand(2, 5, 3, 64, 64) * 2 - 1
        >>> augment(frames).shape
        torch.Size([2, 5, 3, 64, 64])
    """

    def __init__(
        self, color: float = 0.2, margin: float = 0.1, step: float = 0.15, crop: float = 0.1
    ) -> None:
        super().__init__()
        strengths = {"color": color, "margin": margin, "step": step, "crop": crop}
        for name, strength in strengths.items():
            if not 0 <= strength < 1:
                raise ValueError(f"{name} is a fraction in [0, 1), got {strength}")
        self.color, self.margin, self.step, self.crop = color, margin, step, crop

    def forward(self, frames: Tensor) -> Tensor:
        """Augment clips."""
        if frames.dim() != 5 or frames.shape[2] != 3 or not frames.is_floating_point():
            raise ValueError(
                "frames must be floats (B, T, 3, H, W) in [-1, 1], "
                f"got {frames.dtype} {tuple(frames.shape)}"
            )
        clips, count = frames.shape[:2]
        with torch.autocast(frames.device.type, enabled=False):  # coordinates need float32
            # All frames of a clip as channels of one image: one transformation for them.
            images = rearrange(frames, "b t c h w -> b (t c) h w").float()
            size = (images.shape[-2], images.shape[-1])
            matrix = self._matrix(clips, *size, device=frames.device)
            images = warp_perspective(images, matrix, size, padding_mode="reflection")
            factor = 1 + self.color * _uniform(clips, 1, 3, 1, 1, device=frames.device)
            shift = self.color * _uniform(clips, 1, 3, 1, 1, device=frames.device)
            warped = rearrange(images, "b (t c) h w -> b t c h w", t=count)
            # In [-1, 1] black is -1: the factor acts on the distance from black.
            augmented = ((warped + 1) * factor - 1 + shift).clamp(-1, 1)
        return augmented.to(frames.dtype)

    def _matrix(self, clips: int, height: int, width: int, device: torch.device) -> Tensor:
        """Draw the perspective transformation and the crop of each clip, as one (B, 3, 3)."""
        margin = self.margin * width * torch.rand(clips, device=device)
        step = self.step * width * _uniform(clips, device=device)
        perspective = get_perspective_transform(*perspective_points(margin, step, height, width))
        middle = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=device)
        x, y, w = (perspective @ torch.cat([middle, middle.new_ones(1)])).unbind(-1)
        zoom = 1 / (1 - self.crop * torch.rand(clips, device=device))
        crop = torch.zeros(clips, 3, 3, device=device)
        crop[:, 0, 0] = crop[:, 1, 1] = zoom
        crop[:, 0, 2] = middle[0] - zoom * x / w
        crop[:, 1, 2] = middle[1] - zoom * y / w
        crop[:, 2, 2] = 1
        return crop @ perspective


class PoseJitter(nn.Module):
    """Mirror whole samples, and shift, scale and turn their target frames a little.

    Not in the paper: on minutes of video it shows the pose code more poses than the clips have.
    Unlike :class:`PCAVSAugmentation` it changes what is to be generated. Source and target are
    mirrored together, half of the time; the target alone is moved, since a source that moved along
    would give the pose away. One draw per clip, from the global torch generator; borders are
    mirrored.

    Args:
        strength: Largest shift as a fraction of the width, largest change of scale, and largest
            rotation in radians.

    Shape:
        - source: (B, N, 3, H, W); video: (B, T, 3, H, W), in [-1, 1]
        - output: both, the same

    Raises:
        ValueError: If the strength is not in (0, 0.5).

    Examples:
        >>> source, video = torch.zeros(2, 1, 3, 32, 32), torch.zeros(2, 5, 3, 32, 32)
        >>> source, video = PoseJitter(0.05)(source, video)
        >>> source.shape, video.shape
        (torch.Size([2, 1, 3, 32, 32]), torch.Size([2, 5, 3, 32, 32]))
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        if not 0 < strength < 0.5:
            raise ValueError(f"strength is a fraction in (0, 0.5), got {strength}")
        self.strength = strength

    def forward(self, source: Tensor, video: Tensor) -> tuple[Tensor, Tensor]:
        """Jitter clips."""
        clips, count, _, height, width = video.shape
        device = video.device
        mirrored = torch.rand(clips, 1, 1, 1, 1, device=device) < 0.5
        source = torch.where(mirrored, source.flip(-1), source)
        video = torch.where(mirrored, video.flip(-1), video)
        shift = self.strength * width * _uniform(clips, 2, device=device)
        scale = 1 + self.strength * _uniform(clips, 1, device=device)
        degrees = torch.rad2deg(self.strength * _uniform(clips, device=device))
        middle = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=device)
        matrix = get_affine_matrix2d(
            shift, middle.expand(clips, 2), scale.expand(clips, 2), degrees
        )[:, :2]
        images = rearrange(video, "b t c h w -> b (t c) h w")
        with torch.autocast(device.type, enabled=False):
            images = warp_affine(images, matrix, (height, width), padding_mode="reflection")
        return source, rearrange(images, "b (t c) h w -> b t c h w", t=count)


def _uniform(*shape: int, device: torch.device) -> Tensor:
    return torch.rand(*shape, device=device) * 2 - 1
