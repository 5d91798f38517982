"""Measure how well a sync expert finds where sound belongs.

Clips of a folder count as in sync (offset 0). ``--held-out`` takes those that ``talkingface fit``
with ``--data.split identity`` and the same fraction and seed does not train on. With ``--words``, a
table of ``clip,word,start_s,end_s``, crops of 1 s inside the speech are measured as well: once with
the sound cut to the same second, once with the sound around it as far as the search goes.

    python examples/evaluate_sync.py MODEL grid/s1 --held-out 0.15 --words grid/words.csv

Without a folder, clips of the synthetic corpus are made of people that no training sees, and sound
and picture of each are moved apart by -8 to +8 frames:

    python examples/evaluate_sync.py MODEL
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor

from talkingface import FolderDataModule
from talkingface.data.audio import read_audio
from talkingface.data.batch import SAMPLES_PER_FRAME, to_float
from talkingface.data.video import VideoClip
from talkingface.models.experts.syncnet.expert import SyncExpert
from talkingface.models.experts.syncnet.offsets import find_offset

CROP = 25
"""Frames of a short crop: one second."""


def held_out_clips(folder: str, fraction: float, seed: int) -> list[Path]:
    """Clips of a folder, or the share of them that a split by clip holds out."""
    data = FolderDataModule(folder, frames=6, split="identity", val_fraction=fraction, seed=seed)
    data.setup()
    part = data.val_dataset if fraction else data.train_dataset
    return [part.reader.clips[member].path for member in part.members]


def read_speech(table: str) -> dict[str, tuple[float, float]]:
    """Start of the first and end of the last word of each clip, in seconds."""
    spans: dict[str, tuple[float, float]] = {}
    with open(table, newline="") as file:
        for row in csv.DictReader(file):
            start, end = spans.get(row["clip"], (float("inf"), 0.0))
            spans[row["clip"]] = min(start, float(row["start_s"])), max(end, float(row["end_s"]))
    return spans


def report(name: str, errors: list[int]) -> None:
    """Print the shares of offsets that are exact and within one frame."""
    off = torch.tensor(errors).abs()
    exact, near = 100 * (off == 0).float().mean(), 100 * (off <= 1).float().mean()
    print(f"{name:44} {len(errors):6}  exact {exact:5.1f} %  within one frame {near:5.1f} %")


def evaluate_folder(expert: SyncExpert, options: argparse.Namespace) -> None:
    """Whole clips and short crops of a folder."""
    speech = read_speech(options.words) if options.words else {}
    offsets = defaultdict(list)
    vshift = options.vshift
    for path in held_out_clips(options.clips, options.held_out, options.seed):
        video, sound = VideoClip(path), read_audio(path)
        frames = to_float(video[list(range(len(video)))])
        sound = sound[: len(frames) * SAMPLES_PER_FRAME]
        visual, audio = expert.embed_video(frames), expert.embed_audio(sound)
        offsets["whole clips"].append(find_offset(visual, audio, vshift)[0])
        begin, end = speech.get(path.stem, (0.0, 0.0))
        for start in range(round(begin * 25), round(end * 25) - CROP + 1, 5):
            lips = visual[start : start + CROP - 4]
            second = sound[start * SAMPLES_PER_FRAME : (start + CROP) * SAMPLES_PER_FRAME]
            found, _ = find_offset(lips, expert.embed_audio(second), vshift)
            offsets["1 s crops of picture and sound"].append(found)
            found = search(lips, audio, start, vshift)
            offsets["1 s crops of the picture, sound around"].append(found)
    for name, found in offsets.items():
        report(name, found)


def search(lips: Tensor, audio: Tensor, start: int, vshift: int) -> int:
    """Offset of some rows of a clip against all of its sound, where there is sound."""
    shifts = [s for s in range(-vshift, vshift + 1) if 0 <= start + s <= len(audio) - len(lips)]
    rows = torch.stack([audio[start + s : start + s + len(lips)] for s in shifts])
    return -shifts[int((rows - lips).norm(dim=-1).mean(1).argmin())]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("clips", nargs="?", help="folder of clips (default: synthetic ones)")
    parser.add_argument("--held-out", type=float, default=0.0, help="share of the clips to take")
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: 0)")
    parser.add_argument("--words", help="csv of word alignments, for crops of 1 s")
    parser.add_argument("--vshift", type=int, default=15, help="largest offset (default: 15)")
    options = parser.parse_args()
    expert = SyncExpert.from_pretrained(options.model)
    with torch.inference_mode():
        evaluate_folder(expert, options)


if __name__ == "__main__":
    main()
