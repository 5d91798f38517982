"""The method outside the package does what those inside do, through the same commands."""

import csv
import doctest
import wave
from pathlib import Path
from typing import Any

import pytest
import torch
import wav2lip.module
import wav2lip.networks
from torch.utils.data import default_collate
from wav2lip.module import Wav2Lip

from talkingface.cli import main
from talkingface.data.video import VideoClip, write_image
from talkingface.evaluation.results import COPY, GROUND_TRUTH, wrong_audio
from tests.models import test_protocol as protocol
from tests.models.tiny import PC_AVS, SIZE, SYNC_EXPERT, Tiny, fit, items, loader, seed

CONFIG = Path(wav2lip.module.__file__).parent / "wav2lip.yaml"
NAME = "wav2lip.module:Wav2Lip"
HALF = SIZE // 2
WAV2LIP = Tiny(
    Wav2Lip,
    {
        "image_size": SIZE,
        "width": 1,
        "discriminator_channels": 4,
        "sync_weight": 0.0,  # an expert sees five frames at a time
        "lr": 1e-3,
    },
    random={"ema_half_life": 100.0, "clip": 1.0},
    stages={"sync": SYNC_EXPERT},
)


@pytest.fixture(scope="module")
def model() -> Any:
    seed(0)
    return WAV2LIP.responsive(width=2)


# ------------------------------------------------------------------------------- as any method


@pytest.mark.parametrize(
    "check",
    [
        protocol.test_accumulation_is_a_larger_batch,
        protocol.test_both_players_move,
        protocol.test_bfloat16_keeps_weights_finite,
        protocol.test_validation_scores_the_reconstruction,
        protocol.test_exported_weights_are_the_networks_alone,
    ],
)
def test_it_trains_as_any_method(check: Any) -> None:
    check(WAV2LIP)


@pytest.mark.parametrize(
    "check",
    [
        protocol.test_log_counts_each_pair_of_updates_once,
        protocol.test_checkpoint_opens_anywhere,
        protocol.test_saved_model_gives_the_same_frames,
    ],
)
def test_it_is_kept_as_any_method(check: Any, tmp_path: Path) -> None:
    check(WAV2LIP, tmp_path)


@pytest.mark.parametrize("way", ["own", "driving"])
def test_it_animates_as_any_method(way: str, model: Any) -> None:
    protocol.test_frames_do_not_depend_on_the_chunk(model, way)


@pytest.mark.parametrize("module", [wav2lip.networks, wav2lip.module])
def test_its_examples_run(module: Any) -> None:
    failed, tried = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried and not failed


# ------------------------------------------------------------------------------- what it does


def test_the_sound_decides_the_lower_half_alone(model: Any) -> None:
    frames, sounds = protocol.LIPS, (protocol.AUDIO, protocol.AUDIO.flip(0))
    for driving, given in ((None, protocol.SOURCE[:1].expand(40, -1, -1, -1)), (frames, frames)):
        a, b = (model.animate(protocol.SOURCE, sound, driving) for sound in sounds)
        for made in (a, b):
            assert torch.equal(made[:, :, :HALF], given[:, :, :HALF])
        assert (a - b)[:, :, HALF:].abs().mean() > 1e-3


def test_the_lips_to_replace_are_not_seen(model: Any) -> None:
    frames = protocol.LIPS.clone()
    made = model.animate(protocol.SOURCE, protocol.AUDIO, frames)
    frames[:, :, HALF:] = torch.rand_like(frames[:, :, HALF:])
    assert torch.equal(model.animate(protocol.SOURCE, protocol.AUDIO, frames), made)
    # Those of the reference are: they show what the person's mouth looks like.
    source = protocol.SOURCE.clone()
    source[:, :, HALF:] *= -1
    other = model.animate(source, protocol.AUDIO, frames)
    assert (other - made)[:, :, HALF:].abs().mean() > 1e-3


def test_its_sound_is_that_around_the_frame(model: Any) -> None:
    sound = torch.zeros(30 * 640)
    quiet = model.animate(protocol.SOURCE, sound)
    sound[15 * 640 : 16 * 640] = 0.2 * torch.randn(640)
    heard = (model.animate(protocol.SOURCE, sound) - quiet).abs().flatten(1).amax(1) > 1e-4
    # A frame's window begins two frames before it and lasts five; its ends see 400 samples more.
    assert heard[13:18].all() and not heard[:12].any() and not heard[20:].any()


def test_losses_are_the_papers() -> None:
    model = Wav2Lip(SIZE, width=1, discriminator_channels=4)
    batch: Any = default_collate(items(2))
    fake = (batch["video"] + 0.5 * torch.rand_like(batch["video"])).clamp(-1, 1)
    cosines = torch.tensor([[0.5, 0.8], [0.9, 0.2]])
    visual = torch.stack([cosines, (1 - cosines**2).sqrt()], -1)
    sound = torch.tensor([1.0, 0.0]).expand_as(visual)
    model._fixed["sync"] = lambda *_: (visual, sound)  # type: ignore[assignment]
    with torch.no_grad():
        losses = model.generator_losses(batch, {"video": fake})
        scores = model.discriminator(fake.flatten(0, 1)[:, :, HALF:])[-1]
        truth = model.discriminator(batch["video"].flatten(0, 1)[:, :, HALF:])[-1]
        judged = model.discriminator_losses(batch, {"video": fake})
    expected = {
        "l1": 0.9 * (fake - batch["video"]).abs().mean(),
        "sync": -0.03 * cosines.log().mean(),
        "gan": -0.07 * scores.sigmoid().log().mean(),
    }
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, msg=name)
    assert losses.keys() == expected.keys()
    torch.testing.assert_close(
        judged["real"] / judged["fake"],
        (truth.sigmoid().log().mean() / (1 - scores.sigmoid()).log().mean()),
    )


def test_the_expert_moves_the_lips_and_stays_as_it_is() -> None:
    expert = SYNC_EXPERT()
    batches = loader(4, 2, frames=6)
    trained = []
    for weight in (0.0, 0.9):
        seed(0)
        model = WAV2LIP(sync_weight=weight, gan_weight=0.0)
        model._fixed["sync"] = expert
        start = {name: value.clone() for name, value in expert.state_dict().items()}
        fit(model, batches)
        assert all(torch.equal(value, start[n]) for n, value in expert.state_dict().items())
        trained.append(model.networks.to_rgb[1].weight)
    assert not torch.allclose(*trained)
    assert not any("sync" in name or "fixed" in name for name in model.state_dict())


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(ValueError, match="size=40: give a multiple of 32"):
        Wav2Lip(40)
    with pytest.raises(ValueError, match=r"sync_weight=0.5 and gan_weight=0.5 leave nothing"):
        Wav2Lip(SIZE, 1, sync_weight=0.5, gan_weight=0.5)
    with pytest.raises(FileNotFoundError, match=r"needs a sync expert: give --init\.sync"):
        fit(WAV2LIP(sync_weight=0.03), loader(2, 2))
    model = WAV2LIP()
    with pytest.raises(ValueError, match="audio is missing"):
        model.animate(protocol.SOURCE, None, protocol.DRIVING)
    with pytest.raises(ValueError, match="pose and frontal"):
        model.animate(protocol.SOURCE, protocol.AUDIO, frontal=True)


# ------------------------------------------------------------------------------- the commands


def test_fit_generate_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small = {"image_size": SIZE, "width": 1, "discriminator_channels": 4}
    clips = {"size": SIZE, "identities": 2, "takes": 1, "seconds": 0.4, "batch_size": 2}
    clips |= {"val_identities": 1, "test_identities": 1, "windows_per_clip": 1}
    trainer = {"max_epochs": 1, "accelerator": "cpu", "callbacks": "null", "logger": "false"}
    options = [f"--model.{key}={value}" for key, value in small.items()]
    options += [f"--data.{key}={value}" for key, value in clips.items()]
    options += [f"--trainer.{key}={value}" for key, value in trainer.items()]
    assert main(["fit", "--config", str(CONFIG), "--init.sync", "sync-expert", *options]) == 0

    folder = "runs/wav2lip/model"
    write_image("face.png", torch.rand(3, SIZE, SIZE))
    with wave.open("speech.wav", "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 3200))
    job = ["--source", "face.png", "--audio", "speech.wav", "--output", "out.mp4"]
    generate = ["generate", "--model", folder, *job, "--crop", "none"]
    assert main(generate) == 2
    assert f"--method {NAME}) if you trust it" in capsys.readouterr().err
    assert main([*generate, "--method", NAME]) == 0
    film = VideoClip("out.mp4")
    assert (len(film), film.height, film.width) == (5, SIZE, SIZE)

    PC_AVS.responsive().save_pretrained("pc_avs")
    models = ["--models", f"mine={folder}", "theirs=pc_avs", "--method", NAME]
    sizes = ["--clips", "3", "--seconds", "0.24", "--size", "64", "--videos", "0"]
    protocols = ["--protocols", "exact", "exact-still"]
    assert main(["compare", *models, *sizes, *protocols, "-o", "report"]) == 0
    with open("report/results.csv") as table:
        rows = list(csv.DictReader(table))
    found = {row["model"] for row in rows if row["protocol"] == "exact-still"}
    players = {name for model in ("mine", "theirs") for name in (model, wrong_audio(model))}
    assert found == {COPY, GROUND_TRUTH, *players}  # and no rows for lips from a video
    assert "mine" not in {row["model"] for row in rows if row["protocol"] == "exact"}
    assert all(row["failed"] == "0" for row in rows if row["metric"] == "psnr")
