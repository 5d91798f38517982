"""Data modules of files: find clips, index them and split them."""

import logging
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from talkingface.data.datasets.clips import ClipReader
from talkingface.data.datasets.folder import find_folder_clips
from talkingface.data.datasets.index import (
    Box,
    Clip,
    ClipFile,
    index_clips,
    list_reasons,
    reason_of,
)
from talkingface.data.datasets.mead import choose_speakers, choose_test_clips, find_mead_clips
from talkingface.data.datasets.voxceleb2 import find_voxceleb2_clips
from talkingface.data.loaders import Part, Piece, WindowDataModule
from talkingface.data.sampling import Span, split_identities, split_time

logger = logging.getLogger(__name__)


class ClipDataModule(WindowDataModule):
    """Base of the data modules of files: everything but where the clips lie.

    ``split="time"`` holds out the last ``val_fraction`` of every clip; ``"clip"`` holds out that
    share of the clips, and ``"identity"`` that share of the identities, with all of their clips.
    Which windows come when is said in :class:`~talkingface.data.loaders.WindowDataModule`.

    Files that cannot be used are reported, listed in :attr:`skipped`, and never stop the training:
    see :class:`~talkingface.data.datasets.clips.ClipDataset`.

    Args:
        root: folder of the clips.
        size: side of the frames that come out.
        frames: frames T of a window.
        references: identity references N of a window.
        batch_size: windows per batch and process.
        num_workers: loading processes.
        split: ``"time"``, ``"clip"`` or ``"identity"``.
        val_fraction: held-out share in [0, 1); 0 holds nothing out.
        seed: seed of the split by clip or identity and of the windows.
        box: crop taken before scaling, as fractions (top, left, bottom, right) of a frame, rounded
            to pixels. PC-AVS takes rows 0 to 191 and columns 16 to 207 of crops of 224 x 224:
            ``(0, 0.0714, 0.8571, 0.9286)``.
        windows_per_clip: windows of every clip in an epoch.
        cache: decode everything once and keep it in memory (3 * size**2 bytes per frame): for sets
            of minutes.
        index_file: JSON file that keeps what the headers say, for sets that take long to look
            through.

    Raises:
        ValueError: if a value is out of range or, in ``setup``, if no clip can be used.
        FileNotFoundError: in ``setup``, if there are no clips under ``root``.
    """

    def __init__(
        self,
        root: str,
        size: int = 224,
        frames: int = 5,
        references: int = 1,
        batch_size: int = 8,
        num_workers: int = 0,
        split: Literal["time", "clip", "identity"] = "time",
        val_fraction: float = 0.2,
        seed: int = 0,
        box: tuple[float, float, float, float] | None = None,
        windows_per_clip: int = 1,
        cache: bool = False,
        index_file: str | None = None,
    ) -> None:
        super().__init__(size, frames, references, batch_size, num_workers, seed, windows_per_clip)
        if split not in ("time", "clip", "identity"):
            raise ValueError(f'split must be "time", "clip" or "identity", not {split!r}.')
        if not 0 <= val_fraction < 1:
            raise ValueError(f"val_fraction must be in [0, 1), not {val_fraction}.")
        if box is not None and not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
            raise ValueError(f"box must be (top, left, bottom, right) within [0, 1], not {box}.")
        self.root = root
        self.split = split
        self.val_fraction = val_fraction
        self.box: Box | None = None if box is None else tuple(box)  # type: ignore[assignment]
        self.cache = cache
        self.index_file = index_file
        self._ready = False
        self._skipped: dict[str, str] = {}

    @abstractmethod
    def find_clips(self) -> list[ClipFile]:
        """Find the files below ``root``."""

    @property
    def title(self) -> str:
        """What a model card calls this data: the folder's name."""
        return Path(self.root).resolve().name

    @property
    def skipped(self) -> dict[str, str]:
        """Name -> reason of the files that are not used, found by now in any loading process."""
        return self._skipped | self._failures.reasons()

    def setup(self, stage: str | None = None) -> None:
        """Find, index and split the clips."""
        if self._ready:
            return
        clips, self._skipped = index_clips(self.find_clips(), self.box, self.index_file)
        reader = ClipReader(clips, self.size, self.box)
        parts = self._split(clips)
        if self.cache:
            parts = self._fill_cache(reader, parts)
        train, val, test = (*parts, parts[-1])[:3]
        if not train:
            raise ValueError(f"{self.root} has no usable clip: {list_reasons(self._skipped)}.")
        if self._skipped:
            reasons = list_reasons(self._skipped)
            logger.warning("%d clips are not used: %s.", len(self._skipped), reasons)
        self.class_names = self.name_identities([clips[p.member] for p in [*train, *val, *test]])
        self.train_dataset = self._dataset(reader, train)
        self.val_dataset = self._dataset(reader, val)
        self.test_dataset = self._dataset(reader, test)
        self._ready = True

    def name_identities(self, clips: Sequence[Clip]) -> list[str]:
        """The names that ``identity`` counts; none leaves it out of the batches."""
        return sorted({clip.identity for clip in clips})

    def _split(self, clips: Sequence[Clip]) -> tuple[Part, ...]:
        """Share out the clips for training, validation, and tests where they have others."""
        if self.split == "time":
            return self._split_by_time(clips)
        train: Part = []
        val: Part = []
        held_out = self._held_out(clips)
        for member, clip in enumerate(clips):
            if clip.frame_count < self.frames + self.references:
                self._skip_short(clip, self.frames + self.references)
            else:
                part = val if member in held_out else train
                part.append(Piece(member, Span(0, clip.frame_count)))
        return train, val

    def _split_by_time(self, clips: Sequence[Clip]) -> tuple[Part, Part]:
        train: Part = []
        val: Part = []
        for member, clip in enumerate(clips):
            spans = split_time(clip.frame_count, self.frames, self.references, self.val_fraction)
            if spans is None:
                needed = self.frames * (2 if self.val_fraction else 1) + self.references
                self._skip_short(clip, needed)
                continue
            train.append(Piece(member, spans[0]))
            if spans[1].length:
                val.append(Piece(member, spans[1]))
        return train, val

    def _skip_short(self, clip: Clip, needed: int) -> None:
        self._skipped[clip.name] = f"too short: {clip.frame_count} frames, {needed} or more needed"

    def _held_out(self, clips: Sequence[Clip]) -> set[int]:
        """The clips, by index, that a split by clip or identity holds out."""
        if self.split == "identity":
            people = self.held_out_identities(clips)
            return {member for member, clip in enumerate(clips) if clip.identity in people}
        if self.val_fraction and len(clips) < 2:
            raise ValueError(
                f'split="clip" needs two clips or more, found {len(clips)}: give val_fraction=0 to '
                "hold nothing out."
            )
        names = split_identities([clip.name for clip in clips], self.val_fraction, self.seed)[1]
        return {member for member, clip in enumerate(clips) if clip.name in names}

    def held_out_identities(self, clips: Sequence[Clip]) -> set[str]:
        """The identities that ``split="identity"`` holds out."""
        names = [clip.identity for clip in clips]
        return split_identities(names, self.val_fraction, self.seed)[1]

    def _fill_cache(self, reader: ClipReader, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        broken = set()
        for member in sorted({piece.member for part in parts for piece in part}):
            try:
                reader.cache(member)
            except Exception as error:
                broken.add(member)
                self._skipped[reader.clips[member].name] = reason_of(error)
        return tuple([piece for piece in part if piece.member not in broken] for part in parts)


class FolderDataModule(ClipDataModule):
    """Any folder of face clips, at any depth.

    The identity is the first sub-folder, or the clip itself where it lies in the folder. Clips are
    square crops of one face with sound, e.g. from ``talkingface prepare``.

    For the arguments see :class:`ClipDataModule`.
    """

    def find_clips(self) -> list[ClipFile]:
        """Find all video files."""
        return find_folder_clips(self.root)


class VoxCeleb2DataModule(ClipDataModule):
    """VoxCeleb2 (or anything laid out like it) in the corpus's own folders.

    ``root/{dev,test}/id*/<video>/<clip>.mp4`` (with or without an ``mp4`` folder below ``dev`` and
    ``test``) or ``root/id*/<video>/<clip>.mp4``. Where both ``dev`` and ``test`` are there,
    ``split="identity"`` is the corpus's own: the identities of ``test`` are held out, and
    ``val_fraction`` is not used. See :mod:`talkingface.data.datasets.voxceleb2` for access, licence
    and citation.

    For the arguments see :class:`ClipDataModule`.
    """

    def find_clips(self) -> list[ClipFile]:
        """Find the corpus's clips."""
        return find_voxceleb2_clips(self.root)

    def held_out_identities(self, clips: Sequence[Clip]) -> set[str]:
        """The identities of ``test`` where the corpus's own split is there."""
        test = {clip.identity for clip in clips if clip.name.startswith("test/")}
        if test and any(clip.name.startswith("dev/") for clip in clips):
            return test
        return super().held_out_identities(clips)


class MEADDataModule(ClipDataModule):
    """One view of MEAD in the corpus's own folders, with FC-TFG's protocol as held-out part.

    ``split="identity"`` (the default here) holds out the protocol's clips: ``videos`` of each
    emotion of each of ``speakers`` random speakers, none of whom is trained on. Frames have to be
    square: crop with ``talkingface prepare`` first, which keeps the folders and joins the sound.
    See :mod:`talkingface.data.datasets.mead` for access, licence and citation.

    Args:
        root: folder of the actors' folders.
        view: folder of the view.
        speakers: how many speakers are held out.
        videos: how many videos of each of them and each emotion.
        options: the other arguments of :class:`ClipDataModule`, but for ``val_fraction`` with
            ``split="identity"``.
    """

    def __init__(
        self,
        root: str,
        view: str = "front",
        speakers: int = 5,
        videos: int = 5,
        split: Literal["time", "clip", "identity"] = "identity",
        **options: Any,
    ) -> None:
        super().__init__(root, split=split, **options)
        if min(speakers, videos) < 1:
            raise ValueError(f"speakers={speakers} and videos={videos} must be 1 or more.")
        self.view, self.speakers, self.videos = view, speakers, videos

    def find_clips(self) -> list[ClipFile]:
        """Find the clips of the view."""
        self._files = find_mead_clips(self.root, self.view)
        return self._files

    def held_out_identities(self, clips: Sequence[Clip]) -> set[str]:
        """The protocol's speakers."""
        # Drawn from all files, as the evaluation does, whether each of them can be used or not.
        people = {file.identity for file in self._files}
        if len(people) <= self.speakers:
            raise ValueError(
                f"{self.root} has {len(people)} speakers, {self.speakers} are held out: give "
                "data.speakers of fewer, or another split."
            )
        return choose_speakers(people, self.speakers, self.seed)

    def _split(self, clips: Sequence[Clip]) -> tuple[Part, Part]:
        train, val = super()._split(clips)
        if self.split != "identity":
            return train, val
        chosen = choose_test_clips(self._files, self.speakers, self.videos, self.seed)
        names = {file.name for file in chosen}
        return train, [piece for piece in val if clips[piece.member].name in names]
