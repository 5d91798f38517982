"""The demo's page: its video, its sheet, and the numbers that were measured beside them."""

import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from talkingface.demo.material import Material
from talkingface.evaluation.results import COPY, GROUND_TRUTH, Row, wrong_audio

ABOUT = (
    "These are tiny models of drawn faces, which learnt from drawn faces only: photographs of "
    "people come out wrong."
)
FURTHER = {
    "talkingface convert pc_avs official_checkpoints pc_avs_official": "load the authors' weights",
    "talkingface fit --config pc_avs/main_tiny --data.root prepared "
    "--init.identity runs/identity/model --init.sync runs/sync/model": "train on clips of your "
    "own, here the last of three stages",
    "talkingface fit --config pc_avs/main_paper --data.root voxceleb2 "
    "--init.identity runs/identity/model --init.sync runs/sync/model": "the same on VoxCeleb2, in "
    "the paper's size",
    "talkingface generate --model pc_avs_official --source face.jpg --audio speech.wav "
    "--driving head.mp4 --output speaking.mp4": "make a video with any model",
}
"""What to do next, and what it is for."""


class Column(NamedTuple):
    """A measure of the table: its name and region in the report, a heading, unit and decimals."""

    metric: str
    region: str
    heading: str
    unit: str
    digits: int


COLUMNS = (
    Column("lmd_mouth", "", "mouth landmarks", "px ↓", 2),
    Column("correlation_mouth_opening", "", "mouth opening", "r ↑", 2),
    Column("lse_c", "", "lip sync", "LSE-C ↑", 2),
    Column("psnr", "face", "face PSNR", "dB ↑", 1),
    Column("csim", "", "identity", "CSIM ↑", 3),
    Column("correlation_yaw", "", "yaw", "r ↑", 2),
    Column("mae_yaw", "", "yaw error", "degrees ↓", 1),
    Column("correlation_blink", "", "blink", "r ↑", 2),
    Column("correlation_gaze_x", "", "gaze", "r ↑", 2),
)
STYLE = "img { max-width: 100%; }\ntd.model { font-weight: 600; }\n"
"""Beside that of a comparison's report."""
HEADINGS = {
    "exact": "With the motion of another person",
    "exact-still": "With a head that stays",
}


def write_page(path: Path, rows: Sequence[Row], material: Material, command: str) -> Path:
    """Write the page; the video, the sheet and the folder ``comparison`` lie beside it.

    Args:
        path: The html to write.
        rows: What was measured.
        material: What the video shows.
        command: What measured the rows.

    Returns:
        The path.
    """
    style = files("talkingface.evaluation").joinpath("page.css").read_text(encoding="utf-8")
    given = ", ".join(f"{name}: {title}" for name, title in material.titles.items())
    tables = "".join(
        f"<h3>{heading}</h3>\n{_table([row for row in rows if row.protocol == protocol])}"
        for protocol, heading in HEADINGS.items()
        if any(row.protocol == protocol for row in rows)
    )
    further = "".join(
        f"<li>{escape(purpose)}: <code>{escape(line)}</code></li>\n"
        for line, purpose in FURTHER.items()
    )
    clips = max(row.clips + row.failed for row in rows)
    path.write_text(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>talkingface demo</title>\n<style>\n{style}{STYLE}</style>\n"
        "</head>\n<body>\n<main>\n<header><h1>Methods side by side</h1>\n"
        f"<p>{escape(ABOUT)} Lips follow the sound; the head follows the driving clip in methods "
        f"that control its pose, and stays in the others. {escape(given)}.</p></header>\n"
        '<section><video controls loop playsinline src="demo.mp4" poster="demo.jpg"></video>\n'
        '<h3>Moments</h3><img src="sheet.png" alt="inputs and results over time"></section>\n'
        "<section><h2>Measured just now</h2>\n"
        f"<p>{clips} clips for each table, of people, voices and sentences that no model was "
        "trained on, held against the exact truth: a person with the speech of another one. "
        "Every number stands between floors (the source's picture all the time; the model with "
        "wrong audio) and a ceiling (the ground truth, read by the same networks). r is the "
        "correlation with the truth. A field is empty where nothing moves, or no face was found."
        "</p>\n"
        f"{tables}<p>So few clips say little about small differences: the same with --clips 100 "
        'says more. The <a href="comparison/index.html">whole report</a> has all measures with '
        'intervals, <a href="comparison/results.csv">results.csv</a> their numbers.</p>\n'
        f"<pre>{escape(command)}</pre></section>\n"
        f'<section><h2>Real models</h2>\n<ul class="plain">{further}</ul></section>\n'
        "</main>\n</body>\n</html>\n",
        encoding="utf-8",
    )
    return path


def _table(rows: Sequence[Row]) -> str:
    """A protocol's table: a line per model, floor and ceiling, in the report's order."""
    values = {(row.model, row.metric.split("[")[0], row.region): row.value for row in rows}
    models = list(dict.fromkeys(row.model for row in rows))

    def value(model: str, column: Column) -> float:
        return values.get((model, column.metric, column.region), math.nan)

    columns = [c for c in COLUMNS if not all(math.isnan(value(model, c)) for model in models)]
    heads = "".join(f"<th>{c.heading}<small>{c.unit}</small></th>" for c in columns)
    lines = []
    for model in models:
        kind = "floor" if model == COPY or model.endswith(wrong_audio("")) else "model"
        kind = "truth" if model == GROUND_TRUTH else kind
        cells = "".join(
            f'<td class="{kind}">{_show(value(model, c), c.digits)}</td>' for c in columns
        )
        lines.append(f'<tr><td class="{kind}">{escape(model)}</td>{cells}</tr>\n')
    return (
        f'<div class="wide"><table><thead><tr><th></th>{heads}</tr></thead>\n'
        f"<tbody>{''.join(lines)}</tbody></table></div>\n"
    )


def _show(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def next_steps() -> str:
    """What the models are, and what to do next, in two lines.

    Example:
        >>> len(next_steps().splitlines())
        2
    """
    convert, _, train, _ = FURTHER
    return f"{ABOUT}\nReal ones: {train} trains one, {convert} loads the authors'."
