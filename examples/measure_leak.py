"""DAVS, section 4.3: what person codes betray of words, and how well they tell people apart.

Drawn people whom no training saw say words. The person codes of a clip's frames, one after the
other and their mean lowered, go to a linear support vector machine that is to name the word; it
learns from all people but the last quarter, on whom it is tested. The same codes verify people: is
a pair of pictures, the first and the last frames of the clips, of one person?

    python examples/measure_leak.py runs/davs_recognition/model runs/davs/model
"""

import argparse

import torch
from torch import Tensor

from talkingface.data.synthetic.dataset import PEOPLE, choose_word, make_word_clip
from talkingface.data.synthetic.speech import WORDS
from talkingface.metrics import EmbeddingAUC, LeakProbe
from talkingface.models.davs.discriminators import lower_mean
from talkingface.models.davs.supervision import unit_range
from talkingface.models.pretrained import load_pretrained

FRAMES = 25
"""Frames in the middle of a clip whose codes are taken."""


def draw(person: int, take: int, size: int, motion: float) -> Tensor:
    """The frames of a word, (FRAMES, 3, size, size) in [0, 1]."""
    clip = make_word_clip(person, take, motion=motion)
    first = (len(clip) - FRAMES) // 2
    return unit_range(clip.frames(size, range(first, first + FRAMES)))


@torch.no_grad()
def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="folders of DAVS, or of its recognition stage")
    parser.add_argument("--people", type=int, default=64)
    parser.add_argument("--takes", type=int, default=16, help="words of each of them")
    parser.add_argument("--motion", type=float, default=0.0, help="of the heads")
    options = parser.parse_args()
    if options.people < 2:
        parser.error(f"--people {options.people}: give 2 or more, some teach the probe")
    models = [load_pretrained(path) for path in options.models]
    names = sorted(WORDS)
    codes: list[list[Tensor]] = [[] for _ in models]
    words, people = [], []
    for person in PEOPLE["val"][: options.people]:
        for take in range(options.takes):
            words.append(names.index(choose_word(person, take)))
            people.append(person)
            frames: dict[int, Tensor] = {}
            for model, found in zip(models, codes, strict=True):
                size = model.image_size
                if size not in frames:
                    frames[size] = draw(person, take, size, options.motion)
                found.append(model.inference_networks.person_encoder(frames[size])[0])
    said, who = torch.tensor(words), torch.tensor(people)
    learned = who < PEOPLE["val"][options.people - max(1, options.people // 4)]
    print(f"{len(said)} words of {options.people} people, {len(names)} different ones")
    print(f"{'':32}{'words found, %':>16}{'verification AUC':>18}")
    for path, found in zip(options.models, codes, strict=True):
        vectors = torch.stack(found)
        moving = lower_mean(vectors).flatten(1)
        probe, area = LeakProbe(), EmbeddingAUC()
        probe.update(moving[learned], said[learned], "train")
        probe.update(moving[~learned], said[~learned], "test")
        for frame in (0, -1):
            area.update(vectors[:, frame], who)
        leak = 100 * float(probe.compute()["leak_accuracy"])
        print(f"{path:32}{leak:16.1f}{float(area.compute()):18.4f}", flush=True)


if __name__ == "__main__":
    main()
