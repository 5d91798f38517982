"""Tests of indexing and reading: frames carry their clip and index as black and white blocks."""

import json
import logging
import multiprocessing
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from talkingface.data.audio import read_audio
from talkingface.data.batch import audio_window
from talkingface.data.datasets.clips import ClipDataset, ClipReader, crop_and_resize
from talkingface.data.datasets.folder import find_folder_clips
from talkingface.data.datasets.index import Clip, ClipFile, FailureLog, index_clips
from talkingface.data.datasets.voxceleb2 import find_voxceleb2_clips
from talkingface.data.sampling import Span, Window
from talkingface.data.video import VideoWriter
from tests.media import sampled, stamped, write_media

SIZE = 64
BLOCK = SIZE // 4
TONE_FROM = 10  # frame at which the sound starts


def numbered_frames(clip: int, count: int) -> Tensor:
    """Frames (count, 3, 64, 64) whose 16 blocks are the bits of the index and of the clip."""
    values = torch.arange(count) + 256 * clip
    bits = (values[:, None] >> torch.arange(16)) & 1
    blocks = (bits * 255).to(torch.uint8).reshape(count, 1, 4, 4)
    return blocks.repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3).expand(-1, 3, -1, -1)


def read_numbers(frames: Tensor) -> list[tuple[int, int]]:
    """Clip and index of each frame (..., 3, S, S), from the middles of the blocks."""
    size = frames.shape[-1]
    middles = (torch.arange(4) * size + size // 2) // 4
    bits = frames.flatten(0, -4)[:, 1][:, middles][:, :, middles].flatten(1) > 127
    values = (bits.long() << torch.arange(16)).sum(1)
    return [(int(value) // 256, int(value) % 256) for value in values]


def write_clip(path: Path, clip: int, count: int, sound: bool = True, size: int = SIZE) -> Path:
    """Write a clip with numbered frames and a tone of amplitude 0.5 from frame 10 on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = torch.arange(count * 640)
    tone = 0.5 * torch.sin(2 * torch.pi * 400 / 16000 * time) * (time >= TONE_FROM * 640)
    with VideoWriter(path, size, SIZE, audio=tone if sound else None) as writer:
        writer.write(numbered_frames(clip, count)[:, :, :size].contiguous())
    return path


def cut_off(path: Path, share: float = 0.6) -> None:
    """Overwrite the rear part of a clip's coded pictures and sound: its header stays whole."""
    data = bytearray(path.read_bytes())
    begin = data.index(b"mdat") + 4
    end = begin + int.from_bytes(data[begin - 8 : begin - 4], "big") - 8
    first = begin + int((end - begin) * (1 - share))
    data[first:end] = bytes(end - first)
    path.write_bytes(bytes(data))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for clip, count in enumerate((30, 24, 41)):
        write_clip(folder / f"person{clip}" / f"{clip}.mp4", clip, count)
    return folder


def make_dataset(root: Path, frames: int = 5, references: int = 2, size: int = 32) -> ClipDataset:
    clips, skipped = index_clips(find_folder_clips(str(root)))
    assert not skipped
    return ClipDataset(
        ClipReader(clips, size),
        range(len(clips)),
        [Span(0, clip.frame_count) for clip in clips],
        frames,
        references,
        [clip.identity for clip in clips],
        FailureLog(),
    )


def test_folder_layout(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.MOV", "p1/x.mp4", "p1/deep/y.mkv", "p2/z.webm", "p2/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = find_folder_clips(str(tmp_path))
    assert [(file.name, file.identity) for file in files] == [
        ("a.MOV", "a"),
        ("b.mp4", "b"),
        ("p1/deep/y.mkv", "p1"),
        ("p1/x.mp4", "p1"),
        ("p2/z.webm", "p2"),
    ]
    assert files[3].path == str(tmp_path / "p1/x.mp4")


@pytest.mark.parametrize(
    "names",
    [
        ["dev/id00012/v1/00001.mp4", "test/id00017/v2/00002.mp4"],
        ["dev/mp4/id00012/v1/00001.mp4", "test/mp4/id00017/v2/00002.mp4"],
        ["id00012/v1/00001.mp4", "id00017/v2/00002.mp4"],
    ],
)
def test_voxceleb2_layout(tmp_path: Path, names: list[str]) -> None:
    for name in [*names, "readme.mp4", "dev/other/v/00001.mp4"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = find_voxceleb2_clips(str(tmp_path))
    assert [file.name for file in files] == names
    assert [file.identity for file in files] == ["id00012", "id00017"]


def test_empty_roots_say_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"id\*/<video>/<clip>.mp4.*mm.kaist.ac.kr"):
        find_voxceleb2_clips(str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no video files.*\.mp4"):
        find_folder_clips(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no folder"):
        find_folder_clips(str(tmp_path / "absent"))


def test_index_names_what_cannot_be_used_and_why(tmp_path: Path) -> None:
    write_clip(tmp_path / "good.mp4", 1, 12)
    write_clip(tmp_path / "silent.mp4", 2, 12, sound=False)
    write_clip(tmp_path / "wide.mp4", 3, 12, size=32)
    (tmp_path / "empty.mp4").touch()
    whole = (tmp_path / "good.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    clips, skipped = index_clips(find_folder_clips(str(tmp_path)))
    assert [(clip.name, clip.frame_count) for clip in clips] == [("good.mp4", 12)]
    assert sorted(skipped) == ["empty.mp4", "half.mp4", "silent.mp4", "wide.mp4"]
    assert skipped["silent.mp4"] == "no sound"
    assert skipped["wide.mp4"].startswith("not square (32 x 64 pixels)")
    # a box that cuts a square out makes the wide clip usable and the square one not
    names = [c.name for c in index_clips(find_folder_clips(str(tmp_path)), (0, 0, 1, 0.5))[0]]
    assert names == ["wide.mp4"]


def test_index_file_saves_opening_unchanged_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (write_clip(tmp_path / "clips" / name, 1, 12) for name in ("a.mp4", "b.mp4"))
    index = tmp_path / "new" / "index.json"
    files = find_folder_clips(str(tmp_path / "clips"))
    first = index_clips(files, index_file=str(index))
    assert sorted(json.loads(index.read_text())) == [str(a), str(b)]
    assert os.listdir(index.parent) == ["index.json"]

    opened: list[str] = []

    def refuse(path: str) -> None:
        opened.append(path)
        raise ValueError("opened")

    monkeypatch.setattr("talkingface.data.datasets.index.VideoClip", refuse)
    assert index_clips(files, index_file=str(index)) == first
    assert opened == []
    os.utime(b, ns=(1, 1))
    assert index_clips(files, index_file=str(index))[1] == {"b.mp4": "opened"}
    assert opened == [str(b)]
    index.write_text("[1, 2]")
    with pytest.raises(ValueError, match="not an index"):
        index_clips(files, index_file=str(index))


def test_crop_and_resize_takes_the_box() -> None:
    ramp = torch.arange(224, dtype=torch.uint8)
    frames = torch.stack([ramp[:, None].expand(224, 224), ramp.expand(224, 224)])
    frames = torch.cat([frames, frames[:1]])[None]
    box = (0, 16 / 224, 192 / 224, 208 / 224)
    exact = crop_and_resize(frames, 192, box)
    assert torch.equal(exact, frames[..., 0:192, 16:208])
    half = crop_and_resize(frames, 96, box)  # pixel k of a halved ramp is the mean of 2k and 2k + 1
    expected = torch.arange(96) * 2.0 + 0.5
    assert (half[0, 0, 1:-1, 50] - expected[1:-1]).abs().max() <= 1
    assert (half[0, 1, 50, 1:-1] - expected[1:-1] - 16).abs().max() <= 1


@pytest.mark.parametrize("cache", [False, True])
def test_item_is_exactly_the_window_asked_for(root: Path, cache: bool) -> None:
    dataset = make_dataset(root)
    if cache:
        dataset.reader.cache(2)
    item = dataset[Window(2, 17, (3, 39))]
    assert read_numbers(item["video"]) == [(2, k) for k in range(17, 22)]
    assert read_numbers(item["source"]) == [(2, 3), (2, 39)]
    assert item["video"].dtype == item["source"].dtype == torch.uint8
    assert item["video"].shape == (5, 3, 32, 32)
    assert (item["clip"], item["start"], item["identity"]) == ("person2/2.mp4", 17, 2)
    assert item["audio"].shape == (5 * 640 + 2 * 3200,)
    assert item["audio"].dtype == item["audio_gain"].dtype == torch.float32
    # 31 of 41 frames carry a tone of amplitude 0.5, rms 0.5 / sqrt(2)
    rms = 0.5 * (31 / 41 / 2) ** 0.5
    assert item["audio_gain"].item() == pytest.approx(0.1 / rms, rel=0.02)
    assert item["audio"].square().mean().sqrt().item() == pytest.approx(0.5 / 2**0.5, rel=0.02)


@pytest.mark.parametrize("cache", [False, True])
def test_sound_has_context_and_is_zero_outside_the_file(root: Path, cache: bool) -> None:
    dataset = make_dataset(root)
    if cache:
        dataset.reader.cache(0)
    whole = read_audio(root / "person0" / "0.mp4")
    for start in (0, 8, 25):
        audio = dataset[Window(0, start, (0,))]["audio"]
        torch.testing.assert_close(audio, audio_window(whole, start, 5), atol=2e-3, rtol=0)
    first, last = (dataset[Window(0, start, (0,))]["audio"] for start in (0, 25))
    assert torch.equal(first[:3200], torch.zeros(3200))
    assert torch.equal(last[-3200:], torch.zeros(3200))
    # a window at frame 8 hears the tone begin after 0.2 s of context and two frames
    begin = dataset[Window(0, 8, (0,))]["audio"]
    onset = int((begin.abs() > 0.25).nonzero()[0])
    assert onset == pytest.approx(3200 + 2 * 640, abs=200)


def test_sound_before_the_first_picture_is_kept_in_memory_as_well(tmp_path: Path) -> None:
    path = write_media(
        tmp_path / "a.mkv",
        stamped(30, 32, 40),
        sampled(1.2, 16_000),
        audio_codec="pcm_s16le",
        video_start=0.03,
    )
    read, kept = (ClipReader([Clip(str(path), "a", "a", 30)], 32) for _ in range(2))
    kept.cache(0)
    for start, count in ((0, 5), (12, 5), (25, 5)):
        window = read.audio(0, start, count)
        torch.testing.assert_close(kept.audio(0, start, count), window, atol=1e-3, rtol=0)
    assert read.audio(0, 0, 5)[2800:3200].abs().max() > 0.1  # what sounds in those 30 ms
    assert float(kept.gain(0)) == pytest.approx(float(read.gain(0)), rel=1e-3)


def test_integers_cover_all_spans_in_order(root: Path) -> None:
    dataset = make_dataset(root)
    windows = [dataset.window(k) for k in range(len(dataset))]
    starts = [window.start for window in windows]
    assert [window.clip for window in windows] == [0] * 6 + [1] * 5 + [2] * 9
    assert starts[:6] == [0, 5, 10, 15, 20, 25]
    assert starts[6:11] == [0, 5, 10, 15, 19]  # 24 frames: the last window ends with the clip
    assert starts[-1] == 36
    assert read_numbers(dataset[10]["video"]) == [(1, k) for k in range(19, 24)]
    assert read_numbers(dataset[10]["source"]) == [(1, 0), (1, 1)]
    for index in (20, -1):
        with pytest.raises(IndexError):
            dataset[index]


def test_reader_forgets_clips_of_long_ago(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("talkingface.data.datasets.clips._KNOWN_CLIPS", 2)
    reader = make_dataset(root).reader
    assert isinstance(reader, ClipReader)
    for clip in (0, 1, 0, 2, 0):
        assert read_numbers(reader.frames(clip, [20, 21])) == [(clip, 20), (clip, 21)]
    assert list(reader._known) == [2, 0]


def test_broken_file_is_reported_once_and_replaced_alike(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for clip in range(3):
        write_clip(tmp_path / f"{clip}.mp4", clip, 30)
    cut_off(tmp_path / "1.mp4")
    dataset, other = make_dataset(tmp_path), make_dataset(tmp_path)
    with caplog.at_level(logging.WARNING):
        items = {start: dataset[Window(1, start, (0, 1))] for start in (22, 23, 24)}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "1.mp4" in caplog.text
    assert list(dataset.failures.reasons()) == ["1.mp4"]
    assert {item["clip"] for item in items.values()} == {"2.mp4"}  # the next clip
    assert dataset[Window(0, 22, (0, 1))]["clip"] == "0.mp4"
    for item in items.values():
        clip = int(item["clip"][0])
        assert read_numbers(item["video"]) == [(clip, item["start"] + k) for k in range(5)]
    for start in (24, 23, 22):  # in another order
        assert torch.equal(other[Window(1, start, (0, 1))]["video"], items[start]["video"])


def test_no_readable_clip_is_one_clear_error(tmp_path: Path) -> None:
    paths = [write_clip(tmp_path / f"{clip}.mp4", clip, 30) for clip in range(2)]
    dataset = make_dataset(tmp_path)
    for path in paths:
        path.unlink()
    with pytest.raises(ValueError, match=r"None of 2 clips can be read: 0.mp4: .*; 1.mp4: "):
        dataset[0]


def test_failure_log_keeps_the_first_reason_of_every_process() -> None:
    log = FailureLog()
    log.add("a", "first")
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.starmap(log.add, [("b", "reason"), ("a", "second"), ("b", "reason")])
    assert log.reasons() == {"a": "first", "b": "reason"}
    folder = Path(log._folder)
    del log
    assert not folder.exists()


def test_missing_file_after_indexing_is_a_failure_too(root: Path) -> None:
    clips, skipped = index_clips([ClipFile("/nowhere/x.mp4", "x.mp4", "x")])
    assert clips == []
    assert list(skipped) == ["x.mp4"]
