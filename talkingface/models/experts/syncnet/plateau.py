"""Say so when an expert does not learn."""

import logging

log = logging.getLogger(__name__)


class PlateauWarning:
    r"""Warn, once, of a training loss that still sits where chance is.

    An expert that knows nothing has a loss of log 2 = 0.693 with Wav2Lip's cross entropy, and of
    log N where it chooses among N moments. Losses are averaged over some 50 steps.

    Args:
        patience: Steps after which to look.
        margin: How far below chance the loss has to be by then, as a fraction of it.

    Example:
        >>> warn = PlateauWarning(patience=10)
        >>> for step in range(12):
        ...     warn(loss=0.6931, chance=0.6931)
        >>> warn.given
        True
    """

    def __init__(self, patience: int = 500, margin: float = 0.02) -> None:
        self.patience, self.margin = patience, margin
        self.average, self.steps, self.given = 0.0, 0, False

    def __call__(self, loss: float, chance: float) -> None:
        """Take in the loss of a step, and its value at chance."""
        self.steps += 1
        weight = max(1 / self.steps, 0.02)
        self.average += weight * (loss / chance - self.average)
        if self.given or self.steps < self.patience or self.average < 1 - self.margin:
            return
        self.given = True
        log.warning(
            "After %d steps the loss still sits at %.3f, and %.3f is chance: the expert cannot "
            "tell a mouth's own sound from another. Sound and picture of the data may be out of "
            "sync, or the mouth may lie outside the box: look at the offsets that another expert "
            "finds (examples/check_sync.py), and at the crop.",
            self.steps,
            self.average * chance,
            chance,
        )
