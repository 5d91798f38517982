"""StyleGAN2 as a stage: both players learn, penalties come when due, official files open."""

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.vgg import cfgs, make_layers

from talkingface.cli import main
from talkingface.data.batch import to_float
from talkingface.data.synthetic.frames import RandomFaceDataModule
from talkingface.metrics import FID
from talkingface.models.components.stylegan2_discriminator import (
    StyleGAN2Discriminator,
    minibatch_deviation,
)
from talkingface.models.components.stylegan2_generator import StyleGAN2Generator
from talkingface.models.experts.imagenet import VGG16Pool
from talkingface.models.experts.inversion.module import Inversion
from talkingface.models.experts.stylegan2.expert import StyleGAN2
from talkingface.models.experts.stylegan2.inheritance import inherit
from tests.models.tiny import SIZE, STYLEGAN2, fit, items, loader, seed, trainer

MANIFESTS = Path(__file__).parents[1] / "fixtures" / "manifest"
NARROW = {512: 8, 513: 9, 256: 8, 8192: 128}
"""Widths of the official networks of 64 px -> widths of a small copy."""


def narrow(name: str) -> dict[str, Tensor]:
    """An official network's keys, with few channels and random values."""
    entries = json.loads((MANIFESTS / f"{name}.json").read_text())["entries"]
    return {
        key: torch.randn([NARROW.get(side, side) for side in shape]) for key, shape, *_ in entries
    }


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A checkpoint as the authors' training writes it."""
    generator = narrow("stylegan2_g64_cm1")
    checkpoint = {
        "g": generator,
        "g_ema": {key: 0.1 * value for key, value in generator.items()},
        "d": narrow("stylegan2_d64_cm1"),
        "g_optim": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]},
        "d_optim": {"state": {}, "param_groups": []},
        "args": argparse.Namespace(size=64, path="ffhq"),
        "ada_aug_p": 0.0,
    }
    torch.save(checkpoint, tmp_path / "550000.pt")
    return tmp_path / "550000.pt"


def test_official_checkpoint_opens(official: Path, tmp_path: Path) -> None:
    model = StyleGAN2.from_official(official)
    assert (model.image_size, model.networks.style_dim, model.networks.num_layers) == (64, 8, 10)
    state = torch.load(official, weights_only=False)
    constant = model.inference_networks.get_parameter("synthesis.constant")
    assert torch.equal(constant, state["g_ema"]["input.input"])
    skip = model.discriminator.get_parameter("blocks.0.skip.weight")
    assert torch.equal(skip, state["d"]["convs.1.skip.1.weight"])

    assert main(["convert", "stylegan2", str(official), str(tmp_path / "model")]) == 0
    opened = StyleGAN2.from_pretrained(tmp_path / "model")
    assert torch.equal(opened.sample(2), model.sample(2))
    assert torch.equal(opened.discriminator(opened.sample(2)), model.discriminator(model.sample(2)))


def test_what_a_checkpoint_lacks_is_not_passed_on(official: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(official, weights_only=False)
    del checkpoint["d"]
    torch.save(checkpoint, official)
    assert main(["convert", "stylegan2", str(official), str(tmp_path / "model")]) == 0
    assert StyleGAN2.from_pretrained(tmp_path / "model").lacks_discriminator


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"g_ema": {}, "g": {}}, "no generator"),
        ({"h": {"weight": torch.zeros(1)}}, "unknown entry 'h'"),
        ({"d": {"convs.0.0.weight": torch.zeros(8, 3, 1, 1)}}, "lacks"),
    ],
)
def test_other_checkpoints_are_refused(official: Path, change: Any, message: str) -> None:
    torch.save(torch.load(official, weights_only=False) | change, official)
    with pytest.raises(ValueError, match=message):
        StyleGAN2.from_official(official)


def test_penalties_are_steps_of_their_own() -> None:
    model = STYLEGAN2(r1_interval=2, path_interval=3)
    training = fit(model, loader(14, 2))
    assert model.updates == 7
    assert training.global_step == 2 * 7 + 4 + 3  # r1 at 0, 2, 4, 6, path length at 0, 3, 6
    assert model.path_mean > 0
    without = STYLEGAN2(r1_weight=0.0, path_weight=0.0)
    assert fit(without, loader(14, 2)).global_step == 2 * 7


def test_adam_is_corrected_for_the_additional_steps() -> None:
    rates = {"generator_lr": 1e-3, "discriminator_lr": 2e-3}
    generator, discriminator = STYLEGAN2(**rates, betas=(0.5, 0.9)).configure_optimizers()
    for optimizer, lr, share in ((generator, 1e-3, 0.8), (discriminator, 2e-3, 16 / 17)):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(lr * share)
        assert optimizer.param_groups[0]["betas"] == pytest.approx((0.5**share, 0.9**share))
    plain, _ = STYLEGAN2(**rates, path_weight=0.0).configure_optimizers()
    assert plain.param_groups[0]["lr"] == 1e-3


def test_a_generator_without_a_rate_waits_for_the_discriminator() -> None:
    model = STYLEGAN2(generator_lr=0.0)
    before = {name: value.clone() for name, value in model.named_parameters()}
    fit(model, loader(4, 2))
    for name, value in model.networks.named_parameters():
        assert torch.equal(value, before[f"networks.{name}"])
    assert any(
        not torch.equal(value, before[f"discriminator.{name}"])
        for name, value in model.discriminator.named_parameters()
    )


def test_mixing_changes_codes_at_one_layer() -> None:
    latents = STYLEGAN2(mixing=1.0)._draw_latents(64)
    changes = (latents[:, 1:] != latents[:, :-1]).any(2)
    assert (changes.sum(1) == 1).all()
    assert changes.any(0).all()  # every crossover happens
    whole = STYLEGAN2(mixing=0.0)._draw_latents(8)
    assert torch.equal(whole, whole[:, :1].expand_as(whole))


def test_samples_repeat_and_truncation_brings_them_together() -> None:
    seed(0)
    model = STYLEGAN2()
    for layer in model.inference_networks.synthesis.convs:
        torch.nn.init.normal_(layer.bias)
    faces = model.sample(18, seed=3)
    assert torch.equal(faces, model.sample(18, seed=3))
    assert (faces - model.sample(18, seed=4)).abs().max() > 0.01
    spreads = [float(model.sample(8, truncation=psi).std(0).mean()) for psi in (1.0, 0.5, 0.0)]
    assert spreads[0] > spreads[1] > 0.01
    assert spreads[2] == pytest.approx(0.0, abs=1e-6)
    with torch.no_grad():
        mean = model.inference_networks.mean_latent()
        codes = torch.randn(20_000, 8)
        torch.testing.assert_close(
            mean, model.inference_networks.map(codes).mean(0), rtol=0, atol=0.05
        )


def test_every_sample_has_noise_of_its_own() -> None:
    seed(0)
    model = STYLEGAN2()
    for name, strength in model.inference_networks.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.ones_(strength)
    faces = model.sample(20, seed=1, truncation=0.0)  # one latent for all
    assert torch.equal(faces, model.sample(20, seed=1, truncation=0.0))
    for other in (faces[1], faces[17], model.sample(20, seed=2, truncation=0.0)[0]):
        assert (faces[0] - other).abs().max() > 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modulation_form": "zz"}, "auto, weights, activations, not 'zz'"),
        ({"mixing": 2.0}, "mixing=2.0"),
        ({"path_interval": 0}, "path_interval=0"),
        ({"generator_lr": -1.0}, "generator_lr=-1.0 and discriminator_lr=0.002"),
        ({"generator_lr": 0.0, "discriminator_lr": 0.0}, "one of them above"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        STYLEGAN2(**options)


def test_codes_of_samples_are_not_the_numbers_that_kernels_began_with() -> None:
    seed(0)
    model = STYLEGAN2(ema_half_life=None)
    codes: list[Tensor] = []
    mapping = model.networks.mapping
    mapping.register_forward_pre_hook(lambda _, inputs: codes.append(inputs[0]))
    model.sample(4, seed=0)
    kernel = next(mapping.parameters()).detach()
    assert torch.cosine_similarity(codes[0][:, None], kernel[None], dim=2).max() < 0.999


def test_both_players_learn_a_colour() -> None:
    seed(0)
    colour = torch.tensor([0.9, -0.9, 0.3])
    data = loader(40, 4)
    for item in data.dataset:
        item["video"] = colour[:, None, None].expand(2, 3, SIZE, SIZE).clone()
    model = STYLEGAN2(r1_weight=1.0, generator_lr=1e-2, discriminator_lr=1e-2, ema_half_life=100.0)
    before = (model.sample(8).mean((0, 2, 3)) - colour).abs().max()
    fit(model, data, max_epochs=7)
    after = (model.sample(8).mean((0, 2, 3)) - colour).abs().max()
    assert after < 0.5 * before


def test_validation_logs_the_fid_of_its_samples(tmp_path: Path) -> None:
    seed(0)
    trunk = make_layers(cfgs["D"])
    torch.save({f"features.{k}": v for k, v in trunk.state_dict().items()}, tmp_path / "vgg.pth")
    model = STYLEGAN2().initialise(vgg16=tmp_path / "vgg.pth")
    assert not [name for name in model.state_dict() if "features" in name]
    scores = trainer().validate(model, loader(6, 3), verbose=False)[0]
    wanted = FID(VGG16Pool(tmp_path / "vgg.pth"), "vgg16")
    real = torch.cat([item["video"] for item in items(6)])
    wanted.update(torch.cat([model.sample(6, seed=0), model.sample(6, seed=1)]), real)
    assert scores["val/fid"] == pytest.approx(float(wanted.compute()), rel=1e-3)
    for _ in range(2):  # each of its own frames alone
        assert trainer().test(model, loader(6, 3), verbose=False)[0]["val/fid"] == scores["val/fid"]


def test_training_goes_on_from_a_saved_model(tmp_path: Path) -> None:
    model = STYLEGAN2()
    fit(model, loader(4, 2))
    folder = model.save_pretrained(tmp_path / "model", with_discriminator=True)
    again = STYLEGAN2().initialise(model=folder)
    assert torch.equal(again.sample(2), model.sample(2))
    frames = model.sample(4)
    assert torch.equal(again.discriminator(frames), model.discriminator(frames))


class _Codes(torch.nn.Module):
    """Stands for an inversion: codes that a few numbers of a frame decide, one map per layer."""

    def __init__(self, generator: StyleGAN2Generator) -> None:
        super().__init__()
        self.generator = generator
        self.maps = torch.randn(6, 8 * 16)
        self.mean = torch.randn(8, 16)

    def encode(self, frames: Tensor) -> Tensor:
        return (frames[:, :2, 0, :3].flatten(1) @ self.maps).unflatten(1, (8, 16)) + self.mean


def modulate(generator: StyleGAN2Generator, latents: Tensor) -> Tensor:
    """The styles of all convolutions, side by side, for latents (N, 8, 16)."""
    synthesis: Any = generator.synthesis
    styles = [conv.conv.modulation(latents[:, k]) for k, conv in enumerate(synthesis.convs)]
    styles += [
        rgb.conv.modulation(latents[:, 2 * k + 1]) for k, rgb in enumerate(synthesis.to_rgbs)
    ]
    return torch.cat(styles, 1)


@torch.no_grad()
def test_samples_are_modulated_as_the_codes_of_an_inheritance() -> None:
    seed(0)
    trained, generator = (StyleGAN2Generator(SIZE, 16, 2, max_channels=8) for _ in range(2))
    inversion = _Codes(trained)
    frames = torch.randint(256, (500, 3, SIZE, SIZE), dtype=torch.uint8)
    inherit(inversion, generator, frames)
    wanted = modulate(trained, inversion.encode(to_float(frames)))
    drawn = generator.map(torch.randn(40_000, 16))
    found = modulate(generator, drawn[:, None].expand(-1, 8, -1))
    spread = wanted.var(0).mean().sqrt()
    assert (found.mean(0) - wanted.mean(0)).abs().max() < 0.05 * spread
    off = found.T.cov() - wanted.T.cov(correction=0)
    assert off.norm() < 0.05 * wanted.T.cov().norm()
    for name in ("constant", "convs.3.conv.weight", "to_rgbs.1.bias", "noise_2"):
        one, other = (x.synthesis.state_dict()[name] for x in (trained, generator))
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match="16 faces do not span 16 components"):
        inherit(inversion, generator, frames[:16])


def test_training_begins_with_an_inversion(tmp_path: Path) -> None:
    seed(0)
    sizes = {**STYLEGAN2.sizes}
    trained = Inversion(**sizes, encoder_channels=(4, 4, 8, 8), encoder_depths=(1, 1, 1, 1))
    folder = trained.save_pretrained(tmp_path / "inversion")
    data = RandomFaceDataModule(SIZE, identities=6, poses=4, val_identities=1, batch_size=4)
    model = STYLEGAN2(generator_lr=0.0, r1_weight=0.0, path_weight=0.0).initialise(inversion=folder)
    trainer(max_epochs=1, limit_train_batches=1).fit(model, data)
    for networks in (model.networks, model.inference_networks):
        kept = networks.get_parameter("synthesis.convs.2.conv.weight")
        assert torch.equal(
            kept, trained.networks.generator.get_parameter("synthesis.convs.2.conv.weight")
        )
    resumed = STYLEGAN2(r1_weight=0.0, path_weight=0.0).initialise(inversion=folder)
    resumed.trainer = SimpleNamespace(ckpt_path="last.ckpt", world_size=2, global_rank=0)
    begun = {name: value.clone() for name, value in resumed.networks.state_dict().items()}
    resumed.on_fit_start()
    assert all(torch.equal(value, begun[n]) for n, value in resumed.networks.state_dict().items())
    with pytest.raises(ValueError, match="train on a data module"):
        fit(STYLEGAN2().initialise(inversion=folder), loader(4, 2))


def test_frames_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="frames are 32 x 32, but this model has image_size=64"):
        fit(STYLEGAN2(image_size=64), loader(2, 2))
    with pytest.raises(ValueError, match="not 48"):
        StyleGAN2Generator(48)


def test_groups_of_the_deviation_divide_any_batch() -> None:
    network = StyleGAN2Discriminator(8, max_channels=4)
    assert network(torch.zeros(7, 3, 8, 8)).shape == (7, 1)
    features = torch.randn(6, 2, 4, 4)  # three at a time: 0, 2, 4 and 1, 3, 5
    deviation = minibatch_deviation(features, 4)
    for start in (0, 1):
        wanted = features[start::2].std(0, correction=0).mean()
        torch.testing.assert_close(deviation[start::2], wanted.expand(3, 1, 4, 4))
