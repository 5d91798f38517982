"""What the models of the package do: a video side by side, a sheet, and a page with numbers."""

import json
import logging
import shlex
from pathlib import Path

from talkingface.demo.film import make_film
from talkingface.demo.material import Material
from talkingface.demo.page import write_page
from talkingface.evaluation import compare
from talkingface.evaluation.comparison import choose_protocols
from talkingface.evaluation.report import check_out
from talkingface.generation import VideoGenerator
from talkingface.models.base import TalkingFaceModule
from talkingface.models.bundled import bundled_names, find_bundled
from talkingface.models.pretrained import resolve_class

__all__ = ["bundled_generators", "demo"]

log = logging.getLogger(__name__)

CLIPS, SECONDS, SIZE = 4, 3.0, 96
"""What is measured: clips of each protocol, their length, and the side of the evaluation crop."""


def bundled_generators() -> list[str]:
    """Names of the models in the package that animate faces.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If a file is not the one that the package came with.
    """
    names = []
    for name in bundled_names():
        config = json.loads((find_bundled(name) or Path()).joinpath("config.json").read_bytes())
        if issubclass(resolve_class(config["class"]), TalkingFaceModule):
            names.append(name)
    if not names:
        raise FileNotFoundError(
            "this package came without models that animate faces: train one (talkingface fit "
            "--config pc_avs/main_tiny --data.root CLIPS) and let it speak (talkingface generate)."
        )
    return names


def demo(
    out: str | Path = "demo",
    source: str | Path | None = None,
    audio: str | Path | None = None,
    driving: str | Path | None = None,
) -> list[Path]:
    """Let every model of the package that animates faces speak, and measure them.

    The video shows what is given; numbers are of drawn people, for whom there is an exact truth.

    Args:
        out: Folder to write ``demo.mp4`` and its poster, ``sheet.png``, ``index.html`` and the
            report ``comparison`` to; those of an earlier demo are replaced.
        source: Picture of a person; a drawn one by default, whom no model was trained on.
        audio: Speech: a sound file, or a video with sound; a drawn person's by default.
        driving: Video that the motion of the head comes from; another drawn person's by default.

    Returns:
        Paths of the video, the sheet and the page.

    Raises:
        FileNotFoundError: If there is no file at a path, or no model in the package.
        ValueError: If a file cannot be used, or ``out`` is no folder to write to.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: give a folder to write the demo to.")
    check_out(out / "comparison")
    names = bundled_generators()
    material = Material(source, audio, driving)
    generators = {name: VideoGenerator(name) for name in names}
    log.info("Animating with %s", ", ".join(names))
    video, sheet = make_film(generators, material, out / "demo.mp4", out / "sheet.png")

    protocols = choose_protocols(None, True, generators.values(), CLIPS)
    protocols = [name for name in protocols if name.startswith("exact")]
    words = ["talkingface", "compare", "--models", *names, "--protocols", *protocols]
    options = {"--clips": CLIPS, "--seconds": SECONDS, "--size": SIZE, "--videos": 0}
    words += [str(word) for option in options.items() for word in option]
    report = out / "comparison"
    command = shlex.join([*words, "--output", str(report)])
    log.info("Measuring: %s", command)
    rows = compare(
        names, "synthetic", CLIPS, report, protocols, SIZE, SECONDS, shown=0, command=command
    )
    return [video, sheet, write_page(out / "index.html", rows, material, command)]
