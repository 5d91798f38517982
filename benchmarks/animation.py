"""Time animating one picture, from sound alone or with another clip's motion, for each method.

Prints frames per second, and how many times faster than the 25 frames per second of the video that
is; weights are random.

    python benchmarks/animation.py --size tiny
"""

import argparse
import time
from typing import Any

import torch
import yaml

from talkingface import DAVS, FCTFG, PCAVS
from talkingface.data.batch import FPS, SAMPLES_PER_FRAME
from talkingface.training import CONFIGS

METHODS: dict[str, Any] = {"davs": DAVS, "pc_avs": PCAVS, "fc_tfg": FCTFG}
ROUNDS = 3


@torch.no_grad()
def seconds(model: Any, frames: int) -> float:
    """Seconds to animate a picture for so many frames: the fastest of some rounds."""
    size = model.image_size
    picture = torch.rand(3, size, size) * 2 - 1
    speech = 0.1 * torch.randn(frames * SAMPLES_PER_FRAME)
    driving = torch.rand(frames, 3, size, size) * 2 - 1 if "pose" in model.controls else None
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        model.animate(picture, speech, driving).cpu()
        taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--size", choices=["tiny", "paper"], default="tiny")
    parser.add_argument("--frames", type=int, default=50)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for method in args.methods:
        config = yaml.safe_load((CONFIGS / method / f"main_{args.size}.yaml").read_text())
        model = METHODS[method](**config["model"]["init_args"]).to(device).eval()
        rate = args.frames / seconds(model, args.frames)
        print(f"{method:8} {args.size}  {rate:8.1f} frames/s  {rate / FPS:6.2f} x", flush=True)


if __name__ == "__main__":
    main()
