"""The index of a set of clips: facts from the files' headers, and which files cannot be used."""

import hashlib
import json
import logging
import os
import tempfile
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple

from talkingface.data.video import VideoClip

logger = logging.getLogger(__name__)

Box = tuple[float, float, float, float]
"""A crop as fractions of a frame: top, left, bottom, right."""


class ClipFile(NamedTuple):
    """A file, its name in messages and batches, and whose face it shows.

    ``audio`` is the file of the sound where that is another.
    """

    path: str
    name: str
    identity: str
    audio: str | None = None


class Clip(NamedTuple):
    """A usable clip and its number of frames at 25 fps."""

    path: str
    name: str
    identity: str
    frame_count: int
    audio: str | None = None


class _Header(NamedTuple):
    bytes: int
    modified: int
    frame_count: int
    height: int
    width: int
    has_audio: bool


def box_pixels(height: int, width: int, box: Box | None) -> tuple[int, int, int, int]:
    """The pixels (top, left, bottom, right) of a box in a frame of ``height`` x ``width``.

    Example:
        >>> box_pixels(224, 224, (0, 16 / 224, 192 / 224, 208 / 224))
        (0, 16, 192, 208)
    """
    top, left, bottom, right = box or (0, 0, 1, 1)
    return round(top * height), round(left * width), round(bottom * height), round(right * width)


def _read_header(path: str, known: _Header | None) -> _Header | str:
    try:
        status = os.stat(path)
        facts = (status.st_size, status.st_mtime_ns)
        if known and (known.bytes, known.modified) == facts:
            return known
        clip = VideoClip(path)
        return _Header(*facts, clip.frame_count, clip.height, clip.width, clip.has_audio)
    except Exception as error:  # decoders fail in many ways
        return reason_of(error)


def _load_headers(index_file: str) -> dict[str, _Header]:
    try:
        rows = json.loads(Path(index_file).read_text(encoding="utf-8"))
        return {path: _Header(*row) for path, row in rows.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{index_file} is not an index of clips: delete it.") from error


def _save_headers(headers: dict[str, _Header], index_file: str) -> None:
    os.makedirs(os.path.dirname(os.path.abspath(index_file)), exist_ok=True)
    temporary = f"{index_file}.{os.getpid()}.tmp"
    Path(temporary).write_text(json.dumps(headers), encoding="utf-8")
    os.replace(temporary, index_file)


def _reason_to_skip(file: ClipFile, header: _Header, box: Box | None) -> str | None:
    top, left, bottom, right = box_pixels(header.height, header.width, box)
    if not header.has_audio and file.audio is None:
        return "no sound"
    if abs((bottom - top) - (right - left)) > 1:
        return (
            f"not square ({bottom - top} x {right - left} pixels): cut the faces out first, "
            "see `talkingface prepare`"
        )
    return None


def index_clips(
    files: Sequence[ClipFile], box: Box | None = None, index_file: str | None = None
) -> tuple[list[Clip], dict[str, str]]:
    """Read the headers of files, in parallel; of the pictures only the first is decoded.

    Args:
        files: what to look at.
        box: crop that will be taken; what is left must be square.
        index_file: JSON file that keeps the headers, so that a second start opens only files that
            are new or changed (by size and time). It is made where it does not exist.

    Returns:
        The usable clips in the order of ``files``, and name -> reason for the others.
    """
    kept = _load_headers(index_file) if index_file and os.path.exists(index_file) else {}
    with ThreadPoolExecutor() as pool:
        headers = list(pool.map(lambda file: _read_header(file.path, kept.get(file.path)), files))
    if index_file:
        readable = {
            f.path: h for f, h in zip(files, headers, strict=True) if not isinstance(h, str)
        }
        if readable != kept:
            _save_headers(readable, index_file)

    clips, skipped = [], {}
    for file, header in zip(files, headers, strict=True):
        reason = header if isinstance(header, str) else _reason_to_skip(file, header, box)
        if reason is not None:
            skipped[file.name] = reason
        elif not isinstance(header, str):
            clips.append(Clip(*file[:3], header.frame_count, file.audio))
    return clips, skipped


def reason_of(error: Exception) -> str:
    """What an error says; its type too where it was not raised for people to read.

    Example:
        >>> reason_of(ValueError("a.mp4 is empty")), reason_of(IndexError("no item"))
        ('a.mp4 is empty', "IndexError('no item')")
    """
    return str(error) if isinstance(error, OSError | ValueError) else repr(error)


def list_reasons(skipped: dict[str, str], limit: int = 10) -> str:
    """Names and reasons in one line, the first ones where there are many.

    Example:
        >>> list_reasons({"a.mp4": "no sound", "b.mp4": "no sound", "c.mp4": "no sound"}, limit=2)
        'a.mp4: no sound; b.mp4: no sound; and 1 more'
    """
    shown = [f"{name}: {reason}" for name, reason in list(skipped.items())[:limit]]
    return "; ".join(shown + [f"and {len(skipped) - limit} more"] * (len(skipped) > limit))


class FailureLog:
    """Names and reasons of files that failed while they were read, shared by all workers.

    Each failure is a small file in a temporary folder, linked exclusively: whichever process comes
    first reports it, once, and every process sees it. The folder goes with the log.

    Example:
        >>> log = FailureLog()
        >>> log.add("a.mp4", "broken")
        >>> log.add("a.mp4", "broken again")
        >>> log.reasons()
        {'a.mp4': 'broken'}
    """

    def __init__(self) -> None:
        """Make an empty log."""
        self._folder = tempfile.mkdtemp(prefix="talkingface-")
        weakref.finalize(self, _remove_own, self._folder, os.getpid())

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, hashlib.sha256(name.encode()).hexdigest())

    def add(self, name: str, reason: str) -> None:
        """Record and report a failure, unless it is known already."""
        whole = f"{self._path(name)}.{os.getpid()}"
        Path(whole).write_text(json.dumps([name, reason]), encoding="utf-8")
        try:
            os.link(whole, self._path(name))
        except FileExistsError:
            return
        finally:
            os.unlink(whole)
        logger.warning("Windows of other clips take the place of %s: %s", name, reason)

    def reasons(self) -> dict[str, str]:
        """Name -> reason of all failures."""
        files = [path for path in Path(self._folder).iterdir() if not path.suffix]
        return dict(sorted(json.loads(path.read_text(encoding="utf-8")) for path in files))


def _remove_own(folder: str, owner: int) -> None:
    # A forked worker inherits the log, but must not take it away from the others.
    if os.getpid() == owner:
        rmtree(folder, ignore_errors=True)
