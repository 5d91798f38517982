"""The one alternating update that all adversarial training here goes through."""

from abc import abstractmethod
from typing import Any, cast

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from talkingface.data.batch import Batch
from talkingface.models.reproducible import ReproducibleModule

Tensors = dict[str, Tensor]
TensorList = tuple[Tensor, ...] | list[Tensor]


class AdversarialModule(ReproducibleModule):
    """Two players, updated in turn: the generator, then the discriminator on the same frames.

    A subclass holds the generator's side in ``networks`` and defines :meth:`generate`,
    :meth:`generator_losses`, :meth:`discriminator_losses` and
    ``configure_optimizers`` (the generator's optimizer first). Generator first is what makes
    accumulation exact: with the discriminator first, the last part of a batch would meet another
    discriminator than the parts before it.

    Trainer counts every optimizer's step in ``global_step``; ``updates`` counts each pair once,
    and logs, the moving average and schedules go by it.

    Args:
        accumulate: Number of batches whose gradients make one update. (Trainer's own argument is
            refused under manual optimisation.)
        clip: Largest norm of each player's gradient.
        ema_half_life: Number of images after which a weight's part in the moving average of the
            generator has halved; ``None`` keeps no average.
    """

    networks: nn.Module

    def __init__(
        self, accumulate: int = 1, clip: float | None = None, ema_half_life: float | None = None
    ) -> None:
        super().__init__()
        if accumulate < 1:
            raise ValueError(f"accumulate={accumulate}: give at least 1 batch per update.")
        self.automatic_optimization = False
        self.accumulate, self.clip, self.ema_half_life = accumulate, clip, ema_half_life
        self.updates = 0
        self.images_seen = 0
        self._images_pending = 0
        self.average: AveragedModel | None = None

    def average_weights(self) -> None:
        """Begin the moving average of ``networks``; a subclass calls it once they are built."""
        if self.ema_half_life is not None:
            self.average = AveragedModel(self.networks, multi_avg_fn=self._blend)
            self.average.requires_grad_(False)

    def restart_average(self) -> None:
        """Begin the average anew, at weights that were given to ``networks`` from outside."""
        if self.average is not None:
            self.average.module.load_state_dict(self.networks.state_dict())

    @property
    def inference_networks(self) -> nn.Module:
        """The networks to use and to publish: the moving average where there is one."""
        return self.networks if self.average is None else self.average.module

    @abstractmethod
    def generate(self, batch: Batch) -> Tensors:
        """Frames (under ``"video"``) and whatever else the losses of both players need."""

    @abstractmethod
    def generator_losses(self, batch: Batch, outputs: Tensors) -> Tensors:
        """The weighted terms that the generator minimises."""

    @abstractmethod
    def discriminator_losses(self, batch: Batch, outputs: Tensors) -> Tensors:
        """The weighted terms that the discriminator minimises; ``outputs`` come detached.

        None at all leave it as it is.
        """

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the generator, then the discriminator on the same detached frames."""
        generator, discriminator = cast(list[LightningOptimizer], self.optimizers())
        position = batch_idx % self.accumulate
        # The last update of an epoch may be made of fewer batches.
        parts = int(min(self.accumulate, self.trainer.num_training_batches - batch_idx + position))
        update = position + 1 == parts
        self._images_pending += batch["video"].shape[0] * batch["video"].shape[1]

        with generator.toggle_model(sync_grad=update):
            outputs = self.generate(batch)
            losses = self.generator_losses(batch, outputs)
            self._descend(generator, losses, "generator", parts, update)
        outputs = {name: output.detach() for name, output in outputs.items()}
        with discriminator.toggle_model(sync_grad=update):
            if losses := self.discriminator_losses(batch, outputs):
                self._descend(discriminator, losses, "discriminator", parts, update)

        if update:
            self.updates += 1
            self.images_seen += self._images_pending * self.trainer.world_size
            if self.average is not None:
                self.average.update_parameters(self.networks)
            self._images_pending = 0
        self.log("step", float(self.updates))

    def _descend(
        self, optimizer: LightningOptimizer, losses: Tensors, player: str, parts: int, update: bool
    ) -> None:
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        self.manual_backward(total / parts)
        if update:
            optimizer.step()
            optimizer.zero_grad()
        self.log(f"{player}/total", total.detach(), prog_bar=True)
        self.log_dict({f"{player}/{term}": loss.detach() for term, loss in losses.items()})

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip here: under ``16-mixed`` gradients are unscaled only now."""
        if self.clip is not None:
            self.clip_gradients(optimizer, self.clip, "norm")

    def setup(self, stage: str) -> None:
        """Refuse strategies under which two players cannot take turns, before they do anything."""
        strategy = type(self.trainer.strategy).__name__
        if "FSDP" in strategy or "DeepSpeed" in strategy or "ModelParallel" in strategy:
            raise ValueError(
                f"{strategy} shards one model behind one optimizer, but adversarial training has "
                "two players: use strategy=ddp_find_unused_parameters_true."
            )
        super().setup(stage)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the counters."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["updates"], checkpoint["images_seen"] = self.updates, self.images_seen

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the counters back."""
        super().on_load_checkpoint(checkpoint)
        self.updates = checkpoint.get("updates", 0)
        self.images_seen = checkpoint.get("images_seen", 0)

    def _blend(self, average: TensorList, current: TensorList, _: Tensor | int) -> None:
        """Move the average; early on the half-life is a twentieth of what was seen so far."""
        assert self.ema_half_life is not None
        half_life = min(self.ema_half_life, 0.05 * self.images_seen)
        images = self._images_pending * self.trainer.world_size
        decay = 0.5 ** (images / max(half_life, 1e-8))
        torch._foreach_lerp_(average, current, 1.0 - decay)
