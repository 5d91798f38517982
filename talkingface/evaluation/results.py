"""The table of a comparison: one row per model, protocol and measure."""

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch

from talkingface.evaluation.measures import Measure, bootstrap

GROUND_TRUTH, COPY = "ground truth", "copy of the source"
"""Rows that every comparison has: the target itself, and the source's picture all the time."""

Values = dict[str, tuple[float, ...]]
"""What was measured on each case, by its name."""


def wrong_audio(model: str) -> str:
    """Name of the row of a model that got another clip's speech."""
    return f"{model}, wrong audio"


class Failure(NamedTuple):
    """A case that is missing from a row, or a clip that is missing from all."""

    protocol: str
    model: str
    case: str
    reason: str


class Row(NamedTuple):
    """A number of the table.

    ``value`` is over ``clips`` clips, ``std`` the deviation from clip to clip, ``low`` and ``high``
    the 95 % bootstrap interval over clips; ``failed`` clips have no value.
    """

    model: str
    protocol: str
    metric: str
    profile: str
    region: str
    value: float
    std: float
    low: float
    high: float
    clips: int
    failed: int


@dataclass
class Results:
    """All that was measured.

    Args:
        models: Their names.
        values: What was measured, by protocol, row and measure.
        cases: Names of the cases of each protocol.
        failures: What is missing, and why.
        unusable: Clips that could not be opened, and why; they count as failed everywhere.
        absent: Metrics that were not measured, and why.
        seed: Of the bootstrap.
    """

    models: Sequence[str]
    values: dict[tuple[str, str, Measure], Values] = field(default_factory=dict)
    cases: dict[str, list[str]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    unusable: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    _rows: dict[tuple[str, str, Measure], Row] = field(default_factory=dict, repr=False)

    def add(
        self, protocol: str, model: str, case: str, measured: Mapping[Measure, tuple[float, ...]]
    ) -> None:
        """Take in what was measured on a case; a measure without a number is a failure."""
        self._rows.clear()
        empty = []
        for measure, numbers in measured.items():
            found = self.values.setdefault((protocol, model, measure), {})
            if any(math.isnan(number) for number in numbers):
                empty.append(title(measure))
            else:
                found[case] = numbers
        if empty:
            reason = f"no face was found in any frame, so no {', '.join(empty)}"
            self.failures.append(Failure(protocol, model, case, reason))

    def names(self) -> list[str]:
        """Names of all rows: floors, models, ceiling."""
        wrong = [wrong_audio(model) for model in self.models]
        return [COPY, *wrong, *self.models, GROUND_TRUTH]

    def measures(self, protocol: str) -> list[Measure]:
        """What was measured under a protocol, group by group."""
        found = list(dict.fromkeys(key[2] for key in self.values if key[0] == protocol))
        groups = list(dict.fromkeys(measure.group for measure in found))
        return sorted(found, key=lambda measure: groups.index(measure.group))

    def row(self, protocol: str, model: str, measure: Measure) -> Row | None:
        """A number of the table, if there is one; NaN for a model that failed in every case."""
        key = (protocol, model, measure)
        if key not in self._rows and (key in self.values or self._failed(protocol, model)):
            self._rows[key] = self._summarise(*key)
        return self._rows.get(key)

    def _failed(self, protocol: str, model: str) -> bool:
        measured = any(key[:2] == (protocol, model) for key in self.values)
        return not measured and any(f[:2] == (protocol, model) for f in self.failures)

    def _summarise(self, protocol: str, model: str, measure: Measure) -> Row:
        found = self.values.get((protocol, model, measure), {})
        failed = len(self.cases[protocol]) + len(self.unusable) - len(found)
        names = (model, protocol, measure.metric, measure.profile, measure.region)
        if not found:
            return Row(*names, math.nan, math.nan, math.nan, math.nan, 0, failed)
        values = torch.tensor(list(found.values()))
        if measure.whole:
            value = measure.of(values)
            return Row(*names, value, math.nan, math.nan, math.nan, len(found), failed)
        single = measure.reduce(values[:, None])
        single = single[~single.isnan()]
        std = float(single.std()) if len(single) > 1 else math.nan
        low, high = bootstrap(values, measure.reduce, seed=self.seed)
        return Row(*names, measure.of(values), std, low, high, len(found), failed)

    def rows(self) -> list[Row]:
        """The whole table."""
        found = (
            self.row(protocol, model, measure)
            for protocol in self.cases
            for measure in self.measures(protocol)
            for model in self.names()
        )
        return [row for row in found if row is not None]

    def best(self, protocol: str, measure: Measure) -> set[str]:
        """Models with the best value, to the digits shown; none where all have the same."""
        good: dict[str, Callable[[float], float]] = {
            "higher": lambda value: value,
            "lower": lambda value: -value,
            "zero": lambda value: -abs(value),
        }
        scores = {}
        for model in self.models:
            row = self.row(protocol, model, measure)
            if row is not None and not math.isnan(row.value) and measure.better in good:
                scores[model] = good[measure.better](round(row.value, measure.digits))
        if len(set(scores.values())) < 2:
            return set()
        return {model for model, score in scores.items() if score == max(scores.values())}


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table; numbers that are none are left empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_cell(value) for value in row])


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value


def write_results(path: Path, results: Results) -> None:
    """Write ``results.csv``: the columns of :class:`Row`."""
    write_csv(path, [*Row._fields], results.rows())


def write_clips(path: Path, results: Results) -> None:
    """Write ``clips.csv``: what was measured on each clip."""
    rows = [
        (model, protocol, case, m.metric, m.profile, m.region, m.of(torch.tensor([numbers])))
        for (protocol, model, m), found in results.values.items()
        if not m.whole
        for case, numbers in found.items()
    ]
    columns = ("model", "protocol", "clip", "metric", "profile", "region", "value")
    write_csv(path, columns, rows)


def arrow(measure: Measure) -> str:
    """The direction in which a measure gets better."""
    return {"higher": "↑", "lower": "↓", "zero": "→ 0", "neither": ""}[measure.better]


def title(measure: Measure) -> str:
    """A measure's name for people, with its region."""
    name = measure.label or measure.metric
    return f"{name}, {measure.region}" if measure.region else name


def definition(measure: Measure) -> str:
    """The network that reads, the profile, and the unit.

    Example:
        >>> definition(Measure("lse_c[syncnet_v2]", "lrs", unit="frames"))
        'syncnet_v2, lrs, frames'
    """
    return ", ".join(part for part in (measure.network, measure.profile, measure.unit) if part)


def show(value: float, measure: Measure) -> str:
    """A value with the measure's digits; a dash where there is none."""
    if math.isnan(value):
        return "-"
    return f"{round(value, measure.digits) + 0.0:.{measure.digits}f}"  # never -0.000


def markdown(results: Results) -> str:
    """One table per protocol: a line per measure, a column per row; the best model is bold."""
    lines = [f"# {' / '.join(results.models)}", ""]
    for protocol, cases in results.cases.items():
        names = results.names()
        lines += [
            f"## {protocol} ({len(cases)} cases)",
            "",
            "| measure | definition | " + " | ".join(names) + " |",
            "|---|---|" + "---:|" * len(names),
        ]
        for measure in results.measures(protocol):
            best = results.best(protocol, measure)
            cells = []
            for name in names:
                row = results.row(protocol, name, measure)
                text = "" if row is None else show(row.value, measure)
                if row is not None and row.failed:
                    text += f" ({row.failed} failed)"
                cells.append(f"**{text}**" if name in best else text)
            head = f"{title(measure)} {arrow(measure)} | {definition(measure)}"
            lines.append(f"| {head} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += _notes(results)
    return "\n".join(lines) + "\n"


def _notes(results: Results) -> list[str]:
    lines = []
    if results.unusable or results.failures:
        lines += ["## Failed", ""]
        lines += [f"- clip {name}: {reason}" for name, reason in results.unusable.items()]
        lines += [f"- {f.protocol}, {f.model}, {f.case}: {f.reason}" for f in results.failures]
        lines.append("")
    if results.absent:
        lines += ["## Not measured", ""]
        lines += [f"- {metric}: {reason}" for metric, reason in results.absent.items()]
        lines.append("")
    return lines
