"""What makes an encoder read every motion: a reading of it from codes."""

import torch
from torch import Tensor, nn

from talkingface.models.experts.inversion.label_codes import (
    ARTICULATION,
    EXPRESSION,
    POSE,
    POSE_REST,
    POSE_UNITS,
)

_BLINK, _GAZE = ARTICULATION, slice(ARTICULATION + 2, ARTICULATION + 4)
_UNIT = 0.5  # what counts as one in an expression, half of what most of its numbers span


class MotionReadout(nn.Module):
    """Read pose and expression from the entries of codes that hold motion.

    Args:
        dim: How many entries, of all layers.
        gaze_weight: How much more gaze counts than the other numbers, while lids are open; shut,
            it counts for a tenth of that.
        width: Width of the hidden layer.

    Shape:
        - motion: (N, layers, motion_dim), dim entries in all.
        - pose: (N, 6); expression: (N, 10).
        - output: scalar, the mean absolute error.

    Example:
        >>> readout = MotionReadout(12)
        >>> readout(torch.zeros(2, 3, 4), torch.zeros(2, 6), torch.zeros(2, 10)).shape
        torch.Size([])
    """

    units: Tensor
    rest: Tensor

    def __init__(self, dim: int, gaze_weight: float = 3.0, width: int = 128) -> None:
        super().__init__()
        self.gaze_weight = gaze_weight
        self.layers = nn.Sequential(
            nn.Linear(dim, width), nn.LeakyReLU(0.2), nn.Linear(width, POSE + EXPRESSION)
        )
        units, rest = [*POSE_UNITS] + EXPRESSION * [_UNIT], [*POSE_REST] + EXPRESSION * [0.0]
        self.register_buffer("units", torch.tensor(units), persistent=False)
        self.register_buffer("rest", torch.tensor(rest), persistent=False)

    def read(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Give pose (N, 6) and expression (N, 10)."""
        numbers = self.layers(motion.flatten(1)) * self.units + self.rest
        return numbers[:, :POSE], numbers[:, POSE:]

    def forward(self, motion: Tensor, pose: Tensor, expression: Tensor) -> Tensor:
        """Give the mean error."""
        error = (torch.cat(self.read(motion), 1) - torch.cat([pose, expression], 1)).abs()
        weights = (1 / self.units).repeat(len(error), 1)
        open_lids = 1 - 0.9 * expression[:, _BLINK, None]
        weights[:, POSE:][:, _GAZE] *= self.gaze_weight * open_lids
        return (weights * error).mean()
