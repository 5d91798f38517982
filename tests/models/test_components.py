"""The shared networks, against explicit formulas and reference libraries."""

import math
import subprocess
import sys
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnext50_32x4d, vgg19_bn
from torchvision.models.vgg import VGG19_Weights

from talkingface.models.components.audio_encoders import ResNetSE
from talkingface.models.components.audio_frontends import PCAVSMel
from talkingface.models.components.discriminators import MultiscaleDiscriminator
from talkingface.models.components.fan import FAN, HeatmapPool
from talkingface.models.components.identity_encoder import IdentityEncoder
from talkingface.models.components.resnext import ResNeXt
from talkingface.models.components.stylegan2 import (
    AdaINConv2d,
    Blur,
    EqualLinear,
    ModulatedConv2d,
    Modulation,
    ModulationForm,
    StyledConv,
    Upsample,
)
from talkingface.models.components.stylegan2_generator import Synthesis
from talkingface.models.components.vgg import VGG19Features, VGGFaceFeatures
from talkingface.models.pc_avs.networks import Generator, NonIdentityEncoder, PCAVSNetworks

FIR = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])).double() / 64


def insert_zeros(x: Tensor) -> Tensor:
    """Put a zero after every row and column."""
    spread = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    spread[..., ::2, ::2] = x
    return spread


def filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """Correlate every channel with one kernel, without padding."""
    return torch.cat([F.conv2d(c, kernel[None, None]) for c in x.split(1, 1)], 1)


def modulated_by_definition(conv: ModulatedConv2d, x: Tensor, style: Tensor) -> Tensor:
    """Equations 1 to 3 of the StyleGAN2 paper, one sample at a time."""
    affine, outputs = conv.modulation, []
    for sample, code in zip(x, style, strict=True):
        scales = affine.weight @ code / math.sqrt(len(code)) + affine.bias
        weight = conv.weight / math.sqrt(conv.weight[0].numel()) * scales[None, :, None, None]
        if conv.demodulate:
            norms = weight.square().sum((1, 2, 3), keepdim=True)
            weight = weight / torch.sqrt(norms + 1e-8)
        if conv.blur is None:
            outputs.append(F.conv2d(sample[None], weight, padding=weight.shape[-1] // 2))
        else:
            # transposed convolution = zero insertion, then convolution with the flipped kernel
            spread = F.pad(insert_zeros(sample[None]), (2, 1, 2, 1))
            doubled = F.conv2d(spread, weight.flip(2, 3))
            outputs.append(filtered(F.pad(doubled, (1, 1, 1, 1)), 4 * FIR))
    return torch.cat(outputs)


@pytest.mark.parametrize("form", ["weights", "activations"])
@pytest.mark.parametrize(
    ("kernel", "demodulate", "upsample"),
    [(3, True, False), (3, True, True), (1, False, False), (3, False, True)],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_both_forms_are_the_papers_equations(
    form: ModulationForm, kernel: int, demodulate: bool, upsample: bool, batch: int
) -> None:
    conv = ModulatedConv2d(5, 4, kernel, 6, demodulate, upsample, form).double()
    x = torch.randn(batch, 5, 4, 7, dtype=torch.float64, requires_grad=True)
    style = torch.randn(batch, 6, dtype=torch.float64, requires_grad=True)
    inputs = [x, style, *conv.parameters()]

    actual, wanted = conv(x, style), modulated_by_definition(conv, x, style)
    torch.testing.assert_close(actual, wanted, rtol=1e-10, atol=1e-10)

    direction = torch.randn_like(wanted)
    gradients = torch.autograd.grad(actual, inputs, direction)
    by_definition = torch.autograd.grad(wanted, inputs, direction)
    torch.testing.assert_close(gradients, by_definition, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("layer", "batch", "side", "form"),
    [
        ((256, 256, 3, False), 8, 3, "activations"),  # far more kernel than image
        ((256, 256, 3, False), 1, 3, "activations"),
        ((128, 128, 3, False), 8, 112, "weights"),  # far more image than kernel
        ((128, 64, 3, True), 8, 56, "activations"),  # transposed in groups: never
        ((128, 64, 3, True), 1, 56, "weights"),
        ((32, 3, 1, False), 8, 96, "weights"),
    ],
)
def test_form_follows_the_measurements(
    layer: tuple[int, int, int, bool], batch: int, side: int, form: str
) -> None:
    conv = ModulatedConv2d(*layer[:3], style_dim=2, upsample=layer[3])
    assert conv.pick_form(torch.empty(batch, layer[0], side, side, device="meta")) == (
        "activations" if batch > 1 else form  # on accelerators, grouped convolutions never
    )
    assert conv.pick_form(torch.empty(batch, layer[0], side, side)) == form


@pytest.mark.parametrize("upsample", [False, True])
def test_half_precision_stays_near_full_precision(upsample: bool) -> None:
    conv = ModulatedConv2d(64, 32, 3, 16, upsample=upsample)
    x, style = torch.randn(4, 64, 12, 12), torch.randn(4, 16)
    wanted = conv(x, style)
    for form in ("weights", "activations"):
        conv.form = form
        with torch.autocast("cpu", torch.bfloat16):
            actual = conv(x, style)
        error = (actual.float() - wanted).square().mean().sqrt() / wanted.square().mean().sqrt()
        assert error < 0.01  # a bfloat16 has 8 bits


def test_demodulation_gives_unit_variance_whatever_the_style() -> None:
    conv = ModulatedConv2d(64, 64, 3, 16)
    y = conv(torch.randn(4, 64, 24, 24), 100 * torch.randn(4, 16))[..., 1:-1, 1:-1]
    torch.testing.assert_close(y.var((1, 2, 3)), torch.ones(4), rtol=0.1, atol=0)


@pytest.mark.parametrize("padding", [1, 2])
def test_blur_is_the_fir_filter(padding: int) -> None:
    x = torch.randn(2, 3, 6, 5)
    wanted = filtered(F.pad(x, (padding,) * 4), FIR.float())
    torch.testing.assert_close(Blur(padding)(x), wanted)
    torch.testing.assert_close(Blur(padding, gain=4.0)(x), 4 * wanted)


def test_upsample_is_zero_insertion_and_the_fir_filter() -> None:
    x = torch.randn(2, 3, 5, 4)
    wanted = filtered(F.pad(insert_zeros(x), (2, 1, 2, 1)), 4 * FIR.float())
    torch.testing.assert_close(Upsample()(x), wanted)


def test_equal_linear_scales_weight_and_bias() -> None:
    layer = EqualLinear(4, 3, bias=2.0, lr_multiplier=0.01)
    x = torch.randn(5, 4)
    torch.testing.assert_close(layer(x), x @ layer.weight.T * 0.01 / 2 + 2.0)
    assert 50 < layer.weight.std() < 200  # the multiplier is taken back in the initial weights


def test_adain_sets_mean_and_deviation_of_every_channel() -> None:
    conv = AdaINConv2d(8, 6, 3, 16, upsample=True)
    x, style = torch.randn(2, 8, 12, 12), torch.randn(2, 16)
    y = conv(x, style)
    torch.testing.assert_close(y.mean((2, 3)), conv.style_shift(style), atol=1e-4, rtol=1e-4)
    deviation = y.std((2, 3), correction=0)
    torch.testing.assert_close(deviation, conv.style_scale(style).abs(), atol=1e-3, rtol=1e-3)


def test_styled_conv_adds_noise_and_bias_before_the_activation() -> None:
    layer = StyledConv(4, 3, 8)
    nn.init.normal_(layer.noise_strength)
    nn.init.normal_(layer.bias)
    x, style, noise = torch.randn(2, 4, 5, 5), torch.randn(2, 8), torch.randn(1, 1, 5, 5)
    y = layer.conv(x, style) + layer.noise_strength * noise + layer.bias[:, None, None]
    wanted = math.sqrt(2) * torch.where(y > 0, y, 0.2 * y)
    torch.testing.assert_close(layer(x, style, noise), wanted)


def test_gradients_of_styled_conv() -> None:
    layer = StyledConv(2, 2, 3, upsample=True).double()
    noise = torch.randn(1, 1, 6, 6, dtype=torch.float64)
    inputs = [torch.randn(2, 2, 3, 3), torch.randn(2, 3)]
    doubles = [value.double().requires_grad_() for value in inputs]
    assert torch.autograd.gradcheck(lambda x, style: layer(x, style, noise), doubles)


def test_second_derivatives_of_styled_conv() -> None:
    """Path-length regularisation differentiates the generator's gradient."""
    layer = StyledConv(2, 2, 3, upsample=True).double()
    noise = torch.randn(1, 1, 6, 6, dtype=torch.float64)
    inputs = [torch.randn(2, 2, 3, 3), torch.randn(2, 3)]
    doubles = [value.double().requires_grad_() for value in inputs]
    assert torch.autograd.gradgradcheck(lambda x, style: layer(x, style, noise), doubles)


@pytest.mark.parametrize("upsample", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 5, 3, 3), (1, 4, 5, 3, 3), (3, 4, 1, 1, 1)])
def test_offset_changes_the_kernel_of_each_sample(shape: tuple[int, ...], upsample: bool) -> None:
    conv = ModulatedConv2d(5, 4, 3, 6, upsample=upsample)
    x, style, offset = torch.randn(3, 5, 4, 4), torch.randn(3, 6), torch.randn(shape)
    actual = conv(x, style, offset)
    kernel = conv.weight.detach().clone()
    for sample, change in enumerate(offset.expand(3, *shape[1:])):
        conv.weight.data = kernel * (1 + change)
        wanted = conv(x[sample : sample + 1], style[sample : sample + 1])
        torch.testing.assert_close(actual[sample : sample + 1], wanted, rtol=1e-4, atol=1e-5)


@pytest.fixture
def synthesis() -> Synthesis:
    network = Synthesis(24, 6, (8, 8, 4), start_channels=5)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return network


def test_every_layer_takes_its_slot(synthesis: Synthesis) -> None:
    styles = torch.randn(1, 6, 6)
    seen: dict[str, Tensor] = {}
    for name, module in synthesis.named_modules():
        if name.endswith("modulation"):
            module.register_forward_hook(
                lambda _module, inputs, _output, name=name: seen.update({name: inputs[0]})
            )
    synthesis(styles)
    slots = {"convs.0": 0, "to_rgbs.0": 1, "convs.1": 1, "convs.2": 2, "to_rgbs.1": 3}
    slots |= {"convs.3": 3, "convs.4": 4, "to_rgbs.2": 5}
    assert seen.keys() == {f"{layer}.conv.modulation" for layer in slots}
    for layer, slot in slots.items():
        assert torch.equal(seen[f"{layer}.conv.modulation"], styles[:, slot])


def test_one_style_is_that_style_in_all_slots(synthesis: Synthesis) -> None:
    style = torch.randn(2, 6)
    torch.testing.assert_close(synthesis(style), synthesis(style[:, None].repeat(1, 6, 1)))


def test_fixed_noise_repeats_and_random_noise_differs_between_samples(
    synthesis: Synthesis,
) -> None:
    style = torch.randn(1, 6).repeat(2, 1)
    fixed = synthesis(style)
    torch.testing.assert_close(fixed[0], fixed[1])
    assert torch.equal(fixed, synthesis(style))
    drawn = synthesis(style, noise="random")
    assert (drawn[0] - drawn[1]).abs().max() > 0.01
    assert (drawn - synthesis(style, noise="random")).abs().max() > 0.01


def test_given_noise_and_offsets_reach_their_layers(synthesis: Synthesis) -> None:
    style = torch.randn(2, 6)
    stored = [synthesis.get_buffer(f"noise_{layer}") for layer in range(5)]
    assert torch.equal(synthesis(style, noise=stored), synthesis(style))
    stored[4] = -stored[4]
    assert (synthesis(style, noise=stored) - synthesis(style)).abs().max() > 0.01
    change = torch.randn(1, 8, 8, 3, 3)
    changed = synthesis(style, offsets={2: change})
    assert torch.equal(synthesis(style, offsets=[None, None, change]), changed)
    kernel = synthesis.get_parameter("convs.2.conv.weight")
    kernel.data *= 1 + change[0]
    torch.testing.assert_close(synthesis(style), changed)
    with pytest.raises(ValueError, match="5 maps, got 4 maps"):
        synthesis(style, noise=stored[:4])
    with pytest.raises(ValueError, match="offset for convolution 5, the network has 0 to 4"):
        synthesis(style, offsets={5: change})


def test_start_map_replaces_the_constant(synthesis: Synthesis) -> None:
    style = torch.randn(2, 6)
    constant = synthesis.constant.detach()
    same = synthesis(style, constant.repeat(2, 1, 1, 1))
    torch.testing.assert_close(same, synthesis(style))
    other = synthesis(style, torch.randn(2, 5, 6, 6))
    assert (same - other).abs().max() > 0.01


def test_synthesis_refuses_what_does_not_fit(synthesis: Synthesis) -> None:
    with pytest.raises(ValueError, match="30 px cannot be reached by doubling 2 times"):
        Synthesis(30, 6, (8, 8, 4), start_channels=5)
    with pytest.raises(ValueError, match="got 4 styles per image, the network takes 6"):
        synthesis(torch.zeros(1, 4, 6))
    with pytest.raises(ValueError, match=r"start map of shape \(1, 5, 7, 7\)"):
        synthesis(torch.zeros(1, 6), torch.zeros(1, 5, 7, 7))


@pytest.mark.parametrize("modulation", ["weight", "adain"])
@pytest.mark.parametrize("size", [96, 64])
def test_generator_learns_in_both_modulations(modulation: Modulation, size: int) -> None:
    channels = (16, 16, 8, 8, 8, 4)
    generator = Generator(size, 24, channels, map_channels=16, modulation=modulation)
    side = size // 32
    images = generator(torch.randn(2, 24), torch.randn(2, 16, side, side), noise="random")
    assert images.shape == (2, 3, size, size)
    assert images.abs().max() <= 1
    images.square().mean().backward()
    idle = [name for name, p in generator.named_parameters() if p.grad is None]
    assert idle == ["synthesis.constant"]  # the identity map took its place


@pytest.mark.parametrize(("size", "depth"), [(96, 4), (112, 3), (64, 4), (60, 3)])
def test_fan_takes_sizes_that_do_not_halve_evenly(size: int, depth: int) -> None:
    fan = FAN(landmarks=5, channels=16, depth=depth).eval()
    assert fan(torch.zeros(1, 3, size, size)).shape == (1, 5, size // 4, size // 4)


def test_fan_refuses_other_sizes() -> None:
    with pytest.raises(ValueError, match="98 x 96; both sides must be divisible by 4"):
        FAN(channels=16)(torch.zeros(1, 3, 98, 96))
    with pytest.raises(ValueError, match="at least 64 px"):
        FAN(channels=16, depth=4)(torch.zeros(1, 3, 48, 48))


def test_fan_aligns_corners_where_asked() -> None:
    fan, aligned = FAN(5, 16, depth=2).eval(), FAN(5, 16, depth=2, align_corners=True).eval()
    aligned.load_state_dict(fan.state_dict())
    x = torch.randn(1, 3, 32, 32)
    assert (fan(x) - aligned(x)).abs().max() > 1e-4


@pytest.mark.parametrize("seed", range(5))
def test_bottleneck_of_one_channel_starts_open(seed: int) -> None:
    torch.manual_seed(seed)
    pool = HeatmapPool(68, 24, 8)
    opened = pool.conv(F.relu(pool.norm(torch.randn(4, 68, 24, 24)))) > 0
    assert 0.2 < opened.float().mean() < 0.8


def test_encoder_says_for_which_size_it_was_built() -> None:
    encoder = NonIdentityEncoder(64, 3, channels=16, landmarks=5).eval()
    with pytest.raises(ValueError, match="built for 64 px images, got 96 x 96"):
        encoder(torch.zeros(1, 3, 96, 96))


def test_resnext_is_torchvisions() -> None:
    reference, ours = resnext50_32x4d().eval(), ResNeXt().eval()
    state = {}
    for key, value in reference.state_dict().items():
        if key.startswith("layer"):
            state[f"stages.{int(key[5]) - 1}{key[6:]}"] = value
        elif not key.startswith("fc."):
            state[key.replace("conv1.", "stem.0.").replace("bn1.", "stem.1.")] = value
    ours.load_state_dict(state)
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(reference.fc(ours(x).mean((2, 3))), reference(x))


def test_resnext_of_no_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"width \* width_per_group must be at least 64"):
        ResNeXt(width=8, width_per_group=4)


def test_identity_is_the_mean_over_references() -> None:
    encoder = IdentityEncoder(7, 6, (1, 1, 1, 1), 16, 4, 16, map_size=3).eval()
    images = torch.randn(2, 3, 3, 96, 96)
    vector, identity_map = encoder(images)
    each = [encoder(images[:, n]) for n in range(3)]
    torch.testing.assert_close(vector, sum(v for v, _ in each) / 3)
    torch.testing.assert_close(identity_map, sum(m for _, m in each) / 3)


def test_audio_encoder_takes_bands_that_do_not_halve_evenly() -> None:
    encoder = ResNetSE(16, (4, 8, 8, 16), (1, 1, 1, 1), mels=76).eval()
    assert encoder(torch.rand(2, 1, 76, 17)).shape == (2, 16)


def test_discriminator_halves_without_counting_the_border() -> None:
    outputs = MultiscaleDiscriminator(channels=4, scales=3)(torch.ones(1, 3, 64, 64))
    assert [features[0].shape[-1] for features in outputs] == [64, 32, 16]
    for features in outputs:
        torch.testing.assert_close(features[0], torch.ones_like(features[0]))


def test_discriminator_layers_have_spectral_norm_one() -> None:
    discriminator = MultiscaleDiscriminator(channels=8)
    for _ in range(20):  # every forward pass in training is one more power iteration
        discriminator(torch.randn(1, 3, 32, 32))
    discriminator.eval()
    for network in discriminator.discriminators:
        for layer in (1, 2, 3):
            weight = cast(Tensor, network.get_submodule(f"layers.{layer}.0").weight)
            largest = torch.linalg.svdvals(weight.flatten(1))[0]
            torch.testing.assert_close(largest, torch.tensor(1.0), atol=0.03, rtol=0)


def test_vgg_reads_torchvisions_file(tmp_path: Path) -> None:
    source = VGG19Features()
    state = source.state_dict() | {"classifier.0.bias": torch.zeros(4096)}
    torch.save(state, tmp_path / "vgg19.pth")
    vgg = VGG19Features(tmp_path / "vgg19.pth")
    x = torch.randn(1, 3, 32, 32)
    wanted = nn.Sequential(*source.features)(x)  # whole trunk, up to relu5_1
    assert torch.equal(vgg(x)[-1], wanted)
    assert not any(parameter.requires_grad for parameter in vgg.parameters())


def test_vgg_refuses_other_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.pth: no such file"):
        VGG19Features(tmp_path / "absent.pth")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth: not a state dict of torchvision's vgg19"):
        VGG19Features(tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.pth: not a PyTorch file"):
        VGG19Features(tmp_path / "text.pth")


def test_vgg_that_cannot_be_downloaded_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_args: object, **_kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(VGG19_Weights, "get_state_dict", offline)
    with pytest.raises(FileNotFoundError, match=r"https://\S+vgg19\S+ .*no route to host.*path"):
        VGG19Features.pretrained()


def test_mel_does_not_depend_on_how_the_sound_is_cut() -> None:
    front_end, gain = PCAVSMel(), torch.ones(1)
    audio = torch.randn(1, 12 * 640 + 6400)
    whole = front_end(audio, gain)
    for first, last in [(0, 5), (5, 6), (6, 12)]:
        part = front_end(audio[:, first * 640 : last * 640 + 6400], gain)
        torch.testing.assert_close(part, whole[:, first:last], atol=1e-5, rtol=0)


def test_mel_of_silence_is_zero_and_of_loud_sound_at_most_one() -> None:
    front_end = PCAVSMel()
    assert torch.equal(front_end(torch.zeros(1, 7040), torch.ones(1)), torch.zeros(1, 1, 1, 80, 20))
    assert front_end(1000 * torch.randn(1, 7040), torch.ones(1)).max() == 1


def test_mel_puts_a_tone_into_its_slaney_band() -> None:
    # Slaney scale: below 1 kHz linear with 3 mel per 200 Hz, above it logarithmic; 80 bands have
    # 82 edges between 125 and 7600 Hz, and the peak of band b is edge b + 1.
    highest = 15 + 27 * math.log(7600 / 1000) / math.log(6.4)
    edges = np.linspace(3 * 125 / 200, highest, 82)
    for band in (40, 60):
        frequency = 1000 * 6.4 ** ((edges[band + 1] - 15) / 27)
        tone = 0.1 * torch.sin(2 * math.pi * frequency * torch.arange(7040) / 16000)
        mel = PCAVSMel()(tone[None], torch.ones(1))
        assert set(mel[0, 0, 0].argmax(0).tolist()) == {band}


def test_mel_is_computed_in_full_precision_under_autocast() -> None:
    audio, gain = torch.randn(1, 7040), torch.ones(1)
    wanted = PCAVSMel()(audio, gain)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(PCAVSMel()(audio, gain), wanted)


def test_mel_refuses_sound_that_is_not_whole_frames() -> None:
    with pytest.raises(ValueError, match=r"got 7000 samples; it takes T \* 640 \+ 6400"):
        PCAVSMel()(torch.zeros(1, 7000), torch.ones(1))


def test_all_parts_learn_from_one_generated_frame() -> None:
    networks = PCAVSNetworks(
        64,
        num_classes=10,
        identity_layers=(1, 1, 1, 1),
        identity_width=16,
        identity_groups=4,
        identity_width_per_group=16,
        fan_channels=16,
        audio_channels=(4, 8, 8, 16),
        audio_layers=(1, 1, 1, 1),
        generator_channels=(16, 16, 8, 8, 4),
        map_channels=16,
    )
    frames = networks(
        torch.randn(2, 2, 3, 64, 64), torch.rand(2, 1, 80, 20), torch.randn(2, 3, 64, 64)
    )
    frames.square().mean().backward()
    idle = {name.split(".")[1] for name, p in networks.named_parameters() if p.grad is None}
    # what only other losses train: classifiers, visual content, and the constant
    assert idle == {
        "classifier",
        "content_classifier",
        "pose_classifier",
        "to_content",
        "synthesis",
    }


def test_networks_import_without_training_libraries() -> None:
    code = (
        "import sys, talkingface.models.pc_avs.networks;"
        "print({'pytorch_lightning', 'lightning', 'av', 'kornia'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr


def test_vgg_face_features_are_torchvisions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    reference = vgg19_bn(weights=None).eval()
    torch.save(reference.state_dict(), tmp_path / "face.pth")
    network = VGGFaceFeatures(tmp_path / "face.pth")
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        for stop, features in zip((13, 21, 30, 53), network(images), strict=True):
            torch.testing.assert_close(features, reference.features[:stop](images))
    with pytest.raises(ValueError, match="vgg19 "):
        VGG19Features(tmp_path / "face.pth")
