"""Official checkpoints load by name, strictly."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from talkingface.models.components.discriminators import MultiscaleDiscriminator
from talkingface.models.conversion import convert_state_dict
from talkingface.models.pc_avs.convert import (
    RULES,
    convert_discriminator,
    convert_state_dicts,
)
from talkingface.models.pc_avs.networks import PCAVSNetworks

MANIFESTS = Path(__file__).parents[1] / "fixtures" / "manifest"
RULE_TABLE = [(r"ignored\..+", None), (r"^module\.", ""), (r"^w$", "weight"), (r"^b$", "bias")]


def official_shapes(net: str) -> dict[str, Tensor]:
    """The released state dict, without numbers."""
    entries = json.loads((MANIFESTS / f"pcavs_net{net}.json").read_text())["entries"]
    return {key: torch.empty(shape, device="meta") for key, shape, *_ in entries}


@pytest.fixture
def official() -> dict[str, dict[str, Tensor]]:
    return {net: official_shapes(net) for net in RULES}


@pytest.fixture(scope="module")
def networks() -> PCAVSNetworks:
    with torch.device("meta"):
        return PCAVSNetworks()


def linear() -> dict[str, Tensor]:
    return nn.Linear(2, 3).state_dict()


def test_tensors_are_renamed_and_unused_ones_dropped() -> None:
    weight, bias = torch.randn(3, 2), torch.randn(3)
    state = {"module.w": weight, "module.b": bias, "ignored.x": torch.zeros(7)}
    converted, dropped = convert_state_dict(state, RULE_TABLE, linear())
    assert converted.keys() == {"weight", "bias"}
    assert torch.equal(converted["weight"], weight)
    assert torch.equal(converted["bias"], bias)
    assert dropped == []


def test_axes_of_length_one_are_reshaped() -> None:
    state = {"w": torch.arange(6.0).view(1, 3, 2, 1), "b": torch.zeros(1, 3, 1, 1)}
    converted, _ = convert_state_dict(state, RULE_TABLE, linear())
    assert converted["weight"].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert converted["bias"].shape == (3,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state | {"module.c": torch.zeros(3)}, r"unknown key 'module\.c'.*'c'"),
        (lambda state: {"w": state["w"]}, "lacks 1 tensors, first of all 'bias'"),
        (lambda state: state | {"module.b": torch.zeros(3)}, "both became 'bias'"),
        (lambda state: state | {"w": torch.zeros(2, 3)}, r"'w' .* shape \(2, 3\).* needs \(3, 2\)"),
    ],
)
def test_what_does_not_fit_is_named(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str
) -> None:
    state = change({"w": torch.zeros(3, 2), "b": torch.zeros(3)})
    with pytest.raises(ValueError, match=message):
        convert_state_dict(state, RULE_TABLE, linear())


def test_a_head_of_another_size_is_left_as_it_was_and_named() -> None:
    target = linear()
    state = {"w": torch.ones(5, 2), "b": torch.ones(5)}
    converted, dropped = convert_state_dict(state, RULE_TABLE, target, heads=r"[wb]")
    assert dropped == ["w", "b"]
    assert torch.equal(converted["weight"], target["weight"])
    assert torch.equal(converted["bias"], target["bias"])


def test_old_checkpoints_without_counters_of_batches() -> None:
    norm = nn.BatchNorm1d(4)
    norm(torch.randn(3, 4))
    state = norm.state_dict()
    del state["num_batches_tracked"]
    converted, _ = convert_state_dict(state, [], nn.BatchNorm1d(4).state_dict())
    assert converted["num_batches_tracked"] == 0
    assert torch.equal(converted["running_mean"], state["running_mean"])


@pytest.mark.parametrize("mapping_layers", [0, 8])
def test_every_official_tensor_has_one_place(
    official: dict[str, dict[str, Tensor]], mapping_layers: int
) -> None:
    with torch.device("meta"):
        networks = PCAVSNetworks(mapping_layers=mapping_layers)
    converted, dropped = convert_state_dicts(official, networks)
    wanted = networks.state_dict()
    assert dropped == []
    assert {key: tensor.shape for key, tensor in converted.items()} == {
        key: tensor.shape for key, tensor in wanted.items()
    }
    kernels = 10  # FIR filters, one value in all copies, are part of the architecture
    unused = 2 + (0 if mapping_layers else 16)  # ImageNet head, mapping network
    assert len(converted) == sum(len(state) for state in official.values()) - kernels - unused


def test_official_heads_of_other_classes_are_dropped(
    official: dict[str, dict[str, Tensor]], networks: PCAVSNetworks
) -> None:
    official["V"]["fc.weight"] = torch.empty(1251, 2048, device="meta")
    official["V"]["fc.bias"] = torch.empty(1251, device="meta")
    official["A_sync"]["fc.bias"] = torch.empty(500, device="meta")
    converted, dropped = convert_state_dicts(official, networks)
    assert dropped == ["V.fc.weight", "V.fc.bias", "A_sync.fc.bias"]
    assert converted["identity_encoder.classifier.weight"].shape == (5830, 2048)


@pytest.mark.parametrize(
    ("net", "key", "message"),
    [
        (
            "V",
            "model.layer5.0.conv1.weight",
            "network V: unknown key 'model.layer5.0.conv1.weight'",
        ),
        ("E", "model.m0.b4_1.bn1.weight", "network E: unknown key 'model.m0.b4_1.bn1.weight'"),
        ("A_sync", "fc2.weight", "network A_sync: unknown key 'fc2.weight'"),
        ("G", "conv1.conv.weight", r"network G: key 'conv1.conv.weight' .* shape \(3,\)"),
        ("E", "model.fc.weight", r"network E: key 'model.fc.weight' .* shape \(3,\)"),
    ],
)
def test_official_files_with_other_tensors_are_refused(
    official: dict[str, dict[str, Tensor]],
    networks: PCAVSNetworks,
    net: str,
    key: str,
    message: str,
) -> None:
    official[net][key] = torch.empty(3, device="meta")
    with pytest.raises(ValueError, match=message):
        convert_state_dicts(official, networks)


def test_a_missing_official_network_is_named(networks: PCAVSNetworks) -> None:
    with pytest.raises(ValueError, match="got none of E, G"):
        convert_state_dicts({"V": {}, "A_sync": {}}, networks)


def test_discriminator_gets_every_official_tensor() -> None:
    with torch.device("meta"):
        discriminator = MultiscaleDiscriminator()
    converted = convert_discriminator(official_shapes("D"), discriminator)
    assert converted.keys() == discriminator.state_dict().keys()
