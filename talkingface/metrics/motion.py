"""Whether generated heads move as they were driven."""

import torch
from torch import Tensor
from torchmetrics import Metric

from talkingface.metrics._base import Described, Value


class MotionCorrelation(Described, Metric):
    r"""Pearson correlation of a driven track with the same track read from the generated frames.

    A track is one number per frame: yaw, pitch, roll, gaze, blink, mouth opening.

    .. math:: r = \frac{\sum (x - \bar{x})(y - \bar{y})}
              {\sqrt{\sum (x - \bar{x})^2 \sum (y - \bar{y})^2}}

    `pooled` takes the means over all frames of all clips, `within` over each clip by itself. Pooled
    flatters where clips differ: a frozen head in the right position correlates. Frames with NaN on
    either side (no face) are left out and counted in `dropped`.

    Args:
        name: Which track it is.

    Shape:
        - driven, read: (T,) in any units, one clip
        - output: dictionary with `pooled` and `within` in [-1, 1], higher is better; NaN where a
          side does not move at all

    Raises:
        ValueError: If shapes are wrong or differ, or no frame was given.

    Examples:
        >>> metric = MotionCorrelation("yaw")
        >>> metric.update(torch.tensor([10.0, 11.0]), torch.tensor([6.0, 5.0]))
        >>> metric.update(torch.tensor([-10.0, -9.0]), torch.tensor([-5.0, -6.0]))
        >>> {key: round(float(value), 3) for key, value in metric.compute().items()}
        {'pooled': 0.99, 'within': -1.0}
    """

    name = "motion"
    values = (Value("pooled", -1, 1, "higher"), Value("within", -1, 1, "higher"))
    higher_is_better = True
    full_state_update = False
    is_differentiable = False
    sums: Tensor
    count: Tensor
    within: Tensor
    dropped: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = f"motion[{name}]"
        # x, y, xx, yy, xy over all frames; xx, yy, xy of the clips without their means
        self.add_state("sums", torch.zeros(5, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("within", torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("dropped", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, driven: Tensor, read: Tensor) -> None:
        """Take in one clip."""
        if driven.dim() != 1 or driven.shape != read.shape:
            raise ValueError(
                f"tracks must be (T,) of one length, got {tuple(driven.shape)} and "
                f"{tuple(read.shape)}"
            )
        both = ~(driven.isnan() | read.isnan())
        self.dropped += (~both).sum()
        x, y = driven[both].double(), read[both].double()
        if not len(x):
            return
        self.count += len(x)
        self.sums += torch.stack([x.sum(), y.sum(), *_products(x, y)])
        self.within += _products(x - x.mean(), y - y.mean())

    def compute(self) -> dict[str, Tensor]:
        """Give both correlations."""
        if self.count == 0:
            raise ValueError(f"{self.name}: no frame to correlate; {self.dropped} were NaN")
        x, y = self.sums[:2] / self.count
        raw = self.sums[2:]
        centred = raw - self.count * torch.stack([x * x, y * y, x * y])
        pooled, within = _pearson(centred, raw), _pearson(self.within, raw)
        return {"pooled": pooled.float(), "within": within.float()}


def _products(x: Tensor, y: Tensor) -> Tensor:
    return torch.stack([(x * x).sum(), (y * y).sum(), (x * y).sum()])


def _pearson(centred: Tensor, raw: Tensor) -> Tensor:
    """Correlation from sums of squares; NaN where one is rounding of a constant only."""
    if (centred[:2] <= 1e-12 * raw[:2]).any():
        return centred.new_tensor(torch.nan)
    return centred[2] / (centred[0] * centred[1]).sqrt()
