"""Draw a person who speaks and turns the head, and show poses and mouths on one sheet.

python examples/draw_synthetic_clip.py --folder drawn --seed 3
"""

import argparse
from pathlib import Path

import torch
from torchvision.utils import make_grid

from talkingface.data.batch import to_uint8
from talkingface.data.synthetic.dataset import write_clips
from talkingface.data.synthetic.face import express, place, render, sample_identity
from talkingface.data.video import write_image


def contact_sheet(seed: int, size: int) -> torch.Tensor:
    """One person: a row of yaw angles, a row of vowels and closures, a row of eyes."""
    still = place(5)
    turned = place(5, yaw=torch.linspace(-40, 40, 5))
    mouths = express(
        5,
        opening=torch.tensor([1.0, 0.6, 0.3, 0.25, 0.0]),
        width=torch.tensor([0.25, 0.6, 1.0, 0.0, 0.0]),
        rounding=torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0]),
        press=torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0]),
        teeth=torch.tensor([0.2, 0.5, 0.8, 0.0, 0.0]),
    )
    eyes = express(
        5,
        blink=torch.tensor([0.0, 0.6, 1.0, 0.0, 0.0]),
        gaze_x=torch.tensor([0.0, 0.0, 0.0, -0.8, 0.8]),
        brow=torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0]),
    )
    identity = sample_identity(seed)
    rows = [(turned, express(5)), (still, mouths), (still, eyes)]
    frames = torch.cat([render(identity, pose, motion, size) for pose, motion in rows])
    return make_grid(frames, nrow=5, padding=0)


def main() -> None:
    """Write ``<folder>/<seed>.mp4``, its labels, and ``<folder>/sheet.png``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("drawn"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args()
    (film,) = write_clips(options.folder, 1, options.seconds, options.size, options.seed)
    sheet = options.folder / "sheet.png"
    write_image(sheet, to_uint8(contact_sheet(options.seed, options.size)))
    print(f"wrote {film} and {sheet}")


if __name__ == "__main__":
    main()
