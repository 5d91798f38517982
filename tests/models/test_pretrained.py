import hashlib
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import huggingface_hub
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import talkingface
from talkingface.models.bundled import declare
from talkingface.models.pretrained import PretrainedMixin, load_pretrained, resolve_class
from tests.models.tiny import PC_AVS

HERE = __name__


class Small(PretrainedMixin, LightningModule):
    """A method in miniature: networks, a discriminator, a loss with weights, maybe an average."""

    def __init__(
        self, width: int = 4, sizes: tuple[int, ...] = (8, 8), ema: bool = False, **options: Any
    ) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width={width}: give at least 1")
        self.save_hyperparameters()
        self.image_size = 64
        self.networks = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))
        self.discriminator = nn.Linear(width, 1)
        self.perceptual = nn.Linear(2, 2)
        self.average = AveragedModel(self.networks) if ema else None

    def forward(self, x: Tensor) -> Tensor:
        return self.networks(x)

    def card(self) -> dict[str, Any]:
        return super().card() | {"crop_template": "pc_avs"}


class Wider(Small):
    pass


class Other(PretrainedMixin, LightningModule):
    inference_modules: ClassVar = ("encoder", "decoder.last")

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(2, 2)
        self.encoder2 = nn.Linear(2, 2)
        self.decoder = nn.ModuleDict({"first": nn.Linear(2, 2), "last": nn.Linear(2, 2)})


def trained(**hparams: Any) -> Small:
    """A model with weights of every kind away from their first values."""
    model = Small(**hparams)
    model(torch.randn(5, 3))  # moves the running statistics
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    return model


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    for key in left:
        assert left[key].dtype == right[key].dtype and torch.equal(left[key], right[key]), key


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return trained().save_pretrained(tmp_path / "saved")


def save_run(model: LightningModule, file: Path) -> Path:
    """Write a checkpoint the way Lightning does."""
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(file)
    return file


# ---- what is written -----------------------------------------------------------------------------


def test_round_trip_is_bit_equal(tmp_path: Path) -> None:
    model = trained(width=7, sizes=(3, 5))
    saved = model.save_pretrained(tmp_path / "deep" / "saved")
    copy = Small.from_pretrained(saved)
    assert_same(copy.networks.state_dict(), model.networks.state_dict())
    assert not copy.training and not copy.networks[1].training
    frames = torch.randn(4, 3)
    assert torch.equal(copy(frames), model.eval()(frames))
    assert list(copy.hparams["sizes"]) == [3, 5]
    again = copy.save_pretrained(tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        assert (again / name).read_bytes() == (saved / name).read_bytes()


def test_config_holds_all_facts(tmp_path: Path) -> None:
    facts: dict[str, Any] = {
        "licence": "CC0-1.0",
        "class_names": ["a", "é"],
        "command": "fit",
        "psnr": 31.5,
    }
    saved = Small(width=2, note=None).save_pretrained(tmp_path / "saved", **facts)
    assert json.loads((saved / "config.json").read_text(encoding="utf-8")) == {
        "format_version": 1,
        "class": f"{HERE}:Small",
        "hparams": {"width": 2, "sizes": [8, 8], "ema": False, "note": None},
        "package_version": talkingface.__version__,
        "size": 64,
        "fps": 25,
        "crop_template": "pc_avs",
        "front_end": None,
        "gain_rule": None,
        "content_scale": None,
        "class_names": ["a", "é"],
        "licence": "CC0-1.0",
        "training_data": None,
        "command": "fit",
        "psnr": 31.5,
    }


def test_facts_stay_with_the_model(tmp_path: Path) -> None:
    saved = Small().save_pretrained(tmp_path / "a", licence="CC0-1.0", command="first")
    again = Small.from_pretrained(saved).save_pretrained(tmp_path / "b", command="second")
    config = json.loads((again / "config.json").read_text())
    assert (config["licence"], config["command"]) == ("CC0-1.0", "second")


def test_only_the_networks_are_saved(tmp_path: Path) -> None:
    saved = Small().save_pretrained(tmp_path / "small")
    assert {key.split(".")[0] for key in load_file(saved / "model.safetensors")} == {"networks"}
    saved = Other().save_pretrained(tmp_path / "other")
    expected = {"encoder.weight", "encoder.bias", "decoder.last.weight", "decoder.last.bias"}
    assert load_file(saved / "model.safetensors").keys() == expected


def test_the_average_is_saved(tmp_path: Path) -> None:
    model = trained(ema=True)
    assert model.average is not None
    averaged = model.average.module.state_dict()
    assert not torch.equal(averaged["0.weight"], model.networks.state_dict()["0.weight"])
    saved = model.save_pretrained(tmp_path / "saved")
    stored = load_file(saved / "model.safetensors")
    assert_same(stored, {f"networks.{key}": value for key, value in averaged.items()})
    copy = Small.from_pretrained(saved)
    assert copy.average is not None
    assert_same(copy.networks.state_dict(), averaged)
    assert_same(copy.average.module.state_dict(), averaged)


def test_discriminator_on_request(tmp_path: Path) -> None:
    model = trained()
    assert not (model.save_pretrained(tmp_path / "a") / "discriminator.safetensors").exists()
    saved = model.save_pretrained(tmp_path / "b", with_discriminator=True)
    copy = Small.from_pretrained(saved)
    assert_same(copy.discriminator.state_dict(), model.discriminator.state_dict())
    with pytest.raises(ValueError, match="Other has no discriminator"):
        Other().save_pretrained(tmp_path / "c", with_discriminator=True)
    assert not (tmp_path / "c").exists()


def test_float16_file(tmp_path: Path) -> None:
    model = trained()
    saved = model.save_pretrained(tmp_path / "half", dtype="float16")
    with safe_open(saved / "model.safetensors", "pt") as file:
        kinds = {file.get_tensor(key).dtype for key in file.keys()}
    assert kinds == {torch.float16, torch.int64}
    copy = Small.from_pretrained(saved).networks.state_dict()
    for key, value in model.networks.state_dict().items():
        assert copy[key].dtype == value.dtype
        assert torch.equal(copy[key], value.to(torch.float16).to(value.dtype))
    model.networks.state_dict()["0.weight"][0, 0] = 7e4  # float16 ends at 65504
    with pytest.raises(ValueError, match=r"networks\.0\.weight' exceeds the range of float16"):
        model.save_pretrained(tmp_path / "half", dtype="float16")
    assert_same(Small.from_pretrained(saved).networks.state_dict(), copy)
    assert [entry.name for entry in tmp_path.iterdir()] == ["half"]


def test_compiled_networks_are_saved_plainly(tmp_path: Path) -> None:
    model = trained()
    plain = model.export_state_dict()
    model.networks = torch.compile(model.networks)  # type: ignore[assignment]
    assert any("_orig_mod" in key for key in model.state_dict())
    assert_same(model.export_state_dict(), plain)
    saved = model.save_pretrained(tmp_path / "saved")
    assert_same(Small.from_pretrained(saved).export_state_dict(), plain)
    run = save_run(model, tmp_path / "run.ckpt")
    assert_same(Small.from_pretrained(run).export_state_dict(), plain)


def test_tied_and_transposed_weights(tmp_path: Path) -> None:
    model = Other()
    model.decoder["last"].weight = model.encoder.weight
    model.encoder.bias.data = torch.randn(4)[::2]
    copy = Other.from_pretrained(model.save_pretrained(tmp_path / "saved"))
    assert_same(copy.export_state_dict(), model.export_state_dict())


def test_values_that_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'note' = .*give plain values"):
        Small(note=torch.ones(1)).save_pretrained(tmp_path / "a")
    with pytest.raises(ValueError, match=r"'licence' = .*give plain values"):
        Small().save_pretrained(tmp_path / "a", licence=Path("LICENSE"))
    with pytest.raises(ValueError, match="'hparams' is written by save_pretrained itself"):
        Small().save_pretrained(tmp_path / "a", hparams={})
    assert list(tmp_path.iterdir()) == []


# ---- where it is written -------------------------------------------------------------------------


def test_saved_folder_is_replaced(folder: Path) -> None:
    (folder / "README.md").write_text("about this model")
    model = trained(width=9)
    model.save_pretrained(folder)
    assert_same(Small.from_pretrained(folder).export_state_dict(), model.export_state_dict())
    assert (folder / "README.md").read_text() == "about this model"
    assert [entry.name for entry in folder.parent.iterdir()] == ["saved"]


def test_stale_discriminator_goes(tmp_path: Path) -> None:
    trained(width=3).save_pretrained(tmp_path / "a", with_discriminator=True)
    trained(width=5).save_pretrained(tmp_path / "a")
    assert not (tmp_path / "a" / "discriminator.safetensors").exists()


def test_other_folders_are_not_touched(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="photos holds other files"):
        Small().save_pretrained(tmp_path / "photos")
    assert (tmp_path / "photos" / "config.json").read_text() == "{}"
    (folder / "checkpoints").mkdir()
    with pytest.raises(ValueError, match="saved holds a folder 'checkpoints'"):
        Small().save_pretrained(folder)
    with pytest.raises(ValueError, match=r"config\.json is a file: give a folder"):
        Small().save_pretrained(tmp_path / "photos" / "config.json")
    (tmp_path / "empty").mkdir()
    Small.from_pretrained(Small().save_pretrained(tmp_path / "empty"))


@pytest.mark.parametrize("exists", [False, True])
def test_failure_leaves_nothing_half_written(
    exists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "saved"
    before = trained()
    if exists:
        before.save_pretrained(target)

    def replace(source: Path, destination: Path) -> None:
        if Path(source).name.startswith(".saved.") and not str(source).endswith(".old"):
            raise OSError("disk is gone")
        os.rename(source, destination)

    monkeypatch.setattr("talkingface.models.pretrained.os.replace", replace)
    with pytest.raises(OSError, match="disk is gone"):
        trained().save_pretrained(target)
    assert [entry.name for entry in tmp_path.iterdir()] == (["saved"] if exists else [])
    if exists:
        assert_same(Small.from_pretrained(target).export_state_dict(), before.export_state_dict())


# ---- where it is found ---------------------------------------------------------------------------


def test_bundled_folder_and_hub(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "talkingface"
    shutil.copytree(folder, package / "weights" / "small-tiny")
    monkeypatch.setattr(talkingface, "__file__", str(package / "__init__.py"))
    declare("small-tiny")
    asked: list[tuple[str, str | None, list[str]]] = []

    def snapshot_download(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, allow_patterns))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    expected = Small.from_pretrained(folder).export_state_dict()
    for name in ("small-tiny", "saved", "./saved", folder, "someone/small"):
        assert_same(Small.from_pretrained(name).export_state_dict(), expected)
    files = ["config.json", "model.safetensors", "discriminator.safetensors"]
    Small.from_pretrained("someone/small", revision="v2")
    assert asked == [("someone/small", None, files), ("someone/small", "v2", files)]
    with pytest.raises(ValueError, match="small-tiny is no model of the hub"):
        Small.from_pretrained("small-tiny", revision="v2")
    for missing in ("small-huge", "a/b/c", "../someone/small", tmp_path / "none"):
        with pytest.raises(FileNotFoundError, match=r"no model '.*in the package \(small-tiny\)"):
            Small.from_pretrained(missing)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"finetune_steps": 2.5}, '"finetune_steps": Expected a int'),
        ({"stabilise": "maybe"}, '"stabilise": Expected a bool'),
        ({"audio_scale": "1,5"}, '"audio_scale": Expected a float'),
        ({"gan": "what"}, r"\"gan\": Expected a Literal\['sequence'"),
        ({"dim": -3}, "make the two equal"),
        ({"nothing": 1}, "unexpected keyword argument 'nothing'"),
    ],
)
def test_hyperparameters_are_what_the_class_declares(
    override: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"config.json: .*{message}"):
        talkingface.DAVS.from_pretrained("davs-tiny", **override)
    with pytest.raises(ValueError, match=r"config.json: .*negative dimension"):
        talkingface.PCAVS.from_pretrained("pc-avs-tiny", pose_dim=-3)


def test_what_was_frozen_learns_again(tmp_path: Path) -> None:
    def frozen(model: talkingface.PCAVS) -> set[str]:
        parameters = model.networks.named_parameters()
        return {name.split(".")[0] for name, p in parameters if not p.requires_grad}

    model = PC_AVS(freeze=["identity_encoder"])
    assert frozen(model) == {"identity_encoder"}
    saved = model.save_pretrained(tmp_path / "saved")
    assert frozen(talkingface.PCAVS.from_pretrained(saved)) == set()
    again = talkingface.PCAVS.from_pretrained(saved, freeze=["generator"])
    assert frozen(again) == {"generator"}
    tiny = talkingface.DAVS.from_pretrained("davs-tiny")
    assert all(p.requires_grad for p in tiny.networks.parameters())


def test_bundled_files_are_verified(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "talkingface"
    bundled = package / "weights" / "small-tiny"
    shutil.copytree(folder, bundled)
    monkeypatch.setattr(talkingface, "__file__", str(package / "__init__.py"))
    with pytest.raises(ValueError, match=r"config\.json is not the file .* declared is None"):
        Small.from_pretrained("small-tiny")
    declare("small-tiny")
    file = bundled / "model.safetensors"
    command = ["sha256sum", "--check", "--status", "SHA256SUMS"]
    subprocess.run(command, cwd=bundled.parent, check=True)
    Small.from_pretrained("small-tiny")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    wrong = hashlib.sha256(content).hexdigest()
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"model\.safetensors is not the file .* {wrong}"):
            Small.from_pretrained("small-tiny")
    Small.from_pretrained(bundled)  # somebody's folder, by its path
    file.unlink()
    shutil.copytree(folder, bundled, dirs_exist_ok=True)
    (bundled / "discriminator.safetensors").write_bytes(b"slipped in")
    with pytest.raises(ValueError, match=r"discriminator\.safetensors is not the file"):
        Small.from_pretrained("small-tiny")


def test_unreachable_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(name: str, **options: Any) -> str:
        raise ConnectionError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(FileNotFoundError) as caught:
        Small.from_pretrained("someone/small")
    for part in ("'someone/small'", "https://huggingface.co/someone/small", "ConnectionError"):
        assert part in str(caught.value)


def test_checkpoint_of_a_run(tmp_path: Path) -> None:
    model = trained(width=5, ema=True)
    run = save_run(model, tmp_path / "run.ckpt")
    copy = Small.from_pretrained(run)
    assert_same(dict(copy.state_dict()), dict(model.state_dict()))  # the average as well
    assert not copy.training
    assert_same(load_pretrained(run, f"{HERE}:Small").state_dict(), dict(model.state_dict()))
    with pytest.raises(ValueError, match=f"run.ckpt: class '{HERE}:Small' is not part of"):
        load_pretrained(run)
    with pytest.raises(ValueError, match=f"holds a {HERE}:Small, not a {HERE}:Other"):
        Other.from_pretrained(run)

    checkpoint = torch.load(run, weights_only=True)
    del checkpoint["class"]
    checkpoint["hyper_parameters"] |= {"_class_path": "x.Y", "_instantiator": "os.system"}
    torch.save(checkpoint, run)  # as LightningCLI writes it, without our class
    assert_same(dict(Small.from_pretrained(run).state_dict()), dict(model.state_dict()))
    with pytest.raises(ValueError, match="does not name its class"):
        load_pretrained(run)
    del checkpoint["state_dict"]["perceptual.bias"]
    torch.save(checkpoint, run)
    with pytest.raises(ValueError, match=r"run\.ckpt lacks tensor 'perceptual\.bias'"):
        Small.from_pretrained(run)


def test_files_that_are_no_checkpoint(folder: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1)}, tmp_path / "net.pth")
    with pytest.raises(ValueError, match=r"net\.pth is not a Lightning checkpoint"):
        Small.from_pretrained(tmp_path / "net.pth")
    with pytest.raises(ValueError, match=r"model\.safetensors is not a readable PyTorch file"):
        Small.from_pretrained(folder / "model.safetensors")


def test_checkpoint_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "it-ran"),)

    torch.save({"state_dict": {}, "hyper_parameters": {"width": Attack()}}, tmp_path / "run.ckpt")
    with pytest.raises(ValueError, match=r"run\.ckpt would run code"):
        Small.from_pretrained(tmp_path / "run.ckpt")
    assert not (tmp_path / "it-ran").exists()


# ---- which class ---------------------------------------------------------------------------------


def test_overrides(folder: Path) -> None:
    assert Small.from_pretrained(folder, note="x").hparams["note"] == "x"
    with pytest.raises(ValueError, match=r"shape \(4, 3\) in .*model\.safetensors but shape \(6, "):
        Small.from_pretrained(folder, width=6)


def test_explicit_classes(folder: Path) -> None:
    assert type(load_pretrained(folder, Small)) is Small
    assert type(load_pretrained(folder, f"{HERE}:Small")) is Small
    assert type(Wider.from_pretrained(folder)) is Wider  # a subclass takes its parent's weights
    for wrong in ("numpy", "no.such.package:Small", f"{HERE}:Nothing", f"{HERE}:HERE"):
        with pytest.raises(ValueError, match=f"{wrong}'"):
            load_pretrained(folder, wrong)
    with pytest.raises(ValueError, match=f"holds a {HERE}:Small, not a {HERE}:Other"):
        load_pretrained(folder, f"{HERE}:Other")


def test_class_inside_the_package_is_found(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = types.ModuleType("talkingface.models.stand_in")
    module.Method = type("Method", (Small,), {"__module__": module.__name__})
    module.Alias = Small
    monkeypatch.setitem(sys.modules, module.__name__, module)
    saved = module.Method().save_pretrained(tmp_path / "method")
    assert type(load_pretrained(saved)) is module.Method
    assert type(Small.from_pretrained(saved)) is module.Method  # a base opens its subclasses
    # The name of a class from elsewhere is not meant for it, unless it is a subclass.
    assert type(load_pretrained(saved, f"{HERE}:Other")) is module.Method
    module.Further = type("Further", (module.Method,), {"__module__": module.__name__})
    monkeypatch.setattr(sys.modules[HERE], "Further", module.Further, raising=False)
    assert type(load_pretrained(saved, f"{HERE}:Further")) is module.Further
    with pytest.raises(ValueError, match=r"Method, not a talkingface\.models\.stand_in:Other"):
        module.Other = type("Other", (Small,), {"__module__": module.__name__})
        load_pretrained(saved, "talkingface.models.stand_in:Other")
    with pytest.raises(ValueError, match=r"holds a talkingface.models.stand_in:Method, not a .*:O"):
        Other.from_pretrained(saved)
    edit_config(folder, **{"class": f"{HERE}:Other"})
    with pytest.raises(ValueError, match=rf"{HERE}:Other, not a talkingface.models.stand_in:Met"):
        module.Method.from_pretrained(folder)
    for name in ("Alias", "Nothing"):  # what a module merely imports is not its own
        edit_config(saved, **{"class": f"talkingface.models.stand_in:{name}"})
        with pytest.raises(ValueError, match=f"stand_in:{name}'"):
            load_pretrained(saved)


@pytest.mark.parametrize(
    "name",
    [
        "antigravity:fly",
        "talkingface.models_of_others:Net",
        "talkingface.data.batch:Batch",
        "talkingface.models.pretrained:os.system",
        "talkingface.models/../x:Net",
        ".pretrained:PretrainedMixin",
        "os:system",
        "",
    ],
)
def test_class_outside_the_package_is_not_imported(name: str, folder: Path) -> None:
    edit_config(folder, **{"class": name})
    before = set(sys.modules)
    with pytest.raises(ValueError, match=r"is not part of talkingface\.models|does not name a cl"):
        load_pretrained(folder)
    with pytest.raises(ValueError, match=r"not a .*:Small"):
        Small.from_pretrained(folder)
    assert set(sys.modules) == before


def test_class_that_is_no_model(folder: Path) -> None:
    edit_config(folder, **{"class": "talkingface.models.weights:Weights"})
    with pytest.raises(ValueError, match=r"holds a talkingface\.models\.weights:Weights, not a"):
        load_pretrained(folder)


def test_prefix_is_a_whole_package() -> None:
    assert resolve_class(f"{HERE}:Small", prefix="tests.models") is Small
    with pytest.raises(ValueError, match=r"is not part of tests\.mod:"):
        resolve_class(f"{HERE}:Small", prefix="tests.mod")


# ---- damaged folders -----------------------------------------------------------------------------


def test_no_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"saved is not a saved model: it has no config\.j"):
        Small.from_pretrained(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"format_version": "1"}', "\x80"])
def test_damaged_config(text: str, folder: Path) -> None:
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"config\.json (is not valid JSON|does not describe a m)"):
        Small.from_pretrained(folder)


@pytest.mark.parametrize(
    "changes", [{"class": None}, {"hparams": [1]}, {"hparams": None}, {"format_version": 0}]
)
def test_incomplete_config(changes: dict[str, Any], folder: Path) -> None:
    edit_config(folder, **changes)
    with pytest.raises(ValueError, match="it needs format_version, class, hparams"):
        Small.from_pretrained(folder)


def test_format_of_the_future(folder: Path) -> None:
    edit_config(folder, format_version=2, package_version="9.1")
    with pytest.raises(ValueError, match=r"format version 2, .* up to 1: install talkingface 9\.1"):
        Small.from_pretrained(folder)


@pytest.mark.parametrize(
    ("hparams", "reason"),
    [
        ({"width": 0}, "give at least 1"),
        ({"width": "wide"}, "'<'"),
        ({"ema": 0, "self": 1}, "self"),
    ],
)
def test_unusable_hyperparameters(hparams: dict[str, Any], reason: str, folder: Path) -> None:
    edit_config(folder, hparams=hparams)
    with pytest.raises(ValueError, match=f"hyperparameters of .*config.json: .*{reason}"):
        Small.from_pretrained(folder)


def test_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        Small.from_pretrained(folder)


@pytest.mark.parametrize("kept", [4, 100, -1])
def test_weights_cut_short(kept: int, folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"model\.safetensors is not a readable safetensors file"):
        Small.from_pretrained(folder)


@pytest.mark.parametrize("name", ["model", "discriminator"])
def test_tensors_have_to_fit(name: str, tmp_path: Path) -> None:
    folder = trained().save_pretrained(tmp_path / "saved", with_discriminator=True)
    file = folder / f"{name}.safetensors"
    state = load_file(file)
    key = next(key for key in state if key.endswith("weight"))

    save_file({**state, "extra.weight": torch.ones(2, 2)}, file)
    with pytest.raises(
        ValueError, match=rf"{name}\.safetensors has a tensor 'extra\.weight' of shape \(2, 2\)"
    ):
        Small.from_pretrained(folder)
    save_file({k: value for k, value in state.items() if k != key}, file)
    with pytest.raises(ValueError, match=rf"{name}\.safetensors lacks tensor '{key}' of shape \("):
        Small.from_pretrained(folder)
    save_file({**state, key: torch.ones(2, 9)}, file)
    with pytest.raises(ValueError) as caught:
        Small.from_pretrained(folder)
    shape = tuple(state[key].shape)
    assert str(caught.value) == (
        f"tensor '{key}' has shape (2, 9) in {file} but shape {shape} in {HERE}:Small with these "
        "hyperparameters"
    )
