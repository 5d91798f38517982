"""Loaders of windows of clips: the same windows in every process and after every resume."""

import warnings
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.distributed
from pytorch_lightning import LightningDataModule, Trainer
from torch.utils.data import DataLoader, Dataset, Sampler

from talkingface.data.datasets.clips import ClipDataset, Reader
from talkingface.data.datasets.index import FailureLog
from talkingface.data.sampling import Span, WindowSampler


class Piece(NamedTuple):
    """A clip by its index, the frames of it that a split may use, and the word said there."""

    member: int
    span: Span
    word: int | None = None


Part = list[Piece]
"""What a split consists of."""


class WindowDataModule(LightningDataModule):
    """Base of the data modules: ``setup`` makes the datasets, the rest is the same for all.

    Training windows are a pure function of (seed, epoch, rank, position): repeatable, the same
    for any number of workers, shared out among processes, and continued from where a checkpoint was
    written, also within an epoch. Nothing needs to be set in the trainer for that. The global
    generators are never drawn from.

    Validation and test cover their frames completely and in order, and their ``source`` is the
    first frames of the clip. (Among processes Lightning shares the windows out and repeats some to
    make the shares equal.)

    Batches follow :class:`~talkingface.data.batch.Batch`, with frames in uint8.

    Args:
        size: side of the frames that come out.
        frames: frames T of a window.
        references: identity references N of a window.
        batch_size: windows per batch and process.
        num_workers: loading processes.
        seed: seed of the windows.
        windows_per_clip: windows of every clip in an epoch.

    Raises:
        ValueError: if a value is out of range.
    """

    train_dataset: ClipDataset
    val_dataset: ClipDataset
    test_dataset: ClipDataset

    def __init__(
        self,
        size: int,
        frames: int,
        references: int,
        batch_size: int,
        num_workers: int,
        seed: int,
        windows_per_clip: int,
    ) -> None:
        super().__init__()
        for name, value in {
            "size": size,
            "frames": frames,
            "references": references,
            "batch_size": batch_size,
            "windows_per_clip": windows_per_clip,
        }.items():
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}.")
        for name, value in {"num_workers": num_workers, "seed": seed}.items():
            if value < 0:
                raise ValueError(f"{name} must be 0 or more, not {value}.")
        self.size = size
        self.frames = frames
        self.references = references
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.windows_per_clip = windows_per_clip
        self.class_names: list[str] = []
        self._failures = FailureLog()

    @abstractmethod
    def setup(self, stage: str | None = None) -> None:
        """Make the datasets and ``class_names``; called again, do nothing."""

    @property
    def num_identities(self) -> int:
        """Number of identities, held-out ones included."""
        return len(self.class_names)

    def _dataset(self, reader: Reader, part: Part) -> ClipDataset:
        return ClipDataset(
            reader,
            [piece.member for piece in part],
            [piece.span for piece in part],
            self.frames,
            self.references,
            self.class_names,
            self._failures,
            [piece.word for piece in part if piece.word is not None] or None,
        )

    def train_dataloader(self) -> DataLoader:
        """Windows drawn at random, from where the trainer stands."""
        self.setup()
        return self._loader(self.train_dataset, self.train_sampler())

    def train_sampler(self) -> WindowSampler:
        """Draws the windows of training, from where the trainer stands."""
        self.setup()
        sampler = WindowSampler(
            self.train_dataset.spans,
            self.frames,
            self.references,
            self.batch_size,
            self.windows_per_clip,
            self.seed,
            *ranks(),
            self.train_dataset.reference_spans,
        )
        if self.trainer is not None:
            sampler.resume(*resume_point(self.trainer))
        return sampler

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """The held-out frames, in order; an empty list where nothing is held out."""
        self.setup()
        return self._loader(self.val_dataset) if len(self.val_dataset) else []

    def test_dataloader(self) -> DataLoader | list[DataLoader]:
        """The frames held out for tests, in order: those of validation unless there are others."""
        self.setup()
        return self._loader(self.test_dataset) if len(self.test_dataset) else []

    def predict_dataloader(self) -> DataLoader | list[DataLoader]:
        """The held-out frames, as for tests."""
        return self.test_dataloader()

    def _loader(self, dataset: ClipDataset, sampler: Sampler | None = None) -> DataLoader:
        return make_loader(dataset, self.batch_size, self.num_workers, self.seed, sampler)


def make_loader(
    dataset: Dataset,
    batch_size: int,
    num_workers: int,
    seed: int,
    sampler: Sampler | None = None,
    collate: Callable[[list[Any]], Any] | None = None,
) -> DataLoader:
    """A loader that draws nothing from the global generators."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        # Its own, because a loader draws a number each time that it is iterated.
        generator=torch.Generator().manual_seed(seed),
    )


def ranks() -> tuple[int, int]:
    """This process's rank, and the number of processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def resume_point(trainer: Trainer) -> tuple[int, int, int]:
    """Where a trainer stands: the epoch, its batches that are done, and what it calls the epoch.

    Lightning counts the batches of an epoch that it resumes but does not skip them in the loader.
    The number that it gives to samplers is ``processed``, which counts an epoch twice if a run that
    is limited by steps resumes at its end; ``ready`` counts the epochs begun.
    """
    loop = trainer.fit_loop
    epochs: Any = loop.epoch_progress.current
    if not loop.restarting:
        return epochs.ready, 0, epochs.processed
    # Lightning warns of every loader that does not keep a state of its own.
    warnings.filterwarnings("ignore", ".*your dataloader is not resumable")
    batches: Any = loop.epoch_loop.batch_progress
    saved_at_batch_end = batches.current.completed < batches.current.processed
    if batches.is_last_batch and saved_at_batch_end and epochs.processed < epochs.ready:
        # The loop goes on with the next epoch, but with the iterator that is made now, and workers
        # read ahead before they are told of the epoch.
        return epochs.ready, 0, epochs.processed + 1
    return max(epochs.ready - 1, 0), batches.current.processed, epochs.processed
