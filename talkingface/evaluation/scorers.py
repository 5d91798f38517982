"""What is read of a clip's frames, and how it compares with what is read of the truth."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from talkingface.evaluation.measures import Measure
from talkingface.metrics import CSIM, IDSquaredL2

Measured = dict[Measure, tuple[float, ...]]
"""Numbers per measure of one clip; NaN where there was nothing to measure."""

PART = 32
"""Frames that a network reads at a time."""


@dataclass(frozen=True)
class Scene:
    """The truth of a case.

    Shape:
        - ``target``: (T, 3, S, S) in [-1, 1].
        - ``audio``: (T * 640,) the speech that the face is to say.
        - ``mask``: (T, S, S) bool, where the target's face is; None: not known.
        - ``truth``: motion (T,) by name; empty where it is not known.
    """

    target: Tensor
    audio: Tensor
    mask: Tensor | None = None
    truth: Mapping[str, Tensor] = field(default_factory=dict)


class Scorer(ABC):
    """Reads frames once, and compares what it read with what it read of the target."""

    def read(self, frames: Tensor) -> Any:
        """Read frames (T, 3, S, S) in [-1, 1]; by default they are compared themselves."""
        return frames

    @abstractmethod
    def compare(self, made: Any, target: Any, scene: Scene) -> Measured:
        """Measure a clip by what was read of it and of the target."""

    def collect(self, row: str, case: str, made: Any, target: Any) -> None:  # noqa: B027
        """Keep what measures over all clips need; nothing by default."""

    def finish(self) -> dict[tuple[str, str], Measured]:
        """Measures over all clips that were collected, by row and case; forgets the clips."""
        return {}


class FrameScorer(Scorer):
    """A metric that takes a clip's frames, by themselves or with the target's.

    Args:
        metric: One of :mod:`talkingface.metrics` that gives one number.
        label: Its name for people.
        paired: Whether it takes the target's frames.
        masked: Whether it takes a mask, to measure the face alone besides.
        unit: Of the value.
        digits: Decimals that a report shows.
        cap: Value that stands for infinity.
    """

    def __init__(
        self,
        metric: Any,
        label: str,
        paired: bool = True,
        masked: bool = False,
        unit: str = "",
        digits: int = 3,
        cap: float = math.inf,
    ) -> None:
        self.metric, self.paired, self.masked = metric, paired, masked
        group = "Picture"
        (value,) = metric.values
        self.whole, self.face = (
            Measure(
                metric.name, metric.profile, part, value.better, label, group, unit, digits, cap
            )
            for part in ("frame", "face")
        )

    def compare(self, made: Tensor, target: Tensor, scene: Scene) -> Measured:
        """Measure the frames, and the face where it is known."""
        inputs = [made, target] if self.paired else [made]
        measured: Measured = {self.whole: (self._value(*inputs),)}
        if self.masked and scene.mask is not None:
            known = scene.mask.flatten(1).any(1)  # frames in which a face was found
            value = torch.nan
            if known.any():
                value = self._value(made[known], target[known], scene.mask[known])
            measured[self.face] = (value,)
        return measured

    def _value(self, *inputs: Tensor) -> float:
        self.metric.reset()
        self.metric.update(*inputs)
        return float(self.metric.compute())


class IdentityScorer(Scorer):
    """Whether the person is the target's, frame by frame: cosine and squared distance.

    Args:
        embed: Embeds frames (N, 3, S, S) as (N, D); NaN rows where it finds no face.
        name: Its name.
    """

    def __init__(self, embed: Callable[[Tensor], Tensor], name: str) -> None:
        self.embed = embed
        self.measures = []
        for kind, label in ((CSIM, "CSIM"), (IDSquaredL2, "squared distance")):
            metric = kind(embed, name)
            (value,) = metric.values
            measure = Measure(metric.name, metric.profile, "", value.better, label, "Identity")
            self.measures.append(measure)

    def read(self, frames: Tensor) -> Tensor:
        """Embed frames, (T, D)."""
        return torch.cat([self.embed(part) for part in frames.split(PART)])

    def compare(self, made: Tensor, target: Tensor, scene: Scene) -> Measured:
        """Compare each frame's embedding with that of the target's frame."""
        cosine = float(F.cosine_similarity(made.double(), target.double()).nanmean())
        values = (cosine, 2 - 2 * cosine)  # of unit vectors
        return {measure: (value,) for measure, value in zip(self.measures, values, strict=True)}
