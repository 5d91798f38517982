"""How sharp frames look, without a reference."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from talkingface.data.batch import to_uint8
from talkingface.metrics._base import ClipMean, Value, check_frames, parts

BLOCK = 64
"""Side of the blocks, in pixels."""
BETA = 3.6
"""Slope of the probability of seeing blur."""
EDGE_SHARE = 0.002
"""Share of edge pixels above which a block counts."""
LEAST = 224
"""Smallest side: smaller frames have too few blocks to mean anything."""


class CPBD(ClipMean):
    r"""Cumulative probability of blur detection: share of edges too narrow to be seen as blurred.

    .. math:: P(e) = 1 - \exp\left(-\left(\frac{w(e)}{w_{JNB}}\right)^{3.6}\right), \quad
              \mathrm{CPBD} = P\left(P(e) \le 0.63\right)

    over the vertical edges of all blocks of 64 x 64 px that have edges. :math:`w` is an edge's
    width in pixels, :math:`w_{JNB}` the width at which blur is just noticed: 5 in blocks of
    contrast up to 50 (of 255), else 3. Mean over frames, then clips; frames without edges give 0.

    Implementations disagree. This one gives what the Python port `cpbd` 1.0.7 gives: 8-bit luma
    (ITU-R 601); Canny with sigma 1 and thresholds 0.1 and 0.2 on values of 0 to 255, so that nearly
    every block counts; edge pixels are strict local maxima, in either direction, of the squared
    horizontal Sobel response above twice the root of its mean; gradients within 22.5 degrees of
    horizontal, or with no horizontal part, which the port takes for rising; the width is that of
    the strictly monotone run of luma along the row. Probabilities are rounded to whole percents.
    Profiles:

    - `atvg`: the first 63 of 101 percents count as sharp, as in the evaluation of ATVGnet: an edge
      just as wide as :math:`w_{JNB}`, which is at 63 percent, is blurred.
    - `narvekar`: the first 64, as in the paper (at most 63 percent) and the port.

    Args:
        profile: `atvg` or `narvekar`.

    Shape:
        - frames: (T, 3, H, W) RGB in [-1, 1], one clip; H and W at least 224
        - output: scalar in [0, 1], higher is sharper; report that of real frames beside it

    Raises:
        ValueError: If the profile is unknown, the range is wrong, or frames are too small.

    References:
        Narvekar and Karam, "A No-Reference Image Blur Metric Based on the Cumulative Probability
        of Blur Detection (CPBD)", IEEE TIP 2011

    Examples:
        >>> ramp = torch.tensor([-1.0, -1.0, 0.0, 1.0, 1.0, 0.0]).repeat(40)
        >>> metric = CPBD()
        >>> metric.update(ramp[None, None, None].expand(1, 3, 240, 240))
        >>> metric.compute()  # edges two pixels wide
        tensor(1.)
    """

    name = "cpbd"
    profiles = ("atvg", "narvekar")
    values = (Value("cpbd", 0, 1, "higher"),)
    higher_is_better = True

    def __init__(self, profile: Literal["atvg", "narvekar"] = "atvg") -> None:
        super().__init__()
        self.choose(profile)

    def update(self, frames: Tensor) -> None:
        """Take in one clip."""
        frames = check_frames(frames)
        if min(frames.shape[-2:]) < LEAST:
            raise ValueError(
                f"CPBD needs frames of {LEAST} px or more, got {frames.shape[-2]} x "
                f"{frames.shape[-1]}"
            )
        last = 62 if self.profile == "atvg" else 63
        self.add(torch.cat([_cpbd(part, last) for (part,) in parts(frames)]).mean())


def luma(frames: Tensor) -> Tensor:
    """8-bit luma of frames in [-1, 1], as whole float64 numbers: (T, H, W)."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64, device=frames.device)
    return torch.einsum("tchw,c->thw", to_uint8(frames).double(), weights).round()


def edge_widths(image: Tensor) -> Tensor:
    """Width of the vertical edge at each pixel, 0 where there is none: (T, H, W) of luma.

    Examples:
        >>> row = torch.tensor([0.0, 0, 0, 50, 125, 200, 250, 250, 250], dtype=torch.float64)
        >>> edge_widths(row.expand(1, 5, 9))[0, 2]
        tensor([0, 0, 0, 0, 4, 0, 0, 0, 0])
    """
    rise = image.diff(dim=2)
    rising = _widths(rise > 0)
    falling = _widths(rise < 0)
    slope_y, slope_x = torch.gradient(image, dim=(1, 2))
    direction = (torch.atan2(slope_y, slope_x) * (180 / torch.pi) / 45).round()
    direction = direction.where(slope_x != 0, 0)  # as in the port: counts as rising
    widths = rising * (direction == 0) + falling * (direction.abs() == 4)
    inner = F.pad(torch.ones_like(image[:, 1:-1, 1:-1]), (1, 1, 1, 1)).bool()
    return widths * (_sobel_edges(image) & inner)


def _widths(step: Tensor) -> Tensor:
    """From pixel to pixel, how far the run of steps reaches on both sides of its neighbours."""
    before = F.pad(_run_lengths(step), (1, 0))  # steps in a row that end at a pixel
    after = F.pad(_run_lengths(step.flip(2)).flip(2), (0, 1))  # that begin there
    # The run is followed from the neighbours on, whatever happens next to the pixel itself.
    return F.pad(before[..., :-1] + 1, (1, 0)) + F.pad(after[..., 1:] + 1, (0, 1))


def _run_lengths(steps: Tensor) -> Tensor:
    """Number of true values in a row up to each place, along the last dimension."""
    place = torch.arange(1, steps.shape[-1] + 1, device=steps.device).expand(steps.shape)
    return place - (place * ~steps).cummax(-1).values


def _sobel_edges(image: Tensor) -> Tensor:
    """Thinned pixels of a strong horizontal gradient."""
    kernel = image.new_tensor([[1, 0, -1], [2, 0, -2], [1, 0, -1]]) / 8
    padded = F.pad(image[:, None], (1, 1, 1, 1), mode="replicate")
    strength = F.conv2d(padded, kernel[None, None]).square()[:, 0]
    cut = 2 * strength.mean((1, 2), keepdim=True).sqrt()
    strength = strength * (strength > cut)
    around = F.pad(strength, (1, 1, 1, 1))
    middle, centre = around[:, 1:-1], around[..., 1:-1]
    horizontal = (strength > middle[..., :-2]) & (strength > middle[..., 2:])
    vertical = (strength > centre[:, :-2]) & (strength > centre[:, 2:])
    return horizontal | vertical


def _cpbd(frames: Tensor, last: int) -> Tensor:
    """CPBD of each frame; `last` is the highest percent that counts as sharp."""
    from kornia.filters import canny

    image = luma(frames)
    widths = _blocks(edge_widths(image))
    _, found = canny(image[:, None].float(), 0.1, 0.2, kernel_size=(9, 9), sigma=(1.0, 1.0))
    busy = _blocks(found[:, 0] > 0).sum(-1) > EDGE_SHARE * BLOCK**2
    pixels = _blocks(image)
    contrast = pixels.amax(-1) - pixels.amin(-1)
    noticed = torch.where(contrast <= 50, 5.0, 3.0)[..., None]
    percent = (100 * (1 - torch.exp(-((widths / noticed) ** BETA)))).round()
    counted = (widths > 0) & busy[..., None]
    sharp = (counted & (percent <= last)).sum((1, 2))
    return sharp.double() / counted.sum((1, 2)).clamp_min(1)


def _blocks(image: Tensor) -> Tensor:
    """Pixels of each whole block: (T, blocks, 64 * 64)."""
    cut = image.unfold(1, BLOCK, BLOCK).unfold(2, BLOCK, BLOCK)
    return cut.flatten(3).flatten(1, 2)
