"""Train in two processes: ``python -m tests.models.two_processes OUT CLIPS``.

Lightning starts this program a second time for the second process.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, DistributedSampler

from talkingface.data.datamodules import FolderDataModule
from tests.models.tiny import (
    DAVS_RECOGNITION,
    FRAMES,
    METHODS,
    SIZE,
    SYNC,
    Tiny,
    fit,
    items,
    label,
    seed,
)

BATCHES = 4
"""Batches of one item that each process sees."""

JOBS: dict[str, tuple[Tiny, dict[str, Any]]] = {
    **{label(tiny): (tiny, {"ema_half_life": 10.0}) for tiny in METHODS},
    **{
        f"{label(tiny)}, accumulating": (tiny, {**tiny.separate, "accumulate": 2})
        for tiny in METHODS
    },
    label(DAVS_RECOGNITION): (DAVS_RECOGNITION, {}),
    "InfoNCE": (SYNC, {"contrastive": "infonce"}),
    "inverse distance": (SYNC, {"contrastive": "inverse_distance", "cross_modal_weight": 1.0}),
}
TWO: dict[str, Any] = {"devices": 2, "strategy": "ddp_find_unused_parameters_true"}


class InTurns(LightningDataModule):
    """Items in order, shared out in turns; Lightning's own sampler would shuffle them."""

    def train_dataloader(self) -> Any:
        """Batches of one item."""
        data: Any = items(2 * BATCHES)
        assert self.trainer is not None
        rank, count = self.trainer.global_rank, self.trainer.world_size
        return DataLoader(data, sampler=DistributedSampler(data, count, rank, shuffle=False))


def main(folder: Path, clips: Path) -> None:
    """Do all jobs, then stop and resume each method."""
    torch.set_num_threads(1)
    for name, (tiny, options) in JOBS.items():
        seed(0)
        model = tiny.still(**options)
        trainer = fit(model, InTurns(), precision="64-true", **TWO)
        if trainer.is_global_zero:
            torch.save(model.state_dict(), folder / f"{name}.pt")
    for tiny in METHODS:
        seed(1 + torch.distributed.get_rank())
        train_on(tiny, clips, folder / f"{label(tiny)}-whole")
        seed(3)
        stop = folder / f"{label(tiny)}-whole/step=2.ckpt"
        train_on(tiny, clips, folder / f"{label(tiny)}-resumed", str(stop))


def train_on(tiny: Tiny, clips: Path, folder: Path, ckpt: str | None = None) -> None:
    """Train two epochs of three updates; save all of them, and the end."""
    data = FolderDataModule(
        str(clips), SIZE, FRAMES, batch_size=2, windows_per_clip=3, val_fraction=0
    )
    saves = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    options = TWO | {"max_epochs": 2, "callbacks": [saves], "enable_checkpointing": True}
    fit(tiny(**{**tiny.random, **tiny.unlabelled}), data, ckpt, **options).save_checkpoint(
        folder / "end.ckpt"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
