"""Inversion: what is trained and what stays, refinement of weights, losses, released files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate
from torchvision.models import alexnet

from talkingface.losses import LPIPSLoss
from talkingface.models.components.ir_se import ArcFace
from talkingface.models.components.psp import MapToStyle, PSPEncoder
from talkingface.models.components.stylegan2 import ModulatedConv2d
from talkingface.models.components.stylegan2_generator import StyleGAN2Generator
from talkingface.models.experts.inversion.module import Inversion
from talkingface.models.experts.stylegan2.convert import convert_generator
from talkingface.models.experts.stylegan2.expert import StyleGAN2
from tests.models.test_pc_avs_parity import official
from tests.models.tiny import INVERSION, INVERSION_HYPER, SIZE, fit, items, loader, seed, trainer

FRAMES = torch.cat([item["video"] for item in items(2)])


def psnr(model: Any) -> float:
    return float(trainer().validate(model, loader(4, 4), verbose=False)[0]["val/psnr"])


def parts(model: Any, prefix: str) -> dict[str, Tensor]:
    state = model.networks.state_dict()
    return {key: value.clone() for key, value in state.items() if key.startswith(prefix)}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def inverted() -> tuple[Any, float, dict[str, Tensor]]:
    """An encoder trained on eight frames, its PSNR before, and its generator before."""
    seed(0)
    model = INVERSION(lr=3e-3)
    before, generator = psnr(model), parts(model, "generator.")
    fit(model, loader(4, 4), max_epochs=60)
    return model, before, generator


def test_encoder_learns_and_generator_stays(inverted: tuple[Any, float, Any]) -> None:
    model, before, generator = inverted
    assert psnr(model) > before + 3
    assert same(parts(model, "generator."), generator)


def test_hypernetwork_goes_on_where_the_encoder_ends(
    inverted: tuple[Any, float, Any], tmp_path: Path
) -> None:
    encoder_only = inverted[0]
    folder = encoder_only.save_pretrained(tmp_path / "inversion")
    seed(1)
    model = INVERSION_HYPER(lr=5e-3).initialise(inversion=folder)
    fixed = parts(model, "generator.") | parts(model, "encoder.")
    start = psnr(model)
    assert start == pytest.approx(psnr(encoder_only), abs=1e-3)  # its first changes are none
    fit(model, loader(4, 4), max_epochs=60)
    assert psnr(model) > start + 0.5
    assert same(parts(model, "generator.") | parts(model, "encoder."), fixed)
    opened = Inversion.from_pretrained(model.save_pretrained(tmp_path / "hyper"))
    with torch.no_grad():
        assert torch.equal(opened.reconstruct(FRAMES), model.eval().reconstruct(FRAMES))


def test_validation_by_hand(inverted: tuple[Any, float, Any]) -> None:
    model = inverted[0].eval()
    video = torch.stack([item["video"] for item in items(4)]).flatten(0, 1)
    with torch.no_grad():
        images = model.networks.generator(model.invert(video)).clamp(-1, 1)
        assert torch.equal(images, model.reconstruct(video))
    errors = (images - video).square().mean((1, 2, 3))
    assert psnr(model) == pytest.approx(float((10 * torch.log10(4 / errors)).mean()), abs=1e-3)


def test_latents_start_from_the_average_of_the_averaged_generator(tmp_path: Path) -> None:
    seed(0)
    model = INVERSION()
    sizes = ("image_size", "style_dim", "mapping_layers", "channel_multiplier", "max_channels")
    painter = StyleGAN2(**{name: model.hparams[name] for name in sizes})
    for value in painter.networks.parameters():  # apart from its average, as training brings them
        nn.init.zeros_(value)
    model.initialise(stylegan2=painter.save_pretrained(tmp_path / "stylegan2"))
    averaged = painter.inference_networks.state_dict()
    assert same({f"generator.{k}": v for k, v in averaged.items()}, parts(model, "generator."))
    average = model.networks.generator.mean_latent()
    assert average.abs().max() > 0.01
    for head in model.networks.encoder.styles:
        nn.init.zeros_(head.linear.weight)
    with torch.no_grad():
        latents = model.invert(FRAMES)
    torch.testing.assert_close(latents, average.expand_as(latents))


class _Fixed(nn.Module):
    """A hypernetwork that always says the same, and keeps what it has seen."""

    def __init__(self, changes: list[Tensor]) -> None:
        super().__init__()
        self.changes, self.seen = changes, [torch.empty(0)][:0]

    def forward(self, images: Tensor, painted: Tensor) -> list[Tensor]:
        self.seen.append(painted)
        return self.changes


def test_refinements_multiply_the_kernels() -> None:
    seed(0)
    model = INVERSION_HYPER(refinements=3).eval()
    networks = model.networks
    convolutions = [
        x for x in networks.generator.synthesis.convs.modules() if isinstance(x, ModulatedConv2d)
    ]
    changes = [0.2 * torch.randn(1, *x.weight.shape[:2], 1, 1) for x in convolutions]
    assert [tuple(x.shape[1:]) for x in networks.hyper(FRAMES, FRAMES)] == [
        tuple(x.shape[1:]) for x in changes
    ]
    networks.hyper = _Fixed(changes)
    with torch.no_grad():
        latents = model.invert(FRAMES)
        refined = [x for x, _ in networks.refinements(FRAMES, latents, 3)]
        assert torch.equal(model.reconstruct(FRAMES), refined[-1].clamp(-1, 1))
        assert all(map(torch.equal, networks.hyper.seen[:3], refined[:3]))
        assert torch.equal(refined[0], networks.generator(latents))
        for layer, change in zip(convolutions, changes, strict=True):
            layer.weight.mul_(1 + 3 * change[0])
        torch.testing.assert_close(networks.generator(latents), refined[3], rtol=0, atol=1e-4)
    assert (refined[3] - refined[0]).abs().mean() > 0.01


def test_small_changes_are_not_rounded_away() -> None:
    seed(0)
    networks = INVERSION_HYPER().eval().networks
    changes = [
        (0.002 * torch.randn(1, *x.weight.shape[:2], 1, 1)).bfloat16()
        for x in networks.generator.synthesis.convs.modules()
        if isinstance(x, ModulatedConv2d)
    ]
    networks.hyper = _Fixed(changes)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for _, offsets in networks.refinements(FRAMES, networks.encode(FRAMES), 5):
            last = offsets
        layer = ModulatedConv2d(8, 8, 3, style_dim=4)
        x, style = torch.randn(1, 8, 5, 5), torch.randn(1, 4)
        change = 0.0018 * torch.tensor([1.0, -1.0] * 4)[:, None, None].bfloat16()  # 1 + it is 1
        assert not torch.equal(layer(x, style, change[None, None]), layer(x, style))
    for total, change in zip(last, changes, strict=True):
        torch.testing.assert_close(total, 5 * change.float())


def test_widest_convolutions_share_a_decoder() -> None:
    hyper = INVERSION_HYPER().networks.hyper
    assert len(hyper.blocks) == 7  # convolutions of a generator of 32 px
    assert sorted(hyper.decoders) == ["5", "6"]  # 8 to 4 channels, 4 to 4


def test_loss_by_hand() -> None:
    seed(0)
    weights = {"l2_weight": 2.0, "lpips_weight": 3.0, "identity_weight": 5.0}
    model = INVERSION(**weights)
    logged: dict[str, Tensor] = {}
    model.log_dict, model.log = lambda values: logged.update(values), lambda *_, **__: None
    model._judges = {
        "lpips": _Judge(lambda fake, real: (fake - real).abs().mean()),
        "identity": _Judge(lambda fake, real: (fake - real).square().sum()),
    }
    batch: Any = default_collate(items(2))
    model.eval()
    loss = model.training_step(batch, 0)
    frames = batch["video"].flatten(0, 1)
    error = model.networks(frames) - frames
    expected = 2 * error.square().mean() + 3 * error.abs().mean() + 5 * error.square().sum()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(logged["train/lpips"], 3 * error.abs().mean())


class _Judge(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        return self.function(fake, real)


def test_judges_measure_and_leave_no_trace(tmp_path: Path) -> None:
    seed(0)
    torch.save(alexnet().state_dict(), tmp_path / "alexnet.pth")
    options = {"lpips_weight": 0.8, "identity_weight": 0.1, "identity": "identity-reader"}
    model = INVERSION(**options).initialise(alexnet=tmp_path / "alexnet.pth")
    training = fit(model, loader(4, 4))
    scores = trainer().validate(model, loader(4, 4), verbose=False)[0]
    video = torch.stack([item["video"] for item in items(4)]).flatten(0, 1)
    with torch.no_grad():
        expected = LPIPSLoss(tmp_path / "alexnet.pth")(model.eval().reconstruct(video), video)
    assert scores["val/lpips"] == pytest.approx(float(expected), abs=1e-5)
    training.save_checkpoint(tmp_path / "run.ckpt")
    names = torch.load(tmp_path / "run.ckpt", weights_only=True)["state_dict"]
    assert {name.split(".")[0] for name in names} == {"networks"}
    folder = model.save_pretrained(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    assert config["hparams"]["identity"] == "identity-reader"


def test_trunk_starts_from_arcface(tmp_path: Path) -> None:
    seed(0)
    arcface = ArcFace()
    torch.save(arcface.state_dict(), tmp_path / "model_ir_se50.pth")
    sizes = {"encoder_channels": (64, 128, 256, 512), "encoder_depths": (3, 4, 14, 3)}
    model = INVERSION(**sizes)
    heads = parts(model, "encoder.styles.")
    model.initialise(trunk=tmp_path / "model_ir_se50.pth")
    encoder = model.networks.encoder.state_dict()
    wanted = {k: v for k, v in arcface.state_dict().items() if not k.startswith("output_layer")}
    assert len(wanted) > 300 and same(wanted, encoder)
    assert same(heads, parts(model, "encoder.styles."))


def test_generator_can_learn_with_the_encoder() -> None:
    seed(0)
    model = INVERSION(train_generator=True, lr=1e-3, lr_factors={"generator": 3.0})
    optimizer = model.configure_optimizers()
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    parts = (
        model.networks.encoder.input_layer[0].weight,
        model.networks.generator.synthesis.constant,
    )
    assert [rates[id(part)] for part in parts] == pytest.approx([1e-3, 3e-3])
    before = [part.detach().clone() for part in parts]
    fit(model, loader(4, 4), max_epochs=1)
    assert all((part != old).any() for part, old in zip(parts, before, strict=True))
    with pytest.raises(ValueError, match=r"refinements=0: give a hypernetwork at least 1"):
        INVERSION_HYPER(refinements=0)
    with pytest.raises(ValueError, match="identity-reader, not 'vgg'"):
        INVERSION(identity="vgg")
    with pytest.raises(ValueError, match="leave train_generator off"):
        INVERSION_HYPER(train_generator=True)


def test_styles_vary_with_the_map_from_the_start() -> None:
    seed(0)
    maps = torch.randn(64, 32, 16, 16)
    styles = MapToStyle(32, 32, side=16)(maps)
    # He's distribution keeps the mean square but for the border; PyTorch's own takes 5/6 of it in
    # each of the four convolutions.
    assert styles.std(0).mean() > 0.15


@pytest.fixture(scope="module")
def psp_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PSPEncoder]:
    """A file laid out as ``psp_ffhq_encode.pt``, of a generator of 64 px and a small encoder."""
    seed(0)
    encoder = PSPEncoder(64, 10, 512, (4, 4, 8, 8), (1, 1, 1, 1)).eval()
    state = {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
    generator = official("stylegan2_g64_cm1")
    state |= {f"decoder.{key}": value for key, value in generator.items()}
    content = {
        "state_dict": state,
        "latent_avg": torch.randn(10, 512),
        "opts": {"lpips_lambda": 0.8},
    }
    path = tmp_path_factory.mktemp("psp") / "psp_ffhq_encode.pt"
    torch.save(content, path)
    return path, encoder


SMALL: dict[str, Any] = {"encoder_channels": (4, 4, 8, 8), "encoder_depths": (1, 1, 1, 1)}


def test_released_checkpoint_opens(psp_file: tuple[Path, PSPEncoder]) -> None:
    path, encoder = psp_file
    model = Inversion.from_official(path, **SMALL)
    assert model.image_size == 64 and not model.training
    generator = StyleGAN2Generator(64, channel_multiplier=1).eval()
    generator.load_state_dict(convert_generator(official("stylegan2_g64_cm1"), generator))
    frames = nn.functional.interpolate(FRAMES, (64, 64))
    average = torch.load(path, weights_only=True)["latent_avg"]
    with torch.no_grad():
        latents = encoder(frames) + average
        torch.testing.assert_close(model.invert(frames), latents)
        torch.testing.assert_close(model.reconstruct(frames), generator(latents).clamp(-1, 1))


def test_a_hypernetwork_begins_on_a_released_checkpoint(psp_file: tuple[Path, PSPEncoder]) -> None:
    plain, hyper = (
        Inversion.from_official(psp_file[0], **SMALL, **options)
        for options in ({}, {"hyper": True, "hyper_channels": (4, 4, 4, 4), "hyper_dim": 4})
    )
    assert hyper.networks.hyper is not None
    frames = nn.functional.interpolate(FRAMES, (64, 64))
    with torch.no_grad():  # its last map begins at zero
        torch.testing.assert_close(hyper.reconstruct(frames), plain.reconstruct(frames))


def test_other_checkpoints_are_refused(psp_file: tuple[Path, PSPEncoder], tmp_path: Path) -> None:
    torch.save({"g_ema": {"x": torch.zeros(1)}}, tmp_path / "stylegan2.pt")
    with pytest.raises(ValueError, match=r"not a checkpoint of pSp: it holds 'g_ema\.x'"):
        Inversion.from_official(tmp_path / "stylegan2.pt")
    content = torch.load(psp_file[0], weights_only=True)
    del content["state_dict"]["encoder.latlayer1.bias"]
    torch.save(content, tmp_path / "cut.pt")
    with pytest.raises(ValueError, match=r"lacks 1 tensors, first of all 'latlayer1\.bias'"):
        Inversion.from_official(tmp_path / "cut.pt", **SMALL)


def test_only_a_generator_that_learnt_nothing_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = INVERSION(identity_weight=0.0)
    torch.nn.init.normal_(trained.networks.generator.get_parameter("synthesis.to_rgbs.0.bias"))
    folder = trained.save_pretrained(tmp_path / "model")
    INVERSION(identity_weight=0.0).initialise(inversion=folder).setup("fit")
    assert "never trained" not in caplog.text
    INVERSION(identity_weight=0.0).setup("fit")
    assert "never trained" in caplog.text


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"--init\.alexnet FILE"):
        fit(INVERSION(lpips_weight=0.8), loader(2, 2))
    with pytest.raises(
        FileNotFoundError, match=r"arcface needs its weights.*--init\.identity FILE"
    ):
        fit(INVERSION(identity_weight=0.1, identity="arcface"), loader(2, 2))
    with pytest.raises(ValueError, match=rf"\(1, 3, 64, 64\).*--data.size {SIZE}"):
        INVERSION().invert(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match="no hypernetwork"):
        INVERSION().networks(FRAMES, iterations=1)
    from talkingface.models.experts.readers import IdentityReader

    folder = IdentityReader(2, 32, channels=(8, 8), dim=4).save_pretrained(tmp_path / "reader")
    with pytest.raises(ValueError, match="IdentityReader, which has no StyleGAN2 generator"):
        INVERSION().initialise(stylegan2=folder)
