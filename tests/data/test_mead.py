"""MEAD's folders, its sound in files of its own, and the protocol, on a small tree."""

import shutil
import wave
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from talkingface.data import preparation
from talkingface.data.audio import read_audio
from talkingface.data.batch import audio_window
from talkingface.data.datamodules import MEADDataModule
from talkingface.data.datasets.index import ClipFile
from talkingface.data.datasets.mead import choose_test_clips, find_mead_clips, find_sound, is_mead
from talkingface.data.preparation import prepare
from talkingface.data.video import VideoClip
from talkingface.evaluation.footage import folder_footage
from tests.data.test_datasets import write_clip
from tests.data.test_preparation import whole_frame

ACTORS = ("M003", "M005", "W009")
FRAMES = 12


def write_sound(path: Path, frames: int, pitch: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = 8000 * (torch.arange(frames * 640) * pitch).sin()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(tone.short().numpy().tobytes())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("MEAD")
    for number, actor in enumerate(ACTORS):
        for place in ("neutral/level_1/001", "happy/level_1/001", "happy/level_2/001"):
            video = folder / actor / "video/front" / f"{place}.mp4"
            write_clip(video, number, FRAMES, sound=False)
            write_sound(folder / actor / "audio" / f"{place}.wav", FRAMES, 0.1 + 0.02 * number)
    write_clip(folder / "M003/video/left_30/neutral/level_1/001.mp4", 9, FRAMES, sound=False)
    return folder


def test_clips_of_a_view_with_their_sound(root: Path) -> None:
    files = find_mead_clips(root)
    assert len(files) == 9
    first = files[0]
    assert first.name == "M003/video/front/happy/level_1/001.mp4"
    assert (first.identity, first.audio) == ("M003", str(root / "M003/audio/happy/level_1/001.wav"))
    assert [file.identity for file in find_mead_clips(root, "left_30")] == ["M003"]
    with pytest.raises(FileNotFoundError, match="'top'"):
        find_mead_clips(root, "top")


def test_a_video_elsewhere_has_no_sound_of_its_own(root: Path, tmp_path: Path) -> None:
    assert find_sound(tmp_path / "M003/video/front/neutral/level_1/001.mp4") is None
    assert not is_mead(tmp_path)
    assert is_mead(root)


def test_the_protocol_draws_videos_of_each_speaker_and_emotion() -> None:
    names = [
        f"{actor}/video/front/{emotion}/level_{level}/{number:03d}.mp4"
        for actor in ("M1", "M2", "M3", "M4", "M5", "M6", "W1")
        for emotion, levels in (("neutral", 1), ("angry", 3), ("sad", 3))
        for level in range(1, levels + 1)
        for number in range(3)
    ]
    files = [ClipFile(name, name, name.split("/")[0]) for name in names]
    chosen = choose_test_clips(files)
    counts = Counter((file.identity, file.name.split("/")[3]) for file in chosen)
    people = {identity for identity, _ in counts}
    assert len(people) == 5
    # Of neutral there are three only.
    assert counts == {
        (person, emotion): 3 if emotion == "neutral" else 5
        for person in people
        for emotion in ("neutral", "angry", "sad")
    }
    assert chosen == choose_test_clips(files[::-1])  # wherever the files come from
    assert chosen != choose_test_clips(files, seed=1)


def test_batches_have_the_sound_of_the_other_file(root: Path) -> None:
    data: Any = MEADDataModule(
        str(root), speakers=1, videos=1, size=32, frames=5, batch_size=1, num_workers=0
    )
    names, windows = set(), 0
    for batch in data.val_dataloader():
        names.add(name := batch["clip"][0])
        windows += 1
        sound = root / name.replace("video/front", "audio").replace("mp4", "wav")
        expected = audio_window(read_audio(sound), int(batch["start"]), 5)
        torch.testing.assert_close(batch["audio"][0], expected)
        assert expected.abs().max() > 0.1
    # One speaker, one video of each of two emotions, three windows each.
    assert (len(names), windows) == (2, 6)
    held_out = {name.split("/")[0] for name in names}
    trained = {batch["clip"][0].split("/")[0] for batch in data.train_dataloader()}
    assert len(held_out) == 1
    assert trained == set(ACTORS) - held_out
    with pytest.raises(ValueError, match="3 speakers, 3 are held out"):
        MEADDataModule(str(root), speakers=3, size=32).setup()


def test_a_clip_that_cannot_be_used_changes_nobodys_part(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "MEAD"
    shutil.copytree(root, folder)
    for clip in (folder / "M003").rglob("*.mp4"):
        clip.write_bytes(b"broken")
    files = find_mead_clips(folder)
    for number in range(6):
        data: Any = MEADDataModule(
            str(folder),
            speakers=1,
            videos=1,
            size=32,
            frames=5,
            batch_size=1,
            num_workers=0,
            seed=number,
        )
        drawn = {file.name for file in choose_test_clips(files, 1, 1, number)}
        if any("M003" in name for name in drawn):
            continue
        assert {batch["clip"][0] for batch in data.val_dataloader()} == drawn


def test_preparation_joins_picture_and_sound(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "track_face", whole_frame)
    rows = prepare(root / "M005", tmp_path / "M005", size=32, workers=0)
    assert [row.status for row in rows] == ["done"] * 3
    clip = tmp_path / "M005/video/front/neutral/level_1/001.mp4"
    assert VideoClip(clip).has_audio
    assert find_mead_clips(tmp_path)[-1].path == str(clip)
    before, after = (
        read_audio(file)[1000:6000] for file in (root / "M005/audio/neutral/level_1/001.wav", clip)
    )
    assert torch.corrcoef(torch.stack([before, after]))[0, 1] > 0.99


def test_a_comparison_takes_the_protocols_clips(root: Path) -> None:
    footage, failed = folder_footage(root, clips=4, seconds=0.2, seed=0, crop="none")
    assert not failed
    assert len(footage) == 4
    item = footage[0]
    sound = root / item.name.replace("video/front", "audio").replace("mp4", "wav")
    torch.testing.assert_close(item.audio, read_audio(sound, 0, 5 * 640))
