"""ArcFace and pSp's encoder give the numbers of the released code with the same weights."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from talkingface.models.components.ir_se import ArcFace
from talkingface.models.components.psp import PSPEncoder
from tests.fixtures import fill
from tests.models.test_pc_avs_parity import FIXTURES, official


def image(tag: str, size: int, cell: int = 32) -> Tensor:
    return torch.from_numpy(fill.inp_image(tag, 1, size, size, cell=cell))


def check(actual: Tensor, fixture: str, output: str, tolerance: float = 1e-4) -> None:
    error = fill.compare(actual.numpy(), FIXTURES, fixture, output)
    assert error <= tolerance, (fixture, output, error)


@pytest.fixture(autouse=True)
def without_gradient() -> Iterator[None]:
    with torch.inference_mode():
        yield


def filled(build: type[nn.Module], weights: dict[str, Tensor], **sizes: int) -> Any:
    """A network with given weights, without the time that drawing others would take."""
    with torch.device("meta"):
        network = build(**sizes)
    network.load_state_dict(weights, assign=True)
    return network.eval()


def test_arcface() -> None:
    network = filled(ArcFace, official("arcface_ir_se50_112"))
    face = image("arcface/image", 112, cell=16)
    check(network.stages(face)[-1], "arcface_ir_se50_112", "body")
    check(network(face), "arcface_ir_se50_112", "embedding")


@pytest.mark.slow
def test_psp() -> None:
    weights = official("psp_gradual_ir_se50_18")
    network = filled(PSPEncoder, weights, num_layers=18)
    picture = image("psp/image", 256)
    for level, output in enumerate(("body_2", "body_6", "body_20", "body_23")):
        check(network.stages(picture)[level], "psp_gradual_ir_se50_18", output)
    check(network(picture), "psp_gradual_ir_se50_18", "codes")
    # The fixture of 14 layers has the same weights, all but those of the last four heads.
    last = tuple(f"styles.{layer}." for layer in range(14, 18))
    fewer = {key: weights[key] for key in weights if not key.startswith(last)}
    check(filled(PSPEncoder, fewer, num_layers=14)(picture), "psp_gradual_ir_se50_14", "codes")
