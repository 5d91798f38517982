"""Pictures of every kind of file come back at 25 fps by time stamps, and go out as mp4."""

import io
import math
import pickle
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from talkingface.data.audio import audio_length, read_audio
from talkingface.data.batch import Frames, to_float, to_uint8
from talkingface.data.video import (
    VideoClip,
    VideoWriter,
    read_image,
    read_metadata,
    write_image,
)
from tests.media import sampled, stamped, stamps, write_media

SHARED = Path(__file__).parents[2] / "../shared/data"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="the shared clips are not here")

KINDS: dict[str, dict[str, Any]] = {
    "mp4": {"options": {"g": "12", "bf": "2"}},
    "open_gop.mp4": {
        "options": {"x264-params": "open-gop=1:keyint=12:bframes=3:b-adapt=0:scenecut=0"}
    },
    "mov": {"options": {"g": "12"}, "audio_codec": "pcm_s16le"},
    "mkv": {"options": {"g": "12", "bf": "2"}},
    "webm": {
        "video_codec": "libvpx-vp9",
        "audio_codec": "libopus",
        "rate": 48_000,
        "options": {"g": "12", "deadline": "realtime", "cpu-used": "8"},
    },
    "vp8.webm": {
        "video_codec": "libvpx",
        "audio_codec": "libopus",
        "rate": 48_000,
        "options": {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "8"},
    },
    "avi": {"options": {"g": "12", "bf": "2"}, "audio_codec": "libmp3lame"},
    "mpeg4.avi": {
        "video_codec": "mpeg4",
        "audio_codec": "pcm_s16le",
        "options": {"g": "12", "bf": "2"},
    },
    "mjpeg.avi": {"video_codec": "mjpeg", "audio_codec": "pcm_s16le"},
}


def media(folder: Path, kind: str, count: int, fps: Fraction | float = 25) -> Path:
    settings = KINDS[kind]
    sound = sampled(float(count / fps), settings.get("rate", 16_000))
    return write_media(folder / f"clip.{kind}", stamped(count), sound, fps=fps, **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_each_frame_of_a_25_fps_source_comes_exactly_once(tmp_path: Path, kind: str) -> None:
    clip = VideoClip(media(tmp_path, kind, 60))
    assert clip.frame_count == len(clip) == 60
    assert (clip.height, clip.width, clip.has_audio) == (32, 40, True)
    frames = clip.read()
    assert frames.shape == (60, 3, 32, 40)
    assert frames.dtype == torch.uint8
    assert stamps(frames) == list(range(60))


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_equals_the_same_frames_of_the_whole(tmp_path: Path, kind: str) -> None:
    clip = VideoClip(media(tmp_path, kind, 90))
    whole = clip.read()
    for start, count in [(0, 1), (3, 7), (11, 3), (12, 1), (13, 20), (40, 2), (59, 5), (89, 1)]:
        assert torch.equal(clip.read(start, count), whole[start : start + count]), (start, count)
    assert torch.equal(torch.stack(list(clip.iterate(85))), whole[85:])


@pytest.mark.parametrize("kind", ["mp4", "mkv", "mpeg4.avi", "avi"])
def test_windows_are_read_by_seeking(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = VideoClip(media(tmp_path, kind, 200))
    decoded = []
    original = VideoClip._from

    def counting(self: VideoClip, *arguments: object) -> object:
        for picture in original(self, *arguments):  # type: ignore[arg-type]
            decoded.append(picture)
            yield picture

    monkeypatch.setattr(VideoClip, "_from", counting)
    assert stamps(clip.read(170, 3)) == [170, 171, 172]
    assert len(decoded) < 40  # a group of 12, not 170 pictures
    decoded.clear()
    assert stamps(clip[[190, 2]]) == [190, 2]
    assert len(decoded) < 60


def test_a_seek_that_lands_too_late_is_made_good(tmp_path: Path) -> None:
    clip = VideoClip(media(tmp_path, "mp4", 90))
    clip._keys = [(time, 10**6) for time, _ in clip._keys]  # near the end, wherever it should be
    assert stamps(clip.read(50, 3)) == [50, 51, 52]


RATES = [30, Fraction(30_000, 1001), 50, 60, 24, 15, 12.5, 100]


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: f"{float(rate):.4g}")
@pytest.mark.parametrize("kind", ["mp4", "avi"])
def test_other_rates_show_what_is_on_screen(
    tmp_path: Path, kind: str, rate: Fraction | float
) -> None:
    rate, count = Fraction(rate), 70
    clip = VideoClip(media(tmp_path, kind, count, rate))
    frames = math.ceil(count / rate * 25)
    assert clip.frame_count == frames
    assert stamps(clip.read()) == [math.floor(k * rate / 25) for k in range(frames)]


def test_a_clock_of_milliseconds_is_read_to_half_a_tick(tmp_path: Path) -> None:
    # At 24 fps frame 24 is at 1.000 s, frame 1 at 0.042 s (rounded up from 0.04167 s).
    clip = VideoClip(media(tmp_path, "mkv", 60, 24))
    assert stamps(clip.read()) == [math.floor(k * 0.96) for k in range(63)]


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_variable_rate_follows_the_time_stamps(tmp_path: Path, kind: str) -> None:
    times = [0.0, 0.02, 0.05, 0.2, 0.21, 0.22, 0.5, 0.52, 0.8, 1.0]
    path = write_media(tmp_path / f"vfr.{kind}", stamped(10), times=times)
    clip = VideoClip(path)
    shown = [max(n for n, t in enumerate(times) if t <= k / 25 + 1e-9) for k in range(26)]
    assert stamps(clip.read())[:26] == shown
    assert stamps(clip.read(12, 9)) == shown[12:21]


def test_jitter_around_25_fps_loses_and_doubles_nothing(tmp_path: Path) -> None:
    jitter = torch.rand(50, generator=torch.Generator().manual_seed(0)) * 0.024 - 0.012
    times = [max(n / 25 + jitter[n].item(), 0) for n in range(50)]
    clip = VideoClip(write_media(tmp_path / "jitter.mp4", stamped(50), times=times))
    assert stamps(clip.read()) == list(range(50))
    assert stamps(clip.read(31, 4)) == [31, 32, 33, 34]


def test_the_frame_count_comes_from_packets_not_from_the_header(tmp_path: Path) -> None:
    path = media(tmp_path, "mjpeg.avi", 30)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"avih") + 8 + 16, 999)  # dwTotalFrames
    struct.pack_into("<I", data, data.index(b"strh") + 8 + 32, 999)  # dwLength of the stream
    path.write_bytes(data)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 999  # the lie is told
    assert VideoClip(path).frame_count == 30


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    clip = VideoClip(write_media(tmp_path / "one.mp4", stamped([5])))
    assert stamps(clip.read()) == [5]
    assert not clip.has_audio


def test_rotation_tags_are_applied(tmp_path: Path) -> None:
    frames = torch.zeros(3, 3, 32, 64, dtype=torch.uint8)
    frames[:, :, :16, :32] = 255  # upper left
    path = write_media(tmp_path / "turned.mp4", frames, rotation=-90)
    data = path.read_bytes()
    # The track header's matrix by hand: x' = a x + c y, y' = b x + d y, in 16.16 fixed point; with
    # b = 1, c = -1 rightward becomes downward, which is a turn clockwise.
    header = data.index(b"tkhd") + 4
    a, b, _, c, d = struct.unpack_from(">5i", data, header + 40)
    assert [value / 65536 for value in (a, b, c, d)] == [0, 1, -1, 0]
    clip = VideoClip(path)
    assert (clip.height, clip.width) == (64, 32)
    corners = clip[0].float().mean(0)[[16, 16, 48, 48], [8, 24, 8, 24]]
    assert (corners > 128).tolist() == [False, True, False, False]  # upper right


def test_indexing_is_that_of_a_sequence(tmp_path: Path) -> None:
    clip = VideoClip(media(tmp_path, "mp4", 30))
    assert clip[3].shape == (3, 32, 40)
    assert stamps(clip[[7, 2, 2, -1]]) == [7, 2, 2, 29]
    assert stamps(clip[4:20:5]) == [4, 9, 14, 19]
    assert stamps(clip[::-1][:2]) == [29, 28]
    assert clip[5:5].shape == (0, 3, 32, 40)
    assert stamps(torch.stack(list(clip))) == list(range(30))
    with pytest.raises(IndexError, match=r"clip\.mp4 has 30 frames.*30"):
        clip[30]
    for start, count in [(-1, 2), (29, 2), (3, -1), (31, None)]:
        with pytest.raises(ValueError, match=r"clip\.mp4 has 30 frames"):
            clip.read(start, count)
    with pytest.raises(ValueError, match="no frame 31"):
        clip.iterate(31)


def test_a_clip_can_be_sent_to_another_process(tmp_path: Path) -> None:
    clip = pickle.loads(pickle.dumps(VideoClip(media(tmp_path, "mp4", 30))))
    assert stamps(clip.read(10, 3)) == [10, 11, 12]


def test_tensors_and_clips_are_both_frames(tmp_path: Path) -> None:
    def middle(frames: Frames) -> Tensor:
        return frames[[len(frames) // 2]]

    clip = VideoClip(media(tmp_path, "mp4", 9))
    assert torch.equal(middle(clip), middle(clip.read()))


class TestFolders:
    def test_images_in_the_order_of_their_numbers(self, tmp_path: Path) -> None:
        for number, frame in zip(range(8, 14), stamped(6), strict=True):
            write_image(tmp_path / f"{number}.png", frame)  # "10" sorts before "8" as text
        (tmp_path / "landmarks.txt").write_text("not an image")
        clip = VideoClip(tmp_path)
        assert (len(clip), clip.height, clip.width, clip.has_audio) == (6, 32, 40, False)
        assert stamps(clip.read()) == list(range(6))
        assert stamps(clip.read(4, 2)) == [4, 5]
        assert stamps(clip[[5, 0]]) == [5, 0]

    def test_an_image_is_a_clip_of_one_frame(self, tmp_path: Path) -> None:
        write_image(tmp_path / "face.png", stamped([9])[0])
        assert stamps(VideoClip(tmp_path / "face.png").read()) == [9]

    def test_a_gap_is_named(self, tmp_path: Path) -> None:
        for number in (0, 1, 3):
            write_image(tmp_path / f"{number:06d}.png", stamped([1])[0])
        with pytest.raises(ValueError, match="lacks frame 2"):
            VideoClip(tmp_path)

    def test_other_names_and_sizes_are_refused(self, tmp_path: Path) -> None:
        write_image(tmp_path / "000000.png", stamped([1])[0])
        write_image(tmp_path / "000001.png", stamped([1], height=16)[0])
        with pytest.raises(ValueError, match=r"32, 40.*16, 40.*frame 1"):
            VideoClip(tmp_path).read()
        write_image(tmp_path / "000001.jpg", stamped([1])[0])
        with pytest.raises(ValueError, match="same frame number"):
            VideoClip(tmp_path)
        write_image(tmp_path / "face.png", stamped([1])[0])
        with pytest.raises(ValueError, match=r"face\.png has no frame number"):
            VideoClip(tmp_path)


class TestBadInput:
    def test_missing_empty_and_foreign_files(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"none\.mp4 does not exist"):
            VideoClip(tmp_path / "none.mp4")
        with pytest.raises(ValueError, match="holds no images"):
            VideoClip(tmp_path)
        contents = {
            "empty.mp4": (b"", "is empty"),
            "zeros.mp4": (bytes(4000), "cannot be decoded"),
            "text.mp4": (b"hello\n" * 99, "cannot be decoded"),
            "text.txt": (b"hello\n" * 99, "is a text file"),
            "list.mp4": (b"#EXTM3U\n#EXTINF:1,\nhttp://example.com/a.ts\n", "cannot be decoded"),
        }
        for name, (content, message) in contents.items():
            (tmp_path / name).write_bytes(content)
            with pytest.raises(ValueError, match=rf"{name} {message}"):
                VideoClip(tmp_path / name)

    @pytest.mark.parametrize("kind", ["mp4", "mkv", "vp8.webm", "mpeg4.avi"])
    @pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
    def test_cut_off_files(self, tmp_path: Path, kind: str, share: float) -> None:
        path = media(tmp_path, kind, 30)
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(ValueError, match=rf"{path.name} (is cut off|cannot be decoded)"):
            VideoClip(path)
        with pytest.raises(ValueError, match=rf"{path.name} (is cut off|cannot be decoded)"):
            read_audio(path)

    def test_a_cut_off_mp4_with_its_index_in_front(self, tmp_path: Path) -> None:
        path = tmp_path / "out.mp4"
        with VideoWriter(path, 32, 40) as writer:
            writer.write(stamped(30))
        path.write_bytes(path.read_bytes()[:-300])
        with pytest.raises(ValueError, match=r"out\.mp4 is cut off \(300 bytes are missing\)"):
            VideoClip(path)

    def test_sound_where_pictures_are_needed(self, tmp_path: Path) -> None:
        path = write_media(
            tmp_path / "speech.wav", None, sampled(1, 16_000), audio_codec="pcm_s16le"
        )
        with pytest.raises(ValueError, match=r"speech\.wav has no pictures, only sound"):
            VideoClip(path)

    def test_a_cover_is_no_video(self, tmp_path: Path) -> None:
        sound = sampled(1, 16_000)
        path = write_media(
            tmp_path / "song.mp3", None, sound, audio_codec="libmp3lame", cover=stamped([1])[0]
        )
        with pytest.raises(ValueError, match=r"song\.mp3 has no pictures, only sound"):
            VideoClip(path)

    def test_damage_inside_is_told_not_leaked(self, tmp_path: Path) -> None:
        path = media(tmp_path, "mp4", 30)
        data = bytearray(path.read_bytes())
        start = data.index(b"mdat") + 4
        data[start : start + 6000] = bytes(6000)
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"clip\.mp4"):
            VideoClip(path).read()


class TestImages:
    def save(self, image: Image.Image, name: str, folder: Path, **options: object) -> Tensor:
        image.save(folder / name, **options)  # type: ignore[arg-type]
        frame = read_image(folder / name)
        assert frame.dtype == torch.uint8
        assert frame.shape == (3, 4, 6)
        return frame

    def colour(self, frame: Tensor) -> list[int]:
        assert (frame == frame[:, :1, :1]).all()
        return frame[:, 0, 0].tolist()

    def test_modes_become_rgb(self, tmp_path: Path) -> None:
        size = (6, 4)
        grey = self.save(Image.new("L", size, 77), "grey.png", tmp_path)
        assert self.colour(grey) == [77] * 3
        palette = Image.new("RGB", size, (9, 99, 199)).quantize()
        assert self.colour(self.save(palette, "p.png", tmp_path)) == [9, 99, 199]
        bits = self.save(Image.new("1", size, 1), "bits.png", tmp_path)
        assert self.colour(bits) == [255] * 3
        cmyk = self.save(Image.new("CMYK", size, (0, 255, 255, 0)), "c.jpg", tmp_path, quality=95)
        assert torch.allclose(cmyk.float(), torch.tensor([255.0, 0, 0]).view(3, 1, 1), atol=3)

    def test_transparency_is_laid_over_white(self, tmp_path: Path) -> None:
        # Half-transparent red over white: (255 + 255) / 2, (0 + 255) / 2.
        clear = self.save(Image.new("RGBA", (6, 4), (255, 0, 0, 128)), "a.png", tmp_path)
        assert self.colour(clear) == [255, 127, 127]
        grey = self.save(Image.new("LA", (6, 4), (0, 0)), "la.png", tmp_path)
        assert self.colour(grey) == [255] * 3
        palette = Image.new("P", (6, 4), 0)
        frame = self.save(palette, "p.png", tmp_path, transparency=0)
        assert self.colour(frame) == [255] * 3

    def test_16_bits_are_scaled_not_cut(self, tmp_path: Path) -> None:
        values = np.full((4, 6), 100 * 257, np.uint16)
        assert self.colour(self.save(Image.fromarray(values), "deep.png", tmp_path)) == [100] * 3
        path = tmp_path / "deep_rgb.png"
        with av.open(str(path), "w", format="image2") as container:
            stream = container.add_stream("png", rate=1)
            stream.width, stream.height, stream.pix_fmt = 6, 4, "rgb48be"
            pixels = np.broadcast_to(np.array([65535, 25700, 257], np.uint16), (4, 6, 3)).copy()
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb48be")
            container.mux(stream.encode(picture))
        assert self.colour(read_image(path)) == [255, 100, 1]

    def test_the_orientation_tag_is_applied(self, tmp_path: Path) -> None:
        image = Image.new("RGB", (4, 6))
        image.paste((255, 255, 255), (0, 0, 2, 3))  # upper left
        tags = Image.Exif()
        tags[0x0112] = 6  # to be turned clockwise
        frame = self.save(image, "phone.png", tmp_path, exif=tags)
        assert (frame[0, [0, 0, 3, 3], [0, 5, 0, 5]] > 128).tolist() == [False, True, False, False]

    def test_bad_images_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"none\.jpg does not exist"):
            read_image(tmp_path / "none.jpg")
        with pytest.raises(ValueError, match="is a folder"):
            read_image(tmp_path)
        buffer = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(buffer, "jpeg")
        contents = {
            "empty.jpg": b"",
            "text.jpg": b"hello",
            "cut.jpg": buffer.getvalue()[: len(buffer.getvalue()) // 2],
        }
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
            with pytest.raises(ValueError, match=rf"{name} cannot be read as an image"):
                read_image(tmp_path / name)
            with pytest.raises(ValueError, match=rf"{name} cannot be read as an image"):
                VideoClip(tmp_path / name)
        Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
        with pytest.raises(ValueError, match="not 8-bit or 16-bit"):
            read_image(tmp_path / "float.tif")

    def test_writing(self, tmp_path: Path) -> None:
        frame = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
        write_image(tmp_path / "a.png", frame)
        write_image(tmp_path / "b.png", to_float(frame))
        assert torch.equal(read_image(tmp_path / "a.png"), frame)
        assert torch.equal(read_image(tmp_path / "b.png"), frame)
        with pytest.raises(ValueError, match=r"a\.mp4 has no suffix of an image"):
            write_image(tmp_path / "a.mp4", frame)
        with pytest.raises(ValueError, match=r"\(5, 7\)"):
            write_image(tmp_path / "c.png", frame[0])
        with pytest.raises(FileNotFoundError, match="does not exist"):
            write_image(tmp_path / "none" / "a.png", frame)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_values_go_there_and_back() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(values)), values)
    assert to_float(values)[[0, 51, 255]].tolist() == pytest.approx([-1, -0.6, 1])
    assert to_uint8(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


def lag(heard: Tensor, said: Tensor) -> int:
    """By how many samples ``heard`` comes late, from the peak of the cross-correlation."""
    size = len(heard) + len(said)
    spectrum = torch.fft.rfft(heard, size) * torch.fft.rfft(said, size).conj()
    shift = int(torch.fft.irfft(spectrum, size).argmax())
    return shift if shift < size // 2 else shift - size


def resident() -> int:
    """Memory that the process holds, in kB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


class TestWriter:
    @pytest.mark.parametrize("samples", [0, 20_000, 32_000, 50_000])
    def test_what_is_written_is_read_back(self, tmp_path: Path, samples: int) -> None:
        path = tmp_path / "out.mp4"
        noise = torch.Generator().manual_seed(0)
        sound = torch.randn(50_000, generator=noise)[:samples] * 0.1
        with VideoWriter(path, 32, 40, audio=sound) as writer:
            writer.write(stamped(20))
            for frame in stamped(range(20, 50)):
                writer.write(to_float(frame))
        clip = VideoClip(path)
        assert stamps(clip.read()) == list(range(50))
        heard = read_audio(path)
        assert len(heard) == audio_length(path) == 50 * 640
        if samples:
            assert abs(lag(heard, sound[:32_000])) <= 1
        assert heard[samples + 1024 :].abs().sum() < 0.1  # padded with silence
        with av.open(str(path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert video.average_rate == 25
            assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
            assert (audio.sample_rate, audio.layout.name) == (16_000, "mono")
            assert container.duration == pytest.approx(2_000_000, abs=40_000)

    def test_sound_and_pictures_stay_together(self, tmp_path: Path) -> None:
        frames = torch.zeros(75, 3, 16, 16, dtype=torch.uint8)
        frames[50] = 255
        sound = torch.zeros(75 * 640)
        sound[50 * 640 : 51 * 640] = 0.5 * torch.sin(torch.arange(640) * 0.6)
        path = tmp_path / "clap.mp4"
        with VideoWriter(path, 16, 16, audio=sound) as writer:
            writer.write(frames)
        assert VideoClip(path).read().float().mean((1, 2, 3)).argmax() == 50
        assert abs(lag(read_audio(path), sound)) <= 1

    def test_the_file_says_that_it_is_synthetic(self, tmp_path: Path) -> None:
        with VideoWriter(tmp_path / "out.mp4", 16, 16) as writer:
            writer.write(torch.zeros(3, 16, 16))
        assert read_metadata(tmp_path / "out.mp4")["comment"].startswith("synthetic: ")
        assert not VideoClip(tmp_path / "out.mp4").has_audio

    @pytest.mark.parametrize("size", [(33, 47), (34, 50), (96, 96)])
    def test_colours_and_odd_sizes(self, tmp_path: Path, size: tuple[int, int]) -> None:
        colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 150, 120), (0, 0, 0), (255,) * 3]
        frames = torch.tensor(colours, dtype=torch.uint8).view(-1, 3, 1, 1).expand(-1, -1, *size)
        with VideoWriter(tmp_path / "out.mp4", *size) as writer:
            writer.write(frames)
        seen = VideoClip(tmp_path / "out.mp4").read()
        assert seen.shape[2:] == (size[0] + size[0] % 2, size[1] + size[1] % 2)
        assert (seen[:, :, : size[0], : size[1]].int() - frames.int()).abs().max() <= 3
        with av.open(str(tmp_path / "out.mp4")) as container:
            assert container.streams.video[0].codec_context.colorspace == 1  # BT.709, and said so

    def test_a_failure_leaves_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "out.mp4"
        with (
            pytest.raises(RuntimeError, match="out of memory"),
            VideoWriter(path, 16, 16) as writer,
        ):
            writer.write(torch.zeros(30, 3, 16, 16))
            raise RuntimeError("out of memory")
        with pytest.raises(ValueError, match="No frame"), VideoWriter(path, 16, 16):
            pass
        assert not list(tmp_path.iterdir())

    def test_a_failure_keeps_the_file_of_before(self, tmp_path: Path) -> None:
        path = tmp_path / "out.mp4"
        with VideoWriter(path, 32, 40) as writer:
            writer.write(stamped([3]))
        with pytest.raises(ValueError, match="16x16"), VideoWriter(path, 32, 40) as writer:
            writer.write(torch.zeros(3, 16, 16))
        assert stamps(VideoClip(path).read()) == [3]
        assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]

    def test_wrong_input_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "out.mp4"
        with pytest.raises(ValueError, match=r"out\.avi does not end in \.mp4"):
            VideoWriter(tmp_path / "out.avi", 16, 16)
        with pytest.raises(FileNotFoundError, match="does not exist"):
            VideoWriter(tmp_path / "none" / "out.mp4", 16, 16)
        with pytest.raises(ValueError, match="0x16"):
            VideoWriter(path, 0, 16)
        with pytest.raises(ValueError, match=r"\(2, 640\)"):
            VideoWriter(path, 16, 16, audio=torch.zeros(2, 640))
        with pytest.raises(ValueError, match="not numbers"):
            VideoWriter(path, 16, 16, audio=torch.full((640,), torch.nan))
        with pytest.raises(ValueError, match="not open"):
            VideoWriter(path, 16, 16).write(torch.zeros(3, 16, 16))
        wrong = [torch.zeros(16, 16), torch.zeros(3, 16, 16, dtype=torch.long)]
        for frames in [*wrong, torch.full((3, 16, 16), torch.nan)]:
            with pytest.raises(ValueError, match=r"[Ff]rames"), VideoWriter(path, 16, 16) as writer:
                writer.write(frames)
        assert not list(tmp_path.iterdir())

    @pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
    def test_memory_does_not_grow_with_the_frames(self, tmp_path: Path) -> None:
        frame = torch.randint(0, 256, (3, 256, 256), dtype=torch.uint8)
        with VideoWriter(tmp_path / "out.mp4", 256, 256) as writer:
            for number in range(80):  # fills the encoder's look-ahead
                writer.write(frame.roll(number, 2))
            before = resident()
            for number in range(150):
                writer.write(frame.roll(number, 2))
            after = resident()
        assert after - before < 10_000  # kB, of which the frames written meanwhile have 29,000


@needs_shared
class TestRealClips:
    def test_clips_of_voxceleb(self) -> None:
        path = SHARED / "clips/00002.mp4"
        clip = VideoClip(path)
        assert (len(clip), clip.height, clip.width, clip.has_audio) == (126, 224, 224, True)
        with av.open(str(path)) as container:
            decoded = [p.to_ndarray(format="rgb24") for p in container.decode(video=0)]
        expected = torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2)
        assert torch.equal(clip.read(), expected)
        assert torch.equal(clip.read(100, 5), expected[100:105])

    def test_a_1080p_clip(self) -> None:
        clip = VideoClip(SHARED / "raw_video_1080p.mp4")
        assert len(clip) == 105
        assert clip.read(60, 1).shape == (1, 3, 1080, 1920)

    def test_a_folder_of_frames(self) -> None:
        folder = SHARED / "pose_517600078"
        clip = VideoClip(folder)
        assert len(clip) == len(list(folder.glob("*.jpg")))
        assert torch.equal(clip[10], read_image(sorted(folder.glob("*.jpg"))[10]))
