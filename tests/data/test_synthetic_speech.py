"""Speech of the drawn corpus: what is heard and what is seen belong together."""

import hashlib
import itertools
import math
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, max_pool1d

from talkingface.data.synthetic.phonemes import SOUNDS, viseme
from talkingface.data.synthetic.speech import (
    ARTICULATION,
    HOMOPHENES,
    PHONEMES,
    VISEMES,
    VOWELS,
    WORDS,
    Voice,
    add_noise,
    duration,
    locate,
    pronounce,
    random_sentence,
    sample_voice,
    speak,
)

MAN = Voice(pitch=100.0, tract=1.0, breathiness=0.1, rate=1.0)
EXAMPLE = Path(__file__).parents[2] / "examples" / "classify_speech.py"


def spectrum(audio: Tensor, smoothing: int = 51) -> tuple[Tensor, Tensor]:
    """Power of the middle half second, smoothed over so many bins of 2 Hz, and its frequencies."""
    middle = audio[len(audio) // 2 - 4000 : len(audio) // 2 + 4000]
    power = torch.fft.rfft(middle * torch.hann_window(8000)).abs().square()
    smooth = avg_pool1d(power[None], smoothing, stride=1, padding=smoothing // 2)[0]
    return smooth, torch.fft.rfftfreq(8000, 1 / 16000)


def peak(audio: Tensor, low: float, high: float) -> float:
    power, hertz = spectrum(audio)
    band = (hertz >= low) & (hertz <= high)
    return hertz[band][power[band].argmax()].item()


def loudness(audio: Tensor, above: float = 1e-3, below: float = 1e6) -> Tensor:
    """Rms of every 5 ms, of what lies between these frequencies; the edges are soft."""
    hertz = torch.fft.rfftfreq(len(audio), 1 / 16000)
    gain = 1 / (1 + (above / hertz.clamp_min(1)) ** 4) / (1 + (hertz / below) ** 4)
    filtered = torch.fft.irfft(torch.fft.rfft(audio) * gain, len(audio))
    return filtered.view(-1, 80).square().mean(1).sqrt()


@pytest.mark.parametrize(
    ("vowel", "first", "second"),  # men's averages, Peterson and Barney (1952), table II
    [("A", 730, 1090), ("i", 270, 2290), ("{", 660, 1720), ("u", 300, 870), ("3", 490, 1350)],
)
def test_vowels_have_their_formants(vowel: str, first: float, second: float) -> None:
    audio = speak(vowel * 8, MAN).audio
    assert peak(audio, 150, first + 150) == pytest.approx(first, abs=80)
    assert peak(audio, second - 200, second + 200) == pytest.approx(second, abs=110)


def test_a_short_tract_raises_the_formants() -> None:
    short = speak("A" * 8, MAN._replace(tract=0.8)).audio
    assert peak(short, 150, 1100) == pytest.approx(730 / 0.8, abs=80)


@pytest.mark.parametrize("pitch", [100.0, 200.0])
def test_pitch_is_the_voice_s_and_falls(pitch: float) -> None:
    audio = speak("A" * 8, MAN._replace(pitch=pitch)).audio

    def measured(start: int) -> float:
        part, lags = audio[start : start + 3000], range(50, 230)  # 70 to 320 Hz
        likeness = torch.stack([(part[:-lag] * part[lag:]).sum() / (3000 - lag) for lag in lags])
        return 16000 / lags[int(likeness.argmax())]

    assert measured(8000) == pytest.approx(pitch, rel=0.05)
    assert measured(3000) > 1.03 * measured(17000)


def test_a_breathy_voice_is_noisier_between_its_pulses() -> None:
    clear, breathy = (
        loudness(speak("A" * 8, MAN._replace(breathiness=b)).audio, above=5000).quantile(0.2)
        for b in (0.0, 1.0)
    )
    assert breathy > 2 * clear


def test_a_faster_voice_takes_less_time() -> None:
    assert duration("mVD3", rate=2.0) == pytest.approx(duration("mVD3") / 2)
    speech = speak("mVD3", MAN._replace(rate=2.0))
    assert speech.spans[-1][1] == pytest.approx(duration("mVD3") / 2)
    assert len(speech.articulation) == math.ceil(duration("mVD3") / 2 * 25)


@pytest.mark.parametrize(("fricative", "hertz"), [("s", 6000), ("S", 3200)])
def test_fricatives_are_bands_of_noise(fricative: str, hertz: float) -> None:
    power, frequencies = spectrum(speak(fricative * 12, MAN).audio)
    assert (power * frequencies).sum() / power.sum() == pytest.approx(hertz, rel=0.1)


@pytest.mark.parametrize(("voiceless", "voiced", "nasal"), ["pbm", "tdn", "kgN"])
def test_plosives_and_nasals_sound_different(voiceless: str, voiced: str, nasal: str) -> None:
    closures, releases = [], []
    for consonant in (voiceless, voiced, nasal):
        audio, _, _, spans = speak(f" A{consonant}A ", MAN)
        start, end = spans[2]
        closed = start + viseme(consonant).seconds[0]
        loud, low = loudness(audio) / loudness(audio).max(), loudness(audio, below=300)
        closures.append(loud[round(200 * (start + 0.02)) : round(200 * (closed - 0.01))].mean())
        release = slice(round(200 * (closed + 0.01)), round(200 * end) - 1)
        releases.append(low[release].mean() / low.max())
    silence, bar, murmur = closures
    assert silence < 0.01 and 0.02 < bar and 2 * bar < murmur
    assert releases[0] < 0.5 * releases[1]  # aspiration: the voice sets in later
    assert releases[0] < 0.5 * releases[2]


def test_silence_is_silent() -> None:
    speech = speak("   ", MAN)
    assert len(speech.audio) == math.ceil(3 * duration(" ") * 25) * 640
    assert not speech.audio.any() and not speech.articulation.any() and not speech.viseme.any()
    nothing = speak("", MAN)
    assert nothing.audio.shape == (0,) and nothing.articulation.shape == (0, 6)
    assert nothing.viseme.shape == (0,) and nothing.spans == ()


def test_levels_are_those_of_16_bit_sound() -> None:
    for seed in range(3):
        audio = speak(pronounce(" ".join(random_sentence(seed, 4.0))), sample_voice(seed)).audio
        assert 0.08 < audio.square().mean().sqrt() < 0.1001 and audio.abs().max() <= 1
        assert torch.equal(audio * 32768, (audio * 32768).round())


@pytest.mark.parametrize("phoneme", PHONEMES)
def test_tracks_are_of_one_length(phoneme: str) -> None:
    assert len(SOUNDS[phoneme]) == len(viseme(phoneme).seconds)
    speech = speak(f"A{phoneme}", MAN)
    frames = math.ceil(duration(f"A{phoneme}") * 25 - 1e-6)
    assert speech.audio.shape == (frames * 640,) and speech.viseme.shape == (frames,)
    assert speech.articulation.shape == (frames, len(ARTICULATION))
    assert speech.articulation.min() >= 0 and speech.articulation.max() <= 1
    assert speech.spans[0][0] == 0 and speech.spans[0][1] == speech.spans[1][0]
    middles = (torch.arange(frames) + 0.5) / 25
    for (start, end), symbol in zip(speech.spans, f"A{phoneme}", strict=True):
        inside = (middles > start) & (middles < end)
        assert (speech.viseme[inside] == VISEMES[symbol]).all()


# --- sound and picture


@pytest.mark.parametrize("rate", [0.85, 1.0, 1.15])
@pytest.mark.parametrize("vowel", "Aie")
@pytest.mark.parametrize("consonant", "pbm")
def test_the_mouth_opens_in_the_frame_of_the_release(
    consonant: str, vowel: str, rate: float
) -> None:
    audio, articulation, *_ = speak(f" {vowel}{consonant}{vowel} ", MAN._replace(rate=rate))
    opening, press = articulation[:, 0], articulation[:, 3]
    # Behind closed lips only the voice's lowest harmonics are heard.
    high = max_pool1d(loudness(audio, above=1000)[None], 3, stride=1, padding=1)[0]  # a period
    closed = high < 0.04 * high.max()
    middle = len(closed) // 2
    quiet = [step for step in range(len(closed)) if closed[step] and abs(step - middle) < 20]
    assert len(quiet) >= 6
    stopped, released = quiet[0] // 8, (quiet[-1] + 1) // 8  # frames
    assert press.max() > 0.95 and opening[press.argmax()] < 0.02
    shut = (opening < 0.02).nonzero().flatten()
    shut = shut[(shut - len(opening) / 2).abs() < 4]
    assert abs(int(shut[-1]) + 1 - released) <= 1
    assert abs(int(shut[0]) - stopped) <= 1


def test_loudness_follows_the_mouth() -> None:
    for seed in range(4):
        audio, articulation, *_ = speak(
            pronounce(" ".join(random_sentence(seed, 4.0))), sample_voice(seed)
        )
        frames = audio.view(-1, 640).square().mean(1).sqrt()
        lags = range(-4, 5)
        likeness = [
            torch.corrcoef(torch.stack([frames[4:-4], articulation[:, 0].roll(lag)[4:-4]]))[0, 1]
            for lag in lags
        ]
        best = int(torch.stack(likeness).argmax())
        assert likeness[best] > 0.5 and abs(lags[best]) <= 1


def test_visemes_have_their_mouths() -> None:
    def mouth(phonemes: str, at: int) -> dict[str, float]:
        speech = speak(phonemes, MAN)
        frame = int(sum(speech.spans[at]) / 2 * 25)
        return dict(zip(ARTICULATION, speech.articulation[frame].tolist(), strict=True))

    f, dental, hiss = mouth("AfA", 1), mouth("ATA", 1), mouth("ASA", 1)
    assert f["teeth"] > 0.8 and 0.4 < f["press"] < 0.7 and f["opening"] < 0.3
    assert dental["tongue"] > 0.8 and dental["teeth"] > 0.5
    assert hiss["rounding"] > 0.6 and hiss["teeth"] > 0.8
    lateral = mouth("AlA", 1)
    assert lateral["tongue"] > 0.6 and lateral["opening"] > 0.4
    assert mouth("AAA", 1)["opening"] > 0.95 and mouth("iii", 1)["width"] > 0.95
    # Neighbours lend their lips to a consonant that does not need its own.
    assert mouth("utu", 1)["rounding"] > mouth("ATA", 1)["rounding"] + 0.5


# --- words


def test_the_lexicon_is_large_enough() -> None:
    assert len(WORDS) >= 50
    said = set("".join(WORDS.values()))
    assert said == set(PHONEMES) - {" "} and len(said) >= 20
    assert len(VOWELS) == 10


def test_homophenes_look_exactly_alike_and_nothing_else_does() -> None:
    def track(word: str) -> Tensor:
        return speak(pronounce(word), MAN).articulation

    group_of = {word: group for group in HOMOPHENES for word in group}
    looks = {group_of.get(word, (word,)) for word in WORDS}
    assert ("pat", "bat", "mat") in looks
    assert 0.7 < len(looks) / len(WORDS) < 0.82  # what a perfect lip reader gets right
    for group in HOMOPHENES:
        first, *others = (speak(pronounce(word), MAN) for word in group)
        for other in others:
            assert torch.equal(first.articulation, other.articulation)
            assert torch.equal(first.viseme, other.viseme)
            assert (first.audio - other.audio).square().mean().sqrt() > 0.01
    tracks = [track(look[0]) for look in looks]
    for one, another in itertools.combinations(tracks, 2):
        assert len(one) != len(another) or (one - another).abs().max() > 0.3


def test_sentences_fill_their_time() -> None:
    sentences = [random_sentence(seed, 4.0, rate=1.1) for seed in range(60)]
    assert len(set(sentences)) == 60
    for words in sentences:
        assert 3.2 < duration(pronounce(" ".join(words)), rate=1.1) <= 4.0
    assert {word for words in sentences for word in words} == set(WORDS)
    assert random_sentence(0, 0.1) == () and pronounce("") == ""


def test_words_are_found_where_they_are_said() -> None:
    words = ("seven", "sheep")
    audio, _, _, spans = speak(pronounce("Seven sheep"), MAN)
    (_, start, end), (_, later, _) = located = locate(words, spans)
    assert tuple(word for word, *_ in located) == words
    assert start == pytest.approx(duration(" "))
    assert end - start == pytest.approx(duration(WORDS["seven"]))
    assert later == pytest.approx(end + duration(" "))
    assert loudness(audio)[round(200 * (end + 0.04)) : round(200 * (later - 0.04))].max() < 0.01


@pytest.mark.parametrize("snr", [0.0, 20.0])
def test_noise_has_its_level(snr: float) -> None:
    audio = speak(pronounce("window"), MAN).audio
    noise = add_noise(audio, snr, seed=1) - audio
    assert 10 * torch.log10(audio.square().mean() / noise.square().mean()) == pytest.approx(
        snr, abs=0.01
    )
    assert torch.equal(add_noise(audio, snr, 1), add_noise(audio, snr, 1))
    assert not torch.equal(add_noise(audio, snr, 1), add_noise(audio, snr, 2))


def test_the_nearest_is_suggested() -> None:
    with pytest.raises(ValueError, match=r"no word 'ship' in the lexicon; nearest are .*sheep"):
        pronounce("two ship")
    with pytest.raises(ValueError, match="no phoneme 'a', nearest is 'A'"):
        speak("mama", MAN)
    with pytest.raises(ValueError, match="no phoneme '!'; known are"):
        speak("A!", MAN)
    with pytest.raises(ValueError, match="must be positive"):
        speak("A", MAN._replace(rate=0.0))


# --- repeatable


DIGEST = """
import hashlib, sys, torch
from talkingface.data.synthetic.speech import *
torch.set_num_threads(int(sys.argv[1]))
voice = sample_voice(5)
speech = speak(pronounce(" ".join(random_sentence(5, 4.0, voice.rate))), voice)
tracks = speech.audio, speech.articulation, speech.viseme, add_noise(speech.audio, 20.0, 5)
digest = hashlib.sha256(b"".join(t.numpy().tobytes() for t in tracks)).hexdigest()
"""


def test_the_same_bytes_in_another_process_with_other_threads() -> None:
    script = DIGEST + "print(digest)"
    threads = torch.get_num_threads()
    state = torch.random.get_rng_state()
    here: dict[str, str] = {}
    sys_argv, sys.argv = sys.argv, ["", "1"]
    try:
        exec(DIGEST, here)
    finally:
        sys.argv = sys_argv
        torch.set_num_threads(threads)
    there = subprocess.run(
        [sys.executable, "-c", script, "2"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert here["digest"] == there and len(there) == 2 * hashlib.sha256().digest_size
    assert torch.equal(state, torch.random.get_rng_state())


def test_voices_are_drawn_from_their_ranges() -> None:
    voices = [sample_voice(seed) for seed in range(300)]
    assert len(set(voices)) == 300 and sample_voice(7) == sample_voice(7)
    columns = dict(zip(Voice._fields, zip(*voices, strict=True), strict=True))
    ranges = {"pitch": (85, 230), "tract": (0.82, 1.06), "breathiness": (0, 0.4)}
    for name, (low, high) in (ranges | {"rate": (0.85, 1.15)}).items():
        assert low <= min(columns[name]) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(columns[name]) <= high


def test_the_classification_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--voices", "40", "--unseen", "8", "--seconds", "6", "--noise-db", "20"]
    monkeypatch.setattr(sys, "argv", ["classify_speech.py", *arguments])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    scores = {
        line[:18].strip(): float(line[18:].split("%")[0]) / 100
        for line in lines
        if line.startswith(("vowels from", "words from"))
    }
    assert scores["vowels from sound"] > 0.9
    assert scores["words from sound"] > 0.8
    assert 0.5 < scores["words from lips"] < 0.95
