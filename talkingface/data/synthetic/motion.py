"""How drawn people move: like someone who talks to a camera, whatever is said.

Scores depend on this distribution, so it is fixed. The head follows slow waves, the eyes jump from
one thing to the next, lids blink, brows rise now and then.
"""

import math
import random

import torch
from torch import Tensor

from talkingface.data.batch import FPS
from talkingface.data.synthetic.face import place

SPREAD = {"yaw": 15.0, "pitch": 8.0, "roll": 5.0, "x": 0.02, "y": 0.02, "scale": 0.04}
"""Standard deviation of each column of a head's pose; no value is farther out than 2.83 of it."""
WAVES = (0.1, 0.6)
"""Lowest and highest frequency of a head's motion, Hz."""
BLINKS = (2.0, 4.0)
"""Least and most seconds from blink to blink."""
FIXATIONS = (0.4, 2.0)
"""Least and most seconds that the eyes rest on something."""
GAZE_SPREAD = (0.3, 0.2)
"""Standard deviation of gaze to the side and up, cut at 2.5 of it."""
BROW_SPREAD = 0.3
"""Standard deviation of the wave whose positive part lifts the brows."""

_LID = 0.16  # seconds in which lids close; they open in as many
_BOUND = 2.5


def sample_motion(seed: str, frames: int, motion: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
    """Draw the motion of a head, and of what in a face has no part in speech.

    Args:
        seed: any text; the same text is the same motion.
        frames: T.
        motion: how far the head goes from where it is in the middle, as a share of the usual; 0
            keeps it there.

    Raises:
        ValueError: if ``motion`` is below 0.

    Returns:
        ``pose``, ordered as `talkingface.data.synthetic.face.Pose`, and the columns ``blink``,
        ``brow``, ``gaze_x`` and ``gaze_y`` of an expression.

    Shape:
        - pose: (T, 6)
        - columns: (T,) each

    Example:
        >>> pose, columns = sample_motion("someone", frames=100)
        >>> pose.shape, sorted(columns), int(columns["blink"].max())
        (torch.Size([100, 6]), ['blink', 'brow', 'gaze_x', 'gaze_y'], 1)
    """
    draw = random.Random(f"motion {seed}")
    waves = {name: _wander(draw, frames, spread) for name, spread in SPREAD.items()}
    waves["scale"] += 1
    if motion < 0:
        raise ValueError(f"motion={motion}: give 0, for heads that stay, or more.")
    pose = place(frames, **waves)
    pose = torch.lerp(pose[frames // 2], pose, motion)
    blink = _blinks(draw, frames)
    brow = _wander(draw, frames, BROW_SPREAD).clamp_min(0)
    gaze_x, gaze_y = _fixations(draw, frames)
    return pose, {"blink": blink, "brow": brow, "gaze_x": gaze_x, "gaze_y": gaze_y}


def _wander(draw: random.Random, count: int, deviation: float) -> Tensor:
    """Four slow waves of random phase: band-limited, bounded by 2.83 deviations. (T,)."""
    seconds = torch.arange(count) / FPS
    waves = [(draw.uniform(*WAVES), draw.random()) for _ in range(4)]
    turns = torch.stack([hertz * seconds + phase for hertz, phase in waves])
    return deviation * math.sqrt(0.5) * torch.cos(2 * math.pi * turns).sum(0)


def _blinks(draw: random.Random, count: int) -> Tensor:
    """Lids that close and open again, fully shut for one frame. (T,)."""
    frames = torch.arange(count)
    blink = torch.zeros(count)
    least, most = (round(seconds * FPS) for seconds in BLINKS)
    at = draw.randint(FPS // 4, least)
    while at < count:
        phase = ((frames - at) / (_LID * FPS)).clamp(-1, 1)
        blink = torch.maximum(blink, 0.5 + 0.5 * torch.cos(math.pi * phase))
        at += draw.randint(least, most)
    return blink


def _fixations(draw: random.Random, count: int) -> Tensor:
    """Gaze that rests and jumps. (2, T)."""
    gaze = torch.zeros(2, count)
    start = 0
    while start < count:
        stop = start + round(draw.uniform(*FIXATIONS) * FPS)
        for axis, spread in enumerate(GAZE_SPREAD):
            gaze[axis, start:stop] = spread * max(-_BOUND, min(_BOUND, draw.gauss(0, 1)))
        start = stop
    return gaze
