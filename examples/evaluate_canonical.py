"""Look at FC-TFG's canonical faces, and at what each group of layers moves, on drawn people.

    python examples/evaluate_canonical.py runs/fc_tfg/model --picture canonical.png

Prints, for people whom no training has seen: how far head yaw spreads over one person's frames and
over the canonical faces of these; how often a canonical face is nearest, among the mean canonical
faces of all people, to its own person's (the mean without it); and how much of each motion is left
when a group of layers is held still, in percent of its spread with all layers free. All is read by
the package's readers. The picture shows frames above their canonical faces, a person per pair of
rows (Figure 5).
"""

import argparse
import itertools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.utils import make_grid, save_image

from talkingface import FCTFG
from talkingface.data.synthetic.clip import SyntheticClip
from talkingface.data.synthetic.dataset import PEOPLE, make_clip
from talkingface.models.experts.readers import MOTIONS, FaceReader, IdentityReader


def recognised(vectors: Tensor) -> float:
    """Share of vectors (P, N, D) that are nearest to their own person's mean of the others."""
    people, poses, _ = vectors.shape
    means = vectors.mean(1)
    right = 0
    for person, pose in itertools.product(range(people), range(poses)):
        gallery = means.clone()
        gallery[person] = (poses * means[person] - vectors[person, pose]) / (poses - 1)
        cosines = F.cosine_similarity(vectors[person, pose], gallery, dim=-1)
        right += int(cosines.argmax()) == person
    return right / (people * poses)


def held_spread(
    model: FCTFG, face: FaceReader, clips: list[SyntheticClip], layers: tuple[int, ...]
) -> Tensor:
    """Mean spread (7,) of each motion when people move like others, with some layers held."""
    spreads = []
    for clip, driver in zip(clips, clips[1:] + clips[:1], strict=True):
        codes = model.hold(model.encode_pose(driver.frames(model.image_size)), layers)
        picture = clip.frames(model.image_size, [0])
        frames = model.animate(picture, driver.audio, pose=codes)
        spreads.append(face(frames).motions.std(0))
    return torch.stack(spreads).mean(0)


@torch.no_grad()
def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder or .ckpt of a trained FCTFG")
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--poses", type=int, default=20, help="frames of each person")
    parser.add_argument("--clips", type=int, default=4, help="driven for the table of layers")
    parser.add_argument("--picture", type=Path, help="png to write")
    options = parser.parse_args()
    model = FCTFG.from_pretrained(options.model)
    face = FaceReader.from_pretrained("face-reader")
    identity = IdentityReader.from_pretrained("identity-reader")
    clips = [make_clip(person) for person in PEOPLE["test"][: options.people]]
    times = torch.linspace(0, len(clips[0]) - 1, options.poses).round().long().tolist()
    frames = torch.stack([clip.frames(model.image_size, times) for clip in clips])
    faces = torch.stack([model.canonical(person) for person in frames])

    yaws = [torch.stack([face(p).pose[:, 0].std() for p in x]).mean() for x in (frames, faces)]
    print(f"{options.people} people under {options.poses} poses")
    print(f"spread of yaw, frames (degrees)           {yaws[0]:6.2f}")
    print(f"spread of yaw, canonical faces            {yaws[1]:6.2f}  ({yaws[1] / yaws[0]:.2f})")
    for name, pictures in (("frames", frames), ("canonical faces", faces)):
        vectors = identity(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])
        print(f"recognised, {name:29} {100 * recognised(vectors):6.1f} %")

    driven = clips[: options.clips]
    free = held_spread(model, face, driven, ())
    print(f"\n{'% of motion left, layers held':32}" + "".join(f"{name:>14}" for name in MOTIONS))
    layers = sorted(model.hparams["motion_layers"])
    # Two layers for each size of the maps.
    groups = [tuple(g) for _, g in itertools.groupby(layers, lambda layer: (layer - 1) // 2)]
    for group in [*groups, tuple(layers)]:
        left = 100 * held_spread(model, face, driven, group) / free
        print(f"{', '.join(map(str, group)):32}" + "".join(f"{value:14.0f}" for value in left))
    if options.picture:
        rows = [x for pair in zip(frames, faces, strict=True) for x in pair]
        save_image(make_grid(torch.cat(rows) / 2 + 0.5, nrow=options.poses), options.picture)
        print(options.picture)


if __name__ == "__main__":
    main()
