"""Batches of drawn people, made when they are asked for."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from talkingface.data.batch import FPS, audio_window, to_uint8, utterance_gain
from talkingface.data.datasets.clips import ClipDataset
from talkingface.data.datasets.index import Clip
from talkingface.data.loaders import Part, Piece, WindowDataModule
from talkingface.data.sampling import Span
from talkingface.data.synthetic.clip import SyntheticClip, cross
from talkingface.data.synthetic.dataset import (
    PEOPLE,
    POPULATION,
    WORD_FRAMES,
    choose_word,
    clip_name,
    make_clip,
    make_word_clip,
)
from talkingface.data.synthetic.face import sample_identity
from talkingface.data.synthetic.speech import WORDS

Driving = Literal["motion", "speech"]
"""What another person can show of a window; see :class:`SyntheticDataModule`."""
USUAL_MOTION = 1.0
"""How far heads of ``"speech"`` move, however still those of the windows are."""
_KNOWN_CLIPS = 1024  # whose sound and motion are kept (about 300 kB each)


class Take(NamedTuple):
    """A clip that can be made: who, and for the how many-th time."""

    person: int
    take: int


def _drivers(splits: Iterable[list[Take]]) -> list[int]:
    """Of each clip, that of the next person of its split; the first comes after the last."""
    drivers: list[int] = []
    for clips in splits:
        takes = max((clip.take for clip in clips), default=0) + 1
        first = len(drivers)
        drivers += [first + (number + takes) % len(clips) for number in range(len(clips))]
    return drivers


class _Drawn(NamedTuple):
    frames: Tensor
    labels: dict[str, Tensor]


class SyntheticReader:
    """Draws frames of clips, and knows their labels; see `talkingface.data.datasets.clips.Reader`.

    Args:
        takes: the clips.
        size: side of the frames.
        seconds: length of the clips; None makes word clips.
        noise_db: signal-to-noise ratio of background noise in dB; none by default.
        seed: the people's.
        motion: how far heads move.
        driving: what is shown of another person as well, see :class:`SyntheticDataModule`.
        drivers: of each clip, the one with the person who drives; by index.
    """

    def __init__(
        self,
        takes: Sequence[Take],
        size: int,
        seconds: float | None,
        noise_db: float | None = None,
        seed: int = 0,
        motion: float = 1.0,
        driving: Driving | None = None,
        drivers: Sequence[int] = (),
    ) -> None:
        self.takes = takes
        self.size = size
        self.seconds = seconds
        self.noise_db = noise_db
        self.seed = seed
        self.motion = motion
        self.driving = driving
        self.drivers = drivers
        count = WORD_FRAMES if seconds is None else round(seconds * FPS)
        names = [clip_name(*take, seed) for take in takes]
        self.clips = [Clip("", name, name.split("/")[0], count) for name in names]
        self._classes = {word: index for index, word in enumerate(sorted(WORDS))}
        self._known: OrderedDict[int, SyntheticClip] = OrderedDict()
        self._drawn: dict[int, _Drawn] = {}

    def clip(self, clip: int) -> SyntheticClip:
        """The clip, made anew only if it was not among the last ones."""
        if clip not in self._known:
            self._known[clip] = self._make(self.takes[clip], self.motion)
        self._known.move_to_end(clip)
        if len(self._known) > max(_KNOWN_CLIPS, len(self._drawn) + 1):
            self._known.popitem(last=False)
        return self._known[clip]

    def _make(self, take: Take, motion: float) -> SyntheticClip:
        common: dict[str, Any] = {
            "noise_db": self.noise_db,
            "seed": self.seed,
            "motion": motion,
        }
        if self.seconds is None:
            return make_word_clip(*take, **common)
        return make_clip(*take, self.seconds, **common)

    def cache(self, clip: int) -> None:
        """Draw all frames of a clip, unless they are here, and keep them in memory."""
        if clip in self._drawn:
            return
        made = self.clip(clip)
        labels = made.labels(self.size) | self._driving(clip, range(len(made)))
        self._drawn[clip] = _Drawn(to_uint8(made.frames(self.size)), labels)

    def _driving(self, clip: int, indices: Sequence[int]) -> dict[str, Tensor]:
        """Frames of the person who drives, if one does."""
        if self.driving is None:
            return {}
        made, take = self.clip(clip), self.takes[self.drivers[clip]]
        if self.driving == "motion":
            driver = replace(made, identity=sample_identity(self.seed * POPULATION + take.person))
        else:
            other = self._make(take, USUAL_MOTION)
            driver = cross(other, made, other)
        return {"driving": to_uint8(driver.frames(self.size, indices))}

    def frames(self, clip: int, indices: Sequence[int]) -> Tensor:
        """Draw frames in any order, (len(indices), 3, size, size) uint8."""
        if clip in self._drawn:
            return self._drawn[clip].frames[list(indices)]
        return to_uint8(self.clip(clip).frames(self.size, indices))

    def audio(self, clip: int, start: int, frames: int) -> Tensor:
        """Sound of ``frames`` frames from ``start`` with context, zero outside the clip."""
        return audio_window(self.clip(clip).audio, start, frames)

    def gain(self, clip: int) -> Tensor:
        """Factor that brings the clip's whole sound to an rms of 0.1."""
        return torch.tensor(utterance_gain(self.clip(clip).audio))

    def labels(self, clip: int, indices: Sequence[int]) -> dict[str, Any]:
        """All labels of these frames; ``word`` too where the clip is one of a word."""
        labels: dict[str, Any] = {}
        if clip in self._drawn:
            for name, label in self._drawn[clip].labels.items():
                labels[name] = label[list(indices)]
        else:
            labels.update(self.clip(clip).labels(self.size, indices))
            labels.update(self._driving(clip, indices))
        if self.seconds is None:
            labels["word"] = self._classes[choose_word(*self.takes[clip], self.seed)]
        return labels


class SyntheticDataModule(WindowDataModule):
    """Drawn people who speak, with exact labels: nothing to download, nothing on disk.

    Only the frames of a window are drawn, when it is asked for. Looks and voices of training,
    validation and test are different people's, whatever the numbers and seeds: see
    `talkingface.data.synthetic.dataset.PEOPLE`. Batches hold all labels of
    :class:`~talkingface.data.batch.Batch`: identity, pose, expression, gaze, blink, viseme,
    landmarks, and word with ``words``. How people move is told in
    `talkingface.data.synthetic.motion`; which windows come when in
    :class:`~talkingface.data.loaders.WindowDataModule`.

    Args:
        size: side of the frames.
        frames: frames T of a window.
        references: identity references N of a window.
        batch_size: windows per batch and process.
        num_workers: drawing processes.
        identities: people to train on.
        takes: clips of each of them.
        seconds: length of the clips.
        words: make clips of one word, in the middle of 29 frames, as in LRW, in place of sentences.
            Windows then lie in the middle, a batch holds ``word``, an index into ``word_names``,
            and ``seconds`` has no meaning.
        val_identities: people to validate on.
        test_identities: people to test on.
        held_out_takes: clips of each person of validation and test.
        noise_db: signal-to-noise ratio of background noise in dB; none by default.
        seed: of the people and the windows.
        windows_per_clip: windows of every clip in an epoch.
        motion: how far heads move within a clip, as a share of the usual; 0 keeps them still.
        cache: draw a split's clips when its loader is first asked for, and keep them in memory
            (3 * size**2 bytes per frame): for sets of minutes. Frames are then drawn in other
            groups, and a pixel in thousands may differ by one level of 255.
        driving: give ``driving`` too, frames of another person, the next one of the split:
            with ``"motion"`` head, eyes and lips move as in the window, with ``"speech"`` the lips
            alone, and the rest on its own, as far as usual. What a model takes from ``driving`` can
            then not be who is seen. Only drawn people can be had so.

    Raises:
        ValueError: if a number is out of range, clips are shorter than a window with references,
            or a split has no other person to drive.

    Example:
        >>> data = SyntheticDataModule(size=32, frames=5, batch_size=2, identities=2, seconds=1.0)
        >>> batch = next(iter(data.train_dataloader()))
        >>> batch["video"].shape, batch["landmarks"].shape
        (torch.Size([2, 5, 3, 32, 32]), torch.Size([2, 5, 68, 2]))
    """

    def __init__(
        self,
        size: int = 96,
        frames: int = 5,
        references: int = 1,
        batch_size: int = 8,
        num_workers: int = 0,
        identities: int = 64,
        takes: int = 4,
        seconds: float = 4.0,
        words: bool = False,
        val_identities: int = 8,
        test_identities: int = 8,
        held_out_takes: int = 1,
        noise_db: float | None = None,
        seed: int = 0,
        windows_per_clip: int = 1,
        motion: float = 1.0,
        cache: bool = False,
        driving: Driving | None = None,
    ) -> None:
        super().__init__(size, frames, references, batch_size, num_workers, seed, windows_per_clip)
        people = {"train": identities, "val": val_identities, "test": test_identities}
        for split, count in people.items():
            name = "identities" if split == "train" else f"{split}_identities"
            least, most = int(split == "train"), len(PEOPLE[split])
            if not least <= count <= most:
                raise ValueError(f"{name} must be {least} to {most}, not {count}.")
            if driving and count == 1:
                raise ValueError(f"driving needs a second person: {name} is 1, give 2 or more.")
        for name, count in {"takes": takes, "held_out_takes": held_out_takes}.items():
            if count < 1:
                raise ValueError(f"{name} must be 1 or more, not {count}.")
        length = WORD_FRAMES if words else round(seconds * FPS)
        if words and frames > length:
            raise ValueError(f"frames must be {length} or less in clips of words, not {frames}.")
        if not words and length < frames + references:
            raise ValueError(
                f"seconds={seconds} are {length} frames, but a window of {frames} frames and "
                f"{references} references needs {frames + references}: make clips longer."
            )
        self.identities = identities
        self.takes = takes
        self.seconds = seconds
        self.words = words
        self.val_identities = val_identities
        self.test_identities = test_identities
        self.held_out_takes = held_out_takes
        self.noise_db = noise_db
        self.motion = motion
        self.cache = cache
        self.driving = driving
        self._ready = False

    @property
    def title(self) -> str:
        """What a model card calls this data."""
        return f"synthetic corpus, {self.identities} people, {self.takes} clips each"

    @property
    def word_names(self) -> list[str]:
        """The words that ``word`` in a batch counts."""
        return sorted(WORDS)

    def setup(self, stage: str | None = None) -> None:
        """List the clips."""
        if self._ready:
            return
        counts = {
            "train": (self.identities, self.takes),
            "val": (self.val_identities, self.held_out_takes),
            "test": (self.test_identities, self.held_out_takes),
        }
        splits = {
            split: [Take(p, t) for p in PEOPLE[split][:people] for t in range(takes)]
            for split, (people, takes) in counts.items()
        }
        self._reader = reader = SyntheticReader(
            [take for takes in splits.values() for take in takes],
            self.size,
            None if self.words else self.seconds,
            self.noise_db,
            self.seed,
            self.motion,
            self.driving,
            _drivers(splits.values()) if self.driving else (),
        )
        self.class_names = sorted({clip.identity for clip in reader.clips})
        length = reader.clips[0].frame_count
        skip = (length - self.frames + 1) // 2 if self.words else 0
        span = Span(skip, skip + self.frames) if self.words else Span(0, length)
        parts: list[Part] = []
        first = 0
        for takes in splits.values():
            parts.append([Piece(member, span) for member in range(first, first + len(takes))])
            first += len(takes)
        self.train_dataset, self.val_dataset, self.test_dataset = (
            self._dataset(reader, part) for part in parts
        )
        self._ready = True

    def _loader(self, dataset: ClipDataset, sampler: Sampler | None = None) -> DataLoader:
        """Draw the clips now if they are to be kept: all processes do so at the same time."""
        if self.cache:
            for member in dataset.members:
                self._reader.cache(member)
        return super()._loader(dataset, sampler)

    def clips(self, split: Literal["train", "val", "test"]) -> list[SyntheticClip]:
        """The clips of a split: for what a batch does not hold, such as exact cross-driving.

        Raises:
            ValueError: if there is no such split.
        """
        if split not in PEOPLE:
            raise ValueError(f'split must be "train", "val" or "test", not {split!r}.')
        self.setup()
        dataset: ClipDataset = getattr(self, f"{split}_dataset")
        return [self._reader.clip(member) for member in dataset.members]
