"""From a folder of raw videos to a training folder of crops, 25 fps, 16 kHz."""

import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from talkingface.data.audio import read_audio
from talkingface.data.batch import FPS, SAMPLE_RATE
from talkingface.data.datasets.folder import find_videos
from talkingface.data.datasets.mead import find_sound
from talkingface.data.faces import CROP_TEMPLATES, CroppedClip, preview, track_face
from talkingface.data.video import VIDEO_SUFFIXES, VideoClip, VideoWriter, write_image

logger = logging.getLogger(__name__)

RECORD = "crop.json"
"""Name of the file beside prepared data that says how it was cropped."""
CRF = 14
"""H.264 quality of prepared clips: visually lossless, a fraction of the size of lossless."""


@dataclass(frozen=True)
class PreparedClip:
    """What became of one video.

    Args:
        clip: Name relative to the input folder.
        status: ``done``, ``skipped`` (finished by an earlier run) or ``failed``.
        frames: Frames written.
        found: Share of these frames in which the face was detected, not interpolated, in [0, 1].
        reason: Why the clip was skipped or failed.
    """

    clip: str
    status: Literal["done", "skipped", "failed"]
    frames: int = 0
    found: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class _Job:
    clip: str
    source: Path
    target: Path
    method: str
    size: int
    face: int | None
    picture: Path | None = None


def prepare(
    input_dir: str | Path,
    output_dir: str | Path,
    method: str = "pc_avs",
    size: int = 224,
    workers: int | None = None,
    face: int | None = None,
    previews: str | Path | None = None,
) -> list[PreparedClip]:
    """Crop every video below a folder into a training folder.

    Sub-folders and names are kept (``id00012/abc/00001.mov`` becomes ``id00012/abc/00001.mp4``), so
    that a corpus keeps its layout. Outputs are H.264 at 25 fps with 16 kHz mono sound; a file
    appears under its name only when it is complete, so an interrupted run is resumed by running it
    again. A video that cannot be prepared is reported and never stops the others. ``crop.json``
    beside the data records the crop; one folder holds one kind of crop.

    Args:
        input_dir: Folder of raw videos, searched recursively; hidden files are left out.
        output_dir: Training folder.
        method: Name of the crop: a key of `CROP_TEMPLATES`.
        size: Side of the crops in pixels, an even number.
        workers: Processes that work at the same time, one thread each; all cores by default,
            0 works in this process.
        face: Index of the face from left to right where there are several; the largest by default.
        previews: Folder for a picture per video, ``id00012/abc/00001.jpg``, of the face that was
            found and its crop; none by default.

    Returns:
        One row per video, in the order of names; see `format_table`.

    Raises:
        FileNotFoundError: If the input folder does not exist.
        ValueError: If it holds no videos, the crop or the size is not valid, or the output folder
            is the input folder or holds another kind of crop.

    Example:
        >>> rows = prepare("raw", "prepared", size=96, workers=4)  # doctest: +SKIP
        >>> print(format_table(rows))  # doctest: +SKIP
    """
    source, target = Path(input_dir), Path(output_dir)
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is not a folder; give the folder that holds the videos.")
    if source.resolve() == target.resolve():
        raise ValueError(f"{target}: the output folder must not be the input folder.")
    if method not in CROP_TEMPLATES:
        raise ValueError(f"unknown crop {method!r}; choose one of {', '.join(CROP_TEMPLATES)}.")
    if size < 16 or size % 2:
        raise ValueError(f"size is {size}, but must be an even number of at least 16 pixels.")
    videos = _find_videos(source, target)
    if not videos:
        raise ValueError(f"{source} holds no videos ({' '.join(VIDEO_SUFFIXES)}).")
    _write_record(target, method, size)

    rows, jobs, taken = [], [], dict[Path, str]()
    for video in videos:
        clip = video.relative_to(source)
        output = target / clip.with_suffix(".mp4")
        if output in taken:
            reason = f"{taken[output]} has the same name without ending; rename one of them."
            rows.append(PreparedClip(str(clip), "failed", reason=reason))
        elif output.exists():
            rows.append(PreparedClip(str(clip), "skipped", reason="finished before"))
        else:
            picture = Path(previews) / clip.with_suffix(".jpg") if previews else None
            jobs.append(_Job(str(clip), video, output, method, size, face, picture))
        taken.setdefault(output, str(clip))
    workers = (os.cpu_count() or 1) if workers is None else workers
    finished = _run(_prepare, jobs, min(workers, len(jobs))) if workers > 0 else map(_prepare, jobs)
    for row in finished:
        rows.append(row)
        logger.info(
            "%s: %s %s (%d of %d)", row.clip, row.status, row.reason, len(rows), len(videos)
        )
    return sorted(rows, key=lambda row: row.clip)


def read_record(folder: str | Path) -> dict[str, Any] | None:
    """Return what ``crop.json`` says of a prepared folder, or None where there is none.

    Raises:
        ValueError: If the file is not valid JSON.

    Example:
        >>> read_record("prepared")["template"]["name"]  # doctest: +SKIP
        'pc_avs'
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); remove it or restore it.") from error
    return record


def format_table(rows: list[PreparedClip]) -> str:
    """Return what was done, skipped and why, as text: a line per clip and a summary.

    Example:
        >>> print(format_table([PreparedClip("a.mov", "done", 50, 1.0)]))
        clip   status  seconds  face found  reason
        a.mov  done        2.0        100%
        1 done, 0 skipped, 0 failed; 2 s (0.00 h) of new video
    """
    width = max([4, *(len(row.clip) for row in rows)])
    lines = [f"{'clip':{width}}  status  seconds  face found  reason"]
    for row in rows:
        numbers = f"{row.frames / FPS:7.1f}  {row.found:10.0%}" if row.frames else " " * 19
        line = f"{row.clip:{width}}  {row.status:<7} {numbers}  {row.reason}"
        lines.append(line.rstrip())
    done, skipped, failed = (
        sum(row.status == status for row in rows) for status in ("done", "skipped", "failed")
    )
    seconds = sum(row.frames for row in rows) / FPS
    lines.append(
        f"{done} done, {skipped} skipped, {failed} failed; "
        f"{seconds:.0f} s ({seconds / 3600:.2f} h) of new video"
    )
    return "\n".join(lines)


def _find_videos(source: Path, target: Path) -> list[Path]:
    """Return the videos below the source, without hidden files and what lies in the target."""
    inside = target.resolve()
    return [path for path in find_videos(source) if not path.resolve().is_relative_to(inside)]


def _write_record(target: Path, method: str, size: int) -> None:
    """Write ``crop.json``, or check that the one that is there says the same."""
    record = {
        "format": 1,
        "template": asdict(CROP_TEMPLATES[method]),
        "size": size,
        "fps": FPS,
        "sample_rate": SAMPLE_RATE,
    }
    record = json.loads(json.dumps(record))  # tuples become lists, as they do in the file
    present = read_record(target)
    if present == record:
        return
    if present is not None:
        raise ValueError(
            f"{target} holds another kind of crop ({RECORD} says "
            f"{present.get('template', {}).get('name')} at {present.get('size')} px, asked for is "
            f"{method} at {size} px); choose another output folder."
        )
    target.mkdir(parents=True, exist_ok=True)
    part = target / f".{RECORD}.part"
    part.write_text(json.dumps(record, indent=2) + "\n")
    os.replace(part, target / RECORD)


def _prepare(job: _Job) -> PreparedClip:
    """Prepare one video; whatever goes wrong is told in the row."""
    try:
        clip = VideoClip(job.source)
        sound = job.source if clip.has_audio else find_sound(job.source)
        if sound is None:
            raise ValueError("it has no sound, which training needs.")
        track = track_face(clip, CROP_TEMPLATES[job.method], job.face)
        if job.picture:
            job.picture.parent.mkdir(parents=True, exist_ok=True)
            first = int(track.found.int().argmax())
            write_image(job.picture, preview(clip[first], track, first, job.size))
        cropped = CroppedClip(clip, track, job.size)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        audio = read_audio(sound)
        # Real footage: the writer's tag that marks synthetic video is left out.
        with VideoWriter(
            job.target, job.size, job.size, audio=audio, comment=None, crf=CRF
        ) as writer:
            for frame in cropped.iterate():
                writer.write(frame)
        found = float(track.found.float().mean())
        return PreparedClip(job.clip, "done", len(cropped), found)
    except Exception as error:  # one broken file must not stop the rest
        text = " ".join(str(error).split())
        if not isinstance(error, ValueError | OSError):
            text = f"{type(error).__name__}: {text}"
        text = text.removeprefix(str(job.source)).lstrip(": ")  # the row names the clip already
        return PreparedClip(job.clip, "failed", reason=text)


def _start_worker() -> None:
    torch.set_num_threads(1)
    logging.disable(logging.INFO)


def _run(
    work: Callable[[_Job], PreparedClip], jobs: list[_Job], workers: int
) -> Iterator[PreparedClip]:
    """Work through the jobs in processes; one that dies takes only its own job with it."""
    waiting = list(reversed(jobs))
    context = multiprocessing.get_context("spawn")
    while waiting:
        # Only as many jobs are handed out as run, so that a death leaves few suspects.
        running: dict[Future[PreparedClip], _Job] = {}
        try:
            with ProcessPoolExecutor(workers, context, _start_worker) as pool:
                while waiting or running:
                    while waiting and len(running) < workers:
                        running[pool.submit(work, waiting[-1])] = waiting[-1]
                        waiting.pop()
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        row = future.result()
                        del running[future]
                        yield row
        except BrokenProcessPool:
            suspects = list(running.values())
            if len(suspects) == 1:
                reason = "the process that read it died (out of memory, or a decoder's crash)."
                yield PreparedClip(suspects[0].clip, "failed", reason=reason)
                continue
            for suspect in suspects:
                yield from _run(work, [suspect], 1)
