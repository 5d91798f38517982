"""Tests of data modules of words: windows around words, labels, splits and bad input."""

from pathlib import Path
from typing import Any

import pytest

from talkingface.data.datasets.index import ClipFile
from talkingface.data.datasets.words import match_clips
from talkingface.data.synthetic.dataset import choose_word
from talkingface.data.synthetic.writing import write_corpus
from talkingface.data.words import LRWDataModule, WordClipsDataModule
from tests.data.test_datasets import read_numbers, write_clip

WORDS = """clip,word,start_s,end_s,note
a,red,0.0,0.4,
a,blue,0.8,1.0,
b,green,0.5,0.7,
s1/c,red,1.0,1.2,
"""
COUNTS = {"a.mp4": 30, "b.mp4": 24, "s1/c.mp4": 41}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    for clip, (name, count) in enumerate(COUNTS.items()):
        write_clip(folder / name, clip, count)
    (folder / "words.csv").write_text(WORDS)
    return folder


def make(root: Path, **kwargs: Any) -> WordClipsDataModule:
    values = {"size": 32, "frames": 5, "batch_size": 1, "val_fraction": 0.0} | kwargs
    return WordClipsDataModule(str(root), **values)


def items(loader: Any, module: WordClipsDataModule | LRWDataModule) -> list[tuple[str, str, int]]:
    """Clip, word and start of each item."""
    return sorted(
        (name, module.word_names[word], int(start))
        for batch in loader
        for name, word, start in zip(batch["clip"], batch["word"], batch["start"], strict=True)
    )


# By hand: the middle in seconds * 25 - 2.5, rounded; the first would begin at 2.5 (rounds to even).
ITEMS = [
    ("a.mp4", "blue", 20),  # 0.9 s: 22.5 - 2.5
    ("a.mp4", "red", 2),  # 0.2 s: 5 - 2.5
    ("b.mp4", "green", 12),  # 0.6 s: 15 - 2.5
    ("s1/c.mp4", "red", 25),  # 1.1 s: 27.5 - 2.5
]


@pytest.mark.parametrize("cache", [False, True])
def test_every_word_is_a_window_around_its_middle(root: Path, cache: bool) -> None:
    module = make(root, cache=cache)
    loader = module.train_dataloader()
    assert items(loader, module) == ITEMS
    assert module.word_names == ["blue", "green", "red"]
    assert module.class_names == ["a.mp4"[:-4], "b", "s1"]
    for batch in loader:
        clip = list(COUNTS).index(batch["clip"][0])
        start = int(batch["start"])
        shown = read_numbers(batch["video"][0])
        assert shown == [(clip, start + k) for k in range(5)]
        assert batch["audio"].shape == (1, 5 * 640 + 6400)
        (reference,) = read_numbers(batch["source"][0])
        assert reference[0] == clip
        assert reference not in shown  # another frame of the clip


def test_windows_stay_in_the_clip_and_jitter_in_training_only(root: Path) -> None:
    wide = make(root, frames=23)
    # "red" would begin at 5 - 11.5; "blue" at 22.5 - 11.5, but the last window at 30 - 23.
    found = items(wide.train_dataloader(), wide)
    assert found[:2] == [("a.mp4", "blue", 7), ("a.mp4", "red", 0)]
    jittered = make(root, jitter=3)
    loader = jittered.train_dataloader()
    starts = set()
    for epoch in range(40):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        starts |= {start for name, word, start in items(loader, jittered) if name == "s1/c.mp4"}
    assert starts == set(range(25 - 3, 25 + 4))
    held_out = make(root, jitter=3, val_fraction=0.34)
    found = items(held_out.val_dataloader(), held_out)
    assert found
    assert set(found) < set(ITEMS)


def test_split_holds_out_whole_clips(root: Path) -> None:
    for split in ("clip", "identity"):
        module = make(root, split=split, val_fraction=0.34, seed=2)
        train = {name for name, _, _ in items(module.train_dataloader(), module)}
        val = {name for name, _, _ in items(module.val_dataloader(), module)}
        assert not train & val
        assert train | val == set(COUNTS)
        assert len(val) == 1


def test_given_words_keep_their_numbers_in_another_folder(root: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "z.mp4", 0, 30)
    (tmp_path / "other.csv").write_text("clip,word,start_s,end_s\nz,green,0.5,0.7\n")
    first = make(root)
    first.setup()
    module = make(tmp_path, csv=str(tmp_path / "other.csv"), word_names=first.word_names)
    assert items(module.train_dataloader(), module) == [("z.mp4", "green", 12)]
    assert module.word_names == ["blue", "green", "red"]
    with pytest.raises(ValueError, match="'green', which is not among word_names"):
        make(tmp_path, csv=str(tmp_path / "other.csv"), word_names=["blue"]).setup()


def test_what_does_not_match_is_listed(root: Path, tmp_path: Path) -> None:
    for clip, name in enumerate(["a", "short", "late", "silent"]):
        write_clip(tmp_path / f"{name}.mp4", clip, 4 if name == "short" else 30)
    lines = ["a,red,0.5,0.7", "short,red,0,0.1", "late,red,2.5,2.7", "gone,red,0,1"]
    (tmp_path / "words.csv").write_text("\n".join(["clip,word,start_s,end_s", *lines]))
    module = make(tmp_path)
    assert items(module.train_dataloader(), module) == [("a.mp4", "red", 12)]
    assert module.skipped == {
        "gone": "no such clip",
        "silent.mp4": "no words in words.csv",
        "short.mp4": "too short: 4 frames, 5 or more needed",
        "late.mp4": "'red' at 2.5 s is said after its end (1.2 s)",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,word,start_s\na,red,0.5\n", "no column end_s"),
        ("clip,word,start_s,end_s\n", "has no words"),
        ("clip,word,start_s,end_s\na,red,now,0.5\n", "line 2: 'now' to '0.5' are not times"),
        ("clip,word,start_s,end_s\na,red,0.5,0.4\n", "line 2: 'red' lasts from 0.5 s to 0.4 s"),
        ("clip,word,start_s,end_s\na,red,0.5,inf\n", "line 2: 'red' lasts from 0.5 s to inf s"),
        ('clip,word,start_s,end_s\na,"red,0.5,0.6\n', "bad.csv is no csv file in UTF-8"),
        ("clip,word,start_s,end_s\nz,red,0.5,0.6\n", "names none of the clips"),
        ("clip,word,start_s,end_s\na,red,0.5,0.6\n", 'split="clip" needs two clips or more'),
    ],
)
def test_bad_words(root: Path, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        make(root, csv=str(path), val_fraction=0.5).setup()


@pytest.mark.parametrize("name", ["s1/c.mp4", "s1/c", "c.mp4", "c"])
def test_clips_are_named_with_or_without_suffix(name: str) -> None:
    files = [ClipFile("r/b.mp4", "b.mp4", "b"), ClipFile("r/s1/c.mp4", "s1/c.mp4", "s1")]
    assert match_clips(files, {name: []}) == {"s1/c.mp4": name}


def test_bad_folders_and_arguments(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no video files"):
        make(tmp_path).setup()
    with pytest.raises(FileNotFoundError, match=r"no file .*gone.csv: give a csv file of words"):
        make(root, csv=str(tmp_path / "gone.csv")).setup()
    for clip, name in enumerate(["s1/a", "s2/a"]):
        write_clip(tmp_path / f"{name}.mp4", clip, 30)
    (tmp_path / "words.csv").write_text("clip,word,start_s,end_s\na,red,0.5,0.6\n")
    with pytest.raises(ValueError, match=r"fit both s1/a.mp4 and s2/a.mp4: .* s2/a"):
        make(tmp_path).setup()
    with pytest.raises(ValueError, match='split must be "clip" or "identity"'):
        make(root, split="time")
    with pytest.raises(ValueError, match="jitter must be 0 frames or more, not -1"):
        make(root, jitter=-1)
    with pytest.raises(ValueError, match="has 'red' twice"):
        make(root, word_names=["red", "red"])


def test_lrw_reads_its_own_folders_and_split(tmp_path: Path) -> None:
    number = 0
    for split, words in {"train": ["HOME", "ABOUT"], "val": ["HOME"], "test": ["ABOUT"]}.items():
        for word in words:
            write_clip(tmp_path / "lipread_mp4" / word / split / f"{word}_00001.mp4", number, 29)
            number += 1
    module = LRWDataModule(str(tmp_path), size=32, batch_size=2)
    (train,), (val,), (test,) = (
        list(loader)
        for loader in (
            module.train_dataloader(),
            module.val_dataloader(),
            module.test_dataloader(),
        )
    )
    assert module.word_names == ["ABOUT", "HOME"]
    assert sorted(zip(train["word"].tolist(), train["clip"], strict=True)) == [
        (0, "lipread_mp4/ABOUT/train/ABOUT_00001.mp4"),
        (1, "lipread_mp4/HOME/train/HOME_00001.mp4"),
    ]
    assert (val["word"].tolist(), test["word"].tolist()) == ([1], [0])
    # 25 of 29 frames, two on each side left out: what a reference shows
    assert read_numbers(test["video"]) == [(3, frame) for frame in range(2, 27)]
    assert {frame for _, frame in read_numbers(train["source"])} <= {0, 1, 27, 28}
    assert "identity" not in train
    assert module.num_identities == 0
    with pytest.raises(ValueError, match="'HOME', which is not among word_names"):
        LRWDataModule(str(tmp_path), word_names=["ABOUT"]).setup()
    with pytest.raises(FileNotFoundError, match="no train clips of LRW"):
        LRWDataModule(str(tmp_path / "lipread_mp4" / "HOME")).setup()


def test_lrw_reads_a_drawn_tree(tmp_path: Path) -> None:
    write_corpus(tmp_path, "lrw", 2, clips_per_identity=1, size=32, held_out=1)
    module = LRWDataModule(str(tmp_path), size=32, batch_size=2)
    (batch,) = module.train_dataloader()
    said = sorted(module.word_names[word] for word in batch["word"])
    assert said == sorted(choose_word(person).upper() for person in (0, 1))
    assert batch["video"].shape == (2, 25, 3, 32, 32)
