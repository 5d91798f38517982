"""Classify the synthetic corpus' vowels and words from sound, and its words from the lips' track.

Only linear models, and only voices that they have not heard: what they reach is the least that
sound and picture hold. Lips alone cannot tell homophenes apart, so they have a ceiling.

python examples/classify_speech.py --voices 200 --noise-db 20
"""

import argparse
from collections import Counter
from typing import NamedTuple

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from talkingface.data.batch import FPS, SAMPLE_RATE
from talkingface.data.synthetic.speech import (
    HOMOPHENES,
    VOWELS,
    WORDS,
    add_noise,
    locate,
    pronounce,
    random_sentence,
    sample_voice,
    speak,
)
from talkingface.models.components.audio_frontends import PCAVSMel

STEPS = 8  # of a word, however long it is


class Examples(NamedTuple):
    """Features and labels: of vowels in mel, of words in mel and in lips."""

    vowels: np.ndarray
    vowel_labels: list[str]
    sounds: np.ndarray
    lips: np.ndarray
    words: list[str]


def stretch(track: torch.Tensor, start: float, end: float) -> torch.Tensor:
    """Read a (T, D) track at `STEPS` places from ``start`` to ``end``, both counted in rows."""
    at = torch.linspace(start, end, STEPS).clamp(0, len(track) - 1)
    below = at.floor().long().clamp(max=len(track) - 2)
    return torch.lerp(track[below], track[below + 1], (at - below)[:, None]).flatten()


def collect(voices: range, seconds: float, noise_db: float | None) -> Examples:
    """Let every voice say a sentence of its own."""
    mel_of = PCAVSMel()
    rows: dict[str, list] = {name: [] for name in Examples._fields}
    for number in voices:
        voice = sample_voice(number)
        words = random_sentence(number, seconds, voice.rate)
        phonemes = pronounce(" ".join(words))
        speech = speak(phonemes, voice)
        audio = speech.audio if noise_db is None else add_noise(speech.audio, noise_db, number)
        mel = mel_of.utterance(audio, 1.0)
        # Bin m covers the 1280 samples that end at sample 160 (m + 1).
        bins, first = SAMPLE_RATE / mel_of.hop, mel_of.frame / 2 / mel_of.hop - 1
        for phoneme, (start, end) in zip(phonemes, speech.spans, strict=True):
            if phoneme in VOWELS:
                rows["vowels"].append(mel[round((start + end) / 2 * bins + first)])
                rows["vowel_labels"].append(phoneme)
        for word, start, end in locate(words, speech.spans):
            rows["sounds"].append(stretch(mel, start * bins + first, end * bins + first))
            rows["lips"].append(stretch(speech.articulation, start * FPS - 0.5, end * FPS - 0.5))
            rows["words"].append(word)
    stacked = {n: torch.stack(rows[n]).numpy() for n in ("vowels", "sounds", "lips")}
    return Examples(**rows | stacked)


def look(word: str) -> str:
    """The first of the words that look like this one."""
    return next((group[0] for group in HOMOPHENES if word in group), word)


def main() -> None:
    """Collect, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voices", type=int, default=200, help="heard in training")
    parser.add_argument("--unseen", type=int, default=60, help="voices to test on")
    parser.add_argument("--seconds", type=float, default=6.0, help="said by each voice")
    parser.add_argument("--noise-db", type=float, help="signal-to-noise ratio; default: no noise")
    arguments = parser.parse_args()

    train = collect(range(arguments.voices), arguments.seconds, arguments.noise_db)
    unseen = range(1_000_000, 1_000_000 + arguments.unseen)
    test = collect(unseen, arguments.seconds, arguments.noise_db)

    for feature, label in (("vowels", "vowel_labels"), ("sounds", "words"), ("lips", "words")):
        classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
        classifier.fit(getattr(train, feature), getattr(train, label))
        truth, said = getattr(test, label), classifier.predict(getattr(test, feature))
        wrong = Counter((a, b) for a, b in zip(truth, said, strict=True) if a != b)
        outside = sum(count for (a, b), count in wrong.items() if look(a) != look(b))
        kind = f"{label.split('_')[0].rstrip('s')}s from {'lips' if feature == 'lips' else 'sound'}"
        print(f"{kind:<18} {1 - wrong.total() / len(truth):7.1%}  of {len(truth)}")
        if label == "words":
            print(f"  confused outside homophene groups: {outside / len(truth):.1%}")
        print("  most confused:", *(f"{a}>{b} ({count})" for (a, b), count in wrong.most_common(6)))
    looks = len({look(word) for word in WORDS})
    print(f"a perfect lip reader: {looks} looks / {len(WORDS)} words = {looks / len(WORDS):.1%}")
    for group in HOMOPHENES:
        print("  alike:", *group)


if __name__ == "__main__":
    main()
