"""Speech from a source and a filter, with the movement of the mouth that belongs to it.

A string of phonemes becomes targets over time: formants, voicing, noise, articulation. Neighbours
blend by dominance, so a vowel lends its lips to the consonants that do not need theirs. Sound and
mouth have one time line, so they are in sync by construction.

Coarticulation after Cohen and Massaro, "Modeling Coarticulation in Synthetic Visual Speech" (1993);
source and filters after Klatt, "Software for a Cascade/Parallel Formant Synthesizer" (1980).
"""

import itertools
import math
import random
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from talkingface.data.batch import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME
from talkingface.data.synthetic.lexicon import (
    HOMOPHENES,
    WORDS,
    locate,
    pronounce,
    random_sentence,
)
from talkingface.data.synthetic.phonemes import (
    ARTICULATION,
    LIPS_CLOSED,
    PHONEMES,
    SOUNDS,
    VISEME_NAMES,
    VISEMES,
    VOWELS,
    Sound,
    duration,
    viseme,
)

__all__ = [
    "ARTICULATION",
    "HOMOPHENES",
    "PHONEMES",
    "VISEMES",
    "VISEME_NAMES",
    "VOWELS",
    "WORDS",
    "Speech",
    "Voice",
    "add_noise",
    "duration",
    "locate",
    "pronounce",
    "random_sentence",
    "sample_voice",
    "speak",
]

_HOP = 80  # samples per step of the tracks: 5 ms, 8 steps per frame
_STEPS = SAMPLES_PER_FRAME // _HOP
_WINDOW = 320  # samples under one filter
_LEAD = (_WINDOW - _HOP) // 2  # samples from a window's start to its step's: one centre for both
_SPECTRUM = 640  # samples of a transform: a filter may ring for the difference

# numpy, not torch: its sums do not depend on the number of threads.
_Array = NDArray[Any]


class Voice(NamedTuple):
    """A speaker."""

    pitch: float
    """Mean, in Hz."""
    tract: float = 1.0
    """Length of the vocal tract; 1 is a man's of 17.5 cm, and formants go with its inverse."""
    breathiness: float = 0.1
    """Noise in the voice, in [0, 1]."""
    rate: float = 1.0
    """Speed; 2 is twice as fast."""


class Speech(NamedTuple):
    """What is heard and what is seen of an utterance of T frames."""

    audio: Tensor
    """(T * 640,) 16 kHz in [-1, 1]."""
    articulation: Tensor
    """(T, 6) in [0, 1] at each frame's middle; columns `ARTICULATION`."""
    viseme: Tensor
    """(T,) int64, class at each frame's middle; `VISEME_NAMES`."""
    spans: tuple[tuple[float, float], ...]
    """Start and end of each phoneme in seconds."""


def sample_voice(seed: int) -> Voice:
    """Draw a speaker.

    The pitch is 85 to 230 Hz. The higher it is, the shorter the tract: 1.03 down to 0.85, with
    +-0.03 of play. Breathiness is 0 to 0.4, the rate 0.85 to 1.15.

    Example:
        >>> voice = sample_voice(3)
        >>> 85 <= voice.pitch <= 230, voice == sample_voice(3)
        (True, True)
    """
    draw = random.Random(f"voice {seed}")
    height = draw.random()
    return Voice(
        pitch=85 * (230 / 85) ** height,
        tract=1.03 - 0.18 * height + draw.uniform(-0.03, 0.03),
        breathiness=draw.uniform(0, 0.4),
        rate=draw.uniform(0.85, 1.15),
    )


def add_noise(audio: Tensor, snr_db: float, seed: int) -> Tensor:
    """Add pink noise with ``10 log10(mean power of the sound / mean power of the noise)`` = snr_db.

    Shape:
        - audio: (samples,)
        - output: (samples,)

    Example:
        >>> noisy = add_noise(torch.ones(16000), snr_db=20.0, seed=0)
        >>> round((noisy - 1).square().mean().item(), 4)
        0.01
    """
    if not len(audio):
        return audio
    white = np.random.default_rng(seed).standard_normal(len(audio))
    spectrum = np.fft.rfft(white)
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, len(audio))
    sound = audio.numpy().astype(np.float64)
    power = np.mean(sound**2) / np.mean(noise**2) / 10 ** (snr_db / 10)
    return torch.from_numpy((sound + noise * np.sqrt(power)).astype(np.float32))


def speak(phonemes: str, voice: Voice) -> Speech:
    """Synthesise speech and the movement of the mouth that makes it.

    The sound has an rms of 0.1, or less where a peak would clip, and its values are those of
    16-bit samples.

    Args:
        phonemes: characters of `PHONEMES`, e.g. ``" mVD3 "`` or what `pronounce` returns.
        voice: the speaker.

    Raises:
        ValueError: if a character is no phoneme.

    Example:
        >>> speech = speak(pronounce("seven sheep"), Voice(pitch=120))
        >>> len(speech.audio) == len(speech.articulation) * 640, speech.viseme[0].item()
        (True, 0)
    """
    visemes = [viseme(phoneme) for phoneme in phonemes]
    lengths = np.array([seconds for v in visemes for seconds in v.seconds]) / voice.rate
    ends = np.cumsum(lengths)
    frames = math.ceil(ends[-1] * FPS - 1e-6) if len(ends) else 0
    owner = np.repeat(np.arange(len(visemes)), [len(v.seconds) for v in visemes])
    bounds = [0.0, *ends[np.append(owner[1:] != owner[:-1], True)].tolist()] if frames else [0.0]
    spans = tuple(itertools.pairwise(bounds))
    if not frames:
        empty = torch.zeros(0)
        return Speech(empty, empty.view(0, 6), empty.long(), spans)

    rest = viseme(" ")  # what is left of the last frame
    visemes, owner = [*visemes, rest], np.append(owner, len(visemes))
    sounds = [sound for phoneme in phonemes + " " for sound in SOUNDS[phoneme]]
    seconds = (np.arange(frames * _STEPS) + 0.5) * _HOP / SAMPLE_RATE
    phase = np.searchsorted(ends, seconds, side="right")

    first = np.append(True, owner[1:] != owner[:-1])
    closed = [
        (end - length, end)
        for end, length, number, start in zip(ends, lengths, owner, first, strict=False)
        if start and visemes[number].name == VISEME_NAMES[LIPS_CLOSED]
    ]
    mouth = _mouth(
        _track([visemes[number].mouth for number in owner], phase),
        _track([visemes[number].dominance for number in owner], phase),
        seconds,
        closed,
    )
    accents = [
        start
        for (start, _), phoneme, before in zip(spans, phonemes, " " + phonemes, strict=False)
        if phoneme in VOWELS and before not in VOWELS
    ]
    seed = zlib.crc32(f"{phonemes}{voice}".encode())  # noise of its own
    audio = _vocalise(sounds, phase, accents, voice, seed)
    middle = mouth.reshape(6, frames, _STEPS)[..., _STEPS // 2 - 1 : _STEPS // 2 + 1].mean(-1)
    classes = np.array([VISEMES[phoneme] for phoneme in phonemes + " "])[owner[phase]]
    return Speech(
        torch.from_numpy(audio),
        torch.from_numpy(middle.T.clip(0, 1).astype(np.float32)),
        torch.from_numpy(classes[_STEPS // 2 :: _STEPS].astype(np.int64)),
        spans,
    )


def _track(rows: Sequence[Sequence[float]] | _Array, phase: _Array) -> _Array:
    """Values (C, S) of each step's phase."""
    return np.asarray(rows, dtype=np.float64)[phase].T


def _smooth(tracks: _Array, seconds: float) -> _Array:
    """Average each track (C, S) under a Hann window of this length; the ends are held."""
    taps = 2 * round(seconds * SAMPLE_RATE / _HOP / 2) + 1
    kernel = np.hanning(taps + 2)[1:-1]
    padded = np.pad(tracks, ((0, 0), (taps // 2, taps // 2)), mode="edge")
    return np.stack([np.convolve(row, kernel / kernel.sum(), mode="valid") for row in padded])


def _mouth(
    target: _Array, weight: _Array, seconds: _Array, closed: Sequence[tuple[float, float]]
) -> _Array:
    """Blend the targets (6, S); where lips close they do so in time, whatever is around them."""
    mouth = _smooth(target * weight, 0.12) / _smooth(weight, 0.12)
    if closed:
        start, end = np.array(closed).T[..., None]
        away = np.maximum(start - seconds, seconds - end).clip(0).min(0)
        contact = 0.5 + 0.5 * np.cos(np.pi * (away / 0.07).clip(0, 1))
        for name in ("opening", "teeth", "tongue"):
            mouth[ARTICULATION.index(name)] *= 1 - contact
        press = ARTICULATION.index("press")
        mouth[press] = np.maximum(mouth[press], contact)
    return mouth


def _vocalise(
    sounds: Sequence[Sound],
    phase: _Array,
    accents: Sequence[float],
    voice: Voice,
    seed: int,
) -> _Array:
    """Filter pulses and noise by spectra that change every 5 ms."""
    voicing, murmur, breath, noise = _smooth(_track([s[:4] for s in sounds], phase), 0.015)
    centre, spread = _track([s.band for s in sounds], phase) / voice.tract
    own = np.array([[s.formants is not None] for s in sounds]) + 1e-3
    places = [s.formants or (500, 1500, 2500) for s in sounds]
    weight = _track(own, phase)
    formants = _smooth(_track(places, phase) * weight, 0.07) / _smooth(weight, 0.07) / voice.tract

    length = len(phase) * _HOP
    time = (np.arange(length + _WINDOW) - _LEAD) / SAMPLE_RATE
    melody = 1.1 - 0.18 * time / time[-1]
    for accent in accents:
        melody += 0.1 * np.exp(-0.5 * ((time - accent - 0.08) / 0.07) ** 2)
    pulses = _pulses(voice.pitch * melody)
    hiss = np.random.default_rng(seed).standard_normal(length + _WINDOW)

    hertz = np.fft.rfftfreq(_SPECTRUM, 1 / SAMPLE_RATE)
    tilt = 1 / (1 + hertz / 500)  # glottis -12 dB, lips +6 dB per octave
    tract = np.ones((len(phase), len(hertz)), dtype=np.complex128)
    bandwidths = (70, 100, 150, 250, 350)
    higher = np.array([[3500], [4500]]) / voice.tract
    for frequency, width in zip([*formants, *higher], bandwidths, strict=True):
        tract *= _resonance(frequency[:, None], width, hertz)
    nose = 2 * _resonance(np.array([[250 / voice.tract]]), 100, hertz) / (1 + (hertz / 400) ** 2)
    band = np.exp(-0.5 * ((hertz - centre[:, None]) / spread[:, None]) ** 2)
    of_pulses = tilt * (voicing[:, None] * tract + murmur[:, None] * nose)
    aspiration = 0.12 * (breath + 0.3 * voice.breathiness * voicing)
    of_hiss = aspiration[:, None] * tract + 4 * noise[:, None] * band
    audio = _filter(pulses, of_pulses, hiss, of_hiss)[:length]
    audio *= 0.1 / max(math.sqrt(np.mean(audio**2)), 1e-4)
    audio /= max(np.abs(audio).max(), 1)
    return (np.round(audio * 32767) / 32768).astype(np.float32)


def _pulses(pitch: _Array) -> _Array:
    """Sum of cos(k * phase) for all harmonics below 7.2 kHz: glottal pulses without aliases."""
    phase = np.cumsum(2 * np.pi * pitch / SAMPLE_RATE)
    harmonics = int(0.45 * SAMPLE_RATE / pitch.max())
    sine = np.sin(phase / 2)
    safe = np.where(np.abs(sine) < 1e-6, 1.0, sine)
    pulses = np.sin((harmonics + 0.5) * phase) / (2 * safe) - 0.5
    pulses = np.where(np.abs(sine) < 1e-6, float(harmonics), pulses)
    return pulses / math.sqrt(harmonics / 2)  # an rms of 1


def _resonance(frequency: _Array, width: float, hertz: _Array) -> _Array:
    square = frequency**2
    return square / (square - hertz**2 + 1j * width * hertz)


def _filter(
    pulses: _Array,
    of_pulses: _Array,
    hiss: _Array,
    of_hiss: _Array,
) -> _Array:
    """Overlap and add: causal filters (S, F), cross-faded, that may ring into the next steps."""
    steps = len(of_pulses)
    window = np.hanning(_WINDOW + 1)[:-1] * 2 * _HOP / _WINDOW
    spectrum = np.zeros_like(of_pulses)
    for source, response in ((pulses, of_pulses), (hiss, of_hiss)):
        view = np.lib.stride_tricks.sliding_window_view(source, _WINDOW)[::_HOP][:steps]
        spectrum += np.fft.rfft(view * window, _SPECTRUM) * response
    pieces = np.fft.irfft(spectrum, _SPECTRUM).reshape(steps, -1, _HOP)
    audio = np.zeros((steps + pieces.shape[1], _HOP))
    for part in range(pieces.shape[1]):
        audio[part : part + steps] += pieces[:, part]
    return audio.reshape(-1)[_LEAD:]
