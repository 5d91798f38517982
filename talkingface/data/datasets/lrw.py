"""LRW: half a million clips of 500 words, spoken by hundreds of people in BBC programmes.

The corpus is gated: its owners give access to researchers after an agreement with the BBC, see
https://www.robots.ox.ac.uk/~vgg/data/lip_reading/lrw1.html. Clips are 29 frames of 256 x 256 at
25 fps with sound, the word in the middle; a text file beside each says how long the word is.

Citation: J. S. Chung, A. Zisserman, "Lip Reading in the Wild", ACCV 2016.
"""

from pathlib import Path
from typing import Literal, NamedTuple

from talkingface.data.datasets.index import ClipFile

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
"""The corpus's own parts."""
LAYOUT = "[lipread_mp4/]<WORD>/{train,val,test}/<WORD>_<number>.mp4 with <WORD>_<number>.txt"
"""Where the corpus's own archive puts the clips, below the root."""


class WordFile(NamedTuple):
    """A clip of a word; nothing is known of who says it."""

    file: ClipFile
    word: str


def find_lrw_clips(root: str, split: Split) -> list[WordFile]:
    """Find the clips of a split of LRW in the corpus's own folders, sorted by name.

    Args:
        root: folder that holds ``lipread_mp4``, or the words' folders.
        split: ``"train"``, ``"val"`` or ``"test"``.

    Raises:
        FileNotFoundError: if there are none.
    """
    whole = Path(root) / "lipread_mp4"
    base = whole if whole.is_dir() else Path(root)
    files = []
    for path in base.glob(f"*/{split}/*.mp4"):
        if not path.name.startswith("."):  # a half-written file
            name = path.relative_to(root).as_posix()
            files.append(WordFile(ClipFile(str(path), name, path.stem), path.parts[-3]))
    if not files:
        raise FileNotFoundError(
            f"{root} has no {split} clips of LRW: expected {LAYOUT}. The corpus is gated; its "
            "owners give access at https://www.robots.ox.ac.uk/~vgg/data/lip_reading/lrw1.html."
        )
    return sorted(files, key=lambda found: found.file.name)


def read_word_seconds(path: str | Path) -> float:
    """How long the word of a clip is, from the text file beside the clip.

    Args:
        path: the clip or its text file.

    Raises:
        FileNotFoundError: if there is no text file.
        ValueError: if it does not say the duration.
    """
    text = Path(path).with_suffix(".txt")
    if not text.is_file():
        raise FileNotFoundError(f"{text} is missing: it comes with the clip and has its duration.")
    for line in text.read_text(encoding="utf-8").splitlines():
        field, _, value = line.partition(":")
        if field.strip().lower() == "duration":
            try:
                return float(value.split()[0])
            except (IndexError, ValueError):
                break
    raise ValueError(f'{text} has no line such as "Duration: 0.53 seconds": restore the file.')
