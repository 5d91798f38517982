"""Time the generator's layouts and compilation against plain eager PyTorch.

Prints frames per second relative to plain eager float32 at the same batch, all measured in turns in
one run; the fastest round counts. "compiled" needs a C++ compiler.

    python benchmarks/generation.py --size tiny
"""

import argparse
import copy
import shutil
import time
from collections.abc import Callable

import torch
from torch import Tensor

from talkingface.models.pc_avs.networks import Generator

# Side of the frames, length of the style, channels of the levels and of the identity map.
SIZES: dict[str, tuple[int, int, tuple[int, ...], int]] = {
    "tiny": (96, 600, (256, 256, 256, 128, 64, 32), 256),
    "paper": (224, 2560, (512, 512, 512, 512, 256, 128), 512),
}


def seconds(run: Callable[[], Tensor]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def cannot_compile() -> str | None:
    """Why torch.compile cannot be measured here, if so."""
    if torch.cuda.is_available():
        return None if torch.cuda.get_device_capability() >= (7, 0) else "the GPU is too old"
    compilers = ("g++", "clang++", "c++")
    return None if any(map(shutil.which, compilers)) else f"none of {', '.join(compilers)} is here"


def variants(size: str, batch: int, device: torch.device) -> dict[str, Callable[[], Tensor]]:
    """The ways of generating the same frames, by name."""
    plain = Generator(*SIZES[size]).to(device).eval()
    last = copy.deepcopy(plain)
    last.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    style = torch.randn(batch, plain.style_dim, device=device)
    start = torch.randn(batch, *plain.synthesis.constant.shape[1:], device=device)
    start_last = start.to(memory_format=torch.channels_last)

    def half(generator: Callable[..., Tensor], start: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return generator(style, start)

    ways: dict[str, Callable[[], Tensor]] = {
        "eager": lambda: plain(style, start),
        "channels_last": lambda: last(style, start_last),
        "bfloat16": lambda: half(plain, start),
        "bfloat16 channels_last": lambda: half(last, start_last),
    }
    if cannot_compile() is None:
        compiled = torch.compile(plain)
        ways["compiled"] = lambda: compiled(style, start)
        ways["compiled bfloat16"] = lambda: half(compiled, start)
    return ways


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    reason = cannot_compile()
    if reason:
        print(f"torch.compile is left out: {reason}")
    print(f"{device.type}, size {args.size}: frames/s relative to eager float32")
    for batch in args.batches:
        torch.compiler.reset()
        ways = variants(args.size, batch, device)
        best = dict.fromkeys(ways, float("inf"))
        with torch.inference_mode():
            for turn in range(args.rounds + 1):
                for name, run in ways.items():
                    taken = seconds(run)
                    if turn:  # the first round warms up and compiles
                        best[name] = min(best[name], taken)
        for name, taken in best.items():
            print(f"batch {batch}  {name:22}  {best['eager'] / taken:5.2f}", flush=True)


if __name__ == "__main__":
    main()
