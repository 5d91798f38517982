"""Windows of clips as items of the batch: frames, identity references, sound and labels."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import resize

from talkingface.data.audio import read_audio
from talkingface.data.batch import AUDIO_CONTEXT, SAMPLES_PER_FRAME, utterance_gain
from talkingface.data.datasets.index import (
    Box,
    Clip,
    FailureLog,
    box_pixels,
    list_reasons,
    reason_of,
)
from talkingface.data.sampling import Span, Window, count_tiles, tile_window
from talkingface.data.video import VideoClip

_KNOWN_CLIPS = 64  # whose packets' time stamps are kept (about 10 kB each)


def crop_and_resize(frames: Tensor, size: int, box: Box | None = None) -> Tensor:
    """Cut ``box`` out of frames and scale it to ``size`` with antialiasing.

    Shape:
        - frames: (..., 3, H, W) uint8
        - returns: (..., 3, size, size) uint8

    Example:
        >>> frames = torch.zeros(2, 3, 224, 224, dtype=torch.uint8)
        >>> crop_and_resize(frames, size=96, box=(0, 0, 0.5, 0.5)).shape
        torch.Size([2, 3, 96, 96])
    """
    top, left, bottom, right = box_pixels(frames.shape[-2], frames.shape[-1], box)
    frames = frames[..., top:bottom, left:right]
    if frames.shape[-2:] != (size, size):
        frames = resize(frames, [size, size], antialias=True)
    return frames.contiguous()


class Reader(Protocol):
    """What a dataset reads clips with; a clip is named by its index in ``clips``."""

    @property
    def clips(self) -> Sequence[Clip]:
        """The clips."""

    def cache(self, clip: int) -> None:
        """Keep a clip's frames and sound in memory."""

    def frames(self, clip: int, indices: Sequence[int]) -> Tensor:
        """Frames in any order, (len(indices), 3, size, size) uint8."""

    def audio(self, clip: int, start: int, frames: int) -> Tensor:
        """Sound of ``frames`` frames from ``start`` with context, zero outside the clip."""

    def gain(self, clip: int) -> Tensor:
        """Factor that brings the clip's whole sound to an rms of 0.1."""

    def labels(self, clip: int, indices: Sequence[int]) -> dict[str, Any]:
        """Further keys of the batch that are known of these frames."""


class ClipReader:
    """Reads frames and sound of clips at the working size.

    No file stays open between reads, so a reader can go to any process. Utterance gains are shared
    between processes: each is computed once.

    Args:
        clips: the clips, as from :func:`~talkingface.data.datasets.index.index_clips`.
        size: side of the frames that come out.
        box: crop taken before scaling, as fractions (top, left, bottom, right).
    """

    def __init__(self, clips: Sequence[Clip], size: int, box: Box | None = None) -> None:
        self.clips = clips
        self.size = size
        self.box = box
        self._gains = torch.full((len(clips),), math.nan).share_memory_()
        self._known: OrderedDict[int, VideoClip] = OrderedDict()
        self._frames: dict[int, Tensor] = {}
        self._audio: dict[int, Tensor] = {}

    def _clip(self, clip: int) -> VideoClip:
        """The clip's index of packets, read anew only if it was not among the last ones."""
        if clip not in self._known:
            self._known[clip] = VideoClip(self.clips[clip].path)
        self._known.move_to_end(clip)
        if len(self._known) > _KNOWN_CLIPS:
            self._known.popitem(last=False)
        return self._known[clip]

    def _sound(self, clip: int) -> str:
        """The file of the sound."""
        return self.clips[clip].audio or self.clips[clip].path

    def cache(self, clip: int) -> None:
        """Decode a clip once and keep its frames and sound in memory."""
        if clip in self._frames:
            return
        frames = self._clip(clip).iterate()
        # Piece by piece: frames of the file's size are never held for the whole clip.
        pieces = iter(lambda: list(islice(frames, 32)), [])
        parts = [crop_and_resize(torch.stack(piece), self.size, self.box) for piece in pieces]
        self._audio[clip] = read_audio(self._sound(clip), -AUDIO_CONTEXT)
        self._frames[clip] = torch.cat(parts)

    def frames(self, clip: int, indices: Sequence[int]) -> Tensor:
        """Frames of a clip, in any order.

        Shape:
            - returns: (len(indices), 3, size, size) uint8
        """
        if clip in self._frames:
            return self._frames[clip][list(indices)]
        return crop_and_resize(self._clip(clip)[list(indices)], self.size, self.box)

    def audio(self, clip: int, start: int, frames: int) -> Tensor:
        """Sound of ``frames`` frames from ``start`` with context, zero outside the file.

        Shape:
            - returns: (frames * 640 + 2 * 3200,) float32 in [-1, 1]
        """
        first, count = start * SAMPLES_PER_FRAME, frames * SAMPLES_PER_FRAME + 2 * AUDIO_CONTEXT
        if clip in self._audio:  # which begins with the first frame's context
            window = self._audio[clip][first : first + count]
            return F.pad(window, (0, count - len(window)))
        return read_audio(self._sound(clip), first - AUDIO_CONTEXT, count)

    def gain(self, clip: int) -> Tensor:
        """Factor that brings the clip's whole sound to an rms of 0.1.

        Shape:
            - returns: () float32
        """
        if self._gains[clip].isnan():
            kept = self._audio.get(clip)
            whole = read_audio(self._sound(clip)) if kept is None else kept[AUDIO_CONTEXT:]
            self._gains[clip] = float(utterance_gain(whole))
        return self._gains[clip].clone()

    def labels(self, clip: int, indices: Sequence[int]) -> dict[str, Any]:
        """Nothing more is known of a film."""
        return {}


class ClipDataset(Dataset[dict[str, Any]]):
    """Windows of clips: ``dataset[Window(...)]`` reads what is asked for, and nothing is random.

    ``dataset[k]`` for an integer is window number ``k`` of those that cover all spans completely
    and in order, with each clip's first frames as references: what validation reads.

    Where a window cannot be read, its file is reported, once, and a fixed window of the next clip
    takes its place: a batch always has its size, and the same frames whoever reads them.

    Args:
        reader: reads the clips.
        members: the clips of this split, as indices into ``reader.clips``.
        spans: the frames of each member that the split may use.
        frames: frames T of a window.
        references: references N of a window.
        class_names: names of the identities; an item's ``identity`` is an index into them. Where
            there are none, items have no ``identity``.
        failures: where unreadable files are noted.
        words: class of the word in each member's span, for an item's ``word``.

    Raises:
        ValueError: on reading, if no clip at all can be read.
    """

    def __init__(
        self,
        reader: Reader,
        members: Sequence[int],
        spans: Sequence[Span],
        frames: int,
        references: int,
        class_names: Sequence[str],
        failures: FailureLog,
        words: Sequence[int] | None = None,
    ) -> None:
        self.reader = reader
        self.members = members
        self.spans = spans
        self.frames = frames
        self.references = references
        self.failures = failures
        self.words = words
        self._labels = {name: label for label, name in enumerate(class_names)}
        self._ends = np.cumsum([count_tiles(span, frames) for span in spans])

    def __len__(self) -> int:
        """Number of windows that cover all spans."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def reference_spans(self) -> Sequence[Span]:
        """The frames that references may show: a word's are any frames of its clip."""
        if self.words is None:
            return self.spans
        return [Span(0, self.reader.clips[member].frame_count) for member in self.members]

    def window(self, index: int) -> Window:
        """Window number ``index`` of those that cover all spans in order.

        Raises:
            IndexError: if there is no such window.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"Window {index} of {len(self)}.")
        clip = int(np.searchsorted(self._ends, index, side="right"))
        first = int(self._ends[clip - 1]) if clip else 0
        return tile_window(clip, self.spans[clip], self.frames, self.references, index - first)

    def __getitem__(self, request: Window | int) -> dict[str, Any]:
        """Read a window, or a fixed other one where its file is broken.

        Shape:
            the keys and shapes of :class:`~talkingface.data.batch.Batch` without the leading B
        """
        wanted = request if isinstance(request, Window) else self.window(request)
        for offset in range(len(self.members)):
            window = self._replace(wanted, offset) if offset else wanted
            clip = self.reader.clips[self.members[window.clip]]
            try:
                return self._read(window)
            except Exception as error:  # decoders fail in many ways, and training goes on
                self.failures.add(clip.name, reason_of(error))
        reasons = list_reasons(self.failures.reasons())
        raise ValueError(f"None of {len(self.members)} clips can be read: {reasons}.")

    def _replace(self, wanted: Window, offset: int) -> Window:
        clip = (wanted.clip + offset) % len(self.members)
        span = self.spans[clip]
        index = wanted.start % count_tiles(span, self.frames)
        return tile_window(clip, span, self.frames, self.references, index)

    def _read(self, window: Window) -> dict[str, Any]:
        member = self.members[window.clip]
        clip = self.reader.clips[member]
        # Together, because reading one frame decodes all frames back to the last key frame.
        target = range(window.start, window.start + self.frames)
        frames = self.reader.frames(member, [*target, *window.references])
        item = {
            "video": frames[: self.frames],
            "source": frames[self.frames :],
            "audio": self.reader.audio(member, window.start, self.frames),
            "audio_gain": self.reader.gain(member),
            "clip": clip.name,
            "start": window.start,
        }
        if self._labels:
            item["identity"] = self._labels[clip.identity]
        if self.words is not None:
            item["word"] = self.words[window.clip]
        return item | self.reader.labels(member, target)
