"""What every trained module shares: frames as floats on the device, and a resume that is exact."""

import math
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.distributed import all_gather_object, get_world_size, is_available, is_initialized
from torchmetrics import Metric, MetricCollection

from talkingface.data.batch import Batch, to_float
from talkingface.models.pretrained import PretrainedMixin


def generator_states() -> dict[str, Any]:
    """States of the Python, numpy, torch and CUDA random generators, in plain values and tensors.

    Example:
        >>> states = generator_states()
        >>> first = torch.rand(1)
        >>> restore_generators(states)
        >>> bool(torch.rand(1) == first)
        True
    """
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (str(name), np.asarray(keys).tolist(), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_generators(states: Mapping[str, Any]) -> None:
    """Put the generators back where :func:`generator_states` found them."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and torch.cuda.is_available():
        for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state.cpu(), device)


def half_cosine(trainer: pl.Trainer, batch_idx: int) -> float:
    """Factor of a learning rate that falls along half a cosine, to 0 at the end of the last epoch.

    It is a function of the place in the run, so that a resumed run has the same; 1 where training
    has no last epoch.

    Example:
        >>> from types import SimpleNamespace
        >>> place = SimpleNamespace(max_epochs=2, current_epoch=1, num_training_batches=10)
        >>> round(half_cosine(place, batch_idx=0), 6)
        0.5
    """
    epochs = trainer.max_epochs
    if not epochs or epochs < 0:
        return 1.0
    done = (trainer.current_epoch + batch_idx / trainer.num_training_batches) / epochs
    return 0.5 + 0.5 * math.cos(math.pi * min(done, 1.0))


def reset_metrics(*metrics: Metric | MetricCollection) -> None:
    """Empty metrics after a validation, so that a later ``fit`` can add to them.

    ``trainer.validate`` works in inference mode, whose tensors refuse that.

    Example:
        >>> from torchmetrics import MeanMetric
        >>> metric = MeanMetric()
        >>> with torch.inference_mode():
        ...     reset_metrics(metric)
        >>> metric.mean_value.is_inference()
        False
    """
    with torch.inference_mode(False):
        for metric in metrics:
            metric.reset()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Have a module in eval mode, and then as it was.

    Example:
        >>> module = nn.Dropout()
        >>> with evaluating(module):
        ...     print(module.training)
        False
        >>> module.training
        True
    """
    modes = [(part, part.training) for part in module.modules()]  # frozen parts may differ
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def held(module: nn.Module) -> Iterator[None]:
    """Let gradients through a module that neither learns nor counts what it sees; then as it was.

    Example:
        >>> module = nn.Linear(2, 1)
        >>> with held(module):
        ...     output = module(torch.ones(2, requires_grad=True))
        >>> output.backward()
        >>> module.weight.grad, module.weight.requires_grad, module.training
        (None, True, True)
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    with evaluating(module):
        module.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in trained:
                parameter.requires_grad_(True)


OF_TRAINING = ("training_data", "command", "steps", "figures")
"""Facts about a saved model that a further training makes untrue."""


class ReproducibleModule(PretrainedMixin, pl.LightningModule):
    """A LightningModule that resumes bit-equal and takes :class:`~talkingface.data.batch.Batch`.

    Lightning restores weights, optimizers and loops, but no random generator. Here the states of
    all generators, of every rank, travel in the checkpoint. They are put back before the loader is
    iterated, which may draw an order from them, and within an epoch once more before the first
    batch, since the uninterrupted run did not begin to iterate there.
    """

    _resumed: dict[str, Any] | None = None
    _frozen: list[str]

    def freeze_parts(self, module: nn.Module, prefixes: list[str]) -> None:
        """Freeze the parts of ``module`` by name; their batch statistics stand still as well."""
        freeze(module, prefixes)
        self._frozen = [
            name
            for name, part in self.named_modules()
            if list(part.parameters()) and not any(p.requires_grad for p in part.parameters())
        ]
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch to training, all but the frozen parts."""
        super().train(mode)
        for name in getattr(self, "_frozen", ()):
            self.get_submodule(name).eval()
        return self

    def setup(self, stage: str) -> None:
        """Refuse weights of 16 bits, which neither frames nor losses here are made for."""
        super().setup(stage)
        precision = str(self.trainer.precision)
        if precision in ("16-true", "bf16-true") or precision.startswith("transformer-engine"):
            raise ValueError(
                f"precision {precision} keeps weights in 16 bits or fewer: use bf16-mixed or "
                "16-mixed, which keep them in 32."
            )

    def on_fit_start(self) -> None:
        """Train in training mode; Lightning would go on in the mode of ``from_pretrained``.

        What an opened model says of its own training is not true of what comes out.
        """
        self.train()
        facts = dict(self.saved_facts or {})
        self.saved_facts = {name: facts[name] for name in facts if name not in OF_TRAINING}
        if self._resumed is not None:
            restore_generators(self._resumed)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the random generators' states, one entry per rank."""
        super().on_save_checkpoint(checkpoint)
        states: list[Any] = [generator_states()]
        if is_available() and is_initialized():
            states = states * get_world_size()
            all_gather_object(states, generator_states())
        checkpoint["generators"] = states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the states for the start of training."""
        states = checkpoint.get("generators")
        # After a change of the number of processes there is no state to go on with.
        if states and self._trainer is not None and len(states) == self.trainer.world_size:
            self._resumed = states[self.global_rank]

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Put the generators back before the first batch after a resume within an epoch."""
        if self._resumed is not None and self.trainer.training:
            if self.trainer.fit_loop.epoch_loop.batch_progress.current.ready > 0:
                restore_generators(self._resumed)
            self._resumed = None
        return batch

    def test_step(self, batch: Batch, batch_idx: int) -> Any:
        """Measure what validation measures."""
        return self.validation_step(batch, batch_idx)

    def on_test_epoch_start(self) -> None:
        """Begin as validation does."""
        self.on_validation_epoch_start()

    def on_test_epoch_end(self) -> None:
        """Log what validation logs."""
        self.on_validation_epoch_end()

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn ``uint8`` frames into floats in [-1, 1]; bytes travel four times as fast."""
        for key in ("video", "source", "driving", "faces"):
            value = batch.get(key)
            if isinstance(value, Tensor) and value.dtype == torch.uint8:
                batch[key] = to_float(value)
        return batch


def parameter_groups(
    module: nn.Module, lr: float, factors: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Split a module's trainable parameters by learning rate.

    Args:
        module: Whose parameters to train; frozen ones are left out.
        lr: The learning rate.
        factors: Prefix of a parameter's name -> what its learning rate is multiplied by. Where
            two prefixes fit, the longer one counts.

    Raises:
        ValueError: If no parameter begins with one of the prefixes.

    Example:
        >>> net = nn.ModuleDict({"encoder": nn.Linear(2, 2), "generator": nn.Linear(2, 2)})
        >>> [group["lr"] for group in parameter_groups(net, 0.1, {"encoder": 0.5})]
        [0.1, 0.05]
    """
    factors = dict(factors or {})
    check_prefixes(module, factors)
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            prefix = max((p for p in factors if name.startswith(p)), key=len, default=None)
            factor = 1.0 if prefix is None else factors[prefix]
            groups.setdefault(factor, []).append(parameter)
    ordered = sorted(groups.items(), key=lambda item: item[0] != 1.0)
    return [{"params": parameters, "lr": lr * factor} for factor, parameters in ordered]


def freeze(module: nn.Module, prefixes: list[str]) -> None:
    """Stop training the parameters whose names begin with one of the prefixes.

    Raises:
        ValueError: If no parameter begins with one of the prefixes.

    Example:
        >>> net = nn.ModuleDict({"encoder": nn.Linear(2, 2), "generator": nn.Linear(2, 2)})
        >>> freeze(net, ["encoder"])
        >>> [name for name, p in net.named_parameters() if p.requires_grad]
        ['generator.weight', 'generator.bias']
    """
    check_prefixes(module, prefixes)
    for name, parameter in module.named_parameters():
        if any(name.startswith(prefix) for prefix in prefixes):
            parameter.requires_grad_(False)


def check_prefixes(module: nn.Module, prefixes: Mapping[str, float] | list[str]) -> None:
    """Raise a ValueError that names the first prefix which no parameter begins with."""
    names = [name for name, _ in module.named_parameters()]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            parts = ", ".join(sorted({name.split(".")[0] for name in names}))
            raise ValueError(f"no parameter begins with {prefix!r}; the parts are {parts}.")
