"""The networks of PC-AVS give the numbers that the authors' code gives with the same weights."""

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from talkingface.models.components.audio_frontends import PCAVSMel
from talkingface.models.components.discriminators import MultiscaleDiscriminator
from talkingface.models.components.stylegan2 import ModulatedConv2d, ModulationForm
from talkingface.models.components.vgg import VGG19Features
from talkingface.models.pc_avs.convert import convert_discriminator, convert_state_dicts
from talkingface.models.pc_avs.networks import PCAVSNetworks
from tests.fixtures import fill

FIXTURES = Path(__file__).parents[1] / "fixtures"


def official(name: str) -> dict[str, Tensor]:
    state = fill.state_from_manifest(FIXTURES / "manifest" / f"{name}.json")
    return {key: torch.from_numpy(values) for key, values in state.items()}


def image(tag: str, count: int = 1, size: int = 224) -> Tensor:
    return torch.from_numpy(fill.inp_image(tag, count, size, size))


def normal(tag: str, *shape: int) -> Tensor:
    return torch.from_numpy(fill.inp_normal(tag, shape))


def mel_window(tag: str, count: int = 1) -> Tensor:
    return torch.from_numpy(fill.inp_uniform(tag, (count, 1, 80, 20)))


def check(actual: Tensor, fixture: str, output: str, tolerance: float = 1e-4) -> None:
    """Demand max |difference| / max |reference| <= tolerance."""
    wanted, _ = fill.expected(FIXTURES, fixture, output)
    error = fill.compare(actual.detach().numpy(), FIXTURES, fixture, output)
    assert error <= tolerance * np.abs(wanted).max(), (fixture, output, error)


def tap(module: nn.Module) -> list[Tensor]:
    """Collect what a module puts out."""
    outputs: list[Tensor] = []
    module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    return outputs


@pytest.fixture(scope="module")
def networks() -> Iterator[PCAVSNetworks]:
    """Paper-sized networks with the official weights of the manifests, converted."""
    built = PCAVSNetworks(mapping_layers=8)
    states = {net: official(f"pcavs_net{net}") for net in ("V", "E", "A_sync", "G")}
    converted, dropped = convert_state_dicts(states, built)
    assert dropped == []
    built.load_state_dict(converted)
    with torch.inference_mode():
        yield built.eval()


def test_identity_encoder(networks: PCAVSNetworks) -> None:
    encoder = networks.identity_encoder
    stage = tap(encoder.trunk.stages[0])
    vector, identity_map = encoder(image("pcavs_netV/image"))
    check(stage[0], "pcavs_netV", "stage_layer1")
    check(vector, "pcavs_netV", "id_vector")
    check(identity_map, "pcavs_netV", "id_map")
    check(encoder.classify(vector), "pcavs_netV", "cls_scores")


def test_identity_encoder_averages_references(networks: PCAVSNetworks) -> None:
    encoder = networks.identity_encoder
    vector, identity_map = encoder(image("pcavs_netV/image3", 3)[None])
    check(vector, "pcavs_netV_3inputs", "id_vector")
    check(identity_map, "pcavs_netV_3inputs", "id_map")
    check(encoder.classify(vector), "pcavs_netV_3inputs", "cls_scores")


def test_non_identity_encoder(networks: PCAVSNetworks) -> None:
    encoder = networks.non_identity_encoder
    to_pose = tap(encoder.to_pose)
    feature = encoder(image("pcavs_netE/image"))
    content, pose = encoder.content(feature), encoder.pose(feature)
    check(feature, "pcavs_netE", "noid_feature")
    check(content, "pcavs_netE", "to_mouth")
    check(encoder.content_code(content), "pcavs_netE", "mouth_embed")
    check(encoder.classify_content(content), "pcavs_netE", "mouth_fc")
    check(to_pose[0], "pcavs_netE", "to_headpose")
    check(pose, "pcavs_netE", "headpose_embed")
    check(encoder.classify_pose(pose), "pcavs_netE", "headpose_fc")
    check(encoder.classify(feature), "pcavs_netE", "classifier")


def test_audio_encoder(networks: PCAVSNetworks) -> None:
    encoder = networks.audio_encoder
    stage = tap(encoder.trunk.stages[0])
    content = encoder(mel_window("pcavs_netA_sync/mel"))
    check(stage[0], "pcavs_netA_sync", "stage_layer1")
    check(content, "pcavs_netA_sync", "audio_feature")
    check(encoder.classify(content), "pcavs_netA_sync", "cls_scores")


def test_generator(networks: PCAVSNetworks) -> None:
    generator = networks.generator
    synthesis = generator.synthesis
    styles = [
        tap(synthesis.get_submodule(f"to_rgbs.{level}.conv.modulation")) for level in range(6)
    ]
    rgb = tap(synthesis.to_rgbs[0])
    style = normal("pcavs_netG/style", 1, 2560)
    identity_map = normal("pcavs_netG/idmap", 1, 512, 7, 7)
    check(generator(style, identity_map), "pcavs_netG", "image")
    check(rgb[0], "pcavs_netG", "rgb_7x7")
    for level, outputs in enumerate(styles):
        check(outputs[0][:, None, :, None, None], "pcavs_netG", f"style_rgb_{level}")


@pytest.mark.parametrize("form", ["weights", "activations"])
def test_generator_from_the_learned_constant_in_both_forms(
    networks: PCAVSNetworks, form: ModulationForm
) -> None:
    convolutions = [m for m in networks.modules() if isinstance(m, ModulatedConv2d)]
    for convolution in convolutions:
        convolution.form = form
    style = normal("pcavs_netG/style", 1, 2560)
    check(networks.generator(style), "pcavs_netG", "image_const_input")
    for convolution in convolutions:
        convolution.form = "auto"


def test_mapping_network(networks: PCAVSNetworks) -> None:
    mapping = networks.generator.mapping
    assert mapping is not None
    check(mapping(normal("pcavs_netG/style", 1, 2560)), "pcavs_netG", "style_mlp")


@pytest.mark.parametrize(
    ("fixture", "batch", "references"), [("pcavs_e2e", 2, 1), ("pcavs_e2e_3inputs", 1, 3)]
)
def test_inference_path(networks: PCAVSNetworks, fixture: str, batch: int, references: int) -> None:
    source = image(f"{fixture}/input", batch * references).view(batch, references, 3, 224, 224)
    mel, driving = mel_window(f"{fixture}/mel", batch), image(f"{fixture}/pose", batch)
    check(networks(source, mel, driving, content_scale=1.2), fixture, "pose_driven_image")

    vector, identity_map = networks.identity_encoder(source)
    encoder = networks.non_identity_encoder
    content = 1.2 * networks.audio_encoder(mel)
    mean = encoder(source.flatten(0, 1)).view(batch, references, -1).mean(1)
    fixed = networks.style(vector, content, encoder.pose(mean))
    driven = networks.style(vector, content, encoder.pose(encoder(driving)))
    check(identity_map, fixture, "id_map")
    check(fixed, fixture, "style_fixed")
    check(driven, fixture, "style_driven")
    check(networks.generator(fixed, identity_map), fixture, "fixed_pose_image")


def test_discriminator() -> None:
    discriminator = MultiscaleDiscriminator().eval()
    discriminator.load_state_dict(convert_discriminator(official("pcavs_netD"), discriminator))
    frames = image("pcavs_netD/image")
    with torch.inference_mode():
        outputs = discriminator(frames)
    assert torch.equal(outputs[0][0], frames)
    for scale, features in enumerate(outputs):
        assert len(features) == 6
        for layer in range(1 - scale, 6):
            check(features[layer], "pcavs_netD", f"D{scale}_out{layer}")


def test_vgg() -> None:
    vgg = VGG19Features()
    state = official("pcavs_vgg19")
    vgg.load_state_dict({f"features.{key.split('.', 1)[1]}": state[key] for key in state})
    with torch.inference_mode():
        features = vgg(image("pcavs_vgg/x", size=64))
        wanted = vgg(image("pcavs_vgg/y", size=64))
    for level, feature in enumerate(features, start=1):
        check(feature, "pcavs_vggloss", f"relu{level}_1")
    weights = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1)
    loss = sum(w * F.l1_loss(x, y) for w, x, y in zip(weights, features, wanted, strict=True))
    check(torch.as_tensor(loss), "pcavs_vggloss", "loss")


@pytest.fixture(scope="module")
def utterance() -> tuple[Tensor, Tensor]:
    with wave.open(str(FIXTURES / "audio_input.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    audio = torch.from_numpy(samples.astype(np.float32) / 2**15)
    return audio, 0.1 / audio.square().mean().sqrt()


def test_mel_of_an_utterance(utterance: tuple[Tensor, Tensor]) -> None:
    check(PCAVSMel().utterance(*utterance), "audio_pcavs_mel", "mel", tolerance=1e-3)


def test_mel_windows_of_frames(utterance: tuple[Tensor, Tensor]) -> None:
    audio, gain = utterance
    windows = PCAVSMel()(F.pad(audio, (3200, 3200))[None], gain[None])[0]
    assert windows.shape == (50, 1, 80, 20)
    frames, _ = fill.expected(FIXTURES, "audio_pcavs_mel", "frame_indices")
    check(windows[frames.astype(int)], "audio_pcavs_mel", "windows", tolerance=1e-3)
