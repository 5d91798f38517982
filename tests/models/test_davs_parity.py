"""The networks of DAVS give the numbers that the authors' code gives with the same weights."""

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from talkingface.models.components.audio_frontends import DAVSMFCC
from talkingface.models.davs.convert import ROLES, convert_network
from talkingface.models.davs.discriminators import (
    DomainDiscriminator,
    MapWordClassifier,
    SpeakingDiscriminator,
    VectorWordClassifier,
)
from talkingface.models.davs.networks import (
    DAVSNetworks,
    PersonClassifier,
    VGGMDecoder,
    VGGMEncoder,
)
from tests.fixtures import fill

FIXTURES = Path(__file__).parents[1] / "fixtures"
MANIFESTS = {
    "ID_encoder": "davs_id_encoder",
    "lip_feature_encoder": "davs_lip_encoder",
    "mfcc_encoder": "davs_mfcc_encoder",
    "Decoder": "davs_decoder",
    "model_fusion": "davs_model_fusion",
}


def official(name: str) -> dict[str, Tensor]:
    """A network's tensors as the released checkpoint has them: data-parallel, without counters."""
    state = fill.state_from_manifest(FIXTURES / "manifest" / f"{name}.json")
    return {
        f"module.{key}": torch.from_numpy(values)
        for key, values in state.items()
        if "num_batches_tracked" not in key
    }


def filled(network: nn.Module, name: str, manifest: str) -> nn.Module:
    """A network with the official weights of a manifest, converted."""
    network.load_state_dict(convert_network(name, official(manifest), network))
    return network.eval()


def image(tag: str, count: int = 1, channels: int = 3) -> Tensor:
    return torch.from_numpy(fill.inp_image(tag, count, 256, 256, lo=0, hi=1, c=channels))


def normal(tag: str, *shape: int, scale: float = 1.0) -> Tensor:
    return torch.from_numpy(fill.inp_normal(tag, shape, scale))


def check(actual: Tensor, fixture: str, output: str, tolerance: float = 1e-4) -> None:
    """Demand max |difference| <= tolerance, for values of more than 1 relative to the largest."""
    wanted, _ = fill.expected(FIXTURES, fixture, output)
    error = fill.compare(actual.detach().numpy(), FIXTURES, fixture, output)
    assert error <= tolerance * max(1.0, np.abs(wanted).max()), (fixture, output, error)


@pytest.fixture(autouse=True)
def without_gradient() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def networks() -> DAVSNetworks:
    built = DAVSNetworks(num_identities=2)
    for name, manifest in MANIFESTS.items():
        filled(built.get_submodule(ROLES[name]), name, manifest)
    return built.eval()


def test_person_encoder(networks: DAVSNetworks) -> None:
    vector, maps = networks.person_encoder(image("davs_id/image"))
    check(vector, "davs_id_encoder", "id_vector")
    for level, output in enumerate(maps[1:], start=1):  # behind the stem
        check(output, "davs_id_encoder", f"net{level}")


def test_lip_encoder(networks: DAVSNetworks) -> None:
    frame = image("davs_lip/image")
    check(networks.lip_encoder.trunk(frame), "davs_lip_encoder", "heatmaps")
    check(networks.lips(frame[None]), "davs_lip_encoder", "embedding")


def test_audio_encoder(networks: DAVSNetworks) -> None:
    mfcc = normal("davs_mfcc/mfcc", 1, 20, 12, scale=3)
    square = networks.audio_encoder.square(mfcc[:, None])
    check(square[:, :, None, None], "davs_mfcc_encoder", "branch1")
    tall: list[Tensor] = []
    last = networks.audio_encoder.tall[2]
    handle = last.register_forward_hook(lambda *arguments: tall.append(arguments[-1]))
    check(networks.sound(mfcc[None]), "davs_mfcc_encoder", "embedding")
    handle.remove()
    check(tall[0], "davs_mfcc_encoder", "branch2")


def test_decoder(networks: DAVSNetworks) -> None:
    vector, word = normal("davs_dec/id", 1, 256), normal("davs_dec/mouth", 1, 256)
    skip = normal("davs_dec/net2", 1, 160, 32, 32).abs()
    frames = networks.paint(
        vector, [torch.empty(0), torch.empty(0), skip], word[None], torch.empty(0)
    )
    check(frames[0], "davs_decoder", "image")


def test_test_path_of_the_released_code(networks: DAVSNetworks) -> None:
    photo = image("davs_e2e/A")
    vector, maps = networks.person_encoder(photo)
    sound = networks.sound(normal("davs_e2e/mfcc", 3, 1, 1, 20, 12, scale=3)[:, 0])
    lips = networks.lips(image("davs_e2e/video", 3)[:, None])
    check(sound[2:], "davs_e2e", "audio_last_embedding")
    check(lips[2:], "davs_e2e", "video_last_embedding")
    for word, output in ((1.5 * sound, "audio_driven"), (0.8 * lips, "video_driven")):
        check(networks.paint(vector, maps, word.transpose(0, 1), photo)[0], "davs_e2e", output)


@pytest.mark.parametrize(("name", "frames"), [("netD", 1), ("netD_mul", 6)])
def test_discriminators(name: str, frames: int) -> None:
    network = filled(SpeakingDiscriminator(frames=frames), name, f"davs_{name}")
    mfcc = normal(f"davs_{name}/mfcc", 1, frames, 20, 12, scale=3)
    patch, joint = network(image(f"davs_{name}/image", channels=3 * frames), mfcc)
    check(patch.sigmoid(), f"davs_{name}", "patch")
    check(joint.sigmoid(), f"davs_{name}", "joint")


def test_classifiers(networks: DAVSNetworks) -> None:
    embeddings = normal("davs_cls/emb", 1, 12, 256)
    check(networks.word_classifier(embeddings), "davs_model_fusion", "out")
    domain = filled(DomainDiscriminator(), "discriminator_audio", "davs_discriminator_audio")
    check(domain(embeddings)[0].sigmoid(), "davs_discriminator_audio", "out")
    maps = normal("davs_cls/map", 1, 1280, 64, 64).abs().view(1, 20, 64, 64, 64)
    check(
        filled(MapWordClassifier(), "ID_lip_discriminator", "davs_id_dis32")(maps),
        "davs_id_dis32",
        "out",
    )
    vectors = normal("davs_cls/idseq", 1, 5120).view(1, 20, 256)
    check(filled(VectorWordClassifier(), "id_fc", "davs_id_fc")(vectors), "davs_id_fc", "out")


def test_person_classifier() -> None:
    network = PersonClassifier().eval()
    state = official("davs_face_id_fc")
    network.load_state_dict({key.removeprefix("module."): state[key] for key in state})
    check(network(normal("davs_cls/idvec", 1, 256)), "davs_face_id_fc", "out")


def test_vggm_pair() -> None:
    encoder = VGGMEncoder((64, 128, 256, 256, 512, 512, 512))
    vector, maps = filled(encoder, "vgg_encoder", "davs_vgg_encoder")(image("davs_vgg/image"))
    check(vector, "davs_vgg_encoder", "net9")
    check(maps[4], "davs_vgg_encoder", "net8")
    check(maps[3], "davs_vgg_encoder", "net7")
    head = official("davs_vgg_encoder")
    logits = F.linear(vector, head["module.fc.weight"], head["module.fc.bias"])
    check(logits, "davs_vgg_encoder", "logits")
    decoder = filled(VGGMDecoder(), "vgg_decoder", "davs_vgg_decoder")
    code = torch.cat([normal("davs_vgg/id", 1, 512), normal("davs_vgg/mouth", 1, 256)], 1)
    frames = decoder(code, normal("davs_vgg/skip", 1, 512, 32, 32).abs())
    check(frames, "davs_vgg_decoder", "image")


def test_mfcc() -> None:
    with wave.open(str(FIXTURES / "audio_input.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    audio = torch.from_numpy(samples.astype(np.float32) / 2**15)
    front_end = DAVSMFCC()
    check(front_end.filters.T, "audio_davs_mfcc", "filterbank", tolerance=1e-5)
    windows = front_end(F.pad(audio, (3200, 3200))[None])[0]
    assert windows.shape == (50, 20, 12)
    frames, _ = fill.expected(FIXTURES, "audio_davs_mfcc", "frame_indices")
    check(windows[frames.astype(int)], "audio_davs_mfcc", "windows", tolerance=1e-3)
