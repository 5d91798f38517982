"""DAVS as a module: the released checkpoint and options, its losses, its stages, its two ways."""

import copy
import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.utils.data import default_collate

from talkingface.cli import main
from talkingface.models.davs.finetuning import fine_tune
from talkingface.models.davs.module import DAVS, RELEASED
from tests.fixtures import fill
from tests.models.test_davs_parity import check, image, normal, official
from tests.models.tiny import (
    DAVS_MAIN,
    DAVS_RECOGNITION,
    FRAMES,
    SIZE,
    fit,
    items,
    loader,
    seed,
    trainer,
)

FIXTURES = Path(__file__).parents[1] / "fixtures"
ENTRIES = {
    "ID_encoder": "id_encoder",
    "lip_feature_encoder": "lip_encoder",
    "mfcc_encoder": "mfcc_encoder",
    "Decoder": "decoder",
    "model_fusion": "model_fusion",
    "ID_lip_discriminator": "id_dis32",
    "netD": "netD",
    "netD_mul": "netD_mul",
    "discriminator_audio": "discriminator_audio",
}


def batch_of(count: int) -> Any:
    return default_collate(items(count))


def still(**options: Any) -> Any:
    seed(0)
    model = DAVS_MAIN.still(**options)
    model.trainer = SimpleNamespace(world_size=1)
    return model


def terms(**options: Any) -> dict[str, Tensor]:
    model = still(**options)
    return model.generator_losses(batch_of(4), model.generate(batch_of(4)))


# ---------------------------------------------------------------------- the authors' checkpoint


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The released model, read from a file as the authors publish it."""
    folder = tmp_path_factory.mktemp("official")
    networks = {entry: official(f"davs_{name}") for entry, name in ENTRIES.items()}
    optimizer = {"state": {}, "param_groups": [{"lr": 2e-4, "params": [0]}]}
    checkpoint = {"step": 1, "epoch": 4, **networks, "optimizer_G": optimizer}
    file = folder / "101_DAVS_checkpoint.pth.tar"
    torch.save(checkpoint, file, _use_new_zipfile_serialization=False)
    model = DAVS.from_official(folder)
    file.unlink()  # 270 MB
    yield model


def test_released_checkpoint_gives_the_authors_frames(released: Any) -> None:
    photo = image("davs_e2e/A")[0] * 2 - 1
    lips = image("davs_e2e/video", 3) * 2 - 1
    mfcc = normal("davs_e2e/mfcc", 3, 1, 1, 20, 12, scale=3)[:, 0, 0]
    released.finetune_steps = 0
    check((released.animate(photo, None, lips) + 1) / 2, "davs_e2e", "video_driven")
    released.front_end.forward = lambda sound: mfcc[None]  # the fixture's windows are no sound's
    frames = released.animate(photo, torch.zeros(3 * 640))
    del released.front_end.forward
    check((frames + 1) / 2, "davs_e2e", "audio_driven")


def test_fine_tuning_follows_the_released_script(released: Any) -> None:
    networks = copy.deepcopy(released.networks).double()
    photo, mouth = image("davs_e2e/A").double(), released.mouth.double()
    windows = normal("davs_e2e/mfcc", 3, 1, 1, 20, 12, scale=3)[:, 0, 0]
    with torch.no_grad():
        words = networks.audio_encoder(windows.double())
    tuned, losses = fine_tune(networks, photo, words[[0, 1, 2, 0, 1]], mouth)
    wanted, _ = fill.expected(FIXTURES, "davs_e2e_finetune_audio", "losses")
    # New optimizers step by the gradient's sign, also where it is rounding alone: a change of 1e-7
    # in the photo moves the losses from the third on by up to 4 %. Half the rate moves the second
    # by 3 %.
    for loss, value, tolerance in zip(losses, wanted, (1e-6, 2e-3, 0.03, 0.03, 0.05), strict=True):
        assert loss == pytest.approx(value, rel=tolerance)
    mean = "stem.a.1.running_mean"
    moved = tuned.person_encoder.get_buffer(mean)
    check(moved, "davs_e2e_finetune_audio", "id_bn_mean_after", tolerance=0.01)
    assert (networks.person_encoder.get_buffer(mean) - moved).abs().max() > 0.5
    frames = []
    for parts in (networks, tuned):
        with torch.no_grad():
            vector, maps = parts.person_encoder(photo)
            painted = parts.paint(vector, maps, 1.5 * words[:1, None], photo)
        frames.append(painted.flatten()[::11].numpy())
    before, after = frames
    wanted, _ = fill.expected(FIXTURES, "davs_e2e_finetune_audio", "image_after")
    # How alike the changes of the frame are: 0.5 to 0.9 after such a change of the photo, 0.3 with
    # the statistics of eval mode.
    change, other = after - before, wanted - before
    cosine = change @ other / np.linalg.norm(change) / np.linalg.norm(other)
    assert cosine > 0.4


def test_released_options_are_set(released: Any) -> None:
    options = {**RELEASED, "finetune_steps": 5}
    assert {name: released.hparams[name] for name in options} == options
    assert set(released.discriminator) == {"domain", "frame", "sequence", "word_classifier"}


def test_official_file_must_be_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds 0 files \*DAVS\*"):
        DAVS.from_official(tmp_path)
    torch.save({"Decoder": {}}, tmp_path / "101_DAVS_checkpoint.pth.tar")
    with pytest.raises(ValueError, match="official network Decoder: the checkpoint lacks"):
        DAVS.from_official(tmp_path)
    torch.save({"epoch": 3}, tmp_path / "101_DAVS_checkpoint.pth.tar")
    with pytest.raises(ValueError, match="no network ID_encoder"):
        DAVS.from_official(tmp_path)


def test_convert_writes_a_model_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(DAVS, "from_official", lambda path: DAVS_MAIN())
    assert main(["convert", "davs", "official.pth.tar", str(tmp_path / "converted")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "converted")
    opened = DAVS.from_pretrained(tmp_path / "converted")
    assert opened.card()["crop_template"] == "davs"
    assert opened.saved_facts is not None
    assert opened.saved_facts["licence"] == "non-commercial research use only"
    assert (tmp_path / "converted/discriminator.safetensors").exists()


# -------------------------------------------------------------------------------------- training


def test_terms_follow_the_switches() -> None:
    supervisions = {"visual_word", "audio_word", "contrastive", "domain", "person"}
    hidden = {"hide_words", "hide_persons"}
    l1 = {"audio_l1", "video_l1"}
    gan = {f"{way}_gan_{name}" for way in ("audio", "video") for name in ("frame", "sequence")}
    assert set(terms()) == supervisions | hidden | l1 | gan
    assert set(terms(gan="none")) == supervisions | hidden | l1
    assert set(terms(gan="sequence")) == supervisions | hidden | l1 | {
        "audio_gan_sequence",
        "video_gan_sequence",
    }
    for disentangle, left in (("words", "hide_words"), ("persons", "hide_persons")):
        assert set(terms(disentangle=disentangle)) & hidden == {left}
    assert not set(terms(disentangle="none")) & hidden
    assert set(terms(still_weight=1.0)) - set(terms()) == {"still"}


def test_terms_by_hand() -> None:
    model, batch = still(still_weight=3.0), batch_of(4)
    outputs = model.generate(batch)
    losses = model.generator_losses(batch, outputs)
    target = (batch["video"] + 1) / 2
    torch.testing.assert_close(outputs["target"], target)
    error = 255 * (outputs["from_video"] - target).abs()
    rows, columns = slice(round(170 / 8), round(234 / 8)), slice(8, 24)  # of 32 pixels
    mouth = torch.zeros(SIZE, SIZE)
    mouth[rows, columns] = 1
    expected = 0.02 * error.mean() + 0.04 * (mouth * error).mean()
    torch.testing.assert_close(losses["video_l1"], expected)
    before = torch.stack([(batch["source"][:, 0] + 1) / 2, outputs["from_audio"][:, 0]], 1)
    change = ((1 - mouth) * (outputs["from_audio"] - before).abs()).mean((0, 2, 3, 4)).sum()
    torch.testing.assert_close(losses["still"], 3 * change)
    patch, joint = model.discriminator["sequence"](
        outputs["from_audio"].flatten(1, 2), outputs["mfcc"]
    )
    wanted = -patch.sigmoid().log().mean() - joint.sigmoid().log().mean()
    torch.testing.assert_close(losses["audio_gan_sequence"], wanted)


def test_squares_take_the_place_of_differences() -> None:
    model, batch = still(pixel_loss="l2"), batch_of(4)
    outputs = model.generate(batch)
    losses = model.generator_losses(batch, outputs)
    square = 255 * (outputs["from_video"] - (batch["video"] + 1) / 2) ** 2
    inside = square[..., round(170 / 8) : round(234 / 8), 8:24].sum() / square.numel()
    torch.testing.assert_close(losses["video_l2"], 0.02 * square.mean() + 0.04 * inside)
    assert "video_l1" not in losses


def test_adversaries_may_have_a_rate_of_their_own() -> None:
    """Adam's first step moves every weight that has a gradient by the learning rate."""
    for options, wanted in (({}, 1e-3), ({"discriminator_lr": 0.1}, 0.1)):
        model = DAVS_MAIN(lr=1e-3, **options)
        networks, adversaries = model.configure_optimizers()
        before = model.discriminator["word_classifier"].fc.bias.detach().clone()
        outputs = {k: v.detach() for k, v in model.generate(batch_of(4)).items()}
        sum(model.discriminator_losses(batch_of(4), outputs).values()).backward()
        adversaries.step()
        moved = (model.discriminator["word_classifier"].fc.bias - before).abs()
        torch.testing.assert_close(moved, torch.full_like(moved, wanted), rtol=1e-4, atol=0)
        assert networks.param_groups[0]["lr"] == 1e-3


def test_without_supervision_only_the_frames_to_generate_are_encoded() -> None:
    off = {"word_weight": 0.0, "contrastive_weight": 0.0, "domain_weight": 0.0}
    shorter = {"sequence_frames": 1, "gan": "none"}
    whole, part = still(**shorter), still(**shorter, **off)
    torch.manual_seed(1)
    supervised = whole.generate(batch_of(4))
    torch.manual_seed(1)
    alone = part.generate(batch_of(4))
    for name in ("target", "mfcc", "from_audio", "from_video"):
        torch.testing.assert_close(alone[name], supervised[name])
    assert alone["visual"].shape[1] == alone["audio"].shape[1] == 1
    assert supervised["visual"].shape[1] == FRAMES


def test_lips_are_read_from_who_drives() -> None:
    seed(0)
    model = DAVS_MAIN.responsive(gan="none").eval()
    batch = batch_of(2)
    driven = {**batch, "driving": batch["video"].flip(0)}
    with torch.no_grad():
        own, other = model.generate(batch), model.generate(driven)
        swapped = model.generate({**batch, "video": driven["driving"]})
    torch.testing.assert_close(other["visual"], swapped["visual"])
    assert (other["visual"] - own["visual"]).abs().max() > 1e-4
    for name in ("target", "audio"):
        torch.testing.assert_close(other[name], own[name])
    frames = model.reconstruct(driven, "video") - model.reconstruct(batch, "video")
    assert frames.abs().max() > 1e-4


def test_disentangling_is_equations_2_to_5() -> None:
    model, batch = still(), batch_of(4)
    outputs = model.generate(batch)
    losses = model.generator_losses(batch, outputs)
    taught = model.discriminator_losses(batch, outputs)
    networks, adversaries = model.networks, model.discriminator
    frames, faces = (batch["video"] + 1) / 2, (batch["faces"] + 1) / 2
    persons = networks.person_encoder(frames.flatten(0, 1))[0].unflatten(0, (4, FRAMES))
    cases = (
        (
            "words",
            adversaries["word_classifier"](persons - 0.9 * persons.mean(1, keepdim=True)),
            batch["word"],
        ),
        (
            "persons",
            adversaries["person_classifier"](networks.lip_encoder(faces)),
            batch["face_identity"],
        ),
    )
    for name, logits, labels in cases:
        uneven = (logits.softmax(1) - 1 / logits.shape[1]).square().sum(1).mean()
        torch.testing.assert_close(losses[f"hide_{name}"], uneven)
        torch.testing.assert_close(taught[name], F.cross_entropy(logits, labels))


def test_each_direction_of_disentangling_teaches_its_own_encoder() -> None:
    for name, learns, stands in (
        ("hide_words", "person_encoder", "lip_encoder"),
        ("hide_persons", "lip_encoder", "person_encoder"),
    ):
        model = still()
        model.generator_losses(batch_of(4), model.generate(batch_of(4)))[name].backward()
        moved = {
            part
            for part, module in model.networks.named_children()
            if any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
        }
        assert learns in moved
        assert stands not in moved


def test_each_encoder_sees_all_its_pictures_at_once() -> None:
    seed(0)
    model, batch = DAVS_MAIN(), batch_of(4)
    counters = {
        name: value
        for name, value in model.networks.named_buffers()
        if name.endswith("num_batches_tracked") and not name.startswith("decoder")
    }
    convolution, norm = model.networks.person_encoder.stem.a
    seen = torch.cat([batch["source"][:, 0], batch["video"].flatten(0, 1), batch["faces"]])
    with torch.no_grad():
        mean = convolution((seen + 1) / 2).mean((0, 2, 3))
    model.train().generate(batch)
    assert {int(value) for value in counters.values()} == {1}
    torch.testing.assert_close(norm.running_mean, 0.1 * mean)


def test_words_leak_from_maps_as_released() -> None:
    model = still(leak="maps")
    outputs = model.generate(batch_of(4))
    assert outputs["leaking_words"].shape == (4, FRAMES, 8, SIZE // 4, SIZE // 4)
    assert model.generator_losses(batch_of(4), outputs)["hide_words"].isfinite()


def test_wrong_numbers_of_frames_are_named() -> None:
    with pytest.raises(ValueError, match="sequence_frames=3 are taken from the 2"):
        DAVS_MAIN(sequence_frames=3)
    with pytest.raises(ValueError, match="words are taken out of 3"):
        still(leak_frames=3).generate(batch_of(2))
    with pytest.raises(ValueError, match="ends with 16 channels, but embeddings have 32"):
        DAVS_MAIN(dim=32)


def test_one_clip_cannot_teach_the_discriminator_of_sequences() -> None:
    with pytest.raises(ValueError, match=r"data\.batch_size of 2 or more, or model\.gan none"):
        DAVS_MAIN().generate(batch_of(1))
    assert "from_audio" in DAVS_MAIN(gan="none").generate(batch_of(1))


def test_papers_person_encoder_takes_the_same_place() -> None:
    model = DAVS_MAIN(person_backbone="vggm", person_channels=(4, 4, 8, 8, 8, 8, 16))
    fit(model, loader(4, 2))
    assert model.animate(items(1)[0]["source"], torch.zeros(1000)).shape == (2, 3, SIZE, SIZE)


def test_starts_from_recognition(tmp_path: Path) -> None:
    stage = DAVS_RECOGNITION(shared_classifier=False)
    folder = stage.save_pretrained(tmp_path / "stage", with_discriminator=True)
    apart = DAVS_MAIN(ema_half_life=10.0, shared_classifier=False)
    model = apart.initialise(recognition=folder)
    own = model.networks.state_dict()
    wanted = stage.networks.state_dict()
    assert any(key.startswith("audio_word_classifier.") for key in wanted)
    assert all(torch.equal(own[key], wanted[key]) for key in wanted)
    with pytest.raises(ValueError, match=r"unknown \['audio_word_classifier.*same options"):
        DAVS_MAIN().initialise(recognition=folder)
    for key, value in stage.discriminator.state_dict().items():
        assert torch.equal(model.discriminator["domain"].state_dict()[key], value)
    averaged = model.average.module.state_dict()
    assert all(torch.equal(averaged[k], v) for k, v in model.networks.state_dict().items())


def test_starts_from_another_run_with_other_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = DAVS_MAIN(num_words=7)
    folder = other.save_pretrained(tmp_path / "other", with_discriminator=True)
    with caplog.at_level(logging.WARNING, "talkingface"):
        model = DAVS_MAIN(gan="sequence").initialise(model=folder)
    assert "begin anew: word_classifier.fc (7 -> 3)" in caplog.text
    for part in ("decoder", "lip_encoder"):
        own, wanted = (m.networks.get_submodule(part).state_dict() for m in (model, other))
        assert all(torch.equal(own[key], wanted[key]) for key in wanted)
    own, wanted = (m.discriminator["sequence"].state_dict() for m in (model, other))
    assert all(torch.equal(own[key], wanted[key]) for key in wanted)


def test_validation_measures_both_ways_and_what_leaks() -> None:
    scores = trainer().validate(DAVS_MAIN.responsive(), loader(12, 4), verbose=False)[0]
    assert {"val/psnr", "val/ssim", "val/video_psnr", "val/video_ssim"} <= set(scores)
    assert 0 <= scores["val/leak_accuracy"] <= 1
    assert scores["val/leak_chance"] == pytest.approx(1 / 3)
    assert 0 <= scores["val/verification_auc"] <= 1


def test_the_leak_probe_looks_at_clips_from_all_over() -> None:
    model = DAVS_MAIN.responsive(leak_clips=4)
    seen: list[tuple[int, str]] = []
    model.leak_probe.update = lambda code, word, split: seen.append((int(word), split))
    trainer().validate(model, loader(12, 5), verbose=False)
    words = [item["word"] for item in items(12)]
    assert seen == [
        (words[0], "train"),
        (words[3], "test"),
        (words[6], "train"),
        (words[9], "test"),
    ]


def validate_in_two(model: Any) -> dict[str, float]:
    """Scores of two processes; who waits for the other for a minute gives up."""
    pair = DDPStrategy(start_method="spawn", timeout=timedelta(minutes=1))
    quiet = trainer(devices=2, strategy=pair)
    return dict(quiet.validate(model, loader(12, 2), verbose=False)[0])


@pytest.mark.ddp
def test_two_processes_find_the_leaks_of_one() -> None:
    model = DAVS_MAIN.responsive()
    one = trainer().validate(model, loader(12, 4), verbose=False)[0]
    two = validate_in_two(model)
    for name in ("leak_accuracy", "leak_chance", "verification_auc"):
        assert two[f"val/{name}"] == pytest.approx(one[f"val/{name}"]), name
    # Of every second clip, so that each process has some to learn from or to test on.
    assert "val/leak_accuracy" in validate_in_two(DAVS_MAIN.responsive(leak_clips=6))


class HalfBlind(DAVS):
    """The second process has nothing to give to the leak probe."""

    def _probe(self, networks: Any, video: Tensor, words: Tensor) -> None:
        if self.global_rank == 0:
            super()._probe(networks, video, words)


@pytest.mark.ddp
def test_a_process_without_clips_to_probe_does_not_stop_the_other() -> None:
    scores = validate_in_two(HalfBlind(**DAVS_MAIN.sizes))
    assert "val/psnr" in scores and "val/leak_accuracy" not in scores


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gan": "frames"}, "gan must be one of sequence, frame, both, none, not 'frames'"),
        ({"pixel_loss": "L2"}, "pixel_loss must be one of l1, l2"),
        ({"disentangle": "word"}, "disentangle must be one of words, persons"),
        ({"contrastive_form": "square"}, "contrastive_form must be one of distance, squared"),
        ({"person_backbone": "maxxout"}, "person_backbone must be one of maxout, vggm"),
        ({"person_stages": [*4 * [[8]], [16]]}, "5 person_stages bring 32 px to a pixel"),
        ({"finetune_steps": 1, "decoder_blocks": 5 * [[1, 4]]}, "begins with 2 px or more"),
    ],
)
def test_options_that_do_not_exist_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DAVS_MAIN(**options)


# ------------------------------------------------------------------------------------- animation

PHOTO = items(1)[0]["source"]
SPEECH = 0.1 * torch.randn(10 * 640, generator=torch.Generator().manual_seed(0))
LIPS = torch.cat([item["video"] for item in items(5, start=1)])


@pytest.fixture(scope="module")
def model() -> Any:
    seed(0)
    return DAVS_MAIN.responsive()


def test_sound_and_lips_move_the_frames_by_their_scales(model: Any) -> None:
    for way, inputs in (("audio", (SPEECH, None)), ("video", (None, LIPS))):
        frames = model.animate(PHOTO, *inputs)
        assert frames.shape == (10, 3, SIZE, SIZE)
        assert frames.std(0).mean() > 1e-3
        model.scales[way] = 0.0
        still_frames = model.animate(PHOTO, *inputs)
        model.scales[way] = 1.0
        assert still_frames.std(0).max() < 1e-5
        assert torch.equal(model.animate(PHOTO, *inputs), frames)


def test_fine_tuning_nears_the_photo_and_leaves_the_model_alone(model: Any) -> None:
    state = {key: value.clone() for key, value in model.state_dict().items()}
    before = model.animate(PHOTO, SPEECH)
    model.finetune_steps = 60
    after = model.animate(PHOTO, SPEECH)
    assert torch.equal(model.animate(PHOTO, SPEECH), after)
    from_lips = model.animate(PHOTO, None, LIPS)
    assert torch.equal(model.animate(PHOTO, None, LIPS), from_lips)
    with torch.inference_mode():
        torch.testing.assert_close(model.animate(PHOTO, SPEECH), after)
    model.finetune_steps = 0
    outside = 1 - model.mouth
    errors = [((frames - PHOTO).abs() * outside).mean() for frames in (after, before)]
    assert errors[0] < 0.8 * errors[1]
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


def test_fine_tuning_sees_its_own_steps_under_autocast(model: Any) -> None:
    photo, words = (PHOTO + 1) / 2, torch.randn(4, 16)
    _, losses = fine_tune(model.networks, photo, words, model.mouth, lr=5e-3)
    with torch.autocast("cpu", torch.bfloat16):
        _, again = fine_tune(model.networks, photo, words, model.mouth, lr=5e-3)
    assert losses[-1] < 0.95 * losses[0]
    assert again == losses


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"audio": SPEECH, "driving": LIPS}, "driving gives DAVS nothing but lips"),
        ({"audio": None}, "audio is missing"),
        ({"audio": SPEECH, "frontal": True}, "pose is not what DAVS controls"),
        ({"audio": SPEECH, "pose": torch.zeros(2, 12)}, "pose is not what DAVS controls"),
    ],
)
def test_what_davs_does_not_take_is_named(model: Any, inputs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.animate(PHOTO, **inputs)


def test_silence_gives_finite_still_frames(model: Any) -> None:
    frames = model.animate(PHOTO, torch.zeros(5 * 640))
    assert frames.isfinite().all()
    assert frames.std(0).max() < 1e-5
