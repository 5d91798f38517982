"""Time training updates of PC-AVS, both players, in bfloat16 against float32.

Prints frames per second and their ratio to float32's, on random batches: loading is not measured.
VGG-19, where the configuration has a perceptual loss, computes with random weights.

    python benchmarks/training.py --size paper --batch 16
"""

import argparse
import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from torch.utils.data import DataLoader

from talkingface import PCAVS
from talkingface.data.batch import AUDIO_CONTEXT, SAMPLES_PER_FRAME
from talkingface.models.components.vgg import VGG19Features
from talkingface.training import CONFIGS

WARM_UP = 3


class Clock(pl.Callback):
    """Takes the time from the end of the last update that warms up to the end of training."""

    start = seconds = 0.0

    def on_train_batch_end(self, *arguments: Any) -> None:
        """Read the clock."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if arguments[-1] + 1 == WARM_UP:
            self.start = now
        self.seconds = now - self.start


def item(size: int) -> dict[str, Any]:
    """One random window of one frame."""
    return {
        "video": torch.randint(256, (1, 3, size, size), dtype=torch.uint8),
        "source": torch.randint(256, (1, 3, size, size), dtype=torch.uint8),
        "audio": 0.1 * torch.randn(SAMPLES_PER_FRAME + 2 * AUDIO_CONTEXT),
        "audio_gain": torch.tensor(1.0),
        "clip": "random",
        "start": 0,
        "identity": 0,
    }


def rate(options: dict[str, Any], precision: Any, batch: int, updates: int, vgg: Path) -> float:
    """Frames per second of training in one precision."""
    pl.seed_everything(0, verbose=False)
    model = PCAVS(**options)
    if model.vgg_weight:
        model.initialise(vgg=vgg)
    items: Any = [item(model.image_size)] * (batch * (WARM_UP + updates))
    clock = Clock()
    trainer = pl.Trainer(
        max_epochs=1,
        precision=precision,
        devices=1,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(items, batch, pin_memory=torch.cuda.is_available()))
    return batch * updates / clock.seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=["tiny", "paper"], default="tiny")
    parser.add_argument("--batch", type=int, default=8, help="frames per update")
    parser.add_argument("--updates", type=int, default=5)
    args = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    config = yaml.safe_load((CONFIGS / "pc_avs" / f"main_{args.size}.yaml").read_text())
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    print(f"{device}, size {args.size}, {args.batch} frames per update")
    with tempfile.TemporaryDirectory() as folder:
        vgg = Path(folder) / "vgg19.pth"
        torch.save(VGG19Features().state_dict(), vgg)
        plain = 0.0
        for precision in ("32-true", "bf16-mixed"):
            options = config["model"]["init_args"]
            measured = rate(options, precision, args.batch, args.updates, vgg)
            plain = plain or measured
            print(f"{precision:10}  {measured:8.1f} frames/s  {measured / plain:5.2f}", flush=True)


if __name__ == "__main__":
    main()
