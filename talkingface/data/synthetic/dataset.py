"""Clips of drawn people who speak, with exact labels: a corpus that anyone can make anywhere."""

import math
import os
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import pad

from talkingface.data.batch import FPS, SAMPLES_PER_FRAME
from talkingface.data.synthetic.face import Expression, express, place, render, sample_identity
from talkingface.data.synthetic.speech import (
    ARTICULATION,
    pronounce,
    random_sentence,
    sample_voice,
    speak,
)
from talkingface.data.video import VideoWriter


@dataclass(frozen=True)
class SyntheticClip:
    """A drawn clip and everything that it was drawn from.

    Shape:
        - frames: (T, 3, size, size) RGB in [-1, 1], 25 fps
        - audio: (T * 640,) in [-1, 1], 16 kHz
        - identity: (K,), see `talkingface.data.synthetic.face.Identity`
        - pose: (T, 6), see `talkingface.data.synthetic.face.Pose`
        - expression: (T, E), see `talkingface.data.synthetic.face.Expression`
        - phonemes: what is said, see `talkingface.data.synthetic.speech.PHONEMES`
    """

    frames: Tensor
    audio: Tensor
    identity: Tensor
    pose: Tensor
    expression: Tensor
    phonemes: str

    @property
    def articulation(self) -> Tensor:
        """(T, A) what the face draws of `ARTICULATION`, in [0, 1]."""
        return self.expression[:, : Expression._fields.index("blink")]

    @property
    def blink(self) -> Tensor:
        """(T,) in [0, 1]; 1 is closed."""
        return self.expression[:, Expression._fields.index("blink")]

    @property
    def gaze(self) -> Tensor:
        """(T, 2) in [-1, 1], right and up in the image."""
        first = Expression._fields.index("gaze_x")
        return self.expression[:, first : first + 2]

    def labels(self) -> dict[str, Tensor]:
        """What `write_clips` writes beside the film."""
        return {
            name: getattr(self, name).contiguous()
            for name in ("identity", "pose", "expression", "articulation", "blink", "gaze")
        }


def make_clip(seed: int, seconds: float = 4.0, size: int = 96) -> SyntheticClip:
    """Draw one person saying one random sentence.

    The head wanders at 0.1 to 0.6 Hz, whatever is said, with a standard deviation of 15, 8 and 5
    degrees (yaw, pitch, roll; never beyond 43, 23 and 15); the eyes blink every 2 to 4 seconds.

    Args:
        seed: decides person, voice, sentence and motion.
        seconds: length, rounded to whole frames.
        size: height and width in pixels.

    Raises:
        ValueError: if ``seconds`` is less than one frame.

    Example:
        >>> clip = make_clip(seed=0, seconds=0.4, size=32)
        >>> clip.frames.shape, len(clip.audio)
        (torch.Size([10, 3, 32, 32]), 6400)
    """
    count = round(seconds * FPS)
    if count < 1:
        raise ValueError(f"a clip has at least one frame ({1 / FPS} s), got seconds={seconds}")
    draw = random.Random(f"motion {seed}")
    voice = sample_voice(seed)
    phonemes = pronounce(" ".join(random_sentence(seed, count / FPS, voice.rate)))
    audio, articulation, *_ = speak(phonemes, voice)
    missing = count - len(articulation)
    audio = pad(audio, (0, missing * SAMPLES_PER_FRAME))
    articulation = pad(articulation, (0, 0, 0, missing))

    yaw, pitch, roll = (_wander(draw, count, deviation) for deviation in (15.0, 8.0, 5.0))
    pose = place(count, yaw=yaw, pitch=pitch, roll=roll)
    expression = express(
        count,
        **{
            n: a
            for n, a in zip(ARTICULATION, articulation.T, strict=True)
            if n in Expression._fields
        },
        blink=_blinks(draw, count),
        brow=_wander(draw, count, 0.3).clamp_min(0),
        gaze_x=_wander(draw, count, 0.3),
        gaze_y=_wander(draw, count, 0.2),
    )
    identity = sample_identity(seed)
    frames = [  # in parts that stay in the cache
        render(identity, part, action, size)
        for part, action in zip(pose.split(8), expression.split(8), strict=True)
    ]
    return SyntheticClip(torch.cat(frames), audio, identity, pose, expression, phonemes)


def _wander(draw: random.Random, count: int, deviation: float) -> Tensor:
    """Four slow waves of random phase: band-limited, bounded by 2.83 deviations. (T,)."""
    seconds = torch.arange(count) / FPS
    waves = [(draw.uniform(0.1, 0.6), draw.random()) for _ in range(4)]
    turns = torch.stack([hertz * seconds + phase for hertz, phase in waves])
    return deviation * math.sqrt(0.5) * torch.cos(2 * math.pi * turns).sum(0)


def _blinks(draw: random.Random, count: int) -> Tensor:
    """Lids that close and open within 0.32 s, every 2 to 4 s, fully shut for one frame. (T,)."""
    frames = torch.arange(count)
    blink = torch.zeros(count)
    at = draw.randint(FPS // 4, 2 * FPS)
    while at < count:
        phase = ((frames - at) / (0.16 * FPS)).clamp(-1, 1)
        blink = torch.maximum(blink, 0.5 + 0.5 * torch.cos(math.pi * phase))
        at += draw.randint(2 * FPS, 4 * FPS)
    return blink


def write_clips(
    folder: str | Path, count: int, seconds: float = 4.0, size: int = 96, seed: int = 0
) -> list[Path]:
    """Write a small corpus: films with sound, each of another person, and their labels.

    Clip ``i`` is ``make_clip(seed + i)``, written as ``000000.mp4`` (named by its seed) with
    ``000000.safetensors`` beside it: identity, pose, expression, articulation, blink, gaze.

    Args:
        folder: made if it is not there.
        count: number of clips.
        seconds: length of each.
        size: height and width in pixels.
        seed: of the first clip; corpora whose seeds are ``count`` apart share nobody.

    Returns:
        The films' paths.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in write_clips(folder, count=2, seconds=0.2, size=32)]
        ['000000.mp4', '000001.mp4']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(seed, seed + count):
        clip = make_clip(number, seconds, size)
        path = folder / f"{number:06d}.mp4"
        labels = path.with_suffix(".safetensors")
        partial = labels.with_suffix(".part")
        save_file(clip.labels(), partial, metadata={"phonemes": clip.phonemes})
        os.replace(partial, labels)
        with VideoWriter(path, size, size, clip.audio) as writer:
            writer.write(clip.frames)
        paths.append(path)
    return paths
