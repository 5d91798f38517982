"""Random states, frames on the device, and which parameters are trained."""

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from talkingface.models.reproducible import (
    ReproducibleModule,
    evaluating,
    freeze,
    generator_states,
    held,
    parameter_groups,
    restore_generators,
)
from tests.models.tiny import fit, seed


def draw() -> list[float]:
    return [
        random.random(),
        random.gauss(0, 1),
        np.random.rand(),
        np.random.randn(),
        float(torch.rand(())),
    ]


def test_generators_go_on_where_they_were() -> None:
    draw()  # an odd number of gaussians: one is kept back in each generator
    states = generator_states()
    expected = draw() + draw()
    seed(9)
    restore_generators(states)
    assert draw() + draw() == expected


def test_states_of_devices_that_are_gone_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    states, restored = generator_states(), []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(
        torch.cuda, "set_rng_state", lambda state, device: restored.append((device, int(state)))
    )
    restore_generators(states | {"cuda": [torch.tensor(5), torch.tensor(6)]})
    assert restored == [(0, 5)]


def test_states_are_plain_values() -> None:
    file = io.BytesIO()
    torch.save(generator_states(), file)
    file.seek(0)
    expected = draw()
    restore_generators(torch.load(file, weights_only=True))
    assert draw() == expected


class Noisy(ReproducibleModule):
    """Adds random numbers to a weight, and remembers what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[float, float]] = []

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        noise = torch.rand(())
        self.seen.append((float(batch["video"].max()), float(noise)))
        return (self.weight * noise).sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def batches(*values: int, **options: Any) -> Any:
    data = [{"video": torch.full((1, 3, 2, 2), value, dtype=torch.uint8)} for value in values]
    return DataLoader(data, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("shuffle", [False, True])
def test_noise_and_order_go_on_after_an_epoch(shuffle: bool, tmp_path: Path) -> None:
    # a loader of one's own, whose order comes from torch's generator
    data = batches(*range(0, 200, 20), shuffle=shuffle)
    whole = Noisy()
    fit(whole, data, max_epochs=2)
    seed(0)
    half = Noisy()
    fit(half, data).save_checkpoint(tmp_path / "half.ckpt")
    seed(5)
    rest = Noisy()
    fit(rest, data, str(tmp_path / "half.ckpt"), max_epochs=2)
    assert half.seen == whole.seen[:10]
    assert rest.seen == whole.seen[10:]
    assert torch.equal(rest.weight, whole.weight)
    values = [value for value, _ in whole.seen[:10]]
    assert (values == sorted(values)) is not shuffle


def test_noise_goes_on_within_an_epoch(tmp_path: Path) -> None:
    data = batches(0, 0, 0, 0)
    whole = Noisy()
    saves = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=1)
    fit(whole, data, callbacks=[saves], enable_checkpointing=True)
    for step in (1, 2, 3):
        seed(5)
        rest = Noisy()
        fit(rest, data, str(tmp_path / f"step={step}.ckpt"))
        # (a plain loader begins anew, but all frames are alike)
        assert rest.seen == whole.seen[step:]


def test_opening_a_checkpoint_leaves_the_generators_alone(tmp_path: Path) -> None:
    fit(Noisy(), batches(1)).save_checkpoint(tmp_path / "run.ckpt")
    seed(5)
    Noisy.load_from_checkpoint(tmp_path / "run.ckpt")
    drawn = draw()
    seed(5)
    assert draw() == drawn


def test_states_of_other_processes_are_not_taken(tmp_path: Path) -> None:
    fit(Noisy(), batches(1)).save_checkpoint(tmp_path / "run.ckpt")
    checkpoint = torch.load(tmp_path / "run.ckpt", weights_only=True)
    seen = []
    own: list[Any] = checkpoint["generators"]
    for states in (own, [], own * 2):
        torch.save(checkpoint | {"generators": states}, tmp_path / "changed.ckpt")
        seed(5)
        model = Noisy()
        fit(model, batches(1), str(tmp_path / "changed.ckpt"), max_epochs=2)
        seen.append(model.seen)
    assert seen[2] == seen[1] != seen[0]  # as if there were none


def test_bytes_become_floats_on_the_device() -> None:
    batch: Any = {
        "video": torch.tensor([0, 51, 255], dtype=torch.uint8),
        "source": torch.tensor([255], dtype=torch.uint8),
        "driving": torch.tensor([-0.5]),
        "faces": torch.tensor([0], dtype=torch.uint8),
        "identity": torch.tensor([3]),
        "clip": ["a.mp4"],
    }
    done: Any = Noisy().on_after_batch_transfer(batch, 0)
    torch.testing.assert_close(done["video"], torch.tensor([-1.0, -0.6, 1.0]))
    assert done["source"].tolist() == [1.0]
    assert done["driving"].tolist() == [-0.5]
    assert done["faces"].tolist() == [-1.0]
    assert done["identity"].tolist() == [3]
    assert done["clip"] == ["a.mp4"]


@pytest.mark.parametrize(("value", "expected"), [(0, -1.0), (255, 1.0)])
def test_training_sees_floats(value: int, expected: float) -> None:
    model = Noisy()
    fit(model, batches(value))
    assert [seen for seen, _ in model.seen] == [expected]


class Parts(ReproducibleModule):
    def __init__(self) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(
            {
                "encoder": nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout()),
                "encoder_head": nn.Linear(2, 2),
                "generator": nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)),
            }
        )


def test_freezing_stops_weights_and_statistics() -> None:
    model = Parts()
    model.freeze_parts(model.networks, ["encoder."])
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {
        *(f"networks.encoder_head.{name}" for name in ("weight", "bias")),
        *(f"networks.generator.{k}.{name}" for k in (0, 1) for name in ("weight", "bias")),
    }
    for switch in (lambda: None, model.train, model.eval, model.train):
        switch()
        assert not any(part.training for part in model.networks["encoder"].modules())
    assert all(part.training for part in model.networks["generator"].modules())
    assert model.networks["encoder_head"].training


def test_frozen_parts_stay_in_eval_mode_when_the_rest_comes_back() -> None:
    module = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    module[0].eval()
    for context in (evaluating, held):
        with context(module):
            assert not any(part.training for part in module.modules())
        assert [part.training for part in module.modules()] == [True, False, True]


def test_freezing_an_unknown_part_names_the_parts() -> None:
    with pytest.raises(
        ValueError, match="no parameter begins with 'decoder'; the parts are encoder"
    ):
        freeze(Parts().networks, ["encoder", "decoder"])


def rates(module: nn.Module, groups: list[dict[str, Any]]) -> dict[str, float]:
    names = {parameter: name for name, parameter in module.named_parameters()}
    return {names[p]: group["lr"] for group in groups for p in group["params"]}


def test_parameter_groups_follow_the_longest_prefix() -> None:
    networks: Any = Parts().networks
    networks["encoder_head"].requires_grad_(False)
    found = rates(networks, parameter_groups(networks, 0.1, {"encoder": 0.5, "encoder.1": 0.0}))
    assert found == {
        "encoder.0.weight": 0.05,
        "encoder.0.bias": 0.05,
        "encoder.1.weight": 0.0,
        "encoder.1.bias": 0.0,
        **{f"generator.{k}.{name}": 0.1 for k in (0, 1) for name in ("weight", "bias")},
    }


def test_parameter_groups_without_factors_are_one() -> None:
    networks = Parts().networks
    (group,) = parameter_groups(networks, 0.1)
    assert len(group["params"]) == len(list(networks.parameters()))
    with pytest.raises(ValueError, match="'decoder'"):
        parameter_groups(networks, 0.1, {"decoder": 1.0})
