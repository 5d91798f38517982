"""What the metrics share: checks of their input, and means over clips."""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from torch import Tensor
from torchmetrics import Metric

PART = 2
"""Frames that are worked on at a time, so that long clips need no more memory than short ones.

Few, so that at 256 px every intermediate is memory that is used again and not asked for anew.
"""
MARGIN = 0.01
"""How far frames may lie outside [-1, 1]; they are clipped."""


class Value(NamedTuple):
    """What is known of a number that a metric gives: its range, and which end is better."""

    key: str
    low: float
    high: float
    better: Literal["higher", "lower", "zero", "neither"]


class Described:
    """A metric that says what it computes, so that results can say it too.

    Attributes:
        name: What is measured, with the network that measures it, such as `csim[arcface_r50]`.
        profile: Which of several definitions in use; empty where there is one.
        profiles: The profiles that there are.
        values: What `compute` gives; the keys are those of its dictionary where it gives several.
    """

    name: str
    profile: str = ""
    profiles: ClassVar[tuple[str, ...]] = ()
    values: tuple[Value, ...]

    def choose(self, profile: str) -> None:
        """Set the profile."""
        if profile not in self.profiles:
            known = ", ".join(self.profiles)
            raise ValueError(f"{profile!r} is no profile of {self.name}: take one of {known}")
        self.profile = profile


class ClipMean(Described, Metric):
    """Mean over clips of the numbers that each clip gives; two processes give what one gives.

    Shape:
        - total: (K,) sums over clips, K numbers a clip
        - clips: how many clips are in them
    """

    full_state_update = False
    is_differentiable = False
    total: Tensor
    clips: Tensor

    def __init__(self, numbers: int = 1) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(numbers, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("clips", torch.tensor(0), dist_reduce_fx="sum")

    def add(self, *numbers: Tensor) -> None:
        """Take in one clip."""
        self.total += torch.stack(numbers).to(self.total)
        self.clips += 1

    def mean(self) -> Tensor:
        """The means over clips, (K,)."""
        if self.clips == 0:
            raise ValueError(f"{self.name}: no clip to average over; call update first")
        return (self.total / self.clips).float()

    def compute(self) -> Any:
        """Give the mean over clips."""
        return self.mean()[0]

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: networks that measure are never trained."""
        return super().train(False)


class CountingClipMean(ClipMean):
    """Mean over clips, in which frames without a face are left out and counted.

    Attributes:
        dropped: Frames that were left out.
        failed: Clips of which no frame was left; they are not in the mean.
    """

    dropped: Tensor
    failed: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("dropped", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("failed", torch.tensor(0), dist_reduce_fx="sum")

    def add_frames(self, numbers: Tensor) -> None:
        """Take in one clip, a number per frame, NaN where there is no face."""
        found = ~numbers.isnan()
        self.dropped += (~found).sum().to(self.dropped)
        if found.any():
            self.add(numbers[found].mean())
        else:
            self.failed += 1

    def compute(self) -> Any:
        """Give the mean over clips."""
        if self.clips == 0 and self.failed > 0:
            raise ValueError(
                f"{self.name}: no face in any of {self.failed} clips ({self.dropped} frames)"
            )
        return super().compute()


def check_frames(frames: Tensor, what: str = "frames") -> Tensor:
    """Give frames as float32 in [-1, 1]; see `MARGIN`.

    Raises:
        ValueError: If they are no frames, or not in that range.
    """
    if frames.dim() != 4 or frames.shape[1] != 3 or frames.numel() == 0:
        raise ValueError(
            f"{what} must be (T, 3, H, W), one clip of one frame or more, got {tuple(frames.shape)}"
        )
    if not frames.is_floating_point():
        raise ValueError(
            f"{what} must be floats in [-1, 1], got {frames.dtype}: "
            "talkingface.data.batch.to_float converts them"
        )
    low, high = (float(value) for value in frames.aminmax())
    if not (low >= -1 - MARGIN and high <= 1 + MARGIN):  # so that NaN fails too
        raise ValueError(f"{what} must be in [-1, 1], got values from {low:.4g} to {high:.4g}")
    return frames.float().clamp(-1, 1)


def check_pair(frames: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Check frames and the frames that they are compared with, which must be as many and as large.

    Raises:
        ValueError: If one is not (T, 3, H, W) floats in [-1, 1], or the shapes differ.
    """
    frames, target = check_frames(frames), check_frames(target, "target")
    if frames.shape != target.shape:
        raise ValueError(
            f"frames and target differ in length or size: {tuple(frames.shape)} and "
            f"{tuple(target.shape)}"
        )
    return frames, target


def parts(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Cut tensors along the first dimension, all at the same places."""
    return zip(*(tensor.split(PART) for tensor in tensors), strict=True)
