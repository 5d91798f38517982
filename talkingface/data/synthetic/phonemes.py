"""The sounds of speech: how each looks, and how each is made.

A phoneme's look, its viseme, decides the mouth and the timing; its sound only fills that time.
So phonemes of one viseme look exactly alike, and words that differ in nothing else are homophenes.

Visemes after Fisher, "Confusions Among Visually Perceived Consonants" (1968); vowel formants are
men's averages of Peterson and Barney (1952), table II.
"""

from typing import NamedTuple

ARTICULATION = ("opening", "width", "rounding", "press", "teeth", "tongue")
"""Names of the columns of an articulation track, each in [0, 1]."""


class Viseme(NamedTuple):
    """What the mouth does for a class of phonemes that look alike."""

    name: str
    phonemes: str
    seconds: tuple[float, ...]  # lengths of its phases, e.g. closure, burst and release
    mouth: tuple[float, ...]  # ARTICULATION
    dominance: tuple[float, ...]  # weight of each of these against the neighbours'


class Sound(NamedTuple):
    """What is heard during one phase of a phoneme."""

    voicing: float = 0.0  # amplitude of the voice through the mouth
    murmur: float = 0.0  # amplitude of the voice through walls and nose
    breath: float = 0.0  # amplitude of noise made at the glottis
    noise: float = 0.0  # amplitude of noise made in the mouth
    band: tuple[float, float] = (3000.0, 1000.0)  # its centre and deviation in Hz
    formants: tuple[float, float, float] | None = None  # Hz, tract of length 1; None: neighbours'


_FREE = (0.05,) * 5  # takes the shape of its neighbours
_EVEN = (1.0,) * 6

_TABLE = (
    Viseme("rest", " ", (0.12,), (0.0, 0.0, 0.0, 0.0, 0.0, 0.0), _EVEN),
    # The lips' closure itself is timed by `speech.speak`, from the first phase.
    Viseme("lips closed", "pbm", (0.075, 0.01, 0.035), (0.3, 0.2, 0, 0, 0.2, 0), (1, *_FREE)),
    Viseme("lip to teeth", "fv", (0.12,), (0.08, 0.1, 0.0, 0.55, 0.95, 0.0), (6, 1, 0.5, 6, 6, 6)),
    Viseme("tongue to teeth", "TD", (0.11,), (0.25, 0.25, 0, 0, 0.7, 1.0), (4, 1, 0.5, 4, 4, 8)),
    Viseme(
        "tongue to ridge",
        "tdn",
        (0.06, 0.01, 0.03),
        (0.18, 0.35, 0, 0, 0.55, 0.4),
        (2.5, 0.2, 0.1, 2, 2, 2),
    ),
    Viseme("hiss", "sz", (0.12,), (0.12, 0.65, 0, 0, 1.0, 0), (4, 2, 1, 4, 5, 5)),
    Viseme("tongue raised", "l", (0.08,), (0.45, 0.3, 0, 0, 0.35, 0.85), (1.5, 0.4, 0.3, 2, 2, 6)),
    Viseme("rounded hiss", "SZCJ", (0.05, 0.08), (0.3, 0, 0.8, 0, 1.0, 0), (3, 2, 4, 4, 5, 4)),
    Viseme(
        "back",
        "kgNh",
        (0.06, 0.015, 0.035),
        (0.35, 0.2, 0, 0, 0.2, 0),
        (0.5, 0.1, 0.1, 1, 0.5, 0.5),
    ),
    Viseme("r", "r", (0.08,), (0.25, 0, 0.5, 0, 0.25, 0.2), (2, 1.5, 2, 2, 1.5, 2)),
    Viseme("w", "w", (0.09,), (0.08, 0, 1.0, 0, 0, 0), (5, 3, 6, 3, 3, 3)),
    Viseme("spread vowel", "iI", (0.16,), (0.28, 1.0, 0, 0, 0.75, 0), _EVEN),
    Viseme("wide vowel", "e{", (0.16,), (0.6, 0.65, 0, 0, 0.45, 0.15), _EVEN),
    Viseme("open vowel", "AV", (0.16,), (1.0, 0.25, 0, 0, 0.2, 0.1), _EVEN),
    Viseme("round vowel", "O", (0.16,), (0.7, 0, 0.65, 0, 0.05, 0), _EVEN),
    Viseme("tight vowel", "uU", (0.16,), (0.22, 0, 1.0, 0, 0, 0), _EVEN),
    Viseme("central vowel", "3", (0.16,), (0.4, 0.1, 0.3, 0, 0.3, 0.25), _EVEN),
)

VISEME_NAMES = tuple(viseme.name for viseme in _TABLE)
"""Names of the viseme classes; 0 is rest."""

VISEMES = {phoneme: number for number, viseme in enumerate(_TABLE) for phoneme in viseme.phonemes}
"""The viseme class of every phoneme."""

LIPS_CLOSED = VISEME_NAMES.index("lips closed")

_VOWELS = {
    "i": (270, 2290, 3010),
    "I": (390, 1990, 2550),
    "e": (530, 1840, 2480),
    "{": (660, 1720, 2410),
    "A": (730, 1090, 2440),
    "V": (640, 1190, 2390),
    "O": (570, 840, 2410),
    "U": (440, 1020, 2240),
    "u": (300, 870, 2240),
    "3": (490, 1350, 1690),
}

_PLACES = {  # where the tongue or the lips stop the air: formants, and the spectrum of the burst
    "p": ((250, 800, 2200), (900, 600)),
    "t": ((250, 1750, 2700), (4500, 1200)),
    "k": ((250, 1900, 2300), (2000, 500)),
}


def _stop(place: str) -> tuple[Sound, ...]:
    """Silence, burst, breath: the voice sets in when the phoneme is over."""
    formants, band = _PLACES[place]
    burst = Sound(noise=0.5, breath=0.3, band=band, formants=formants)
    return Sound(formants=formants), burst, Sound(breath=1.0)


def _voiced_stop(place: str) -> tuple[Sound, ...]:
    """Voice behind the closure, a weaker burst, and voice at once."""
    formants, band = _PLACES[place]
    burst = Sound(voicing=0.4, noise=0.25, band=band, formants=formants)
    return Sound(murmur=0.35, formants=formants), burst, Sound(voicing=0.9)


def _nasal(place: str) -> tuple[Sound, ...]:
    """Voice through the nose, with no burst."""
    hum = Sound(voicing=0.12, murmur=1.0, formants=_PLACES[place][0])
    return hum, hum, Sound(voicing=0.9, murmur=0.3)


def _hiss(
    phases: int, band: tuple[float, float], loudness: float, voiced: bool, second: float
) -> tuple[Sound, ...]:
    voicing, murmur = (0.25, 0.5) if voiced else (0.0, 0.0)
    noise = loudness * (0.5 if voiced else 1.0)
    return (Sound(voicing, murmur, 0.0, noise, band, (350, second, 2600)),) * phases


def _affricate(voiced: bool) -> tuple[Sound, ...]:
    closure = Sound(murmur=0.35 if voiced else 0.0, formants=(250, 1750, 2700))
    return closure, *_hiss(1, (3200, 800), 0.4, voiced, 1800)


def _approximant(formants: tuple[float, float, float], loudness: float) -> tuple[Sound, ...]:
    return (Sound(voicing=loudness, formants=formants),)


SOUNDS: dict[str, tuple[Sound, ...]] = {
    " ": (Sound(),),
    "p": _stop("p"),
    "b": _voiced_stop("p"),
    "m": _nasal("p"),
    "f": _hiss(1, (5000, 3000), 0.05, False, 1000),
    "v": _hiss(1, (5000, 3000), 0.05, True, 1000),
    "T": _hiss(1, (6500, 1500), 0.04, False, 1500),
    "D": _hiss(1, (6500, 1500), 0.04, True, 1500),
    "t": _stop("t"),
    "d": _voiced_stop("t"),
    "n": _nasal("t"),
    "s": _hiss(1, (6000, 900), 0.4, False, 1700),
    "z": _hiss(1, (6000, 900), 0.4, True, 1700),
    "l": _approximant((340, 1150, 2700), 0.6),
    "S": _hiss(2, (3200, 800), 0.4, False, 1800),
    "Z": _hiss(2, (3200, 800), 0.4, True, 1800),
    "C": _affricate(False),
    "J": _affricate(True),
    "k": _stop("k"),
    "g": _voiced_stop("k"),
    "N": _nasal("k"),
    "h": (Sound(breath=0.8),) * 3,
    "r": _approximant((340, 1150, 1500), 0.7),
    "w": _approximant((290, 650, 2200), 0.6),
    **{vowel: (Sound(voicing=1.0, formants=formants),) for vowel, formants in _VOWELS.items()},
}

VOWELS = "".join(_VOWELS)

PHONEMES = "".join(VISEMES)
"""Every phoneme is one character, SAMPA where that has one: ``S`` "sh", ``Z`` "measure", ``T``
"thin", ``D`` "this", ``N`` "sing", ``3`` "bird", ``V`` "cup", ``{`` "cat"; and ``C`` "chin", ``J``
"gin". A space is a pause."""

# Other symbols in use for these sounds or for their neighbours.
_NEAREST = {
    "a": "A",
    "E": "e",
    "@": "V",
    "Q": "O",
    "j": "i",
    "y": "i",
    "x": "k",
    "c": "k",
    "q": "k",
}


def viseme(phoneme: str) -> Viseme:
    """Look up how a phoneme looks.

    Raises:
        ValueError: if there is no such phoneme; the nearest is named.

    Example:
        >>> viseme("b") == viseme("p"), viseme("b").name
        (True, 'lips closed')
    """
    if phoneme not in VISEMES:
        near = _NEAREST.get(phoneme) or phoneme.swapcase()
        hint = f", nearest is {near!r}" if near in VISEMES else ""
        raise ValueError(f"no phoneme {phoneme!r}{hint}; known are {PHONEMES!r}")
    return _TABLE[VISEMES[phoneme]]


def duration(phonemes: str, rate: float = 1.0) -> float:
    """Seconds that ``phonemes`` last, before rounding up to a whole frame.

    Example:
        >>> round(duration("p{t"), 3), round(duration("p{t", rate=2.0), 3)
        (0.38, 0.19)
    """
    return sum(sum(viseme(phoneme).seconds) for phoneme in phonemes) / rate
