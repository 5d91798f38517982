"""Measure the readers on people whom they have never seen, moving as the corpus's people do.

    python examples/evaluate_readers.py --people 60

Prints, for frames of each size: the error of landmarks in percent of the face's size (the square
root of the area of the true landmarks' box), the correlation of each measure with the truth, over
all frames, and how the identity reader tells people apart.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from talkingface.data.synthetic.clip import SyntheticClip
from talkingface.data.synthetic.dataset import PEOPLE, make_clip
from talkingface.metrics.motion import MotionCorrelation
from talkingface.metrics.probe import VerificationAUC, pair_cosines
from talkingface.models.experts.readers import FaceReader, IdentityReader
from talkingface.models.experts.readers.face import landmark_distances

GROUPS = {
    "all": slice(0, 68),
    "jaw": slice(0, 17),
    "brows": slice(17, 27),
    "nose": slice(27, 36),
    "eyes": slice(36, 48),
    "mouth": slice(48, 68),
}
TRACKS = ("yaw", "pitch", "roll", "gaze x", "gaze y", "blink", "mouth opening")
OPEN = ("gaze x, eyes half open or more", "gaze y, eyes half open or more")


@torch.no_grad()
def measure_face(
    clips: list[SyntheticClip], frames: list[Tensor], every: int, reader: FaceReader
) -> dict[str, float]:
    """Errors of the landmarks, and correlations over all frames."""
    tracks = {name: MotionCorrelation(name) for name in TRACKS + OPEN}
    distances, found = [], []
    for clip, part in zip(clips, frames, strict=True):
        indices = list(range(0, len(clip), every))
        reading = reader(part)
        distances.append(
            landmark_distances(reading.landmarks, clip.landmarks(part.shape[-1], indices))
        )
        found.append(reading.presence > 0.5)
        true = [*clip.pose.T[:3], *clip.gaze.T, clip.blink, clip.articulation[:, 0]]
        for name, driven, track in zip(TRACKS, true, reading.motions.T, strict=True):
            tracks[name].update(driven[indices], track)
        seen = clip.blink[indices] <= 0.5
        for name, driven, track in zip(OPEN, clip.gaze[indices].T, reading.gaze.T, strict=True):
            tracks[name].update(driven[seen], track[seen])
    percent = torch.cat(distances)
    figures = {
        f"landmark error, {name} (% of face size)": percent[:, group].mean().item()
        for name, group in GROUPS.items()
    }
    for name, metric in tracks.items():
        figures[f"correlation, {name}"] = metric.compute()["pooled"].item()
    return figures | {"faces found (%)": 100 * torch.cat(found).float().mean().item()}


@torch.no_grad()
def measure_identity(frames: list[Tensor], reader: IdentityReader) -> dict[str, float]:
    """Telling people apart, from all pairs of frames."""
    vectors = torch.cat([reader(part) for part in frames])
    labels = torch.cat([torch.full((len(part),), k) for k, part in enumerate(frames)])
    cosines, same = pair_cosines(vectors, labels)
    auc = VerificationAUC()
    auc.update(cosines, same)
    return {
        "verification AUC": auc.compute().item(),
        "cosine, same person": cosines[same].mean().item(),
        "cosine, different people": cosines[~same].mean().item(),
    }


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--face", default="face-reader", help="name or folder")
    parser.add_argument("--identity", default="identity-reader", help="name or folder")
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--every", type=int, default=8, help="take one frame in so many")
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 64, 256])
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    face = FaceReader.from_pretrained(options.face)
    identity = IdentityReader.from_pretrained(options.identity)
    clips = [make_clip(person) for person in PEOPLE["test"][: options.people]]
    results: dict[str, dict[str, dict[str, float]]] = {"face": {}, "identity": {}}
    for size in options.sizes:
        frames = [clip.frames(size, list(range(0, len(clip), options.every))) for clip in clips]
        results["face"][f"{size} px"] = measure_face(clips, frames, options.every, face)
        results["identity"][f"{size} px"] = measure_identity(frames, identity)
    for by_size in results.values():
        head = f"{options.people} people"
        print(f"\n{head:46}" + "".join(f"{size:>10}" for size in by_size))
        for name in next(iter(by_size.values())):
            print(f"{name:46}" + "".join(f"{row[name]:10.3f}" for row in by_size.values()))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
