"""Speech from a source and a filter, with the movement of the mouth that belongs to it.

A string of phonemes becomes targets over time: formants, voicing, noise, articulation. Neighbouring
mouths blend by dominance, so lips that must close do close, and a consonant made with the tongue
takes over the lips of its vowels. Sound and mouth have one time line, so they are in sync by
construction.

Coarticulation after Cohen and Massaro, "Modeling Coarticulation in Synthetic Visual Speech" (1993);
vowel formants near the averages of Peterson and Barney (1952).
"""

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

from talkingface.data.batch import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME

ARTICULATION = ("opening", "width", "rounding", "press")
"""Names of the columns of an articulation track, each in [0, 1]."""

_HOP = 80  # samples per step of the tracks: 5 ms, 8 steps per frame
_STEPS_PER_FRAME = SAMPLES_PER_FRAME // _HOP
_WINDOW = 400


class Voice(NamedTuple):
    """A speaker: mean ``pitch`` in Hz and relative length of the vocal ``tract`` (1: a man's)."""

    pitch: float
    tract: float


class _Segment(NamedTuple):
    """A stretch of speech with constant targets."""

    seconds: float
    voicing: float  # amplitude of the harmonic source, [0, 1]
    noise: float  # amplitude of the noise source, [0, 1]
    band: tuple[float, float]  # centre and half-width of the noise in Hz
    formants: tuple[float, float, float]  # Hz, for a tract of length 1
    mouth: tuple[float, float, float, float]  # ARTICULATION
    dominance: float  # weight of the mouth's targets against the neighbours'


def _vowel(formants: tuple[float, float, float], mouth: tuple[float, float, float]) -> _Segment:
    return _Segment(0.16, 1.0, 0.0, (2000, 500), formants, (*mouth, 0.0), 1.0)


def _hiss(centre: float, spread: float, loudness: float, mouth: tuple[float, ...]) -> _Segment:
    opening, width, rounding, press = mouth
    place = (400, 1600, 2600)
    return _Segment(
        0.11, 0.0, loudness, (centre, spread), place, (opening, width, rounding, press), 2.0
    )


def _hum(seconds: float, loudness: float, locus: float, press: float) -> _Segment:
    """Voice through a closed mouth: nasals, and the bar of voiced plosives."""
    mouth = (0.0, 0.0, 0.0, 1.0) if press else (0.12, 0.2, 0.0, 0.0)
    weight = 12.0 if press else 0.4
    return _Segment(seconds, loudness, 0.0, (2000, 500), (260, locus, 2400), mouth, weight)


def _burst(centre: float, spread: float, locus: float) -> _Segment:
    """The release of a plosive; the lips are already on their way to the vowel."""
    mouth = (0.15, 0.2, 0.0, 0.0)
    return _Segment(0.02, 0.0, 0.5, (centre, spread), (350, locus, 2500), mouth, 0.2)


_REST = _Segment(0.16, 0.0, 0.0, (2000, 500), (500, 1500, 2500), (0.0, 0.0, 0.0, 0.0), 1.0)

PHONEMES: dict[str, tuple[_Segment, ...]] = {
    "a": (_vowel((730, 1090, 2440), (1.0, 0.25, 0.0)),),
    "e": (_vowel((530, 1840, 2480), (0.60, 0.60, 0.0)),),
    "i": (_vowel((280, 2250, 2900), (0.30, 1.0, 0.0)),),
    "o": (_vowel((500, 880, 2410), (0.65, 0.0, 0.75)),),
    "u": (_vowel((310, 870, 2240), (0.25, 0.0, 1.0)),),
    "m": (_hum(0.09, 0.35, 1000, 1.0),),
    "n": (_hum(0.08, 0.35, 1700, 0.0),),
    "l": (_hum(0.08, 0.55, 1200, 0.0),),
    "b": (_hum(0.08, 0.15, 900, 1.0), _burst(700, 500, 900)),
    "d": (_hum(0.06, 0.15, 1700, 0.0), _burst(4000, 1200, 1700)),
    "g": (_hum(0.06, 0.15, 2000, 0.0), _burst(2000, 600, 2000)),
    "p": (_hum(0.09, 0.0, 900, 1.0), _burst(700, 500, 900)),
    "t": (_hum(0.07, 0.0, 1700, 0.0), _burst(4000, 1200, 1700)),
    "k": (_hum(0.07, 0.0, 2000, 0.0), _burst(2000, 600, 2000)),
    "f": (_hiss(5000, 3000, 0.12, (0.06, 0.15, 0.0, 0.55)),),
    "s": (_hiss(6000, 900, 0.30, (0.14, 0.60, 0.0, 0.0)),),
    "S": (_hiss(3200, 900, 0.30, (0.20, 0.0, 0.70, 0.0)),),
    " ": (_REST,),
}
"""Every phoneme is one character (SAMPA: ``S`` is "sh"); a space is a pause."""

_VOWELS, _CONSONANTS = "aeiou", "mnlbdgptkfsS"


def sample_voice(seed: int) -> Voice:
    """Draw a speaker: the lower the voice, the longer the tract, with some play.

    Example:
        >>> voice = sample_voice(3)
        >>> 90 < voice.pitch < 240, voice == sample_voice(3)
        (True, True)
    """
    draw = random.Random(f"voice {seed}")
    height = draw.random()
    return Voice(95 * 2.4**height, 1.03 - 0.18 * height + draw.uniform(-0.03, 0.03))


def random_sentence(seed: int, seconds: float) -> str:
    """Draw words of consonant-vowel syllables that last at most ``seconds``, with pauses between.

    Example:
        >>> sentence = random_sentence(0, 3.0)
        >>> set(sentence) <= set(PHONEMES), duration(sentence) <= 3.0
        (True, True)
    """
    draw = random.Random(f"sentence {seed}")
    sentence = ""
    while True:
        syllables = [
            draw.choice(_CONSONANTS) + draw.choice(_VOWELS) + draw.choice(["", "", "", "n", "s"])
            for _ in range(draw.randint(1, 3))
        ]
        words = (" " + "".join(syllables), " " + syllables[0])  # a short one may still fit
        fitting = [word for word in words if duration(sentence + word + " ") <= seconds]
        if not fitting:
            return sentence + " " if sentence else ""
        sentence += fitting[0]


def duration(phonemes: str) -> float:
    """Seconds that `speak` needs for ``phonemes`` (before rounding up to a whole frame)."""
    return sum(segment.seconds for segment in _segments(phonemes))


def speak(phonemes: str, voice: Voice) -> tuple[Tensor, Tensor]:
    """Synthesise speech and the movement of the mouth that makes it.

    Args:
        phonemes: characters of `PHONEMES`, e.g. ``"mama papa"``.
        voice: the speaker.

    Returns:
        ``audio`` at 16 kHz in [-1, 1] with an rms of 0.1, or less where a peak would clip, and
        ``articulation`` at 25 fps in [0, 1], read at each frame's middle; columns `ARTICULATION`.

    Shape:
        - audio: (T * 640,)
        - articulation: (T, 4)

    Raises:
        ValueError: if a character is no phoneme.

    Example:
        >>> audio, articulation = speak("mama", Voice(pitch=120, tract=1.0))
        >>> len(audio) == len(articulation) * 640
        True
    """
    segments = _segments(phonemes)
    frames = math.ceil(sum(segment.seconds for segment in segments) * FPS - 1e-6)
    if not frames:
        return torch.zeros(0), torch.zeros(0, len(ARTICULATION))
    steps = frames * _STEPS_PER_FRAME
    centres = (torch.arange(steps) + 0.5) * _HOP / SAMPLE_RATE
    ends = torch.tensor([segment.seconds for segment in segments], dtype=torch.float64).cumsum(0)
    index = torch.searchsorted(ends, centres.double(), right=True)
    segments = (*segments, _REST)  # what is left of the last frame

    def track(*columns: Sequence[float]) -> Tensor:
        return torch.tensor(columns, dtype=torch.float32)[:, index]

    weight = track([s.dominance for s in segments])
    mouth = track(*zip(*(s.mouth for s in segments), strict=True))
    mouth = _smooth(mouth * weight, 0.12) / _smooth(weight, 0.12)
    formants = _smooth(track(*zip(*(s.formants for s in segments), strict=True)), 0.06)
    band = track(*zip(*(s.band for s in segments), strict=True))
    voicing, noise = _smooth(
        track([s.voicing for s in segments], [s.noise for s in segments]), 0.03
    )
    audio = _vocalise(voicing, noise, formants / voice.tract, band, voice.pitch)
    articulation = mouth.unflatten(1, (frames, -1))
    middle = _STEPS_PER_FRAME // 2
    return audio, articulation[:, :, middle - 1 : middle + 1].mean(-1).T.clamp(0, 1).contiguous()


def _segments(phonemes: str) -> tuple[_Segment, ...]:
    unknown = sorted(set(phonemes) - set(PHONEMES))
    if unknown:
        raise ValueError(f"no phoneme {unknown[0]!r}; known are {''.join(PHONEMES)!r}")
    return tuple(segment for phoneme in phonemes for segment in PHONEMES[phoneme])


def _smooth(tracks: Tensor, seconds: float) -> Tensor:
    """Average each track (C, S) under a Hann window of this length; the ends are held."""
    taps = 2 * round(seconds * SAMPLE_RATE / _HOP / 2) + 1
    kernel = torch.hann_window(taps + 2, periodic=False)[1:-1]
    padded = pad(tracks[:, None], (taps // 2, taps // 2), mode="replicate")
    return conv1d(padded, (kernel / kernel.sum()).view(1, 1, -1))[:, 0]


def _vocalise(
    voicing: Tensor, noise: Tensor, formants: Tensor, band: Tensor, pitch: float
) -> Tensor:
    """Filter pulses and noise by spectra that change every 5 ms; all tracks are (..., S)."""
    steps = len(voicing)
    length = steps * _HOP
    seconds = torch.arange(length, dtype=torch.float64) / SAMPLE_RATE
    melody = 1 + 0.08 * torch.sin(2 * math.pi * 0.7 * seconds) - 0.05 * seconds / seconds[-1]
    phase = torch.cumsum(2 * math.pi * pitch * melody / SAMPLE_RATE, 0)
    harmonics = int(0.45 * SAMPLE_RATE / (1.08 * pitch))
    # The sum of cos(k * phase) for k = 1 .. harmonics: pulses without aliases.
    sine = torch.sin(phase / 2)
    pulses = torch.sin((harmonics + 0.5) * phase) / (2 * sine) - 0.5
    pulses = torch.where(sine.abs() < 1e-6, float(harmonics), pulses).float()
    breath = torch.randn(length, generator=torch.Generator().manual_seed(0))

    hertz = torch.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE)[:, None]
    tilt = 1 / (1 + (hertz / 800).square()) ** 0.5  # glottis -12 dB, lips +6 dB per octave
    bandwidths = torch.tensor([60.0, 90.0, 140.0])[:, None, None]
    resonance = formants[:, None].square() / torch.hypot(
        formants[:, None].square() - hertz.square(), bandwidths * hertz
    )
    voice_filter = voicing * tilt * resonance.prod(0)
    noise_filter = 10 * noise * torch.exp(-0.5 * ((hertz - band[0]) / band[1]).square())
    window = torch.hann_window(_WINDOW)

    def spectrum(source: Tensor) -> Tensor:
        return torch.stft(source, _WINDOW, _HOP, window=window, return_complex=True)

    def at_hops(response: Tensor) -> Tensor:
        # Tracks are read at the middle of their steps, the transform's windows sit between them.
        return pad(response, (1, 1), mode="replicate").unfold(1, 2, 1).mean(-1)

    voiced = spectrum(pulses) * at_hops(voice_filter)
    hiss = spectrum(breath) * at_hops(noise_filter)
    audio = torch.istft(voiced + hiss, _WINDOW, _HOP, window=window, length=length)
    audio = audio * (0.1 / audio.square().mean().sqrt().clamp_min(1e-4))
    return audio / audio.abs().max().clamp_min(1.0)
