"""Reconstruction losses on frames."""

import torch
from torch import Tensor

DAVS_MOUTH = (170 / 256, 64 / 256, 234 / 256, 192 / 256)
"""Mouth in DAVS's crop: top, left, bottom and right as fractions of the side."""


def box_mask(size: int, box: tuple[float, float, float, float] = DAVS_MOUTH) -> Tensor:
    """Mask of a box: one inside, zero outside.

    Args:
        size: Side of the frames, pixels.
        box: Top, left, bottom and right as fractions of the side.

    Returns:
        Mask of shape (size, size).

    Raises:
        ValueError: If the box does not lie within [0, 1], or holds no pixel.

    Examples:
        >>> box_mask(8).int()[4:].tolist()
        [[0, 0, 0, 0, 0, 0, 0, 0],
         [0, 0, 1, 1, 1, 1, 0, 0],
         [0, 0, 1, 1, 1, 1, 0, 0],
         [0, 0, 0, 0, 0, 0, 0, 0]]
    """
    if len(box) != 4 or not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
        raise ValueError(f"a box is (top, left, bottom, right) within [0, 1], not {box}.")
    top, left, bottom, right = (round(edge * size) for edge in box)
    mask = torch.zeros(size, size)
    mask[top:bottom, left:right] = 1
    if not mask.any():
        raise ValueError(f"box {box} holds no pixel of a frame of {size} px")
    return mask


def masked_l1(frames: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    r"""Weighted absolute difference, :math:`\overline{m \lvert x - y \rvert}`, over *all* pixels.

    Args:
        frames: Frames of shape (..., H, W).
        target: Frames of the same shape.
        mask: Weights of shape (H, W).

    Returns:
        Scalar.

    Raises:
        ValueError: If the shapes differ.

    Examples:
        >>> mask = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
        >>> masked_l1(torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2), mask)
        tensor(0.2500)
    """
    if frames.shape != target.shape or frames.shape[-2:] != mask.shape:
        raise ValueError(
            f"shapes differ: {tuple(frames.shape)}, {tuple(target.shape)}, mask {tuple(mask.shape)}"
        )
    return (mask * (frames - target).abs()).mean()


def landmark_weights(points: Tensor, size: int, weight: float, radius: float = 0.03) -> Tensor:
    r"""Weights of pixels, one and more near landmarks: :math:`1 + w \max_p e^{-d_p^2 / 2 r^2}`.

    Eyes and lips are few pixels, which a plain mean hardly counts.

    Args:
        points: Landmarks (x, y) in pixels, a pixel's centre being an integer, of shape (N, P, 2).
        size: Side of the frames, pixels.
        weight: What a pixel on a landmark counts more than one far away.
        radius: Reach r of a landmark, as a fraction of the side.

    Returns:
        Weights of shape (N, 1, size, size).

    Examples:
        >>> landmark_weights(torch.tensor([[[1.0, 0.0]]]), 4, weight=2.0, radius=0.25)[0, 0, 0]
        tensor([2.2131, 3.0000, 2.2131, 1.2707])
    """
    places = torch.arange(size, device=points.device, dtype=points.dtype)
    # A Gaussian is a product of its axes; the largest of the points' is that of the nearest.
    across, down = (
        torch.exp(-(axis[..., None] - places).square() / (2 * (radius * size) ** 2))
        for axis in points.unbind(-1)
    )
    return 1 + weight * (down[..., None] * across[..., None, :]).amax(1)[:, None]
