"""DAVS's Table 4: is the real clip found by the lips of the one that was made of its speech?

Drawn people whom no training saw say words. Models make each clip anew from its first frame, by
its sound and by its lips. One lip encoder, that of `--judge`, embeds what all of them made, the
real clips, and the first frames repeated, which show how much is due to looks.

    python examples/retrieve_sources.py runs/davs/model runs/davs_words/model \
      --judge runs/davs_recognition/model --people 16
"""

import argparse
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from talkingface import DAVS
from talkingface.data.synthetic.dataset import PEOPLE, WORD_FRAMES, make_word_clip
from talkingface.evaluation.representation import retrieve_sources
from talkingface.models.davs.supervision import spread_frames, unit_range
from talkingface.models.pretrained import load_pretrained


def read_lips(judge: Any, frames: Tensor) -> Tensor:
    """The judge's word codes of a clip (T, 3, H, W) in [-1, 1], as one vector of unit length."""
    chosen = spread_frames(len(frames), judge.word_frames, training=False)
    codes = judge.inference_networks.lip_encoder(unit_range(frames[chosen]))
    return F.normalize(codes.flatten(), dim=0)


@torch.no_grad()
def main() -> None:
    """Generate, search, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="folders of DAVS, or bundled names")
    parser.add_argument("--judge", required=True, help="folder of DAVS or its recognition stage")
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--takes", type=int, default=8, help="words of each of them")
    parser.add_argument("--motion", type=float, default=0.0, help="of the heads")
    options = parser.parse_args()
    if options.people * options.takes < 10:
        parser.error("R@10 needs 10 clips or more: give more --people or --takes.")
    judge = load_pretrained(options.judge)
    models = [DAVS.from_pretrained(path) for path in options.models]
    for path, model in zip(options.models, models, strict=True):
        if model.image_size != judge.image_size:
            parser.error(
                f"{path} makes frames of {model.image_size} px, but the judge reads "
                f"{judge.image_size} px: give models of one size."
            )
    real, replicated = [], []
    made: dict[tuple[str, str], list[Tensor]] = {
        (path, way): [] for path in options.models for way in ("sound", "lips")
    }
    for person in PEOPLE["test"][: options.people]:
        for take in range(options.takes):
            clip = make_word_clip(person, take, motion=options.motion)
            frames = clip.frames(judge.image_size, range(WORD_FRAMES))
            real.append(read_lips(judge, frames))
            replicated.append(read_lips(judge, frames[:1].expand_as(frames)))
            for path, model in zip(options.models, models, strict=True):
                by_sound = model.animate(frames[0], clip.audio)
                by_lips = model.animate(frames[0], None, driving=frames)
                for way, generated in (("sound", by_sound), ("lips", by_lips)):
                    made[path, way].append(read_lips(judge, generated))
    print(f"{len(real)} clips of {options.people} people, read by {options.judge}")
    print(f"{'':40}{'R@1, %':>10}{'R@10, %':>10}")

    def show(title: str, scores: dict[str, float]) -> None:
        print(f"{title:40}{scores['r@1']:10.1f}{scores['r@10']:10.1f}", flush=True)

    for (path, way), generated in made.items():
        found = retrieve_sources(*map(torch.stack, (generated, replicated, real)))
        show(f"{path} from {way}", found["generated"])
    show("the first frame, repeated", found["replicated"])


if __name__ == "__main__":
    main()
