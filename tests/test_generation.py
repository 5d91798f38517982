"""Videos made of files: length, sound, motion, panels, lists, and what is decoded how often."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from talkingface.data.audio import read_audio
from talkingface.data.batch import to_uint8
from talkingface.data.faces import PC_AVS_CROP, FaceTrack, crop_image
from talkingface.data.video import (
    VideoClip,
    VideoWriter,
    read_image,
    read_metadata,
    write_image,
)
from talkingface.generation import Crop, ForwardClip, Job, VideoGenerator, read_codes, read_rows
from talkingface.models.base import ping_pong
from talkingface.models.experts.identity import IdentityClassifier
from tests.media import sampled, stamped, stamps, write_media
from tests.models.tiny import DAVS_MAIN, IDENTITY, PC_AVS, SIZE

SECONDS = 0.83  # 13,280 samples: 20 frames and three quarters of one
FRAMES = 21


@pytest.fixture(scope="module")
def generator() -> VideoGenerator:
    torch.manual_seed(0)
    # The chirp is far from the noise that batch norm has seen, and would drown identity and pose.
    return VideoGenerator(PC_AVS.responsive(content_scale=1e-5), device="cpu", crop="none")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a picture, speech, and a driving clip shorter than the speech."""
    picture = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 4), (40, 40))[0]
    write_image(tmp_path / "face.png", picture * 2 - 1)
    write_media(tmp_path / "speech.wav", sound=sampled(SECONDS, 16_000), audio_codec="pcm_s16le")
    with VideoWriter(tmp_path / "head.mp4", 40, 40) as writer:
        writer.write(stamped(8, 40, 40))
    return tmp_path


def job(files: Path, **motion: Any) -> Job:
    return Job(str(files / "face.png"), str(files / "speech.wav"), str(files / "out.mp4"), **motion)


@pytest.fixture
def made(generator: VideoGenerator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tensor]:
    """Make a video, and give back the frames as they go to the encoder, which is not exact."""

    def make(one: Job, **options: Any) -> Tensor:
        frames: list[Tensor] = []

        class Recorder(VideoWriter):
            def write(self, part: Tensor) -> None:
                frames.append(part)
                super().write(part)

        monkeypatch.setattr("talkingface.generation.VideoWriter", Recorder)
        generator.generate(one, **options)
        return torch.cat(frames)

    return make


def difference(one: Tensor, two: Tensor) -> float:
    """Mean difference of frames in grey levels."""
    return float((one.float() - two.float()).abs().mean())


def luma(frames: Tensor) -> Tensor:
    """Brightness, which video keeps better than colour."""
    return (frames.float() * torch.tensor([0.2126, 0.7152, 0.0722]).view(3, 1, 1)).sum(1)


def test_video_lasts_as_long_as_the_speech_and_says_that_it_is_synthetic(
    generator: VideoGenerator, files: Path
) -> None:
    path = generator.generate(job(files))
    with av.open(str(path)) as container:
        (video,), (audio,) = container.streams.video, container.streams.audio
        assert video.average_rate == 25 and (video.width, video.height) == (SIZE, SIZE)
        assert sum(1 for _ in container.decode(video)) == FRAMES
        assert 0 <= float(container.duration or 0) / av.time_base - SECONDS < 1 / 25
        assert audio.sample_rate == 16_000
    assert read_metadata(path)["comment"].startswith("synthetic")
    assert sorted(p.name for p in files.iterdir()) == [
        "face.png", "head.mp4", "out.mp4", "speech.wav"]  # fmt: skip


def test_sound_is_in_sync(generator: VideoGenerator, files: Path) -> None:
    original = read_audio(files / "speech.wav").numpy()
    heard = read_audio(generator.generate(job(files))).numpy()[: len(original)]
    # The chirp is like itself only at a shift of zero.
    match = {
        s: float(np.dot(original[100:-100], np.roll(heard, s)[100:-100])) for s in range(-80, 81)
    }
    assert max(match, key=lambda shift: match[shift]) == 0


def test_frames_are_those_of_animate(
    generator: VideoGenerator, made: Callable[..., Tensor], files: Path
) -> None:
    source = generator.source(files / "face.png")
    audio = read_audio(files / "speech.wav")
    expected = to_uint8(generator.model.animate(source, audio))
    assert len(expected) == FRAMES and expected.float().std() > 10
    frames = made(job(files))
    assert (frames.int() - expected.int()).abs().max() <= 1  # batches of other sizes round apart
    assert difference(luma(VideoClip(files / "out.mp4").read()), luma(frames)) < 5


@pytest.mark.parametrize(("driving", "panels"), [(True, 3), (False, 2)])
def test_side_by_side_shows_source_driving_and_result(
    driving: bool,
    panels: int,
    generator: VideoGenerator,
    made: Callable[..., Tensor],
    files: Path,
) -> None:
    motion = {"driving": str(files / "head.mp4")} if driving else {}
    alone = made(job(files, **motion))
    frames = made(job(files, **motion), side_by_side=True)
    assert frames.shape == (FRAMES, 3, SIZE, panels * SIZE)
    source = generator.source(files / "face.png")
    assert torch.equal(frames[..., :SIZE], source.expand(FRAMES, 3, SIZE, SIZE))
    assert torch.equal(frames[..., -SIZE:], alone)
    shown = VideoClip(files / "out.mp4").read()
    assert difference(luma(shown), luma(frames)) < 5
    if driving:  # eight frames, played forth and back
        forth, back = list(range(8)), list(range(7, -1, -1))
        assert stamps(shown[..., SIZE : 2 * SIZE]) == [*forth, *back, *forth[:5]]


def test_pose_codes_of_a_clip_do_what_the_clip_does(
    generator: VideoGenerator, made: Callable[..., Tensor], files: Path
) -> None:
    head = generator.driving(files / "head.mp4")
    codes = cast(Any, generator.model).encode_pose(head[list(range(8))])
    np.save(files / "codes.npy", codes.numpy())
    by_codes = made(job(files, pose=str(files / "codes.npy")))
    by_clip = made(job(files, driving=str(files / "head.mp4")))
    assert (by_codes.int() - by_clip.int()).abs().max() <= 1
    assert difference(by_clip, made(job(files))) > 0.1


def test_frontal_is_the_zero_pose(made: Callable[..., Tensor], files: Path) -> None:
    np.save(files / "codes.npy", np.zeros((1, 12)))
    frontal = made(job(files, frontal=True))
    assert torch.equal(frontal, made(job(files, pose=str(files / "codes.npy"))))
    assert difference(frontal, made(job(files))) > 0.1


def test_one_frame_of_driving_is_a_still_pose(made: Callable[..., Tensor], files: Path) -> None:
    with VideoWriter(files / "one.mp4", 40, 40) as writer:
        writer.write(stamped([5], 40, 40))
    frames = made(job(files, driving=str(files / "one.mp4")), side_by_side=True)
    assert stamps(frames[..., SIZE : 2 * SIZE]) == [5] * FRAMES


def test_folder_of_frames_drives_like_a_video(made: Callable[..., Tensor], files: Path) -> None:
    (files / "frames").mkdir()
    for number, frame in enumerate(stamped(4, 40, 40)):
        write_image(files / "frames" / f"{number:06d}.png", frame)
    frames = made(job(files, driving=str(files / "frames")), side_by_side=True)
    assert stamps(frames[..., SIZE : 2 * SIZE])[:10] == [0, 1, 2, 3, 3, 2, 1, 0, 0, 1]


def test_bf16_comes_close_to_float32(generator: VideoGenerator, files: Path) -> None:
    exact = generator.model.animate(
        generator.source(files / "face.png"), read_audio(files / "speech.wav")
    )
    half = VideoGenerator(generator.model, "cpu", "bf16", crop="none")
    shown = VideoClip(half.generate(job(files))).read()
    assert difference(luma(shown), luma(to_uint8(exact))) < 10


def test_each_crop_is_the_one_that_the_model_declares(
    generator: VideoGenerator, shared_data: Path, files: Path
) -> None:
    photo = next(iter(sorted(shared_data.rglob("*.mp4"))))
    frame = VideoClip(photo)[0]
    side = min(frame.shape[1:])
    write_image(files / "photo.png", frame[:, :side, :side])
    image = read_image(files / "photo.png")
    crops = {}
    for crop in cast(list[Crop], ["aligned", "none"]):
        one = VideoGenerator(generator.model, "cpu", crop=crop)
        crops[crop] = one.source(files / "photo.png")
        assert crops[crop].shape == (3, SIZE, SIZE)
    track = FaceTrack.aligned("photo", 1, side, PC_AVS_CROP)
    assert torch.equal(crops["aligned"], track.crop(image[None], 0, SIZE)[0])
    detect = VideoGenerator(generator.model, "cpu", crop="detect")
    write_image(files / "whole.png", frame)
    assert torch.equal(detect.source(files / "whole.png"), crop_image(frame, size=SIZE))


class Counted:
    """A clip of stamped frames that notes what is asked of it."""

    has_audio = False

    def __init__(self, frames: int) -> None:
        self.frames, self.decoded, self.seeks = stamped(frames, 40, 40), 0, 0

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: list[int]) -> Tensor:
        self.seeks += 1
        return self.frames[index]

    def iterate(self, start: int = 0) -> Iterator[Tensor]:
        self.seeks += 1
        for frame in self.frames[start:]:
            self.decoded += 1
            yield frame


def test_forward_reading_decodes_each_frame_once() -> None:
    counted = Counted(20)
    clip = ForwardClip(counted, size=SIZE)
    for start in range(0, 20, 4):
        indices = list(range(start, start + 4))
        for _ in range(2):  # the model and the panel beside it
            frames = clip[indices]
            assert frames.shape == (4, 3, SIZE, SIZE) and stamps(frames) == indices
    assert (counted.seeks, counted.decoded) == (1, 20)


@pytest.mark.parametrize("chunk", [1, 4])
def test_frames_that_a_model_read_ahead_are_shown_without_a_seek(chunk: int) -> None:
    counted = Counted(20)
    clip, read = ForwardClip(counted), 0
    for start in range(0, 20, chunk):
        ahead = min(start + chunk + 1, 20)
        if ahead > read:
            clip[list(range(read, ahead))]
            read = ahead
        indices = list(range(start, start + chunk))
        assert stamps(clip[indices]) == indices
    assert (counted.seeks, counted.decoded) == (1, 20)


def test_reading_in_any_order() -> None:
    clip = ForwardClip(Counted(12))
    for indices in ([0, 1, 2], [3, 4, 5], [5, 4, 3], [6, 7], [2, 3], [11, 11, 10], [4, 5, 6], [7]):
        assert stamps(clip[indices]) == indices
    for chunk in (1, 2, 3, 5, 8):
        for start in range(0, 60, chunk):
            indices = ping_pong(start, start + chunk, len(clip))
            assert stamps(clip[indices]) == indices


def test_lips_of_a_video_stand_in_for_speech_and_bring_their_sound(files: Path) -> None:
    reader = VideoGenerator(DAVS_MAIN.responsive(), device="cpu", crop="none", chunk=3)
    speech = sampled(SECONDS, 16_000)
    with VideoWriter(files / "lips.mp4", 40, 40, torch.from_numpy(speech[0])) as writer:
        writer.write(stamped(8, 40, 40))
    for film in ("head.mp4", "lips.mp4"):  # the first one is silent
        silent = job(files, driving=str(files / film))
        path = reader.generate(replace(silent, audio=None), side_by_side=True)
        clip = VideoClip(path)
        assert (clip.frame_count, clip.width) == (8, 3 * SIZE)
        assert clip.has_audio == (film == "lips.mp4")
    with pytest.raises(ValueError, match=r"lips\.mp4 gives DAVS nothing but lips"):
        reader.generate(silent)
    with pytest.raises(ValueError, match="audio is empty"):
        reader.generate(replace(silent, audio=None, driving=None))


LIST = """source,audio,output,driving,pose,frontal
face.png,speech.wav,made/one.mp4,,,1
face.png,silence.wav,made/two.mp4,,,
face.png,,made/three.mp4,,,
face.png,speech.wav,made/four.mp4,,,maybe
face.png,speech.wav,made/one.mp4,,,
face.png,speech.wav
face.png,speech.wav,made/five.mp4,head.mp4,,1
face.png,speech.wav,made/six.mp4,head.mp4,,0
"""


def test_rows_that_fail_are_named_and_the_others_made(
    generator: VideoGenerator, files: Path
) -> None:
    (files / "jobs.csv").write_text(LIST)
    write_media(files / "silence.wav", sound=np.zeros((1, 0), np.float32), audio_codec="pcm_s16le")
    said: list[str] = []
    assert generator.generate_all(files / "jobs.csv", report=said.append) == (2, 6)
    made = files / "made"
    assert sorted(p.name for p in made.iterdir()) == ["one.mp4", "six.mp4"]
    assert said[0] == str(made / "one.mp4") and said[7] == str(made / "six.mp4")
    expected = ["silence.wav", "audio is empty", "maybe", "line 2", "cells", "one source of motion"]
    for line, (message, word) in enumerate(zip(said[1:7], expected, strict=True), start=3):
        assert f"jobs.csv line {line} " in message and word in message


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"source,audio\na,b\n", "output"),
        (b"source,audio,output,colour\na,b,c,d\n", "colour"),
        (b"source,audio,output\n", "no jobs"),
        (b"", "none"),
        (b"source,audio,output\n\xff\xfe,b,c\n", "UTF-8"),
        (b'source,audio,output\n"a,b,c\n', "csv"),
    ],
)
def test_lists_that_cannot_be_read(content: bytes, word: str, tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_bytes(content)
    with pytest.raises(ValueError, match=word) as error:
        read_rows(tmp_path / "jobs.csv")
    assert str(tmp_path / "jobs.csv") in str(error.value)


@pytest.mark.parametrize(
    ("codes", "word"),
    [
        (np.zeros((3, 4, 5)), "shape"),
        (np.zeros((0, 12)), "shape"),
        (np.full((3, 12), np.nan), "not numbers"),
        (np.full((3, 12), 1j), "floating-point"),
        (np.array([{}]), "floating-point"),
    ],
)
def test_codes_that_cannot_be_used(codes: np.ndarray, word: str, tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", codes, allow_pickle=True)
    with pytest.raises(ValueError, match=word) as error:
        read_codes(tmp_path / "codes.npy")
    assert str(tmp_path / "codes.npy") in str(error.value)


def test_codes_of_another_size_name_their_file(generator: VideoGenerator, files: Path) -> None:
    np.save(files / "codes.npy", np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"codes\.npy has shape \(3, 5\)"):
        generator.generate(job(files, pose=str(files / "codes.npy")))
    assert not (files / "out.mp4").exists()


def test_inputs_are_never_overwritten(generator: VideoGenerator, files: Path) -> None:
    head = str(files / "head.mp4")
    before = Path(head).read_bytes()
    with pytest.raises(ValueError, match="both driving and output"):
        generator.generate(
            Job(str(files / "face.png"), str(files / "speech.wav"), head, driving=head)
        )
    assert Path(head).read_bytes() == before


def test_models_and_devices_that_cannot_be_used(tmp_path: Path) -> None:
    IDENTITY().save_pretrained(tmp_path / "identity")
    with pytest.raises(ValueError, match=f"identity is a {IdentityClassifier.__name__}"):
        VideoGenerator(str(tmp_path / "identity"))
    for device in ("warp", "cuda:99"):
        with pytest.raises(ValueError, match=f"no device {device}"):
            VideoGenerator(PC_AVS(), device)
