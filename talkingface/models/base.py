"""The base of all methods: one call to animate a face, one way to validate."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from talkingface.data.batch import SAMPLES_PER_FRAME, Batch, Frames, to_float
from talkingface.models.adversarial import AdversarialModule
from talkingface.models.reproducible import evaluating, reset_metrics


def ping_pong(start: int, stop: int, length: int) -> list[int]:
    """Indices that play a clip of ``length`` frames forth and back, again and again.

    Example:
        >>> ping_pong(0, 7, 3)
        [0, 1, 2, 2, 1, 0, 0]
    """
    indices = []
    for frame in range(start, stop):
        turn, index = divmod(frame, length)
        indices.append(index if turn % 2 == 0 else length - 1 - index)
    return indices


def as_float(frames: Tensor, name: str) -> Tensor:
    """Bring frames to float32 in [-1, 1].

    Raises:
        ValueError: If floats lie outside [-1, 1], or are not numbers.
    """
    if frames.dtype == torch.uint8:
        return to_float(frames)
    if frames.numel() and not (frames.min() >= -1.001 and frames.max() <= 1.001):
        low, high = float(frames.min()), float(frames.max())
        raise ValueError(
            f"{name} spans {low:.3g} to {high:.3g}; give floats in [-1, 1], or uint8 frames."
        )
    return frames.float()


class TalkingFaceModule(AdversarialModule):
    """A method: trained through :class:`AdversarialModule`, used through :meth:`animate`.

    A subclass sets ``controls`` and defines ``_animate`` and :meth:`reconstruct`.

    Attributes:
        controls: What of the face other inputs than the source decide: ``"lip"``, ``"pose"``...
        reads_lips: Whether driving frames can say what the lips do, in place of the sound.
        image_size: Height and width of the frames, pixels.
    """

    controls: ClassVar[frozenset[str]]
    reads_lips: ClassVar[bool] = True
    image_size: int

    def __init__(
        self, accumulate: int = 1, clip: float | None = None, ema_half_life: float | None = None
    ) -> None:
        super().__init__(accumulate, clip, ema_half_life)
        # Each frame's PSNR, then their mean, as published numbers are.
        psnr = PeakSignalNoiseRatio(data_range=2.0, dim=(1, 2, 3), reduction="elementwise_mean")
        ssim = StructuralSimilarityIndexMeasure(data_range=2.0)
        self.metrics = MetricCollection({"psnr": psnr, "ssim": ssim}, prefix="val/")

    @abstractmethod
    def reconstruct(self, batch: Batch) -> Tensor:
        """Frames (B, T, 3, H, W) that imitate ``batch["video"]``, self-driven, for validation."""

    @abstractmethod
    def _animate(
        self,
        source: Tensor,
        audio: Tensor | None,
        driving: Frames | None,
        pose: Tensor | None,
        frontal: bool,
        chunk: int,
    ) -> Iterator[Tensor]:
        """Yield frames for checked inputs."""

    def animate(
        self,
        source: Tensor,
        audio: Tensor | None,
        driving: Frames | None = None,
        pose: Tensor | None = None,
        frontal: bool = False,
    ) -> Tensor:
        """Animate a face: all frames at once.

        Args:
            source: One or more pictures of the person, cropped for this method.
            audio: Speech at 16 kHz, mono. 16,000 samples give 25 frames; a last part of a frame
                gives a frame.
            driving: Where motion comes from that the speech does not decide, such as head pose.
                Played forth and back where it is shorter than the speech.
            pose: Motion given as codes instead of frames.
            frontal: Turn the face to the front instead.

        Shape:
            - ``source``: (3, H, W) or (N, 3, H, W), ``uint8`` or floats in [-1, 1].
            - ``audio``: (samples,) in [-1, 1]; ``driving``: (T', 3, H, W); ``pose``: (T', D).
            - Output: (T, 3, H, W) in [-1, 1].

        Raises:
            ValueError: If an input has another shape, size or range, or if two sources of motion
                are given.
        """
        return torch.cat(list(self.animate_chunks(source, audio, driving, pose, frontal)))

    def animate_chunks(
        self,
        source: Tensor,
        audio: Tensor | None,
        driving: Frames | None = None,
        pose: Tensor | None = None,
        frontal: bool = False,
        chunk: int = 32,
    ) -> Iterator[Tensor]:
        """Animate a face ``chunk`` frames at a time, in memory that does not grow with length.

        The frames are those of :meth:`animate`, whatever the chunk. See there for the arguments.
        """
        if self.dtype in (torch.bfloat16, torch.float16):
            raise ValueError(
                f"the model's weights are {self.dtype}: keep them in float32 and animate under "
                f"torch.autocast({self.device.type!r}, dtype={self.dtype})."
            )
        if chunk < 1:
            raise ValueError(f"chunk={chunk}: give at least 1 frame.")
        if sum((driving is not None, pose is not None, frontal)) > 1:
            raise ValueError("give one source of motion: driving, pose or frontal.")
        if audio is not None and (audio.ndim != 1 or not audio.numel()):
            raise ValueError(
                f"audio has shape {tuple(audio.shape)}; give (samples,), mono, 16 kHz, not empty."
            )
        if driving is not None and not len(driving):
            raise ValueError("driving holds no frames.")
        if pose is not None and not len(pose):
            raise ValueError("pose holds no codes.")
        if audio is not None and not audio.isfinite().all():
            raise ValueError("audio holds values that are not finite numbers.")
        if audio is not None and not (audio.is_floating_point() and audio.abs().max() <= 2):
            raise ValueError(
                f"audio is {audio.dtype} up to {float(audio.abs().max()):g}: give floats in "
                "[-1, 1], 16-bit samples divided by 32768."
            )
        source = as_float(source if source.ndim == 4 else source[None], "source")
        self._check_size(source, "source")
        # A generator function, so that arguments are checked at the call and not at the first next.
        return self._in_eval_mode(
            self._animate(source.to(self.device), audio, driving, pose, frontal, chunk)
        )

    @torch.no_grad()
    def _in_eval_mode(self, chunks: Iterator[Tensor]) -> Iterator[Tensor]:
        with evaluating(self):
            yield from chunks

    def _check_size(self, frames: Tensor, name: str) -> None:
        size = self.image_size
        if frames.ndim != 4 or not len(frames) or frames.shape[1:] != (3, size, size):
            raise ValueError(
                f"{name} has shape {tuple(frames.shape)}, but this model works on "
                f"(N, 3, {size}, {size}): crop with talkingface.data.faces.crop_image first."
            )

    def motion(self, driving: Frames, start: int, stop: int) -> Tensor:
        """Driving frames for the output frames ``start`` to ``stop``, played forth and back."""
        frames = as_float(driving[ping_pong(start, stop, len(driving))], "driving")
        self._check_size(frames, "driving")
        return frames.to(self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Measure self-driven reconstruction; the frames go on to callbacks."""
        frames = self.reconstruct(batch).float()
        self.metrics.update(frames.flatten(0, 1), batch["video"].flatten(0, 1))
        return {"frames": frames}

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Self-driven frames (B, T, 3, H, W) of held-out windows."""
        return self.reconstruct(batch).float()

    def on_validation_epoch_end(self) -> None:
        """Log the metrics against the count of updates."""
        self.log_dict(self.metrics.compute(), prog_bar=True)
        self.log("step", float(self.updates))
        reset_metrics(self.metrics)


def frame_count(audio: Tensor) -> int:
    """Number of frames that a sound lasts, a last part counted whole.

    Example:
        >>> frame_count(torch.zeros(16_000)), frame_count(torch.zeros(16_001))
        (25, 26)
    """
    return -(-audio.numel() // SAMPLES_PER_FRAME)
