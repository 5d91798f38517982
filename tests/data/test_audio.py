"""Sound of every kind of file comes back at 16 kHz mono, at the right time to the sample."""

import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from talkingface.data import audio
from talkingface.data.audio import audio_length, media_zero, open_media, read_audio
from talkingface.data.batch import audio_window, utterance_gain
from talkingface.data.video import VideoClip
from tests.media import chirp, sampled, stamped, stamps, write_media

SHARED = Path(__file__).parents[2] / "../shared/data"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="the shared clips are not here")

SECONDS = 3.1
# Suffix, encoder, rates, largest error of a sample (lossy codecs), and by how much a window may
# differ from the whole: AAC fills bands with noise that depends on where decoding starts.
KINDS = [
    ("wav", "pcm_s16le", (8000, 11025, 16000, 22050, 44100, 48000, 96000), 1e-3, 0),
    ("u8.wav", "pcm_u8", (16000,), 1e-2, 0),
    ("s24.wav", "pcm_s24le", (48000,), 1e-3, 0),
    ("f32.wav", "pcm_f32le", (44100,), 1e-3, 0),
    ("flac", "flac", (16000, 44100), 1e-3, 0),
    ("mp3", "libmp3lame", (16000, 22050, 44100, 48000), 5e-2, 0),
    ("m4a", "aac", (16000, 44100, 48000), 5e-2, 1e-2),
    ("mp4", "aac", (16000, 44100), 5e-2, 1e-2),
    ("mkv", "aac", (16000, 44100, 48000), 5e-2, 1e-2),
    ("webm", "libopus", (48000,), 5e-2, 2e-3),
    ("avi", "pcm_s16le", (44100,), 1e-3, 0),
]
CASES = [(kind, codec, rate, *rest) for kind, codec, rates, *rest in KINDS for rate in rates]
VIDEO_CODECS = {"mp4": "libx264", "mkv": "libx264", "webm": "libvpx", "avi": "mpeg4"}


def truth(start: int, count: int) -> Tensor:
    """What is to be heard at 16 kHz, straight from the formula."""
    return torch.from_numpy(chirp(np.arange(start, start + count) / 16_000)).float()


def lag(heard: Tensor, said: Tensor) -> int:
    """By how many samples ``heard`` comes late, from the peak of the cross-correlation."""
    size = len(heard) + len(said)
    spectrum = torch.fft.rfft(heard, size) * torch.fft.rfft(said, size).conj()
    shift = int(torch.fft.irfft(spectrum, size).argmax())
    return shift if shift < size // 2 else shift - size


def media(folder: Path, kind: str, codec: str, rate: int) -> Path:
    video = VIDEO_CODECS.get(kind)
    frames = stamped(round(SECONDS * 25)) if video else None
    return write_media(
        folder / f"sound.{kind}",
        frames,
        sampled(SECONDS, rate),
        rate=rate,
        audio_codec=codec,
        video_codec=video or "libx264",
        options={"g": "25"},
    )


@pytest.mark.parametrize(("kind", "codec", "rate", "error", "drift"), CASES)
def test_every_rate_and_codec_is_heard_at_its_time(
    tmp_path: Path, kind: str, codec: str, rate: int, error: float, drift: float
) -> None:
    path = media(tmp_path, kind, codec, rate)
    sound = read_audio(path)
    assert sound.dtype == torch.float32
    count = round(SECONDS * 16_000)
    # mkv does not say how much of the last AAC packet is padding.
    assert count - 1 <= len(sound) <= count + (1024 * 16_000 // rate if kind == "mkv" else 30)
    assert len(sound) == audio_length(path)
    expected = truth(0, count)
    assert lag(sound, expected) == 0
    inside = slice(1000, -1000)
    assert (sound[:count][inside] - expected[inside]).abs().max() < error
    padded = torch.nn.functional.pad(sound, (5000, 9000))
    for start in (-900, 0, 1, 640, 17_777, 33_333, len(sound) - 1000, len(sound) + 100):
        window = read_audio(path, start, 3000)
        assert window.shape == (3000,)
        whole = padded[start + 5000 : start + 8000]
        assert (window - whole).abs().max() <= drift + 1e-6, start


def test_after_a_seek_pieces_of_packets_are_skipped(tmp_path: Path) -> None:
    path = write_media(
        tmp_path / "a.mpg",
        stamped(75),
        sampled(3, 44_100),
        rate=44_100,
        video_codec="mpeg1video",
        audio_codec="mp2",
        options={"g": "12", "bf": "2"},
    )
    whole = read_audio(path)
    assert lag(whole, truth(0, len(whole))) == 0 and len(whole) == audio_length(path)
    for start in range(16_000, 40_000, 3200):
        window = read_audio(path, start, 3200)
        assert torch.allclose(window, whole[start : start + 3200], atol=1e-3), start


def test_channels_are_averaged(tmp_path: Path) -> None:
    left = sampled(1, 16_000)
    sound = np.concatenate([left, -0.5 * left])
    path = write_media(tmp_path / "stereo.wav", None, sound, audio_codec="pcm_s16le")
    assert torch.allclose(read_audio(path), truth(0, 16_000) / 4, atol=1e-4)


def test_16_bit_samples_at_16_khz_pass_unchanged(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(-32768, 32768, 20_000).astype("<i2")
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(values.tobytes())
    expected = torch.from_numpy(values / 32768).float()
    assert torch.equal(read_audio(tmp_path / "a.wav"), expected)
    assert torch.equal(read_audio(tmp_path / "a.wav", 7000, 500), expected[7000:7500])


def test_windows_are_read_by_seeking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_media(tmp_path / "long.m4a", None, sampled(40, 16_000))
    decoded = []

    def counting(frame: av.AudioFrame) -> np.ndarray:
        decoded.append(frame)
        return original(frame)

    original = audio._mono
    monkeypatch.setattr(audio, "_mono", counting)
    window = read_audio(path, 500_000, 640)
    assert lag(window, truth(500_000, 640)) == 0
    assert len(decoded) < 40  # of 625 blocks


def test_a_seek_that_lands_too_late_is_made_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_media(tmp_path / "a.m4a", None, sampled(5, 16_000))
    whole = read_audio(path)
    monkeypatch.setattr(audio, "_PREROLL", Fraction(-2))
    assert torch.allclose(read_audio(path, 30_000, 640), whole[30_000:30_640], atol=1e-2)


@pytest.mark.parametrize("kind", ["mp4", "mov", "mkv", "webm"])
@pytest.mark.parametrize(
    ("video_start", "audio_start"), [(0, 0.5), (0.48, 0), (0.05, 0), (0, 0.017), (0.3, 0.1)]
)
def test_streams_that_start_apart_stay_together(
    tmp_path: Path, kind: str, video_start: float, audio_start: float
) -> None:
    rate = 48_000
    path = write_media(
        tmp_path / f"late.{kind}",
        stamped(50),
        sampled(2, rate),
        rate=rate,
        video_start=video_start,
        audio_start=audio_start,
        video_codec="libvpx" if kind == "webm" else "libx264",
        audio_codec="libopus" if kind == "webm" else "aac",
        options={"g": "12"},
    )
    clip, sound = VideoClip(path), read_audio(path)
    shown = stamps(clip.read())
    # Frame 20 was shown 0.8 s after the pictures began, sample s sounded s / 16000 s after the
    # sound began; how far these moments lie apart must survive.
    moment = shown.index(20) / 25
    late = lag(sound, truth(0, 32_000)) / 16_000
    apart = (video_start + 0.8) - audio_start
    assert moment - late == pytest.approx(apart, abs=1.5e-3)
    # Nothing is lost or doubled but for the first picture, which stands while sound alone runs.
    held = shown.count(0) - 1
    assert shown == [0] * held + list(range(50))
    assert held == int(max(video_start - audio_start, 0) * 25 + 0.1)
    # A window knows the same zero, also before it.
    window = read_audio(path, -320, 12_000)
    assert torch.allclose(window[320:], sound[: 12_000 - 320], atol=1e-2)
    with open_media(path) as container:
        assert min(video_start, audio_start) - 2e-3 <= media_zero(container) < video_start + 2e-3


def test_sound_before_zero_can_be_had(tmp_path: Path) -> None:
    # The pictures start 50 ms after the sound: one whole frame fits, zero is at 10 ms.
    sound = sampled(2, 16_000)
    path = write_media(
        tmp_path / "a.mov", stamped(50), sound, audio_codec="pcm_s16le", video_start=0.05
    )
    assert torch.allclose(read_audio(path, -160, 1000), truth(0, 1000), atol=1e-4)
    assert torch.allclose(read_audio(path, 0, 1000), truth(160, 1000), atol=1e-4)


def test_gaps_in_the_stamps_are_silence(tmp_path: Path) -> None:
    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        values = (sampled(1, 16_000) * 32767).astype(np.int16)
        for first in range(0, 16_000, 1600):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(values[:, first : first + 1600]), format="s16", layout="mono"
            )
            frame.sample_rate = 16_000
            frame.pts = first + (8000 if first >= 4800 else 0)  # half a second is missing
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    sound = read_audio(path)
    assert len(sound) == audio_length(path) == 24_000
    assert torch.allclose(sound[:4800], truth(0, 4800), atol=1e-4)
    assert not sound[4800:12_800].any()
    assert torch.allclose(sound[12_800:], truth(4800, 11_200), atol=1e-4)


class TestBadInput:
    def test_files(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"none\.wav does not exist"):
            read_audio(tmp_path / "none.wav")
        with pytest.raises(ValueError, match="is a folder"):
            read_audio(tmp_path)
        contents = {
            "empty.wav": (b"", "is empty"),
            "text.wav": (b"hello\n" * 99, "cannot be decoded"),
            "text.txt": (b"hello\n" * 99, "is a text file"),
            "zeros.mp3": (bytes(4000), "cannot be decoded"),
        }
        for name, (content, message) in contents.items():
            (tmp_path / name).write_bytes(content)
            for function in (read_audio, audio_length):
                with pytest.raises(ValueError, match=rf"{name} {message}"):
                    function(tmp_path / name)

    def test_a_video_without_sound(self, tmp_path: Path) -> None:
        path = write_media(tmp_path / "silent.mp4", stamped(5))
        for function in (read_audio, audio_length):
            with pytest.raises(ValueError, match=r"silent\.mp4 has no sound"):
                function(path)

    def test_a_sound_of_no_length(self, tmp_path: Path) -> None:
        with wave.open(str(tmp_path / "zero.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
        for arguments in ((), (0, 640)):
            with pytest.raises(ValueError, match=r"zero\.wav has a sound track without a sample"):
                read_audio(tmp_path / "zero.wav", *arguments)
        with pytest.raises(ValueError, match=r"zero\.wav has a sound track without a sample"):
            audio_length(tmp_path / "zero.wav")

    def test_a_negative_count(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="count is -1"):
            read_audio(tmp_path / "a.wav", 0, -1)


def test_the_gain_brings_an_utterance_to_a_tenth() -> None:
    sound = torch.randn(16_000, generator=torch.Generator().manual_seed(0)) * 0.03
    gain = utterance_gain(sound)
    assert np.sqrt(np.mean((sound.numpy() * gain).astype(np.float64) ** 2)) == pytest.approx(0.1)
    assert utterance_gain(torch.zeros(9)) == pytest.approx(1000)
    with pytest.raises(ValueError, match="no samples"):
        utterance_gain(torch.zeros(0))


@pytest.mark.parametrize(
    ("start", "frames"), [(0, 5), (3, 1), (20, 10), (-20, 3), (60, 2), (-9, 60)]
)
def test_a_window_has_context_and_zeros_outside(start: int, frames: int) -> None:
    sound = torch.arange(1, 16_001).float()
    window = audio_window(sound, start, frames)
    places = torch.arange(start * 640 - 3200, (start + frames) * 640 + 3200)
    inside = (places >= 0) & (places < 16_000)
    assert torch.equal(window, torch.where(inside, places + 1.0, 0.0))


def test_a_window_of_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 16000\)"):
        audio_window(torch.zeros(2, 16_000), 0, 5)
    with pytest.raises(ValueError, match="frames is 0"):
        audio_window(torch.zeros(16_000), 0, 0)


@needs_shared
class TestRealFiles:
    def test_a_wav_named_mp3(self) -> None:
        path = SHARED / "speech_681600002.mp3"
        data = path.read_bytes()
        samples = np.frombuffer(data[data.index(b"data") + 8 :], "<i2")
        expected = torch.from_numpy(samples / 32768).float()
        sound = read_audio(path)
        assert len(sound) == audio_length(path) == 232_448
        assert torch.equal(sound, expected[:232_448])
        assert torch.equal(read_audio(path, 100_000, 5000), expected[100_000:105_000])

    def test_windows_of_a_clip(self) -> None:
        path = SHARED / "clips/681100216.mp4"
        sound = read_audio(path)
        assert len(sound) == 156_160  # as the file's own index says
        window = read_audio(path, 60 * 640 - 3200, 5 * 640 + 6400)
        assert torch.allclose(window, audio_window(sound, 60, 5), atol=2e-2)

    def test_stereo_at_48_khz_in_step_with_1080p(self) -> None:
        path = SHARED / "raw_video_1080p.mp4"
        # 201,728 samples at 48 kHz that start 480 samples (10 ms) after the pictures.
        assert audio_length(path) == round((201_728 + 480) / 3)
        assert not read_audio(path, 0, 160).any()
