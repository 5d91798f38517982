"""Draw sheets of synthetic people: who they are, how they speak, how they turn.

python examples/draw_identities.py --folder drawn --people 40
"""

import argparse
from pathlib import Path

import torch
from torchvision.utils import make_grid

from talkingface.data.batch import to_uint8
from talkingface.data.synthetic.face import Expression, express, place, render, sample_identity
from talkingface.data.synthetic.speech import VISEME_NAMES, VISEMES, sample_voice, speak
from talkingface.data.video import write_image


def say_visemes() -> torch.Tensor:
    """An expression per viseme class: the mouth in the middle of a phoneme of it, between vowels.

    Shape:
        - output: (V, 10)
    """
    expression = express(len(VISEME_NAMES))
    for phoneme, viseme in VISEMES.items():
        speech = speak(f"3{phoneme}3" if viseme else " ", sample_voice(0))
        frames = (speech.viseme == viseme).nonzero().flatten()
        shape = speech.articulation[frames[len(frames) // 2]]
        expression[viseme, : len(shape)] = shape
    return expression


def main() -> None:
    """Write ``identities.png``, ``visemes.png`` (a row per person) and ``poses.png``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("drawn"))
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args()
    people = torch.stack([sample_identity(seed) for seed in range(options.people)])

    visemes = say_visemes()
    poses = place(9, yaw=torch.tensor([-45.0, -22, 0, 22, 45, 0, 0, 0, 0]))
    poses[5:, 1] = torch.tensor([25.0, -25, 0, 0])
    poses[7:, 2] = torch.tensor([20.0, -20])
    looks = express(9, gaze_x=torch.linspace(-0.8, 0.8, 9), blink=torch.linspace(0, 1, 9))
    looks[:, Expression._fields.index("brow")] = torch.linspace(1, 0, 9)

    ahead = render(people, place(len(people)), express(len(people)), options.size)
    sheets = {
        "identities": (ahead, 8),
        "visemes": (
            torch.cat([render(who, place(len(visemes)), visemes, options.size) for who in people]),
            len(visemes),
        ),
        "poses": (torch.cat([render(who, poses, looks, options.size) for who in people[:8]]), 9),
    }
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, (frames, columns) in sheets.items():
        path = options.folder / f"{name}.png"
        write_image(path, to_uint8(make_grid(frames, nrow=columns, padding=0)))
        print(f"wrote {path}")
    print("visemes, from the left:", ", ".join(VISEME_NAMES))


if __name__ == "__main__":
    main()
