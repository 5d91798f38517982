"""The batch: one contract for every dataset and every method."""

from typing import NotRequired, Protocol, TypedDict

import torch
from torch import Tensor

FPS = 25
"""Frames per second of every clip."""
SAMPLE_RATE = 16_000
"""Samples per second of every sound."""
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS
"""Samples that belong to one frame: 640."""
AUDIO_CONTEXT = 3_200
"""Samples (0.2 s) of sound that travel on each side of a window of frames."""


class Batch(TypedDict):
    """A batch of windows of talking-face clips.

    Frames are RGB at 25 fps. They travel as ``uint8`` in [0, 255] and become ``float`` in [-1, 1]
    on the device. A dataset's item is the same dictionary without the leading ``B``.

    Shape:
        - ``video``: (B, T, 3, H, W), the target frames.
        - ``source``: (B, N, 3, H, W), N >= 1 identity references: other frames of the same clip;
          any of its frames where the window leaves too few, as words of the corpus do.
        - ``driving``: (B, T, 3, H, W), the source of motion where it is not ``video`` itself.
        - ``audio``: (B, T * 640 + 2 * 3200) float32 in [-1, 1], 16 kHz mono: the frames' sound with
          0.2 s of context on each side; zero outside the file.
        - ``audio_gain``: (B,) factor that brings the *whole utterance* to an rms of 0.1.
        - ``clip``: B names; ``start``: (B,) int64, index of the window's first frame in its clip.
        - ``identity``, ``word``: (B,) int64 labels.
        - ``pose``: (B, T, 6), ``expression``: (B, T, 10), ``gaze``: (B, T, 2), ``blink``: (B, T),
          ``viseme``: (B, T) int64, ``landmarks``: (B, T, 68, 2) in pixels of ``video``: exact
          labels of the synthetic corpus, see :mod:`talkingface.data.synthetic`.
        - ``faces``: (M, 3, H, W), ``face_identity``: (M,), a second stream of labelled faces.

    Example:
        >>> from talkingface.data.batch import AUDIO_CONTEXT, SAMPLES_PER_FRAME
        >>> 5 * SAMPLES_PER_FRAME + 2 * AUDIO_CONTEXT  # samples that travel with five frames
        9600
    """

    video: Tensor
    source: Tensor
    audio: Tensor
    audio_gain: Tensor
    clip: list[str]
    start: Tensor
    driving: NotRequired[Tensor]
    identity: NotRequired[Tensor]
    word: NotRequired[Tensor]
    pose: NotRequired[Tensor]
    expression: NotRequired[Tensor]
    gaze: NotRequired[Tensor]
    blink: NotRequired[Tensor]
    viseme: NotRequired[Tensor]
    landmarks: NotRequired[Tensor]
    faces: NotRequired[Tensor]
    face_identity: NotRequired[Tensor]


class Frames(Protocol):
    """Frames that are asked for by index: a (T, 3, H, W) tensor, or a clip decoded lazily."""

    def __len__(self) -> int:
        """Number of frames."""

    def __getitem__(self, indices: list[int], /) -> Tensor:
        """The frames of these indices, (t, 3, H, W), ``uint8`` or floats in [-1, 1]."""


def to_float(frames: Tensor) -> Tensor:
    """Bring frames from uint8 in [0, 255] to float32 in [-1, 1]: ``x / 127.5 - 1``.

    Example:
        >>> to_float(torch.tensor([0, 255], dtype=torch.uint8))
        tensor([-1.,  1.])
    """
    return frames.float() / 127.5 - 1


def to_uint8(frames: Tensor) -> Tensor:
    """Bring frames from float in [-1, 1] to uint8 in [0, 255], rounded; values outside are clipped.

    Example:
        >>> to_uint8(torch.tensor([-1.0, 0.0, 1.0, 7.0]))
        tensor([  0, 128, 255, 255], dtype=torch.uint8)
    """
    return ((frames.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def utterance_gain(audio: Tensor) -> float:
    """Factor that brings a whole utterance to a loudness (rms) of 0.1: ``0.1 / max(rms, 1e-4)``.

    A window's own loudness is not the utterance's, so this is taken over the whole sound. Digital
    silence gives 1000, not infinity.

    Shape:
        - audio: (samples,) in [-1, 1].

    Raises:
        ValueError: if there is no sample.

    Example:
        >>> utterance_gain(torch.full((16000,), 0.25)), utterance_gain(torch.zeros(16000))
        (0.4, 1000.0)
    """
    if audio.numel() == 0:
        raise ValueError("The sound has no samples: give at least one.")
    rms = audio.double().square().mean().sqrt().item()
    return 0.1 / max(rms, 1e-4)


def audio_window(audio: Tensor, start_frame: int, frames: int) -> Tensor:
    """The sound of a window of frames with 0.2 s of context on each side, zero outside the sound.

    Args:
        audio: sound of the whole utterance at 16 kHz.
        start_frame: first frame of the window; may lie outside the sound.
        frames: number of frames.

    Shape:
        - audio: (samples,)
        - output: (frames * 640 + 2 * 3200,)

    Raises:
        ValueError: if ``audio`` has more than one dimension or ``frames`` is below one.

    Example:
        >>> audio_window(torch.ones(16000), start_frame=0, frames=5).sum()
        tensor(6400.)
    """
    if audio.dim() != 1:
        raise ValueError(f"The sound has shape {tuple(audio.shape)}: give (samples,), mono.")
    if frames < 1:
        raise ValueError(f"frames is {frames}: ask for one frame or more.")
    start = start_frame * SAMPLES_PER_FRAME - AUDIO_CONTEXT
    stop = (start_frame + frames) * SAMPLES_PER_FRAME + AUDIO_CONTEXT
    inside = audio[min(max(start, 0), len(audio)) : min(max(stop, 0), len(audio))]
    before = min(max(-start, 0), stop - start)
    window = audio.new_zeros(stop - start)
    window[before : before + len(inside)] = inside
    return window
