"""The training commands: three stages that build on one another, resumed, measured, refused."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

import talkingface
from talkingface.cli import main
from talkingface.data.video import VideoWriter
from talkingface.models.weights import load_checkpoint_file
from tests.models.tiny import DAVS_RECOGNITION, IDENTITY, PC_AVS, SIZE, SYNC, Tiny

PEOPLE = ("anna", "ben")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one clip of a second for each of two people."""
    root = tmp_path_factory.mktemp("data") / "prepared"
    for number, person in enumerate(PEOPLE):
        (root / person).mkdir(parents=True)
        draw = torch.Generator().manual_seed(number)
        sound = torch.rand(16_000, generator=draw) - 0.5
        with VideoWriter(root / person / "clip.mp4", SIZE, SIZE, audio=sound) as video:
            video.write(torch.rand(25, 3, 4, 4, generator=draw).repeat(1, 1, 8, 8))
    return root


def configure(file: Path, tiny: Tiny, **trainer: Any) -> Path:
    """Write a configuration for a stage at its smallest size, two batches an epoch."""
    from_data = ("num_identities", "num_words")
    arguments = {key: value for key, value in tiny.sizes.items() if key not in from_data}
    config = {
        "model": {
            "class_path": f"{tiny.cls.__module__}.{tiny.cls.__name__}",
            "init_args": {k: list(v) if isinstance(v, tuple) else v for k, v in arguments.items()},
        },
        "data": {
            "class_path": "talkingface.data.datamodules.FolderDataModule",
            "init_args": {"size": SIZE, "frames": 2, "batch_size": 2, "windows_per_clip": 2},
        },
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 1,
            "limit_val_batches": 1,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "log_every_n_steps": 1,
            **trainer,
        },
    }
    file.write_text(yaml.safe_dump(config))
    return file


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with a configuration for every stage."""
    monkeypatch.chdir(tmp_path)
    stages = {"identity": IDENTITY, "sync": SYNC, "main": PC_AVS, "words": DAVS_RECOGNITION}
    for name, tiny in stages.items():
        configure(tmp_path / f"{name}.yaml", tiny, default_root_dir=f"runs/{name}")
    return tmp_path


def tensors(model: torch.nn.Module, prefix: str) -> dict[str, Tensor]:
    """Trained weights below a name; batch statistics move whatever the learning rate."""
    return {k: v for k, v in model.named_parameters() if k.startswith(prefix)}


def test_three_stages_build_on_one_another(workspace: Path, clips: Path) -> None:
    for stage in ("identity", "sync"):
        assert main(["fit", "--config", f"{stage}.yaml", "--data.root", str(clips)]) == 0
    experts = {s: talkingface.IdentityClassifier if s == "identity" else talkingface.PCAVSSync
               for s in ("identity", "sync")}  # fmt: skip
    starts = {s: cls.from_pretrained(f"runs/{s}/model") for s, cls in experts.items()}

    # With learning rates of zero the model ends with the weights that it began with.
    arguments = ["--init.identity", "runs/identity/model", "--init.sync", "runs/sync/model",
                 "--model.generator_lr", "0", "--model.discriminator_lr", "0"]  # fmt: skip
    assert main(["fit", "--config", "main.yaml", "--data.root", str(clips), *arguments]) == 0
    model = talkingface.PCAVS.from_pretrained("runs/main/model")
    assert model.hparams["num_identities"] == len(PEOPLE)
    compared = 0
    for name, value in tensors(starts["identity"], "networks.").items():
        own = name.replace("networks.", "networks.identity_encoder.", 1)
        assert torch.equal(model.get_parameter(own), value)
        compared += 1
    for name, value in tensors(starts["sync"], "networks.").items():
        if (
            re.search(r"\.(audio_encoder|trunk|pool|to_content)\.", name)
            and "classifier" not in name
        ):
            assert torch.equal(model.get_parameter(name), value)
            compared += 1
    assert compared > 50

    # Neither a checkpoint nor a folder says where the weights came from; both open anywhere.
    checkpoint = next(Path("runs/main").rglob("last.ckpt"))
    assert "runs/identity" not in str(load_checkpoint_file(checkpoint)["hyper_parameters"])
    assert b"runs/identity" not in checkpoint.read_bytes()
    config = json.loads(Path("runs/main/model/config.json").read_text())
    assert "runs/identity" not in json.dumps(config) and str(clips) not in json.dumps(config)
    command = f"talkingface fit --config main.yaml --data.root {clips.name} --init.identity"
    assert config["command"].startswith(command)
    assert config["steps"] == load_checkpoint_file(checkpoint)["updates"]
    assert config["class_names"] == list(PEOPLE)
    assert config["training_data"] == "prepared"
    shutil.rmtree("runs/identity")
    shutil.rmtree("runs/sync")
    opened = talkingface.PCAVS.from_pretrained(checkpoint)
    for name, value in opened.named_parameters():
        assert torch.equal(value, model.get_parameter(name)), name


def test_resumed_run_ends_like_an_uninterrupted_one(workspace: Path, clips: Path) -> None:
    fit = ["fit", "--config", "main.yaml", "--data.root", str(clips)]
    whole = ["--trainer.default_root_dir", "runs/whole", "--trainer.max_epochs", "2"]
    assert main([*fit, *whole]) == 0
    assert main(fit) == 0
    assert main([*fit, "--trainer.max_epochs", "2", "--ckpt_path", "last"]) == 0
    whole_run, in_parts = (
        talkingface.PCAVS.from_pretrained(f"runs/{run}/model").state_dict()
        for run in ("whole", "main")
    )
    for name, value in whole_run.items():
        assert torch.equal(value, in_parts[name]), name


@pytest.mark.parametrize(
    ("stage", "options", "measure"),
    [("main", [], "val/psnr"), ("words", ["--model.word_weight", "0"], "val/verification_auc")],
)
def test_validates_a_checkpoint_and_a_model_folder_alike(
    stage: str,
    options: list[str],
    measure: str,
    workspace: Path,
    clips: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = ["--config", f"{stage}.yaml", "--data.root", str(clips), *options]
    assert main(["fit", *data]) == 0
    tables = []
    for weights in (["--ckpt_path", "last"], ["--init.model", f"runs/{stage}/model"]):
        capsys.readouterr()
        assert main(["validate", *data, *weights]) == 0
        lines = capsys.readouterr().out.splitlines()
        tables.append([line for line in lines if measure in line])
    assert len(tables[0]) == 1 and tables[0] == tables[1]


def test_saves_the_best_weights_not_the_last(workspace: Path, clips: Path) -> None:
    configure(
        workspace / "best.yaml",
        IDENTITY,
        default_root_dir="runs/best",
        max_epochs=3,
        callbacks=[
            {
                "class_path": "pytorch_lightning.callbacks.ModelCheckpoint",
                "init_args": {"monitor": "step", "mode": "min"},
            }
        ],
    )
    assert main(["fit", "--config", "best.yaml", "--data.root", str(clips)]) == 0
    best = next(Path("runs/best").rglob("epoch=*.ckpt"))
    last = next(Path("runs/best").rglob("last.ckpt"))
    saved = talkingface.IdentityClassifier.from_pretrained("runs/best/model").state_dict()
    state = load_checkpoint_file(best)["state_dict"]
    assert all(torch.equal(saved[name], state[name]) for name in saved)
    other = load_checkpoint_file(last)["state_dict"]
    assert not all(torch.equal(saved[name], other[name]) for name in saved)

    # A resumed run still knows what its best was.
    more = ["--ckpt_path", "last", "--trainer.max_epochs", "4"]
    assert main(["fit", "--config", "best.yaml", "--data.root", str(clips), *more]) == 0
    assert load_checkpoint_file(last)["epoch"] == 3
    again = talkingface.IdentityClassifier.from_pretrained("runs/best/model").state_dict()
    assert all(torch.equal(saved[name], again[name]) for name in saved)

    # So it does where its folder was moved, and under another name of the same path.
    Path("runs/best").rename("runs/moved")
    more = ["--ckpt_path", "last", "--trainer.default_root_dir", "runs/moved"]
    named = ["--ckpt_path", str(Path("runs/moved", *last.parts[2:]).resolve()), *more[2:]]
    for epochs, option in ((5, more), (6, named)):
        fit = ["fit", "--config", "best.yaml", "--data.root", str(clips), *option]
        assert main([*fit, "--trainer.max_epochs", str(epochs)]) == 0
        again = talkingface.IdentityClassifier.from_pretrained("runs/moved/model").state_dict()
        assert all(torch.equal(saved[name], again[name]) for name in saved)


@pytest.mark.parametrize(
    ("option", "files"),
    [("--trainer.fast_dev_run=1", 0), ("--trainer.enable_checkpointing=false", 2)],
)
def test_runs_without_checkpoints(option: str, files: int, workspace: Path, clips: Path) -> None:
    assert main(["fit", "--config", "sync.yaml", "--data.root", str(clips), option]) == 0
    assert not list(workspace.rglob("*.ckpt"))
    assert len(list(workspace.glob("runs/sync/model/*"))) == files


MAIN = ["fit", "--config", "main.yaml"]
WANDB = "pytorch_lightning.loggers.WandbLogger"  # is not installed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (MAIN, ["FolderDataModule", "--data.root"]),
        ([*MAIN, "--data.root", "nowhere"], ["nowhere"]),
        (["fit", "--config", "pc_avs/nothing"], ["pc_avs/nothing", "pc_avs/main_tiny"]),
        ([*MAIN, "--data.root", "x", "--model.pose_dim", "many"], ["--model.pose_dim", "int"]),
        ([*MAIN, "--data.root", "x", "--model.colour", "1"], ["--model.colour", "PCAVS"]),
        ([*MAIN, "--data.root", "x", "--model.gan", "best"], ["--model.gan", "hinge"]),
        ([*MAIN, "--data.root", "x", "--data.frames", "0"], ["frames", "0"]),
        ([*MAIN, "--data.root", "x", "--ckpt_path", "old.ckpt"], ["old.ckpt"]),
        ([*MAIN, "--data.root", "x", "--ckpt_path", "last"], ["runs/main"]),
        ([*MAIN, "--data.root", "x", "--ckpt_path", "empty.ckpt"], ["empty.ckpt"]),
        ([*MAIN, "--data.root", "x", "--ckpt_path", "state.pth"], ["state.pth", "--init"]),
        ([*MAIN, "--data.root", "CLIPS", "--trainer.precision", "bf16-true"], ["bf16-mixed"]),
        ([*MAIN, "--data.root", "CLIPS", "--trainer.logger", WANDB], [f"{WANDB}: ", "wandb"]),
        ([*MAIN, "--data.root", "CLIPS", "--init.sound", "x"], ["--init.sound", "identity"]),
        ([*MAIN, "--data.root", "CLIPS", "--init.sync", "no"], ["no"]),
        (["fit", "--config", "sync.yaml", "--data.root", "CLIPS", "--init.sync", "x"], ["--init"]),
        ([*MAIN, "--data.root", "CLIPS", "--trainer.strategy", "alone"], ["alone"]),
    ],
    ids=lambda value: " ".join(value)[-40:],
)
def test_errors_are_one_sentence(
    arguments: list[str],
    words: list[str],
    workspace: Path,
    clips: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("empty.ckpt").touch()
    torch.save({"weight": torch.zeros(1)}, "state.pth")
    assert main([str(clips) if word == "CLIPS" else word for word in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "talkingface: " in line]
    assert len(lines) == 1 and all(word in lines[0] for word in words), lines
    assert "Traceback" not in lines[0] and len(lines[0]) < 400
    assert not list(workspace.rglob("model"))


def test_long_words_and_what_a_model_says_of_itself(
    workspace: Path, clips: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit = ["fit", "--config", "main.yaml", "--data.root", str(clips)]
    assert main(fit) == 0
    shutil.rmtree("runs/main/model", ignore_errors=False)
    callback = {"class_path": "talkingface.callbacks.LogFrames", "init_args": {"clips": 2}}
    callbacks = json.dumps([callback] * 4)
    assert len(callbacks) > 255  # more than a file's name may have
    more = ["--trainer.callbacks", callbacks, "--model.accumulate", "2"]
    assert main([*fit, *more]) == 0
    assert "accumulate=2: " in caplog.text
    assert callbacks in json.loads(Path("runs/main/model/config.json").read_text())["command"]


def test_checkpoint_of_other_sizes_is_refused(
    workspace: Path, clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--config", "identity.yaml", "--data.root", str(clips)]
    assert main(["fit", *data]) == 0
    capsys.readouterr()
    assert main(["fit", *data, "--ckpt_path", "last", "--model.map_channels", "8"]) == 2
    assert "does not fit this configuration" in capsys.readouterr().err
