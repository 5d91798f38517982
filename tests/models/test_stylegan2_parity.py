"""StyleGAN2's networks give the numbers that rosinality's code gives with the same weights."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from talkingface.models.components.stylegan2 import ModulatedConv2d, ModulationForm
from talkingface.models.components.stylegan2_discriminator import StyleGAN2Discriminator
from talkingface.models.components.stylegan2_generator import StyleGAN2Generator, truncate
from talkingface.models.experts.stylegan2.convert import (
    convert_discriminator,
    convert_generator,
    read_sizes,
)
from tests.fixtures import fill

FIXTURES = Path(__file__).parents[1] / "fixtures"
GENERATORS = {
    "stylegan2_g64_cm1": (64, 1),
    "stylegan2_g64_cm2": (64, 2),
    "stylegan2_g256_cm2": (256, 2),
}
DISCRIMINATORS = {"stylegan2_d64_cm1": (64, 1), "stylegan2_d256_cm2": (256, 2)}


def official(name: str) -> dict[str, Tensor]:
    state = fill.state_from_manifest(FIXTURES / "manifest" / f"{name}.json")
    return {key: torch.from_numpy(values) for key, values in state.items()}


def check(actual: Tensor, fixture: str, output: str, tolerance: float = 1e-4) -> None:
    """Demand max |difference| <= tolerance, for values of more than 1 relative to the largest."""
    wanted, _ = fill.expected(FIXTURES, fixture, output)
    error = fill.compare(actual.detach().numpy(), FIXTURES, fixture, output)
    assert error <= tolerance * max(1.0, np.abs(wanted).max()), (fixture, output, error)


@pytest.fixture(autouse=True)
def without_gradient() -> Iterator[None]:
    with torch.inference_mode():
        yield


@lru_cache(maxsize=1)  # of 120 MB each
def generator(name: str) -> StyleGAN2Generator:
    state = official(name)
    built = StyleGAN2Generator(**read_sizes(state))
    built.load_state_dict(convert_generator(state, built))
    return built.eval()


@pytest.mark.parametrize("form", ["auto", "weights", "activations"])
@pytest.mark.parametrize("name", GENERATORS)
def test_generator(name: str, form: ModulationForm) -> None:
    network = generator(name)
    for layer in network.modules():
        if isinstance(layer, ModulatedConv2d):
            layer.form = form
    draw = {tag: fill.inp_normal(f"{name}/{tag}", (1, 512)) for tag in ("z", "z2")}
    w, w2 = (network.map(torch.from_numpy(code)) for code in draw.values())
    check(w, name, "w")
    layers: list[Tensor] = []
    hook = network.synthesis.convs[0].register_forward_hook(lambda *call: layers.append(call[2]))
    check(network(w), name, "image")
    hook.remove()
    check(layers[0], name, "after_conv1")
    count = network.num_layers
    wplus = torch.from_numpy(fill.inp_normal(f"{name}/wplus", (1, count, 512)))
    check(network(wplus), name, "image_wplus")
    slots = torch.arange(count)[:, None]
    check(network(torch.where(slots < 4, w[:, None], w2[:, None])), name, "image_mix")
    mean = torch.from_numpy(fill.inp_normal(f"{name}/tlatent", (1, 512), scale=0.5))[0]
    check(network(truncate(w, mean, 0.7)), name, "image_trunc")


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminator(name: str) -> None:
    size, multiplier = DISCRIMINATORS[name]
    network = StyleGAN2Discriminator(size, multiplier)
    network.load_state_dict(convert_discriminator(official(name), network))
    images = torch.from_numpy(fill.inp_image(f"{name}/image", 4, size, size))
    check(network.blocks(network.from_rgb(images[:1])), name, "feat")
    for count in (1, 2, 4):
        check(network(images[:count]), name, f"logits_b{count}")
    if size == 64:
        images = torch.from_numpy(fill.inp_image(f"{name}/image8", 8, size, size))
        check(network(images), name, "logits_b8")


@pytest.mark.parametrize("name", GENERATORS)
def test_sizes_are_read_from_the_checkpoint(name: str) -> None:
    size, multiplier = GENERATORS[name]
    assert read_sizes(official(name)) == {
        "size": size,
        "style_dim": 512,
        "mapping_layers": 8,
        "channel_multiplier": multiplier,
        "max_channels": 512,
    }
    with pytest.raises(ValueError, match="not a StyleGAN2 generator"):
        read_sizes({"weight": torch.zeros(1)})
