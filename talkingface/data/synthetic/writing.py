"""Write drawn people as films, in the folders of the corpora that they stand in for."""

import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
from tqdm import tqdm

import talkingface
from talkingface.data.batch import FPS
from talkingface.data.synthetic.clip import SyntheticClip
from talkingface.data.synthetic.dataset import (
    PEOPLE,
    WORD_FRAMES,
    choose_word,
    clip_name,
    make_clip,
    make_word_clip,
)

Layout = Literal["folder", "voxceleb2", "lrw"]
RECORD = "corpus.json"
"""Name of the file at the top of a written corpus that says how it was made."""


class _Film(NamedTuple):
    path: str  # below the corpus's folder
    person: int
    take: int


def write_corpus(
    folder: str | Path,
    layout: Layout = "folder",
    identities: int = 20,
    clips_per_identity: int = 5,
    seconds: float | None = None,
    size: int = 96,
    seed: int = 0,
    held_out: int | None = None,
    noise_db: float | None = None,
    workers: int = 0,
) -> int:
    """Write a corpus of drawn people, each film with its labels beside it.

    - ``folder``: ``id000000/00000.mp4``.
    - ``voxceleb2``: ``{dev,test}/mp4/id000000/00000/00001.mp4``, other people in ``test``.
    - ``lrw``: ``lipread_mp4/WORD/{train,val,test}/WORD_00001.mp4`` with ``WORD_00001.txt``: 29
      frames with the word in the middle, other people in each part.

    Labels are a ``.safetensors`` file of the film's name: see
    `talkingface.data.synthetic.clip.SyntheticClip.save`. Every film's metadata say that it is
    synthetic. A film appears under its name when it and its labels are complete, so an interrupted
    run goes on when it is started again; a folder that holds anything else is refused.

    The same arguments give the same frames, sound and labels with any number of processes. What
    the encoders make of them is the same on machines with the same libraries and as many cores.
    Another kind of processor may round the last bit of a pixel otherwise.

    Args:
        folder: where to; made if it is not there.
        layout: whose folders.
        identities: people in the training part (``folder`` has no other).
        clips_per_identity: films of each person.
        seconds: length of a film, 4 by default; clips of words have theirs.
        size: height and width in pixels, an even number.
        seed: of the people.
        held_out: people in each other part, more than those to train on; a tenth of their number
            (at least one) by default.
        noise_db: signal-to-noise ratio of background noise in dB; none by default.
        workers: processes; 0 works in this one.

    Returns:
        The number of films written now.

    Raises:
        ValueError: if a number is out of range, the layout is unknown, or the folder holds anything
            but a part of the same corpus.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> write_corpus(folder, "voxceleb2", 1, clips_per_identity=1, seconds=1, size=32)
        2
        >>> sorted(path.name for path in Path(folder).iterdir())
        ['corpus.json', 'dev', 'test']
    """
    folder = Path(folder)
    if layout not in get_args(Layout):
        raise ValueError(f"layout {layout!r} is not known: one of {', '.join(get_args(Layout))}.")
    if layout == "lrw" and seconds is not None:
        raise ValueError(f"clips of words have {WORD_FRAMES} frames: leave seconds out.")
    seconds = 4.0 if seconds is None else seconds
    held_out = max(1, identities // 10) if held_out is None else held_out
    limits = {
        "identities": (identities, 1, len(PEOPLE["train"])),
        "clips_per_identity": (clips_per_identity, 1, 1_000_000),
        "held_out": (held_out, 0, len(PEOPLE["test"])),
        "seed": (seed, 0, None),
        "workers": (workers, 0, None),
        "seconds": (seconds, 1 / FPS, None),
        "size": (size, 16, None),
    }
    for name, (value, least, most) in limits.items():
        if value < least or (most is not None and value > most):
            upto = "more" if most is None else f"up to {most}"
            raise ValueError(f"{name}={value}: give {least} or {upto}.")
    if size % 2:
        raise ValueError(f"size={size}: give an even number of pixels, as H.264 needs.")
    _write_record(
        folder,
        {
            "synthetic": True,
            "version": talkingface.__version__,
            "layout": layout,
            "identities": identities,
            "clips_per_identity": clips_per_identity,
            "held_out": held_out,
            "seconds": WORD_FRAMES / FPS if layout == "lrw" else seconds,
            "size": size,
            "seed": seed,
            "noise_db": noise_db,
        },
    )
    films = list(_PLANS[layout](identities, clips_per_identity, held_out, seed))
    missing = [film for film in films if not (folder / film.path).exists()]
    work = partial(_write, folder, layout, seconds, size, seed, noise_db)
    with tqdm(total=len(films), initial=len(films) - len(missing), unit="film") as bar:
        if not workers:
            for film in missing:
                work(film)
                bar.update()
            return len(missing)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, torch.set_num_threads, (1,)) as pool:
            for _ in pool.map(work, missing):
                bar.update()
    return len(missing)


def _plan_folder(identities: int, takes: int, _: int, seed: int) -> Iterator[_Film]:
    for person in PEOPLE["train"][:identities]:
        for take in range(takes):
            yield _Film(f"{clip_name(person, take, seed)}.mp4", person, take)


def _plan_voxceleb2(identities: int, takes: int, held_out: int, seed: int) -> Iterator[_Film]:
    for part, people in (
        ("dev", PEOPLE["train"][:identities]),
        ("test", PEOPLE["test"][:held_out]),
    ):
        for person in people:
            for take in range(takes):
                # One utterance of each recording: the corpus numbers them from one.
                yield _Film(f"{part}/mp4/{clip_name(person, take, seed)}/00001.mp4", person, take)


def _plan_lrw(identities: int, takes: int, held_out: int, seed: int) -> Iterator[_Film]:
    for part, count in (("train", identities), ("val", held_out), ("test", held_out)):
        numbers = Counter[str]()
        for take in range(takes):
            for person in PEOPLE[part][:count]:
                word = choose_word(person, take, seed).upper()
                numbers[word] += 1
                path = f"lipread_mp4/{word}/{part}/{word}_{numbers[word]:05d}.mp4"
                yield _Film(path, person, take)


_PLANS = {"folder": _plan_folder, "voxceleb2": _plan_voxceleb2, "lrw": _plan_lrw}


def _write(
    folder: Path,
    layout: Layout,
    seconds: float,
    size: int,
    seed: int,
    noise_db: float | None,
    film: _Film,
) -> None:
    path = folder / film.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if layout == "lrw":
        clip = make_word_clip(film.person, film.take, noise_db=noise_db, seed=seed)
        _write_whole(path.with_suffix(".txt"), _describe_word(clip, film))
    else:
        clip = make_clip(film.person, film.take, seconds, noise_db=noise_db, seed=seed)
    clip.save(path, size)


def _describe_word(clip: SyntheticClip, film: _Film) -> str:
    """What LRW says of a clip, in its words."""
    middle = WORD_FRAMES / FPS / 2
    _, start, end = min(clip.words, key=lambda word: abs((word[1] + word[2]) / 2 - middle))
    return (
        f"Disk reference: {clip.person}{film.take:06d}\n"
        "Channel: synthetic\n"
        "Program start: 2000-01-01 00:00:00 +0000\n"
        f"Clip start: {film.take * WORD_FRAMES / FPS:.2f} seconds\n"
        f"Duration: {end - start:.2f} seconds\n"
    )


def _write_record(folder: Path, record: dict[str, object]) -> None:
    path = folder / RECORD
    if not path.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder} holds something else: choose another folder to write to.")
        folder.mkdir(parents=True, exist_ok=True)
        _write_whole(path, json.dumps(record, indent=2) + "\n")
        return
    try:
        present = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: choose another folder.") from error
    if present != record:
        other = [f"{key} {present.get(key)}" for key in record if present.get(key) != record[key]]
        raise ValueError(
            f"{folder} holds another corpus ({', '.join(other)}): choose another folder."
        )


def _write_whole(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
