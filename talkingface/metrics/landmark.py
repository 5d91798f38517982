"""Distances between the facial landmarks of generated and real frames."""

from typing import Literal

import torch
from torch import Tensor

from talkingface.metrics._base import CountingClipMean, Value

MOUTH = slice(48, 68)
"""The 20 points of the mouth among iBUG's 68."""
CONTOUR = slice(0, 17)
"""The 17 points of the jaw line."""
FEATURES = slice(17, 68)
"""The points of brows, nose, eyes and mouth."""
OUTER_EYE_CORNERS = (36, 45)


class LMD(CountingClipMean):
    r"""Landmark distance: how far mouth (or all) landmarks are from the real ones.

    .. math:: \mathrm{LMD} = \frac{1}{T} \sum_t \frac{1}{P} \sum_p
              \left\lVert (a_{tp} - \bar{a}_t) - (b_{tp} - \bar{b}_t) \right\rVert_2

    Each frame's points have their mean subtracted, so that where the mouth is does not count.
    Mean over frames, then clips. Two definitions are in use, a factor of the number of points
    (20 for the mouth) apart:

    - `mean`: as above.
    - `atvg`: the **sum** over the points in place of the mean, of points rounded to whole pixels,
      as the evaluation of ATVGnet does.

    Frames in which a point is NaN on either side have no face there: they are left out and counted
    in `dropped`; clips of which nothing is left are counted in `failed`. Papers seldom tell the
    size of their frames: state yours (256 px here) and the detector.

    Args:
        profile: `mean` or `atvg`.
        points: `mouth` or `all`.
        unit: `px`, or `iod` for multiples of the distance between the outer corners of the real
            eyes, its mean over the clip; this has a name of its own.

    Shape:
        - points_a, points_b: (T, 68, 2) pixels, of generated and real frames of one clip, in the
          order of iBUG; NaN where no face was found
        - output: scalar, zero or more, lower is better

    Raises:
        ValueError: If an argument is unknown, shapes are wrong or differ, or there was no face.

    References:
        Chen et al., "Lip Movements Generation at a Glance", ECCV 2018; Chen et al., "Hierarchical
        Cross-Modal Talking Face Generation with Dynamic Pixel-Wise Loss" (ATVGnet), CVPR 2019

    Examples:
        >>> real = torch.zeros(5, 68, 2)
        >>> wider = real.clone()
        >>> wider[:, 48:58, 0] -= 1.5  # half of the mouth to the left, half to the right
        >>> wider[:, 58:, 0] += 1.5
        >>> metric = LMD()
        >>> metric.update(wider, real)
        >>> metric.compute()
        tensor(1.5000)
    """

    name = "lmd_mouth"
    profiles = ("mean", "atvg")
    values = (Value("lmd", 0, float("inf"), "lower"),)
    higher_is_better = False
    centred = True

    def __init__(
        self,
        profile: Literal["mean", "atvg"] = "mean",
        points: Literal["mouth", "all"] = "mouth",
        unit: Literal["px", "iod"] = "px",
    ) -> None:
        if points not in ("mouth", "all"):
            raise ValueError(f"points is 'mouth' or 'all', got {points!r}")
        self._setup(profile, f"lmd_{points}", MOUTH if points == "mouth" else slice(0, 68), unit)

    def _setup(self, profile: str, name: str, points: slice, unit: str) -> None:
        super().__init__()
        if unit not in ("px", "iod"):
            raise ValueError(f"unit is 'px' or 'iod', got {unit!r}")
        self.name = name if unit == "px" else f"{name}_iod"
        self.choose(profile)
        self.unit = unit
        self.points = points

    def update(self, points_a: Tensor, points_b: Tensor) -> None:
        """Take in one clip."""
        for points in (points_a, points_b):
            if points.dim() != 3 or points.shape[1:] != (68, 2) or not len(points):
                raise ValueError(f"landmarks must be (T, 68, 2) of one clip, {tuple(points.shape)}")
        if len(points_a) != len(points_b):
            raise ValueError(
                f"landmarks of clips of unequal length: {len(points_a)} and {len(points_b)} frames"
            )
        found = ~(points_a.isnan().flatten(1).any(1) | points_b.isnan().flatten(1).any(1))
        a, b = points_a.double(), points_b.double()
        if self.profile == "atvg":
            a, b = a.round(), b.round()
        distances = landmark_distances(a[:, self.points], b[:, self.points], self.centred)
        values = distances.sum(1) if self.profile == "atvg" else distances.mean(1)
        if self.unit == "iod":
            right, left = (points_b.double()[found, corner] for corner in OUTER_EYE_CORNERS)
            values = values / (right - left).norm(dim=-1).mean()
        self.add_frames(values.where(found, torch.nan))


class PoseLMD(LMD):
    r"""Landmark distance of the face's contour, which shows the head's pose.

    PC-AVS: "computes only the landmark distances between facial contours to represent the pose".
    Read here as the 17 points of the jaw line, **not** centred, since where the head is in the
    frame belongs to its pose. All else as in `LMD`, with its profiles and counts.

    Args:
        profile: `mean` or `atvg` (sum over the 17 points, whole pixels).
        unit: `px` or `iod`.

    Shape:
        - points_a, points_b: (T, 68, 2) pixels, one clip
        - output: scalar, zero or more, lower is better

    Raises:
        ValueError: See `LMD`.

    References:
        Zhou et al., "Pose-Controllable Talking Face Generation by Implicitly Modularized
        Audio-Visual Representation", CVPR 2021, section 4.4, https://arxiv.org/abs/2104.11116

    Examples:
        >>> real = torch.zeros(5, 68, 2)
        >>> metric = PoseLMD()
        >>> metric.update(real + torch.tensor([3.0, 4.0]), real)
        >>> metric.compute()
        tensor(5.)
    """

    name = "lmd_pose"
    centred = False

    def __init__(
        self, profile: Literal["mean", "atvg"] = "mean", unit: Literal["px", "iod"] = "px"
    ) -> None:
        self._setup(profile, "lmd_pose", CONTOUR, unit)


def landmark_distances(a: Tensor, b: Tensor, centred: bool = True) -> Tensor:
    """Distance of each point from its counterpart.

    Args:
        a: Points of shape (T, P, 2).
        b: Points of the same shape.
        centred: Subtract the mean of each frame's points first.

    Returns:
        (T, P), in the unit of the points.

    Examples:
        >>> landmark_distances(torch.zeros(1, 2, 2), torch.tensor([[[3.0, 4.0], [3.0, 4.0]]]))
        tensor([[0., 0.]])
    """
    if centred:
        a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a - b).norm(dim=-1)
