"""What a run shows, keeps and lowers: pictures per validation, its newest state, its rates."""

import io
import os
from typing import Any

import pytorch_lightning as pl
import torch
from einops import rearrange
from PIL import Image
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torchvision.utils import make_grid

from talkingface.data.batch import FPS, Batch, to_uint8
from talkingface.models.reproducible import half_cosine


class LastCheckpoint(ModelCheckpoint):
    """Keep the newest state of a run as ``last.ckpt``, beside whatever other callbacks keep.

    ``ModelCheckpoint(monitor=..., save_last=True)`` writes its last checkpoint only when the
    monitored value improves, so that a resumed run would lose the epochs since.
    """

    def __init__(self) -> None:
        super().__init__(
            filename="last", save_on_train_epoch_end=True, enable_version_counter=False
        )

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Find a run's best checkpoints where they lie now: paths are as the run was started."""
        for callback in trainer.checkpoint_callbacks:
            state = checkpoint["callbacks"].get(callback.state_key, {})
            folder = getattr(callback, "dirpath", None)
            if folder and {"dirpath", "best_k_models"} <= state.keys():
                state.update(_moved(state, folder))


def _moved(state: dict[str, Any], folder: str) -> dict[str, Any]:
    """A ModelCheckpoint's state with the folder its files lie in; as it was if they do not."""

    def here(path: str) -> str:
        return os.path.join(folder, os.path.basename(path)) if path else path

    if not os.path.isfile(here(state["best_model_path"])):
        return {}
    paths = {key: here(path) for key, path in state.items() if key.endswith("_path")}
    best = {here(path): score for path, score in state["best_k_models"].items()}
    return paths | {"dirpath": folder, "best_k_models": best}


class CosineDecay(pl.Callback):
    """Lower every optimizer's learning rate along half a cosine, to zero at the end of training.

    See :func:`~talkingface.models.reproducible.half_cosine`.
    """

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the rates of this batch."""
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                start = group.setdefault("initial_lr", group["lr"])
                group["lr"] = start * half_cosine(trainer, batch_idx)


class LogFrames(pl.Callback):
    """Log source, target and generated frames of the first validation batch to TensorBoard.

    Modules whose validation gives no frames, and other loggers, are left alone.

    The grid's rows are clips; its columns are the source, then target above generated frame at
    evenly spaced times. The video plays target and generated clips one above the other.

    Args:
        clips: Number of clips to show.
        columns: Number of times to show in the grid.
    """

    def __init__(self, clips: int = 4, columns: int = 8) -> None:
        self.clips, self.columns = clips, columns

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Log the first batch of a validation."""
        shown = isinstance(outputs, dict) and "frames" in outputs and trainer.is_global_zero
        if batch_idx or trainer.sanity_checking or not shown:
            return
        if not isinstance(trainer.logger, TensorBoardLogger):  # fast_dev_run's takes any call
            return
        writer: Any = trainer.logger.experiment
        real, fake = batch["video"][: self.clips].cpu(), outputs["frames"][: self.clips].cpu()
        source = batch["source"][: self.clips, 0].cpu()
        step = getattr(pl_module, "updates", trainer.global_step)
        writer.add_image("validation/frames", frame_grid(source, real, fake, self.columns), step)
        both = rearrange([real, fake], "k b t c h w -> t c (k h) (b w)")
        writer.file_writer.add_summary(_animation("validation/video", both), step)


def frame_grid(source: Tensor, real: Tensor, fake: Tensor, columns: int = 8) -> Tensor:
    """A contact sheet: per clip the source, and real above generated frames over time.

    Shape:
        - ``source``: (B, 3, H, W); ``real``, ``fake``: (B, T, 3, H, W), in [-1, 1].
        - Output: (3, B * 2 * H, (1 + columns) * W) and a little for borders, in [0, 1].

    Example:
        >>> frames = torch.zeros(2, 5, 3, 8, 8)
        >>> frame_grid(frames[:, 0], frames, frames, columns=3).shape
        torch.Size([3, 42, 42])
    """
    times = torch.linspace(0, real.shape[1] - 1, min(columns, real.shape[1])).round().long()
    rows = []
    for reference, target, result in zip(source, real, fake, strict=True):
        rows += [reference[None], target[times], reference[None] * 0 - 1, result[times]]
    frames = torch.cat(rows)
    return make_grid(frames.clamp(-1, 1), nrow=1 + len(times), value_range=(-1, 1), normalize=True)


def _animation(tag: str, frames: Tensor) -> Any:
    """A TensorBoard summary that plays, as an animated GIF."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    pictures = [Image.fromarray(frame.permute(1, 2, 0).numpy()) for frame in to_uint8(frames)]
    file = io.BytesIO()
    pictures[0].save(
        file, "GIF", save_all=True, append_images=pictures[1:], duration=1000 // FPS, loop=0
    )
    height, width = frames.shape[-2:]
    picture = Summary.Image(
        height=height, width=width, colorspace=3, encoded_image_string=file.getvalue()
    )
    return Summary(value=[Summary.Value(tag=tag, image=picture)])
