"""Time the two forms of the modulated convolution against each other.

Prints, per layer, batch and precision, time(weights) / time(activations): above 1 the form
"activations" is faster. Both are timed in turns in one run, the fastest of the rounds counts. The
last column is what "auto" picks.

    python benchmarks/modulated_convolution.py --size tiny --train
"""

import argparse
import time
from collections.abc import Callable

import torch

from talkingface.models.components.stylegan2 import ModulatedConv2d, ModulationForm

# (in, out, kernel, input side, up-sampling) of some layers of each generator.
LAYERS = {
    "tiny": [
        (256, 256, 3, 3, False),
        (256, 256, 3, 6, True),
        (256, 128, 3, 12, True),
        (128, 128, 3, 24, False),
        (64, 32, 3, 48, True),
        (32, 32, 3, 96, False),
        (256, 3, 1, 12, False),
        (32, 3, 1, 96, False),
    ],
    "paper": [
        (512, 512, 3, 7, False),
        (512, 512, 3, 14, True),
        (512, 512, 3, 56, False),
        (512, 256, 3, 56, True),
        (256, 256, 3, 112, False),
        (256, 128, 3, 112, True),
        (128, 128, 3, 224, False),
        (512, 3, 1, 28, False),
        (128, 3, 1, 224, False),
    ],
}
FORMS: tuple[ModulationForm, ...] = ("weights", "activations")


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Seconds that one call takes."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def compare(
    conv: ModulatedConv2d, x: torch.Tensor, style: torch.Tensor, train: bool, rounds: int
) -> float:
    """Time of the form "weights" over that of "activations"."""

    def run() -> None:
        with torch.set_grad_enabled(train):
            y = conv(x, style)
            if train:
                y.sum().backward()

    best = dict.fromkeys(FORMS, float("inf"))
    for turn in range(rounds + 1):
        for form in FORMS:
            conv.form = form
            seconds = timed(run, x.device)
            if turn:  # the first round warms up
                best[form] = min(best[form], seconds)
    conv.form = "auto"
    return best["weights"] / best["activations"]


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=LAYERS, default="tiny")
    parser.add_argument("--train", action="store_true", help="time forward and backward")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{device.type}, {'forward and backward' if args.train else 'forward'}")
    print("layer                     batch  precision  weights/activations  auto")
    for in_channels, out_channels, kernel, side, upsample in LAYERS[args.size]:
        conv = ModulatedConv2d(
            in_channels, out_channels, kernel, 64, demodulate=kernel > 1, upsample=upsample
        )
        name = f"{in_channels}-{out_channels} {kernel}x{kernel} at {side}{' up' * upsample}"
        for dtype in (torch.float32, torch.bfloat16):
            conv = conv.to(device, dtype)
            for batch in args.batches:
                x = torch.randn(batch, in_channels, side, side, device=device, dtype=dtype)
                style = torch.randn(batch, 64, device=device, dtype=dtype)
                x.requires_grad_(args.train)
                ratio = compare(conv, x, style, args.train, args.rounds)
                precision = str(dtype).removeprefix("torch.")
                auto = conv.pick_form(x)
                print(f"{name:24}  {batch:5}  {precision:9}  {ratio:19.2f}  {auto}", flush=True)


if __name__ == "__main__":
    main()
