"""MEAD: actors who speak with eight emotions at three intensities, filmed from seven sides.

The corpus is for research: see https://wywu.github.io/projects/MEAD/MEAD.html for its parts and
terms. Videos are whole pictures of 1920 x 1080 at 30 fps, the sound lies in folders of its own;
`talkingface prepare` brings both together as crops at 25 fps.

Citation: K. Wang, Q. Wu, L. Song, Z. Yang, W. Wu, C. Qian, R. He, Y. Qiao, C. C. Loy, "MEAD: A
Large-Scale Audio-Visual Dataset for Emotional Talking-Face Generation", ECCV 2020.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from talkingface.data.datasets.index import ClipFile

LAYOUT = "<actor>/video/<view>/<emotion>/level_<n>/<number>.mp4"
"""Where the corpus's own archives put the videos, below the root."""
SOUND = "<actor>/audio/<emotion>/level_<n>/<number>.m4a"
"""Where they put the sound (or ``.wav``)."""


def find_mead_clips(root: str | Path, view: str = "front") -> list[ClipFile]:
    """Find the clips of one view of MEAD in the corpus's own folders, sorted by name.

    Args:
        root: folder of the actors' folders.
        view: folder of the view: ``"front"``, ``"left_30"``, ``"down"``...

    Raises:
        FileNotFoundError: if there are none.
    """
    files = []
    for path in sorted(Path(root).glob(f"*/video/{view}/*/level_*/*.mp4")):
        if not path.name.startswith("."):  # a half-written file
            sound = find_sound(path)
            name = path.relative_to(root)
            audio = None if sound is None else str(sound)
            files.append(ClipFile(str(path), name.as_posix(), name.parts[0], audio))
    if not files:
        raise FileNotFoundError(
            f"{root} has no clips of MEAD's view {view!r}: expected {LAYOUT}, with sound in "
            f"{SOUND}. See https://wywu.github.io/projects/MEAD/MEAD.html."
        )
    return files


def find_sound(path: str | Path) -> Path | None:
    """Find the file with a video's sound, if the video lies in MEAD's folders and has one.

    Example:
        >>> find_sound("holiday/beach.mp4") is None
        True
    """
    path = Path(path)
    if len(path.parts) < 6 or path.parts[-5] != "video":
        return None
    actor, (*_, emotion, level, _) = path.parents[4], path.parts
    for suffix in (".m4a", ".wav"):
        sound = (actor / "audio" / emotion / level / path.name).with_suffix(suffix)
        if sound.is_file():
            return sound
    return None


def is_mead(root: str | Path) -> bool:
    """Whether a folder is laid out like MEAD."""
    return any(Path(root).glob("*/video/*/*/level_*"))


def choose_speakers(actors: Iterable[str], speakers: int = 5, seed: int = 0) -> set[str]:
    """Draw the speakers of FC-TFG's protocol, the same for the same seed.

    Example:
        >>> len(choose_speakers(["M003", "M005", "W009"], speakers=2))
        2
    """
    known = sorted(set(actors))
    return set(random.Random(seed).sample(known, min(speakers, len(known))))


def choose_test_clips(
    files: Sequence[ClipFile], speakers: int = 5, videos: int = 5, seed: int = 0
) -> list[ClipFile]:
    """Draw the clips of FC-TFG's protocol (section 4.1.1): random speakers, and videos of each.

    "We randomly choose five speakers and five videos for each emotion category": of each of the
    speakers as many videos of each emotion, whatever the level; all where there are fewer.

    Args:
        files: the clips of one view.
        speakers: how many speakers.
        videos: how many videos of each speaker and emotion.
        seed: of the choice.
    """
    chosen = choose_speakers((file.identity for file in files), speakers, seed)
    groups: dict[tuple[str, str], list[ClipFile]] = defaultdict(list)
    for file in sorted(files, key=lambda file: file.name):
        if file.identity in chosen:
            groups[file.identity, Path(file.name).parts[3]].append(file)
    draw = random.Random(seed)
    drawn = [draw.sample(groups[key], min(videos, len(groups[key]))) for key in sorted(groups)]
    return sorted(file for group in drawn for file in group)
