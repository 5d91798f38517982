"""What both readers share: frames of any size, and an optimiser that comes to rest."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from talkingface.data.batch import Batch
from talkingface.models.reproducible import ReproducibleModule


class Reader(ReproducibleModule):
    """Base of the readers.

    Args:
        image_size: Side to which frames are brought, a multiple of 16.
        lr: Largest learning rate of AdamW; it rises, then falls to nothing over the run.
    """

    networks: torch.nn.Module

    def __init__(self, image_size: int, lr: float) -> None:
        super().__init__()
        if image_size < 32 or image_size % 16:
            raise ValueError(f"image_size={image_size}: give a multiple of 16 from 32 on")
        self.image_size, self.lr = image_size, lr

    def fit_size(self, frames: Tensor) -> Tensor:
        """Bring frames to the size that the networks work at; smaller ones are averaged down.

        Raises:
            ValueError: If they are not (N, 3, S, S) floats in [-1, 1].
        """
        square = frames.dim() == 4 and frames.shape[1] == 3 and frames.shape[2] == frames.shape[3]
        if not square or not frames.is_floating_point():
            raise ValueError(
                f"frames have to be square floats (N, 3, S, S) in [-1, 1], not {frames.dtype} of "
                f"shape {tuple(frames.shape)}"
            )
        # Half a grey level above is rounding; NaN fails the comparison as well.
        if frames.numel() and not frames.detach().abs().max() <= 1 + 1 / 127.5:
            low, high = frames.min().item(), frames.max().item()
            raise ValueError(f"frames have to be in [-1, 1], not in [{low:.4g}, {high:.4g}]")
        if frames.shape[-1] == self.image_size:
            return frames
        size = (self.image_size, self.image_size)
        return F.interpolate(frames, size, mode="bilinear", antialias=True)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the learning rate; no scheduler, which would ask for the loader before a resume."""
        trainer = self.trainer
        epochs, steps = trainer.max_epochs or -1, trainer.max_steps
        updates = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        total = steps if steps > 0 else epochs * updates
        factor = one_cycle(trainer.global_step / total) if total > 0 else 1.0
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        for group in optimizer.param_groups:
            group["lr"] = self.lr * factor

    def configure_optimizers(self) -> Any:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), self.lr, weight_decay=0.01)


def one_cycle(done: float, rise: float = 0.06) -> float:
    """Factor of the learning rate: it rises from 0.04 to 1, then falls along a cosine to 0.

    Args:
        done: share of the run that is over, in [0, 1].
        rise: share of the run in which it rises.

    Example:
        >>> [round(one_cycle(done), 2) for done in (0.0, 0.06, 0.53, 1.0)]
        [0.04, 1.0, 0.5, 0.0]
    """
    if done < rise:
        return 0.04 + 0.96 * done / rise
    return 0.5 + 0.5 * math.cos(math.pi * (done - rise) / (1 - rise))
