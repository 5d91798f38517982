"""The demo, on clips of a second and a model that has hardly been trained."""

from pathlib import Path

import pytest
import torch
import yaml

from talkingface import PCAVS
from talkingface.data.synthetic.dataset import write_clips
from talkingface.data.video import VideoClip, read_image, read_metadata
from talkingface.demo import demo, training_precision
from talkingface.training import CONFIGS


@pytest.fixture
def small_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny configuration, made smaller still."""
    config = yaml.safe_load((CONFIGS / "pc_avs" / "main_tiny.yaml").read_text())
    config["model"]["init_args"] |= {
        "image_size": 32,
        "trunk_channels": 16,
        "trunk_depth": 2,
        "generator_channels": [16, 16, 8, 8],
        "map_channels": 16,
        "discriminator_channels": 8,
    }
    config["data"]["init_args"] |= {"size": 32, "batch_size": 2, "windows_per_clip": 2}
    folder = tmp_path / "configs" / "pc_avs"
    folder.mkdir(parents=True)
    (folder / "main_tiny.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setattr("talkingface.demo.CONFIGS", tmp_path / "configs")


@pytest.mark.usefixtures("small_config")
def test_demo_shows_clips_that_are_given(tmp_path: Path) -> None:
    clips = write_clips(tmp_path / "clips", 2, seconds=2, size=32)
    video, sheet, model = demo(tmp_path / "clips", tmp_path / "out", minutes=0.02)

    shown = VideoClip(video)
    assert (shown.frame_count, shown.height, shown.width) == (50, 32, 96)
    assert "synthetic" in read_metadata(video)["comment"]
    source = VideoClip(clips[0]).read(0, 1)[0]
    beside = shown.read(0, 1)[0, :, :, :32]
    assert (beside.float() - source.float()).abs().mean() < 12  # H.264 twice, at 32 px
    assert read_image(sheet).shape[0] == 3
    assert PCAVS.from_pretrained(model).image_size == 32


@pytest.mark.usefixtures("small_config")
def test_demo_draws_clips_where_none_are_given(tmp_path: Path) -> None:
    paths = demo(None, tmp_path, minutes=0.02, drawn=2)
    assert all(path.exists() for path in paths)
    assert len(list((tmp_path / "clips").glob("*.mp4"))) == 2


def test_time_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="minutes=0"):
        demo(None, tmp_path / "out", minutes=0)
    assert not (tmp_path / "out").exists()


def test_precision_is_one_that_lightning_knows() -> None:
    expected = {"bf16-mixed", "32-true"}
    assert training_precision() in expected
    if not torch.cuda.is_available() and not torch.cpu._is_avx512_bf16_supported():
        assert training_precision() == "32-true"
