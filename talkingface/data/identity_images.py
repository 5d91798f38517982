"""Labelled face images, alone and as the second stream beside clips."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, DistributedSampler, default_collate

from talkingface.data.datasets.clips import ClipDataset
from talkingface.data.datasets.identity_images import FaceImageDataset, find_face_images
from talkingface.data.datasets.index import FailureLog
from talkingface.data.loaders import WindowDataModule, make_loader, ranks, resume_point
from talkingface.data.sampling import Span, Window, WindowSampler


class IdentityImagesDataModule(LightningDataModule):
    """Images of faces in one folder per person, ``root/<person>/<image>.jpg``.

    Batches hold ``faces`` (M, 3, H, W) in uint8 and ``face_identity`` (M,), an index into
    :attr:`class_names`. All images are for training. Their order is a pure function of (seed,
    epoch, rank, position), as in :class:`~talkingface.data.loaders.WindowDataModule`. See
    :mod:`talkingface.data.datasets.identity_images` for what images have to be;
    :class:`WithFaces` gives them together with clips.

    Args:
        root: folder of the people's folders.
        size: side of the images that come out.
        batch_size: images M per batch and process.
        num_workers: loading processes.
        seed: seed of the order.

    Raises:
        ValueError: if a value is out of range.
        FileNotFoundError: in ``setup``, if there are no images of people under ``root``.
    """

    def __init__(
        self, root: str, size: int = 256, batch_size: int = 8, num_workers: int = 0, seed: int = 0
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("size", size, 1),
            ("batch_size", batch_size, 1),
            ("num_workers", num_workers, 0),
            ("seed", seed, 0),
        ):
            if value < least:
                raise ValueError(f"{name} must be {least} or more, not {value}.")
        self.root, self.size, self.seed = root, size, seed
        self.batch_size, self.num_workers = batch_size, num_workers
        self.class_names: list[str] = []
        self._failures = FailureLog()

    @property
    def title(self) -> str:
        """What a model card calls this data: the folder's name."""
        return Path(self.root).resolve().name

    @property
    def num_identities(self) -> int:
        """Number of people."""
        return len(self.class_names)

    @property
    def skipped(self) -> dict[str, str]:
        """Name -> reason of the images that could not be read, found by now in any process."""
        return self._failures.reasons()

    def setup(self, stage: str | None = None) -> None:
        """Find the images and name the people."""
        if not self.class_names:
            images = find_face_images(self.root)
            self.class_names = sorted({image.identity for image in images})
            self.dataset = FaceImageDataset(images, self.size, self.class_names, self._failures)

    def train_dataloader(self) -> DataLoader:
        """All images in random order, from where the trainer stands."""
        self.setup()
        spans = [Span(0, 1)] * len(self.dataset)
        sampler = _ImageSampler(spans, 1, 1, self.batch_size, 1, self.seed, *ranks())
        if self.trainer is not None:
            sampler.resume(*resume_point(self.trainer))
        return make_loader(self.dataset, self.batch_size, self.num_workers, self.seed, sampler)


class _ImageSampler(WindowSampler):
    """An image is a clip of one frame."""

    def __iter__(self) -> Iterator[Any]:
        return (window.clip for window in super().__iter__())


class WithFaces(LightningDataModule):
    """Clips with a second stream of labelled faces, as DAVS learns people from other images.

    Batches of training are those of ``clips``, with ``faces`` (M, 3, H, W) and ``face_identity``
    (M,) beside them; the people are those of the images. Validation and test are those of
    ``clips``.

    Args:
        clips: gives the clips; its size, batch size, workers and seed hold for the images too.
        faces: folder of images, as for :class:`IdentityImagesDataModule`.
        faces_per_clip: images with every clip: M is that many times the batch size.

    Raises:
        ValueError: if ``faces_per_clip`` is below 1.
        FileNotFoundError: in ``setup``, if there are no images of people in ``faces``.
    """

    def __init__(self, clips: WindowDataModule, faces: str, faces_per_clip: int = 1) -> None:
        super().__init__()
        if faces_per_clip < 1:
            raise ValueError(f"faces_per_clip must be 1 or more, not {faces_per_clip}.")
        self.clips, self.faces_per_clip = clips, faces_per_clip
        self.faces = IdentityImagesDataModule(faces, clips.size, seed=clips.seed)

    @property
    def title(self) -> str:
        """What a model card calls this data."""
        return f"{getattr(self.clips, 'title', 'clips')} with faces of {self.faces.title}"

    @property
    def class_names(self) -> list[str]:
        """The people of the images, whom ``face_identity`` counts."""
        return self.faces.class_names

    @property
    def num_identities(self) -> int:
        """Number of people in the images."""
        return self.faces.num_identities

    @property
    def word_names(self) -> list[str]:
        """The words that ``word`` in a batch counts."""
        return getattr(self.clips, "word_names", [])

    @property
    def skipped(self) -> dict[str, str]:
        """Name -> reason of clips and images that are not used."""
        return getattr(self.clips, "skipped", {}) | self.faces.skipped

    def setup(self, stage: str | None = None) -> None:
        """Find clips and images."""
        self.clips.setup(stage)
        self.faces.setup(stage)

    def train_dataloader(self) -> DataLoader:
        """Windows and faces drawn at random, from where the trainer stands."""
        self.setup()
        self.clips.trainer = self.trainer
        images = self.faces.dataset
        sampler = FaceSampler(self.clips.train_sampler(), len(images), self.faces_per_clip)
        return make_loader(
            _WindowsAndFaces(self.clips.train_dataset, images),
            self.clips.batch_size,
            self.clips.num_workers,
            self.clips.seed,
            sampler,
            _collate,
        )

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """The held-out clips."""
        return self.clips.val_dataloader()

    def test_dataloader(self) -> DataLoader | list[DataLoader]:
        """The clips held out for tests."""
        return self.clips.test_dataloader()

    def predict_dataloader(self) -> DataLoader | list[DataLoader]:
        """The clips held out for tests."""
        return self.clips.predict_dataloader()


class WindowAndFaces(NamedTuple):
    """A window of a clip, and images by their numbers."""

    window: Window
    faces: tuple[int, ...]


class FaceSampler(DistributedSampler[WindowAndFaces]):
    """Adds images to the windows of a sampler, by the same pure function of where a window stands.

    The images are shuffled anew whenever all of them have been shown, so that each is shown equally
    often, however many windows an epoch has.

    Args:
        windows: draws the windows; knows seed, rank, epoch and where to resume.
        images: number of images.
        faces: images with each window.
    """

    def __init__(self, windows: WindowSampler, images: int, faces: int) -> None:
        super().__init__(
            windows.spans,  # type: ignore[arg-type]
            num_replicas=windows.num_replicas,
            rank=windows.rank,
            seed=windows.seed,
        )
        self.windows, self.images, self.faces = windows, images, faces

    def __len__(self) -> int:
        """Number of windows of an epoch and rank."""
        return len(self.windows)

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, as the sampler of the windows does."""
        self.windows.set_epoch(epoch)

    def __iter__(self) -> Iterator[WindowAndFaces]:
        """Yield this rank's windows and images of the current epoch."""
        before = self.windows.epoch * self.windows.total_size
        shuffled = -1
        order: np.ndarray = np.empty(0)
        for position, window in zip(self.windows.positions(), self.windows, strict=True):
            chosen = []
            for number in range(self.faces):
                shuffle, place = divmod((before + position) * self.faces + number, self.images)
                if shuffle != shuffled:
                    rng = np.random.default_rng([self.seed, shuffle, self.images])
                    shuffled, order = shuffle, rng.permutation(self.images)
                chosen.append(int(order[place]))
            yield WindowAndFaces(window, tuple(chosen))


class _WindowsAndFaces(Dataset[dict[str, Any]]):
    def __init__(self, windows: ClipDataset, faces: FaceImageDataset) -> None:
        self.windows, self.faces = windows, faces

    def __getitem__(self, request: WindowAndFaces) -> dict[str, Any]:
        faces = default_collate([self.faces[number] for number in request.faces])
        return {**self.windows[request.window], **faces}


def _collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch in which the faces of all windows are one row."""
    batch: dict[str, Any] = default_collate(items)
    for key in ("faces", "face_identity"):
        batch[key] = batch[key].flatten(0, 1)
    return batch
