"""What a run shows in TensorBoard, read back from the event file that it writes."""

import io
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from talkingface.callbacks import CosineDecay, LogFrames, frame_grid
from tests.models.tiny import PC_AVS, SYNC, loader, trainer

SIZE, BORDER = 16, 2


def level(*values: float) -> Tensor:
    """Frames of even greys: (len(values), 3, SIZE, SIZE)."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, SIZE, SIZE)


@pytest.fixture
def written(tmp_path: Path) -> tuple[Any, Any]:
    """The events of a validation with two clips of three frames, all of them of one grey each."""
    logger = TensorBoardLogger(str(tmp_path), name="run", version="")
    real = torch.stack([level(-1.0, -0.6, -0.2), level(0.2, 0.4, 0.6)])
    batch = cast(Any, {"video": real, "source": torch.stack([level(0.8), level(1.0)])})
    state = SimpleNamespace(
        logger=logger, sanity_checking=False, global_step=14, is_global_zero=True
    )
    module = SimpleNamespace(updates=7)
    callback = LogFrames(columns=3)
    for number in range(2):  # only the first batch is shown
        frames = {"frames": real.flip(1)}
        callback.on_validation_batch_end(cast(Any, state), cast(Any, module), frames, batch, number)
    logger.experiment.flush()
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    (grid,), (video,) = (events.Images(f"validation/{name}") for name in ("frames", "video"))
    return grid, video


def grey(picture: Image.Image, x: int, y: int) -> float:
    """The even grey of a block, in [-1, 1]."""
    values = np.asarray(picture.convert("RGB"))[y : y + SIZE, x : x + SIZE]
    assert np.ptp(values.astype(int)) <= 3  # a GIF has 256 colours
    return float(values.mean() / 127.5 - 1)


def test_grid_shows_source_and_target_above_result(written: tuple[Any, Any]) -> None:
    grid = written[0]
    assert grid.step == 7  # updates, not Trainer's count of both optimizers' steps
    picture = Image.open(io.BytesIO(grid.encoded_image_string))
    side = SIZE + BORDER
    assert picture.size == (4 * side + BORDER, 4 * side + BORDER)
    shown = [
        [grey(picture, BORDER + x * side, BORDER + y * side) for x in range(4)] for y in range(4)
    ]
    expected = [
        [0.8, -1.0, -0.6, -0.2],
        [-1.0, -0.2, -0.6, -1.0],  # results run backwards; black below the source
        [1.0, 0.2, 0.4, 0.6],
        [-1.0, 0.6, 0.4, 0.2],
    ]
    assert np.allclose(shown, expected, atol=0.01)


def test_video_plays_targets_above_results(written: tuple[Any, Any]) -> None:
    video = written[1]
    assert video.step == 7
    animation = Image.open(io.BytesIO(video.encoded_image_string))
    assert (animation.format, animation.n_frames) == ("GIF", 3)  # type: ignore[attr-defined]
    assert animation.size == (2 * SIZE, 2 * SIZE) == (video.width, video.height)
    for time, expected in enumerate([(-1.0, 0.2, -0.2, 0.6), (-0.6, 0.4, -0.6, 0.4)]):
        animation.seek(time)
        assert animation.info["duration"] == 40  # milliseconds: 25 fps
        shown = [grey(animation, x, y) for y in (0, SIZE) for x in (0, SIZE)]
        assert np.allclose(shown, expected, atol=0.02)


def test_grid_shows_evenly_spaced_times() -> None:
    real = level(*torch.linspace(-1, 1, 9).tolist())[None]
    grid = frame_grid(level(0.0), real, real, columns=3)
    side = SIZE + BORDER
    shown = [float(grid[0, BORDER, BORDER + x * side]) for x in range(1, 4)]
    assert shown == pytest.approx([0.0, 0.5, 1.0])


def test_a_fit_logs_pictures_every_epoch_but_not_in_the_sanity_check(tmp_path: Path) -> None:
    logger = TensorBoardLogger(str(tmp_path), name="run", version="")
    options = {"logger": logger, "max_epochs": 2, "num_sanity_val_steps": 1, "log_every_n_steps": 1}
    made = trainer(callbacks=[LogFrames()], **options)
    made.fit(PC_AVS(), loader(4, 2), loader(2, 2))
    logger.experiment.flush()
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    assert [event.step for event in events.Images("validation/frames")] == [2, 4]
    assert [event.step for event in events.Images("validation/video")] == [2, 4]


def test_stages_without_frames_are_left_alone(tmp_path: Path) -> None:
    logger = TensorBoardLogger(str(tmp_path), name="run", version="")
    made = trainer(callbacks=[LogFrames()], logger=logger)
    made.validate(SYNC(), loader(2, 2), verbose=False)
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    assert not events.Tags()["images"] and "val/loss" in events.Tags()["scalars"]


def test_other_ranks_log_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("lightning_fabric.loggers.logger.rank_zero_only.rank", 1)
    logger = TensorBoardLogger(str(tmp_path))  # gives other ranks a stand-in that takes any call
    state = SimpleNamespace(logger=logger, sanity_checking=False, is_global_zero=False)
    batch = cast(Any, {"video": level(0.0)[None], "source": level(0.0)[None]})
    frames = {"frames": level(0.0)[None]}
    LogFrames().on_validation_batch_end(cast(Any, state), cast(Any, None), frames, batch, 0)
    assert not list(tmp_path.rglob("*tfevents*"))


def test_other_loggers_are_left_alone(tmp_path: Path) -> None:
    made = trainer(callbacks=[LogFrames()], logger=CSVLogger(str(tmp_path)))
    made.validate(PC_AVS(), loader(2, 2), verbose=False)
    assert not list(tmp_path.rglob("*tfevents*"))


def test_a_fast_run_is_left_alone() -> None:
    made = trainer(callbacks=[LogFrames()], fast_dev_run=True)
    made.fit(PC_AVS(), loader(2, 2), loader(2, 2))
    assert made.state.finished


class Rates(pl.Callback):
    """Writes down both optimizers' rates of each batch."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    def on_train_batch_end(self, made: pl.Trainer, *_: Any) -> None:
        self.seen.append([optimizer.param_groups[0]["lr"] for optimizer in made.optimizers])


class StopAfterEpoch(pl.Callback):
    """Ends a run early."""

    def on_train_epoch_end(self, made: pl.Trainer, *_: Any) -> None:
        made.should_stop = True


def test_rates_fall_along_a_cosine_and_a_resumed_run_goes_on(tmp_path: Path) -> None:
    whole, first, second = Rates(), Rates(), Rates()
    trainer(max_epochs=2, callbacks=[CosineDecay(), whole]).fit(PC_AVS(), loader(4, 2))
    begun = [optimizer.param_groups[0]["lr"] for optimizer in PC_AVS().configure_optimizers()]
    by_hand = [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    for rates, factor in zip(whole.seen, by_hand, strict=True):
        assert rates == pytest.approx([factor * lr for lr in begun])
    stopped = trainer(max_epochs=2, callbacks=[CosineDecay(), first, StopAfterEpoch()])
    stopped.fit(PC_AVS(), loader(4, 2))
    stopped.save_checkpoint(tmp_path / "half.ckpt")
    again = trainer(max_epochs=2, callbacks=[CosineDecay(), second])
    again.fit(PC_AVS(), loader(4, 2), ckpt_path=tmp_path / "half.ckpt")
    assert first.seen + second.seen == whole.seen
