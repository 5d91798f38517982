"""FC-TFG: which code goes where, what hears the sound, the terms of eq. 9, and editing."""

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lpips import LPIPS
from torch import Tensor, nn
from torch.utils.data import default_collate
from torchvision.models import alexnet
from torchvision.models.vgg import cfgs, make_layers

from talkingface.cli import main
from talkingface.data.batch import audio_window, to_uint8
from talkingface.data.synthetic.dataset import PEOPLE, make_clip
from talkingface.data.video import VideoClip, VideoWriter, write_image
from talkingface.models.components.audio_frontends import Wav2LipMel
from talkingface.models.components.wav2lip import Wav2LipAudioEncoder
from talkingface.models.experts.inversion.taught import TaughtInversion
from talkingface.models.experts.readers import FaceReader
from talkingface.models.fc_tfg.module import FCTFG
from talkingface.models.fc_tfg.networks import FCTFGNetworks, TemporalConv
from tests.models.tiny import (
    FC_TFG,
    INVERSION,
    SIZE,
    STYLEGAN2,
    SYNC_EXPERT,
    fit,
    items,
    loader,
    seed,
)

FRAMES = torch.cat([item["video"] for item in items(4)])  # (8, 3, 32, 32)
SOURCE = items(1)[0]["source"][0]
SOUND = 0.1 * torch.randn(8 * 640, generator=torch.Generator().manual_seed(0))
MOUTH = (0.5, 0.25, 0.75, 0.75)


@pytest.fixture(scope="module")
def model() -> FCTFG:
    seed(0)
    made: FCTFG = FC_TFG.responsive(mouth_box=MOUTH)
    return made


@pytest.fixture(scope="module")
def networks(model: FCTFG) -> FCTFGNetworks:
    assert isinstance(model.networks, FCTFGNetworks)
    return model.networks


def with_mouth(frames: Tensor, value: float) -> Tensor:
    """Frames whose mouth, rows 16 to 23 and columns 8 to 23, has one colour."""
    changed = frames.clone()
    changed[..., 16:24, 8:24] = value
    return changed


# ---------------------------------------------------------------------------------------- codes


@torch.no_grad()
def test_moved_layers_are_the_sum_and_others_the_sources(networks: FCTFGNetworks) -> None:
    codes, canonical = torch.randn(2, 8, 16), torch.randn(2, 4, 16)
    motion = torch.randn(2, 3, 4, 16)
    whole, _ = networks.fuse(codes, canonical, motion)  # temporal fusion is still the identity
    for layer in range(8):
        if layer in (1, 2, 3, 4):
            expected = canonical[:, None, layer - 1] + motion[:, :, layer - 1]
        else:
            expected = codes[:, None, layer].expand(2, 3, 16)
        torch.testing.assert_close(whole[:, :, layer], expected)


@torch.no_grad()
def test_only_the_audio_layers_hear(networks: FCTFGNetworks) -> None:
    codes = torch.randn(2, 3, 4, 16)
    first, second = (networks.motion_code(codes, torch.randn(2, 3, 1, 80, 16)) for _ in range(2))
    moved = (first - second).abs().amax((0, 1, 3)) > 1e-5
    assert moved.tolist() == [False, False, True, True]  # of layers 1, 2, 3, 4


@torch.no_grad()
def test_codes_are_not_rounded_under_autocast() -> None:
    seed(0)
    networks = FC_TFG().networks
    networks.split(4)
    codes = torch.randn(2, 8, 16)
    exact = networks.canonical_code(codes), networks.motion_code(codes[:, None, :4], None)
    with torch.autocast("cpu", torch.bfloat16):
        again = networks.canonical_code(codes), networks.motion_code(codes[:, None, :4], None)
    assert all(map(torch.equal, exact, again))


@torch.no_grad()
def test_temporal_convolution_sees_three_frames_of_a_layer() -> None:
    temporal: Any = TemporalConv(4)
    nn.init.ones_(temporal.conv.weight)
    codes = torch.zeros(1, 5, 2, 4)
    codes[0, 3, 1, 0] = 1.0
    fused, _ = temporal(codes)
    expected = torch.zeros(1, 5, 2, 4)
    expected[0, 2:5, 1] = 1.0
    torch.testing.assert_close(fused, expected)
    codes[0, 0, 0, 0] = 1.0  # at the end its neighbour is itself once more
    torch.testing.assert_close(temporal(codes)[0][0, :3, 0, 0], torch.tensor([2.0, 1.0, 0.0]))


def test_sound_is_heard_around_its_frame(model: FCTFG) -> None:
    sound = 0.1 * torch.randn(20 * 640)
    windows = Wav2LipMel().windows(sound)  # each begins with its frame
    mel = model._mel(audio_window(sound, 7, 4)[None], torch.tensor([7]))[0]
    torch.testing.assert_close(mel, windows[5:9], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"motion_layers": (1, 8)}, r"motion_layers is \(1, 8\).*0, 1, 2, 3, 4, 5, 6, 7"),
        ({"audio_layers": (5,)}, r"audio_layers is \(5,\): give layers out of 1, 2, 3, 4"),
        ({"audio_layers": (3, 3)}, "each once"),
        ({"temporal": "gru"}, "gru"),
        ({"discriminator": "frame"}, "frame"),
        ({"perceptual": "lpip"}, "lpip"),
        ({"orthogonality": "outer"}, "inner, elementwise, cosine, none, not 'outer'"),
        ({"identity": "arcfaces"}, "arcface, facenet, identity-reader, not 'arcfaces'"),
        ({"mute": 1.0}, "mute=1.0"),
        ({"mouth_weight": 2.0}, "mouth_weight=2.0 needs mouth_box"),
        ({"mouth_box": (0.5, 0.5, 0.4, 0.9)}, "top, left, bottom, right"),
        ({"orthogonality": "none", "l1_weight": 0.0, "gan_weight": 0.0}, "leave one on"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FC_TFG(**options)


# --------------------------------------------------------------------------------------- stages


def test_inversion_gives_encoder_generator_and_average(tmp_path: Path) -> None:
    stage = FC_TFG.stages["inversion"]()
    nn.init.normal_(stage.networks.average)
    stage.save_pretrained(tmp_path / "inversion")
    model = FC_TFG(ema_half_life=100.0).initialise(inversion=tmp_path / "inversion")
    frames = FRAMES[:2]
    with torch.no_grad():
        expected = stage.eval().networks.encode(frames)
        for networks in (model.eval().networks, model.inference_networks):
            torch.testing.assert_close(networks.encode(frames) + networks.average, expected)
            painted = networks.paint(networks.encode(frames))
            torch.testing.assert_close(painted, stage.networks(frames), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"holds a .*SyncExpert"):
        FC_TFG().initialise(inversion=SYNC_EXPERT().save_pretrained(tmp_path / "sync"))


def wav2lip_file(path: Path, width: int) -> Wav2LipAudioEncoder:
    """Write a checkpoint with the names of Wav2Lip's own, of which the audio encoder is a part."""
    encoder = Wav2LipAudioEncoder(width)
    state = {f"module.{key}": value for key, value in encoder.state_dict().items()}
    state["module.face_encoder_blocks.0.0.conv_block.0.weight"] = torch.zeros(16, 6, 7, 7)
    content = {"state_dict": state, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}}
    torch.save({**content, "global_step": 1}, path)
    return encoder


def test_wav2lips_audio_encoder_is_taken_out_of_its_file(tmp_path: Path) -> None:
    encoder = wav2lip_file(tmp_path / "wav2lip.pth", width=2)
    model = FC_TFG().initialise(audio=tmp_path / "wav2lip.pth")
    for name, value in encoder.state_dict().items():
        assert torch.equal(model.networks.audio_encoder.state_dict()[name], value), name
    wav2lip_file(tmp_path / "wide.pth", width=3)
    with pytest.raises(ValueError, match=r"audio_encoder\.0.*shape"):
        FC_TFG().initialise(audio=tmp_path / "wide.pth")


def test_official_audio_encoder_has_the_released_widths() -> None:
    shapes = [
        tuple(p.shape) for n, p in Wav2LipAudioEncoder().named_parameters() if "0.weight" in n
    ]
    channels = [32, 32, 32, 64, 64, 64, 128, 128, 128, 256, 256, 512, 512]
    assert [shape[0] for shape in shapes] == channels
    assert Wav2LipAudioEncoder().eval()(torch.zeros(1, 1, 80, 16)).shape == (1, 512)


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules have the same weights."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> tuple[FCTFG, Path]:
    """A model with convolution and image discriminator, and where it was saved."""
    made: FCTFG = FC_TFG()
    folder = tmp_path_factory.mktemp("earlier") / "model"
    return made, made.save_pretrained(folder, with_discriminator=True)


def test_an_lstm_begins_anew_among_the_weights_of_a_convolution(
    earlier: tuple[FCTFG, Path], caplog: pytest.LogCaptureFixture
) -> None:
    trained, folder = earlier
    model = FC_TFG(temporal="lstm", ema_half_life=100.0)
    own = {name: value.clone() for name, value in model.networks.temporal.state_dict().items()}
    model.initialise(model=folder)
    assert "another temporal fusion: this one begins anew" in caplog.text
    for networks in (model.networks, model.inference_networks):
        state = networks.temporal.state_dict()
        assert set(state) == set(own) and all(torch.equal(state[name], own[name]) for name in own)
        for name, part in trained.networks.named_children():
            assert name == "temporal" or same(part, networks.get_submodule(name)), name
    assert same(model.discriminator, trained.discriminator)
    fit(model, loader(2, 2))
    assert any(not torch.equal(own[n], p) for n, p in model.networks.temporal.named_parameters())


def test_a_video_discriminator_begins_anew_behind_one_of_images(
    earlier: tuple[FCTFG, Path], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    trained, folder = earlier
    model = FC_TFG(discriminator="video", discriminator_frames=2)
    own = {name: value.clone() for name, value in model.discriminator.state_dict().items()}
    painter = STYLEGAN2(max_channels=8).save_pretrained(tmp_path / "gan", with_discriminator=True)
    model.initialise(model=folder, stylegan2=painter)
    assert caplog.text.count("sees 3 channels, this one 6: it begins anew") == 2
    assert same(model.networks, trained.networks)
    for name, value in model.discriminator.state_dict().items():
        assert torch.equal(value, own[name]), name
    fit(model, loader(2, 2))


def test_a_stylegan2_gives_its_discriminator(tmp_path: Path) -> None:
    painter = STYLEGAN2(channel_multiplier=FC_TFG.sizes["channel_multiplier"], stddev_group=1)
    folder = painter.save_pretrained(tmp_path / "gan", with_discriminator=True)
    model = FC_TFG()
    assert not same(model.discriminator, painter.discriminator)
    assert same(model.initialise(stylegan2=folder).discriminator, painter.discriminator)
    with pytest.raises(ValueError, match=r"was saved without discriminator"):
        FC_TFG().initialise(stylegan2=painter.save_pretrained(tmp_path / "generator"))
    with pytest.raises(ValueError, match="no StyleGAN2 discriminator"):
        FC_TFG().initialise(stylegan2=INVERSION().save_pretrained(tmp_path / "inversion"))


@pytest.mark.parametrize(
    ("perceptual", "argument", "build"),
    [
        ("lpips_alex", "lpips", lambda: alexnet().features),
        ("lpips", "lpips", lambda: make_layers(cfgs["D"])),
        ("vgg19", "vgg", lambda: make_layers(cfgs["E"])),
    ],
)
def test_a_file_gives_the_features_that_are_compared(
    perceptual: Any, argument: str, build: Callable[[], Any], tmp_path: Path
) -> None:
    """LPIPS and eq. 7, computed once more from the layers that were saved."""
    layers = build()
    state = {f"features.{name}": value for name, value in layers.state_dict().items()}
    torch.save(state, tmp_path / "trunk.pth")
    options: Any = {"orthogonality": "none", "l1_weight": 0.0, "gan_weight": 0.0}
    model = FC_TFG(perceptual=perceptual, perceptual_weight=2.0, **options)
    model.initialise(**{argument: tmp_path / "trunk.pth"})
    fake, real = (default_collate(items(2, start))["video"] for start in (0, 2))
    losses = model.generator_losses({"video": real}, {"video": fake})
    pair = fake.flatten(0, 1), real.flatten(0, 1)
    if perceptual == "vgg19":
        terms = []
        for end in (2, 7, 12, 21, 30):  # behind relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1
            ours, theirs = (layers[:end](frames) for frames in pair)
            terms.append((ours - theirs).square().mean((1, 2, 3)).sqrt().mean())
        expected = torch.stack(terms).mean()
    else:
        net = "alex" if perceptual == "lpips_alex" else "vgg"
        judge = LPIPS(net=net, pnet_rand=True, verbose=False).eval()
        for name, layer in judge.net.named_modules():
            if name.count(".") == 1:  # slice2.3 is layer 3
                layer.load_state_dict(layers[int(name.split(".")[1])].state_dict())
        expected = judge(*pair).mean()
    name = perceptual.removesuffix("_alex")
    assert list(losses) == [name] and expected > 1e-3
    torch.testing.assert_close(losses[name], 2 * expected.detach(), rtol=1e-4, atol=1e-6)
    assert not [name for name in model.state_dict() if "slice" in name or "features" in name]
    fit(model, loader(2, 2))


def test_a_missing_identity_network_names_the_ways_out() -> None:
    message = r"arcface.*--init\.identity.*--model\.identity identity-reader.*identity_weight 0"
    with pytest.raises(FileNotFoundError, match=message):
        fit(FC_TFG(identity_weight=0.5), loader(2, 2))


def test_the_sync_term_needs_five_frames(tmp_path: Path) -> None:
    folder = SYNC_EXPERT().save_pretrained(tmp_path / "sync")
    with pytest.raises(ValueError, match=r"windows have 2 frames.*--data\.frames 5"):
        fit(FC_TFG(sync_weight=0.1).initialise(sync=folder), loader(2, 2))
    fit(FC_TFG(sync_weight=0.1).initialise(sync=folder), loader(2, 2, frames=5))


def test_large_frames_are_encoded_at_256_px() -> None:
    sizes = {"image_size": 512, "channel_multiplier": 0.0078125, "max_channels": 4}
    model = FC_TFG(**sizes, encoder_channels=(2, 2, 2, 2)).eval()
    small = F.interpolate(FRAMES[:1], (256, 256))
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    with torch.no_grad():
        codes = model.networks.encode(large)
        torch.testing.assert_close(codes, model.networks.encoder(small), rtol=0, atol=1e-4)
    assert model.networks.paint(codes).shape == (1, 3, 512, 512)


def test_a_missing_expert_is_asked_for() -> None:
    with pytest.raises(FileNotFoundError, match=r"sync_weight=0\.1.*--init\.sync"):
        fit(FC_TFG(sync_weight=0.1), loader(2, 2))
    with pytest.raises(FileNotFoundError, match=r"vgg16-397923af\.pth.*--init\.lpips"):
        fit(FC_TFG(perceptual_weight=1.0), loader(2, 2))


# --------------------------------------------------------------------------------------- losses


class Constant(nn.Module):
    """Answers whatever it is asked with the next of its answers."""

    def __init__(self, *answers: Any) -> None:
        super().__init__()
        self.answers = list(answers)

    def forward(self, *_: Any) -> Any:
        """Answer."""
        return self.answers.pop(0)


def test_the_terms_of_the_objective_by_hand() -> None:
    model = FC_TFG(sync_weight=0.1, identity_weight=0.5, perceptual_weight=1.0)
    model.discriminator = Constant(torch.tensor([[0.0], [0.0]]))
    visual, audio = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[1.0, 0.0]]])
    model._fixed = {
        "sync": Constant((visual, audio)),  # a cosine of 0.6
        "identity": Constant(torch.tensor(0.2)),
        "lpips": Constant(torch.tensor(0.3)),
    }
    outputs = {
        "video": torch.full((1, 2, 3, SIZE, SIZE), 0.5),
        "canonical": torch.tensor([[[1.0, 2.0], [0.0, 1.0]]]),
        "motion": torch.tensor([[[[3.0, 1.0], [5.0, 0.0]], [[0.0, 0.0], [0.0, 2.0]]]]),
    }
    batch: Any = {"video": torch.full((1, 2, 3, SIZE, SIZE), 0.25), "audio": None, "start": None}
    losses = {name: float(loss) for name, loss in model.generator_losses(batch, outputs).items()}
    assert losses == pytest.approx(
        {
            "orthogonality": (5 + 0 + 0 + 2) / 4,  # inner products, over layers and frames
            "sync": 0.1 * 0.4,
            "identity": 0.5 * 0.2,
            "l1": 0.25,
            "lpips": 0.3,
            "gan": 0.1 * math.log(2),
        }
    )
    model.discriminator = Constant(torch.zeros(2, 1), torch.full((2, 1), 2.0))
    terms = model.discriminator_losses(batch, outputs)
    assert float(terms["real"]) == pytest.approx(math.log(2))
    assert float(terms["fake"]) == pytest.approx(math.log(1 + math.exp(2)))


def test_feature_matching_compares_the_discriminators_maps() -> None:
    model = FC_TFG(feature_weight=2.0, orthogonality="none", l1_weight=0.0, gan_weight=0.0)
    fake, real = (default_collate(items(2))["video"][:, [frame]] for frame in (0, 1))
    seen: list[Tensor] = []
    for part in (model.discriminator.from_rgb, *model.discriminator.blocks):
        part.register_forward_hook(lambda _module, _input, output: seen.append(output.detach()))
    losses = model.generator_losses({"video": real}, {"video": fake})
    half = len(seen) // 2  # the real frames' come first
    distances = [(a - b).abs().mean() for a, b in zip(seen[:half], seen[half:], strict=True)]
    assert half == 4 and list(losses) == ["feature"]
    torch.testing.assert_close(losses["feature"], 2 * torch.stack(distances).sum())
    assert set(model.discriminator_losses({"video": real}, {"video": fake})) == {"real", "fake"}


def test_codes_are_drawn_to_those_of_the_target() -> None:
    seed(0)
    terms: Any = {"orthogonality": "none", "l1_weight": 0.0, "gan_weight": 0.0}
    model = FC_TFG(code_weight=3.0, seen_weight=2.0, **terms)
    model.eval()
    batch = default_collate(items(2))
    outputs = model.generate(batch)
    losses = model.generator_losses(batch, outputs)
    networks = model.networks
    fused, _ = networks.temporal(outputs["canonical"][:, None] + outputs["motion"])
    wanted = networks.encode(batch["video"].flatten(0, 1))[:, networks.motion_layers]
    again = networks.encode(outputs["video"].flatten(0, 1))[:, networks.motion_layers]
    expected = {"code": (3.0, fused.flatten(0, 1)), "seen": (2.0, again)}
    assert list(losses) == list(expected)
    assert int(model.whitening.batches) == 1  # both terms in the units of the same codes
    for name, (weight, codes) in expected.items():
        parts = []
        for layer in range(len(networks.motion_layers)):
            spread = np.cov(wanted[:, layer].detach().numpy().T, bias=True)
            values, vectors = np.linalg.eigh(spread)
            along = (codes - wanted)[:, layer].detach().numpy() @ vectors
            parts.append((along**2 / (values.clip(0) + 0.02 * values.mean() + 1e-6)).mean())
        assert losses[name].item() == pytest.approx(weight * np.mean(parts), rel=1e-3)


def test_what_is_seen_of_a_painting_leaves_the_encoder_alone() -> None:
    seed(0)
    model = FC_TFG(seen_weight=1.0, orthogonality="none", l1_weight=0.0, gan_weight=0.0)
    batch = default_collate(items(2))
    outputs = model.generate(batch)
    outputs["video"] = outputs["video"].detach().requires_grad_()
    counted = {name: value.clone() for name, value in model.networks.encoder.named_buffers()}
    model.generator_losses(batch, outputs)["seen"].backward()
    slope = outputs["video"].grad
    assert slope is not None and slope.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in model.networks.encoder.parameters())
    for name, value in model.networks.encoder.named_buffers():
        assert torch.equal(value, counted[name])


def test_a_taught_inversion_reads_what_was_painted(tmp_path: Path) -> None:
    seed(0)
    layers = {name: FC_TFG.sizes[name] for name in ("motion_layers", "audio_layers")}
    taught = TaughtInversion(motion_dim=5, **INVERSION.sizes, **layers)
    folder = taught.save_pretrained(tmp_path / "taught", with_discriminator=True)
    terms: Any = {"orthogonality": "none", "l1_weight": 0.0, "gan_weight": 0.0}
    model = FC_TFG(reading_weight=3.0, **terms)
    with pytest.raises(FileNotFoundError, match=r"reading_weight=3.0 needs a taught inversion"):
        model.on_fit_start()
    model.initialise(taught=folder)
    batch = default_collate(items(2))
    outputs = {"video": batch["video"].clone().requires_grad_()}
    with pytest.raises(ValueError, match=r"reading_weight=3.0 needs pose and expression"):
        model.generator_losses(batch, outputs)
    shape = batch["video"].shape[:2]
    batch |= {"pose": torch.rand(*shape, 6), "expression": torch.rand(*shape, 10)}
    losses = model.generator_losses(batch, outputs)
    assert list(losses) == ["reading"]
    losses["reading"].backward()
    slope = outputs["video"].grad
    assert slope is not None and slope.abs().sum() > 0
    taught.eval()
    codes = taught.networks.encode(batch["video"].flatten(0, 1))[:, FC_TFG.sizes["motion_layers"]]
    read = torch.cat(taught.readout.read(codes[..., -5:]), 1)
    truth = torch.cat([batch["pose"], batch["expression"]], 2).flatten(0, 1)
    error = (read - truth).abs() / torch.tensor([30, 15, 15, 0.05, 0.05, 0.1] + 10 * [0.5])
    error[:, 14:] *= 3 * (1 - 0.9 * truth[:, 12:13])
    torch.testing.assert_close(losses["reading"], 3 * error.mean())


@torch.no_grad()
def test_a_taught_inversion_says_which_entries_move(tmp_path: Path) -> None:
    seed(0)
    layers = {name: FC_TFG.sizes[name] for name in ("motion_layers", "audio_layers")}
    taught = TaughtInversion(motion_dim=5, **INVERSION.sizes, **layers)
    networks = FC_TFG().initialise(inversion=taught.save_pretrained(tmp_path / "taught")).networks
    count, dim = networks.average.shape
    codes = 4 * torch.randn(3, count, dim)
    looks, motion = codes.clone(), codes.clone()
    looks[..., -5:], motion[..., :-5] = 0, 0
    moved = networks.motion_layers
    passed = networks.canonical_code(codes)
    torch.testing.assert_close(passed, looks[:, moved], rtol=0, atol=1e-4)
    heard = networks.motion.heard
    silent = [k for k in range(len(moved)) if k not in heard]
    mel = torch.randn(3, 1, 1, 80, 16)
    found = networks.motion_code(codes[:, None, moved], mel)[:, 0]
    wanted = motion[:, moved]
    torch.testing.assert_close(found[:, silent], wanted[:, silent], rtol=0, atol=1e-4)
    off = found[:, heard] - wanted[:, heard]
    assert off[..., -5:].abs().max() > 1e-3 and off[..., :-5].abs().max() < 1e-4


def test_squares_count_in_the_mouth_and_no_adversary_learns_without_a_say() -> None:
    model = FC_TFG(mouth_box=MOUTH, mouth_weight=2.0, orthogonality="none", gan_weight=0.0)
    video = torch.zeros(1, 1, 3, SIZE, SIZE)
    batch: Any = {"video": video}
    outputs = {"video": with_mouth(video, 0.5)}
    share = 8 * 16 / SIZE**2
    losses = {name: float(loss) for name, loss in model.generator_losses(batch, outputs).items()}
    assert losses == pytest.approx({"l1": 0.5 * share, "mouth": 2 * 0.25 * share})
    assert model.discriminator_losses(batch, outputs) == {}


def test_squares_count_near_landmarks() -> None:
    model = FC_TFG(landmark_weight=2.0, orthogonality="none", gan_weight=0.0)
    video, points = torch.zeros(1, 1, 3, SIZE, SIZE), torch.full((1, 1, 68, 2), -99.0)
    points[0, 0, 40] = torch.tensor([5.0, 9.0])  # an eye's
    points[0, 0, 3] = torch.tensor([20.0, 20.0])  # the jaw's, which do not count
    batch: Any = {"video": video, "landmarks": points}
    changed = video.clone()
    changed[..., 9, 5] = changed[..., 9, 6] = changed[..., 20, 20] = 0.5
    losses = model.generator_losses(batch, {"video": changed})
    near = 1 + math.exp(-1 / (2 * (0.03 * SIZE) ** 2))
    assert float(losses["landmark"]) == pytest.approx(2 * 0.25 * near / SIZE**2)
    with pytest.raises(ValueError, match=r"landmark_weight=2.0 needs landmarks"):
        model.generator_losses({"video": video}, {"video": changed})


def test_the_defaults_are_the_papers_weights() -> None:
    hparams = FC_TFG().hparams
    weights = [hparams[name] for name in ("orthogonality_weight", "l1_weight", "gan_weight")]
    assert weights == [1.0, 1.0, 0.1]
    defaults = inspect.signature(FCTFG).parameters
    names = ("sync_weight", "identity_weight", "perceptual_weight", "lr")
    assert [defaults[name].default for name in names] == [0.1, 0.5, 1.0, 1e-4]


def test_ablations_change_what_they_name() -> None:
    batch = default_collate(items(2))
    model = FC_TFG(orthogonality="none", discriminator="video", discriminator_frames=2)
    assert "orthogonality" not in model.generator_losses(batch, model.generate(batch))
    assert model.discriminator.from_rgb.weight.shape[1] == 6
    scores = model._judge(batch["video"])
    assert scores.shape == (2, 1)  # one for each window
    with pytest.raises(ValueError, match="judges 5 frames, but windows have 2"):
        FC_TFG(discriminator="video")._judge(batch["video"])


def test_muted_clips_hear_nothing_and_others_see_no_mouth(
    monkeypatch: pytest.MonkeyPatch, model: FCTFG
) -> None:
    batch, other = default_collate(items(2)), default_collate(items(2))
    other["audio"] = other["audio"].flip(1)
    mouths = default_collate(items(2))
    mouths["driving"] = with_mouth(mouths["video"], 0.9)
    monkeypatch.setattr(model, "mute", 0.5)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor([0.1, 0.9]))
    with torch.no_grad():
        motion, of_sound, of_mouth = (
            model.eval().generate(b)["motion"] for b in (batch, other, mouths)
        )
    assert [bool((of_sound - motion)[k].abs().max() > 1e-5) for k in (0, 1)] == [False, True]
    assert [bool((of_mouth - motion)[k].abs().max() > 1e-5) for k in (0, 1)] == [True, False]


def test_training_rebuilds_the_target_from_what_drives_it() -> None:
    seed(0)
    sizes = {"style_dim": 32, "max_channels": 32, "channel_multiplier": 1.0}
    model = FC_TFG(**sizes, orthogonality_weight=0.01, gan_weight=0.01, lr=2e-3)
    batch = default_collate(items(4))

    def error(driving: Tensor) -> float:
        with torch.no_grad():
            frames = model.eval().reconstruct({**batch, "driving": driving})
        return float((frames - batch["video"]).abs().mean())

    fit(model, loader(4, 4), max_epochs=50)
    copy = float((batch["source"] - batch["video"]).abs().mean())
    assert error(batch["video"]) < 0.5 * copy
    assert error(batch["video"].roll(1, 0)) > 1.3 * error(batch["video"])


# ------------------------------------------------------------------------------------ animation


def test_lips_come_from_sound_or_else_from_the_driving_frames(model: FCTFG) -> None:
    with_sound = [model.animate(SOURCE, SOUND, with_mouth(FRAMES, v)) for v in (-0.8, 0.8)]
    torch.testing.assert_close(*with_sound)
    without = [model.animate(SOURCE, None, with_mouth(FRAMES, v)) for v in (-0.8, 0.8)]
    assert without[0].shape == FRAMES.shape
    assert (without[0] - without[1]).abs().max() > 1e-3
    assert (model.animate(SOURCE, SOUND.flip(0), FRAMES) - with_sound[0]).abs().max() > 1e-3
    with pytest.raises(ValueError, match="audio is missing"):
        model.animate(SOURCE, None)


@pytest.mark.parametrize("temporal", ["conv", "lstm"])
def test_fusion_over_time_does_not_depend_on_the_chunk(temporal: str) -> None:
    seed(3)
    model = FC_TFG.responsive(temporal=temporal)
    with torch.no_grad():
        for parameter in model.networks.temporal.parameters():
            nn.init.normal_(parameter, std=0.3)  # what is learnt is no identity
    whole = model.animate(SOURCE, SOUND, FRAMES)
    assert (whole - model.animate(SOURCE, SOUND, FRAMES[:1])).abs().max() > 1e-3
    for chunk in (1, 3):
        parts = torch.cat(list(model.animate_chunks(SOURCE, SOUND, FRAMES, chunk=chunk)))
        torch.testing.assert_close(parts, whole, rtol=0, atol=2e-4)


def test_codes_move_like_the_frames_they_are_of(model: FCTFG) -> None:
    codes = model.encode_pose(FRAMES)
    assert codes.shape == (8, 4 * 16)
    driven = model.animate(SOURCE, SOUND, FRAMES)
    torch.testing.assert_close(model.animate(SOURCE, SOUND, pose=codes), driven)
    lips = model.encode_pose(FRAMES, lips=True)
    silent = model.animate(SOURCE, None, FRAMES)
    torch.testing.assert_close(model.animate(SOURCE, None, pose=lips), silent)


def test_held_layers_stand_still(model: FCTFG) -> None:
    codes = model.encode_pose(FRAMES)
    held = model.hold(codes, layers=(1, 3)).unflatten(1, (4, 16))
    layers = codes.unflatten(1, (4, 16))
    assert torch.equal(held[:, [0, 2]], layers[:1, [0, 2]].expand(8, -1, -1))
    assert torch.equal(held[:, [1, 3]], layers[:, [1, 3]])
    own = model.encode_pose(SOURCE[None])
    still = model.hold(codes, layers=(1, 2, 3, 4), still=own)
    torch.testing.assert_close(
        model.animate(SOURCE, SOUND, pose=still), model.animate(SOURCE, SOUND)
    )
    with pytest.raises(ValueError, match=r"layers is \(0,\): give layers out of 1, 2, 3, 4"):
        model.hold(codes, layers=(0,))
    with pytest.raises(ValueError, match=r"give codes \(T', 64\)"):
        model.hold(codes[:, :10], layers=(1,))


def test_canonical_faces_are_those_without_motion(model: FCTFG, networks: FCTFGNetworks) -> None:
    faces = model.canonical(FRAMES)
    assert faces.shape == FRAMES.shape
    torch.testing.assert_close(model.canonical(FRAMES[3]), faces[3], rtol=0, atol=1e-5)
    with torch.no_grad():
        codes = networks.encode(FRAMES)
        codes[:, 1:5] = networks.canonical(codes[:, 1:5])
        expected = networks.generator(networks.average + codes).clamp(-1, 1)
    torch.testing.assert_close(faces, expected, rtol=0, atol=1e-5)


def test_the_front_is_the_pose_of_the_canonical_face(model: FCTFG) -> None:
    front = model.animate(SOURCE, SOUND, frontal=True)
    torch.testing.assert_close(front, model.animate(SOURCE, SOUND, model.canonical(SOURCE)[None]))
    assert (front - model.animate(SOURCE, SOUND)).abs().max() > 1e-3
    assert (model.animate(SOURCE, SOUND.flip(0), frontal=True) - front).abs().max() > 1e-3


def test_heads_of_the_bundled_model_turn_to_the_front() -> None:
    clip = make_clip(PEOPLE["test"][7], seconds=2.0)
    turned = int(clip.pose[:, 0].abs().argmax())
    assert clip.pose[turned, 0].abs() > 30
    bundled = FCTFG.from_pretrained("fc-tfg-tiny")
    source = clip.frames(bundled.image_size, [turned])
    frames = bundled.animate(source, clip.audio[: 5 * 640], frontal=True)
    with torch.no_grad():
        yaw, pitch, _ = FaceReader.from_pretrained("face-reader")(frames).pose.abs().mean(0)
    assert yaw < 3 and pitch < 3


def test_a_video_of_a_picture_and_somebody_elses_lips(tmp_path: Path) -> None:
    folder = FC_TFG.responsive().save_pretrained(tmp_path / "model")
    write_image(tmp_path / "face.png", to_uint8(SOURCE))
    with VideoWriter(tmp_path / "acting.mp4", SIZE, SIZE, SOUND) as video:
        video.write(to_uint8(FRAMES))
    command = ["generate", "--model", folder, "--crop", "none", "--source", tmp_path / "face.png"]
    command += ["--driving", tmp_path / "acting.mp4", "--output", tmp_path / "made.mp4"]
    assert main([str(word) for word in command]) == 0
    made = VideoClip(tmp_path / "made.mp4")
    assert (len(made), made.height, made.has_audio) == (8, SIZE, True)
