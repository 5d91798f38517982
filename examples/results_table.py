"""Set what was measured here beside what the papers report: docs/results.csv, and tables of it.

    python examples/results_table.py comparison --update README.md docs/results.md

takes reports of `talkingface compare` whose models have the names in docs/paper_results.csv (DAVS,
PC-AVS, FC-TFG), writes docs/results.csv, and renews what stands in the pages between the lines

    <!-- results -->
    <!-- /results -->

`<!-- results exact; exact-still; mouth LMD -->` shows these protocols and measures alone. Without a
report the tables are those of the docs/results.csv that is there.
"""

import argparse
import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from talkingface.evaluation import PROTOCOLS
from talkingface.evaluation.measures import Measure
from talkingface.evaluation.report import RECORD
from talkingface.evaluation.results import (
    COPY,
    GROUND_TRUTH,
    arrow,
    definition,
    show,
    title,
    write_csv,
    wrong_audio,
)

DOCS = Path(__file__).parents[1] / "docs"
PAIR = re.compile(r"^(<!-- results(.*?)-->\n).*?^(<!-- /results -->)$", re.MULTILINE | re.DOTALL)
"""What surrounds a table in a page; in between it may say what is shown."""

MOTION = ("yaw", "pitch", "roll", "blink", "gaze x", "gaze y", "mouth opening")
MEASURES = {
    title(measure): measure
    for measure in (
        Measure("psnr", "", "frame", "higher", "PSNR", unit="dB", digits=2),
        Measure("psnr", "", "face", "higher", "PSNR", unit="dB", digits=2),
        Measure("ssim", "", "frame", "higher", "SSIM"),
        Measure("ssim", "", "face", "higher", "SSIM"),
        Measure("ms_ssim", "", "frame", "higher", "MS-SSIM"),
        Measure("lpips", "", "frame", "lower", "LPIPS"),
        Measure("fid", "", "frame", "lower", "FID", digits=2),
        Measure("cpbd", "", "frame", "higher", "CPBD"),
        Measure("lmd_mouth", "", "", "lower", "mouth LMD", unit="px", digits=2),
        Measure("lmd_pose", "", "", "lower", "pose LMD", unit="px", digits=2),
        *(
            Measure(
                f"correlation_{name.replace(' ', '_')}", "", "", "higher", f"{name}, correlation"
            )
            for name in MOTION
        ),
        Measure("mae_yaw", "", "", "lower", "yaw, mean error", unit="degrees", digits=2),
        Measure("lse_c", "", "", "higher", "LSE-C", digits=2),
        Measure("lse_d", "", "", "lower", "LSE-D", digits=2),
        Measure("csim", "", "", "higher", "CSIM"),
        Measure("id_squared_l2", "", "", "lower", "squared distance"),
        Measure("r@1", "", "", "higher", "R@1", unit="%", digits=1),
        Measure("r@10", "", "", "higher", "R@10", unit="%", digits=1),
    )
}
"""The measures of the table in its order, of the report's many, by the report's names for them."""

Row = dict[str, str]
WRONG = wrong_audio("")
HERE = [f"here: {COPY}", "here: wrong audio", "here", f"here: {GROUND_TRUTH}"]
SPREAD = ["low", "high", "clips", "failed"]
KIND = ["method", "protocol", "measure"]
LABELS = [*KIND, "definition"]


def read(path: Path) -> list[Row]:
    """The rows of a csv file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the folder of a comparison.")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def column(figure: Row) -> str:
    """Where a paper's figure stands."""
    return ", ".join(part for part in (f"paper: {figure['dataset']}", figure["row"]) if part)


FIGURES = read(DOCS / "paper_results.csv")
"""What the papers report, as they print it."""
PAPER = list(dict.fromkeys(column(figure) for figure in FIGURES))
COLUMNS = [
    *LABELS,
    *HERE,
    *(f"here: {name}" for name in SPREAD),
    *PAPER,
    "paper: from",
    "command",
]


def measured(folder: Path) -> list[Row]:
    """What a comparison says of each method, with floors and ceiling.

    Raises:
        FileNotFoundError: If there is no report in the folder.
        ValueError: If there is no command that repeats it.
    """
    table = read(folder / "results.csv")
    command = json.loads((folder / RECORD).read_text(encoding="utf-8"))["command"]
    if not command.startswith("talkingface "):
        raise ValueError(f"{folder} was made from Python: repeat it with `talkingface compare`.")
    known = {(measure.metric, measure.region): measure for measure in MEASURES.values()}
    kinds: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in table:
        kind = (row["protocol"], row["metric"], row["region"])
        kinds.setdefault(kind, {})[row["model"]] = row
    rows = []
    for (protocol, metric, region), found in kinds.items():
        measure = known.get((metric.split("[")[0], region))
        for method, row in found.items():
            if measure is None or method in (COPY, GROUND_TRUTH) or method.endswith(WRONG):
                continue
            defined = definition(replace(measure, metric=metric, profile=row["profile"]))
            labels = (method, protocol, title(measure), defined)
            cells = dict(zip(LABELS, labels, strict=True))
            for name, of in zip(HERE, (COPY, method + WRONG, method, GROUND_TRUTH), strict=True):
                cells[name] = found[of]["value"] if of in found else ""
            if not any(cells[name] for name in HERE):  # heads that keep still do not correlate
                continue
            cells |= {f"here: {name}": row[name] for name in SPREAD}
            rows.append({**cells, "command": command})
    return rows


def others(path: Path, rows: Sequence[Row]) -> list[Row]:
    """What a table has measured before, of other methods or protocols than the rows'."""
    fresh = {(row["method"], row["protocol"]) for row in rows}
    names = [name for name in COLUMNS if not name.startswith("paper")]
    return [
        {name: row[name] for name in names}
        for row in read(path)
        if row["here"] and (row["method"], row["protocol"]) not in fresh
    ]


def beside(rows: Sequence[Row]) -> list[Row]:
    """Add the papers' figures: to what was measured of the kind, or by themselves.

    Raises:
        ValueError: If a number was measured twice.
    """
    kinds: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        same = kinds.setdefault(tuple(row[name] for name in KIND), [])
        if any(row["definition"] == other["definition"] for other in same):
            raise ValueError(f"{row['method']} is in two comparisons under {row['protocol']!r}.")
        same.append(row)
    for figure in FIGURES:
        kind = tuple(figure[name] for name in KIND)
        for row in kinds.setdefault(kind, [dict(zip(KIND, kind, strict=True))]):
            row[column(figure)] = figure["value"]
            source = f"{figure['paper']}, {figure['table']}"
            sources = row.get("paper: from", "")
            if source not in sources:
                row["paper: from"] = f"{sources}; {source}" if sources else source
    methods = list(dict.fromkeys(row["method"] for row in (*FIGURES, *rows)))
    orders = (methods, list(PROTOCOLS), list(MEASURES))

    def place(row: Row) -> list[int]:
        return [order.index(row[name]) for order, name in zip(orders, KIND, strict=True)]

    found = sorted((row for same in kinds.values() for row in same), key=place)
    return [{name: row.get(name, "") for name in COLUMNS} for row in found]


def select(rows: Iterable[Row], words: str) -> list[Row]:
    """The rows of the protocols and measures that are named, between semicolons.

    Raises:
        ValueError: If there is no such protocol or measure.
    """
    named = [word.strip() for word in words.split(";") if word.strip()]
    for word in named:
        if word not in PROTOCOLS and word not in MEASURES:
            known = "; ".join([*PROTOCOLS, *MEASURES])
            raise ValueError(f"no protocol or measure {word!r}: there are {known}.")
    protocols = [word for word in named if word in PROTOCOLS] or PROTOCOLS
    measures = [word for word in named if word in MEASURES] or MEASURES
    return [row for row in rows if row["protocol"] in protocols and row["measure"] in measures]


def markdown(rows: Sequence[Row]) -> str:
    """A table of rows, and below it the commands that made them; nothing of no rows."""
    if not rows:
        return ""
    # Of the papers only what they say of these rows; their floors and ceilings go in brackets.
    whole = [name for name in PAPER if ", " not in name and any(row[name] for row in rows)]
    extra = ["paper: from"] if whole else []
    titles = [*LABELS, *HERE, *whole, *extra]
    ends = ["---"] * len(LABELS) + ["---:"] * len([*HERE, *whole]) + ["---"] * len(extra)
    lines = [f"| {' | '.join(titles)} |", f"|{'|'.join(ends)}|"]
    for row in rows:
        measure = MEASURES[row["measure"]]
        labels = [row["method"], row["protocol"], f"{row['measure']} {arrow(measure)}"]
        here = [show(float(row[name] or "nan"), measure) for name in HERE]
        if row["here: failed"] not in ("", "0"):
            here[2] += f" ({row['here: failed']} failed)"
        cells = [*labels, row["definition"], *here, *(reported(row, name) for name in whole)]
        lines.append(f"| {' | '.join([*cells, *(row[name] for name in extra)])} |")
    for command in dict.fromkeys(row["command"] for row in rows if row["command"]):
        made = [row for row in rows if row["command"] == command]
        methods = ", ".join(dict.fromkeys(row["method"] for row in made))
        clips = max(int(row["here: clips"]) for row in made)
        lines += ["", f"Measured here on {clips} clips ({methods}):", "", "```bash", command, "```"]
    return "\n".join(lines) + "\n"


def reported(row: Row, name: str) -> str:
    """A paper's figure, and in brackets what it gives as floor or ceiling."""
    others = [other for other in PAPER if other.startswith(f"{name}, ") and row[other]]
    limits = "; ".join(f"{other.split(', ')[1]} {row[other]}" for other in others)
    return f"{row[name]} ({limits})" if limits else row[name] or "-"


def fill(page: str, rows: Sequence[Row]) -> str:
    """Renew the tables of a page."""

    def table(pair: re.Match[str]) -> str:
        text = markdown(select(rows, pair[2]))
        return f"{pair[1]}\n{text}\n{pair[3]}" if text else pair[1] + pair[3]

    return PAIR.sub(table, page)


def main() -> None:
    """Write the csv, print the table, renew the pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comparisons", type=Path, nargs="*", help="folders of reports")
    parser.add_argument("--csv", type=Path, default=DOCS / "results.csv", help="%(default)s")
    parser.add_argument(
        "--add", action="store_true", help="keep what the csv has of other methods and protocols"
    )
    parser.add_argument("--markdown", action="store_true", help="print the whole table")
    parser.add_argument("--update", type=Path, nargs="+", default=[], help="pages to renew")
    options = parser.parse_args()
    if options.comparisons:
        rows = [row for folder in options.comparisons for row in measured(folder)]
        rows = beside([*(others(options.csv, rows) if options.add else []), *rows])
        write_csv(options.csv, COLUMNS, (list(row.values()) for row in rows))
    rows = read(options.csv)
    if options.markdown:
        print(markdown(rows))
    for path in options.update:
        page = path.read_text(encoding="utf-8")
        if not PAIR.search(page):
            raise ValueError(f"{path} has no lines <!-- results --> and <!-- /results -->.")
        path.write_text(fill(page, rows), encoding="utf-8")


if __name__ == "__main__":
    main()
