"""Comparisons: what the cases are, what the numbers mean, what a report holds."""

import csv
import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models.vgg import cfgs, make_layers

from talkingface.cli import main
from talkingface.data.faces import CropTemplate, FaceTrack
from talkingface.data.synthetic.dataset import PEOPLE as SPLITS
from talkingface.data.synthetic.dataset import make_clip
from talkingface.data.video import VideoClip, VideoWriter
from talkingface.evaluation import compare
from talkingface.evaluation.comparison import choose_protocols
from talkingface.evaluation.face_scorers import DrawnFaceScorer
from talkingface.evaluation.fid_scorer import FIDScorer
from talkingface.evaluation.footage import EVALUATION_CROP, CorpusFootage, FileFootage, outline
from talkingface.evaluation.measures import Measure, bootstrap, mean, pooled_correlation
from talkingface.evaluation.protocols import (
    Case,
    exact,
    exact_still,
    pose_driven,
    self_driven,
)
from talkingface.evaluation.report import check_out, report_folder
from talkingface.evaluation.representation import (
    embed_clips,
    measure_leak,
    recognise_words,
    retrieve_across,
    retrieve_sources,
)
from talkingface.evaluation.results import COPY, GROUND_TRUTH, Failure, Results, wrong_audio
from talkingface.evaluation.scorers import Scene
from talkingface.evaluation.sync_scorer import SyncScorer
from talkingface.generation import VideoGenerator
from talkingface.metrics import FID, SSIM
from talkingface.models.experts.imagenet import VGG16Pool
from talkingface.models.experts.readers import FaceReader, IdentityReader
from talkingface.models.experts.syncnet.expert import SyncExpert
from talkingface.models.pc_avs.module import PCAVS
from tests.models.tiny import PC_AVS

PEOPLE = SPLITS["test"][:3]
VOID = {"meta", "line", "circle", "polygon", "link", "br", "img"}


class Page(HTMLParser):
    """Checks that tags close in order, and keeps what the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.targets: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.targets += [value or "" for name, value in attrs if name in ("src", "href", "poster")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def readers() -> dict[str, Any]:
    """The three networks that read, as small as they can be, and untrained."""
    torch.manual_seed(0)
    face = FaceReader(32, channels=(8, 8, 8, 8), pyramid=8, hidden=8)
    sees: Any = face.networks.presence
    torch.nn.init.constant_(sees.bias, 9.0)  # a face in everything
    return {
        "face": face,
        "identity": IdentityReader(4, 32, channels=(8, 8), dim=8),
        "sync": SyncExpert(width=2),
    }


def table(path: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """A csv by protocol, model, metric and region."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return {(r["protocol"], r["model"], r["metric"].split("[")[0], r["region"]): r for r in rows}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes about two tiny models, on three drawn clips of 0.4 s."""
    folder = tmp_path_factory.mktemp("comparison")
    torch.manual_seed(0)
    PC_AVS.responsive().save_pretrained(folder / "a")
    PC_AVS.responsive(content_scale=2.0).save_pretrained(folder / "b")
    options = []
    for name, network in readers().items():
        options += [f"--{name}", str(network.save_pretrained(folder / name))]
    clips = ["--clips", "3", "--seconds", "0.4", "--size", "64", "--videos", "1"]
    models = ["--models", f"first={folder / 'a'}", f"second={folder / 'b'}"]
    command = ["compare", *models, *clips, *options, "--device", "cpu", "-o", str(folder / "out")]
    assert main(command) == 0
    return folder / "out"


def test_a_report_is_complete(report: Path) -> None:
    names = {path.name for path in report.iterdir()}
    wanted = ["clips.csv", "index.html", "repeat.json", "results.csv", "results.md", "videos"]
    assert names == set(wanted)
    rows = table(report / "results.csv")
    assert {key[0] for key in rows} == {"self", "pose", "exact"}
    models = {key[1] for key in rows}
    wrong = {wrong_audio("first"), wrong_audio("second")}
    assert models == {GROUND_TRUTH, COPY, "first", "second", *wrong}
    assert all(row["clips"] == "3" and row["failed"] == "0" for row in rows.values())
    metrics = {key[2] for key in rows}
    assert {"psnr", "ssim", "lmd_mouth", "lmd_pose", "lse_c", "csim", "r@1"} <= metrics
    assert {"correlation_yaw", "mae_mouth_opening"} <= metrics
    # A clip's number is in clips.csv, and the table's is their mean.
    with (report / "clips.csv").open() as file:
        single = [
            float(row["value"])
            for row in csv.DictReader(file)
            if (row["protocol"], row["model"]) == ("exact", "first")
            and (row["metric"], row["region"]) == ("psnr", "face")
        ]
    assert float(rows["exact", "first", "psnr", "face"]["value"]) == pytest.approx(np.mean(single))
    assert float(rows["exact", "first", "psnr", "face"]["std"]) == pytest.approx(
        np.std(single, ddof=1), rel=1e-4
    )


def test_ground_truth_is_the_ceiling(report: Path) -> None:
    rows = table(report / "results.csv")
    best = {
        "psnr": 100,
        "ssim": 1,
        "ms_ssim_3_scales": 1,
        "csim": 1,
        "id_squared_l2": 0,
        "r@1": 100,
    }
    best |= {"lmd_mouth": 0, "lmd_all": 0, "lmd_pose": 0}
    for (_, model, metric, _), row in rows.items():
        if model == GROUND_TRUTH and metric in best:
            assert float(row["value"]) == pytest.approx(best[metric], abs=1e-4), metric
    # A picture that stays does not move: there is no correlation to speak of.
    assert rows["self", COPY, "correlation_yaw", ""]["value"] == ""
    assert float(rows["self", COPY, "psnr", "frame"]["value"]) < 60


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(report: Path) -> None:
    page = Page()
    page.feed((report / "index.html").read_text())
    assert not page.open
    assert "script" not in (report / "index.html").read_text()
    files = [target for target in page.targets if not target.startswith("#")]
    assert all((report / target).exists() for target in files)
    films = [target for target in files if target.endswith(".mp4")]
    assert films == [f"videos/{name}_000.mp4" for name in ("self", "pose", "exact")]
    film = VideoClip(report / films[-1])  # source, driving, target, two models
    assert (len(film), film.height, film.width) == (10, 64, 5 * 64)
    assert film.has_audio
    assert "PSNR, face" in page.text and "LPIPS: no AlexNet weights were given" in page.text


def test_the_record_repeats_it(report: Path) -> None:
    record = json.loads((report / "repeat.json").read_text())
    weights = report.parent / "a" / "model.safetensors"
    assert record["models"]["first"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert record["readers"]["sync"]["class"].endswith(":SyncExpert")
    assert record["command"].startswith("talkingface compare --models first=")
    assert len(record["clips"]) == 3 and record["failed clips"] == {}
    assert record["versions"]["torch"] == torch.__version__
    assert {"LPIPS", "CPBD", "FID"} == set(record["not measured"])


class Still(PCAVS):
    """A method without pose control, which fails on bright pictures."""

    controls = frozenset()

    def _animate(self, *inputs: Any) -> Iterator[Tensor]:
        assert inputs[2] is None  # no driving video
        if inputs[0].mean() > LIMIT["brightness"]:
            raise ValueError("this picture is too bright.")
        return super()._animate(*inputs)


LIMIT = {"brightness": 2.0}


class Mirror(PCAVS):
    """A method that lips drive: it gives back the video of them, and a grey picture for sound."""

    controls = frozenset({"lip"})
    reads_lips = True

    def _animate(self, *inputs: Any) -> Iterator[Tensor]:
        source, audio, driving = inputs[:3]
        assert (audio is None) != (driving is None)
        yield driving[:] if audio is None else torch.zeros(len(audio) // 640, *source.shape[1:])


def test_a_method_without_pose_is_held_against_a_head_that_stays(tmp_path: Path) -> None:
    still = PC_AVS.sizes
    models = {"moves": PC_AVS.responsive(), "stays": Still(**still)}
    options: dict[str, Any] = {"clips": 3, "seconds": 0.24, "size": 64, "device": "cpu", "shown": 0}
    rows = compare(models, out=tmp_path / "out", **options, **readers())
    found = {(row.protocol, row.model) for row in rows}
    assert ("exact", "stays") not in found and ("exact", "moves") in found
    assert {("exact-still", "stays"), ("exact-still", "moves")} <= found
    assert {("exact-still", COPY), ("exact-still", GROUND_TRUTH)} <= found
    assert (tmp_path / "out" / "index.html").exists()


def test_lips_drive_what_they_can_drive(tmp_path: Path) -> None:
    options: dict[str, Any] = {"protocols": ["self"], "clips": 2, "seconds": 0.24, "size": 64}
    rows = compare([Mirror(**PC_AVS.sizes)], out=tmp_path / "out", device="cpu", **options)
    found = {row.model: row.value for row in rows if (row.metric, row.region) == ("psnr", "face")}
    lips, wrong = "Mirror from lips", wrong_audio("Mirror from lips")
    assert set(found) == {"Mirror", wrong_audio("Mirror"), lips, wrong, COPY, GROUND_TRUTH}
    # The clip itself at half the size, and another person's face in its place.
    assert found[lips] > found[wrong] + 8 and found["Mirror"] == found[wrong_audio("Mirror")]


def test_a_case_that_fails_is_counted_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bright = [float(make_clip(person, seconds=0.24).frames(32, [0]).mean()) for person in PEOPLE]
    monkeypatch.setitem(LIMIT, "brightness", sorted(bright)[1])
    out = tmp_path / "out"
    options: dict[str, Any] = {"protocols": ["self"], "clips": 3, "seconds": 0.24, "size": 64}
    rows = compare([Still(**PC_AVS.sizes)], out=out, device="cpu", **options, **readers())
    for row in rows:
        expected = (2, 1) if row.model.startswith("Still") else (3, 0)
        assert (row.clips, row.failed) == expected
    name = make_clip(PEOPLE[int(np.argmax(bright))], seconds=0.24).name
    assert f"self, Still, {name}: this picture is too bright." in (out / "results.md").read_text()
    failures = json.loads((out / "repeat.json").read_text())["failures"]
    assert [f["model"] for f in failures] == ["Still", wrong_audio("Still")]

    monkeypatch.setitem(LIMIT, "brightness", -2.0)
    with pytest.raises(ValueError, match="Still made no video: this picture is too bright"):
        compare([Still(**PC_AVS.sizes)], out=tmp_path / "no", device="cpu", **options, **readers())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def footage(count: int = 3, seconds: float = 0.6) -> list[CorpusFootage]:
    return [CorpusFootage(make_clip(person, seconds=seconds)) for person in PEOPLE[:count]]


def drawn(item: Any) -> Any:
    """The numbers that footage is drawn from."""
    assert isinstance(item, CorpusFootage)
    return item.clip


def test_cases_of_self_driving() -> None:
    clips = footage()
    case = self_driven(clips)[0]
    assert case.source is clips[0] and case.driving is case.target
    assert case.lips is case.target and case.wrong_lips is clips[1]
    assert len(case.target) == len(clips[0]) - 1
    assert torch.equal(case.target.frames(32), drawn(clips[0]).frames(32)[1:])
    assert torch.equal(case.audio, drawn(clips[0]).audio[640:])
    assert torch.equal(case.wrong_audio, drawn(clips[1]).audio[: 14 * 640])
    assert torch.equal(case.target.truth()["yaw"], drawn(clips[0]).pose[1:, 0])


def test_cases_of_the_pose_protocol() -> None:
    clips = footage()
    case = pose_driven(clips)[0]
    target, pose_source = drawn(case.target), drawn(case.driving)
    assert torch.equal(target.identity, drawn(clips[0]).identity)
    assert torch.equal(pose_source.pose, target.pose)
    assert torch.equal(pose_source.blink, target.blink)
    assert torch.equal(pose_source.identity, drawn(clips[1]).identity)
    assert torch.equal(pose_source.articulation, drawn(clips[1]).articulation)
    assert torch.equal(case.audio, drawn(clips[0]).audio[640:])
    assert len(case.driving or ()) == len(case.target) == 14


def test_exact_targets() -> None:
    clips = footage()
    person, motion, speech = (drawn(clip) for clip in clips)
    moved, stays = exact(clips)[0], exact_still(clips)[0]
    for case in (moved, stays):
        target = drawn(case.target)
        assert torch.equal(target.identity, person.identity)
        assert torch.equal(target.articulation, speech.articulation)
        assert torch.equal(case.audio, speech.audio)
        assert not torch.equal(case.wrong_audio, speech.audio)
        assert drawn(case.source) is person
    assert torch.equal(drawn(moved.target).pose, motion.pose)
    assert torch.equal(drawn(moved.target).gaze, motion.gaze)
    assert drawn(moved.driving) is motion
    assert torch.equal(drawn(stays.target).pose, person.pose[:1].expand(15, 6))
    assert stays.driving is None
    assert drawn(stays.lips) is speech and drawn(stays.wrong_lips) is person


def test_cases_that_cannot_be() -> None:
    clips = footage()
    with pytest.raises(ValueError, match="three clips"):
        exact(clips[:2])
    with pytest.raises(ValueError, match="audio has 640 samples, but the target's 15 frames last"):
        a, b, c = clips
        Case("short", a, torch.zeros(640), b.audio, None, a, b, c)


def test_bootstrap_of_hand_made_numbers() -> None:
    # Of two clips, a quarter of the resamples is all 0 and a quarter all 1.
    assert bootstrap(torch.tensor([[0.0], [1.0]])) == (0.0, 1.0)
    assert bootstrap(torch.full((5, 1), 3.0)) == (3.0, 3.0)
    assert all(math.isnan(end) for end in bootstrap(torch.tensor([[1.0]])))
    # Of many, the interval is that of the central limit theorem: 1.96 deviations of the mean.
    values = torch.linspace(-1, 1, 400)[:, None]
    low, high = bootstrap(values, mean)
    deviation = float(values.std()) / 20
    assert (low, high) == pytest.approx((-1.96 * deviation, 1.96 * deviation), abs=0.15 * deviation)


def test_correlation_is_pooled_within_clips() -> None:
    x = [np.array([1.0, 2, 4]), np.array([10.0, 8, 9, 9])]
    y = [np.array([2.0, 1, 3]), np.array([0.0, 5, 1, 2])]
    rows = []
    for a, b in zip(x, y, strict=True):
        da, db = a - a.mean(), b - b.mean()
        rows.append([(da**2).sum(), (db**2).sum(), (da * db).sum(), (a**2).sum(), (b**2).sum()])
    centred = [np.concatenate([clip - clip.mean() for clip in side]) for side in (x, y)]
    wanted = np.corrcoef(np.stack(centred))[0, 1]
    assert float(pooled_correlation(torch.tensor(rows))) == pytest.approx(wanted, abs=1e-6)


WIDE = CropTemplate("wide", 96, ((36.0, 36.0), (60.0, 36.0), (48.0, 60.0)))


def test_results_are_warped_back_to_the_evaluation_crop(tmp_path: Path) -> None:
    """What a wide crop of the first frame shows is where the evaluation crop shows it."""
    clip = make_clip(PEOPLE[0], seconds=0.2)
    with VideoWriter(tmp_path / "clip.mp4", 256, 256, clip.audio, crf=4) as writer:
        writer.write(clip.frames(256))
    points = clip.landmarks(256)
    eyes = [points[:, 36:42].mean(1), points[:, 42:48].mean(1)]
    five = torch.stack([*eyes, points[:, 30], points[:, 48], points[:, 54]], 1)
    found = torch.ones(5, dtype=torch.bool)
    track = FaceTrack("clip", EVALUATION_CROP, torch.zeros(5, 4), five, found)
    file: Any = type("File", (), {"path": str(tmp_path / "clip.mp4"), "name": "c", "identity": "c"})
    real = FileFootage(file, 5, track, clip.audio)
    wanted = real.first(128)
    placed = real.place(real.first(192, WIDE)[None], WIDE, 128)[0]
    error = (placed - wanted).abs().mean()
    shifted = (wanted.roll(2, -1) - wanted).abs().mean()
    assert error < 0.03 < shifted
    # A model with a smaller crop than the evaluation's: the picture fills what it does not reach.
    narrow = replace(WIDE, points=((20.0, 20.0), (76.0, 20.0), (48.0, 76.0)))
    red = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    placed = real.place(red, narrow, 128)[0]
    assert torch.allclose(placed[:, 0, 0], wanted[:, 0, 0], atol=1e-3)
    assert torch.allclose(placed[:, 64, 64], red[0, :, 0, 0], atol=1e-3)
    assert real.rest().audio.shape == (4 * 640,) and real.rest().frames(32).shape[0] == 4


def test_the_mask_of_a_real_face_is_its_outline() -> None:
    clip = make_clip(PEOPLE[0], seconds=0.04)
    points = clip.landmarks(128)
    mask = outline(points, 128)[0]
    eye = points[0, 36:42].mean(0).round().long()
    assert mask[eye[1], eye[0]] and not mask[0, 0] and not mask[-1, -1]
    assert not outline(points * math.nan, 128).any()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three clips of two people, one that is damaged, and one without sound."""
    for name, person in (("anna/1.mp4", 0), ("anna/2.mp4", 0), ("ben/1.mp4", 1)):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        make_clip(PEOPLE[person], seconds=0.12).save(tmp_path / "clips" / name, 32)
    (tmp_path / "clips/ben/damaged.mp4").write_bytes(b"no film")
    with VideoWriter(tmp_path / "clips/ben/silent.mp4", 32, 32) as writer:
        writer.write(torch.zeros(5, 3, 32, 32))
    return tmp_path / "clips"


def test_clips_of_a_folder(folder: Path) -> None:
    out = folder.parent / "out"
    options = {"size": 64, "crop": "none", "device": "cpu", "shown": 1}
    rows = compare([PC_AVS.responsive()], folder, clips=9, out=out, **options)  # type: ignore[arg-type]
    assert {row.protocol for row in rows} == {"self", "pose"}
    # dlib looks for real faces, and the package's readers only know drawn ones.
    psnr = [row for row in rows if row.metric == "psnr" and row.region == "frame"]
    assert psnr and all((row.clips, row.failed) == (3, 2) for row in psnr)
    assert not [row for row in rows if "reader" in row.metric or "sync-expert" in row.metric]
    record = json.loads((out / "repeat.json").read_text())
    assert set(record["failed clips"]) == {"ben/damaged.mp4", "ben/silent.mp4"}
    digest = hashlib.sha256((folder / "anna/1.mp4").read_bytes()).hexdigest()
    assert record["clips"]["anna/1.mp4"] == digest
    assert record["cases"]["pose"][0] == "anna/1.mp4, pose through ben/1.mp4"
    assert "silent.mp4 has no sound" in (out / "index.html").read_text()


def test_a_clip_without_a_face_is_named(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("grey.mp4", "black.mp4"):
        with VideoWriter(clips / name, 64, 64, torch.zeros(3200)) as writer:
            writer.write(torch.full((5, 3, 64, 64), -float(name == "black.mp4")))
    with pytest.raises(ValueError, match=r"none of 2 clips of .*black.mp4: no face found"):
        compare([PC_AVS()], clips, out=tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_one_clip_alone_has_nobody_elses_sound(folder: Path, tmp_path: Path) -> None:
    (folder / "ben/damaged.mp4").unlink()
    with pytest.raises(ValueError, match=r"one clip of .*silent.mp4 has no sound.*give two"):
        compare([PC_AVS()], folder / "ben", out=tmp_path / "out", device="cpu", crop="none")


def test_a_report_beside_other_files_is_not_replaced(report: Path, tmp_path: Path) -> None:
    shutil.copytree(report, tmp_path / "out")
    check_out(tmp_path / "out")
    (tmp_path / "out/thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"other than a report \(thesis.tex\)"):
        check_out(tmp_path / "out")


def test_a_report_goes_where_it_can_stay(
    report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk/out").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk/out")
    with report_folder(tmp_path / "link") as folder:
        shutil.copytree(report, folder, dirs_exist_ok=True)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk/out/index.html").is_file()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["out"]
    monkeypatch.chdir(tmp_path / "disk/out")
    with pytest.raises(ValueError, match=r"\. is the current folder"):
        check_out(Path("."))


def test_a_model_that_fails_everywhere_in_a_protocol_has_a_row() -> None:
    measure = Measure("psnr", "", "", "higher", "PSNR", "picture", "dB", 2)
    results = Results(["good", "bad"], cases={"self": ["a"], "pose": ["a", "b"]})
    for protocol, model in (("self", "good"), ("self", "bad"), ("pose", "good")):
        results.add(protocol, model, "a", {measure: (20.0,)})
    for case in ("a", "b"):
        results.failures.append(Failure("pose", "bad", case, "no"))
    row = results.row("pose", "bad", measure)
    assert row is not None and (row.clips, row.failed) == (0, 2) and math.isnan(row.value)
    assert results.row("pose", wrong_audio("bad"), measure) is None  # was not tried


def test_what_one_scorer_cannot_measure_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: SSIM, *frames: Any, **options: Any) -> None:
        raise ValueError("no structure")

    monkeypatch.setattr(SSIM, "update", fails)
    options: dict[str, Any] = {"protocols": ["self"], "clips": 2, "seconds": 0.24, "size": 40}
    out = tmp_path / "out"
    rows = compare([Still(**PC_AVS.sizes)], out=out, device="cpu", **options, **readers())
    assert all(row.failed == 0 for row in rows)
    metrics = {row.metric for row in rows}
    assert "psnr" in metrics and any(name.startswith("csim") for name in metrics)
    assert "ssim" not in metrics
    text = (out / "results.md").read_text()
    assert "Still, " in text and "no structure" in text
    assert "MS-SSIM: frames of 40 px are too small" in text


def test_frames_without_a_face_move_nothing() -> None:
    scorer = DrawnFaceScorer(readers()["face"], "reader")
    clip = make_clip(PEOPLE[0], seconds=0.4)
    reading = scorer.read(clip.frames(32))
    truth = {"yaw": clip.pose[:, 0]}
    seen = reading._replace(presence=torch.tensor(4 * [1.0] + 6 * [0.0]))
    found = scorer.compare(seen, reading, Scene(clip.frames(32), clip.audio, None, truth))
    error = (clip.pose[:4, 0] - reading.pose[:4, 0]).abs().mean()
    values = {measure.metric: numbers for measure, numbers in found.items()}
    assert values["mae_yaw[reader]"] == (pytest.approx(float(error)),)
    assert values["correlation_yaw[reader]"][3] == pytest.approx(
        float(clip.pose[:4, 0].square().sum())
    )


def test_two_drawn_clips_have_no_exact_targets() -> None:
    wanted, generators = ["self", "pose"], [VideoGenerator(PC_AVS(), "cpu")]
    assert choose_protocols(None, True, generators, 2) == wanted
    assert choose_protocols(None, True, generators, 3) == [*wanted, "exact"]


def test_official_scores_leave_the_last_window_out() -> None:
    class Windows:
        def embed_video(self, frames: Tensor) -> Tensor:
            return torch.arange(len(frames) - 4.0)[:, None]

        embed_audio = embed_video

    read = [SyncScorer(Windows(), "x", drop_last=d).read(torch.zeros(29, 1)) for d in (False, True)]
    assert [len(windows) for windows in read] == [25, 24]
    assert torch.equal(read[1], read[0][:-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "empty"}, "empty has no video files"),
        ({"data": "nowhere"}, "no folder nowhere"),
        ({"clips": 1}, "clips=1: give at least 2"),
        ({"size": 8}, "size=8: give at least 11 pixels"),
        ({"seconds": 0.05}, "seconds=0.05: give at least 0.08 s"),
        ({"protocols": ["user-study"]}, "no protocol 'user-study': there are self, pose, exact"),
        ({"data": "empty", "protocols": ["exact"]}, "'exact' needs exact truth"),
        ({"out": "."}, "holds something other than a report"),
        ({"models": []}, "no models were given"),
        ({"models": ["missing"]}, "no model 'missing'"),
    ],
)
def test_what_cannot_be_compared(
    options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    defaults = {"models": [PC_AVS()], "out": "out", "device": "cpu", **readers()}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        compare(**{**defaults, **options})
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert main(["compare", "--models", "a=x", "a=y", "-o", out]) == 2
    assert main(["compare", "--models", "nothing", "-o", out, "--device", "cpu"]) == 2
    checkpoint = tmp_path / "epoch=9-step=90.ckpt"
    checkpoint.write_bytes(b"no checkpoint")
    assert main(["compare", "--models", str(checkpoint), "-o", out, "--device", "cpu"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert str(checkpoint) in errors[2]
    assert errors[0].startswith("talkingface: two models are called a")
    assert errors[1].startswith("talkingface: no model 'nothing'")


def test_words_are_recognised_from_either_side() -> None:
    lips = torch.tensor([[3.0, 0.0, 0.0], [2.0, 1.9, 0.0], [0.0, 0.0, 1.0]])
    sound = torch.tensor([[1.0, 0.0, 0.0], [0.0, 3.0, 0.0], [4.0, 0.0, 0.0]])
    scores = recognise_words(lips, sound, torch.tensor([0, 1, 2]), groups=[(0, 1)])
    assert scores["visual"] == pytest.approx({"top1": 2 / 3, "errors_in_group": 1})
    assert scores["audio"]["top1"] == pytest.approx(2 / 3)
    assert scores["combined"]["top1"] == pytest.approx(2 / 3)


def test_retrieval_of_sources_and_across() -> None:
    real = torch.eye(4)
    generated = real[[0, 1, 3, 2]] + 0.1
    scores = retrieve_sources(generated, torch.ones(4, 4), real, ks=(1, 2))
    # Two are found; of the two others, three candidates are as far away as their own or nearer.
    assert scores["generated"]["r@1"] == 50 and scores["generated"]["median_rank"] == 2.5
    assert scores["replicated"]["r@1"] == 0  # all alike: ties count against
    both = retrieve_across(real, real, ks=(1,))
    assert both["video_to_audio"]["r@1"] == both["audio_to_video"]["r@1"] == 100


def test_clips_are_embedded_window_by_window() -> None:
    encoder = SyncExpert(width=2).eval()
    clips = [(clip.frames(32), clip.audio) for clip in footage(2, seconds=0.28)]
    video, audio = embed_clips(encoder, clips)
    assert video.shape == audio.shape == (2, 3 * 32)
    with pytest.raises(ValueError, match="of one length"):
        embed_clips(encoder, [(clips[0][0][:6], clips[0][1])])


def test_a_leak_is_measured() -> None:
    words = torch.arange(120) % 4
    clean = torch.randn(120, 6)
    leaky = clean + 5 * torch.nn.functional.one_hot(words, 6)
    scores = measure_leak((leaky[:80], words[:80]), (leaky[80:], words[80:]))
    assert scores["leak_accuracy"] > 0.9 and scores["leak_chance"] == pytest.approx(0.25)
    assert measure_leak((clean[:80], words[:80]), (clean[80:], words[80:]))["leak_accuracy"] < 0.6


def test_the_fid_of_a_row_is_that_of_all_its_frames(tmp_path: Path) -> None:
    trunk = torch.nn.ModuleDict({"features": make_layers(cfgs["D"])})
    torch.save(trunk.state_dict(), tmp_path / "vgg16.pth")
    scorer = FIDScorer(VGG16Pool(tmp_path / "vgg16.pth").eval(), "vgg16")
    clips = torch.rand(2, 3, 3, 32, 32) * 2 - 1
    for case, frames in zip("ab", clips, strict=True):
        scorer.collect("same", case, frames, frames)
        scorer.collect("darker", case, frames * 0.2 - 0.8, frames)
    wanted = FID(scorer.features, "vgg16")
    wanted.update(clips.flatten(0, 1) * 0.2 - 0.8, clips.flatten(0, 1))
    with torch.no_grad():
        found = {key: next(iter(value.values())) for key, value in scorer.finish().items()}
    assert found["same", "a"] == found["same", "b"] == pytest.approx((0.0,), abs=1e-3)
    assert found["darker", "a"] == pytest.approx((float(wanted.compute()),), rel=1e-3)
    assert scorer.finish() == {}
