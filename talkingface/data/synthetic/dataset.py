"""Drawn people who speak, by number: a corpus that anyone can make anywhere."""

import random
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from talkingface.data.batch import FPS, SAMPLES_PER_FRAME
from talkingface.data.synthetic.clip import SyntheticClip
from talkingface.data.synthetic.face import express, sample_identity
from talkingface.data.synthetic.motion import sample_motion
from talkingface.data.synthetic.speech import (
    ARTICULATION,
    WORDS,
    Speech,
    Voice,
    add_noise,
    locate,
    pronounce,
    random_sentence,
    sample_voice,
    speak,
)

POPULATION = 1_000_000
"""People of a seed; person p of seed s is number ``s * POPULATION + p``, who is always the same."""
PEOPLE = {
    "train": range(0, 800_000),
    "val": range(800_000, 900_000),
    "test": range(900_000, 1_000_000),
}
"""The people of each split: no corpus, of any size or seed, trains on another's test people."""
WORD_FRAMES = 29
"""Frames of a clip of one word, as in LRW; the word is in its middle."""


def make_clip(
    person: int,
    take: int = 0,
    seconds: float = 4.0,
    words: tuple[str, ...] | None = None,
    noise_db: float | None = None,
    seed: int = 0,
    motion: float = 1.0,
) -> SyntheticClip:
    """Make a clip of someone saying a sentence.

    Head, eyes and brows move as `talkingface.data.synthetic.motion` says, whatever is said.

    Args:
        person: decides looks and voice, in [0, 1000000).
        take: with the person, decides the motion, and the words unless they are given.
        seconds: length, rounded to whole frames.
        words: what is said, of `talkingface.data.synthetic.speech.WORDS`; random words by default.
        noise_db: signal-to-noise ratio of background noise, in dB; none by default.
        seed: another million of people.
        motion: how far the head moves, see `talkingface.data.synthetic.motion.sample_motion`.

    Raises:
        ValueError: if a number is out of range, a word is unknown, or the words take longer.

    Example:
        >>> clip = make_clip(person=3, seconds=0.4)
        >>> clip.name, len(clip), clip.frames(size=32, indices=[0, 9]).shape
        ('id000003/00000', 10, torch.Size([2, 3, 32, 32]))
    """
    number = _number(person, take, seed)
    count = round(seconds * FPS)
    if count < 1:
        raise ValueError(f"seconds={seconds}: a clip has one frame ({1 / FPS} s) or more.")
    voice = sample_voice(number)
    if words is None:
        words = random_sentence(_take(number, take), count / FPS, voice.rate)
    speech, said = _say(words, voice)
    spare = count - len(speech.viseme)
    if spare < 0:
        needed = len(speech.viseme) / FPS
        raise ValueError(f"seconds={seconds}: {' '.join(words)!r} takes {needed} s; give as much.")
    lead = random.Random(f"lead {number} {take}").randint(0, spare)
    return _clip(number, take, speech, said, -lead, count, noise_db, motion)


def make_word_clip(
    person: int,
    take: int = 0,
    word: str | None = None,
    noise_db: float | None = None,
    seed: int = 0,
    motion: float = 1.0,
) -> SyntheticClip:
    """Make a clip like those of LRW: 29 frames with a word in the middle of other words.

    The middle of the word is within half a frame of the middle of the clip; its neighbours are
    random, and cut off by the clip's ends.

    Args:
        person: as for `make_clip`.
        take: as for `make_clip`; also decides the neighbours.
        word: of `talkingface.data.synthetic.speech.WORDS`; `choose_word` by default.
        noise_db: as for `make_clip`.
        seed: as for `make_clip`.
        motion: as for `make_clip`.

    Raises:
        ValueError: if a number is out of range, or the word is unknown or not one.

    Example:
        >>> clip = make_word_clip(person=3, word=next(iter(WORDS)))
        >>> len(clip), any(start < 0.58 < end for word, start, end in clip.words)
        (29, True)
    """
    number = _number(person, take, seed)
    word = choose_word(person, take, seed) if word is None else word
    if len(word.split()) != 1:
        raise ValueError(f"word={word!r}: give one word.")
    draw = random.Random(f"neighbours {number} {take}")
    before, after = (tuple(draw.choices(list(WORDS), k=2)) for _ in range(2))
    speech, said = _say((*before, word, *after), sample_voice(number))
    _, start, end = said[2]
    first = round((start + end) / 2 * FPS - WORD_FRAMES / 2)
    return _clip(number, take, speech, said, first, WORD_FRAMES, noise_db, motion)


def choose_word(person: int, take: int = 0, seed: int = 0) -> str:
    """The word of a word clip: everyone says all words, in an order of their own, again and again.

    Example:
        >>> len({choose_word(7, take) for take in range(len(WORDS))}) == len(WORDS)
        True
    """
    order = list(WORDS)
    random.Random(f"words {_number(person, take, seed)}").shuffle(order)
    return order[take % len(order)]


def _number(person: int, take: int, seed: int) -> int:
    for name, value, limit in (("person", person, POPULATION), ("take", take, POPULATION)):
        if not 0 <= value < limit:
            raise ValueError(f"{name}={value}: give a number from 0 to {limit - 1}.")
    if seed < 0:
        raise ValueError(f"seed={seed}: give 0 or more.")
    return seed * POPULATION + person


def _take(number: int, take: int) -> int:
    return number * POPULATION + take


def clip_name(person: int, take: int, seed: int = 0) -> str:
    """Name of a clip: ``id<number>/<take>``.

    Example:
        >>> clip_name(3, 12), clip_name(3, 12, seed=1)
        ('id000003/00012', 'id1000003/00012')
    """
    return f"id{_number(person, take, seed):06d}/{take:05d}"


def _say(words: Sequence[str], voice: Voice) -> tuple[Speech, tuple[tuple[str, float, float], ...]]:
    """Speech, and when each word begins and ends."""
    text = " ".join(words).lower()
    speech = speak(pronounce(text), voice)
    return speech, locate(text.split(), speech.spans)


def _clip(
    number: int,
    take: int,
    speech: Speech,
    said: Sequence[tuple[str, float, float]],
    first: int,
    count: int,
    noise_db: float | None,
    motion: float,
) -> SyntheticClip:
    """Cut ``count`` frames out of speech from frame ``first`` on; outside it, the mouth rests."""
    pose, columns = sample_motion(f"{number} {take}", count, motion)
    articulation = _cut(speech.articulation, first, count)
    expression = express(
        count, **dict(zip(ARTICULATION, articulation.unbind(1), strict=True)), **columns
    )
    audio = speech.audio.view(len(speech.viseme), SAMPLES_PER_FRAME)
    audio = _cut(audio, first, count).flatten()
    if noise_db is not None:
        audio = add_noise(audio, noise_db, _take(number, take))
    shift, length = first / FPS, count / FPS
    words = tuple(
        (word, max(start - shift, 0.0), min(end - shift, length))
        for word, start, end in said
        if end > shift and start < shift + length
    )
    person, seed = number % POPULATION, number // POPULATION
    return SyntheticClip(
        name=clip_name(person, take, seed),
        person=number,
        identity=sample_identity(number),
        pose=pose,
        expression=expression,
        audio=audio,
        viseme=_cut(speech.viseme, first, count),
        words=words,
    )


def _cut(track: Tensor, first: int, count: int) -> Tensor:
    """Rows ``first`` to ``first + count`` of a track, zero outside it."""
    cut = track.new_zeros(count, *track.shape[1:])
    inside = track[max(first, 0) : max(first + count, 0)]
    begin = max(-first, 0)
    cut[begin : begin + len(inside)] = inside
    return cut


def write_clips(
    folder: str | Path, count: int, seconds: float = 4.0, size: int = 96, seed: int = 0
) -> list[Path]:
    """Write a handful of clips, each of another person, and their labels beside them.

    Clip ``i`` is ``make_clip(seed + i)`` as ``000000.mp4``, named by its person. Corpora with a
    layout, splits and several processes: `talkingface.data.synthetic.writing.write_corpus`.

    Args:
        folder: made if it is not there.
        count: number of clips.
        seconds: length of each.
        size: height and width in pixels.
        seed: person of the first clip.

    Returns:
        The films' paths.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in write_clips(folder, count=2, seconds=0.2, size=32)]
        ['000000.mp4', '000001.mp4']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{person:06d}.mp4" for person in range(seed, seed + count)]
    for person, path in enumerate(paths, seed):
        make_clip(person, seconds=seconds).save(path, size)
    return paths
