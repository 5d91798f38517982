"""By how many frames sound and picture are apart: of one clip, and of a set of clips."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from talkingface.metrics.sync import sync_distances

Padding = Literal["mean", "zero"]


class Expert(Protocol):
    """What embeds frames and sound: a :class:`SyncExpert` or a :class:`SyncNet`."""

    def embed_video(self, frames: Tensor) -> Tensor:
        """Frames (T, 3, H, W) to (T - 4, D)."""

    def embed_audio(self, audio: Tensor) -> Tensor:
        """Sound (samples,) to (T - 4, D)."""


def find_offset(
    visual: Tensor, audio: Tensor, vshift: int = 15, padding: Padding = "mean"
) -> tuple[int, Tensor]:
    """Find the shift at which the features of a clip are closest, on average over time.

    Args:
        visual: Features of the windows of five frames, (N, D).
        audio: Features of the sound, (M, D); where M differs from N, the longer one is cut.
        vshift: Largest shift searched, in frames; less than N.
        padding: What counts where the sound ends: ``"mean"``, the mean of all distances, so that
            shifts with little in common are neither favoured nor excluded; or ``"zero"``, distances
            to zero as the official LSE scores have them.

    Returns:
        The offset in frames: +k where the sound is k frames ahead of the picture; and the mean
        distances (2 vshift + 1,), that of offset k at index ``vshift - k``.

    Raises:
        ValueError: If shapes do not fit, or the clip is too short for ``vshift``.

    Example:
        >>> visual = torch.eye(40)
        >>> find_offset(visual, visual.roll(-3, 0))[0]  # the sound says now what lips say later
        3
    """
    count = min(len(visual), len(audio))
    visual, audio = visual[:count], audio[:count]
    if padding == "zero":
        means = sync_distances(visual, audio, vshift).mean(0)
    else:
        distances = sync_distances(visual, audio, vshift, padding="mask")
        means = torch.where(distances.isnan(), distances.nanmean(), distances).mean(0)
    return vshift - int(means.argmin()), means


@dataclass(frozen=True)
class OffsetHistogram:
    """Offsets of clips.

    Printed, it is a histogram, one line per offset.

    Example:
        >>> print(OffsetHistogram({"a": 0, "b": 0, "c": -7}))
         -7 ######################                       1
         +0 ############################################ 2
    """

    offsets: dict[str, int]

    @property
    def counts(self) -> Counter[int]:
        """Number of clips by offset."""
        return Counter(self.offsets.values())

    def out_of_sync(self, tolerance: int = 1) -> dict[str, int]:
        """Clips whose offset exceeds the tolerance, in frames."""
        return {name: k for name, k in self.offsets.items() if abs(k) > tolerance}

    def __str__(self) -> str:
        counts = self.counts
        most = max(counts.values(), default=1)
        return "\n".join(
            f"{offset:+3d} {'#' * max(44 * counts[offset] // most, 1):44} {counts[offset]}"
            for offset in sorted(counts)
        )


def offset_histogram(
    expert: Expert,
    clips: Iterable[tuple[str, Tensor, Tensor]],
    vshift: int = 15,
    padding: Padding = "mean",
) -> OffsetHistogram:
    """Find the offset of each clip of a set.

    Args:
        expert: Embeds frames and sound.
        clips: Name, frames (T, 3, H, W) in [-1, 1] and sound (samples,) of each.
        vshift: Largest shift searched, in frames; less than the windows of the shortest clip.
        padding: See :func:`find_offset`.
    """
    offsets = {}
    with torch.inference_mode():
        for name, frames, audio in clips:
            features = expert.embed_video(frames), expert.embed_audio(audio)
            offsets[name], _ = find_offset(*features, vshift, padding)
    return OffsetHistogram(offsets)
