"""The Fréchet distance between all generated and all real frames of a protocol."""

from typing import Any

from torch import Tensor, nn

from talkingface.evaluation.measures import Measure
from talkingface.evaluation.scorers import Measured, Scene, Scorer
from talkingface.metrics import FID


class FIDScorer(Scorer):
    """FID over all frames of all clips: one number per row, without an interval.

    Args:
        features: A network with ``num_features``; see :class:`~talkingface.metrics.FID`.
        name: Its name.
    """

    def __init__(self, features: nn.Module, name: str) -> None:
        self.features, self.name = features, name
        self._rows: dict[str, tuple[FID, list[str]]] = {}

    def compare(self, made: Any, target: Any, scene: Scene) -> Measured:
        """Nothing: a clip has no FID of its own."""
        return {}

    def collect(self, row: str, case: str, made: Tensor, target: Tensor) -> None:
        """Take in a clip's frames."""
        if row not in self._rows:
            self._rows[row] = (FID(self.features, self.name).to(made.device), [])
        metric, cases = self._rows[row]
        metric.update(made, target)
        cases.append(case)

    def finish(self) -> dict[tuple[str, str], Measured]:
        """The number of each row, said of all its cases."""
        found: dict[tuple[str, str], Measured] = {}
        for row, (metric, cases) in self._rows.items():
            profile = f"{metric.frames[0]} frames"
            measure = Measure(
                metric.name, profile, "frame", "lower", "FID", "Picture", digits=2, whole=True
            )
            value = max(float(metric.compute()), 0.0)
            found |= {(row, case): {measure: (value,)} for case in cases}
        self._rows = {}
        return found
