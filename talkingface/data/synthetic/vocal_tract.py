"""The voice: pulses and noise, filtered by a vocal tract that moves.

After Klatt, "Software for a Cascade/Parallel Formant Synthesizer" (1980).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from talkingface.data.batch import SAMPLE_RATE
from talkingface.data.synthetic.phonemes import Sound

HOP = 80
"""Samples per step of the tracks: 5 ms, 8 steps per frame."""

_WINDOW = 160  # samples under one filter, half of them shared with the next
_LEAD = (_WINDOW - HOP) // 2  # samples from a window's start to its step's: one centre for both
_SPECTRUM = 560  # samples of a transform: a filter may ring for the difference

# numpy, not torch: its sums do not depend on the number of threads.
Array = NDArray[Any]


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


def track(rows: Sequence[Sequence[float]] | Array, phase: Array) -> Array:
    """Values (C, S) of each step's phase."""
    return np.asarray(rows, dtype=np.float64)[phase].T


def smooth(tracks: Array, seconds: float) -> Array:
    """Average each track (C, S) under a Hann window of this length; the ends are held."""
    taps = 2 * round(seconds * SAMPLE_RATE / HOP / 2) + 1
    kernel = np.hanning(taps + 2)[1:-1]
    padded = np.pad(tracks, ((0, 0), (taps // 2, taps // 2)), mode="edge")
    return np.stack([np.convolve(row, kernel / kernel.sum(), mode="valid") for row in padded])


def vocalise(
    sounds: Sequence[Sound],
    phase: Array,
    accents: Sequence[float],
    voice: Voice,
    seed: int,
) -> Array:
    """Filter pulses and noise by spectra that change every 5 ms."""
    loudness = smooth(track([s[:4] for s in sounds], phase), 0.015)
    voicing, murmur, breath, noise = loudness.astype(np.float32)[..., None]
    bands = track([s.band for s in sounds], phase) / voice.tract
    centre, spread = bands.astype(np.float32)[..., None]
    own = np.array([[s.formants is not None] for s in sounds]) + 1e-3
    places = [s.formants or (500, 1500, 2500) for s in sounds]
    weight = track(own, phase)
    formants = smooth(track(places, phase) * weight, 0.1) / smooth(weight, 0.1) / voice.tract

    length = len(phase) * HOP
    time = (np.arange(length + _WINDOW) - _LEAD) / SAMPLE_RATE
    melody = 1.1 - 0.18 * time / time[-1]
    for accent in accents:
        melody += 0.1 * np.exp(-0.5 * ((time - accent - 0.08) / 0.07) ** 2)
    pulses = _pulses(voice.pitch * melody)
    hiss = np.random.default_rng(seed).standard_normal(length + _WINDOW, dtype=np.float32)

    hertz = np.fft.rfftfreq(_SPECTRUM, 1 / SAMPLE_RATE).astype(np.float32)
    tilt = 1 / (1 + hertz / 500)  # glottis -12 dB, lips +6 dB per octave
    higher = np.arange(3500, 8000, 1000, dtype=np.float32) / voice.tract  # of a plain tube
    tract = _resonances(formants, (70, 100, 150), hertz)
    tract *= _resonances(higher[:, None], (300,) * len(higher), hertz)
    nose = 2 * _resonances(np.full((1, 1), 250 / voice.tract), (100,), hertz)
    nose /= 1 + (hertz / 400) ** 2
    band = np.exp(-0.5 * ((hertz - centre) / spread) ** 2)
    of_pulses = tilt * (voicing * tract + murmur * nose)
    damping = hertz / (hertz + 1000)  # an open glottis swallows the first formant
    aspiration = 0.5 * (breath + 0.6 * voice.breathiness * voicing)
    of_hiss = aspiration * damping * tract + 4 * noise * band
    audio = _filter(pulses, of_pulses, hiss, of_hiss)[:length]
    audio *= 0.1 / max(math.sqrt(np.mean(audio**2)), 1e-4)
    audio /= max(np.abs(audio).max(), 1)
    return (np.round(audio * 32767) / 32768).astype(np.float32)


def _pulses(pitch: Array) -> Array:
    """Sum of cos(k * phase) for all harmonics below 7.2 kHz: glottal pulses without aliases."""
    phase = np.cumsum(2 * np.pi * pitch / SAMPLE_RATE)
    harmonics = int(0.45 * SAMPLE_RATE / pitch.max())
    sine = np.sin(phase / 2)
    safe = np.where(np.abs(sine) < 1e-6, 1.0, sine)
    pulses = np.sin((harmonics + 0.5) * phase) / (2 * safe) - 0.5
    pulses = np.where(np.abs(sine) < 1e-6, float(harmonics), pulses)
    return (pulses / math.sqrt(harmonics / 2)).astype(np.float32)  # an rms of 1


def _resonances(frequencies: Array, widths: Sequence[float], hertz: Array) -> Array:
    """Response (S, F) of resonances (R, S), one after the other; each is 1 at 0 Hz."""
    response = np.ones(1, dtype=np.complex64)
    for frequency, width in zip(frequencies.astype(np.float32), widths, strict=True):
        ratio = hertz / frequency[:, None]
        response = response * (1 - ratio**2 + 1j * ratio * (width / frequency[:, None]))
    return 1 / response


def _filter(pulses: Array, of_pulses: Array, hiss: Array, of_hiss: Array) -> Array:
    """Overlap and add: causal filters (S, F), cross-faded, that may ring into the next steps."""
    steps = len(of_pulses)
    window = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    spectrum = np.zeros_like(of_pulses)
    for source, response in ((pulses, of_pulses), (hiss, of_hiss)):
        view = np.lib.stride_tricks.sliding_window_view(source, _WINDOW)[::HOP][:steps]
        spectrum += np.fft.rfft(view * window, _SPECTRUM) * response
    pieces = np.fft.irfft(spectrum, _SPECTRUM).reshape(steps, -1, HOP)
    audio = np.zeros((steps + pieces.shape[1], HOP))
    for part in range(pieces.shape[1]):
        audio[part : part + steps] += pieces[:, part]
    return audio.reshape(-1)[_LEAD:]
