"""PC-AVS as a module: the released code's losses, its options, its checkpoints and its stages."""

import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import default_collate
from torchvision.models import vgg19_bn

from talkingface.models.pc_avs.module import PCAVS, RELEASED
from tests.fixtures import fill
from tests.models.tiny import IDENTITIES, IDENTITY, PC_AVS, SIZE, SYNC, fit, items, loader, seed

FIXTURES = Path(__file__).parents[1] / "fixtures"


class Give(nn.Module):
    """Give a value whatever comes in."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, *_: Any) -> Tensor:
        return self.value


def manifest(name: str) -> dict[str, Tensor]:
    state = fill.state_from_manifest(FIXTURES / f"manifest/{name}.json")
    return {key: torch.from_numpy(values) for key, values in state.items()}


def image(tag: str) -> Tensor:
    return torch.from_numpy(fill.inp_image(tag, 2, 224, 224))


def mel(tag: str) -> Tensor:
    return torch.from_numpy(fill.inp_uniform(tag, (2, 1, 80, 20)))


def assert_matches(actual: Tensor, fixture: str, output: str) -> None:
    actual = actual.reshape(-1) if actual.ndim == 0 else actual
    error = fill.compare(actual.detach().numpy(), FIXTURES, fixture, output)
    wanted, _ = fill.expected(FIXTURES, fixture, output)
    assert error <= 1e-4 * max(1.0, np.abs(wanted).max()), (output, error)


def assert_near(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def perceptual_weights(folder: Path) -> Path:
    """The fixture's VGG-19 under torchvision's names."""
    state = manifest("pcavs_vgg19")
    torch.save({re.sub(r"^slice\d", "features", k): v for k, v in state.items()}, folder / "vgg")
    return folder / "vgg"


def batch_of(count: int, start: int = 0) -> Any:
    return default_collate(items(count, start))


def terms(**options: Any) -> dict[str, Tensor]:
    """The generator's losses on a batch, before any training."""
    seed(0)
    model = PC_AVS.still(**options)
    model.trainer = SimpleNamespace(world_size=1)
    return model.generator_losses(batch_of(4), model.generate(batch_of(4)))


# ---------------------------------------------------------------------- the authors' checkpoint


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The paper's model, read from files as the authors publish them."""
    folder = tmp_path_factory.mktemp("official")
    for net in ("V", "E", "A_sync", "G", "D"):
        state = manifest(f"pcavs_net{net}")
        if net == "E":  # trained on other people than the rest
            state["mouth_fc.1.weight"], state["mouth_fc.1.bias"] = torch.ones(7, 512), torch.ones(7)
        torch.save(state, folder / f"latest_net_{net}.pth")
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("talkingface.models.pc_avs.module")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    model = PCAVS.from_official(folder).initialise(vgg=perceptual_weights(folder))
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)
    assert len(messages) == 1
    assert messages[0].endswith("not loaded: E.mouth_fc.1.weight, E.mouth_fc.1.bias")
    for file in folder.iterdir():  # 400 MB
        file.unlink()
    assert not model.training
    return model


def test_official_files_give_the_authors_frames(official: Any) -> None:
    front_end, source, driving = (
        official.front_end,
        image("pcavs_e2e/input"),
        image("pcavs_e2e/pose"),
    )
    batch = {"video": source[:, None], "source": source[:, None]}
    batch |= {"audio": torch.zeros(2, 7040), "audio_gain": torch.ones(2)}
    with torch.no_grad():
        official.front_end = Give(mel("pcavs_e2e/mel")[:, None])
        own = official.reconstruct(batch).flatten(0, 1)
        assert_matches(own, "pcavs_e2e", "fixed_pose_image")
        batch["driving"] = driving[:, None]
        driven = official.reconstruct(batch).flatten(0, 1)
        assert_matches(driven, "pcavs_e2e", "pose_driven_image")
    official.front_end = Give(mel("pcavs_e2e/mel")[:1, None])
    alone = official.animate(source[0], torch.zeros(640), driving[:1])
    assert_near(alone, driven[:1], 1e-4)
    official.front_end = front_end


def test_losses_are_the_released_codes(official: Any) -> None:
    fixture = "pcavs_train_losses"
    front_end, augmentation = official.front_end, official.augmentation
    official.front_end = Give(mel("pcavs_train/mel")[:, None])
    official.augmentation = Give(image("pcavs_train/augmented")[:, None])
    official.trainer = SimpleNamespace(world_size=1)
    hook = official.networks.generator.synthesis.register_forward_pre_hook(
        lambda _, inputs: (*inputs[:2], "fixed")
    )
    batch: Any = {
        "video": image("pcavs_train/target")[:, None],
        "source": image("pcavs_train/input")[:, None],
        "audio": torch.zeros(2, 7040),
        "audio_gain": torch.ones(2),
        "identity": torch.from_numpy(fill.inp_int("pcavs_train/labels", (2,), 5830)),
    }
    with torch.no_grad():
        outputs = official.generate(batch)
        generator = official.generator_losses(batch, outputs)
        discriminator = official.discriminator_losses(batch, outputs)
    hook.remove()
    official.front_end, official.augmentation = front_end, augmentation

    assert_matches(outputs["video"], fixture, "fake_image_A")
    assert_matches(outputs["video_driven"], fixture, "fake_image_V")
    theirs = {
        "gan": "G_GANa",
        "gan_video_driven": "G_GANv",
        "feature": "G_GAN_Feat_audio",
        "feature_video_driven": "G_GAN_Feat",
        "vgg": "G_VGGa",
        "vgg_video_driven": "G_VGGv",
        "cross_modal": "G_CrossModal",
        "identity": "G_loss_cls",
    }
    assert set(generator) == {*theirs, "sync"}
    for name, output in theirs.items():
        assert_matches(generator[name], fixture, output)
    directions = ("G_SoftmaxContrastive", "G_SoftmaxContrastive_v2a")
    both = sum(float(fill.expected(FIXTURES, fixture, name)[0][0]) for name in directions)
    assert float(generator["sync"]) == pytest.approx(both, abs=1e-2)
    assert set(discriminator) == {"real", "fake"}
    assert_matches(discriminator["real"], fixture, "D_real")
    assert_matches(discriminator["fake"], fixture, "D_Fake")


def test_official_options_are_the_released_codes(official: Any) -> None:
    assert {name: official.hparams[name] for name in RELEASED} == RELEASED
    assert official.hparams["num_identities"] == 5830
    assert official.card()["content_scale"] == 1.2


def test_official_folder_must_be_complete(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        PCAVS.from_official(tmp_path / "absent")
    torch.save({"fc.bias": torch.zeros(3)}, tmp_path / "latest_net_V.pth")
    with pytest.raises(FileNotFoundError, match=r"no \*_net_E\.pth"):
        PCAVS.from_official(tmp_path)
    torch.save({"fc.bias": torch.zeros(3)}, tmp_path / "10_net_V.pth")
    with pytest.raises(ValueError, match=r"10_net_V\.pth and latest_net_V\.pth"):
        PCAVS.from_official(tmp_path)


# -------------------------------------------------------------------------------------- options


def test_default_terms_are_those_of_the_paper() -> None:
    assert set(terms(vgg_weight=0.0)) == {"gan", "feature", "sync", "identity"}


@pytest.mark.parametrize(
    ("weight", "term"),
    [
        ("gan_weight", "gan"),
        ("feature_weight", "feature"),
        ("sync_weight", "sync"),
        ("cross_modal_weight", "cross_modal"),
        ("identity_weight", "identity"),
    ],
)
def test_weights_scale_their_terms(weight: str, term: str) -> None:
    once, thrice = terms(**{weight: 1.0}), terms(**{weight: 3.0})
    for name in once:
        factor = 3.0 if name == term else 1.0
        torch.testing.assert_close(thrice[name], factor * once[name])
    assert term not in terms(**{weight: 0.0})


def test_terms_by_hand() -> None:
    seed(0)
    model = PC_AVS.still()
    model.trainer = SimpleNamespace(world_size=1)
    batch = batch_of(4)
    outputs = model.generate(batch)
    assert outputs["video"].shape == batch["video"].flatten(0, 1).shape
    losses = model.generator_losses(batch, outputs)
    real = model.discriminator(batch["video"].flatten(0, 1))
    fake = model.discriminator(outputs["video"])
    # eq. 5 and 6, over two scales
    gan = torch.stack([F.softplus(-scale[-1]).mean() for scale in fake]).mean()
    torch.testing.assert_close(losses["gan"], gan)
    people = F.cross_entropy(outputs["identity"], torch.arange(4) % IDENTITIES)
    torch.testing.assert_close(losses["identity"], people)
    matching = sum(
        F.l1_loss(ours, theirs)
        for scale, target in zip(fake, real, strict=True)
        for ours, theirs in zip(scale[1:-1], target[1:-1], strict=True)
    )
    torch.testing.assert_close(losses["feature"], torch.as_tensor(matching / len(fake)))
    players = model.discriminator_losses(batch, {"video": outputs["video"].detach()})
    on_real = torch.stack([F.softplus(-scale[-1]).mean() for scale in real]).mean()
    on_fake = torch.stack([F.softplus(scale[-1]).mean() for scale in fake]).mean()
    torch.testing.assert_close(players["real"], on_real)
    torch.testing.assert_close(players["fake"], on_fake)


MOUTH = (0.5, 0.25, 0.75, 0.75)


@pytest.mark.parametrize(("pixel_loss", "power"), [("l1", 1), ("l2", 2)])
def test_pixels_weigh_more_in_the_mouth(pixel_loss: str, power: int) -> None:
    common = {"mouth_box": MOUTH, "video_driven": True}
    options = {**common, "pixel_weight": 2.0, "mouth_weight": 3.0, "pixel_loss": pixel_loss}
    plain, weighted = terms(**common), terms(**options)
    seed(0)
    model = PC_AVS.still(**options)
    outputs, real = model.generate(batch_of(4)), batch_of(4)["video"].flatten(0, 1)
    for suffix, key in (("", "video"), ("_video_driven", "video_driven")):
        error = (outputs[key] - real).abs() ** power
        torch.testing.assert_close(weighted[f"pixels{suffix}"], 2 * error.mean())
        inside = error[..., SIZE // 2 : 3 * SIZE // 4, SIZE // 4 : 3 * SIZE // 4].sum()
        torch.testing.assert_close(weighted[f"mouth{suffix}"], 3 * inside / error.numel())
        weighted.pop(f"pixels{suffix}"), weighted.pop(f"mouth{suffix}")
    assert set(weighted) == set(plain)
    with pytest.raises(ValueError, match="needs mouth_box"):
        PC_AVS(mouth_weight=3.0)


def test_pose_is_read_where_lips_do_not_show() -> None:
    model = PC_AVS(mouth_box=MOUTH, augment=False).eval()
    frames = batch_of(2)["video"][:, 0]
    speaking, nodding = frames.clone(), frames.clone()
    speaking[..., SIZE // 2 : 3 * SIZE // 4, SIZE // 4 : 3 * SIZE // 4] *= -1
    nodding[..., : SIZE // 4, :] *= -1
    assert torch.equal(model.encode_pose(frames), model.encode_pose(speaking))
    assert (model.encode_pose(frames) - model.encode_pose(nodding)).abs().max() > 1e-4
    seen = []
    model.networks.non_identity_encoder.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )
    model.generate(batch_of(2))
    content, pose = seen
    hidden = pose[..., SIZE // 2 : 3 * SIZE // 4, SIZE // 4 : 3 * SIZE // 4]
    assert not hidden.any() and torch.equal(content, batch_of(2)["video"].flatten(0, 1))


def test_without_an_adversary_the_discriminator_rests() -> None:
    model = PC_AVS(gan_weight=0.0, feature_weight=0.0, pixel_weight=1.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit(model, loader(4, 2))
    assert model.updates == 2
    moved = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert any(name.startswith("networks.generator") for name in moved)
    assert not any(name.startswith("discriminator") for name in moved)


def test_video_driven_generation_has_its_own_terms() -> None:
    both = terms(video_driven=True)
    assert set(both) - set(terms()) == {"gan_video_driven", "feature_video_driven"}
    seed(0)
    model = PC_AVS.still(video_driven=True)
    outputs = {name: value.detach() for name, value in model.generate(batch_of(4)).items()}
    together = model.discriminator_losses(batch_of(4), outputs)
    fakes = [
        model.discriminator_losses(batch_of(4), {"video": outputs[key]})["fake"]
        for key in ("video", "video_driven")
    ]
    torch.testing.assert_close(together["fake"], (fakes[0] + fakes[1]) / 2)
    assert set(together) == {"real", "fake"}


@pytest.mark.parametrize("option", [{"modulation": "adain"}, {"identity_map": True}])
def test_generator_options_change_the_frames(option: dict[str, Any]) -> None:
    frames = []
    for options in ({}, option):
        seed(0)
        frames.append(PC_AVS(**options).animate(items(1)[0]["source"], torch.ones(640)))
    assert (frames[0] - frames[1]).abs().mean() > 1e-3


def test_every_objective_trains() -> None:
    for gan in ("vanilla", "hinge", "lsgan", "wgan"):
        model = PC_AVS(gan=gan, contrastive="inverse_distance")
        fit(model, loader(2, 2))
        assert all(value.isfinite().all() for value in model.state_dict().values())


def test_augmentation_is_for_the_non_identity_encoder_alone() -> None:
    model = PC_AVS()
    seen = {}
    encoders = ("identity_encoder", "non_identity_encoder")
    for name in encoders:
        part = model.networks.get_submodule(name)
        part.register_forward_pre_hook(
            lambda _, inputs, name=name: seen.update({name: inputs[0].clone()})
        )
    batch = batch_of(4)
    model.generate(batch)
    assert torch.equal(seen["identity_encoder"], batch["source"])
    frames = batch["video"].flatten(0, 1)
    assert seen["non_identity_encoder"].shape == frames.shape
    assert (seen["non_identity_encoder"] - frames).abs().mean() > 0.01
    model = PC_AVS(augment=False)
    model.networks.non_identity_encoder.register_forward_pre_hook(
        lambda _, inputs: seen.update(plain=inputs[0])
    )
    model.generate(batch)
    assert torch.equal(seen["plain"], frames)


def test_perceptual_network_is_no_part_of_the_model(tmp_path: Path) -> None:
    seed(0)
    model = PC_AVS(vgg_weight=2.0).initialise(vgg=perceptual_weights(tmp_path))
    names = set(PC_AVS().state_dict())
    fit(model, loader(2, 2))
    assert set(model.state_dict()) == names
    vgg = model._fixed["vgg"]
    weights = manifest("pcavs_vgg19")
    assert torch.equal(vgg.features[0].weight, weights["slice1.0.weight"])  # not trained
    batch = batch_of(2)
    outputs = model.generate(batch)
    fake, real = vgg(outputs["video"]), vgg(batch["video"].flatten(0, 1))
    layers = zip((1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0), fake, real, strict=True)
    expected = sum(weight * F.l1_loss(a, b) for weight, a, b in layers)
    losses = model.generator_losses(batch, outputs)
    torch.testing.assert_close(losses["vgg"], torch.as_tensor(2 * expected))


def test_face_features_are_those_of_the_start() -> None:
    model = PC_AVS(face_weight=1.0)
    trunk = model.networks.identity_encoder.trunk
    start = trunk.stem[0].weight.clone()
    names = set(model.state_dict())
    fit(model, loader(4, 2))
    assert torch.equal(model._fixed["face"].stem[0].weight, start)
    assert not torch.equal(trunk.stem[0].weight, start)
    assert set(model.state_dict()) == names


def test_face_term_is_the_released_one_on_a_face_network(tmp_path: Path) -> None:
    seed(0)
    torch.save(vgg19_bn(weights=None).state_dict(), tmp_path / "face.pth")
    model = PC_AVS(face_weight=5.0, sync_weight=0.0).initialise(vgg_face=tmp_path / "face.pth")
    network, batch = model._fixed["vgg_face"], batch_of(2)
    outputs = model.generate(batch)
    with torch.no_grad():
        pairs = zip(network(outputs["video"]), network(batch["video"].flatten(0, 1)), strict=True)
        _, _, third, last = [F.l1_loss(fake, real) for fake, real in pairs]
    losses = model.generator_losses(batch, outputs)
    torch.testing.assert_close(losses["face"], 5 * (third / 8 + last / 4 + last))


def test_accumulation_says_what_it_does_to_the_contrastive_term(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "talkingface"):
        fit(PC_AVS(accumulate=2, sync_weight=0.0), loader(4, 2))
        assert "contrastive" not in caplog.text
        fit(PC_AVS(accumulate=2), loader(4, 2))
    assert caplog.text.count("accumulate=2: the contrastive loss sees") == 1


# ------------------------------------------------------------------------- what is trained, and how


def test_frozen_parts_stand_still() -> None:
    model = PC_AVS(freeze=["identity_encoder", "audio_encoder.trunk"], ema_half_life=10.0)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    fit(model, loader(4, 2))
    frozen = ("networks.identity_encoder.", "networks.audio_encoder.trunk.")
    for name, value in model.state_dict().items():
        if name.startswith(frozen):  # batch statistics as well
            assert torch.equal(value, start[name]), name
    moved = [name for name in start if not torch.equal(start[name], model.state_dict()[name])]
    for part in ("networks.non_identity_encoder.", "networks.generator.", "discriminator."):
        assert any(name.startswith(part) for name in moved)
    model.train()
    assert not model.networks.identity_encoder.training
    assert not model.networks.audio_encoder.trunk.training
    assert model.networks.audio_encoder.training


def test_learning_rates_by_part() -> None:
    factors = {"generator": 0.5, "generator.synthesis.to_rgbs": 0.1, "audio_encoder": 0.0}
    model = PC_AVS(freeze=["identity_encoder"], lr_factors=factors, generator_lr=0.01)
    first, second = model.configure_optimizers()
    rates = {id(p): group["lr"] for group in first.param_groups for p in group["params"]}
    for name, parameter in model.networks.named_parameters():
        if name.startswith("identity_encoder"):
            assert id(parameter) not in rates
            continue
        factor = 1.0
        if name.startswith("generator"):
            factor = 0.1 if "to_rgbs" in name else 0.5
        if name.startswith("audio_encoder"):
            factor = 0.0
        assert rates[id(parameter)] == pytest.approx(0.01 * factor), name
    assert {group["lr"] for group in second.param_groups} == {2e-3}
    assert first.defaults["betas"] == (0.0, 0.9)
    assert first.defaults["amsgrad"] and not second.defaults["amsgrad"]


@pytest.mark.parametrize("option", [{"freeze": ["decoder"]}, {"lr_factors": {"decoder": 0.1}}])
def test_unknown_parts_are_named(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"'decoder'; the parts are audio_encoder, generator"):
        PC_AVS(**option).configure_optimizers()


def test_fine_tuning_trains_in_training_mode(tmp_path: Path) -> None:
    PC_AVS().save_pretrained(tmp_path / "model")
    model: Any = PCAVS.from_pretrained(tmp_path / "model")
    norm = model.networks.identity_encoder.trunk.stem[1]
    start = norm.running_mean.clone()
    fit(model, loader(2, 2))
    assert not torch.equal(norm.running_mean, start)


# --------------------------------------------------------------------------------- other stages


def test_starts_from_the_identity_stage(tmp_path: Path) -> None:
    expert = IDENTITY(num_identities=9)
    model = PC_AVS().initialise(identity=expert.save_pretrained(tmp_path / "identity"))
    own = model.networks.identity_encoder
    assert torch.equal(own.trunk.stem[0].weight, expert.networks.trunk.stem[0].weight)
    assert torch.equal(own.to_map.bias, expert.networks.to_map.bias)
    assert own.classifier.out_features == IDENTITIES


def test_starts_from_the_sync_stage(tmp_path: Path) -> None:
    expert = SYNC()
    folder = expert.save_pretrained(tmp_path / "sync")
    model = PC_AVS(content_dim=24, pose_dim=3, ema_half_life=10.0)
    pose = model.networks.non_identity_encoder.to_pose[0].weight.clone()
    model.initialise(sync=folder)
    for networks in (model.networks, model.average.module):
        trained, own = expert.networks["non_identity_encoder"], networks.non_identity_encoder
        assert torch.equal(own.pool.fc.weight, trained.pool.fc.weight)
        assert torch.equal(own.to_content[2].bias, trained.to_content[2].bias)
        assert torch.equal(own.to_pose[0].weight, pose)  # synchronisation says nothing of pose
        for mine, theirs in zip(
            networks.audio_encoder.trunk.parameters(),
            expert.networks["audio_encoder"].trunk.parameters(),
            strict=True,
        ):
            assert torch.equal(mine, theirs)


def test_starts_from_another_run(tmp_path: Path) -> None:
    seed(1)
    trained = PC_AVS(ema_half_life=10.0)
    fit(trained, loader(4, 2))
    folder = trained.save_pretrained(tmp_path / "model", with_discriminator=True)
    model = PC_AVS(num_identities=9, ema_half_life=10.0).initialise(model=folder)
    expected = trained.inference_networks.state_dict()
    for name, value in model.networks.state_dict().items():
        if "classifier" not in name:
            assert torch.equal(value, expected[name]), name
            assert torch.equal(model.average.module.state_dict()[name], expected[name]), name
    for name, value in model.discriminator.state_dict().items():
        assert torch.equal(value, trained.discriminator.state_dict()[name]), name


def test_stages_that_do_not_fit_are_named(tmp_path: Path) -> None:
    identity = IDENTITY(width=8, width_per_group=32).save_pretrained(tmp_path / "identity")
    sync = SYNC(feature_dim=16).save_pretrained(tmp_path / "sync")
    with pytest.raises(ValueError, match=r"identity: .* has shape"):
        PC_AVS().initialise(identity=identity)
    with pytest.raises(ValueError, match=r"sync: .* has shape"):
        PC_AVS().initialise(sync=sync)
    with pytest.raises(ValueError, match="PCAVSSync"):
        PC_AVS().initialise(sync=identity)
    with pytest.raises(FileNotFoundError, match="absent"):
        PC_AVS().initialise(sync=tmp_path / "absent")


# ------------------------------------------------------------------------------------ animation


@pytest.fixture(scope="module")
def model() -> Any:
    seed(0)
    return PC_AVS.responsive()


SOURCE = items(1)[0]["source"]
DRIVING = torch.cat([item["video"] for item in items(5, start=1)])
AUDIO = 0.1 * torch.randn(8 * 640, generator=torch.Generator().manual_seed(0))


def test_pose_codes_are_what_driving_gives(model: Any) -> None:
    codes = model.encode_pose(DRIVING)
    assert codes.shape == (10, 12)
    assert not codes.requires_grad
    expected = model.animate(SOURCE, AUDIO, DRIVING)
    torch.testing.assert_close(
        model.animate(SOURCE, AUDIO, pose=codes), expected, atol=1e-5, rtol=0
    )
    bytes_ = ((DRIVING + 1) * 127.5).round().byte()
    assert_near(model.encode_pose(bytes_), codes, 0.05)
    with pytest.raises(ValueError, match="frames has shape"):
        model.encode_pose(DRIVING[0])


def test_pose_is_the_sources_own_unless_told(model: Any) -> None:
    own = model.animate(SOURCE, AUDIO)
    codes = model.encode_pose(SOURCE)
    assert_near(model.animate(SOURCE, AUDIO, pose=codes), own)
    frontal = model.animate(SOURCE, AUDIO, frontal=True)
    zero = model.animate(SOURCE, AUDIO, pose=torch.zeros(1, 12))
    assert_near(frontal, zero)
    assert (frontal - own).abs().mean() > 1e-3


def test_pose_codes_play_forth_and_back(model: Any) -> None:
    codes = model.encode_pose(DRIVING[:3])
    order = [0, 1, 2, 2, 1, 0, 0, 1]
    expected = model.animate(SOURCE, AUDIO, pose=codes[order])
    torch.testing.assert_close(
        model.animate(SOURCE, AUDIO, pose=codes), expected, atol=1e-5, rtol=0
    )


def test_sound_moves_the_frames_by_the_content_scale(model: Any) -> None:
    assert model.animate(SOURCE, AUDIO).std(0).mean() > 1e-3
    scale, model.content_scale = model.content_scale, 0.0
    still = model.animate(SOURCE, AUDIO)
    model.content_scale = scale
    assert float((still - still[:1]).abs().max()) < 1e-5


def test_loudness_does_not_matter(model: Any) -> None:
    # The whole utterance is brought to one loudness, so 20 dB less is the same speech, but for
    # rounding: 6e-4 on processors without AVX-512, where a step of 8 bits is 8e-3.
    quiet = model.animate(SOURCE, 0.1 * AUDIO)
    assert_near(quiet, model.animate(SOURCE, AUDIO), 1e-3)


def test_references_are_averaged(model: Any) -> None:
    several = torch.cat([item["source"] for item in items(3)])
    frames = model.animate(several, AUDIO)
    assert_near(model.animate(several.flip(0), AUDIO), frames, 1e-4)
    assert (frames - model.animate(several[:1], AUDIO)).abs().mean() > 1e-2


def test_silence_gives_finite_frames(model: Any) -> None:
    frames = model.animate(SOURCE, torch.zeros(2000))
    assert frames.shape == (4, 3, SIZE, SIZE)
    assert frames.isfinite().all()


def test_pose_codes_are_checked(model: Any) -> None:
    with pytest.raises(ValueError, match=r"pose has shape \(3, 5\); give codes \(T', 12\)"):
        model.animate(SOURCE, AUDIO, pose=torch.zeros(3, 5))
    with pytest.raises(ValueError, match="give audio"):
        model.animate(SOURCE, None)
