"""The folder of a report: it appears whole, or not at all."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from talkingface.evaluation.page import Video, page
from talkingface.evaluation.results import Results, markdown, write_clips, write_results
from talkingface.models.pretrained import replace_folder

RECORD = "repeat.json"
"""What a report is known by: with this file, a folder is one, and can be replaced."""
FILES = {"index.html", "results.csv", "results.md", "clips.csv", "videos", RECORD}
"""What a report consists of."""


def check_out(out: Path) -> None:
    """Look at the folder to write before anything is computed.

    Raises:
        ValueError: If it holds something other than a report, or is the current folder.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> _ = (folder / "thesis.tex").write_text("years of work")
        >>> check_out(folder)
        Traceback (most recent call last):
        ...
        ValueError: ... holds something other than a report (thesis.tex): give a new folder.
    """
    if out.is_file():
        raise ValueError(f"{out} is a file: give a folder to write the report to.")
    if not out.is_dir():
        return
    other = sorted(file.name for file in out.iterdir() if file.name not in FILES)
    if other or (any(out.iterdir()) and not (out / RECORD).is_file()):
        raise ValueError(
            f"{out} holds something other than a report ({other[0] if other else 'parts of one'}): "
            "give a new folder."
        )
    if out.resolve() == Path.cwd():
        raise ValueError(f"{out} is the current folder, which cannot be replaced: give another.")


@contextmanager
def report_folder(out: Path) -> Iterator[Path]:
    """A folder that takes the name ``out`` when the block ends; if it fails, nothing is left.

    Example:
        >>> out = getfixture("tmp_path") / "report"
        >>> with report_folder(out) as folder:
        ...     _ = (folder / "results.md").write_text("done")
        >>> [file.name for file in out.iterdir()]
        ['results.md']
    """
    out = out.resolve()  # behind a link to a folder
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        yield fresh
        fresh.chmod(0o755)
        replace_folder(fresh, out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def write_report(
    folder: Path, results: Results, record: dict[str, Any], videos: Sequence[Video]
) -> None:
    """Write tables, page and record."""
    write_results(folder / "results.csv", results)
    write_clips(folder / "clips.csv", results)
    files = {
        "results.md": markdown(results),
        "index.html": page(results, record, videos),
        RECORD: json.dumps(record, indent=2, ensure_ascii=False) + "\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
