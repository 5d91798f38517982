"""Sound: any audio or video file becomes 16 kHz mono, in step with the pictures of the file."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from av.container import InputContainer
from torch import Tensor

from talkingface.data.batch import FPS, SAMPLE_RATE

_PREROLL = Fraction(1)  # seconds decoded before a window: codecs carry state from packet to packet
_JITTER = Fraction(2, 1000)  # seconds a time stamp may be off (containers that round to 1 ms)
_FILTER = 1024  # samples of the source around a window: more than the resampling filter is long


@contextmanager
def open_media(path: str | Path) -> Iterator[InputContainer]:
    """Open a media file; whatever goes wrong while it is open is told in the library's own errors.

    Args:
        path: an audio or video file.

    Yields:
        The opened PyAV container.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is a folder, empty, damaged, cut off, or not a media file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: check the path.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder where a media file is needed: name a file in it.")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes): copy or download it again.")
    if missing := _missing_bytes(path):
        raise ValueError(f"{path} is cut off ({missing} bytes are missing): copy it again.")
    try:
        # "file:" keeps a colon in a name from being taken for a protocol; the whitelist keeps a
        # play list in disguise from fetching anything else.
        options = {"protocol_whitelist": "file"}
        with av.open(f"file:{path}", options=options, metadata_errors="replace") as container:
            if container.format.name == "tty":  # any text passes for a terminal's screen
                raise ValueError(f"{path} is a text file: give a video or a sound file.")
            yield container
    except (av.FFmpegError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"{path} cannot be decoded ({reason}): it is damaged, cut off or no media file; "
            "copy it again or convert it to mp4 or wav."
        ) from error


def _missing_bytes(path: Path) -> int:
    """How many bytes short a file is of the size that its container states (mp4, avi, mkv, webm).

    Decoders stop at the end of such a file as if it were whole.
    """
    size, end = path.stat().st_size, 0
    with path.open("rb") as file:
        head = file.read(64)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            end = 8 + int.from_bytes(head[4:8], "little")
        elif head[:4] == b"\x1a\x45\xdf\xa3":  # EBML: a header element, then the segment
            header, start = _ebml_size(head, 4)
            segment, start = _ebml_size(head, start + header + 4)
            end = start + segment
        elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp"):
            position = 0
            while len(head) >= 8 and end <= size:
                length, kind = int.from_bytes(head[:4], "big"), head[4:8]
                if length == 1:
                    length = int.from_bytes(head[8:16], "big")
                if length < 8:  # the last box, up to the end of the file
                    break
                position += length
                if kind in (b"moov", b"mdat", b"moof"):
                    end = position
                file.seek(position)
                head = file.read(16)
    return max(end - size, 0)


def _ebml_size(data: bytes, position: int) -> tuple[int, int]:
    """Size of an EBML element, from the field at ``position``, and where its content starts."""
    width = 9 - data[position : position + 1].ljust(1, b"\xff")[0].bit_length()
    field = int.from_bytes(data[position : position + width], "big")
    size = field & ((1 << 7 * width) - 1)
    unknown = size == (1 << 7 * width) - 1  # a live recording does not know its size
    return (0 if unknown else size), position + width


def seconds(stamp: int | None, base: Fraction | None) -> Fraction:
    """A time stamp, counted in ticks of ``base`` seconds, in seconds; a missing one is zero."""
    return (stamp or 0) * (base or Fraction(0))


def video_stream(container: InputContainer) -> av.VideoStream | None:
    """The first stream of moving pictures: a cover picture in a sound file does not count."""
    cover = av.stream.Disposition.attached_pic
    return next((s for s in container.streams.video if not s.disposition & cover), None)


def media_zero(container: InputContainer) -> Fraction:
    """Time stamp, in seconds, that counts as time zero for the pictures and the sound of a file.

    It is the start of the stream that starts first. Where the pictures start later than the
    sound, less than a frame (40 ms) of sound may lie before it: zero is moved on until a whole
    number of frames fits before the first picture, so that each picture falls on a frame of its
    own and none is lost or doubled.
    """
    picture = video_stream(container)
    streams = [*container.streams.audio[:1], *([picture] if picture else [])]
    starts = [seconds(s.start_time, s.time_base) for s in streams if s.start_time is not None]
    if not starts:
        return Fraction(0)
    if picture is None or picture.start_time is None:
        return min(starts)
    first = seconds(picture.start_time, picture.time_base)
    return first - Fraction(math.floor((first - min(starts) + _JITTER) * FPS), FPS)


def _sound_stream(container: InputContainer, path: str | Path) -> av.AudioStream:
    if not container.streams.audio or not container.streams.audio[0].sample_rate:
        raise ValueError(f"{path} has no sound: give a file with sound, or pass the sound apart.")
    return container.streams.audio[0]


def _mono(frame: av.AudioFrame) -> np.ndarray:
    """Mean of the channels as float32 in [-1, 1]."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if np.issubdtype(samples.dtype, np.integer):
        unsigned = samples.dtype == np.uint8
        scale = 2 ** (8 * samples.dtype.itemsize - 1)
        samples = samples / scale - unsigned
    return samples.mean(0).astype(np.float32)


def _frames(
    container: InputContainer, stream: av.AudioStream, sought: bool
) -> Iterator[av.AudioFrame]:
    """Decode; after a seek what comes first may be a piece of a packet, which players skip."""
    begun = not sought
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            if begun:
                raise
            continue
        begun = begun or bool(frames)
        yield from frames


def _packet_grid(container: InputContainer, stream: av.AudioStream) -> tuple[int, int]:
    """Sample at which the second packet starts, and samples per packet.

    Containers whose clock ticks in milliseconds (mkv, webm) round where a packet starts; packets of
    one size give it back to the sample.
    """
    zero, first, sizes = media_zero(container), 0, list[int]()
    for frame in container.decode(stream):
        if not sizes:
            first = round((seconds(frame.pts, frame.time_base) - zero) * stream.sample_rate)
        sizes.append(frame.samples)
        if len(sizes) == 2:
            break
    return (first + sizes[0], sizes[1]) if len(sizes) == 2 else (0, 1)


def _decode(
    container: InputContainer, stream: av.AudioStream, first: int, last: float, rewind: bool = False
) -> Iterator[np.ndarray]:
    """Sound at its own rate from sample ``first`` on, without gaps: time stamps say what is where.

    Ends with sample ``last`` or with the file. Silence stands where the file has no sound.
    """
    rate, zero = stream.sample_rate, media_zero(container)
    start = seconds(stream.start_time, stream.time_base)
    begin = max(Fraction(first, rate) + zero - _PREROLL, start)
    if rewind:
        begin = start - 1  # so that what the encoder put before the start is decoded as well
    grid: tuple[int, int] | None = None
    if begin != start:
        grid = _packet_grid(container, stream)
        container.seek(math.floor(begin / seconds(1, stream.time_base)), stream=stream)
    position = first  # how far the sound has been handed out
    end: int | None = None  # where the newest frame ends
    # The newest frame is held back: if it turns out to be the last, its padding is cut.
    held, padding = np.zeros(0, np.float32), 0
    for frame in _frames(container, stream, sought=begin != start):
        samples = _mono(frame)
        index = end or 0
        if frame.pts is not None:
            index = round((seconds(frame.pts, frame.time_base) - zero) * rate)
            if end is not None and abs(index - end) <= _JITTER * rate:
                index = end
            elif end is None and grid and len(samples) == grid[1]:
                shift = (index - grid[0] + grid[1] // 2) % grid[1] - grid[1] // 2
                index -= shift if abs(shift) <= seconds(1, frame.time_base) * rate else 0
        if end is None and begin > start and index > first:  # the seek landed too late
            yield from _decode(container, stream, first, last, rewind=True)
            return
        yield held
        if index > position:
            yield np.zeros(index - position, np.float32)
        position = max(position, index)
        end = index + len(samples)
        held, padding = samples[position - index :], 0
        position += len(held)
        if frame.duration:  # of an mp4's last packet it may say that not all of it is sound
            length = seconds(frame.duration, frame.time_base)
            if length + seconds(2, frame.time_base) < Fraction(len(samples), rate):
                padding = len(samples) - round(length * rate)
        if position >= last:
            padding = 0
            break
    yield held[: max(len(held) - padding, 0)]


def read_audio(path: str | Path, start: int = 0, count: int | None = None) -> Tensor:
    """Read a window of the sound of any audio or video file, at 16 kHz, mono.

    Channels are averaged. Only the packets around the window are decoded. Time stamps are kept:
    sample ``n`` is what sounds at time ``n / 16000`` of the file's zero (`media_zero`), which is
    also the zero of its pictures, so that frame ``k`` of `talkingface.data.video.VideoClip` goes
    with samples ``640 * k`` to ``640 * (k + 1)``. Silence stands where the file has no sound.

    Args:
        path: an audio or video file.
        start: first sample; negative for sound before time zero.
        count: number of samples; all up to the end of the sound if ``None``.

    Returns:
        float32 in [-1, 1], zero outside the file.

    Shape:
        - output: (count,)

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be decoded, or has no sound.

    Example:
        >>> import tempfile, wave
        >>> path = tempfile.mkdtemp() + "/tone.wav"
        >>> with wave.open(path, "wb") as file:
        ...     file.setparams((2, 2, 8000, 0, "NONE", ""))
        ...     _ = file.writeframes(bytes(4 * 8000))
        >>> read_audio(path).shape, read_audio(path, start=-100, count=640).shape
        (torch.Size([16000]), torch.Size([640]))
    """
    if count is not None and count < 0:
        raise ValueError(f"count is {count}: ask for zero samples or more.")
    with open_media(path) as container:
        stream = _sound_stream(container, path)
        rate = stream.sample_rate
        # The source is cut where its samples coincide with samples at 16 kHz: any window then
        # holds the same samples as the whole.
        grid = rate // math.gcd(rate, SAMPLE_RATE)
        first = (start * rate // SAMPLE_RATE - _FILTER) // grid * grid
        last = math.inf
        if count is not None:
            last = (start + count) * rate // SAMPLE_RATE + _FILTER
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
        length, parts = 0, [np.zeros(0, np.float32)]
        for samples in _decode(container, stream, first, last):
            if len(samples):
                length += len(samples)
                frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
                frame.sample_rate = rate
                parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
        parts += [part.to_ndarray()[0] for part in resampler.resample(None) if part is not None]
        begin = seconds(stream.start_time, stream.time_base) - media_zero(container)
    origin = first * SAMPLE_RATE // rate
    sound = torch.from_numpy(np.concatenate(parts)).clamp_(-1, 1)
    # The filter rings on both sides of the sound; outside the file there is silence.
    sound[: max(round(begin * SAMPLE_RATE) - origin, 0)] = 0
    end = round((first + length) * SAMPLE_RATE / rate)
    if length == 0 and start <= 0:
        raise ValueError(f"{path} has a sound track without a sample: give a file with sound.")
    if count is None:
        count = max(end - start, 0)
    sound = sound[: max(end - origin, 0)][start - origin :][:count]
    return torch.nn.functional.pad(sound, (0, count - len(sound)))


def audio_length(path: str | Path) -> int:
    """Length of the sound of a file in samples at 16 kHz: that of ``read_audio(path)``.

    Only the packets' time stamps and the last packets' sound are read.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be decoded, or has no sound.

    Example:
        >>> import tempfile, wave
        >>> path = tempfile.mkdtemp() + "/tone.wav"
        >>> with wave.open(path, "wb") as file:
        ...     file.setparams((1, 2, 48000, 0, "NONE", ""))
        ...     _ = file.writeframes(bytes(2 * 4800))
        >>> audio_length(path)
        1600
    """
    with open_media(path) as container:
        stream = _sound_stream(container, path)
        stamps = [p.pts for p in container.demux(stream) if p.size and p.pts is not None]
        tail = seconds(max(stamps, default=0), stream.time_base) - media_zero(container)
    start = max(math.floor((tail - _PREROLL) * SAMPLE_RATE), 0)
    return start + len(read_audio(path, start))
