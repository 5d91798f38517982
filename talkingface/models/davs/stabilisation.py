"""Removal of scale jitter: generated frames are laid over the photo, outside the mouth."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import rgb_to_grayscale

LEVELS = (4, 2, 1)
"""Reductions at which frames are laid over the photo, one after the other."""
ITERATIONS = 6
"""Steps at each of them."""
LIMIT = 0.1
"""Change of scale, rotation (radians) or place (share of the side) beyond which a frame is left."""


def stabilise(frames: Tensor, photo: Tensor, mouth: Tensor) -> Tensor:
    """Undo the small changes of scale, rotation and place that frames have against the photo.

    Training clips whose frames are aligned one by one teach a generator that faces change their
    scale. The paper smooths its results by subspace video stabilisation (Liu et al., 2011), which
    needs tracks of points; as the head is meant to stay where it is in the photo, here each frame
    is registered to the photo by itself, so that no frame depends on others.

    Args:
        frames: generated frames.
        photo: the photo that they are generated from.
        mouth: 1 where frames may differ from the photo, else 0.

    Shape:
        - frames: (T, 3, H, W) in any range; photo: (3, H, W); mouth: broadcasts to (H, W).
        - output: (T, 3, H, W)

    Example:
        >>> photo = torch.rand(3, 32, 32)
        >>> frames = stabilise(photo.expand(2, 3, 32, 32), photo, torch.zeros(32, 32))
        >>> torch.allclose(frames, photo.expand(2, 3, 32, 32), atol=1e-4)
        True
    """
    with torch.autocast(frames.device.type, enabled=False):  # it solves equations
        scale, shift = register(frames, photo, mouth)
        return _sample(frames, scale, shift, frames.shape[-1])


@torch.no_grad()
def register(frames: Tensor, photo: Tensor, mouth: Tensor) -> tuple[Tensor, Tensor]:
    """Find the similarities z -> a z + b that take the photo's places to those of each frame.

    Inverse compositional Gauss-Newton steps (Baker and Matthews, 2004) on grey levels, coarse to
    fine; gain and offset of the grey levels are free. Places are complex numbers, x + iy, both in
    [-1, 1] over the frame. A frame that cannot be registered gets the identity.

    Shape:
        - frames: (T, 3, H, W); photo: (3, H, W); mouth: broadcasts to (H, W).
        - output: a and b, (T,) complex64.
    """
    count, size = len(frames), photo.shape[-1]
    grey = rgb_to_grayscale(torch.cat([photo[None].float(), frames.float()]))
    weight = (1 - mouth.float()).expand(size, size)[None, None]
    a = torch.ones(count, dtype=torch.complex64, device=frames.device)
    b = torch.zeros_like(a)
    for level in LEVELS:
        side = max(size // level, 8)
        reduced = F.interpolate(grey, (side, side), mode="area")
        target = reduced[0].flatten()
        places = _places(side, frames.device)
        slope_y, slope_x = (slope.flatten() * side / 2 for slope in torch.gradient(reduced[0, 0]))
        columns = [
            slope_x * places.real + slope_y * places.imag,  # of scale
            slope_y * places.real - slope_x * places.imag,  # of rotation
            slope_x,
            slope_y,
            target,
            torch.ones_like(target),
        ]
        jacobian = torch.stack(columns, dim=1)
        weights = F.interpolate(weight, (side, side), mode="area").flatten()
        # The edge is left out: there frames are sampled outside.
        edge = places.real.abs().maximum(places.imag.abs()) > 1 - 2 * LIMIT
        weighted = jacobian * weights.masked_fill(edge, 0)[:, None]
        solver = torch.linalg.pinv(weighted.T @ jacobian) @ weighted.T
        for _ in range(ITERATIONS):
            error = _sample(reduced[1:], a, b, side).flatten(1) - target
            step = error @ solver.T
            turn, move = torch.complex(1 + step[:, 0], step[:, 1]), torch.complex(*step[:, 2:4].T)
            a = a / turn
            b = b - a * move
    lost = ((a - 1).abs() > LIMIT) | (b.abs() > 2 * LIMIT) | ~torch.isfinite(a.abs() + b.abs())
    return a.masked_fill(lost, 1), b.masked_fill(lost, 0)


def _places(side: int, device: torch.device) -> Tensor:
    """Centres of pixels as complex numbers, (side * side,)."""
    line = (torch.arange(side, device=device) * 2 + 1) / side - 1
    return torch.complex(line.repeat(side), line.repeat_interleave(side))


def _sample(frames: Tensor, a: Tensor, b: Tensor, side: int) -> Tensor:
    places = a[:, None] * _places(side, frames.device) + b[:, None]
    grid = torch.view_as_real(places).unflatten(1, (side, side))
    return F.grid_sample(frames.float(), grid, padding_mode="border", align_corners=False)
