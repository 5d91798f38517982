"""Speech from a source and a filter, with the movement of the mouth that belongs to it.

A string of phonemes becomes targets over time: formants, voicing, noise, articulation. Neighbours
blend by dominance, so a vowel lends its lips to the consonants that do not need theirs. Sound and
mouth have one time line, so they are in sync by construction.

Coarticulation after Cohen and Massaro, "Modeling Coarticulation in Synthetic Visual Speech" (1993).
"""

import itertools
import math
import random
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
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
    duration,
    viseme,
)
from talkingface.data.synthetic.vocal_tract import HOP, Array, Voice, smooth, track, vocalise

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

_STEPS = SAMPLES_PER_FRAME // HOP


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
        ValueError: if a character is no phoneme, or pitch, tract or rate are not positive.

    Example:
        >>> speech = speak(pronounce("seven sheep"), Voice(pitch=120))
        >>> len(speech.audio) == len(speech.articulation) * 640, speech.viseme[0].item()
        (True, 0)
    """
    if not min(voice.pitch, voice.tract, voice.rate) > 0:
        raise ValueError(f"pitch, tract and rate of a voice must be positive, got {voice}")
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
    seconds = (np.arange(frames * _STEPS) + 0.5) * HOP / SAMPLE_RATE
    phase = np.searchsorted(ends, seconds, side="right")

    closed = [
        (start, start + viseme(phoneme).seconds[0] / voice.rate)
        for (start, _), phoneme in zip(spans, phonemes, strict=True)
        if VISEMES[phoneme] == LIPS_CLOSED
    ]
    mouth = _mouth(
        track([visemes[number].mouth for number in owner], phase),
        track([visemes[number].dominance for number in owner], phase),
        seconds,
        closed,
    )
    accents = [
        start
        for (start, _), phoneme, before in zip(spans, phonemes, " " + phonemes, strict=False)
        if phoneme in VOWELS and before not in VOWELS
    ]
    seed = zlib.crc32(f"{phonemes}{voice}".encode())  # noise of its own
    audio = vocalise(sounds, phase, accents, voice, seed)
    middle = mouth.reshape(6, frames, _STEPS)[..., _STEPS // 2 - 1 : _STEPS // 2 + 1].mean(-1)
    classes = np.array([VISEMES[phoneme] for phoneme in phonemes + " "])[owner[phase]]
    return Speech(
        torch.from_numpy(audio),
        torch.from_numpy(middle.T.clip(0, 1).astype(np.float32)),
        torch.from_numpy(classes[_STEPS // 2 :: _STEPS].astype(np.int64)),
        spans,
    )


def _mouth(
    target: Array, weight: Array, seconds: Array, closed: Sequence[tuple[float, float]]
) -> Array:
    """Blend the targets (6, S); where lips close they do so in time, whatever is around them."""
    # Lips round and spread long before the sound that needs it; the rest is quicker.
    mouth = np.concatenate(
        [
            smooth(target[part] * weight[part], width) / smooth(weight[part], width)
            for part, width in ((slice(0, 1), 0.12), (slice(1, 3), 0.2), (slice(3, 6), 0.12))
        ]
    )
    if closed:
        start, end = np.array(closed).T[..., None]
        away = np.maximum(start - seconds, seconds - end).clip(0).min(0)
        contact = 0.5 + 0.5 * np.cos(np.pi * (away / 0.05).clip(0, 1))
        for name in ("opening", "teeth", "tongue"):
            mouth[ARTICULATION.index(name)] *= 1 - contact
        press = ARTICULATION.index("press")
        mouth[press] = np.maximum(mouth[press], contact)
    return mouth
