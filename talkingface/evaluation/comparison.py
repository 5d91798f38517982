"""Models against models on the same clips, with floors and a ceiling beside every number."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from talkingface.data.batch import FPS
from talkingface.evaluation.footage import (
    FileFootage,
    Footage,
    corpus_footage,
    folder_footage,
)
from talkingface.evaluation.panel import Expert, open_panel
from talkingface.evaluation.protocols import PROTOCOLS
from talkingface.evaluation.record import describe, versions
from talkingface.evaluation.report import check_out, report_folder, write_report
from talkingface.evaluation.results import Results, Row
from talkingface.evaluation.stage import Stage, moves, name_players
from talkingface.generation import VideoGenerator, open_device
from talkingface.models.base import TalkingFaceModule
from talkingface.models.weights import sha256

Model = str | Path | TalkingFaceModule
"""A bundled name, a folder, a run's ``.ckpt`` or a hub id; or an open model."""

SYNTHETIC = "synthetic"
"""Data that are drawn: people whom no model was trained on."""


def compare(
    models: Sequence[Model] | Mapping[str, Model],
    data: str | Path = SYNTHETIC,
    clips: int = 8,
    out: str | Path = "comparison",
    protocols: Sequence[str] | None = None,
    size: int = 256,
    seconds: float = 4.0,
    seed: int = 0,
    device: str = "auto",
    crop: Literal["detect", "none"] = "detect",
    method: str | None = None,
    face: Expert | None = None,
    identity: Expert | None = None,
    sync: Expert | None = None,
    syncnet: str | Path | None = None,
    alexnet: str | Path | None = None,
    vgg16: str | Path | None = None,
    shown: int = 3,
    command: str = "",
) -> list[Row]:
    """Compare models under the published protocols, and write a report.

    Every protocol has rows for the ground truth, for the source's picture all the time, and for
    each model with another clip's sound: floors and a ceiling of every number.

    Args:
        models: The models; the keys of a mapping are their names in the report.
        data: ``"synthetic"`` for drawn people whom no model was trained on, or a folder of clips.
        clips: Number of clips.
        out: Folder to write: ``index.html``, ``results.csv``, ``results.md``, ``clips.csv`` (each
            clip's numbers), ``videos``, and ``repeat.json`` with all that a repetition needs. It
            appears whole or not at all; an earlier report is replaced.
        protocols: Names out of :data:`~talkingface.evaluation.protocols.PROTOCOLS`; all that data
            and models allow by default.
        size: Side of the evaluation crop in pixels.
        seconds: Length of drawn clips; how much counts of longer real ones.
        seed: Of the choice of clips, and of whatever is random in a model.
        device: ``"cpu"``, ``"cuda"``...; ``"auto"`` takes a GPU if there is one.
        crop: Of real clips: ``"detect"`` to find the face, ``"none"`` for clips that are cropped.
        method: ``package.module:Class`` of models that are not the library's own.
        face: See :func:`~talkingface.evaluation.panel.open_panel`, as for the five that follow.
        identity: A network that embeds faces.
        sync: A sync expert.
        syncnet: The official SyncNet's file.
        alexnet: AlexNet's weights.
        vgg16: VGG-16's weights.
        shown: Cases of each protocol whose videos are kept.
        command: What the report says to have been the command.

    Returns:
        The table, as in ``results.csv``.

    Raises:
        FileNotFoundError: If a model, the folder, or a clip in it is not there.
        ValueError: If an option does not fit, ``out`` holds something else, or a model could make
            no video at all.
    """
    given = {name: value for name, value in locals().items() if name not in ("models", "command")}
    check_out(Path(out))
    if clips < 2:
        raise ValueError(
            f"clips={clips}: give at least 2, since the wrong sound is another clip's."
        )
    if size < 11:
        raise ValueError(f"size={size}: give at least 11 pixels, the window of SSIM.")
    if round(seconds * FPS) < 2:
        raise ValueError(f"seconds={seconds}: give at least {2 / FPS} s, two frames.")
    where = open_device(device)
    named = name_models(models)
    generators = {
        name: VideoGenerator(model, device, method=method) for name, model in named.items()
    }
    drawn = str(data) == SYNTHETIC
    chosen = choose_protocols(protocols, drawn, generators.values(), clips)
    panel = open_panel(drawn, size, where, face, identity, sync, syncnet, alexnet, vgg16)
    footage: Sequence[Footage]
    unusable: dict[str, str] = {}
    if drawn:
        footage = corpus_footage(clips, seconds, seed, where)
    else:
        footage, unusable = folder_footage(data, clips, seconds, seed, crop, panel.landmarks, where)
    cases = {name: PROTOCOLS[name](footage) for name in chosen}
    players = name_players(generators)
    results = Results(list(players), unusable=unusable, absent=panel.absent, seed=seed)
    with report_folder(Path(out)) as folder:
        stage = Stage(players, panel.scorers, results, size, seed, where)
        videos = [video for name in chosen for video in stage.run(name, cases[name], folder, shown)]
        check_made(results)
        record = {
            "command": command or "talkingface.evaluation.compare",
            "arguments": {name: str(value) for name, value in given.items()},
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(where),
            "models": {name: describe(generators[name].model, named[name]) for name in named},
            "readers": panel.readers,
            "clips": {item.name: _digest(item) for item in footage},
            "failed clips": unusable,
            "cases": results.cases,
            "failures": [failure._asdict() for failure in results.failures],
            "not measured": panel.absent,
        }
        write_report(folder, results, record, videos)
    return results.rows()


def name_models(models: Sequence[Model] | Mapping[str, Model]) -> dict[str, Model]:
    """Give every model a name: its key, what it is opened by, or its class.

    Raises:
        ValueError: If there is none, or two have the same name.

    Example:
        >>> name_models(["pc-avs-tiny", "runs/mine"])
        {'pc-avs-tiny': 'pc-avs-tiny', 'runs/mine': 'runs/mine'}
    """
    if isinstance(models, Mapping):
        pairs = list(models.items())
    else:
        pairs = [
            (str(model) if isinstance(model, str | Path) else type(model).__name__, model)
            for model in models
        ]
    if not pairs:
        raise ValueError("no models were given: name at least one.")
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("two models have the same name: name them apart (name=model).")
    return named


def choose_protocols(
    wanted: Sequence[str] | None, drawn: bool, generators: Iterable[VideoGenerator], clips: int
) -> list[str]:
    """Names of the protocols to run; by default all that data and models allow.

    Exact targets take person, motion and speech of three clips.

    Raises:
        ValueError: If there is no such protocol, or it needs drawn clips.

    Example:
        >>> choose_protocols(None, False, [], 8)
        ['self', 'pose']
    """
    able = [moves(generator) for generator in generators]
    if wanted is None:
        exact = ["exact"] * any(able) + ["exact-still"] * (not all(able))
        return ["self", "pose", *(exact if drawn and clips >= 3 else [])]
    for name in wanted:
        if name not in PROTOCOLS:
            raise ValueError(f"no protocol {name!r}: there are {', '.join(PROTOCOLS)}.")
        if name.startswith("exact") and not drawn:
            raise ValueError(f"{name!r} needs exact truth: leave it out, or use synthetic data.")
        if name == "exact" and not any(able):
            raise ValueError("no model takes head pose from a video: use 'exact-still'.")
    return list(dict.fromkeys(wanted))


def check_made(results: Results) -> None:
    """Refuse to report on a model that made nothing.

    Raises:
        ValueError: If a model failed in every case.
    """
    made = {model for _, model, _ in results.values}
    for model in results.models:
        if model not in made:
            reasons = [f.reason for f in results.failures if f.model in (model, "all")]
            raise ValueError(f"{model} made no video: {reasons[0] if reasons else 'no case'}")


def _digest(item: Footage) -> str | None:
    return sha256(Path(item.file.path)) if isinstance(item, FileFootage) else None
