"""The command: what it prints, what it returns, what it leaves."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import talkingface
from talkingface.cli import main
from talkingface.data.datasets.folder import find_folder_clips
from talkingface.data.datasets.voxceleb2 import find_voxceleb2_clips
from talkingface.data.preparation import PreparedClip
from talkingface.data.video import VideoClip, write_image
from talkingface.generation import VideoGenerator
from tests.media import sampled, write_media
from tests.models.tiny import DAVS_MAIN, PC_AVS


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny model, a picture and speech of five frames."""
    monkeypatch.chdir(tmp_path)
    PC_AVS().save_pretrained("model")
    write_image("face.png", torch.zeros(3, 32, 32))
    write_media("speech.wav", sound=sampled(0.2, 16_000), audio_codec="pcm_s16le")
    return tmp_path


GENERATE = ["generate", "--model", "model", "--crop", "none", "--device", "cpu"]
INPUTS = ["--source", "face.png", "--audio", "speech.wav"]


def test_generate_prints_the_path_and_shows_its_progress(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*GENERATE, *INPUTS, "-o", "made/out.mp4"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == ["made/out.mp4"]
    assert "0/5" in printed.err
    assert VideoClip("made/out.mp4").frame_count == 5


def test_generate_takes_every_option(workspace: Path) -> None:
    write_media("head.mp4", torch.zeros(4, 3, 40, 40, dtype=torch.uint8))
    np.save("codes.npy", np.zeros((3, 12)))
    options = [
        ["--driving", "head.mp4", "--side-by-side"],
        ["--pose", "codes.npy", "--chunk", "2"],
        ["--frontal", "--precision", "bf16"],
    ]
    for number, words in enumerate(options):
        assert main([*GENERATE, *INPUTS, *words, "--output", f"{number}.mp4"]) == 0
        assert VideoClip(f"{number}.mp4").width == (96 if number == 0 else 32)


def test_generate_sets_what_the_model_shall_do(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DAVS_MAIN().save_pretrained("davs")
    opened: list[Any] = []
    monkeypatch.setattr(
        VideoGenerator, "generate", lambda self, *_, **__: opened.append(self.model)
    )
    arguments = ["generate", "--model", "davs", *GENERATE[3:], *INPUTS, "-o", "out.mp4"]
    assert main([*arguments, "--set", "finetune_steps=2", "stabilise=true"]) == 0
    (model,) = opened
    assert (model.finetune_steps, model.stabilise) == (2, True)


def test_list_makes_what_it_can(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("jobs.csv").write_text(
        "source,audio,output\nface.png,speech.wav,a.mp4\nface.png,no.wav,b.mp4\n"
        "face.png,speech.wav,c.mp4\n"
    )
    assert main([*GENERATE, "--list", "jobs.csv"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a.mp4" and lines[2:] == ["c.mp4", "2 of 3 videos made."]
    assert lines[1].startswith("jobs.csv line 3 (b.mp4) failed: no.wav")
    Path("jobs.csv").write_text("source,audio,output\nface.png,speech.wav,a.mp4\n")
    assert main([*GENERATE, "--list", "jobs.csv"]) == 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "command"),
        (["paint"], "paint"),
        (["generate"], "--model"),
        (["generate", "--model", "m"], "--source"),
        (["generate", "--model", "m", "--list", "l.csv", "--audio", "a.wav"], "--list"),
        (["generate", "--model", "m", "--driving", "a", "--frontal"], "--frontal"),
        (["generate", "--model", "m", "--list", "none.csv"], "none.csv"),
        ([*GENERATE, *INPUTS, "-o", "out.avi"], "out.avi"),
        ([*GENERATE, *INPUTS, "-o", "out.mp4", "--chunk", "0"], "chunk"),
        ([*GENERATE, *INPUTS, "-o", "out.mp4", "--chunk", "x"], "--chunk"),
        ([*GENERATE[:-1], "warp", *INPUTS, "-o", "out.mp4"], "warp"),
        ([*GENERATE, *INPUTS, "-o", "out.mp4", "--set", "frontal"], "NAME=VALUE"),
        ([*GENERATE, *INPUTS, "-o", "out.mp4", "--set", "colour=red"], "'colour'"),
        (["generate", "--model", "no_model", *INPUTS, "-o", "out.mp4"], "no_model"),
        (["prepare", "nowhere", "out"], "nowhere"),
        (["prepare", ".", "out", "--method", "wav2lip"], "wav2lip"),
        (["convert", "pc_avs", "nowhere", "out"], "nowhere"),
        (["convert", "psp", "nowhere", "out"], "nowhere"),
        (["convert", "facenet", "nowhere", "out"], "nowhere"),
        (["convert", "wav2lip", "a", "b"], "wav2lip"),
        (["fit", "--model", "nowhere.module.Net"], "--model: No module named 'nowhere': install"),
    ],
)
def test_usage_errors_are_one_sentence(
    arguments: list[str], word: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("talkingface: ") and word in line and not printed.out
    assert not Path("out.mp4").exists() and not Path("out").exists()


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--version", "--help"):
        with pytest.raises(SystemExit) as end:
            main([option])
        assert end.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(talkingface.__version__)
    for command in ("fit", "validate", "test", "prepare", "convert", "generate", "demo"):
        assert f"  {command} " in printed


def test_runs_as_a_module_and_fails_with_its_exit_code() -> None:
    words = [sys.executable, "-m", "talkingface", "convert", "pc_avs", "nowhere", "out"]
    ended = subprocess.run(words, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("talkingface: ") and "nowhere" in ended.stderr


def test_interruption_leaves_nothing_and_is_told(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("talkingface.data.video.VideoWriter._blocks", stop)
    before = sorted(workspace.iterdir())
    assert main([*GENERATE, *INPUTS, "-o", "out.mp4"]) == 130
    assert "talkingface: interrupted." in capsys.readouterr().err
    assert sorted(workspace.iterdir()) == before


@pytest.mark.parametrize(
    ("statuses", "code"),
    [(("done", "failed"), 0), (("skipped", "skipped"), 0), (("failed", "failed"), 2)],
)
def test_prepare_hands_its_options_on_and_prints_the_table(
    statuses: tuple[Any, ...],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given: list[Any] = []

    def prepare(*arguments: Any) -> list[PreparedClip]:
        given.extend(arguments)
        return [PreparedClip(f"{n}.mp4", status) for n, status in enumerate(statuses)]

    monkeypatch.setattr("talkingface.data.preparation.prepare", prepare)
    words = ["prepare", "raw", "ready", "--method", "pc_avs", "--size", "96", "--workers", "3"]
    assert main([*words, "--face", "1", "--previews", "seen"]) == code
    assert given == ["raw", "ready", "pc_avs", 96, 3, 1, "seen"]
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in table[1:3]] == [
        [f"{n}.mp4", status] for n, status in enumerate(statuses)
    ]


def test_convert_saves_what_the_authors_files_hold(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("official").mkdir()
    model = PC_AVS()
    monkeypatch.setattr(talkingface.PCAVS, "from_official", lambda folder: model)
    for files in (["model.safetensors"], ["discriminator.safetensors", "model.safetensors"]):
        assert main(["convert", "pc_avs", "official", "converted"]) == 0
        assert sorted(p.name for p in Path("converted").glob("*.safetensors")) == files
        Path("official/latest_net_D.pth").touch()
    assert Path(capsys.readouterr().out.splitlines()[0]).name == "converted"
    facts = json.loads(Path("converted/config.json").read_text())
    assert (facts["licence"], facts["training_data"]) == ("CC-BY-4.0", "VoxCeleb2")


def test_half_written_clips_are_no_data(tmp_path: Path) -> None:
    folder = tmp_path / "id00012" / "video"
    folder.mkdir(parents=True)
    for name in ("00001.mp4", ".5f0c3f.mp4"):
        (folder / name).touch()
    for find in (find_folder_clips, find_voxceleb2_clips):
        assert [Path(clip.path).name for clip in find(str(tmp_path))] == ["00001.mp4"]
