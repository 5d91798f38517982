"""Which words are said when in a folder of clips: a csv file of word alignments.

One line per word, as forced aligners and corpora such as GRID give them::

    clip,word,start_s,end_s
    bbaf2n,bin,0.95,1.18

Further columns do no harm.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from talkingface.data.batch import FPS
from talkingface.data.datasets.index import ClipFile
from talkingface.data.sampling import Span

COLUMNS = ("clip", "word", "start_s", "end_s")


class SpokenWord(NamedTuple):
    """A word and when it is said, in seconds from the clip's start."""

    word: str
    start: float
    end: float


Alignment = dict[str, list[SpokenWord]]
"""The words of each clip, in the order of the file."""


def read_alignment(path: str | Path) -> Alignment:
    """Read a csv file of word alignments: ``clip,word,start_s,end_s``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a column is missing, a time is no number, a word ends before it starts, or
            the file has no word.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"There is no file {path}: give a csv file of words with {','.join(COLUMNS)}."
        )
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            alignment = _read_words(path, csv.DictReader(file, strict=True))
    except (csv.Error, UnicodeError) as error:
        raise ValueError(f"{path} is no csv file in UTF-8: {error}.") from error
    if not alignment:
        raise ValueError(f"{path} has no words: one line each below {','.join(COLUMNS)}.")
    return alignment


def _read_words(path: str | Path, rows: "csv.DictReader[str]") -> Alignment:
    if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
        raise ValueError(
            f"{path} has no column {missing[0]}: its first line must name {','.join(COLUMNS)}."
        )
    alignment: Alignment = {}
    for row in rows:
        try:
            word = SpokenWord(row["word"], float(row["start_s"]), float(row["end_s"]))
        except (TypeError, ValueError):
            raise ValueError(
                f"{path}, line {rows.line_num}: {row['start_s']!r} to {row['end_s']!r} are not "
                "times in seconds."
            ) from None
        if not 0 <= word.start < word.end < math.inf:
            raise ValueError(
                f"{path}, line {rows.line_num}: {word.word!r} lasts from {word.start} s to "
                f"{word.end} s; give a start of 0 or more and a later end."
            )
        alignment.setdefault(row["clip"], []).append(word)
    return alignment


def match_clips(files: Sequence[ClipFile], alignment: Alignment) -> dict[str, str]:
    """Find the alignment's key of each file: its name below the root, or its bare name.

    With its suffix or without: ``s1/bbaf2n.mp4``, ``s1/bbaf2n``, ``bbaf2n.mp4``, ``bbaf2n``.

    Returns:
        Name of a file -> key in the alignment, for the files that have one.

    Raises:
        ValueError: if a bare name in the alignment is that of two files.

    Example:
        >>> file = ClipFile("clips/s1/bbaf2n.mp4", "s1/bbaf2n.mp4", "s1")
        >>> match_clips([file], {"bbaf2n": [SpokenWord("bin", 0.95, 1.18)]})
        {'s1/bbaf2n.mp4': 'bbaf2n'}
    """
    found: dict[str, str] = {}
    for file in files:
        name = PurePosixPath(file.name)
        path = name.with_suffix("")
        names = (name.as_posix(), path.as_posix(), name.name, path.name)
        key = next((key for key in names if key in alignment), None)
        if key is None:
            continue
        if key in found:
            raise ValueError(
                f"the words of {key!r} fit both {found[key]} and {file.name}: give clips in the "
                f"csv file with their folders, such as {path.as_posix()}."
            )
        found[key] = file.name
    return {name: key for key, name in found.items()}


def word_span(word: SpokenWord, frame_count: int, frames: int, jitter: int = 0) -> Span:
    """The frames that windows of a word lie in: ``frames`` around its middle.

    Frame k shows the time from k / 25 s to (k + 1) / 25 s. A window that would reach over an end of
    the clip is moved inwards, so every frame is real.

    Args:
        word: the word and its times.
        frame_count: frames of the clip, ``frames`` or more.
        frames: frames of a window.
        jitter: frames by which windows may lie earlier or later.

    Example:
        >>> word_span(SpokenWord("bin", 0.95, 1.18), 75, frames=25)  # middle: 1.065 s, frame 26.6
        Span(start=14, stop=39)
        >>> word_span(SpokenWord("now", 2.6, 2.9), 75, frames=25, jitter=2)
        Span(start=50, stop=75)
    """
    first = round((word.start + word.end) / 2 * FPS - frames / 2)
    low, high = (min(max(first + k, 0), frame_count - frames) for k in (-jitter, jitter))
    return Span(low, high + frames)
