"""The Fréchet distance between all generated and all real frames of a protocol."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from talkingface.evaluation.measures import Measure
from talkingface.evaluation.scorers import Measured, Scene, Scorer
from talkingface.metrics import FID
from talkingface.models.weights import load_state_dict_file


class VGG16Pool(nn.Module):
    """Mean over space of VGG-16's last feature maps.

    Args:
        weights: torchvision's VGG-16 weights, of which only the ``features.*`` are used.

    Shape:
        - frames: (N, 3, H, W) RGB in [-1, 1], 32 px or more; output: (N, 512).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds other weights.
    """

    num_features = 512

    def __init__(self, weights: str | Path) -> None:
        super().__init__()
        self.features = make_layers(cfgs["D"])
        state = load_state_dict_file(weights)
        own = {key: value for key, value in state.items() if key.startswith("features.")}
        try:
            self.load_state_dict(own)
        except RuntimeError as error:
            raise ValueError(f"{weights} does not hold torchvision's VGG-16: {error}") from error
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), False)

    mean: Tensor
    std: Tensor

    def forward(self, frames: Tensor) -> Tensor:
        """Describe frames."""
        return self.features(((frames + 1) / 2 - self.mean) / self.std).mean((2, 3))


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
