"""Time StyleGAN2 in both forms of the modulated convolution: parts of an update, and generation.

Prints milliseconds per batch, and the form "weights" over "activations", on random images; forms
take turns. "update" is both players' losses with each penalty's share, as often as the model's
configuration has it: path length, on part of the batch, and R1.

    python benchmarks/stylegan2.py --size paper --batch 4
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
import yaml

from talkingface.losses.regularisation import path_lengths, r1_penalty
from talkingface.models.components.stylegan2 import ModulatedConv2d, ModulationForm
from talkingface.models.experts.stylegan2.expert import StyleGAN2
from talkingface.training import CONFIGS

FORMS: tuple[ModulationForm, ...] = ("weights", "activations", "auto")


class Parts:
    """What an update is made of, each with its backward pass, and generation."""

    def __init__(self, model: StyleGAN2, batch: int, bfloat16: bool) -> None:
        self.model, self.batch, self.bfloat16 = model, batch, bfloat16
        size = model.image_size
        self.images = torch.rand(batch, 3, size, size, device=model.device) * 2 - 1
        self.all: dict[str, Callable[[], Any]] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "path length": self.path_length,
            "R1": self.r1,
            "generation": self.generation,
        }

    def _autocast(self) -> Any:
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.bfloat16)

    def generator(self) -> None:
        """The generator's loss."""
        with self._autocast():
            images = self.model.networks(self.model._draw_latents(self.batch), "random")
            scores = self.model.discriminator(images)
        F.softplus(-scores).mean().backward()

    def discriminator(self) -> None:
        """The discriminator's, on real and painted images."""
        with self._autocast():
            scores = [self.model.discriminator(self.images) for _ in range(2)]
        torch.stack(scores).mean().backward()

    def path_length(self) -> None:
        """Path length regularisation."""
        latents = self.model._draw_latents(max(1, self.batch // self.model.path_shrink))
        path_lengths(self.model.networks(latents, "random"), latents).mean().backward()

    def r1(self) -> None:
        """R1."""
        images = self.images.clone().requires_grad_()
        r1_penalty(self.model.discriminator(images), images).backward()

    @torch.no_grad()
    def generation(self) -> None:
        """Images, from fixed noise."""
        with self._autocast():
            self.model.networks(self.model._draw_latents(self.batch))


def measure(parts: Parts, rounds: int) -> dict[str, dict[str, float]]:
    """Best seconds of every part in every form."""
    best: dict[str, dict[str, float]] = {name: {} for name in parts.all}
    convs = [m for m in parts.model.networks.modules() if isinstance(m, ModulatedConv2d)]
    for turn in range(rounds + 1):
        for form in FORMS:
            for conv in convs:
                conv.form = form
            for name, run in parts.all.items():
                parts.model.zero_grad()
                start = time.perf_counter()
                run()
                if parts.images.is_cuda:
                    torch.cuda.synchronize()
                seconds = time.perf_counter() - start
                if turn:  # the first round warms up
                    best[name][form] = min(best[name].get(form, seconds), seconds)
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=["tiny", "paper"], default="tiny")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    file = CONFIGS / "experts" / f"stylegan2_{args.size}.yaml"
    model = StyleGAN2(**yaml.safe_load(file.read_text())["model"]["init_args"]).to(device)
    shares = {"generator": 1.0, "discriminator": 1.0}
    shares |= {"path length": 1 / model.path_interval, "R1": 1 / model.r1_interval}
    print(f"{device}, size {args.size}, batches of {args.batch}")
    print(f"{'part':14} precision " + "".join(f"{form:>13}" for form in FORMS) + "  ratio")
    for bfloat16 in (False, True):
        best = measure(Parts(model, args.batch, bfloat16), args.rounds)
        best["update"] = {
            form: sum(share * best[name][form] for name, share in shares.items()) for form in FORMS
        }
        for name, seconds in best.items():
            row = "".join(f"{1e3 * seconds[form]:13.1f}" for form in FORMS)
            ratio = seconds["weights"] / seconds["activations"]
            print(f"{name:14} {'bfloat16' if bfloat16 else 'float32':9} {row}  {ratio:5.2f}")


if __name__ == "__main__":
    main()
