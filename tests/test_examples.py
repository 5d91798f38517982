"""Every example runs as a script, on small files."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from talkingface.data.synthetic.dataset import write_clips
from talkingface.data.video import read_image
from tests.models.tiny import PC_AVS

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *arguments: str | Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_draw_synthetic_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("--folder", tmp_path, "--seconds", "1", "--size", "32")
    run("draw_synthetic_clip.py", *arguments, monkeypatch=monkeypatch)
    assert {path.suffix for path in tmp_path.iterdir()} == {".mp4", ".safetensors", ".png"}


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
