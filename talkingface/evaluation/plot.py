"""Small plots of one measure as SVG: where models stand between floors and ceiling."""

import math
from collections.abc import Callable, Sequence

from talkingface.evaluation.measures import Measure
from talkingface.evaluation.results import COPY, GROUND_TRUTH, Results, wrong_audio

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#5b8c2a")
"""Of the models, in order: told apart by all eyes (Okabe and Ito), then two more."""

WIDTH, HEIGHT, EDGE = 220, 28, 18  # pixels


def colour(index: int) -> str:
    """Colour of a model by its place in the table."""
    return COLOURS[index % len(COLOURS)]


def dot(x: float, y: float, fill: str, hollow: bool = False) -> str:
    """A model's mark; hollow for the wrong sound."""
    if hollow:
        return (
            f'<circle cx="{x:.1f}" cy="{y}" r="4" fill="none" stroke="{fill}" stroke-width="1.6"/>'
        )
    return f'<circle cx="{x:.1f}" cy="{y}" r="4.5" fill="{fill}"/>'


def diamond(x: float, y: float) -> str:
    """The mark of the source's copy."""
    points = f"{x:.1f},{y - 5} {x + 5:.1f},{y} {x:.1f},{y + 5} {x - 5:.1f},{y}"
    return f'<polygon points="{points}" fill="none" stroke="var(--floor)" stroke-width="1.6"/>'


def bar(x: float, y: float) -> str:
    """The mark of the ground truth."""
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 8}" y2="{y + 8}" stroke="var(--truth)" '
        'stroke-width="2.5" stroke-linecap="round"/>'
    )


def plot(results: Results, protocol: str, measure: Measure) -> str:
    """All rows of a measure on one axis, from the least value to the largest.

    The models' 95 % intervals are lines through their marks. A value that stands for infinity lies
    beyond the axis. Where all values are equal, or there
    is only one, there is nothing to see: an empty string.
    """
    rows = {name: results.row(protocol, name, measure) for name in results.names()}
    values = {name: row.value for name, row in rows.items() if row and math.isfinite(row.value)}
    spans = [
        (row.low, row.high)
        for name in results.models
        if (row := rows[name]) and math.isfinite(row.low + row.high)
    ]
    scale = [value for value in values.values() if value < measure.cap]
    scale += [end for span in spans for end in span]
    if not scale or max(scale) == min(scale):
        return ""
    place = _axis(scale)
    middle = HEIGHT / 2
    marks = [
        f'<line x1="{EDGE}" x2="{WIDTH - EDGE}" y1="{middle}" y2="{middle}" stroke="var(--line)"/>'
    ]
    if GROUND_TRUTH in values:
        marks.append(bar(place(values[GROUND_TRUTH]), middle))
    if COPY in values:
        marks.append(diamond(place(values[COPY]), middle))
    for index, model in enumerate(results.models):
        if wrong_audio(model) in values:
            marks.append(dot(place(values[wrong_audio(model)]), middle, colour(index), True))
    for index, model in enumerate(results.models):
        row = rows[model]
        if row is None or model not in values:
            continue
        if math.isfinite(row.low + row.high):
            marks.append(
                f'<line x1="{place(row.low):.1f}" x2="{place(row.high):.1f}" y1="{middle}" '
                f'y2="{middle}" stroke="{colour(index)}" stroke-width="2.5" opacity=".55"/>'
            )
        marks.append(dot(place(row.value), middle, colour(index)))
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{measure.metric} of all rows">{"".join(marks)}</svg>'
    )


def _axis(scale: Sequence[float]) -> Callable[[float], float]:
    low, high = min(scale), max(scale)
    width = WIDTH - 2 * EDGE
    return lambda value: EDGE + min((value - low) / (high - low), 1.08) * width
