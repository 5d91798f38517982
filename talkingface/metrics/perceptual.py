"""Image quality by the features of a fixed network, which is given and never downloaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from talkingface.losses.perceptual import LPIPSLoss
from talkingface.metrics._base import ClipMean, Described, Value, check_frames, check_pair, parts


class LPIPS(ClipMean):
    """Learned perceptual distance (LPIPS 0.1), mean over frames, then clips.

    The linear heads come with the `lpips` package; the trunk is given, as for
    :class:`~talkingface.losses.perceptual.LPIPSLoss`, and named in `name`.

    Args:
        trunk: torchvision's AlexNet or VGG-16 weights, a state dict or a local file.
        net: Which trunk it is; papers report `alex`.

    Shape:
        - frames, target: (T, 3, H, W) RGB in [-1, 1], one clip; H and W at least 32
        - output: scalar, zero for equal frames, about 1 at most, lower is better

    Raises:
        FileNotFoundError: If the trunk's file does not exist.
        ValueError: If it holds other weights, or shapes or ranges are wrong.

    References:
        Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
        CVPR 2018, https://arxiv.org/abs/1801.03924

    Examples:
        >>> from torchvision.models import alexnet
        >>> metric, frames = LPIPS(alexnet().state_dict()), torch.rand(2, 3, 64, 64) * 2 - 1
        >>> metric.update(frames, frames)
        >>> metric.name, metric.compute()
        ('lpips[alex]', tensor(0.))
    """

    name = "lpips"
    values = (Value("lpips", 0, float("inf"), "lower"),)
    higher_is_better = False

    def __init__(
        self, trunk: str | Path | Mapping[str, Tensor], net: Literal["alex", "vgg"] = "alex"
    ) -> None:
        super().__init__()
        self.network = LPIPSLoss(trunk, net)
        self.name = f"lpips[{net}]"

    def update(self, frames: Tensor, target: Tensor) -> None:
        """Take in one clip."""
        frames, target = check_pair(frames, target)
        if min(frames.shape[-2:]) < 32:
            raise ValueError(
                f"LPIPS needs 32 px or more, the frames are {frames.shape[-2]} x {frames.shape[-1]}"
            )
        sums = [self.network(x, y) * len(x) for x, y in parts(frames, target)]
        self.add(torch.stack(sums).sum() / len(frames))


class FID(Described, FrechetInceptionDistance):
    r"""Fréchet distance between the features of all generated and of all real frames.

    .. math:: \mathrm{FID} = \lVert \mu_g - \mu_r \rVert^2 +
              \mathrm{tr}\left(\Sigma_g + \Sigma_r - 2 (\Sigma_g \Sigma_r)^{1/2}\right)

    Computed by torchmetrics over a feature network that is given, since its own is a download. The
    value falls with the number of frames, so that only equal numbers compare; well below
    `num_features` frames it says little. `frames` tells how many went in.

    Args:
        features: Network that maps (N, 3, H, W) RGB in [-1, 1] to (N, D), with an integer
            attribute `num_features`, D. Published numbers are those of the Inception of
            pytorch-fid on frames of 299 px: wrap it so that it takes this range.
        name: Name of the network, which becomes part of the metric's.

    Shape:
        - frames: (T, 3, H, W) RGB in [-1, 1], generated frames of a clip
        - target: (S, 3, H, W), real frames
        - output: scalar, zero or more, lower is better

    Raises:
        ValueError: If the network has no `num_features`, shapes or ranges are wrong, or there are
            fewer than two frames.

    References:
        Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
        Equilibrium", NeurIPS 2017, https://arxiv.org/abs/1706.08500

    Examples:
        >>> class Colour(torch.nn.Module):
        ...     num_features = 3
        ...     def forward(self, frames): return frames.mean((2, 3))
        >>> metric, frames = FID(Colour(), "colour"), torch.rand(9, 3, 8, 8) - 1
        >>> metric.update(frames + 0.5, frames)
        >>> metric.name, metric.compute()  # three channels, each 0.5 away
        ('fid[colour]', tensor(0.7500))
    """

    name = "fid"
    values = (Value("fid", 0, float("inf"), "lower"),)
    higher_is_better = False

    def __init__(self, features: nn.Module, name: str) -> None:
        if not isinstance(getattr(features, "num_features", None), int):
            raise ValueError(
                "the feature network needs an integer attribute num_features: how many it gives"
            )
        super().__init__(features)
        self.name = f"fid[{name}]"
        self.orig_dtype = torch.float32  # for a process that has no frames
        self.eval()

    @property
    def frames(self) -> tuple[int, int]:
        """Number of generated and of real frames taken in by this process."""
        return int(self.fake_features_num_samples), int(self.real_features_num_samples)

    def update(self, frames: Tensor, target: Tensor) -> None:  # type: ignore[override]
        """Take in frames of one clip, generated and real; they need not be as many."""
        for (part,) in parts(check_frames(frames)):
            super().update(part, real=False)
        for (part,) in parts(check_frames(target, "target")):
            super().update(part, real=True)

    def compute(self) -> Any:
        """Give the distance."""
        if min(self.frames) < 2:
            raise ValueError(f"{self.name}: needs two frames or more on both sides, {self.frames}")
        return super().compute()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: networks that measure are never trained."""
        return super().train(False)
