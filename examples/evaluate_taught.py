"""Measure a taught inversion on drawn people whom no training sees.

Paints their faces from their labels, and from what the encoder reads, and prints PSNR and how far
what the package's face reader sees in each follows the truth (correlation over all faces; gaze
where lids are less than half closed). The picture shows faces, below them those painted from
labels, and below these those painted from what the encoder reads.

    python examples/evaluate_taught.py runs/taught/model --picture taught.png
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torchvision.utils import save_image

from talkingface.data.batch import to_float
from talkingface.data.synthetic.dataset import PEOPLE
from talkingface.data.synthetic.frames import RandomFaces
from talkingface.models.experts.inversion.taught import TaughtInversion
from talkingface.models.experts.readers import MOTIONS, FaceReader

POSES = 6
"""Faces of each person."""
TURN = 0.75
"""How far heads turn, as in ``experts/taught_tiny``."""


def correlations(face: FaceReader, frames: Tensor, truth: Tensor) -> Tensor:
    """Correlations (7,) of what is read in frames (N, 3, S, S) with the truth (N, 7)."""
    read = face(frames).motions
    looking = truth[:, 5] < 0.5
    found = []
    for column, name in enumerate(MOTIONS):
        counted = looking if "gaze" in name else torch.ones_like(looking)
        pair = torch.stack([read[counted, column], truth[counted, column]])
        found.append(torch.corrcoef(pair)[0, 1])
    return torch.stack(found)


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder or .ckpt of a TaughtInversion")
    parser.add_argument("--people", type=int, default=64, help="(default: %(default)s)")
    parser.add_argument("--picture", type=Path, help="png of up to 12 people to write")
    options = parser.parse_args()
    model = TaughtInversion.from_pretrained(options.model)
    face = FaceReader.from_pretrained("face-reader")
    people = PEOPLE["val"][: options.people]
    drawn = RandomFaces(people, POSES, model.image_size, turn=TURN)
    frames = to_float(torch.cat([drawn.frames(k, range(POSES)) for k in range(len(people))]))
    labels = [drawn.labels(k, range(POSES)) for k in range(len(people))]
    names = ("looks", "pose", "expression", "gaze", "blink")
    looks, pose, expression, gaze, blink = (torch.cat([x[n] for x in labels]) for n in names)
    truth = torch.cat([pose[:, :3], gaze, blink[:, None], expression[:, :1]], 1)
    networks = model.networks
    painted = networks.generator(model.labels(looks, pose, expression)).clamp(-1, 1)
    again = networks(frames).clamp(-1, 1)

    print(f"{len(frames)} faces of {len(people)} people")
    print(f"{'':36}{'PSNR':>8}" + "".join(f"{name:>14}" for name in MOTIONS))
    shown = (("painted from labels", painted), ("painted from what the encoder reads", again))
    for name, pictures in (("the faces themselves", frames), *shown):
        quality = -10 * ((pictures - frames).square().mean() / 4).log10()
        text = "" if pictures is frames else f"{quality:.2f}"
        found = correlations(face, pictures, truth)
        print(f"{name:36}{text:>8}" + "".join(f"{value:14.3f}" for value in found))
    if options.picture:
        rows = torch.cat([x[::POSES][:12] for x in (frames, painted, again)])
        columns = len(rows) // 3
        save_image(rows, options.picture, nrow=columns, normalize=True, value_range=(-1, 1))
        print(options.picture)


if __name__ == "__main__":
    main()
