"""Splits, windows and the sampler: which frames of which clip make up which item.

Everything here is a pure function of its arguments: no generator is carried from call to call, so
training is repeatable, resumes anywhere and is the same for one process and for many.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import DistributedSampler


class Span(NamedTuple):
    """The frames of a clip that a split may use: ``start`` to ``stop - 1``.

    Example:
        >>> Span(20, 25).length
        5
    """

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of frames in the span."""
        return self.stop - self.start


class Window(NamedTuple):
    """A complete request to a dataset.

    ``clip`` is the clip's index, ``start`` the first frame of the target window and ``references``
    the frames that show the identity.
    """

    clip: int
    start: int
    references: tuple[int, ...]


def split_time(
    frame_count: int, frames: int, references: int, val_fraction: float
) -> tuple[Span, Span] | None:
    """Split a clip in time: training frames first, the last ``val_fraction`` held out.

    The held-out part has room for one window at least, the training part for one window and its
    references. ``None`` where the clip is too short for that.

    Example:
        >>> split_time(100, frames=5, references=1, val_fraction=0.2)
        (Span(start=0, stop=80), Span(start=80, stop=100))
        >>> split_time(10, frames=5, references=1, val_fraction=0.2) is None
        True
    """
    held_out = max(frames, round(frame_count * val_fraction)) if val_fraction > 0 else 0
    stop = frame_count - held_out
    if stop < frames + references:
        return None
    return Span(0, stop), Span(stop, frame_count)


def split_identities(
    names: Sequence[str], val_fraction: float, seed: int
) -> tuple[set[str], set[str]]:
    """Split identities, or clips, into two disjoint sets, the same for the same names and seed.

    Returns:
        The names for training and the held-out names (``val_fraction`` of them, one at least).

    Raises:
        ValueError: if there are fewer than two identities to share out.

    Example:
        >>> train, val = split_identities(["id1", "id2", "id3", "id4", "id5"], 0.4, seed=0)
        >>> len(train), len(val), train & val
        (3, 2, set())
    """
    unique = sorted(set(names))
    if val_fraction == 0:
        return set(unique), set()
    if len(unique) < 2:
        raise ValueError(
            f'split="identity" needs two identities or more, found {len(unique)}: use split="time".'
        )
    held_out = min(max(1, round(len(unique) * val_fraction)), len(unique) - 1)
    order = np.random.default_rng(seed).permutation(len(unique))
    return {unique[i] for i in order[held_out:]}, {unique[i] for i in order[:held_out]}


def draw_window(
    clip: int,
    span: Span,
    frames: int,
    references: int,
    rng: np.random.Generator,
    others: Span | None = None,
) -> Window:
    """Draw a window of a span, and references from the other frames of ``others``.

    ``others`` is the span itself unless given, and then a span that contains it. Where there are
    too few other frames, as in a clip of one word, references are any of its frames.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> window = draw_window(3, Span(10, 18), frames=5, references=3, rng=rng)
        >>> sorted([*range(window.start, window.start + 5), *window.references])
        [10, 11, 12, 13, 14, 15, 16, 17]
    """
    start = span.start + int(rng.integers(span.length - frames + 1))
    span = others or span
    if span.length - frames < references:
        drawn = span.start + rng.choice(span.length, size=references)
        return Window(clip, start, tuple(int(k) for k in drawn))
    # Drawn from the span without the window, then moved past the window.
    drawn = span.start + rng.choice(span.length - frames, size=references, replace=False)
    return Window(clip, start, tuple(int(k) + frames * int(k >= start) for k in drawn))


def count_tiles(span: Span, frames: int) -> int:
    """Number of windows that cover a span.

    Example:
        >>> count_tiles(Span(80, 92), frames=5)
        3
    """
    return math.ceil(span.length / frames)


def tile_window(clip: int, span: Span, frames: int, references: int, index: int) -> Window:
    """Window number ``index`` of those that cover a span completely and in order.

    The last one moves back so as to end with the span. The references are the clip's first frames.

    Example:
        >>> [tile_window(0, Span(80, 92), 5, 1, k).start for k in range(3)]
        [80, 85, 87]
    """
    start = min(span.start + index * frames, span.stop - frames)
    return Window(clip, start, tuple(range(references)))


class WindowSampler(DistributedSampler[Window]):
    """Yields training windows as a pure function of (seed, epoch, rank, position).

    An epoch visits every clip ``windows_per_clip`` times in shuffled order and is filled up with
    further draws to whole batches on every rank: no batch is smaller and no clip is left out. Ranks
    take turns, so two processes with a batch of ``b`` see the windows of one with ``2b``.

    It is a ``DistributedSampler`` because Lightning leaves such a sampler in place, whatever
    ``use_distributed_sampler`` says, and tells it the epoch.

    Args:
        spans: the frames of each clip that may be used; all have room for a window and references.
        frames: frames T of a window.
        references: references N of a window.
        batch_size: windows per batch and rank.
        windows_per_clip: windows of each clip in an epoch.
        seed: seed of the order and of all draws.
        rank: this process.
        world_size: number of processes.
        reference_spans: the frames of each clip that references are drawn from, where they are
            more than ``spans``.

    Example:
        >>> sampler = WindowSampler([Span(0, 50), Span(0, 80)], frames=5, batch_size=4)
        >>> windows = list(sampler)
        >>> len(windows), sorted({window.clip for window in windows})
        (4, [0, 1])
        >>> windows == list(sampler)
        True
    """

    def __init__(
        self,
        spans: Sequence[Span],
        frames: int,
        references: int = 1,
        batch_size: int = 1,
        windows_per_clip: int = 1,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        reference_spans: Sequence[Span] | None = None,
    ) -> None:
        super().__init__(spans, num_replicas=world_size, rank=rank, seed=seed)  # type: ignore[arg-type]
        self.spans = spans
        self.reference_spans = spans if reference_spans is None else reference_spans
        self.frames = frames
        self.references = references
        self.batch_size = batch_size
        self.windows = len(spans) * windows_per_clip
        self.num_samples = math.ceil(self.windows / (world_size * batch_size)) * batch_size
        self.total_size = self.num_samples * world_size
        self.resume(epoch=0, batches=0)

    def resume(self, epoch: int, batches: int, called: int | None = None) -> None:
        """Go to ``epoch`` and leave out its first ``batches`` batches; other epochs are whole.

        ``called`` is the number by which ``set_epoch`` will know that epoch, if it is another.
        """
        self.epoch = epoch
        self._resume = (epoch, batches)
        self._shift = 0 if called is None else epoch - called

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch, or to where :meth:`resume` said in that epoch."""
        super().set_epoch(epoch + self._shift)

    def positions(self) -> range:
        """Where this rank's windows stand among those of all ranks in the current epoch."""
        epoch, batches = self._resume
        first = batches * self.batch_size if epoch == self.epoch else 0
        return range(first * self.num_replicas + self.rank, self.total_size, self.num_replicas)

    def __iter__(self) -> Iterator[Window]:
        """Yield this rank's windows of the current epoch."""
        order = np.random.default_rng([self.seed, self.epoch, 0]).permutation(self.windows)
        for position in self.positions():
            clip = int(order[position % self.windows]) % len(self.spans)
            rng = np.random.default_rng([self.seed, self.epoch, 1 + position])
            span, others = self.spans[clip], self.reference_spans[clip]
            yield draw_window(clip, span, self.frames, self.references, rng, others)
