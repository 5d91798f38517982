"""Time training updates of every method, both players, in bfloat16 against float32.

Prints frames per second and their ratio to float32's, on random batches: loading is not measured.
The feature networks of perceptual losses compute with random weights; FC-TFG compares identities
with the package's reader.

    python benchmarks/training.py --size tiny
    python benchmarks/training.py --method pc_avs --size paper --batch 16
    python benchmarks/training.py --method fc_tfg --size tiny --batch 2
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
from torchvision.models import alexnet, vgg16

from talkingface import DAVS, FCTFG, PCAVS, DAVSRecognition
from talkingface.data.batch import AUDIO_CONTEXT, SAMPLES_PER_FRAME
from talkingface.models.components.vgg import VGG19Features
from talkingface.training import CONFIGS

METHODS: dict[str, tuple[Any, str, int]] = {
    "davs_recognition": (DAVSRecognition, "davs/recognition", 25),
    "davs": (DAVS, "davs/main", 25),
    "pc_avs": (PCAVS, "pc_avs/main", 1),
    "fc_tfg": (FCTFG, "fc_tfg/main", 5),
}
"""Classes, their configurations, and frames of a window."""
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


def item(size: int, frames: int) -> dict[str, Any]:
    """One random window."""
    return {
        "video": torch.randint(256, (frames, 3, size, size), dtype=torch.uint8),
        "source": torch.randint(256, (1, 3, size, size), dtype=torch.uint8),
        "audio": 0.1 * torch.randn(frames * SAMPLES_PER_FRAME + 2 * AUDIO_CONTEXT),
        "audio_gain": torch.tensor(1.0),
        "clip": "random",
        "start": 0,
        "identity": 0,
        "word": 0,
        "landmarks": size * torch.rand(frames, 68, 2),
    }


def give_experts(model: Any, folder: Path) -> None:
    """Give a model the networks of its losses."""
    if isinstance(model, PCAVS) and model.vgg_weight:
        torch.save(VGG19Features().state_dict(), folder / "vgg19.pth")
        model.initialise(vgg=folder / "vgg19.pth")
    elif isinstance(model, FCTFG):
        trunk = vgg16() if model.perceptual == "lpips" else alexnet()
        torch.save(trunk.state_dict(), folder / "trunk.pth")
        model.initialise(sync="sync-expert", lpips=folder / "trunk.pth")


def rate(method: str, options: dict[str, Any], precision: Any, batch: int, updates: int) -> float:
    """Frames per second of training in one precision, with so many windows in a batch."""
    pl.seed_everything(0, verbose=False)
    cls, _, frames = METHODS[method]
    model = cls(**options)
    items: Any = [item(model.image_size, frames)] * (batch * (WARM_UP + updates))
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
    with tempfile.TemporaryDirectory() as folder:
        give_experts(model, Path(folder))
    trainer.fit(model, DataLoader(items, batch, pin_memory=torch.cuda.is_available()))
    return batch * frames * updates / clock.seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=METHODS, help="(default: all)")
    parser.add_argument("--size", choices=["tiny", "paper"], default="tiny")
    parser.add_argument("--batch", type=int, default=4, help="windows per update")
    parser.add_argument("--updates", type=int, default=5)
    args = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    for method in [args.method] if args.method else METHODS:
        config = yaml.safe_load((CONFIGS / f"{METHODS[method][1]}_{args.size}.yaml").read_text())
        options = config["model"]["init_args"]
        if method == "fc_tfg":
            options["identity"] = "identity-reader"
        print(f"{device}, {method}, size {args.size}, {args.batch} windows per update")
        plain = 0.0
        for precision in ("32-true", "bf16-mixed"):
            measured = rate(method, options, precision, args.batch, args.updates)
            plain = plain or measured
            print(f"{precision:10}  {measured:8.1f} frames/s  {measured / plain:5.2f}", flush=True)


if __name__ == "__main__":
    main()
