"""Measure how well a sync expert finds where sound belongs.

Clips of a folder count as in sync (offset 0). ``--held-out`` takes those that ``talkingface fit``
with ``--data.split identity`` and the same fraction and seed does not train on. With ``--words``, a
table of ``clip,word,start_s,end_s``, crops of 1 s inside the speech are measured as well: once with
the sound cut to the same second, once with the sound around it as far as the search goes.

    python examples/evaluate_sync.py MODEL grid/s1 --held-out 0.15 --words grid/words.csv

Without a folder, clips of 5 s of people of the synthetic corpus whom no training sees are made, and
sound and picture of each are moved apart by -8 to +8 frames:

    python examples/evaluate_sync.py MODEL --people 40
"""

import argparse
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor

from talkingface import FolderDataModule
from talkingface.data.audio import read_audio
from talkingface.data.batch import FPS, SAMPLES_PER_FRAME, to_float
from talkingface.data.datasets.folder import find_folder_clips
from talkingface.data.datasets.words import match_clips, read_alignment
from talkingface.data.synthetic.dataset import PEOPLE, make_clip
from talkingface.data.video import VideoClip
from talkingface.models.experts.syncnet.expert import SyncExpert
from talkingface.models.experts.syncnet.offsets import find_offset

CROP = FPS
"""Frames of a short crop: one second."""
SECONDS, PLANTED = 5, 8
"""Length of synthetic clips, and the largest offset planted in them, in frames."""


def held_out_clips(folder: str, fraction: float, seed: int) -> list[Path]:
    """Clips of a folder, or the share of them that a split by clip holds out."""
    data = FolderDataModule(folder, frames=6, split="identity", val_fraction=fraction, seed=seed)
    data.setup()
    part = data.val_dataset if fraction else data.train_dataset
    return [Path(part.reader.clips[member].path) for member in part.members]


def read_speech(folder: str, table: str) -> dict[str, tuple[float, float]]:
    """Start of the first and end of the last word of each clip of a folder, in seconds."""
    alignment, files = read_alignment(Path(table)), find_folder_clips(folder)
    keys = match_clips(files, alignment)
    if not keys:
        raise SystemExit(f"{table} names none of the clips in {folder}.")
    words = {file.path: alignment[keys[file.name]] for file in files if file.name in keys}
    return {
        path: (min(w.start for w in said), max(w.end for w in said)) for path, said in words.items()
    }


def report(name: str, errors: list[int]) -> None:
    """Print the shares of offsets that are exact and within one frame."""
    off = torch.tensor(errors).abs()
    exact, near = 100 * (off == 0).float().mean(), 100 * (off <= 1).float().mean()
    print(f"{name:44} {len(errors):6}  exact {exact:5.1f} %  within one frame {near:5.1f} %")


def evaluate_folder(expert: SyncExpert, options: argparse.Namespace) -> None:
    """Whole clips and short crops of a folder."""
    speech = read_speech(options.clips, options.words) if options.words else {}
    offsets = defaultdict(list)
    vshift = options.vshift
    for path in held_out_clips(options.clips, options.held_out, options.seed):
        frames = to_float(VideoClip(path)[:])
        sound = read_audio(path, 0, len(frames) * SAMPLES_PER_FRAME)
        visual, audio = expert.embed_video(frames), expert.embed_audio(sound)
        offsets["whole clips"].append(find_offset(visual, audio, vshift)[0])
        begin, end = speech.get(str(path), (0.0, 0.0))
        for start in range(round(begin * FPS), round(end * FPS) - CROP + 1, 5):
            lips = visual[start : start + CROP - 4]
            second = sound[start * SAMPLES_PER_FRAME : (start + CROP) * SAMPLES_PER_FRAME]
            found, _ = find_offset(lips, expert.embed_audio(second), vshift)
            offsets["1 s crops of picture and sound"].append(found)
            found = search(lips, audio, start, vshift)
            offsets["1 s crops of the picture, sound around"].append(found)
    for name in offsets:
        report(name, offsets[name])


def search(lips: Tensor, audio: Tensor, start: int, vshift: int) -> int:
    """Offset of some rows of a clip against all of its sound, where there is sound."""
    shifts = [s for s in range(-vshift, vshift + 1) if 0 <= start + s <= len(audio) - len(lips)]
    rows = torch.stack([audio[start + s : start + s + len(lips)] for s in shifts])
    return -shifts[int((rows - lips).norm(dim=-1).mean(1).argmin())]


def evaluate_corpus(expert: SyncExpert, options: argparse.Namespace) -> None:
    """Planted offsets, and cosines of true and of shifted pairs, on unseen people."""
    cosines, errors = [], []
    length = SECONDS * FPS
    for person in PEOPLE["test"][: options.people]:
        clip = make_clip(person, seconds=SECONDS + 2 * PLANTED / FPS)
        visual = expert.embed_video(clip.frames(options.size)[PLANTED : PLANTED + length])
        for offset in range(-PLANTED, PLANTED + 1):
            start = PLANTED + offset
            sound = clip.audio[start * SAMPLES_PER_FRAME : (start + length) * SAMPLES_PER_FRAME]
            audio = expert.embed_audio(sound)
            errors.append(find_offset(visual, audio, options.vshift)[0] - offset)
            if offset == 0:
                time = torch.arange(len(visual))
                pairs = visual @ audio.T
                far = (time[:, None] - time).abs() >= 5
                cosines.append(torch.stack([pairs.diagonal().mean(), pairs[far].mean()]))
    true, shifted = torch.stack(cosines).mean(0).tolist()
    worst = min(float(pair[0] - pair[1]) for pair in cosines)
    report(f"offsets of -{PLANTED} to {PLANTED} planted in {SECONDS} s", errors)
    print(f"mean cosine of true pairs {true:.3f}, of pairs 5 frames or more apart {shifted:.3f}")
    print(f"difference {true - shifted:.3f}; {worst:.3f} in the clip where it is least")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("clips", nargs="?", help="folder of clips (default: synthetic ones)")
    parser.add_argument("--held-out", type=float, default=0.0, help="share of the clips to take")
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: 0)")
    parser.add_argument("--words", help="csv of word alignments, for crops of 1 s")
    parser.add_argument("--people", type=int, default=40, help="synthetic clips (default: 40)")
    parser.add_argument("--size", type=int, default=96, help="of synthetic frames (default: 96)")
    parser.add_argument("--vshift", type=int, default=15, help="largest offset (default: 15)")
    options = parser.parse_args()
    expert = SyncExpert.from_pretrained(options.model)
    with torch.inference_mode():
        (evaluate_folder if options.clips else evaluate_corpus)(expert, options)


if __name__ == "__main__":
    main()
