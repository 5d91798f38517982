"""Tests of the data modules: splits, loaders, resume, ranks and broken files."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint, OnExceptionCheckpoint

from talkingface.data.datamodules import FolderDataModule, VoxCeleb2DataModule
from tests.data.test_datasets import cut_off, read_numbers, write_clip

COUNTS = (30, 24, 41, 33)
Seen = list[tuple[str, int]]
CLIPS = Path(__file__).parents[2] / "../shared/data/clips"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("voxceleb2")
    for clip, count in enumerate(COUNTS):
        write_clip(folder / f"id{clip // 2}" / f"v{clip}" / "00001.mp4", clip, count)
    return folder


def make(root: Path, **kwargs: Any) -> FolderDataModule:
    values = {"size": 32, "frames": 5, "references": 2, "batch_size": 2, "seed": 1} | kwargs
    return FolderDataModule(str(root), **values)


def frames_of(loader: Any, key: str = "video") -> list[tuple[int, int]]:
    return [number for batch in loader for number in read_numbers(batch[key])]


def windows_of(loader: Any) -> list[Seen]:
    return [list(zip(batch["clip"], batch["start"].tolist(), strict=True)) for batch in loader]


def test_batches_follow_the_contract(root: Path) -> None:
    batch = next(iter(make(root).train_dataloader()))
    assert {key: tuple(batch[key].shape) for key in ("video", "source", "audio", "audio_gain")} == {
        "video": (2, 5, 3, 32, 32),
        "source": (2, 2, 3, 32, 32),
        "audio": (2, 5 * 640 + 6400),
        "audio_gain": (2,),
    }
    assert batch["video"].dtype == torch.uint8
    assert batch["audio_gain"].dtype == torch.float32
    assert batch["start"].dtype == batch["identity"].dtype == torch.int64
    assert all(isinstance(name, str) for name in batch["clip"])


@pytest.mark.parametrize("cache", [False, True])
def test_split_by_time_keeps_held_out_frames_away_from_training(root: Path, cache: bool) -> None:
    module = make(root, windows_per_clip=12, cache=cache)
    stops = [30 - 6, 24 - 5, 41 - 8, 33 - 7]  # by hand: 20 % rounded
    held_out = {(k, i) for k in range(4) for i in range(stops[k], COUNTS[k])}
    train = module.train_dataloader()
    used = {*frames_of(train), *frames_of(train, "source")}
    assert not used & held_out
    assert {clip for clip, _ in used} == {0, 1, 2, 3}
    val = frames_of(module.val_dataloader())
    assert set(val) == held_out
    assert list(dict.fromkeys(val)) == sorted(held_out)  # in order
    # 6, 5, 8 and 7 frames are 2, 1, 2 and 2 windows, all with the clip's first frames
    sources = frames_of(module.val_dataloader(), "source")
    assert sources == [(k, i) for k in (0, 0, 1, 2, 2, 3, 3) for i in (0, 1)]
    assert windows_of(module.test_dataloader()) == windows_of(module.val_dataloader())


def test_split_by_identity_is_disjoint_and_complete(root: Path) -> None:
    module = make(root, split="identity", windows_per_clip=3)
    train = {clip for clip, _ in frames_of(module.train_dataloader())}
    val = set(frames_of(module.val_dataloader()))
    assert train in ({0, 1}, {2, 3})
    assert val == {(k, i) for k in {0, 1, 2, 3} - train for i in range(COUNTS[k])}
    assert module.class_names == ["id0", "id1"]
    assert module.num_identities == 2
    labels = {int(label) for batch in module.train_dataloader() for label in batch["identity"]}
    assert labels == {min(train) // 2}


def test_voxceleb2_uses_the_corpus_split_where_it_is_there(tmp_path: Path) -> None:
    for clip, name in enumerate(["dev/id1", "dev/id2", "dev/id3", "test/id4"]):
        write_clip(tmp_path / name / "v" / "1.mp4", clip, 12)
    values: dict[str, Any] = {"size": 32, "frames": 5, "batch_size": 1, "split": "identity"}
    module = VoxCeleb2DataModule(str(tmp_path), **values)
    assert {clip for clip, _ in frames_of(module.train_dataloader())} == {0, 1, 2}
    assert {clip for clip, _ in frames_of(module.val_dataloader())} == {3}
    assert module.class_names == ["id1", "id2", "id3", "id4"]


def test_nothing_held_out(root: Path) -> None:
    module = make(root, val_fraction=0.0, windows_per_clip=30)
    frames = frames_of(module.train_dataloader())
    assert (0, 29) in frames
    assert (2, 40) in frames
    assert module.val_dataloader() == []


@pytest.mark.parametrize("cache", [False, True])
def test_workers_change_nothing_and_no_global_generator_is_drawn_from(
    root: Path, cache: bool
) -> None:
    plain, forked = make(root), make(root, num_workers=2, cache=cache)
    state = torch.get_rng_state()
    loaders = [plain.train_dataloader(), forked.train_dataloader()]
    for epoch in range(2):
        for loader in loaders:
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        for one, two in zip(*loaders, strict=True):
            assert one["clip"] == two["clip"]
            assert read_numbers(one["video"]) == read_numbers(two["video"])
            for key in ("video", "source", "start", "audio_gain"):
                assert torch.equal(one[key], two[key]), key
            torch.testing.assert_close(one["audio"], two["audio"], atol=2e-3, rtol=0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_broken_file_is_replaced_reported_and_listed(
    tmp_path: Path, num_workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    for clip in range(4):
        write_clip(tmp_path / f"{clip}.mp4", clip, 30)
    cut_off(tmp_path / "2.mp4")
    (tmp_path / "3.mp4").write_bytes(b"no video")
    handler = logging.StreamHandler()  # to a descriptor that workers inherit
    logging.getLogger("talkingface").addHandler(handler)
    try:
        module = make(tmp_path, num_workers=num_workers, windows_per_clip=6)
        batches = list(module.train_dataloader())
    finally:
        logging.getLogger("talkingface").removeHandler(handler)
    assert [len(batch["clip"]) for batch in batches] == [2] * 9  # 6 windows of each of 3 clips
    for batch in batches:
        named = zip(batch["clip"], batch["start"].tolist(), strict=True)
        expected = [(int(name[0]), start + k) for name, start in named for k in range(5)]
        assert read_numbers(batch["video"]) == expected
    clips = [name for batch in batches for name in batch["clip"]]
    assert clips.count("0.mp4") > 6  # the next clip stands in
    assert sorted(module.skipped) == ["2.mp4", "3.mp4"]
    assert capfd.readouterr().err.count("take the place of 2.mp4") == 1
    again = make(tmp_path, num_workers=2 - num_workers, windows_per_clip=6)
    assert windows_of(again.train_dataloader()) == windows_of(batches)


def test_cache_finds_broken_files_before_training(tmp_path: Path) -> None:
    for clip in range(3):
        write_clip(tmp_path / f"{clip}.mp4", clip, 30)
    cut_off(tmp_path / "2.mp4")
    module = make(tmp_path, cache=True)
    module.setup()
    assert list(module.skipped) == ["2.mp4"]
    assert len(module.train_dataset.members) == len(module.val_dataset.members) == 2
    for clip in range(2):
        (tmp_path / f"{clip}.mp4").unlink()  # everything is in memory
    assert len(list(module.train_dataloader())) == 1
    assert len(list(module.val_dataloader())) == 2


@pytest.mark.parametrize("num_workers", [0, 1])
def test_all_files_broken_is_a_clear_error(tmp_path: Path, num_workers: int) -> None:
    write_clip(tmp_path / "a.mp4", 0, 30)
    loader = make(tmp_path, num_workers=num_workers).train_dataloader()
    (tmp_path / "a.mp4").unlink()
    with pytest.raises(ValueError, match=r"None of 1 clips can be read: a.mp4: "):
        list(loader)
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"no usable clip: a.mp4: "):
        make(tmp_path).setup()


def test_short_clips_are_listed(tmp_path: Path) -> None:
    write_clip(tmp_path / "long.mp4", 0, 12)
    write_clip(tmp_path / "short.mp4", 1, 11)
    module = make(tmp_path)
    module.setup()
    assert module.skipped == {"short.mp4": "too short: 11 frames, 12 or more needed"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 0}, "size must be 1 or more, not 0"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"split": "random"}, "split must be"),
        ({"val_fraction": 1.0}, "val_fraction must be"),
        ({"seed": -1}, "seed must be"),
        ({"box": (0.5, 0, 0.5, 1)}, "box must be"),
    ],
)
def test_bad_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FolderDataModule("anywhere", **values)


def test_missing_corpus_says_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"mm\.kaist\.ac\.kr/datasets/voxceleb"):
        VoxCeleb2DataModule(str(tmp_path)).setup()


class Recorder(LightningModule):
    """Notes the windows of every training step."""

    def __init__(self, stop_after: int | None = None, folder: Path | None = None) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.stop_after = stop_after
        self.folder = folder
        self.seen: list[tuple[int, int, Seen]] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        if len(self.seen) == self.stop_after:
            raise RuntimeError("power cut")
        windows = list(zip(batch["clip"], batch["start"].tolist(), strict=True))
        self.seen.append((self.current_epoch, batch_idx, windows))
        return self.layer(batch["audio_gain"][:, None]).mean()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.log("loss", 0.0, batch_size=1)

    def on_train_end(self) -> None:
        if self.folder:
            (self.folder / f"{self.global_rank}.json").write_text(json.dumps(self.seen))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(
    module: Recorder,
    data: FolderDataModule,
    *callbacks: Any,
    ckpt: Path | None = None,
    **kwargs: Any,
) -> list[tuple[int, int, Seen]]:
    """Train for 2 epochs (or as ``kwargs`` say) and return what was seen."""
    values = {"max_epochs": 2, "limit_val_batches": 1, "devices": 1} | kwargs
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=bool(callbacks),
        callbacks=list(callbacks),
        num_sanity_val_steps=0,
        **values,
    )
    trainer.fit(module, data, ckpt_path=ckpt)
    return module.seen


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


def step_of(file: Path) -> int:
    return int(file.stem.split("step=")[1])


@pytest.mark.parametrize("limits", [{"max_epochs": 2}, {"max_epochs": -1, "max_steps": 8}])
@pytest.mark.parametrize(
    ("save", "options"),
    [
        ({"every_n_train_steps": 1}, {}),
        ({"every_n_epochs": 1, "save_on_train_epoch_end": True}, {}),
        ({"every_n_epochs": 1, "save_on_train_epoch_end": False}, {}),
        ({"every_n_epochs": 1, "save_on_train_epoch_end": False}, {"val_check_interval": 2}),
    ],
    ids=["step", "epoch", "validation", "validation within"],
)
def test_resumed_training_sees_what_uninterrupted_training_sees(
    root: Path,
    tmp_path: Path,
    save: dict[str, Any],
    options: dict[str, Any],
    limits: dict[str, Any],
) -> None:
    checkpoint = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, **save)
    whole = fit(Recorder(), make(root, batch_size=1), checkpoint, **limits, **options)
    assert [(epoch, batch) for epoch, batch, _ in whole] == [
        (e, b) for e in (0, 1) for b in range(4)
    ]
    assert [windows for *_, windows in whole[:4]] != [windows for *_, windows in whole[4:]]
    files = [file for file in sorted(tmp_path.glob("*.ckpt")) if step_of(file) < 8]
    assert files
    for file in files:
        rest = fit(Recorder(), make(root, batch_size=1), ckpt=file, **limits, **options)
        assert rest == whole[step_of(file) :], file.name


def test_resume_of_a_resumed_run_limited_by_steps(root: Path, tmp_path: Path) -> None:
    # after a resume at the end of an epoch the trainer counts one epoch too many for samplers
    limits: dict[str, Any] = {"max_epochs": -1, "max_steps": 12}

    def data() -> FolderDataModule:
        return make(root, batch_size=1, num_workers=1)

    epochs = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, save_on_train_epoch_end=True)
    whole = fit(Recorder(), data(), epochs, **limits)
    file = tmp_path / "step=4.ckpt"
    again = ModelCheckpoint(tmp_path / "again", "{step}", save_top_k=-1, every_n_train_steps=2)
    assert fit(Recorder(), data(), again, ckpt=file, **limits) == whole[4:]
    for step in (6, 8, 10):
        file = tmp_path / "again" / f"step={step}.ckpt"
        assert fit(Recorder(), data(), ckpt=file, **limits) == whole[step:]


def test_resume_after_an_error_repeats_the_step_that_failed(
    root: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    whole = fit(Recorder(), make(root, batch_size=1))
    rescue = OnExceptionCheckpoint(tmp_path)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(Recorder(stop_after=6), make(root, batch_size=1), rescue)
    (file,) = tmp_path.glob("*.ckpt")
    assert fit(Recorder(), make(root, batch_size=1), ckpt=file) == whole[6:]
    assert not [str(w.message) for w in recwarn if "not resumable" in str(w.message)]


def test_overfitting_repeats_the_first_windows(root: Path) -> None:
    seen = fit(Recorder(), make(root), overfit_batches=2, limit_val_batches=0)
    first = [[("id0/v0/00001.mp4", k), ("id0/v0/00001.mp4", k + 5)] for k in (0, 10)]
    assert [windows for *_, windows in seen] == first * 2


@pytest.mark.ddp
def test_two_processes_see_the_windows_of_one(root: Path, tmp_path: Path) -> None:
    one = fit(Recorder(), make(root, batch_size=2))
    fit(
        Recorder(folder=tmp_path),
        make(root, batch_size=1),
        devices=2,
        strategy="ddp_spawn",
        limit_val_batches=0,
    )
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    together = [
        (epoch, batch, [(str(name), int(start)) for name, start in [*a, *b]])
        for (epoch, batch, a), (*_, b) in zip(*ranks, strict=True)
    ]
    assert together == one


@pytest.mark.skipif(not CLIPS.is_dir(), reason="needs the clips of ../shared/data")
def test_real_clips() -> None:
    box = (0, 16 / 224, 192 / 224, 208 / 224)
    module = FolderDataModule(str(CLIPS), size=96, batch_size=4, box=box)
    batch = next(iter(module.train_dataloader()))
    assert batch["video"].shape == (4, 5, 3, 96, 96)
    assert module.skipped == {}
    assert module.num_identities == 10
    # 1400 frames in all; 20 % of each clip, rounded
    assert sum(span.length for span in module.train_dataset.spans) == 1119
    assert sum(span.length for span in module.val_dataset.spans) == 281
