"""What every method and stage must do, whatever it is made of."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import default_collate

from talkingface.data.datamodules import FolderDataModule
from talkingface.data.synthetic.dataset import write_clips
from tests.models.tiny import (
    FRAMES,
    METHODS,
    SIZE,
    STAGES,
    Tiny,
    fit,
    items,
    label,
    loader,
    seed,
    trainer,
)
from tests.models.two_processes import BATCHES, JOBS

methods = pytest.mark.parametrize("tiny", METHODS, ids=label)
Weights = dict[str, Tensor]


def assert_close(actual: Weights, expected: Weights, start: Weights) -> None:
    """Demand equal weights to 1e-6, of players that have all moved by far more than that."""
    assert actual.keys() == expected.keys() >= start.keys()
    for player in {name.split(".")[0] for name in start}:
        mine = [name for name in start if name.startswith(f"{player}.")]
        assert max(float((expected[n] - start[n]).abs().max()) for n in mine) > 1e-4
    for name in actual:
        torch.testing.assert_close(actual[name], expected[name], rtol=0, atol=1e-6, msg=name)


def assert_same(actual: Any, expected: Any, name: str = "") -> None:
    """Demand equality to the bit, all the way down."""
    if isinstance(actual, Tensor):
        assert torch.equal(actual, expected), name
    elif isinstance(actual, dict):
        assert actual.keys() == expected.keys(), name
        for key in actual:
            assert_same(actual[key], expected[key], f"{name}/{key}")
    elif isinstance(actual, list | tuple):
        assert len(actual) == len(expected), name
        for index, pair in enumerate(zip(actual, expected, strict=True)):
            assert_same(*pair, f"{name}/{index}")
    else:
        assert actual == expected, name


COMPARED = (
    "state_dict",
    "optimizer_states",
    "updates",
    "images_seen",
    "generators",
    "epoch",
    "global_step",
)


def comparable(checkpoint: Path) -> dict[str, Any]:
    """Read a checkpoint without running code; keep what training goes on from."""
    content = torch.load(checkpoint, weights_only=True)
    return {key: content[key] for key in COMPARED if key in content}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder, count=4, seconds=0.6, size=SIZE)
    return folder


# --------------------------------------------------------------------- one update, however split


@methods
def test_accumulation_is_a_larger_batch(tiny: Tiny) -> None:
    models = []
    for accumulate in (1, 2):
        seed(0)
        model = tiny.still(**tiny.separate, accumulate=accumulate, ema_half_life=10.0)
        start = {name: value.clone() for name, value in model.state_dict().items()}
        fit(
            model, loader(10, 4 // accumulate), precision="64-true"
        )  # the last update has half as many
        models.append(model)
    whole, parts = models
    assert whole.updates == parts.updates == 3
    assert whole.images_seen == parts.images_seen == 10 * FRAMES
    assert_close(parts.state_dict(), whole.state_dict(), start)


@pytest.fixture(scope="module")
def two_processes(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two_processes")
    command = [sys.executable, "-m", "tests.models.two_processes", str(folder), str(clips)]
    environment = {k: v for k, v in os.environ.items() if "RANK" not in k}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.ddp
@pytest.mark.parametrize("name", JOBS)
def test_two_processes_are_one_with_the_double_batch(name: str, two_processes: Path) -> None:
    tiny, options = JOBS[name]
    seed(0)
    model = tiny.still(**{key: options[key] for key in options if key != "accumulate"})
    start = {name: value.clone() for name, value in model.state_dict().items()}
    fit(model, loader(2 * BATCHES, 2 * options.get("accumulate", 1)), precision="64-true")
    both = torch.load(two_processes / f"{name}.pt", weights_only=True)
    assert_close(both, model.state_dict(), start)


@pytest.mark.ddp
@methods
def test_two_processes_resume_bit_equal(tiny: Tiny, two_processes: Path) -> None:
    whole, resumed = (
        comparable(two_processes / f"{label(tiny)}-{run}/end.ckpt") for run in ("whole", "resumed")
    )
    assert len(whole["generators"]) == 2
    assert not torch.equal(*(state["torch"] for state in whole["generators"]))
    assert_same(resumed, whole)


# ------------------------------------------------------------------------------ stop and resume


def folder_data(clips: Path, workers: int, frames: int) -> FolderDataModule:
    """Six batches per epoch."""
    return FolderDataModule(
        str(clips), SIZE, frames, batch_size=2, num_workers=workers, windows_per_clip=3
    )


def train_on(
    tiny: Tiny, clips: Path, workers: int, folder: Path, ckpt: Path | None = None
) -> dict[str, Any]:
    """Train two epochs of two updates (methods) or six (stages); give what the end is made of."""
    options = {**tiny.random, **tiny.unlabelled}
    model = tiny(**options, **({"accumulate": 4} if tiny in METHODS else {}))
    files: dict[str, Any] = {"dirpath": folder, "save_top_k": -1}
    callbacks = [
        ModelCheckpoint(**files, filename="{step}", every_n_train_steps=1),
        ModelCheckpoint(**files, filename="{epoch}", save_on_train_epoch_end=True),
        ModelCheckpoint(**files, filename="val-{epoch}", mode="max", save_on_train_epoch_end=False),
    ]
    training: dict[str, Any] = {
        "max_epochs": 2,
        "callbacks": callbacks,
        "enable_checkpointing": True,
    }
    path = str(ckpt) if ckpt else None
    data = folder_data(clips, workers, tiny.frames)
    fit(model, data, path, **training).save_checkpoint(folder / "end.ckpt")
    return comparable(folder / "end.ckpt")


@pytest.fixture(
    scope="module",
    params=product(METHODS + STAGES, (0, 2)),
    ids=lambda value: f"{label(value[0])}-{value[1]}-workers",
)
def uninterrupted(
    request: pytest.FixtureRequest, clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Tiny, int, Path, dict[str, Any]]]:
    tiny, workers = request.param
    folder = tmp_path_factory.mktemp("run")
    seed(1)
    yield tiny, workers, folder, train_on(tiny, clips, workers, folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize("stop", ["first update", "last update", "validation", "epoch end"])
def test_resume_is_bit_equal(
    stop: str,
    uninterrupted: tuple[Tiny, int, Path, dict[str, Any]],
    clips: Path,
    tmp_path: Path,
) -> None:
    tiny, workers, folder, whole = uninterrupted
    name = {
        "first update": "step=1",
        "last update": "step=2" if tiny in METHODS else "step=6",
        "validation": "val-epoch=0",
        "epoch end": "epoch=0",
    }[stop]
    seed(2)  # another process: other initial weights, other generators
    resumed = train_on(tiny, clips, workers, tmp_path, folder / f"{name}.ckpt")
    assert_same(resumed, whole)


@methods
def test_resume_needs_the_generators(tiny: Tiny, clips: Path, tmp_path: Path) -> None:
    seed(1)
    whole = train_on(tiny, clips, 0, tmp_path / "whole")
    cut = torch.load(tmp_path / "whole/step=1.ckpt", weights_only=True)
    cut["generators"] = []
    torch.save(cut, tmp_path / "cut.ckpt")
    resumed = train_on(tiny, clips, 0, tmp_path / "resumed", tmp_path / "cut.ckpt")
    assert resumed["updates"] == whole["updates"] == 4
    with pytest.raises(AssertionError, match="state_dict"):
        assert_same(resumed, whole)


@methods
def test_checkpoint_opens_anywhere(tiny: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "earlier_stages"
    stages = {name: stage().save_pretrained(folder / name) for name, stage in tiny.stages.items()}
    model = tiny(**tiny.random).initialise(**stages)
    fit(model, loader(4, 2)).save_checkpoint(tmp_path / "run.ckpt")
    shutil.rmtree(folder)
    (tmp_path / "elsewhere").mkdir()
    path = (tmp_path / "run.ckpt").rename(tmp_path / "elsewhere/moved.ckpt")

    assert b"earlier_stages" not in path.read_bytes()
    checkpoint = torch.load(path, weights_only=True)
    assert_same(checkpoint["state_dict"], model.state_dict())
    opened = tiny.cls.from_pretrained(path)
    assert_same(opened.state_dict(), model.state_dict())
    again = tiny(**tiny.random)
    fit(again, loader(4, 2), str(path), max_epochs=2)
    assert again.updates == 4


# ------------------------------------------------------------------------------------- training


@methods
def test_both_players_move(tiny: Tiny) -> None:
    model = tiny()
    start = {name: value.clone() for name, value in model.named_parameters()}
    fit(model, loader(8, 2))
    moved = [name for name, value in model.named_parameters() if not value.equal(start[name])]
    for part in [f"networks.{name}" for name, _ in model.networks.named_children()] + [
        name for name in model.discriminator_modules
    ]:
        assert any(name.startswith(f"{part}.") for name in moved), part
    assert all(value.isfinite().all() for value in model.state_dict().values())


@pytest.mark.parametrize("tiny", METHODS + STAGES, ids=label)
def test_bfloat16_keeps_weights_finite(tiny: Tiny) -> None:
    model = tiny(**tiny.random)
    start = {name: value.clone() for name, value in model.named_parameters()}
    fit(model, loader(4, 2, frames=tiny.frames), precision="bf16-mixed")
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert all(value.dtype == torch.float32 for value in model.parameters())
    assert any(not value.equal(start[name]) for name, value in model.named_parameters())


@methods
def test_log_counts_each_pair_of_updates_once(tiny: Tiny, tmp_path: Path) -> None:
    model = tiny(accumulate=2)
    logger = CSVLogger(tmp_path)
    training = trainer(logger=logger, log_every_n_steps=1, num_sanity_val_steps=0)
    training.fit(model, loader(8, 2), loader(2, 2))
    assert (model.updates, training.global_step) == (2, 4)
    header, *rows = Path(logger.log_dir, "metrics.csv").read_text().splitlines()
    table = [dict(zip(header.split(","), row.split(","), strict=True)) for row in rows]
    batches = [row for row in table if row["generator/total"]]
    assert [int(row["step"]) for row in batches] == [0, 1, 1, 2]
    assert all(row["discriminator/total"] for row in batches)
    validation = [row for row in table if row["val/psnr"]]
    assert [int(row["step"]) for row in validation] == [2]


@methods
@pytest.mark.parametrize("name", ["FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy"])
def test_strategies_that_shard_one_model_are_refused(tiny: Tiny, name: str) -> None:
    model = tiny()
    model.trainer = SimpleNamespace(strategy=type(name, (), {})())
    with pytest.raises(ValueError, match=rf"{name}.*ddp_find_unused_parameters_true"):
        model.setup("fit")


@methods
def test_validation_scores_the_reconstruction(tiny: Tiny) -> None:
    model = tiny.responsive()
    scores = trainer().validate(model, loader(4, 2), verbose=False)[0]
    batch = default_collate(items(4))
    with torch.no_grad():
        frames = model.eval().reconstruct(batch)
    assert frames.shape == batch["video"].shape
    assert frames.abs().max() <= 1
    errors = (frames - batch["video"]).square().mean((2, 3, 4))
    psnr = (10 * torch.log10(4 / errors)).mean()  # data range 2, frame by frame
    assert scores["val/psnr"] == pytest.approx(float(psnr), abs=1e-4)


# ------------------------------------------------------------------------------------ animation


@pytest.fixture(scope="module", params=METHODS, ids=label)
def model(request: pytest.FixtureRequest) -> Any:
    seed(0)
    return request.param.responsive()


SOURCE = items(1)[0]["source"]
DRIVING = torch.cat([item["video"] for item in items(5, start=1)])
LIPS = torch.cat([DRIVING, DRIVING.flip(0)] * 2)  # as many frames as the sound below
AUDIO = 0.1 * torch.randn(39 * 640 + 100, generator=torch.Generator().manual_seed(0))


def motions(model: Any) -> dict[str, dict[str, Any]]:
    """Every way to say how the face moves besides the sound, of those that the method has."""
    if "pose" not in model.controls:
        lips = {"audio": None, "driving": LIPS}  # in place of the sound
        dubbed = {"audio": AUDIO, "driving": DRIVING}
        return {"own": {"audio": AUDIO}, "driving": lips if model.reads_lips else dubbed}
    ways: dict[str, dict[str, Any]] = {
        "own": {},
        "driving": {"driving": DRIVING},
        "pose": {"pose": model.encode_pose(DRIVING[:3])},
        "frontal": {"frontal": True},
    }
    return {way: {"audio": AUDIO, **motion} for way, motion in ways.items()}


@pytest.mark.parametrize("way", ["own", "driving", "pose", "frontal"])
def test_frames_do_not_depend_on_the_chunk(model: Any, way: str) -> None:
    if way not in motions(model):
        pytest.skip(f"{type(model).__name__} does not take {way}")
    motion = motions(model)[way]
    frames = model.animate(SOURCE, **motion)
    assert frames.shape == (40, 3, SIZE, SIZE)  # a last part of a frame counts
    assert frames.abs().max() <= 1
    assert frames.std(0).mean() > 2 / 255  # more than a step of 8 bits
    for chunk in (1, 7, 32, 1000):
        parts = list(model.animate_chunks(SOURCE, **motion, chunk=chunk))
        assert [len(part) for part in parts] == [
            min(chunk, 40 - start) for start in range(0, 40, chunk)
        ]
        # Rounding differs with the size of a batch: by up to 6e-4 on processors without AVX-512.
        # One step of 8 bits is 8e-3.
        torch.testing.assert_close(torch.cat(parts), frames, rtol=0, atol=1e-3)


def test_short_driving_plays_forth_and_back(model: Any) -> None:
    if "pose" not in model.controls:
        pytest.skip("driving is no shorter than what it says")
    frames = model.animate(SOURCE, AUDIO, DRIVING)
    unfolded = torch.cat([DRIVING, DRIVING.flip(0)] * 2)  # 10 frames: 0 .. 9, 9 .. 0, ...
    again = model.animate(SOURCE, AUDIO, unfolded)
    torch.testing.assert_close(again, frames, rtol=0, atol=1e-5)
    still = model.animate(SOURCE, AUDIO, DRIVING[:1])
    assert (frames - still).abs().mean() > 1e-4


def test_bytes_and_floats_are_the_same_frames(model: Any) -> None:
    source, driving = (((x + 1) * 127.5).round().byte() for x in (SOURCE, DRIVING))
    audio = AUDIO if "pose" in model.controls else None
    from_bytes = model.animate(source, audio, driving)
    speech = None if audio is None else audio.double()
    from_floats = model.animate(source / 127.5 - 1, speech, driving.double() / 127.5 - 1)
    torch.testing.assert_close(from_bytes, from_floats, rtol=0, atol=1e-5)


def test_animation_leaves_the_mode_alone(model: Any) -> None:
    model.train()
    frames = model.animate(SOURCE, AUDIO[:1000])
    assert model.training and model.networks.training
    model.eval()
    assert torch.equal(model.animate(SOURCE, AUDIO[:1000]), frames)


def test_animation_uses_the_moving_average() -> None:
    for tiny in METHODS:
        model = tiny.responsive(ema_half_life=10.0)
        model.average.module.load_state_dict(model.networks.state_dict())
        frames = model.animate(SOURCE, AUDIO[:1000])
        for parameter in model.networks.parameters():
            torch.nn.init.zeros_(parameter)
        assert torch.equal(model.animate(SOURCE, AUDIO[:1000]), frames)


@methods
def test_saved_model_gives_the_same_frames(tiny: Tiny, tmp_path: Path) -> None:
    model = tiny.responsive()
    folder = model.save_pretrained(tmp_path / "model")
    opened = tiny.cls.from_pretrained(folder)
    assert not opened.training
    for motion in motions(model).values():
        expected = model.animate(SOURCE, **motion)
        assert torch.equal(opened.animate(SOURCE, **motion), expected)
    assert opened.controls == model.controls


@methods
def test_exported_weights_are_the_networks_alone(tiny: Tiny) -> None:
    model = tiny(ema_half_life=10.0)
    names = {f"networks.{name}" for name in model.networks.state_dict()}
    assert set(model.export_state_dict()) == names


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "grey source": ({"source": torch.zeros(1, SIZE, SIZE)}, rf"source.*\(1, 1, {SIZE}"),
    "16-bit sound": (
        {"audio": torch.full((1000,), 900)},
        "audio is torch.int64 up to 900: give floats",
    ),
    "loud sound": ({"audio": torch.full((1000,), 900.0)}, "audio is torch.float32 up to 900"),
    "small source": ({"source": torch.zeros(3, 16, 16)}, r"source.*16, 16"),
    "flat source": ({"source": torch.zeros(SIZE, SIZE)}, "source has shape"),
    "no source": ({"source": torch.zeros(0, 3, SIZE, SIZE)}, "source has shape"),
    "source in [0, 255]": ({"source": torch.full((3, SIZE, SIZE), 255.0)}, "source spans.*255"),
    "source of nan": ({"source": torch.full((3, SIZE, SIZE), torch.nan)}, "source spans.*nan"),
    "stereo": ({"audio": torch.zeros(2, 1000)}, r"audio.*\(2, 1000\)"),
    "silence of no length": ({"audio": torch.zeros(0)}, r"audio.*not empty"),
    "infinite sound": ({"audio": torch.full((1000,), torch.inf)}, "audio.*finite"),
    "small driving": ({"driving": torch.zeros(2, 3, 16, 16)}, "driving.*16, 16"),
    "one driving frame": ({"driving": torch.zeros(3, SIZE, SIZE)}, "driving has shape"),
    "no driving": ({"driving": torch.zeros(0, 3, SIZE, SIZE)}, "driving holds no frames"),
    "driving in [0, 255]": ({"driving": torch.full((2, 3, SIZE, SIZE), 255.0)}, "driving spans"),
    "no pose": ({"pose": torch.zeros(0, 12)}, "pose holds no codes"),
    "two motions": ({"driving": DRIVING, "frontal": True}, "one source of motion"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(model: Any, name: str) -> None:
    change, message = BAD[name]
    lips = "driving" in change and "pose" not in model.controls
    with pytest.raises(ValueError, match=message):
        model.animate(**{"source": SOURCE, "audio": None if lips else AUDIO, **change})


def test_bad_chunk_and_bad_input_fail_at_the_call(model: Any) -> None:
    with pytest.raises(ValueError, match="chunk=0"):
        model.animate_chunks(SOURCE, AUDIO, chunk=0)
    with pytest.raises(ValueError, match="audio has shape"):
        model.animate_chunks(SOURCE, AUDIO[None])
