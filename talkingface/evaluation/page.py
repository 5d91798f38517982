"""The report as one HTML page: tables, plots and videos; it needs nothing from elsewhere."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from talkingface.evaluation.measures import Measure
from talkingface.evaluation.plot import bar, colour, diamond, dot, plot
from talkingface.evaluation.protocols import PROTOCOLS
from talkingface.evaluation.results import (
    COPY,
    GROUND_TRUTH,
    Results,
    Row,
    arrow,
    definition,
    show,
    title,
    wrong_audio,
)


@dataclass(frozen=True)
class Video:
    """A video of the page: its file, its case, and what its panels show from left to right."""

    protocol: str
    case: str
    file: str
    panels: tuple[str, ...]


def page(results: Results, record: dict[str, Any], videos: Sequence[Video]) -> str:
    """Write the page.

    Args:
        results: What was measured.
        record: What ``repeat.json`` holds.
        videos: What to show.

    Returns:
        HTML.
    """
    style = files("talkingface.evaluation").joinpath("page.css").read_text(encoding="utf-8")
    heading = f"Comparison of {', '.join(results.models)}"
    sections = [
        _protocol(results, protocol, [video for video in videos if video.protocol == protocol])
        for protocol in results.cases
    ]
    body = _header(heading, results, record), *sections, _missing(results), _repeat(record)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(heading)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(body)}</main>\n</body>\n</html>\n"
    )


def _header(heading: str, results: Results, record: dict[str, Any]) -> str:
    failed = len(results.unusable) + len({(f.protocol, f.case) for f in results.failures})
    facts = {
        "data": record["arguments"]["data"],
        "clips": len(record["clips"]) + len(results.unusable),
        "failed": failed,
        "evaluation crop": f"{record['arguments']['size']} px",
        "seed": record["arguments"]["seed"],
        "talkingface": record["versions"]["talkingface"],
        "date": record["date"][:10],
    }
    items = "".join(f"<li><b>{k}</b>{escape(str(v))}</li>" for k, v in facts.items())
    links = {f"#{protocol}": protocol for protocol in results.cases} | {"#repeat": "repeat"}
    links |= {name: name for name in ("results.csv", "results.md", "clips.csv", "repeat.json")}
    anchors = "".join(f'<a href="{target}">{name}</a>' for target, name in links.items())
    return (
        f"<header><h1>{escape(heading)}</h1>\n"
        "<p>Each number stands between floors and a ceiling that were measured in the same way: "
        "the source's picture all the time, the same model with another clip's sound, and the "
        "ground truth. Small figures are 95&nbsp;% bootstrap intervals over clips.</p>\n"
        f'<ul class="facts">{items}</ul>\n{_legend(results)}<nav>{anchors}</nav></header>\n'
    )


def _legend(results: Results) -> str:
    marks = [(dot(8, 8, colour(i)), name) for i, name in enumerate(results.models)]
    marks += [
        (dot(8, 8, "var(--soft)", hollow=True), "wrong audio, in the model's colour"),
        (diamond(8, 8), COPY),
        (bar(8, 8), GROUND_TRUTH),
    ]
    items = "".join(
        f'<span><svg width="16" height="16">{mark}</svg>{escape(name)}</span>'
        for mark, name in marks
    )
    return f'<div class="legend">{items}</div>\n'


def _protocol(results: Results, protocol: str, videos: Sequence[Video]) -> str:
    about = inspect.getdoc(PROTOCOLS[protocol]) or ""
    cases = len(results.cases[protocol])
    return (
        f'<section id="{protocol}"><h2>{protocol}</h2>\n'
        f"<p>{escape(about.splitlines()[0])} {cases} cases.</p>\n"
        f"{_table(results, protocol)}{_videos(videos)}</section>\n"
    )


def _table(results: Results, protocol: str) -> str:
    names = results.names()
    heads = "".join(f"<th>{_head(name)}</th>" for name in names)
    rows = []
    for group, measures in groupby(results.measures(protocol), key=lambda m: m.group):
        rows.append(f'<tr class="group"><th colspan="{len(names) + 2}">{escape(group)}</th></tr>')
        for measure in measures:
            best = results.best(protocol, measure)
            cells = [
                _cell(results, results.row(protocol, name, measure), name, measure, name in best)
                for name in names
            ]
            rows.append(
                f'<tr><td title="{escape(measure.metric)}">{escape(title(measure))} '
                f"{arrow(measure)}<small>{escape(definition(measure))}</small></td>"
                f'{"".join(cells)}<td class="plot">{plot(results, protocol, measure)}</td></tr>'
            )
    return (
        f'<div class="wide"><table><thead><tr><th>measure</th>{heads}<th></th></tr></thead>\n'
        f"<tbody>{''.join(rows)}</tbody></table></div>\n"
    )


def _head(name: str) -> str:
    model, _, rest = name.partition(", wrong audio")
    small = "<small>wrong audio</small>" if name == wrong_audio(model) else ""
    return escape(model) + small + escape(rest)


def _cell(results: Results, row: Row | None, name: str, measure: Measure, best: bool) -> str:
    if row is None:
        return "<td></td>"
    value, note = show(row.value, measure), ""
    kind = {GROUND_TRUTH: "truth"}.get(name, "floor")
    if name in results.models:
        kind = "best" if best else "model"
        value = f"<b>{value}</b>"
        low, high = show(row.low, measure), show(row.high, measure)
        note = f"<small>{low} to {high}</small>" if row.low == row.low else ""
    if row.failed:
        kind += " failed"
        note += f"<small>{row.failed} failed</small>"
    return f'<td class="{kind}">{value}{note}</td>'


def _videos(videos: Sequence[Video]) -> str:
    if not videos:
        return ""
    figures = []
    for video in videos:
        style = f"grid-template-columns: repeat({len(video.panels)}, 1fr)"
        names = "".join(f"<span>{escape(name)}</span>" for name in video.panels)
        figures.append(
            f'<figure><div class="names" style="{style}">{names}</div>'
            f'<video controls preload="none" playsinline src="{escape(video.file)}" '
            f'poster="{escape(str(Path(video.file).with_suffix(".jpg")))}"></video>'
            f"<figcaption>{escape(video.case)}</figcaption></figure>"
        )
    return f'<h3>Videos</h3><div class="videos">{"".join(figures)}</div>\n'


def _missing(results: Results) -> str:
    failed = [f"clip {name}: {reason}" for name, reason in results.unusable.items()]
    failed += [f"{f.protocol}, {f.model}, {f.case}: {f.reason}" for f in results.failures]
    absent = [f"{metric}: {reason}" for metric, reason in results.absent.items()]
    parts = []
    for heading, lines in (("Failed", failed), ("Not measured", absent)):
        if lines:
            items = "".join(f"<li>{escape(line)}</li>" for line in lines)
            parts.append(f'<h3>{heading}</h3><ul class="plain">{items}</ul>')
    return f"<section>{''.join(parts)}</section>\n" if parts else ""


def _repeat(record: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(facts['class'])}</td>"
        f"<td><code>{facts['sha256']}</code></td></tr>"
        for name, facts in {**record["models"], **record["readers"]}.items()
    )
    versions = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    names = ", ".join(record["clips"])
    return (
        '<section id="repeat"><h2>Repeat it</h2>\n'
        f"<pre>{escape(record['command'])}</pre>\n<p>{escape(versions)}</p>\n"
        f"<p>Clips: {escape(names)}</p>\n"
        '<table class="hashes"><thead><tr><th>network</th><th>class</th><th>sha256 of its weights'
        f"</th></tr></thead><tbody>{rows}</tbody></table></section>\n"
    )
