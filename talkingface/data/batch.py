"""The batch: one contract for every dataset and every method."""

from typing import NotRequired, TypedDict

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
        - ``source``: (B, N, 3, H, W), N >= 1 identity references: other frames of the same clip.
        - ``driving``: (B, T, 3, H, W), the source of motion where it is not ``video`` itself.
        - ``audio``: (B, T * 640 + 2 * 3200) float32 in [-1, 1], 16 kHz mono: the frames' sound with
          0.2 s of context on each side; zero outside the file.
        - ``audio_gain``: (B,) factor that brings the *whole utterance* to an rms of 0.1.
        - ``clip``: B names; ``start``: (B,) int64, index of the window's first frame in its clip.
        - ``identity``, ``word``: (B,) int64 labels.
        - ``pose``, ``gaze``, ``blink``, ``viseme``, ``landmarks``: exact labels, synthetic corpus only.
        - ``faces``: (M, 3, H, W), ``face_identity``: (M,), a second stream of labelled face images.

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
    gaze: NotRequired[Tensor]
    blink: NotRequired[Tensor]
    viseme: NotRequired[Tensor]
    landmarks: NotRequired[Tensor]
    faces: NotRequired[Tensor]
    face_identity: NotRequired[Tensor]
