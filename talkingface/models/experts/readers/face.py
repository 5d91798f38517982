"""The face reader: landmarks, head pose, gaze, blink and mouth opening of a frame."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanMetric, PearsonCorrCoef

from talkingface.data.batch import Batch
from talkingface.models.experts.readers.augmentation import MIRRORED, degrade, reframe, spoil
from talkingface.models.experts.readers.networks import MEASURES, FaceNetwork
from talkingface.models.experts.readers.reader import Reader
from talkingface.models.reproducible import reset_metrics

_UNITS = (30.0, 15.0, 15.0, 0.5, 0.5, 0.5, 0.5)
"""What the network's measures of size one stand for: degrees, then the labels' own units."""
MOTIONS = ("yaw", "pitch", "roll", "gaze x", "gaze y", "blink", "mouth opening")
"""Columns of :attr:`Reading.motions`."""


class Reading(NamedTuple):
    """What a face reader sees in N frames.

    Shape:
        - landmarks: (N, 68, 2) x and y in pixels of the frames; a pixel's centre is an integer.
        - pose: (N, 3) yaw, pitch and roll in degrees.
        - gaze: (N, 2) in [-1, 1], right and up in the picture; it goes to 0 as the last third
          of an eye closes, since shut lids hide it.
        - blink: (N,) in [0, 1], 1 is closed.
        - opening: (N,) of the mouth, in [0, 1].
        - presence: (N,) probability that there is a face.
    """

    landmarks: Tensor
    pose: Tensor
    gaze: Tensor
    blink: Tensor
    opening: Tensor
    presence: Tensor

    @property
    def motions(self) -> Tensor:
        """What moves, (N, 7): a column for each of :data:`MOTIONS`, in these units."""
        return torch.cat([self.pose, self.gaze, self.blink[:, None], self.opening[:, None]], 1)

    @property
    def brow(self) -> Tensor:
        """Height of the brows above the corners of the eyes, (N,), by the length of the nose.

        It shrinks with the nose as a head nods, so that their ratio tells how far brows are raised.
        """
        points = self.landmarks
        across = points[:, 45] - points[:, 36]
        up = F.normalize(torch.stack([across[:, 1], -across[:, 0]], 1), dim=1)
        brows, corners = points[:, 17:27].mean(1), points[:, [36, 39, 42, 45]].mean(1)
        nose = points[:, 27:31].mean(1) - points[:, 33]
        return ((brows - corners) * up).sum(1) / (nose * up).sum(1)


class FaceReader(Reader):
    r"""Read landmarks, head pose, gaze, blink and mouth opening of the synthetic corpus's faces.

    Every reading is trained by its absolute error: landmarks in percent of half the frame's side,
    each of the measures in a unit of its own. Where lids are closed, gaze counts for little. One
    frame in ten is replaced by something without a face.

    Args:
        image_size: Side at which frames are read, a multiple of 16.
        channels: Channels of the encoder's stages.
        pyramid: Channels of the feature pyramid.
        hidden: Width of the last hidden layer.
        gaze_weight: Weight of the error of gaze, of which the fewest pixels tell.
        augment: Mirror, shift, scale and degrade the frames in training.
        lr: Largest learning rate.

    Example:
        >>> reader = FaceReader(32, channels=(8, 8, 8, 8), pyramid=8, hidden=8).eval()
        >>> reading = reader(torch.zeros(2, 3, 48, 48))
        >>> reading.landmarks.shape, reading.pose.shape, reading.blink.shape
        (torch.Size([2, 68, 2]), torch.Size([2, 3]), torch.Size([2]))
        >>> reading.motions.shape
        torch.Size([2, 7])
    """

    units: Tensor

    def __init__(
        self,
        image_size: int = 96,
        channels: tuple[int, ...] = (24, 48, 96, 128),
        pyramid: int = 64,
        hidden: int = 160,
        gaze_weight: float = 3.0,
        augment: bool = True,
        lr: float = 2e-3,
    ) -> None:
        super().__init__(image_size, lr)
        self.save_hyperparameters()
        self.networks = FaceNetwork(channels, pyramid, hidden)
        self.gaze_weight, self.augment = gaze_weight, augment
        self.register_buffer("units", torch.tensor(_UNITS), persistent=False)
        self.error = MeanMetric()
        self.correlation = PearsonCorrCoef(num_outputs=len(MEASURES))

    def forward(self, frames: Tensor) -> Reading:
        """Read frames (N, 3, S, S) in [-1, 1], of any size.

        Raises:
            ValueError: If the frames have another shape or range.
        """
        _, points, measures, presence = self.networks(self.fit_size(frames))
        measures = measures * self.units
        blink = measures[:, 5].clamp(0, 1)
        seen = (3 - 3 * blink).clamp(max=1)[:, None]
        return Reading(
            points * frames.shape[-1] - 0.5,
            measures[:, :3],
            measures[:, 3:5].clamp(-1, 1) * seen,
            blink,
            measures[:, 6].clamp(0, 1),
            presence.sigmoid(),
        )

    @property
    def landmarks(self) -> "FaceReaderLandmarks":
        """The reader as a :class:`~talkingface.metrics.detectors.LandmarkDetector`."""
        return FaceReaderLandmarks(self)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Absolute errors of landmarks and measures, and cross entropy of presence."""
        frames, points, measures = self._labelled(batch)
        if self.augment:
            frames, points, measures = mirror(frames, points, measures)
            frames, points = reframe(frames, points, shift=0.06, zoom=0.12)
            frames = degrade(frames)
        spoiled = len(frames) // 10
        if spoiled:
            frames = torch.cat([frames[spoiled:], spoil(frames[:spoiled])])
            points, measures = points[spoiled:], measures[spoiled:]
        first, refined, read, presence = self.networks(frames)
        faces = len(points)
        error = (first[:faces] - points).abs().mean() + (refined[:faces] - points).abs().mean()
        blink = measures[:, 5:6] * self.units[5]
        weight = torch.ones_like(measures)
        weight[:, 3:5] = self.gaze_weight * (1 - 0.9 * blink)
        motion = (weight * (read[:faces] - measures).abs()).mean()
        there = (torch.arange(len(frames), device=frames.device) < faces).float()
        there_loss = F.binary_cross_entropy_with_logits(presence, there)
        loss = 50 * error + motion + 0.1 * there_loss
        self.log_dict({"train/loss": loss, "train/landmarks": error, "train/motion": motion})
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Error in percent of face size, and correlations with the truth."""
        frames, points, measures = self._labelled(batch)
        _, refined, read, _ = self.networks(frames)
        self.error.update(landmark_distances(refined, points))
        self.correlation.update(read, measures)

    def on_validation_epoch_end(self) -> None:
        """Log what the epoch has come to."""
        self.log("val/landmark_error", self.error.compute(), prog_bar=True)
        for name, value in zip(MEASURES, self.correlation.compute(), strict=True):
            self.log(f"val/correlation_{name}", value)
        reset_metrics(self.error, self.correlation)

    def _labelled(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Frames at the working size, landmarks as fractions of the side, measures in units."""
        missing = {"landmarks", "pose", "gaze", "blink", "expression"} - set(batch)
        if missing:
            raise ValueError(
                f"the data has no {sorted(missing)[0]!r}: a face reader learns from exact labels, "
                "which SyntheticDataModule and RandomFaceDataModule give"
            )
        values: Any = batch
        frames = batch["video"].flatten(0, 1)
        points = (batch["landmarks"].flatten(0, 1) + 0.5) / frames.shape[-1]
        measures = torch.cat(
            [
                batch["pose"][..., :3],
                batch["gaze"],
                batch["blink"][..., None],
                values["expression"][..., :1],
            ],
            dim=-1,
        )
        return self.fit_size(frames), points, measures.flatten(0, 1) / self.units


class FaceReaderLandmarks:
    """A face reader as a detector of landmarks.

    Shape:
        - frames: (T, 3, S, S) RGB in [-1, 1]
        - output: (T, 68, 2) pixels; NaN rows where there is no face

    Example:
        >>> detect = FaceReader(32, channels=(8, 8, 8, 8), pyramid=8, hidden=8).eval().landmarks
        >>> detect.name, detect(torch.zeros(2, 3, 48, 48)).shape
        ('face_reader', torch.Size([2, 68, 2]))
    """

    name = "face_reader"

    def __init__(self, reader: FaceReader) -> None:
        self.reader = reader

    @torch.no_grad()
    def __call__(self, frames: Tensor, /) -> Tensor:
        """Find the landmarks of every frame by itself."""
        rows = []
        for part in frames.split(64):
            reading = self.reader(part.to(self.reader.device))
            absent = reading.presence < 0.5
            points = reading.landmarks.masked_fill(absent[:, None, None], torch.nan)
            rows.append(points.to(frames.device))
        return torch.cat(rows)


def landmark_distances(points: Tensor, truth: Tensor) -> Tensor:
    r"""Distances of landmarks from the truth, in percent of the face's size.

    .. math:: 100\,\lVert p_k - q_k\rVert_2 / \sqrt{w h}

    with w and h the sides of the true landmarks' bounding box: independent of the distance of the
    eyes, which shrinks as the head turns.

    Shape:
        - points, truth: (N, K, 2), in any unit
        - output: (N, K)

    Example:
        >>> truth = torch.tensor([[[0.0, 0.0], [4.0, 9.0]]])
        >>> landmark_distances(truth + torch.tensor([0.0, 0.06]), truth)
        tensor([[1.0000, 1.0000]])
    """
    box = truth.amax(1) - truth.amin(1)
    return 100 * (points - truth).norm(dim=2) / box.prod(1).sqrt()[:, None]


def mirror(frames: Tensor, points: Tensor, measures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror each frame and its labels with a chance of one half."""
    chosen = torch.rand(len(frames), device=frames.device) < 0.5
    flipped = points[:, list(MIRRORED)]
    flipped = torch.stack([1 - flipped[..., 0], flipped[..., 1]], dim=2)
    signs = [-1.0 if name in ("yaw", "roll", "gaze_x") else 1.0 for name in MEASURES]
    return (
        torch.where(chosen[:, None, None, None], frames.flip(-1), frames),
        torch.where(chosen[:, None, None], flipped, points),
        torch.where(chosen[:, None], measures * measures.new_tensor(signs), measures),
    )
