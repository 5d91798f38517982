"""Media files made for tests with PyAV alone: any frame rate, container, codec, offset, rotation.

Frames carry their number in black and white blocks, so that a test can tell which frame it got even
after lossy coding; sounds are functions of time, so that a test knows every sample.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

_BITS = 10  # 2 rows of 5 blocks


def stamped(numbers: int | Sequence[int], height: int = 32, width: int = 40) -> Tensor:
    """Frames that carry their numbers (below 1024): uint8 (T, 3, height, width)."""
    numbers = range(numbers) if isinstance(numbers, int) else numbers
    bits = torch.tensor([[number >> bit & 1 for bit in range(_BITS)] for number in numbers])
    blocks = bits.view(-1, 1, 2, 5).to(torch.uint8) * 255
    blocks = blocks.repeat_interleave(height // 2, 2).repeat_interleave(width // 5, 3)
    return blocks.expand(-1, 3, -1, -1)


def stamps(frames: Tensor) -> list[int]:
    """The numbers that frames of `stamped` carry."""
    blocks = torch.nn.functional.adaptive_avg_pool2d(frames.float().mean(1), (2, 5)).flatten(1)
    return ((blocks > 128).long() * 2 ** torch.arange(_BITS)).sum(1).tolist()


def chirp(seconds: np.ndarray) -> np.ndarray:
    """A tone that rises from 200 Hz by 300 Hz a second: every moment of it is unlike the others."""
    return 0.4 * np.sin(2 * np.pi * (200 * seconds + 150 * seconds**2))


def sampled(duration: float, rate: int) -> np.ndarray:
    """`chirp` at a sampling rate: float32 (1, samples)."""
    return chirp(np.arange(round(duration * rate)) / rate)[None].astype(np.float32)


def write_media(
    path: str | Path,
    frames: Tensor | None = None,
    sound: np.ndarray | None = None,
    *,
    fps: Fraction | float = 25,
    times: Sequence[float] | None = None,
    rate: int = 16_000,
    video_codec: str = "libx264",
    audio_codec: str = "aac",
    options: dict[str, str] | None = None,
    rotation: int = 0,
    video_start: float = 0,
    audio_start: float = 0,
    cover: Tensor | None = None,
) -> Path:
    """Write a media file.

    Args:
        path: where to; the suffix chooses the container.
        frames: uint8 (T, 3, H, W), or none for a sound file.
        sound: float (channels, samples) in [-1, 1], of one channel or two, or none.
        fps: constant frame rate of the pictures.
        times: seconds at which the frames appear, where the rate varies.
        rate: sampling rate of the sound.
        video_codec: PyAV name of the encoder of the pictures.
        audio_codec: PyAV name of the encoder of the sound.
        options: the video encoder's options, such as ``{"g": "12", "bf": "2"}``.
        rotation: degrees counterclockwise by which a player is to turn the pictures.
        video_start: seconds at which the pictures start.
        audio_start: seconds at which the sound starts.
        cover: a picture (3, H, W) that goes with a sound file.
    """
    fps = Fraction(fps).limit_denominator(1001)
    packets: list[av.Packet] = []
    with av.open(str(path), "w") as container:
        if frames is not None:
            varies = times is not None or video_start
            base = Fraction(1, 90_000) if varies else 1 / fps
            video: Any = container.add_stream(video_codec, rate=fps, options=options or {})
            video.height, video.width = frames.shape[2:]
            video.pix_fmt = "yuvj420p" if video_codec == "mjpeg" else "yuv420p"
            video.codec_context.time_base = base
            if rotation:
                video.set_display_rotation(rotation)
        if sound is not None:
            layout = "mono" if len(sound) == 1 else "stereo"
            audio: Any = container.add_stream(audio_codec, rate=rate, layout=layout)
            audio.bit_rate = min(6 * rate, 256_000)  # codecs then keep the wave, not only the sound
        if cover is not None:
            picture: Any = container.add_stream("mjpeg", rate=1)
            picture.height, picture.width = cover.shape[1:]
            picture.pix_fmt = "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            packets += picture.encode(_picture(cover, 0, Fraction(1)))
        if frames is not None:
            for number, frame in enumerate(frames):
                time = times[number] if times is not None else number / fps
                stamp = round((Fraction(time) + Fraction(video_start)) / base)
                packets += video.encode(_picture(frame, stamp, base))
            packets += video.encode(None)
        if sound is not None:
            for block in _blocks(sound, layout, rate, audio_start, audio.codec_context):
                packets += audio.encode(block)
            packets += audio.encode(None)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base if p.dts else 0):
            container.mux(packet)
    return Path(path)


def _picture(frame: Tensor, stamp: int, base: Fraction) -> av.VideoFrame:
    pixels = np.ascontiguousarray(frame.permute(1, 2, 0).numpy())
    picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    picture.pts, picture.time_base = stamp, base
    return picture


def _blocks(
    sound: np.ndarray, layout: str, rate: int, start: float, codec: av.AudioCodecContext
) -> Iterator[av.AudioFrame]:
    size = codec.frame_size or 1024
    for first in range(0, sound.shape[1], size):
        block = np.ascontiguousarray(sound[:, first : first + size], np.float32)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = round(start * rate) + first
        converter = av.AudioResampler(format=codec.format.name, layout=layout, rate=rate)
        yield from converter.resample(frame)
