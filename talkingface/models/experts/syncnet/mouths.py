"""Mouths in frames: the crop that an expert reads, and what may differ between recordings."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from talkingface.data.batch import SAMPLES_PER_FRAME

Box = tuple[float, float, float, float]
"""Top, left, bottom and right of a crop, as fractions of a frame."""


def check_box(box: tuple[float, ...]) -> Box:
    """Give the box as floats.

    Raises:
        ValueError: If it is not (top, left, bottom, right) within [0, 1].
    """
    if len(box) != 4 or not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
        raise ValueError(f"box must be (top, left, bottom, right) within [0, 1], not {box}")
    top, left, bottom, right = map(float, box)
    return top, left, bottom, right


def crop_mouth(frames: Tensor, box: Box, size: tuple[int, int]) -> Tensor:
    """Cut a box out of frames, and bring it to a size by antialiased bilinear interpolation.

    Shape:
        - frames: (T, 3, H, W) floats; output: (T, 3, height, width) of ``size``.

    Raises:
        ValueError: If the frames are not floats of that shape.

    Example:
        >>> crop_mouth(torch.zeros(2, 3, 160, 160), (0.5, 0.0, 1.0, 1.0), (48, 96)).shape
        torch.Size([2, 3, 48, 96])
    """
    if frames.dim() != 4 or frames.shape[1] != 3 or not frames.is_floating_point():
        raise ValueError(
            "frames must be floats (T, 3, H, W) in [-1, 1], "
            f"got {frames.dtype} {tuple(frames.shape)}"
        )
    height, width = frames.shape[-2:]
    top, bottom = round(box[0] * height), round(box[2] * height)
    left, right = round(box[1] * width), round(box[3] * width)
    crop = frames[..., top:bottom, left:right]
    if crop.shape[-2:] == size:
        return crop
    return F.interpolate(crop, size, mode="bilinear", antialias=True)


class SyncAugmentation(nn.Module):
    """Vary place, size, sides and colours of a clip's mouth, and loudness and noise of its sound.

    All of a clip's frames are changed alike, so that time is all that tells them apart. The sound
    is moved by a fraction of a frame: recordings are out of sync by as much, each by its own, which
    is not to be learnt by heart. All random numbers come from the global torch generators.

    Args:
        box: The mouth.
        color: Largest change of the contrast's factor from 1, and of each channel's shift.
        shift: Largest shift of the box to each side, as a fraction of its own height or width.
        zoom: Largest change of the box's size, as a fraction.
        noise: Largest level of white noise, as a fraction of the sound's rms.
        gain: Largest change of loudness in dB.
        delay: Largest shift of the sound to each side, in frames, below 1.

    Shape:
        - video: (B, T, 3, H, W) in [-1, 1]; audio: (B, samples)
        - output: mouths (B, T, 3, height, width) in [-1, 1], and sound as it was given

    Example:
        >>> augment = SyncAugmentation((0.5, 0.0, 1.0, 1.0))
        >>> mouths, sound = augment(torch.zeros(2, 5, 3, 32, 32), torch.zeros(2, 9600), (48, 96))
        >>> mouths.shape, sound.shape
        (torch.Size([2, 5, 3, 48, 96]), torch.Size([2, 9600]))
    """

    def __init__(
        self,
        box: Box,
        color: float = 0.2,
        shift: float = 0.05,
        zoom: float = 0.1,
        noise: float = 0.1,
        gain: float = 6.0,
        delay: float = 0.3,
    ) -> None:
        super().__init__()
        self.box, self.color, self.shift, self.zoom = box, color, shift, zoom
        self.noise, self.gain, self.delay = noise, gain, delay

    def forward(self, video: Tensor, audio: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Augment clips, each in its own way."""
        mouths = torch.stack([crop_mouth(clip, self._jitter(), size) for clip in video])
        draw = _uniform(len(video), 5, 1, 1, device=video.device)
        mouths = torch.where(draw[:, :1, None] < 0, mouths, mouths.flip(-1))
        contrast, brightness = 1 + self.color * draw[:, 1:2], self.color * draw[:, 2:]
        mouths = mouths * contrast[:, None] + brightness[:, None]
        return mouths.clamp(-1, 1), self._vary_sound(audio)

    def _jitter(self) -> Box:
        """The box, moved and scaled at random, cut where it leaves the frame."""
        zoom, down, right = _uniform(3, device=torch.device("cpu")).tolist()
        (y, height), (x, width) = (
            ((self.box[k] + self.box[k + 2]) / 2, self.box[k + 2] - self.box[k]) for k in (0, 1)
        )
        y, x = y + self.shift * height * down, x + self.shift * width * right
        height, width = ((1 + self.zoom * zoom) * side / 2 for side in (height, width))
        return max(y - height, 0), max(x - width, 0), min(y + height, 1), min(x + width, 1)

    def _vary_sound(self, audio: Tensor) -> Tensor:
        draw = _uniform(3, len(audio), 1, device=audio.device)
        # What goes round at the ends stays within the context that windows do not reach.
        shift = (self.delay * SAMPLES_PER_FRAME * draw[2]).long()
        index = torch.arange(audio.shape[1], device=audio.device) + shift
        audio = audio.gather(1, index % audio.shape[1])
        level = audio.square().mean(1, keepdim=True).sqrt() * self.noise * (draw[0] + 1) / 2
        return (audio + level * torch.randn_like(audio)) * 10 ** (self.gain * draw[1] / 20)


def _uniform(*shape: int, device: torch.device) -> Tensor:
    """Numbers in [-1, 1]."""
    return torch.rand(shape, device=device) * 2 - 1
