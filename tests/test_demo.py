"""The demo, on tiny untrained models in a package folder of their own."""

import csv
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resize

import talkingface
import talkingface.demo as demo_package
from talkingface.cli import _parser, main
from talkingface.data.audio import read_audio
from talkingface.data.batch import to_uint8
from talkingface.data.faces import CROP_TEMPLATES, crop_image
from talkingface.data.synthetic.dataset import PEOPLE, make_clip
from talkingface.data.video import VideoClip, read_image, read_metadata, write_image
from talkingface.demo import bundled_generators, demo
from talkingface.demo.film import CELL, COLUMN, HEAD, MARGIN, MOMENTS, make_film
from talkingface.demo.material import Material
from talkingface.demo.page import COLUMNS, FURTHER
from talkingface.evaluation.results import Row
from talkingface.generation import Job, VideoGenerator
from talkingface.models.bundled import declare
from tests.media import sampled, write_media
from tests.models.tiny import DAVS_MAIN, FACE_READER, IDENTITY_READER, PC_AVS, SIZE, SYNC_EXPERT

SECONDS, FRAMES = 1.0, 25  # in less, nobody has said a word
DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patched:
        yield patched


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Path:
    """A package folder with untrained models, and clips of a few frames to measure them on."""
    folder = tmp_path_factory.mktemp("site") / "talkingface"
    patch.setattr(talkingface, "__file__", str(folder / "__init__.py"))
    torch.manual_seed(0)
    face = FACE_READER.cls.__base__(**FACE_READER.sizes)
    torch.nn.init.constant_(face.networks.presence.bias, 9.0)  # a face in everything
    models = {"pc-avs-tiny": PC_AVS.responsive(), "davs-tiny": DAVS_MAIN.responsive()}
    models |= {"face-reader": face, "identity-reader": IDENTITY_READER()}
    for name, model in {**models, "sync-expert": SYNC_EXPERT()}.items():
        model.save_pretrained(folder / "weights" / name)
        declare(name)
    patch.setattr(demo_package, "CLIPS", 3)
    patch.setattr(demo_package, "SECONDS", 0.4)
    patch.setattr(demo_package, "SIZE", 64)
    patch.setattr("talkingface.demo.material.SECONDS", SECONDS)
    return folder


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the demo writes by default."""
    out = tmp_path_factory.mktemp("demo") / "out"
    demo(out)
    return out


def column(video: Path, index: int) -> Tensor:
    """One column of a video without its caption, (T, 3, S, S)."""
    return VideoClip(video).read()[..., HEAD:, index * COLUMN : (index + 1) * COLUMN]


def difference(one: Tensor, two: Tensor) -> float:
    """Mean difference in grey levels of frames of any size, at half the columns' size: H.264."""
    half = [COLUMN // 2, COLUMN // 2]
    a, b = (resize(frames, half, antialias=True).float() for frames in (one, two))
    return float((a - b).abs().mean())


def test_models_are_found_by_what_they_do() -> None:
    assert bundled_generators() == ["davs-tiny", "pc-avs-tiny"]


def test_video_shows_inputs_and_every_model(shown: Path) -> None:
    video = shown / "demo.mp4"
    clip = VideoClip(video)
    assert (clip.frame_count, clip.height, clip.width) == (FRAMES, HEAD + COLUMN, 4 * COLUMN)
    assert read_metadata(video)["comment"].startswith("synthetic")

    person, mover, speaker = (make_clip(p, seconds=SECONDS) for p in PEOPLE["test"][:3])
    heard = read_audio(video)[: len(speaker.audio)].numpy()
    assert np.corrcoef(heard, speaker.audio)[0, 1] > 0.95
    assert difference(column(video, 0), to_uint8(person.frames(SIZE, [0]))) < 5
    assert difference(column(video, 1), to_uint8(mover.frames(SIZE))) < 5

    source = person.frames(SIZE, [0])[0]
    lips_only = talkingface.DAVS.from_pretrained("davs-tiny").animate(source, speaker.audio)
    model = talkingface.PCAVS.from_pretrained("pc-avs-tiny")
    moved = model.animate(source, speaker.audio, mover.frames(SIZE))
    assert difference(column(video, 2), to_uint8(lips_only)) < 5
    assert difference(column(video, 3), to_uint8(moved)) < 5
    assert difference(to_uint8(moved), to_uint8(lips_only)) > 15
    captions = VideoClip(video).read(0, 1)[0, :, :HEAD].float().amax(0)
    assert (captions.unflatten(1, (4, COLUMN)).amax((0, 2)) > 200).all()


def test_sheet_has_a_row_for_each(shown: Path) -> None:
    sheet = read_image(shown / "sheet.png")
    top = sheet.shape[1] - 4 * CELL
    assert 0 < top < CELL and sheet.shape[2] == MARGIN + MOMENTS * CELL
    source = make_clip(PEOPLE["test"][0], seconds=SECONDS).frames(SIZE, [0])
    cell = sheet[None, :, top : top + CELL, -CELL:]
    assert difference(cell, to_uint8(source)) < 3


def test_page_holds_the_numbers_of_the_report(shown: Path) -> None:
    page = (shown / "index.html").read_text()
    for file in re.findall(r'(?:src|href|poster)="([^"]+)"', page):
        assert (shown / file).is_file()
    with (shown / "comparison" / "results.csv").open() as file:
        measured = {
            (r["protocol"], r["model"], r["metric"].split("[")[0], r["region"]): r["value"]
            for r in csv.DictReader(file)
        }
    tables = re.findall(r"<thead>(.*?)</thead>\n<tbody>(.*?)</tbody>", page, re.DOTALL)
    assert len(tables) == 2
    for protocol, (head, body) in zip(("exact", "exact-still"), tables, strict=True):
        headings = re.findall("<th>([^<]+)<small>[^<]+</small></th>", head)
        columns = [column for column in COLUMNS if column.heading in headings]
        assert len(columns) == len(headings)
        lines = [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in body.splitlines() if line]
        names = [line[0] for line in lines]
        assert {"ground truth", "copy of the source", "pc-avs-tiny, wrong audio"} < set(names)
        assert ("davs-tiny" in names) == (protocol == "exact-still")
        for name, *cells in lines:
            for cell, (metric, region, *_, digits) in zip(cells, columns, strict=True):
                value = measured[protocol, name, metric, region]
                assert cell == (f"{float(value):.{digits}f}" if value else "")
        for metric, region, *_ in set(COLUMNS) - set(columns):  # nothing moves there
            assert not any(measured.get((protocol, name, metric, region)) for name in names)
    assert measured["exact", "pc-avs-tiny", "psnr", "face"]


def test_page_names_the_command_that_measured(shown: Path) -> None:
    record = json.loads((shown / "comparison" / "repeat.json").read_text())
    assert f"<pre>{record['command']}</pre>" in (shown / "index.html").read_text()
    options = _parser().parse_args(shlex.split(record["command"])[1:])
    assert options.models == ["davs-tiny", "pc-avs-tiny"]
    assert options.protocols == ["exact", "exact-still"]
    for name in ("clips", "seconds", "size", "data", "seed"):
        assert str(getattr(options, name)) == record["arguments"][name]


def test_further_commands_are_those_of_the_documentation() -> None:
    documented = (DOCS / "demo.md").read_text()  # whose commands other tests parse
    assert all(f"\n{command}\n" in documented for command in FURTHER)


def test_own_files_take_the_place_of_drawn_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    seconds = 0.3  # 7.5 frames
    write_image("face.png", make_clip(7, seconds=0.2).frames(160, [0])[0])
    write_media("speech.wav", sound=sampled(seconds, 16_000), audio_codec="pcm_s16le")
    make_clip(8, seconds=0.2).save("head.mp4", 160)
    row = Row("pc-avs-tiny", "exact", "psnr", "", "face", 12.0, 0.0, 0.0, 0.0, 3, 0)
    monkeypatch.setattr(demo_package, "compare", lambda *_, **__: [row])
    files = ["--source", "face.png", "--audio", "speech.wav", "--driving", "head.mp4"]
    assert main(["demo", *files, "--out", "mine"]) == 0

    printed = capsys.readouterr().out.splitlines()
    assert printed[:3] == ["mine/demo.mp4", "mine/sheet.png", "mine/index.html"]
    assert "drawn faces" in printed[3] and "talkingface fit" in printed[4]
    video = Path("mine/demo.mp4")
    assert VideoClip(video).frame_count == 8
    heard = read_audio(video)[:4800].numpy()
    assert np.corrcoef(heard, sampled(seconds, 16_000)[0])[0, 1] > 0.95
    crop = crop_image(read_image("face.png"), CROP_TEMPLATES["pc_avs"], SIZE)
    assert difference(column(video, 0), crop[None]) < 5
    apart = VideoGenerator("pc-avs-tiny", "cpu")
    apart.generate(Job("face.png", "speech.wav", "apart.mp4", "head.mp4"))
    assert difference(column(video, 3), VideoClip("apart.mp4").read()) < 5
    page = Path("mine/index.html").read_text()
    assert "source: face.png, driving: head.mp4, speech: speech.wav" in page


def test_one_file_alone(tmp_path: Path) -> None:
    write_media(tmp_path / "speech.wav", sound=sampled(0.2, 16_000), audio_codec="pcm_s16le")
    material = Material(audio=tmp_path / "speech.wav")
    assert material.titles["speech"] == "speech.wav" and len(material.speech) == 3200
    assert material.titles["source"] == "drawn person id900000"


def test_without_pose_control_there_is_no_driving_column(tmp_path: Path) -> None:
    generators = {"davs-tiny": VideoGenerator("davs-tiny", "cpu")}
    video, sheet = tmp_path / "a.mp4", tmp_path / "a.png"
    make_film(generators, Material(), video, sheet)
    assert VideoClip(video).width == 2 * COLUMN
    make_clip(8, seconds=0.2).save(tmp_path / "head.mp4", 64)
    with pytest.raises(ValueError, match=r"takes head pose from a video: leave .*head\.mp4 out"):
        make_film(generators, Material(driving=tmp_path / "head.mp4"), video, sheet)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--source", "nowhere.jpg"], "nowhere.jpg"),
        (["--audio", "nowhere.wav"], "nowhere.wav"),
        (["--driving", "nowhere.mp4"], "nowhere.mp4"),
        (["--source", "grey.png"], "grey.png: no face found"),
        (["--audio", "silent.mp4"], "silent.mp4 has no sound"),
        (["--out", "grey.png"], "grey.png is a file"),
        (["--clips", "folder"], "--clips"),
    ],
)
def test_errors_are_one_sentence(
    options: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_image("grey.png", torch.zeros(3, 128, 128))
    write_media("silent.mp4", torch.zeros(3, 3, 32, 32, dtype=torch.uint8))
    assert main(["demo", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith("talkingface: ") and words in line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["grey.png", "silent.mp4"]


def test_a_package_without_models_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(talkingface, "__file__", str(tmp_path / "__init__.py"))
    assert main(["demo", "--out", str(tmp_path / "out")]) == 2
    assert "train one (talkingface fit" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
