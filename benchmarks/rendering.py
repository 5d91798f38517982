"""Time the renderer of the synthetic corpus.

Prints frames per second at each size, the best of the rounds, over people with and without glasses
and beards; and the time of a frame's pixel against that at the first size, in one run: below 1,
larger pictures are cheaper per pixel.

    python benchmarks/rendering.py --threads 2
"""

import argparse
import time

import torch

from talkingface.data.synthetic.face import express, place, render, sample_identity

CHUNK = 8


def frame_rate(size: int, people: int, rounds: int) -> float:
    """Frames per second in chunks of 8 frames of one person."""
    pose = place(CHUNK, yaw=torch.linspace(-40, 40, CHUNK), pitch=torch.linspace(-10, 10, CHUNK))
    motion = express(CHUNK, opening=torch.linspace(0, 1, CHUNK), teeth=0.5, tongue=0.4)
    best = [float("inf")] * people
    render(sample_identity(0), pose, motion, size)  # warms up
    for _ in range(rounds):
        for seed in range(people):
            identity = sample_identity(seed)
            start = time.perf_counter()
            render(identity, pose, motion, size)
            best[seed] = min(best[seed], time.perf_counter() - start)
    return CHUNK * people / sum(best)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 96, 256])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print("size  frames/s  time per pixel")
    first = 0.0
    for size in args.sizes:
        rate = frame_rate(size, args.people, args.rounds)
        cost = 1 / (rate * size * size)
        first = first or cost
        print(f"{size:4}  {rate:8.1f}  {cost / first:14.2f}", flush=True)


if __name__ == "__main__":
    main()
