"""Landmarks and motion that detectors and readers see in frames."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from talkingface.evaluation.measures import Measure, pooled_correlation
from talkingface.evaluation.scorers import PART, Measured, Scene, Scorer
from talkingface.metrics import LMD, LandmarkDetector, MotionCorrelation, PoseLMD
from talkingface.models.experts.readers import FaceReader, Reading


class LandmarkScorer(Scorer):
    """Distances of landmarks, all found by the same detector, in pixels of the evaluation crop.

    Args:
        detector: Finds them, in made and in real frames alike.
    """

    def __init__(self, detector: LandmarkDetector) -> None:
        self.detector = detector
        self.metrics: dict[Measure, LMD] = {}
        labelled = (("mouth LMD", LMD()), ("face LMD", LMD(points="all")), ("pose LMD", PoseLMD()))
        for label, metric in labelled:
            name, group = f"{metric.name}[{detector.name}]", "Mouth, face and pose landmarks"
            measure = Measure(name, metric.profile, "", "lower", label, group, "px", 2)
            self.metrics[measure] = metric
        self.lost = Measure(
            f"lost[{detector.name}]", "", "", "lower", "frames without a face", group, "%", 1
        )

    def read(self, frames: Tensor) -> Any:
        """Find landmarks (T, 68, 2)."""
        return self.detector(frames)

    def compare(self, made: Any, target: Any, scene: Scene) -> Measured:
        """Measure distances over the frames in which both faces are found."""
        measured: Measured = {}
        for measure, metric in self.metrics.items():
            metric.reset()
            metric.update(made, target)
            value = torch.nan if metric.failed else float(metric.compute())
            measured[measure] = (value,)
        lost = made.flatten(1).isnan().any(1).float().mean()
        measured[self.lost] = (100 * float(lost),)
        return measured


class DrawnFaceScorer(LandmarkScorer):
    """What a face reader sees in frames: landmarks, and motion against a drawn target's truth.

    Args:
        reader: The reader.
        name: Its name.
    """

    group = "Motion against the exact truth"

    def __init__(self, reader: FaceReader, name: str) -> None:
        super().__init__(FaceReaderLandmarks(reader, name))
        self.reader, self.name = reader, name

    def read(self, frames: Tensor) -> Reading:
        """Read landmarks and motion."""
        parts = [self.reader(part) for part in frames.split(PART)]
        reading = Reading(*(torch.cat(values) for values in zip(*parts, strict=True)))
        reading.landmarks[reading.presence < 0.5] = torch.nan
        return reading

    def compare(self, made: Reading, target: Reading, scene: Scene) -> Measured:
        """Measure distances of landmarks; correlation with, and mean error to, the true motion."""
        measured = super().compare(made.landmarks, target.landmarks, scene)
        yaw, pitch, roll = made.pose.unbind(1)
        gaze_x, gaze_y = made.gaze.unbind(1)
        read = {
            "yaw": yaw,
            "pitch": pitch,
            "roll": roll,
            "blink": made.blink,
            "gaze x": gaze_x,
            "gaze y": gaze_y,
            "mouth opening": made.opening,
        }
        for name, truth in scene.truth.items():
            truth = truth.cpu()
            track = read[name].cpu().masked_fill(made.presence.cpu() < 0.5, torch.nan)
            metric = MotionCorrelation(name)
            metric.update(truth, track)
            numbers = (*metric.within.tolist(), *metric.sums[2:4].tolist())
            measured[self._correlation(name)] = numbers
            measured[self._error(name)] = (float((truth - track).abs().nanmean()),)
        return measured

    def _correlation(self, name: str) -> Measure:
        metric, label = f"correlation_{_word(name)}[{self.name}]", f"{name}, correlation"
        profile = "within clips"
        return Measure(metric, profile, "", "higher", label, self.group, reduce=pooled_correlation)

    def _error(self, name: str) -> Measure:
        metric, label = f"mae_{_word(name)}[{self.name}]", f"{name}, mean error"
        unit, digits = ("degrees", 2) if name in ("yaw", "pitch", "roll") else ("", 3)
        return Measure(metric, "", "", "lower", label, self.group, unit, digits)


@dataclass(frozen=True)
class FaceReaderLandmarks:
    """A face reader as a detector of landmarks.

    Args:
        reader: The reader.
        name: Its name.
    """

    reader: FaceReader
    name: str

    def __call__(self, frames: Tensor, /) -> Tensor:
        """Find the landmarks of every frame by itself."""
        return self.reader.landmarks(frames)


def _word(name: str) -> str:
    return name.replace(" ", "_")
