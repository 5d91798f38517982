"""Sync experts: official networks and front ends, offsets, the loss's plateau, learning."""

import logging
import math
import runpy
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from talkingface.data.batch import audio_window
from talkingface.data.synthetic.dataset import write_clips
from talkingface.models.components.audio_frontends import SyncNetMFCC, Wav2LipMel
from talkingface.models.experts.syncnet.expert import SyncExpert
from talkingface.models.experts.syncnet.offsets import find_offset, offset_histogram
from talkingface.models.experts.syncnet.syncnet import SyncNet
from tests.fixtures import fill
from tests.models.test_pc_avs_parity import FIXTURES, check, normal, official
from tests.models.tiny import SYNC_EXPERT, fit, items, loader, seed, trainer


@pytest.fixture(scope="module")
def sound() -> Tensor:
    with wave.open(str(FIXTURES / "audio_input.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return torch.from_numpy(samples.astype(np.float32) / 2**15)


# ------------------------------------------------------------------------------------ front ends


def test_mfcc_of_an_utterance(sound: Tensor) -> None:
    error = fill.compare(
        SyncNetMFCC().utterance(sound).T.double().numpy(), FIXTURES, "audio_syncnet_mfcc", "mfcc"
    )
    assert error <= 1e-3


@pytest.mark.parametrize(("padding", "output"), [("zero", "mel"), ("reflect", "mel_reflect_pad")])
def test_mel_of_an_utterance(sound: Tensor, padding: Any, output: str) -> None:
    mel = Wav2LipMel(padding).utterance(sound).T
    check(mel, "audio_wav2lip_mel", output, tolerance=1e-3)


def test_mel_windows_of_an_utterance(sound: Tensor) -> None:
    check(Wav2LipMel().windows(sound), "audio_wav2lip_mel", "windows", tolerance=1e-3)


@pytest.mark.parametrize("front_end", [SyncNetMFCC(), Wav2LipMel()], ids=["mfcc", "mel"])
@pytest.mark.parametrize("start", [0, 1, 4, 13, 29])
def test_windows_of_a_part_are_those_of_the_whole(
    sound: Tensor, front_end: Any, start: int
) -> None:
    part = audio_window(sound, start, 20)[None].repeat(2, 1)
    windows = front_end(part, torch.tensor([start, start]))
    assert windows.shape[:2] == (2, 16)
    whole = front_end.windows(sound)[start : start + 16]
    torch.testing.assert_close(windows, whole.expand_as(windows), rtol=0, atol=1e-4)


@pytest.mark.parametrize("front_end", [SyncNetMFCC(), Wav2LipMel()], ids=["mfcc", "mel"])
def test_silence_is_finite(front_end: Any) -> None:
    assert front_end.windows(torch.zeros(16000)).isfinite().all()
    assert front_end(torch.zeros(1, 9600), torch.tensor([3])).isfinite().all()


def test_silent_mel_is_the_floor() -> None:
    assert (Wav2LipMel().windows(torch.zeros(16000)) == -4).all()


@pytest.mark.parametrize("front_end", [SyncNetMFCC(), Wav2LipMel()], ids=["mfcc", "mel"])
def test_sound_of_wrong_length_is_refused(front_end: Any) -> None:
    with pytest.raises(ValueError, match="9601 samples"):
        front_end(torch.zeros(1, 9601), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"\(3199,\).*five frames"):
        front_end.windows(torch.zeros(3199))


# -------------------------------------------------------------------------------------- networks


def test_syncnet_gives_the_official_numbers(tmp_path: Any) -> None:
    torch.save(official("syncnet_S"), tmp_path / "syncnet_v2.model")
    network = SyncNet.from_official(tmp_path / "syncnet_v2.model")
    frames = torch.from_numpy(fill.inp_image("syncnet/lip", 5, 224, 224, lo=0, hi=255)).round()
    faces = frames.view(1, 5, 3, 224, 224).transpose(1, 2)
    mfcc = torch.from_numpy(fill.inp_normal("syncnet/mfcc", (1, 1, 13, 20), scale=10, shift=-4))
    with torch.inference_mode():
        audio, visual = network(mfcc, faces)
        check(audio, "syncnet_S", "audio_embedding")
        check(visual, "syncnet_S", "lip_embedding")
        check(network.lip_features(faces), "syncnet_S", "lip_feature512")
        check(network.netcnnaud[:8](mfcc), "syncnet_S", "aud_stage1")
        check(network.netcnnlip[:8](faces), "syncnet_S", "lip_stage1")
        # The same window as RGB frames in [-1, 1].
        embedded = network.embed_video((frames.flip(1) / 127.5 - 1).clamp(-1, 1))
    torch.testing.assert_close(embedded, visual, rtol=0, atol=1e-3)


def test_wav2lip_expert_gives_the_official_numbers(tmp_path: Any) -> None:
    state = {f"module.{name}": value for name, value in official("wav2lip_syncnet_color").items()}
    file = {"state_dict": state, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}}
    torch.save(file | {"global_step": 7}, tmp_path / "lipsync_expert.pth")
    expert = SyncExpert.from_official(tmp_path / "lipsync_expert.pth")
    mel = normal("wav2lip_syncnet/mel", 1, 1, 80, 16)
    faces = torch.from_numpy(
        fill.inp_image("wav2lip_syncnet/face", 1, 48, 96, lo=0, hi=1, c=15, cell=16)
    )
    with torch.inference_mode():
        audio, visual = expert.networks(mel, faces)
        check(audio, "wav2lip_syncnet_color", "audio_embedding")
        check(visual, "wav2lip_syncnet_color", "face_embedding")
        check((audio * visual).sum(1), "wav2lip_syncnet_color", "cosine")
        # The same window as RGB frames of 96 x 96 in [-1, 1], of which the upper half counts not.
        frames = faces.view(5, 3, 48, 96).flip(1) * 2 - 1
        frames = torch.cat([torch.rand(5, 3, 48, 96), frames], 2)
        torch.testing.assert_close(expert.embed_video(frames), visual, rtol=0, atol=1e-4)
    assert expert.hparams["padding"] == "reflect"


def test_another_file_is_refused(tmp_path: Any) -> None:
    torch.save({"netcnnaud.0.weight": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"netcnnaud\.0\.weight"):
        SyncExpert.from_official(tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"netcnnaud\.0\.weight"):
        SyncNet.from_official(tmp_path / "x.pth")


# --------------------------------------------------------------------------------------- offsets


def walk(count: int, size: int = 16) -> Tensor:
    """Features that change gradually, as windows that overlap do."""
    noise = torch.randn(1, size, count + 4, generator=torch.Generator().manual_seed(0))
    return F.normalize(F.avg_pool1d(noise, 5, 1)[0].T)


@pytest.mark.parametrize("planted", [-15, -8, -1, 0, 1, 8, 15])
@pytest.mark.parametrize("padding", ["mean", "zero"])
def test_planted_offset_is_found(planted: int, padding: Any) -> None:
    features = walk(100)
    visual, audio = features[20:70], features[20 + planted : 70 + planted]
    offset, distances = find_offset(visual, audio, 15, padding)
    assert offset == planted
    assert distances.shape == (31,)
    assert distances[15 - planted] == distances.min()


class Reader:
    """An expert to whom frames and sound show their features."""

    def embed_video(self, frames: Tensor) -> Tensor:
        return walk(200)[frames[4:, 0, 0, 0].long()]

    def embed_audio(self, audio: Tensor) -> Tensor:
        return walk(200)[audio[: -4 * 640 : 640].long()]


def test_histogram_names_clips_out_of_sync() -> None:
    time = torch.arange(60.0)
    clips = [
        (f"clip {k}", (time + 40)[:, None, None, None], (time + 44 + k).repeat_interleave(640))
        for k in (0, 1, 0, -1, -9)
    ]
    found = offset_histogram(Reader(), [(f"{i} {n}", f, a) for i, (n, f, a) in enumerate(clips)])
    assert found.counts == {0: 2, 1: 1, -1: 1, -9: 1}
    assert found.out_of_sync() == {"4 clip -9": -9}
    assert found.out_of_sync(tolerance=0) == {"1 clip 1": 1, "3 clip -1": -1, "4 clip -9": -9}
    assert [line.split()[0] for line in str(found).splitlines()] == ["-9", "-1", "+0", "+1"]


def test_short_clip_is_refused() -> None:
    with pytest.raises(ValueError, match="lower vshift"):
        find_offset(walk(10), walk(10), 15)


# -------------------------------------------------------------------------------------- training


def plateau_warnings(caplog: pytest.LogCaptureFixture, model: Any, data: Any, epochs: int) -> int:
    seed(0)
    model.plateau.patience = 10
    caplog.clear()
    with caplog.at_level(logging.WARNING, "talkingface"):
        fit(model, data, max_epochs=epochs)
    return sum("chance" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("loss", ["infonce", "bce"])
def test_warning_where_the_loss_sits_at_chance(caplog: pytest.LogCaptureFixture, loss: str) -> None:
    silent: Any = [
        {**item, "audio": torch.zeros_like(item["audio"])} for item in items(2, frames=8)
    ]
    still = SYNC_EXPERT(loss=loss, augment=False, lr=1e-2)
    assert plateau_warnings(caplog, still, DataLoader(silent, 2), 12) == 1


def test_no_warning_where_it_learns(caplog: pytest.LogCaptureFixture) -> None:
    model = SYNC_EXPERT(augment=False, lr=1e-2)
    assert plateau_warnings(caplog, model, loader(2, 2, frames=8), 40) == 0
    scores = trainer().validate(model, loader(2, 2, frames=8), verbose=False)[0]
    assert scores["val/accuracy"] > 0.7


def test_validation_scores_by_hand() -> None:
    model = SYNC_EXPERT()
    scores = trainer().validate(model, loader(2, 1, frames=11), verbose=False)[0]
    cosines = []
    with torch.no_grad():
        for item in items(2, frames=11):
            visual = model.eval().embed_video(item["video"])
            windows = model.front_end(item["audio"][None], torch.tensor([item["start"]]))[0]
            cosines.append(visual @ model.encode_audio(windows).T)
    own = torch.stack([c.diagonal().mean() for c in cosines]).mean()
    far = torch.stack([torch.cat([c.triu(5), c.tril(-5)]).sum() / 6 for c in cosines]).mean()
    assert scores["val/cosine"] == pytest.approx(float(own), abs=1e-5)
    assert scores["val/gap"] == pytest.approx(float(own - far), abs=1e-5)


def test_learning_rate_falls() -> None:
    model = SYNC_EXPERT(lr=0.5)
    training = fit(model, loader(4, 2, frames=8), max_epochs=3)
    last = 0.5 + 0.5 * math.cos(math.pi * 5 / 6)  # the sixth of six updates
    assert training.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.5 * last)


def test_syncnet_trains_as_well() -> None:
    model = SyncExpert("syncnet", width=2)
    start = {name: value.clone() for name, value in model.named_parameters()}
    fit(model, loader(2, 2, frames=6))
    moved = [name for name, value in model.named_parameters() if not value.equal(start[name])]
    assert any("netcnnlip" in name for name in moved) and any("netcnnaud" in name for name in moved)


def test_saved_expert_opens_again(tmp_path: Any) -> None:
    model = SYNC_EXPERT(box=(0.4, 0.2, 0.8, 0.8)).eval()
    opened = SyncExpert.from_pretrained(model.save_pretrained(tmp_path / "expert"))
    frames, sound = items(1, frames=40)[0]["video"], torch.randn(40 * 640)
    assert torch.equal(opened.embed_video(frames), model.embed_video(frames))
    assert opened.offset(frames, sound) == model.offset(frames, sound)
    kept = {name: value.clone() for name, value in opened.state_dict().items()}
    opened.train().offset(frames, sound)  # measures, and learns nothing
    assert all(torch.equal(value, kept[name]) for name, value in opened.state_dict().items())
    assert opened.training
    norms = opened.embed_audio(sound).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_training_starts_from_another_expert(tmp_path: Any) -> None:
    first = SYNC_EXPERT(box=(0.4, 0.2, 0.8, 0.8))
    folder = first.save_pretrained(tmp_path / "first")
    second = SYNC_EXPERT(loss="bce").initialise(folder)
    assert second.box == (0.5, 0.0, 1.0, 1.0)
    for name, value in first.networks.state_dict().items():
        assert torch.equal(second.networks.state_dict()[name], value)
    with pytest.raises(ValueError, match="same sizes"):
        SYNC_EXPERT(width=3).initialise(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": "resnet"}, "network.*'resnet'"),
        ({"loss": "margin"}, "loss.*'margin'"),
        ({"network": "syncnet", "loss": "bce"}, "infonce"),
        ({"box": (0.5, 0.0, 0.5, 1.0)}, "box"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SYNC_EXPERT(**arguments)


def test_bad_frames_are_refused() -> None:
    model = SYNC_EXPERT()
    with pytest.raises(ValueError, match="T >= 5"):
        model.embed_video(torch.zeros(4, 3, 32, 32))
    with pytest.raises(ValueError, match=r"\[-1, 1\].*255"):
        model.embed_video(torch.full((6, 3, 32, 32), 255.0))
    with pytest.raises(ValueError, match="six or more"):
        fit(model, loader(2, 2, frames=5))
    with pytest.raises(ValueError, match=r"windows have 4 frames.*--data\.frames 5"):
        fit(model, loader(2, 2, frames=4))


def test_chance_is_log_2_and_log_n() -> None:
    model, other = SYNC_EXPERT(), SYNC_EXPERT(loss="bce")
    same = torch.full((2, 7, 4), 0.5)
    loss, chance = model._score(same, same)
    assert float(loss) == pytest.approx(math.log(7)) == pytest.approx(chance)
    assert other._score(same, same)[1] == pytest.approx(math.log(2))


# -------------------------------------------------------------------------------------- examples


def run_example(name: str, *arguments: object) -> None:
    path = Path(__file__).parents[2] / "examples" / name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(path), run_name="__main__")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    seed(0)
    return SYNC_EXPERT().save_pretrained(tmp_path_factory.mktemp("sync") / "expert")


def test_check_sync(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clips(tmp_path, 2, seconds=1.2, size=32)
    write_clips(tmp_path / "short", 1, seconds=0.4, size=32)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    run_example("check_sync.py", saved, tmp_path)
    printed = capsys.readouterr().out
    assert "2 clips" in printed
    assert "short" in printed and "10 frames" in printed and "broken.mp4" in printed


def test_evaluate_sync_on_a_folder(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clips(tmp_path, 3, seconds=1.4, size=32)
    names = sorted(path.stem for path in tmp_path.glob("*.mp4"))
    rows = [
        f"{name},{word},{start},{start + 0.7}"
        for name in names
        for word, start in (("bin", 0.0), ("blue", 0.5))
    ]
    (tmp_path / "words.csv").write_text("\n".join(["clip,word,start_s,end_s", *rows]))
    run_example(
        "evaluate_sync.py", saved, tmp_path, "--held-out", 0.67, "--words", tmp_path / "words.csv"
    )
    counts = [int(line[44:51]) for line in capsys.readouterr().out.splitlines()]
    assert counts == [2, 4, 4]  # of two clips held out: whole, and cut at 0 s and at 0.2 s


def test_evaluate_sync_on_the_corpus(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_example("evaluate_sync.py", saved, "--people", 1, "--size", 16)
    offsets, cosines, _ = capsys.readouterr().out.splitlines()
    assert offsets.split()[7:9] == ["5", "s"] and " 17 " in offsets
    assert "true pairs 0." in cosines
