"""Clips as an evaluation sees them: through a model's crop, and in the common evaluation crop."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol, Self

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor, resize

from talkingface.data.audio import read_audio
from talkingface.data.batch import SAMPLES_PER_FRAME, to_float
from talkingface.data.datasets.folder import find_folder_clips
from talkingface.data.datasets.index import ClipFile, reason_of
from talkingface.data.datasets.mead import choose_test_clips, find_mead_clips, is_mead
from talkingface.data.faces import (
    PC_AVS_CROP,
    CroppedClip,
    CropTemplate,
    FaceDetector,
    FaceTrack,
    compose,
    invert,
    track_face,
    warp,
)
from talkingface.data.synthetic.clip import SyntheticClip
from talkingface.data.synthetic.dataset import PEOPLE, make_clip
from talkingface.data.video import VideoClip

EVALUATION_CROP = replace(PC_AVS_CROP, name="evaluation")
"""Where real clips are compared: forehead to chin, as in PC-AVS's own crop.

Results in other crops are warped into it; what a crop does not reach is the source picture's.
"""

Landmarks = Callable[[Tensor], Tensor]
"""Finds 68 points (T, 68, 2) in frames (T, 3, H, W), NaN where there is no face."""

_PART = 16  # frames of a file in memory at its own size


class Footage(Protocol):
    """A clip of one person speaking."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def person(self) -> str:
        """Who speaks: clips of the same person have the same."""

    @property
    def audio(self) -> Tensor:
        """The frames' sound, (T * 640,) at 16 kHz."""

    def __len__(self) -> int:
        """Number of frames T."""

    def frames(self, size: int, crop: CropTemplate | None = None) -> Tensor:
        """Frames (T, 3, size, size) in [-1, 1], through a crop; the evaluation's by default."""

    def first(self, size: int, crop: CropTemplate | None = None) -> Tensor:
        """The first of them, (3, size, size)."""

    def rest(self) -> Self:
        """The clip without its first frame."""

    def mask(self, size: int) -> Tensor | None:
        """Which pixels (T, size, size) of the evaluation crop show the face; None: not known."""

    def truth(self) -> dict[str, Tensor]:
        """Motion (T,) by name, where it is known exactly."""

    def place(self, frames: Tensor, crop: CropTemplate, size: int) -> Tensor:
        """Bring what a model made of this clip's first frame to the evaluation crop."""


@dataclass(frozen=True, eq=False)
class CorpusFootage:
    """A drawn clip: its frame is every model's crop and the evaluation crop.

    Args:
        clip: The clip.
        start: Its first frame that counts.
    """

    clip: SyntheticClip
    start: int = 0

    @property
    def name(self) -> str:
        """The clip's name."""
        return self.clip.name

    @property
    def person(self) -> str:
        """The clip's person."""
        return str(self.clip.person)

    @property
    def audio(self) -> Tensor:
        """Sound from the first frame on."""
        return self.clip.audio[self.start * SAMPLES_PER_FRAME :]

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.clip) - self.start

    def _indices(self) -> list[int]:
        return list(range(self.start, len(self.clip)))

    def frames(self, size: int, crop: CropTemplate | None = None) -> Tensor:
        """Frames (T, 3, size, size), drawn at this size."""
        return self.clip.frames(size, self._indices())

    def first(self, size: int, crop: CropTemplate | None = None) -> Tensor:
        """The first of them."""
        return self.clip.frames(size, [self.start])[0]

    def rest(self) -> Self:
        """The clip without its first frame."""
        return replace(self, start=self.start + 1)

    def mask(self, size: int) -> Tensor | None:
        """The head, exactly."""
        return self.clip.mask(size, self._indices())

    def truth(self) -> dict[str, Tensor]:
        """Yaw, pitch, roll (degrees), blink, gaze and mouth opening, exactly."""
        yaw, pitch, roll = self.clip.pose[self.start :, :3].unbind(1)
        gaze_x, gaze_y = self.clip.gaze[self.start :].unbind(1)
        return {
            "yaw": yaw,
            "pitch": pitch,
            "roll": roll,
            "gaze x": gaze_x,
            "gaze y": gaze_y,
            "blink": self.clip.blink[self.start :],
            "mouth opening": self.clip.articulation[self.start :, 0],
        }

    def place(self, frames: Tensor, crop: CropTemplate, size: int) -> Tensor:
        """Scale frames to ``size``."""
        return scale(frames, size)


@dataclass(frozen=True, eq=False)
class FileFootage:
    """A clip in a file; frames are decoded when they are asked for.

    Args:
        file: The file, its name, and who it shows.
        count: Frames that count.
        track: Where the face is; None for frames that are cropped already.
        audio: Sound of the frames that count.
        landmarks: Finds the points whose outline is the mask of the face.
        start: First frame that counts.
    """

    file: ClipFile
    count: int
    track: FaceTrack | None
    audio: Tensor
    landmarks: Landmarks | None = None
    start: int = 0

    @property
    def name(self) -> str:
        """The file's name below the folder."""
        return self.file.name

    @property
    def person(self) -> str:
        """Who it shows."""
        return self.file.identity

    def __len__(self) -> int:
        """Number of frames."""
        return self.count

    @cached_property
    def _clip(self) -> VideoClip:
        return VideoClip(self.file.path)

    def _tracked(self, crop: CropTemplate | None) -> FaceTrack | None:
        if self.track is None:
            return None
        return replace(self.track, template=crop or EVALUATION_CROP)

    def _read(self, count: int, size: int, crop: CropTemplate | None) -> Tensor:
        track = self._tracked(crop)
        if track is not None:
            whole = CroppedClip(self._clip, track, size).iterate(self.start)
            return to_float(torch.stack(list(islice(whole, count))))
        coming, parts = islice(self._clip.iterate(self.start), count), []
        while part := list(islice(coming, _PART)):
            parts.append(resize(torch.stack(part), [size, size], antialias=True))
        return to_float(torch.cat(parts))

    def frames(self, size: int, crop: CropTemplate | None = None) -> Tensor:
        """Frames (T, 3, size, size) through a crop."""
        return self._read(self.count, size, crop)

    def first(self, size: int, crop: CropTemplate | None = None) -> Tensor:
        """The first of them."""
        return self._read(1, size, crop)[0]

    def rest(self) -> Self:
        """The clip without its first frame."""
        audio = self.audio[SAMPLES_PER_FRAME:]
        return replace(self, start=self.start + 1, count=self.count - 1, audio=audio)

    def mask(self, size: int) -> Tensor | None:
        """What jaw and brows enclose, in frames in which they are found."""
        if self.landmarks is None:
            return None
        return outline(self.landmarks(self.frames(size)), size)

    def truth(self) -> dict[str, Tensor]:
        """Nothing is known exactly."""
        return {}

    def place(self, frames: Tensor, crop: CropTemplate, size: int) -> Tensor:
        """Warp frames into the evaluation crop of the picture that they were made of."""
        made, still = self._tracked(crop), self._tracked(None)
        if made is None or still is None:
            return scale(frames, size)
        here = slice(self.start, self.start + 1)
        back = invert(made.matrices(frames.shape[-1])[here])
        maps = compose(still.matrices(size)[here], back).expand(len(frames), 2, 3)
        reached = warp(torch.ones_like(frames[:1]), maps[:1], size, size) / 2 + 0.5
        # Black is -1: what lies beyond the model's crop adds nothing, and the picture fills it.
        picture = self.first(size).to(frames)
        return warp(frames, maps, size, size) + (1 - reached) * (picture + 1)


def scale(frames: Tensor, size: int) -> Tensor:
    """Scale frames (T, 3, H, H) to ``size``, bilinearly, with antialiasing."""
    if frames.shape[-1] == size:
        return frames
    return resize(frames, [size, size], antialias=True).clamp(-1, 1)


def outline(points: Tensor, size: int) -> Tensor:
    """Fill what jaw and brows enclose; nothing where a point is not known.

    Shape:
        - ``points``: (T, 68, 2) pixels; output: (T, size, size) bool.

    Example:
        >>> points = torch.full((1, 68, 2), 4.0)
        >>> points[0, :17] = torch.tensor([[2.0, 6.0]] * 8 + [[6.0, 6.0]] * 9)
        >>> points[0, 17:27] = torch.tensor([[2.0, 2.0]] * 5 + [[6.0, 2.0]] * 5)
        >>> int(outline(points, 8).sum())
        25
    """
    masks = []
    for face in points:
        picture = Image.new("1", (size, size))
        if face.isfinite().all():
            edge = [*face[:17], *face[17:27].flip(0)]
            ImageDraw.Draw(picture).polygon([tuple(p) for p in torch.stack(edge).tolist()], fill=1)
        masks.append(pil_to_tensor(picture)[0].bool())
    return torch.stack(masks)


def corpus_footage(
    clips: int, seconds: float, seed: int, device: str | torch.device = "cpu"
) -> list[CorpusFootage]:
    """Drawn clips, each of another person whom no training has seen, drawn on ``device``.

    Example:
        >>> [item.name for item in corpus_footage(2, seconds=0.4, seed=0)]
        ['id900000/00000', 'id900001/00000']
    """
    made = [make_clip(person, seconds=seconds, seed=seed) for person in PEOPLE["test"][:clips]]
    return [
        CorpusFootage(
            replace(
                clip,
                identity=clip.identity.to(device),
                pose=clip.pose.to(device),
                expression=clip.expression.to(device),
            )
        )
        for clip in made
    ]


def folder_footage(
    folder: str | Path,
    clips: int,
    seconds: float,
    seed: int,
    crop: Literal["detect", "none"],
    landmarks: Landmarks | None = None,
    device: str | torch.device = "cpu",
) -> tuple[list[FileFootage], dict[str, str]]:
    """Open clips of a folder; those that cannot be used are named, not replaced.

    Args:
        folder: The folder; see :func:`~talkingface.data.datasets.folder.find_folder_clips`. Of one
            that is laid out like MEAD, clips of FC-TFG's protocol: see
            :func:`~talkingface.data.datasets.mead.choose_test_clips`.
        clips: How many: of more, a random choice.
        seconds: What counts of each, from its beginning.
        seed: Of the choice.
        crop: ``"detect"`` to find the face, ``"none"`` for square frames that are crops already.
        landmarks: Finds the points whose outline is the mask of the face.
        device: Where the face detector runs.

    Returns:
        The clips, and name -> reason of those that failed.

    Raises:
        FileNotFoundError: If there is no such folder, or no clip in it.
        ValueError: If none can be used.
    """
    if is_mead(folder):
        files = choose_test_clips(find_mead_clips(folder), seed=seed)
    else:
        files = find_folder_clips(str(folder))
    if len(files) > clips:
        files = sorted(random.Random(seed).sample(files, clips))
    opened: list[FileFootage] = []
    failed: dict[str, str] = {}
    detector = FaceDetector(device) if crop == "detect" else None
    for file in files:
        try:
            opened.append(_open(file, seconds, detector, landmarks))
        except Exception as error:  # decoders fail in many ways; the clip is named
            failed[file.name] = reason_of(error)
    if not opened:
        name, reason = next(iter(failed.items()))
        raise ValueError(f"none of {len(files)} clips of {folder} can be used ({name}: {reason}).")
    if len(opened) < 2:
        why = "".join(f" ({name}: {reason})" for name, reason in list(failed.items())[:1])
        raise ValueError(
            f"one clip of {folder} can be used{why}: the wrong sound is another clip's, give two."
        )
    return opened, failed


def _open(
    file: ClipFile, seconds: float, detector: FaceDetector | None, landmarks: Landmarks | None
) -> FileFootage:
    clip = VideoClip(file.path)
    if not clip.has_audio and file.audio is None:
        raise ValueError(f"{file.path} has no sound: speech is what drives the face.")
    if detector is None and clip.height != clip.width:
        raise ValueError(
            f"{file.path} is {clip.width}x{clip.height} pixels, but cropped frames are square: "
            'let the face be found (crop "detect").'
        )
    count = min(len(clip), round(seconds * 25))
    track = None
    if detector is not None:
        track = track_face(clip, EVALUATION_CROP, detector=detector, frames=count)
    audio = read_audio(file.audio or file.path, 0, count * SAMPLES_PER_FRAME)
    return FileFootage(file, count, track, audio, landmarks)


def other_than(footage: Sequence[Footage], index: int) -> int:
    """Index of the next clip of another person, or of the next clip if there is one person."""
    count = len(footage)
    following = [(index + step) % count for step in range(1, count)]
    person = footage[index].person
    return next((k for k in following if footage[k].person != person), following[0])
