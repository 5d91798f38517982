"""Look at FC-TFG's canonical faces, and at what each group of layers moves, on drawn people.

    python examples/evaluate_canonical.py runs/fc_tfg/model --picture canonical.png

Prints, for people whom no training has seen: how far head yaw spreads over one person's frames and
over the canonical faces of these; how often a canonical face is nearest, among the mean canonical
faces of all people, to its own person's (the mean without it); how canonical faces are turned, and
how those that are turned to the front by them; how much of each motion is left when layers are
held still, two of one size of the maps or all up to a size, in percent of its spread with all
layers free; and how brows, of frames that are painted and of the same frames drawn, follow the
driver's labels. All is read by the package's readers. The picture shows frames above their
canonical faces, a person per pair of rows (Figure 5).
"""

import argparse
import itertools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.utils import make_grid, save_image

from talkingface import FCTFG
from talkingface.data.synthetic.clip import SyntheticClip, cross
from talkingface.data.synthetic.dataset import PEOPLE, make_clip
from talkingface.models.experts.readers import MOTIONS, FaceReader, IdentityReader, Reading

Driven = tuple[SyntheticClip, SyntheticClip, Tensor]
"""A clip whose first frame is the picture, one that drives it and speaks, and that one's codes."""


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


def layer_groups(layers: list[int]) -> list[tuple[int, ...]]:
    """The moved layers of each size of the maps, and all of them up to each size."""
    sizes = [tuple(g) for _, g in itertools.groupby(layers, lambda layer: (layer - 1) // 2)]
    upwards = itertools.accumulate(sizes)
    return [*sizes, *itertools.islice(upwards, 1, None)]


def read_driven(
    model: FCTFG, face: FaceReader, driven: list[Driven], layers: tuple[int, ...] = ()
) -> list[Reading]:
    """What is read of people who move like others, with some layers held."""
    readings = []
    for clip, driver, codes in driven:
        picture = clip.frames(model.image_size, [0])
        readings.append(face(model.animate(picture, driver.audio, pose=model.hold(codes, layers))))
    return readings


def spread(readings: list[Reading]) -> Tensor:
    """Mean spread (8,) within clips of each of the motions, and of the brows."""
    tracks = [torch.cat([x.motions, x.brow[:, None]], 1) for x in readings]
    return torch.stack([track.std(0) for track in tracks]).mean(0)


def correlation(reading: Reading, driver: SyntheticClip) -> Tensor:
    """Pearson's correlation of the brows with the driver's labels."""
    return torch.corrcoef(torch.stack([reading.brow, driver.brow]))[0, 1]


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

    turns = ", ".join(f"{value:.1f}" for value in face(faces.flatten(0, 1)).pose.mean(0))
    print(f"mean yaw, pitch, roll of canonical faces  {turns}")

    chosen, size = clips[: options.clips], model.image_size
    turned = [clip.frames(size, [int(clip.pose[:, 0].abs().argmax())]) for clip in chosen]
    front = [
        model.animate(picture, clip.audio[:3200], frontal=True)
        for picture, clip in zip(turned, chosen, strict=True)
    ]
    for name, pictures in (("most turned frames", turned), ("the same, frontal", front)):
        print(
            f"mean size of yaw, {name:23} {face(torch.cat(pictures)).pose[:, 0].abs().mean():6.2f}"
        )
    driven = [
        (clip, driver, model.encode_pose(driver.frames(size)))
        for clip, driver in zip(chosen, chosen[1:] + chosen[:1], strict=True)
    ]
    painted = read_driven(model, face, driven)
    free = spread(painted)
    print(f"\n{'% of motion left, layers held':32}", *(f"{x:>13}" for x in (*MOTIONS, "brow")))
    for group in layer_groups(sorted(model.hparams["motion_layers"])):
        left = spread(read_driven(model, face, driven, group))
        print(f"{', '.join(map(str, group)):32}", *(f"{x:13.0f}" for x in 100 * left / free))
    drawn = [face(cross(clip, driver, driver).frames(size)) for clip, driver, _ in driven]
    for name, readings in (("drawn", drawn), ("painted", painted)):
        found = [correlation(x, driver) for x, (_, driver, _) in zip(readings, driven, strict=True)]
        print(f"brows and the driver's, {name:17} {torch.stack(found).mean():6.2f}")
    if options.picture:
        rows = [x for pair in zip(frames, faces, strict=True) for x in pair]
        save_image(make_grid(torch.cat(rows) / 2 + 0.5, nrow=options.poses), options.picture)
        print(options.picture)


if __name__ == "__main__":
    main()
