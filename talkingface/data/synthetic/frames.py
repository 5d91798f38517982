"""Single drawn faces of random people, poses and expressions: more of everything than in films."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from talkingface.data.batch import AUDIO_CONTEXT, SAMPLES_PER_FRAME, to_uint8
from talkingface.data.datasets.index import Clip
from talkingface.data.loaders import Piece, WindowDataModule
from talkingface.data.sampling import Span
from talkingface.data.synthetic.dataset import PEOPLE, POPULATION
from talkingface.data.synthetic.face import (
    Expression,
    Identity,
    Pose,
    landmarks,
    render,
    sample_identity,
)

SCENE = (
    "clothes_colour",
    "clothes_pattern",
    "neckline",
    "background_colour",
    "background_tone",
    "light_side",
    "light_height",
)
"""Traits that are not of the face: drawn anew for every frame."""


TRAITS = tuple(name for name in Identity._fields if name not in SCENE)
"""Traits of the face, which is what a person is known by."""


def random_poses(count: int, rng: np.random.Generator, turn: float = 1.0) -> Tensor:
    """Draw poses evenly from the whole range in which faces can be drawn, or from its middle.

    Args:
        count: number of poses.
        rng: what they are drawn with.
        turn: share of the range.

    Shape:
        - output: (count, 6), see :class:`~talkingface.data.synthetic.face.Pose`

    Example:
        >>> poses = random_poses(100, np.random.default_rng(0))
        >>> poses.shape, bool(poses[:, 0].abs().max() <= 45)
        (torch.Size([100, 6]), True)
    """
    limits = {"yaw": 45.0, "pitch": 25.0, "roll": 20.0, "x": 0.06, "y": 0.06, "scale": 0.12}
    spread = {name: turn * limit * rng.uniform(-1, 1, count) for name, limit in limits.items()}
    spread["scale"] += 1
    poses = np.stack([spread[name] for name in Pose._fields], axis=1)
    return torch.from_numpy(poses).float()


def random_expressions(count: int, rng: np.random.Generator) -> Tensor:
    """Draw expressions; each part rests in some of them, and each is independent but for one.

    Pressed lips are closed: what is pressed opens the less.

    Shape:
        - output: (count, E), see :class:`~talkingface.data.synthetic.face.Expression`

    Example:
        >>> random_expressions(100, np.random.default_rng(0)).shape[0]
        100
    """
    resting = {"opening": 0.25, "width": 0.3, "rounding": 0.5, "press": 0.7, "teeth": 0.3}
    resting |= {"tongue": 0.6, "blink": 0.5, "brow": 0.3}
    columns = {name: rng.uniform(0, 1, count) for name in Expression._fields}
    for name in ("gaze_x", "gaze_y"):
        columns[name] = 2 * columns[name] - 1
    for name, share in resting.items():
        columns[name] *= rng.uniform(0, 1, count) >= share
    columns["blink"] = np.where(rng.uniform(0, 1, count) < 0.12, 1.0, columns["blink"])
    columns["opening"] *= 1 - columns["press"]
    return torch.from_numpy(np.stack([columns[name] for name in Expression._fields], 1)).float()


class RandomFaces:
    """Random frames of people as clips without sound.

    Every person has ``poses`` frames, each of another pose, expression and scene (background,
    clothes, light): what the frames have in common is the face. Pure functions of seed and person;
    a person is drawn when first asked for, and kept.

    Args:
        people: Numbers of the people.
        poses: Frames of each.
        size: Height and width in pixels.
        seed: Of poses, expressions and scenes.
        shared: Keep the frames where all loading processes find them.
        turn: How far heads turn and move, as a share of the whole range.

    Example:
        >>> faces = RandomFaces([7, 8], poses=3, size=32)
        >>> faces.frames(1, [0, 2]).shape, faces.labels(1, [0, 2])["landmarks"].shape
        (torch.Size([2, 3, 32, 32]), torch.Size([2, 68, 2]))
    """

    def __init__(
        self,
        people: Sequence[int],
        poses: int,
        size: int,
        seed: int = 0,
        shared: bool = False,
        turn: float = 1.0,
    ) -> None:
        self.people, self.poses, self.size, self.seed = people, poses, size, seed
        self.turn = turn
        self.clips: Sequence[Clip] = [
            Clip("", f"id{person:06d}", f"id{person:06d}", poses) for person in people
        ]
        self._frames = torch.empty(len(people), poses, 3, size, size, dtype=torch.uint8)
        self._points = torch.empty(len(people), poses, 68, 2)
        self._drawn = torch.zeros(len(people), dtype=torch.bool)
        if shared:
            for kept in (self._frames, self._points, self._drawn):
                kept.share_memory_()

    def cache(self, clip: int) -> None:
        """Draw a person's frames."""
        if self._drawn[clip]:
            return
        pose, expression = self._motion(clip)
        identities = self._looks(clip)
        self._points[clip] = landmarks(identities, pose, expression, self.size)
        self._frames[clip] = to_uint8(render(identities, pose, expression, self.size))
        self._drawn[clip] = True

    def _looks(self, clip: int) -> Tensor:
        person = self.people[clip]
        rng = np.random.default_rng([self.seed, person, 1])
        looks = sample_identity(person).repeat(self.poses, 1)
        for name in SCENE:
            scene = torch.from_numpy(rng.uniform(0, 1, self.poses)).float()
            looks[:, Identity._fields.index(name)] = scene
        return looks

    def _motion(self, clip: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([self.seed, self.people[clip], 0])
        return random_poses(self.poses, rng, self.turn), random_expressions(self.poses, rng)

    def frames(self, clip: int, indices: Sequence[int]) -> Tensor:
        """Frames of a person, (len(indices), 3, size, size) uint8."""
        self.cache(clip)
        return self._frames[clip, list(indices)]

    def audio(self, clip: int, start: int, frames: int) -> Tensor:
        """Silence."""
        return torch.zeros(frames * SAMPLES_PER_FRAME + 2 * AUDIO_CONTEXT)

    def gain(self, clip: int) -> Tensor:
        """One: there is nothing to amplify."""
        return torch.tensor(1.0)

    def labels(self, clip: int, indices: Sequence[int]) -> dict[str, Any]:
        """Landmarks, looks and scene, pose, expression, gaze, blink; and the face's traits."""
        self.cache(clip)
        person = Identity(*sample_identity(self.people[clip]))
        rows = list(indices)
        pose, expression = (motion[rows] for motion in self._motion(clip))
        gaze = Expression._fields.index("gaze_x")
        return {
            "landmarks": self._points[clip, rows],
            "looks": self._looks(clip)[rows],
            "pose": pose,
            "expression": expression,
            "gaze": expression[:, gaze : gaze + 2],
            "blink": expression[:, Expression._fields.index("blink")],
            "traits": torch.stack([getattr(person, name) for name in TRAITS]),
        }


class RandomFaceDataModule(WindowDataModule):
    """Random frames of random people, with exact labels: to train what reads single frames.

    Poses are even over the whole range and expressions need not be speech, so that a reader meets
    the rare as often as the usual. Everybody is drawn once, in the first epoch, and kept in memory
    (3 * size**2 bytes per frame).

    Args:
        size: side of the frames.
        identities: people to train on.
        poses: frames of each person.
        val_identities: further people for validation.
        batch_size: frames per batch and process.
        num_workers: loading processes.
        seed: seed of all draws; as everywhere in the corpus, another million of people.
        turn: how far heads turn and move, as a share of the whole range.

    Raises:
        ValueError: if there is nobody to train on, or fewer than two frames of each.

    Example:
        >>> data = RandomFaceDataModule(32, identities=2, poses=4, val_identities=1, batch_size=2)
        >>> batch = next(iter(data.train_dataloader()))
        >>> batch["video"].shape, batch["landmarks"].shape
        (torch.Size([2, 1, 3, 32, 32]), torch.Size([2, 1, 68, 2]))
    """

    def __init__(
        self,
        size: int = 96,
        identities: int = 2000,
        poses: int = 8,
        val_identities: int = 64,
        batch_size: int = 128,
        num_workers: int = 0,
        seed: int = 0,
        turn: float = 1.0,
    ) -> None:
        super().__init__(size, 1, 1, batch_size, num_workers, seed, windows_per_clip=poses)
        for name, value, least in (
            ("identities", identities, 1),
            ("poses", poses, 2),
            ("val_identities", val_identities, 0),
        ):
            if value < least:
                raise ValueError(f"{name} must be {least} or more, not {value}.")
        self.identities, self.poses = identities, poses
        people = [*PEOPLE["train"][:identities], *PEOPLE["val"][:val_identities]]
        people = [seed * POPULATION + person for person in people]
        self._reader = RandomFaces(people, poses, size, seed, num_workers > 0, turn)
        self._ready = False

    @property
    def title(self) -> str:
        """What a model card calls this data."""
        return f"{self.identities * self.poses} random drawn faces of {self.identities} people"

    @property
    def num_identities(self) -> int:
        """Number of people to train on."""
        return self.identities

    def setup(self, stage: str | None = None) -> None:
        """Name the people."""
        if self._ready:
            return
        # Those to train on come first: their labels count from 0.
        self.class_names = [clip.identity for clip in self._reader.clips]
        members = [Piece(member, Span(0, self.poses)) for member in range(len(self.class_names))]
        self.train_dataset = self._dataset(self._reader, members[: self.identities])
        self.val_dataset = self._dataset(self._reader, members[self.identities :])
        self.test_dataset = self.val_dataset
        self._ready = True
