"""Words that the drawn people say."""

import difflib
import random
from collections import defaultdict
from collections.abc import Sequence

from talkingface.data.synthetic.phonemes import VISEMES, duration

WORDS: dict[str, str] = {
    # Homophenes: alike to the eye.
    **{"pat": "p{t", "bat": "b{t", "mat": "m{t"},
    **{"cheap": "Cip", "jeep": "Jip", "sheep": "Sip"},
    **{"park": "pArk", "bark": "bArk", "mark": "mArk"},
    **{"rope": "rOUp", "robe": "rOUb", "roam": "rOUm"},
    **{"fan": "f{n", "van": "v{n"},
    **{"coat": "kOUt", "goat": "gOUt"},
    **{"seal": "sil", "zeal": "zil"},
    **{"ten": "ten", "den": "den"},
    **{"cup": "kVp", "gum": "gVm"},
    **{"shoe": "Su", "chew": "Cu"},
    # Words that look like no other.
    **{"two": "tu", "three": "Tri", "four": "fOr", "five": "fAIv", "six": "sIks"},
    **{"seven": "sevVn", "eight": "eIt", "nine": "nAIn", "zero": "zIrOU"},
    **{"father": "fAD3", "mother": "mVD3", "weather": "weD3", "girl": "g3l", "baby": "beIbi"},
    **{"family": "f{mVli", "people": "pipVl", "queen": "kwin", "hello": "helOU"},
    **{"fish": "fIS", "wash": "wOS", "church": "C3C", "shower": "SAU3", "thirsty": "T3sti"},
    **{"orange": "OrInJ", "measure": "meZ3", "lemon": "lemVn", "coffee": "kOfi"},
    **{"love": "lVv", "leaf": "lif", "tooth": "tuT", "thumb": "TVm", "breath": "breT"},
    **{"silver": "sIlv3", "river": "rIv3", "summer": "sVm3", "morning": "mOrnIN"},
    **{"music": "muzIk", "swim": "swIm", "window": "wIndOU", "world": "w3ld"},
}
"""Spelling and phonemes of every word."""


def _homophenes() -> tuple[tuple[str, ...], ...]:
    looks: defaultdict[tuple[int, ...], list[str]] = defaultdict(list)
    for word, phonemes in WORDS.items():
        looks[tuple(VISEMES[phoneme] for phoneme in phonemes)].append(word)
    return tuple(tuple(group) for group in looks.values() if len(group) > 1)


HOMOPHENES = _homophenes()
"""Groups of words that look exactly alike; no other words do."""


def pronounce(text: str) -> str:
    """Spell a sentence in phonemes: a pause before, between and after the words.

    Raises:
        ValueError: if a word is not one of `WORDS`; the nearest ones are named.

    Example:
        >>> pronounce("pat the goat".replace("the", "two"))
        ' p{t tu gOUt '
    """
    words = text.lower().split()
    for word in words:
        if word not in WORDS:
            near = difflib.get_close_matches(word, WORDS, cutoff=0.5) or sorted(WORDS)
            raise ValueError(f"no word {word!r} in the lexicon; nearest are {', '.join(near)}")
    return " ".join(["", *(WORDS[word] for word in words), ""]) if words else ""


def random_sentence(seed: int, seconds: float, rate: float = 1.0) -> tuple[str, ...]:
    """Draw words that fill at most ``seconds`` when spoken at this rate, with their pauses.

    Example:
        >>> words = random_sentence(0, 3.0)
        >>> set(words) <= set(WORDS), 2 < duration(pronounce(" ".join(words))) <= 3
        (True, True)
    """
    draw = random.Random(f"sentence {seed}")
    words: list[str] = []
    left = seconds - duration(" ", rate) - 1e-9  # sums of lengths are rounded
    while fitting := [word for word in WORDS if _time(word, rate) <= left]:
        words.append(draw.choice(fitting))
        left -= _time(words[-1], rate)
    return tuple(words)


def _time(word: str, rate: float) -> float:
    return duration(WORDS[word] + " ", rate)


def locate(
    words: Sequence[str], spans: Sequence[tuple[float, float]]
) -> tuple[tuple[str, float, float], ...]:
    """Find when each word of a sentence is said.

    Args:
        words: of the sentence.
        spans: start and end of each phoneme of ``pronounce(" ".join(words))`` in seconds.

    Returns:
        (word, start, end) of each.

    Example:
        >>> locate(["two"], [(0.0, 0.1), (0.1, 0.2), (0.2, 0.4), (0.4, 0.5)])
        (('two', 0.1, 0.4),)
    """
    located, at = [], 1
    for word in words:
        end = at + len(WORDS[word])
        located.append((word, spans[at][0], spans[end - 1][1]))
        at = end + 1
    return tuple(located)
