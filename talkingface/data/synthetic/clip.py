"""A clip of a drawn person: numbers, frames drawn from them on demand, and exact labels."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from talkingface.data.synthetic.face import Expression, face_mask, landmarks, render
from talkingface.data.synthetic.speech import ARTICULATION
from talkingface.data.video import VideoWriter

TAG = "synthetic: this person and this voice do not exist; a program drew and spoke them"
"""What the metadata of a written clip say."""

_PART = 8  # frames that are drawn together, so that they stay in the processor's cache


@dataclass(frozen=True, eq=False)
class SyntheticClip:
    """A clip of a drawn person, and everything that it is drawn from.

    Attributes:
        name: name of the clip, such as ``id000003/00001``.
        person: number of the person that is seen.
        identity: looks, see `talkingface.data.synthetic.face.Identity`.
        pose: see `talkingface.data.synthetic.face.Pose`.
        expression: see `talkingface.data.synthetic.face.Expression`.
        audio: sound in [-1, 1], 16 kHz.
        viseme: class of mouth shape of each frame, 0 at rest; see
            `talkingface.data.synthetic.speech.VISEMES`.
        words: what is said: (word, start, end) in seconds.

    Shape:
        - identity: (K,)
        - pose: (T, 6)
        - expression: (T, 10)
        - audio: (T * 640,)
        - viseme: (T,) int64
    """

    name: str
    person: int
    identity: Tensor
    pose: Tensor
    expression: Tensor
    audio: Tensor
    viseme: Tensor
    words: tuple[tuple[str, float, float], ...]

    def __len__(self) -> int:
        """Number of frames, T, at 25 fps."""
        return len(self.pose)

    def _columns(self, *names: str) -> Tensor:
        return self.expression[:, [Expression._fields.index(name) for name in names]]

    @property
    def articulation(self) -> Tensor:
        """(T, 6) what the mouth does, columns ``speech.ARTICULATION``."""
        return self._columns(*ARTICULATION)

    @property
    def blink(self) -> Tensor:
        """(T,) in [0, 1]; 1 is closed."""
        return self._columns("blink")[:, 0]

    @property
    def brow(self) -> Tensor:
        """(T,) in [0, 1]; 1 is raised."""
        return self._columns("brow")[:, 0]

    @property
    def gaze(self) -> Tensor:
        """(T, 2) in [-1, 1], right and up in the image."""
        return self._columns("gaze_x", "gaze_y")

    def frames(self, size: int, indices: Sequence[int] | None = None) -> Tensor:
        """Draw frames, all by default: (t, 3, size, size) RGB in [-1, 1]."""
        return torch.cat([render(*part, size) for part in self._parts(indices)])

    def landmarks(self, size: int, indices: Sequence[int] | None = None) -> Tensor:
        """Where the 68 points of the face are, (t, 68, 2) in pixels, right and down."""
        return torch.cat([landmarks(*part, size) for part in self._parts(indices)])

    def mask(self, size: int, indices: Sequence[int] | None = None) -> Tensor:
        """Where the head is, (t, size, size) bool."""
        return torch.cat([face_mask(*part, size) for part in self._parts(indices)])

    def _parts(self, indices: Sequence[int] | None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        chosen = slice(None) if indices is None else list(indices)
        poses, expressions = self.pose[chosen], self.expression[chosen]
        for pose, expression in zip(poses.split(_PART), expressions.split(_PART), strict=True):
            yield self.identity, pose, expression

    def labels(self, size: int, indices: Sequence[int] | None = None) -> dict[str, Tensor]:
        """Labels of frames, all by default, as they stand in a batch of frames of this size."""
        chosen = slice(None) if indices is None else list(indices)
        names = ("pose", "expression", "gaze", "blink", "viseme")
        found = {name: getattr(self, name)[chosen].contiguous() for name in names}
        return found | {"landmarks": self.landmarks(size, indices)}

    def save(self, path: str | Path, size: int) -> None:
        """Write ``path``, an mp4 with sound, and its labels beside it as ``.safetensors``.

        Labels are those of `labels` and the identity; name and words stand in the file's
        metadata, as JSON under ``clip``.
        The film appears last, when all is written.

        Raises:
            FileNotFoundError: if the folder does not exist.
            ValueError: if the name does not end in ``.mp4``.
        """
        path = Path(path)
        with VideoWriter(path, size, size, self.audio, comment=TAG) as writer:
            labels = path.with_suffix(".safetensors")
            partial = path.with_suffix(".part")
            # One entry: of several, the order in the file would be random.
            metadata = {"clip": json.dumps({"name": self.name, "words": self.words})}
            save_file(self.labels(size) | {"identity": self.identity}, partial, metadata)
            os.replace(partial, labels)
            for part in self._parts(None):
                writer.write(render(*part, size))


def cross(
    appearance: SyntheticClip, speech: SyntheticClip, motion: SyntheticClip | None
) -> SyntheticClip:
    """One person who says what a second says and moves as a third: the truth of cross-driving.

    Args:
        appearance: whose looks.
        speech: whose sound and mouth.
        motion: whose pose, gaze, blinks and brows, played forth and back where it is shorter than
            the speech. None keeps the first frame's of ``appearance``.

    Returns:
        A clip as long as the speech.

    Example:
        >>> from talkingface.data.synthetic.dataset import make_clip
        >>> a, b, c = (make_clip(person, seconds=0.4) for person in range(3))
        >>> both = cross(a, b, c)
        >>> torch.equal(both.pose, c.pose), torch.equal(both.articulation, b.articulation)
        (True, True)
    """
    count = len(speech)
    if motion is None:
        source, indices = appearance, torch.zeros(count, dtype=torch.long)
    else:
        source, turn = motion, torch.arange(count) % (2 * len(motion))
        indices = torch.minimum(turn, 2 * len(motion) - 1 - turn)
    expression = source.expression[indices]
    mouth = [Expression._fields.index(name) for name in ARTICULATION]
    expression[:, mouth] = speech.articulation
    names = [appearance.name, speech.name, motion.name if motion else "still"]
    return replace(
        speech,
        name="+".join(names),
        person=appearance.person,
        identity=appearance.identity,
        pose=source.pose[indices],
        expression=expression,
    )
