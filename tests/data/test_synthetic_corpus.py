"""The corpus: who moves how, what batches hold, what is written."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from talkingface import FolderDataModule, SyntheticDataModule, VoxCeleb2DataModule
from talkingface.cli import main
from talkingface.data.audio import read_audio
from talkingface.data.batch import to_float, to_uint8
from talkingface.data.datasets.index import index_clips
from talkingface.data.datasets.lrw import Split, find_lrw_clips, read_word_seconds
from talkingface.data.synthetic.clip import SyntheticClip, cross
from talkingface.data.synthetic.dataset import (
    PEOPLE,
    choose_word,
    make_clip,
    make_word_clip,
    write_clips,
)
from talkingface.data.synthetic.face import Expression, landmarks, sample_identity
from talkingface.data.synthetic.motion import BLINKS, SPREAD, sample_motion
from talkingface.data.synthetic.speech import ARTICULATION, WORDS, pronounce, sample_voice, speak
from talkingface.data.synthetic.writing import write_corpus
from talkingface.data.video import VideoClip, read_metadata

ROOT = Path(__file__).parents[2]
SMALL: dict[str, Any] = {
    "size": 32,
    "frames": 4,
    "references": 2,
    "batch_size": 2,
    "identities": 3,
    "takes": 2,
    "seconds": 1.0,
    "val_identities": 1,
    "test_identities": 2,
}


def digest(tensors: dict[str, Any]) -> str:
    """Hash of the names, shapes and bytes of tensors."""
    total = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        tensor = torch.as_tensor(value) if not isinstance(value, list | str) else None
        total.update(f"{name}{value if tensor is None else tuple(tensor.shape)}".encode())
        if tensor is not None:
            total.update(tensor.contiguous().numpy().tobytes())
    return total.hexdigest()


def describe(clip: SyntheticClip) -> str:
    """Hash of everything that a clip holds and draws."""
    parts = {"identity": clip.identity, "audio": clip.audio, "words": str(clip.words)}
    return digest({**parts, **clip.labels(64), "frames": to_uint8(clip.frames(64))})


# --- motion


def test_heads_move_as_declared() -> None:
    poses = torch.stack([sample_motion(str(seed), 1)[0][0] for seed in range(1000)])
    spread = torch.tensor(list(SPREAD.values()))
    rest = torch.tensor([0.0, 0, 0, 0, 0, 1])
    torch.testing.assert_close(poses.std(0), spread, rtol=0.08, atol=0)
    torch.testing.assert_close(poses.mean(0), rest, rtol=0, atol=0.1 * 15)
    assert ((poses - rest).abs() <= 2.83 * spread).all()  # within +-45, 25 and 20 degrees
    pose, _ = sample_motion("someone", 250)
    fastest = 2 * torch.pi * 0.6 / 25 * 2.83 * spread  # no wave is faster than 0.6 Hz
    assert (pose.diff(dim=0).abs() < fastest).all() and (pose.std(0) > 0.3 * spread).all()


def test_heads_move_as_little_as_asked() -> None:
    usual, columns = sample_motion("someone", 50)
    calm, same = sample_motion("someone", 50, motion=0.2)
    torch.testing.assert_close(calm - usual[25], 0.2 * (usual - usual[25]))
    assert torch.equal(columns["gaze_x"], same["gaze_x"])
    still = make_word_clip(person=5, motion=0.0)
    assert torch.equal(still.pose, make_word_clip(person=5).pose[14].expand(29, 6))
    with pytest.raises(ValueError, match="motion=-1"):
        sample_motion("someone", 50, motion=-1)


def test_eyes_blink_and_jump() -> None:
    for seed in range(5):
        _, columns = sample_motion(str(seed), 1500)
        shut = (columns["blink"] == 1).nonzero()[:, 0]
        pauses = shut.diff() / 25
        assert pauses.min() >= BLINKS[0] and pauses.max() <= BLINKS[1]
        assert (columns["blink"] == 0).float().mean() > 0.8
        assert ((columns["brow"] >= 0) & (columns["brow"] <= 1)).all()
        moves = columns["gaze_x"].diff() != 0
        assert 0.01 < moves.float().mean() < 0.1  # it rests 1.2 s in the mean
        assert columns["gaze_x"].abs().max() <= 1 and columns["gaze_y"].abs().max() <= 1


# --- clips


def test_a_clip_is_what_its_parts_are() -> None:
    said = tuple(WORDS)[:2]
    clip = make_clip(person=5, take=1, seconds=3.0, words=said)
    speech = speak(pronounce(" ".join(said)), sample_voice(5))
    assert (len(clip), clip.audio.shape, clip.viseme.shape) == (75, (75 * 640,), (75,))
    assert torch.equal(clip.identity, sample_identity(5))
    spoken = len(speech.viseme)
    lead = next(k for k in range(76) if torch.equal(clip.viseme[k : k + spoken], speech.viseme))
    assert torch.equal(clip.audio[lead * 640 :][: spoken * 640], speech.audio)
    assert torch.equal(clip.articulation[lead : lead + spoken], speech.articulation)
    assert not clip.audio[: lead * 640].any() and not clip.audio[(lead + spoken) * 640 :].any()
    assert [word for word, _, _ in clip.words] == list(said)
    for _, start, end in clip.words:  # words sound, and mouths move, when they say
        frames = slice(round(start * 25), round(end * 25))
        assert clip.audio[round(start * 16000) : round(end * 16000)].square().mean() > 1e-3
        assert clip.viseme[frames].any() and clip.articulation[frames].std() > 0
    some = clip.frames(32, [70, 3])
    torch.testing.assert_close(some, clip.frames(32)[[70, 3]], rtol=0, atol=1e-4)
    points = landmarks(clip.identity, clip.pose[3:4], clip.expression[3:4], 32)
    torch.testing.assert_close(clip.labels(32, [70, 3])["landmarks"][1:], points)
    assert clip.mask(32, [3]).shape == (1, 32, 32)


def test_motion_does_not_know_what_is_said() -> None:
    one, two, alike = (make_clip(9, seconds=2.0, words=(w,)) for w in ("pat", "queen", "bat"))
    assert torch.equal(one.pose, two.pose) and torch.equal(one.gaze, two.gaze)
    assert torch.equal(one.blink, two.blink) and torch.equal(one.brow, two.brow)
    assert not torch.equal(one.articulation, two.articulation)
    # to the eye, "bat" is "pat"
    assert torch.equal(one.expression, alike.expression)
    assert not torch.equal(one.audio, alike.audio)
    other = make_clip(9, take=1, seconds=2.0)
    assert not torch.equal(one.pose, other.pose) and torch.equal(one.identity, other.identity)


@pytest.mark.parametrize("seed", range(4))
def test_a_word_is_in_the_middle(seed: int) -> None:
    for take in range(3):
        clip = make_word_clip(person=seed, take=take)
        assert len(clip) == 29 and len(clip.words) >= 2
        (inner,) = (w for w in clip.words if abs((w[1] + w[2]) / 2 - 0.58) <= 0.02 + 1e-6)
        assert inner[0] == choose_word(seed, take)
        assert 0 <= clip.words[0][1] and clip.words[-1][2] <= 29 / 25


def test_everybody_says_every_word() -> None:
    orders = [[choose_word(p, take) for take in range(len(WORDS))] for p in range(3)]
    assert all(sorted(order) == sorted(WORDS) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_cross_takes_each_part_from_its_clip() -> None:
    a, b, c = (make_clip(p, seconds=s) for p, s in ((1, 1.0), (2, 2.0), (3, 0.8)))
    crossed = cross(a, b, c)
    assert (len(crossed), crossed.person) == (50, 1)
    assert torch.equal(crossed.identity, a.identity)
    assert torch.equal(crossed.audio, b.audio) and crossed.words == b.words
    assert torch.equal(crossed.articulation, b.articulation)
    assert torch.equal(crossed.viseme, b.viseme)
    forth_and_back = torch.cat([c.pose, c.pose.flip(0), c.pose])[:50]
    assert torch.equal(crossed.pose, forth_and_back)
    gaze = torch.cat([c.gaze, c.gaze.flip(0), c.gaze])[:50]
    assert torch.equal(crossed.gaze, gaze)
    assert torch.equal(cross(a, a, a).frames(32, [7]), a.frames(32, [7]))
    still = cross(a, b, None)
    assert torch.equal(still.pose, a.pose[:1].expand(50, 6))
    assert torch.equal(still.blink, a.blink[:1].expand(50))
    assert torch.equal(still.articulation, b.articulation)


def test_same_seed_same_bytes_in_another_process() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    own = [describe(make_clip(7, 2, seconds=0.5, noise_db=10)), describe(make_word_clip(7))]
    torch.set_num_threads(threads)
    code = (
        "from tests.data.test_synthetic_corpus import *\n"
        "torch.set_num_threads(1)\n"
        "print(describe(make_clip(7, 2, seconds=0.5, noise_db=10)), describe(make_word_clip(7)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert run.stdout.split() == own


def test_words_may_be_spelt_as_folders_of_a_corpus_are() -> None:
    assert make_word_clip(3, word="PAT").words == make_word_clip(3, word="pat").words
    own = make_clip(3, seconds=2.0, words=("Two three",))
    assert own.words == make_clip(3, seconds=2.0, words=("two", "three")).words


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_clip(-1), "person=-1"),
        (lambda: make_clip(1_000_000), "person=1000000"),
        (lambda: make_clip(0, take=-1), "take=-1"),
        (lambda: make_clip(0, seed=-1), "seed=-1"),
        (lambda: make_clip(0, seconds=0.01), "seconds=0.01"),
        (lambda: make_clip(0, seconds=0.2, words=tuple(WORDS)[:3]), r"takes [\d.]+ s"),
        (lambda: make_word_clip(0, word=f"{next(iter(WORDS))}q"), next(iter(WORDS))),
        (lambda: make_word_clip(0, word="two three"), "word='two three': give one word"),
    ],
)
def test_bad_values_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# --- batches


def test_batches_hold_all_labels() -> None:
    data = SyntheticDataModule(**SMALL)
    batch = next(iter(data.train_dataloader()))
    shapes = {
        "video": (2, 4, 3, 32, 32),
        "source": (2, 2, 3, 32, 32),
        "audio": (2, 4 * 640 + 6400),
        "audio_gain": (2,),
        "start": (2,),
        "identity": (2,),
        "pose": (2, 4, 6),
        "expression": (2, 4, 10),
        "gaze": (2, 4, 2),
        "blink": (2, 4),
        "viseme": (2, 4),
        "landmarks": (2, 4, 68, 2),
    }
    assert {key: tuple(batch[key].shape) for key in shapes} == shapes
    assert set(batch) == {*shapes, "clip"}
    assert batch["video"].dtype == torch.uint8 and batch["viseme"].dtype == torch.int64
    for row, (name, start) in enumerate(zip(batch["clip"], batch["start"].tolist(), strict=True)):
        person, take = int(name[2:8]), int(name[9:])
        clip, window = make_clip(person, take, seconds=1.0), range(start, start + 4)
        expected = to_uint8(clip.frames(32, window))
        assert (batch["video"][row].float() - expected.float()).abs().max() <= 1
        assert torch.equal(batch["pose"][row], clip.pose[start : start + 4])
        assert torch.equal(batch["expression"][row], clip.expression[start : start + 4])
        assert torch.equal(batch["viseme"][row], clip.viseme[start : start + 4])
        torch.testing.assert_close(batch["landmarks"][row], clip.landmarks(32, window))
        sound = clip.audio[start * 640 : (start + 4) * 640]
        assert torch.equal(batch["audio"][row, 3200:-3200], sound)
        assert data.class_names[int(batch["identity"][row])] == name[:8]


def test_no_one_is_in_two_splits_of_any_corpus() -> None:
    people: dict[str, set[str]] = {}
    for number in (2, 5):
        for seed in (0, 1):
            values = SMALL | {"identities": number, "test_identities": number, "seed": seed}
            data = SyntheticDataModule(**values)
            for split in ("train", "val", "test"):
                names = {clip.name[:-6] for clip in data.clips(split)}
                assert len(names) == (1 if split == "val" else number)
                people.setdefault(split, set()).update(names)
            assert data.num_identities == 2 * number + 1
    train, val, test = people.values()
    assert not train & val and not train & test and not val & test
    voices = [{sample_voice(p) for p in PEOPLE[s][:50]} for s in ("train", "val", "test")]
    assert len(set.union(*voices)) == 150


def load(**values: Any) -> list[dict[str, Any]]:
    """The training and validation batches of a small corpus."""
    data = SyntheticDataModule(**SMALL | values)
    loaders: list[Any] = [data.train_dataloader(), data.val_dataloader()]
    return [batch for loader in loaders for batch in loader]


def test_workers_change_no_byte() -> None:
    state = torch.get_rng_state()
    alone, shared = load(), load(num_workers=2)
    assert len(alone) == 3 + 4  # 6 clips, and 25 frames in windows of 4
    assert [digest(batch) for batch in alone] == [digest(batch) for batch in shared]
    assert torch.equal(torch.get_rng_state(), state)


def test_a_cache_changes_nothing_that_can_be_seen() -> None:
    for drawn, kept in zip(load(), load(cache=True), strict=True):
        assert drawn["clip"] == kept["clip"]
        for name in drawn.keys() - {"clip", "video", "source"}:
            torch.testing.assert_close(drawn[name], kept[name])
        for name in ("video", "source"):  # frames are drawn in other groups: roundings differ
            difference = (drawn[name].int() - kept[name].int()).abs()
            assert difference.max() <= 1 and (difference > 0).float().mean() < 1e-3


def test_a_cache_is_drawn_with_its_loader() -> None:
    data = SyntheticDataModule(**SMALL | {"cache": True})
    data.setup()  # the command line asks for the number of people before it starts processes
    assert not data._reader._drawn
    data.val_dataloader()
    assert sorted(data._reader._drawn) == list(data.val_dataset.members)
    kept = dict(data._reader._drawn)
    data.val_dataloader()
    assert all(data._reader._drawn[member] is drawn for member, drawn in kept.items())


def test_batches_of_words() -> None:
    values = {"words": True, "frames": 25, "identities": 4, "batch_size": 4, "held_out_takes": 3}
    data = SyntheticDataModule(**SMALL | values)
    batch = next(iter(data.train_dataloader()))
    assert batch["video"].shape == (4, 25, 3, 32, 32) and batch["word"].dtype == torch.int64
    assert batch["start"].tolist() == [2] * 4
    for name, word in zip(batch["clip"], batch["word"].tolist(), strict=True):
        assert data.word_names[word] == choose_word(int(name[2:8]), int(name[9:]))
    test = list(data.test_dataloader())
    assert sum(len(batch["clip"]) for batch in test) == 2 * 3
    assert "word" not in next(iter(SyntheticDataModule(**SMALL).val_dataloader()))


@pytest.mark.parametrize("driving", ["motion", "speech"])
@pytest.mark.parametrize("cache", [False, True])
def test_the_next_person_of_the_split_can_drive(driving: str, cache: bool) -> None:
    values = {"driving": driving, "val_identities": 2, "cache": cache, "motion": 0.0}
    data = SyntheticDataModule(**SMALL | values)
    after = {"train": {0: 1, 1: 2, 2: 0}, "val": {800_000: 800_001, 800_001: 800_000}}
    loaders: dict[str, Any] = {"train": data.train_dataloader(), "val": data.val_dataloader()}
    for split, loader in loaders.items():
        batch = next(iter(loader))
        for row, start in enumerate(batch["start"].tolist()):
            person, take = (int(part) for part in batch["clip"][row].removeprefix("id").split("/"))
            clip = make_clip(person, take, seconds=1.0, motion=0.0)
            next_one = make_clip(after[split][person], take, seconds=1.0)
            if driving == "motion":
                driver = replace(clip, identity=next_one.identity)
            else:
                mouth = [Expression._fields.index(name) for name in ARTICULATION]
                expression = next_one.expression.clone()
                expression[:, mouth] = clip.articulation
                driver = replace(next_one, expression=expression)
            expected = to_uint8(driver.frames(32, range(start, start + 4)))
            assert (batch["driving"][row].float() - expected.float()).abs().max() <= 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"identities": 0}, "identities must be 1"),
        ({"driving": "motion"}, "val_identities is 1, give 2 or more"),
        ({"val_identities": -1}, "val_identities must be 0"),
        ({"test_identities": 100_001}, "test_identities must be 0 to 100000"),
        ({"takes": 0}, "takes must be"),
        ({"seconds": 0.2}, "make clips longer"),
        ({"words": True, "frames": 30}, "frames must be 29 or less"),
        ({"num_workers": -1}, "num_workers must be"),
    ],
)
def test_bad_arguments_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SyntheticDataModule(**SMALL | values)


# --- films


def test_films_are_read_back(tmp_path: Path) -> None:
    paths = write_clips(tmp_path / "drawn", count=2, seconds=1.0, size=48, seed=7)
    assert [path.name for path in paths] == ["000007.mp4", "000008.mp4"]
    assert {path.suffix for path in (tmp_path / "drawn").iterdir()} == {".mp4", ".safetensors"}
    clip, film = make_clip(8, seconds=1.0), VideoClip(paths[1])
    assert (film.frame_count, film.height, film.width) == (25, 48, 48)
    error = (to_float(film.read()) - clip.frames(48)).square().mean((1, 2, 3))
    assert (10 * torch.log10(4 / error) > 25).all()
    assert "synthetic" in read_metadata(paths[1])["comment"]

    audio = read_audio(paths[1])
    assert len(audio) == 25 * 640
    middle = clip.audio[640:-640]
    lags = range(-64, 65)
    likeness = [torch.dot(middle, audio[640 + lag : len(audio) - 640 + lag]) for lag in lags]
    assert abs(lags[int(torch.stack(likeness).argmax())]) <= 1

    found = load_file(paths[1].with_suffix(".safetensors"))
    expected = clip.labels(48) | {"identity": clip.identity}
    assert found.keys() == expected.keys()
    for name, label in expected.items():
        torch.testing.assert_close(found[name], label)
    with safe_open(paths[1].with_suffix(".safetensors"), "pt") as file:
        assert [tuple(w) for w in json.loads(file.metadata()["clip"])["words"]] == list(clip.words)


def contents(folder: Path) -> dict[str, str]:
    """Hashes of the decoded pictures and sound, and of all other files' bytes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".mp4":
            film: dict[str, Tensor] = {"v": VideoClip(path).read(), "a": read_audio(path)}
            found[str(path.relative_to(folder))] = digest(film)
        elif path.is_file():
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def test_voxceleb2_layout_is_read_by_its_own_class(tmp_path: Path) -> None:
    options = ["--layout", "voxceleb2", "--identities", "2", "--clips-per-identity", "1"]
    options += ["--held-out", "1", "--seconds", "1", "--size", "32"]
    for name, workers in (("a", "0"), ("b", "2")):
        assert main(["synthesize", str(tmp_path / name), *options, "--workers", workers]) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")

    data = VoxCeleb2DataModule(str(tmp_path / "a"), size=32, split="identity", batch_size=2)
    batch = next(iter(data.train_dataloader()))
    names = ["dev/mp4/id000000/00000/00001.mp4", "dev/mp4/id000001/00000/00001.mp4"]
    assert sorted(batch["clip"]) == names
    held_out: Any = data.val_dataloader()
    assert {name for batch in held_out for name in batch["clip"]} == {
        "test/mp4/id900000/00000/00001.mp4"
    }
    assert not data.skipped


def test_lrw_layout(tmp_path: Path) -> None:
    write_corpus(tmp_path, "lrw", identities=2, clips_per_identity=2, held_out=1, size=32)
    films = sorted(tmp_path.rglob("*.mp4"))
    assert len(films) == 2 * 2 + 2 * 1 * 2
    for film in films:
        word, part, name = film.relative_to(tmp_path / "lipread_mp4").parts
        assert part in ("train", "val", "test") and word.lower() in WORDS
        assert name.startswith(f"{word}_0000") and VideoClip(film).frame_count == 29
        lines = film.with_suffix(".txt").read_text().splitlines()
        assert [line.split(":")[0] for line in lines] == [
            *("Disk reference", "Channel", "Program start", "Clip start", "Duration")
        ]
        with safe_open(film.with_suffix(".safetensors"), "pt") as file:
            words = json.loads(file.metadata()["clip"])["words"]
        spans = {w: end - start for w, start, end in words if start < 0.58 < end}
        assert lines[-1].endswith(" seconds")
        assert read_word_seconds(film) == pytest.approx(spans[word.lower()], abs=0.006)
    for part in get_args(Split):
        found = find_lrw_clips(str(tmp_path), part)
        assert [file.path for file, _ in found] == [str(f) for f in films if part in f.parts]
        assert len(found) == (4 if part == "train" else 2) and {
            word.lower() for _, word in found
        } <= set(WORDS)
    assert len(index_clips([file for file, _ in found])[0]) == 2
    with pytest.raises(FileNotFoundError, match=r"no val clips of LRW.*robots\.ox\.ac\.uk"):
        find_lrw_clips(str(tmp_path / "lipread_mp4" / "WORD"), "val")
    film.with_suffix(".txt").write_text("Channel: none\n")
    with pytest.raises(ValueError, match="Duration"):
        read_word_seconds(film)


def test_an_interrupted_run_goes_on_and_nothing_is_overwritten(tmp_path: Path) -> None:
    values: dict[str, Any] = {"identities": 2, "clips_per_identity": 1, "seconds": 0.4, "size": 32}
    assert write_corpus(tmp_path / "c", **values) == 2
    first, second = sorted((tmp_path / "c").rglob("*.mp4"))
    kept = first.stat().st_mtime_ns
    second.unlink()
    assert write_corpus(tmp_path / "c", **values) == 1
    assert second.exists() and first.stat().st_mtime_ns == kept
    with pytest.raises(ValueError, match=r"another corpus \(seed 0\)"):
        write_corpus(tmp_path / "c", **values, seed=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="something else"):
        write_corpus(tmp_path / "other", **values)
    data = FolderDataModule(str(tmp_path / "c"), size=32, frames=1, split="identity")
    data.setup()
    assert data.class_names == ["id000000", "id000001"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--layout", "grid"], "grid"),
        (["--identities", "-3"], "identities=-3"),
        (["--clips-per-identity", "0"], "clips_per_identity=0"),
        (["--held-out", "-1"], "held_out=-1"),
        (["--seconds", "-1"], "seconds=-1"),
        (["--size", "33"], "size=33"),
        (["--workers", "-1"], "workers=-1"),
        (["--layout", "lrw", "--seconds", "2"], "29 frames"),
    ],
)
def test_bad_options_write_nothing(
    options: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["synthesize", str(tmp_path / "out"), *options]) == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
