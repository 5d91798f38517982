"""DAVS's Table 3: what each supervision does for reading words and for finding the other half.

The first stage is trained with the contrastive loss alone, with the shared classifier, with the
adversary of the two domains, and with all, from several seeds each; words are always classified.
The rate falls to zero along half a cosine. What is printed is measured on people whom no training
saw: mean and deviation over the seeds. ``--box`` shows the encoder the mouth alone, which it then
learns to read in fewer epochs.

    talkingface synthesize lrw --layout lrw --identities 48 --clips-per-identity 32 --held-out 16
    python examples/davs_supervisions.py lrw --json table.json --epochs 5 --box 0.45 0.24 0.97 0.76
"""

import argparse
import json
import logging
import statistics
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import Trainer, seed_everything

from talkingface import DAVSRecognition, LRWDataModule
from talkingface.callbacks import CosineDecay
from talkingface.training import CONFIGS

ROWS: dict[str, dict[str, Any]] = {
    "L_C": {"shared_classifier": False, "domain_weight": 0.0},
    "L_C + SC": {"domain_weight": 0.0},
    "L_C + L_adv": {"shared_classifier": False},
    "L_C + SC + L_adv": {},
}
"""What each row of the table changes in the configuration."""
COLUMNS = {
    "val/visual_accuracy": ("visual, %", 100),
    "val/audio_accuracy": ("audio, %", 100),
    "val/combined_accuracy": ("both, %", 100),
    "val/video_to_audio_r@1": ("V-A R@1, %", 1),
    "val/video_to_audio_r@10": ("V-A R@10, %", 1),
    "val/video_to_audio_median_rank": ("V-A median", 1),
    "val/audio_to_video_r@1": ("A-V R@1, %", 1),
    "val/audio_to_video_r@10": ("A-V R@10, %", 1),
    "val/audio_to_video_median_rank": ("A-V median", 1),
}
"""Names and factors of what validation measures."""

JITTER = 2
"""Frames by which training windows may lie earlier or later: all that a clip's 29 allow."""


def run(
    sizes: dict[str, Any], data: LRWDataModule, seed: int, epochs: int, precision: str
) -> dict[str, float]:
    """Train from a seed; what validation measures on the people of the test part."""
    seed_everything(seed, verbose=False)
    data.seed = seed
    model = DAVSRecognition(**sizes)
    quiet: dict[str, Any] = {
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    schedule: dict[str, Any] = {"max_epochs": epochs, "callbacks": [CosineDecay()]}
    Trainer(**schedule, limit_val_batches=0, precision=precision, **quiet).fit(model, data)
    measured = Trainer(**quiet).validate(model, data.test_dataloader(), verbose=False)[0]
    return {name: factor * measured[name] for name, (_, factor) in COLUMNS.items()}


def main() -> None:
    """Train all rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "corpus", help="folder with lipread_mp4, as `talkingface synthesize` writes"
    )
    parser.add_argument("--config", default=str(CONFIGS / "davs" / "recognition_tiny.yaml"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument(
        "--box", type=float, nargs=4, help="part of a frame: top, left, bottom, right in [0, 1]"
    )
    parser.add_argument(
        "--precision",
        default="32-true",
        help="Lightning's; bf16-mixed is faster where the processor has it",
    )
    parser.add_argument("--json", help="file for the numbers of every run")
    options = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    config = yaml.safe_load(Path(options.config).read_text(encoding="utf-8"))
    # People have no part in what is measured, and LRW does not say who speaks.
    sizes = {**config["model"]["init_args"], "person_weight": 0.0}
    data = LRWDataModule(
        options.corpus,
        size=sizes["image_size"],
        frames=25,
        batch_size=config["data"]["init_args"]["batch_size"],
        jitter=JITTER,
        box=tuple(options.box) if options.box else None,
        cache=True,
    )
    data.setup()
    sizes["num_words"] = len(data.word_names)
    learned, tested = len(data.train_dataset.spans), len(data.test_dataset.spans)
    print(f"{learned} clips to learn from, {tested} to test on")
    print(f"{'':18}" + "".join(f"{name:>15}" for name, _ in COLUMNS.values()), flush=True)
    numbers: dict[str, list[dict[str, float]]] = {}
    for row in options.rows:
        sizes_of_row = {**sizes, **ROWS[row]}
        runs = [
            run(sizes_of_row, data, seed, options.epochs, options.precision)
            for seed in range(options.seeds)
        ]
        numbers[row] = runs
        if options.json:
            Path(options.json).write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
        cells = []
        for name in COLUMNS:
            values = [measured[name] for measured in runs]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{statistics.mean(values):.1f} ± {spread:.1f}")
        print(f"{row:18}" + "".join(f"{cell:>15}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
