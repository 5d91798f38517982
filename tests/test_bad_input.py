"""Bad input to the command: one sentence that names the file, exit code 2, nothing left behind."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from talkingface.cli import main
from talkingface.data.video import VideoClip, VideoWriter, write_image
from tests.media import sampled, stamped, write_media
from tests.models.tiny import PC_AVS, SYNC

SIDE = 40


def clip(path: str, frames: int = 10, height: int = SIDE, width: int = SIDE) -> None:
    """A video without sound."""
    write_media(path, stamped(frames, height, width))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model."""
    folder: Path = PC_AVS().save_pretrained(tmp_path_factory.mktemp("saved") / "model")
    return folder


@pytest.fixture
def workspace(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny model and good inputs."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model, "model")
    write_image("face.png", torch.zeros(3, SIDE, SIDE))
    write_media("speech.wav", sound=sampled(0.2, 16_000), audio_codec="pcm_s16le")
    clip("head.mp4")
    return tmp_path


def generate(crop: str = "none", **files: str) -> int:
    """Run the command with a file in place of a good one."""
    given = {"model": "model", "source": "face.png", "audio": "speech.wav", **files}
    words = [word for name, path in given.items() for word in (f"--{name}", path)]
    return main(["generate", *words, "--crop", crop, "--device", "cpu", "-o", "out.mp4"])


def refused(capsys: pytest.CaptureFixture[str], code: int, name: str, word: str) -> None:
    """Check what is said, and that nothing is left of the output."""
    assert code == 2
    printed = capsys.readouterr()
    assert not printed.out
    (line,) = [line for line in printed.err.splitlines() if line.startswith("talkingface: ")]
    assert name in line and word in line and len(line) < 500, line
    assert "Traceback" not in printed.err
    assert not list(Path.cwd().rglob("*out.mp4")) and not list(Path.cwd().rglob(".*"))


def empty(path: str) -> None:
    Path(path).touch()


def folder(path: str) -> None:
    Path(path).mkdir()


def text(path: str) -> None:
    Path(path).write_text("this is no media file\n" * 50)


def cut(path: str) -> None:
    """Half of a good file of the same kind."""
    whole = f"whole{Path(path).suffix}"
    if path.endswith(".jpg"):
        Image.effect_noise((64, 64), 50).save(whole)
    else:
        write_media(whole, stamped(50, SIDE, SIDE), sampled(2.0, 16_000))
    data = Path(whole).read_bytes()
    Path(path).write_bytes(data[: len(data) // 2])
    os.remove(whole)


def soundless(path: str) -> None:
    clip(path)


def no_samples(path: str) -> None:
    write_media(path, sound=np.zeros((1, 0), np.float32), audio_codec="pcm_s16le")


def sound_only(path: str) -> None:
    write_media(path, sound=sampled(0.5, 16_000), audio_codec="pcm_s16le")


def wide(path: str) -> None:
    if path.endswith(".png"):
        write_image(path, torch.zeros(3, SIDE, 2 * SIDE))
    else:
        clip(path, width=2 * SIDE)


def gap(path: str) -> None:
    folder(path)
    for number in (0, 1, 3):
        write_image(Path(path, f"{number:06d}.png"), torch.zeros(3, SIDE, SIDE))


def nothing(path: str) -> None:
    """Leave the file missing."""


@pytest.mark.parametrize(
    ("option", "name", "make", "word"),
    [
        ("source", "bad.jpg", nothing, "not exist"),
        ("source", "bad.jpg", folder, "folder"),
        ("source", "bad.jpg", empty, "cannot be read as an image"),
        ("source", "bad.jpg", text, "not an image"),
        ("source", "bad.jpg", cut, "cannot be read as an image"),
        ("source", "bad.mp4", soundless, "not an image"),
        ("source", "bad.png", wide, "80x40"),
        ("audio", "bad.wav", nothing, "not exist"),
        ("audio", "bad.wav", folder, "folder"),
        ("audio", "bad.wav", empty, "empty"),
        ("audio", "bad.wav", text, "bad.wav"),
        ("audio", "bad.wav", no_samples, "bad.wav"),
        ("audio", "bad.mp4", cut, "cut off"),
        ("audio", "bad.mp4", soundless, "no sound"),
        ("driving", "bad.mp4", nothing, "not exist"),
        ("driving", "bad.mp4", folder, "no images"),
        ("driving", "bad.mp4", empty, "empty"),
        ("driving", "bad.mp4", text, "bad.mp4"),
        ("driving", "bad.mp4", cut, "cut off"),
        ("driving", "bad.avi", cut, "cut off"),
        ("driving", "bad.mkv", cut, "cut off"),
        ("driving", "bad.wav", sound_only, "no pictures"),
        ("driving", "bad.mp4", wide, "80x40"),
        ("driving", "frames", gap, "lacks frame 2"),
        ("pose", "bad.npy", nothing, "bad.npy"),
        ("pose", "bad.npy", text, "no .npy"),
        ("pose", "bad.npy", empty, "no .npy"),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
def test_bad_files(
    option: str,
    name: str,
    make: Callable[[str], None],
    word: str,
    workspace: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make(name)
    refused(capsys, generate(**{option: name}), name, word)


@pytest.mark.parametrize(("option", "name"), [("source", "wide.png"), ("driving", "wide.mp4")])
def test_aligned_frames_have_to_be_square(
    option: str, name: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide(name)
    refused(capsys, generate("aligned", **{option: name}), name, "square")


def test_pictures_without_a_face(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, generate("detect"), "face.png", "no face")


def test_a_driving_clip_that_breaks_while_it_is_read(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):  # a folder of frames is read as it goes
        write_image(f"frames_{number}.png", torch.zeros(3, SIDE, SIDE))
    Path("frames").mkdir()
    for number in range(4):
        Path(f"frames_{number}.png").rename(f"frames/{number}.png")
    write_image("frames/2.png", torch.zeros(3, SIDE // 2, SIDE // 2))
    refused(capsys, generate(driving="frames"), "frames", "changes its size")


def replace_code(path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return os.system, ("touch executed",)

    path.write_bytes(pickle.dumps({"state_dict": Code(), "hyper_parameters": {}}, protocol=2))


def other_method(path: Path) -> None:
    SYNC().save_pretrained(path)


def wrong_shape(path: Path) -> None:
    shutil.copytree("model", path)
    state = load_file(path / "model.safetensors")
    name = next(key for key in state if key.endswith("pose.weight") or state[key].ndim == 2)
    state[name] = torch.zeros(7, 5)
    save_file(state, path / "model.safetensors")


def foreign_class(path: Path) -> None:
    shutil.copytree("model", path)
    config = json.loads((path / "config.json").read_text())
    config["class"] = "os:system"
    (path / "config.json").write_text(json.dumps(config))


def no_json(path: Path) -> None:
    shutil.copytree("model", path)
    (path / "config.json").write_text("{")


def cut_weights(path: Path) -> None:
    shutil.copytree("model", path)
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def no_model(path: Path) -> None:
    path.mkdir()


def missing(path: Path) -> None:
    """Make nothing."""


@pytest.mark.parametrize(
    ("name", "make", "word"),
    [
        ("bad", missing, "no model"),
        ("bad", no_model, "no config.json"),
        ("bad", other_method, "PCAVSSync"),
        ("bad", wrong_shape, "(7, 5)"),
        ("bad", foreign_class, "os:system"),
        ("bad", no_json, "not valid JSON"),
        ("bad", cut_weights, "cut short"),
        ("bad.ckpt", replace_code, "would run code"),
        ("bad.ckpt", lambda path: path.touch(), "empty"),
    ],
    ids=["missing", "empty", "method", "shape", "class", "json", "cut", "code", "ckpt"],
)
def test_bad_models(
    name: str,
    make: Callable[[Path], None],
    word: str,
    workspace: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make(Path(name))
    refused(capsys, generate(model=name), name, word)
    assert not Path("executed").exists()


def test_an_output_that_was_there_stays_when_the_next_fails(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate() == 0
    before = Path("out.mp4").read_bytes()
    empty("bad.wav")
    assert generate(audio="bad.wav") == 2
    assert Path("out.mp4").read_bytes() == before


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "I;16", "1"])
def test_pictures_of_every_kind_work(mode: str, workspace: Path) -> None:
    name = "face.tif" if mode in ("CMYK", "I;16") else "face_.png"
    if mode == "I;16":
        Image.fromarray(np.full((SIDE, SIDE), 30_000, np.uint16)).save(name)
    else:
        Image.new(mode, (SIDE, SIDE)).save(name)
    assert generate(source=name) == 0
    assert VideoClip("out.mp4").frame_count == 5


def test_one_frame_is_enough_to_drive_but_not_to_train(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip("one.mp4", frames=1)
    assert generate(driving="one.mp4") == 0
    Path("clips").mkdir()
    with VideoWriter("clips/one.mp4", 32, 32, audio=torch.zeros(640)) as writer:
        writer.write(torch.zeros(1, 3, 32, 32))
    capsys.readouterr()
    assert main(["fit", "--config", "pc_avs/sync_tiny", "--data.root", "clips"]) == 2
    error = capsys.readouterr().err
    assert "one.mp4: too short: 1 frames" in error and "Traceback" not in error


@pytest.mark.parametrize(
    ("make", "word"),
    [(empty, "empty"), (text, "bad.mp4"), (cut, "cut off"), (soundless, "no sound")],
)
def test_prepare_fails_if_every_video_does(
    make: Callable[[str], None], word: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder("raw")
    make("raw/bad.mp4")
    assert main(["prepare", "raw", "ready", "--workers", "0"]) == 2
    table = capsys.readouterr().out
    assert "bad.mp4" in table and word in table and "1 failed" in table
    assert [path.name for path in Path("ready").rglob("*")] == ["crop.json"]
