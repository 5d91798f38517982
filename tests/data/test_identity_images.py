"""Tests of labelled face images, alone and beside clips."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from talkingface.data.datamodules import FolderDataModule
from talkingface.data.identity_images import IdentityImagesDataModule, WithFaces
from talkingface.data.video import write_image
from talkingface.training import count_identities, train
from tests.data.test_datasets import write_clip

PEOPLE = {"ann": 3, "bob": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of one grey each, 50 and more of Ann, 150 and more of Bob; and three clips."""
    folder = tmp_path_factory.mktemp("faces")
    for person, (name, count) in enumerate(PEOPLE.items()):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(count):
            grey = torch.full((3, 40, 40), 50 + 100 * person + 20 * number, dtype=torch.uint8)
            write_image(folder / "images" / name / f"{number}.png", grey)
    for clip in range(3):
        write_clip(folder / "clips" / f"{clip}.mp4", clip, 20)
    return folder


def both(root: Path, **options: Any) -> WithFaces:
    clips = FolderDataModule(str(root / "clips"), size=32, batch_size=1, val_fraction=0.25, seed=1)
    return WithFaces(clips, str(root / "images"), **options)


def test_images_come_with_their_people(root: Path) -> None:
    data = IdentityImagesDataModule(str(root / "images"), size=32, batch_size=5)
    (batch,) = data.train_dataloader()
    assert data.class_names == ["ann", "bob"]
    assert batch["faces"].shape == (5, 3, 32, 32)
    assert batch["faces"].dtype == torch.uint8
    found = zip(batch["faces"][:, 0, 0, 0].tolist(), batch["face_identity"].tolist(), strict=True)
    assert sorted(found) == [(50, 0), (70, 0), (90, 0), (150, 1), (170, 1)]


def test_faces_travel_beside_clips_and_all_are_seen_equally_often(root: Path) -> None:
    data = both(root, faces_per_clip=2)
    loader, plain = data.train_dataloader(), data.clips.train_dataloader()
    seen = Counter[int]()
    for epoch in range(5):  # 5 epochs of 3 windows with 2 faces are 6 rounds of 5 images
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        plain.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        for batch, alone in zip(loader, plain, strict=True):
            assert batch["faces"].shape == (2, 3, 32, 32)
            for key, value in alone.items():
                assert key == "clip" or torch.equal(batch[key], value), key
            greys = batch["faces"][:, 0, 0, 0].tolist()
            assert batch["face_identity"].tolist() == [int(grey > 100) for grey in greys]
            seen.update(greys)
    assert seen == dict.fromkeys((50, 70, 90, 150, 170), 6)
    assert count_identities(data) == 2
    assert "faces" not in next(iter(data.val_dataloader()))


class Watch(LightningModule):
    """Writes down what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[tuple[str, int, int]] = []

    def training_step(self, batch: Any) -> torch.Tensor:
        grey = int(batch["faces"][0, 0, 0, 0])
        self.seen.append((batch["clip"][0], int(batch["start"][0]), grey))
        return self.layer.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)


def run(root: Path, folder: Path, steps: int, checkpoint: str | None = None) -> Watch:
    model = Watch()
    trainer = Trainer(
        max_steps=steps,
        callbacks=[ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)],
        limit_val_batches=0,
        enable_model_summary=False,
        enable_progress_bar=False,
        logger=False,
        accelerator="cpu",
    )
    trainer.fit(model, both(root), ckpt_path=checkpoint)
    return model


def test_resumed_training_goes_on_with_the_same_windows_and_faces(
    root: Path, tmp_path: Path
) -> None:
    whole = run(root, tmp_path, 7).seen
    rest = run(root, tmp_path / "rest", 7, str(tmp_path / "step=4.ckpt")).seen
    assert len({face for _, _, face in whole}) == 5
    assert rest == whole[4:]


def test_davs_trains_on_both_from_the_command_line(root: Path, tmp_path: Path) -> None:
    (root / "clips" / "words.csv").write_text(
        "clip,word,start_s,end_s\n0,red,0.2,0.4\n1,blue,0.2,0.4\n2,red,0.2,0.4\n"
    )
    model = (
        "--model.image_size 32 --model.dim 16 --model.person_stages [[4],[4],[8],[16]] "
        "--model.trunk_channels 16 --model.trunk_depth 2 --model.audio_channels [4,4,8,8] "
        "--model.word_frames 3"
    )
    data = (
        f"--data talkingface.WithFaces --data.faces {root}/images "
        f"--data.clips talkingface.WordClipsDataModule --data.clips.root {root}/clips "
        "--data.clips.size 32 --data.clips.frames 6 --data.clips.batch_size 2"
    )
    run = "--trainer.accelerator cpu --trainer.max_epochs 1 --trainer.callbacks null"
    where = f"--trainer.default_root_dir {tmp_path}"
    train(f"fit --config davs/recognition_tiny {where} {model} {data} {run}".split())
    card = json.loads((tmp_path / "model" / "config.json").read_text())
    assert card["class_names"] == ["ann", "bob"]
    assert card["word_names"] == ["blue", "red"]
    assert (card["hparams"]["num_identities"], card["hparams"]["num_words"]) == (2, 2)


def test_broken_images_are_listed_and_replaced(tmp_path: Path) -> None:
    for name, shape in {"a": (3, 40, 40), "b": (3, 40, 30)}.items():
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "1.png", torch.zeros(shape, dtype=torch.uint8))
    (tmp_path / "a" / "0.jpg").write_bytes(b"no image")
    data = IdentityImagesDataModule(str(tmp_path), size=32, batch_size=3)
    (batch,) = data.train_dataloader()
    assert batch["face_identity"].tolist() == [0, 0, 0]
    assert sorted(data.skipped) == ["a/0.jpg", "b/1.png"]
    assert data.skipped["b/1.png"] == "not square (40 x 30 pixels): cut the face out"


def test_bad_input(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        IdentityImagesDataModule(str(tmp_path / "gone")).setup()
    with pytest.raises(FileNotFoundError, match=r"has no images .* of people"):
        IdentityImagesDataModule(str(root / "images" / "ann")).setup()
    with pytest.raises(ValueError, match="batch_size must be 1 or more, not 0"):
        IdentityImagesDataModule(str(root), batch_size=0)
    with pytest.raises(ValueError, match="faces_per_clip must be 1 or more, not 0"):
        both(root, faces_per_clip=0)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.jpg").write_bytes(b"no image")
    data = IdentityImagesDataModule(str(tmp_path), batch_size=1)
    with pytest.raises(ValueError, match="None of 1 images can be read"):
        next(iter(data.train_dataloader()))
