"""Measure StyleGAN2's samples against drawn faces of people whom no training sees.

Prints the FID of samples against real faces, and, as the floor, that between real faces of two
halves of the people: random people, poses and expressions as in ``experts/stylegan2_tiny``. Both
compare equal numbers of faces, 8 of each person. VGG-16's weights are torchvision's.

    python examples/evaluate_stylegan2.py runs/stylegan2/model vgg16.pth --picture faces.png
"""

import argparse

import torch
from torchvision.utils import save_image

from talkingface import StyleGAN2
from talkingface.data.batch import to_float
from talkingface.data.synthetic.dataset import PEOPLE
from talkingface.data.synthetic.frames import RandomFaces
from talkingface.metrics import FID
from talkingface.models.experts.imagenet import VGG16Pool

POSES = 8
"""Faces of each person."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder, .ckpt or hub id")
    parser.add_argument("vgg16", help="torchvision's VGG-16 weights")
    parser.add_argument("--people", type=int, default=1280, help="(default: %(default)s)")
    parser.add_argument("--truncation", type=float, default=1.0, help="(default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="(default: %(default)s)")
    parser.add_argument("--picture", help="png of 32 samples, and below them 32 real faces")
    args = parser.parse_args()
    model = StyleGAN2.from_pretrained(args.model, map_location=args.device)
    network = VGG16Pool(args.vgg16).to(args.device)
    samples, halves = (FID(network, "vgg16").to(args.device) for _ in range(2))
    people = PEOPLE["test"][: 2 * (args.people // 2)]
    faces = RandomFaces(people, POSES, model.image_size)
    for person in range(0, len(people), 2):
        real, other = (
            to_float(faces.frames(number, range(POSES))).to(args.device)
            for number in (person, person + 1)
        )
        made = model.sample(POSES, seed=person, truncation=args.truncation)
        samples.update(made, real)
        halves.update(other, real)
    found, floor = float(samples.compute()), float(halves.compute())
    print(f"{len(people) // 2 * POSES} faces of {args.model}, as many of {len(people) // 2} people")
    print(f"{samples.name} of samples {found:8.2f}")
    print(f"{halves.name} of two halves of the people {floor:8.2f}, ratio {found / floor:.2f}")
    if args.picture:
        rows = [faces.frames(person, range(POSES)) for person in range(min(4, len(people)))]
        shown = [model.sample(32, truncation=args.truncation).cpu(), to_float(torch.cat(rows))]
        save_image(torch.cat(shown), args.picture, nrow=8, normalize=True, value_range=(-1, 1))


if __name__ == "__main__":
    main()
