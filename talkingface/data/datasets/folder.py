"""Any folder of face clips."""

import os
from pathlib import Path

from talkingface.data.datasets.index import ClipFile
from talkingface.data.video import VIDEO_SUFFIXES


def find_videos(root: Path) -> list[Path]:
    """Find all video files under a folder, at any depth, sorted by name.

    Links to folders are followed, each folder is looked through once; hidden ones are left out, as
    hidden files are: half-written ones, or a trash folder.

    Example:
        >>> root = getfixture("tmp_path")
        >>> for name in ("b/two.mp4", "one.MP4", ".trash/three.mp4", "b/.part.mp4", "b/notes.txt"):
        ...     (root / name).parent.mkdir(exist_ok=True)
        ...     (root / name).touch()
        >>> (root / "a").symlink_to(root / "b")  # the same folder once more
        >>> [path.relative_to(root).as_posix() for path in find_videos(root)]
        ['b/two.mp4', 'one.MP4']
    """
    found, seen = [], set[str]()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        inside = [name for name in subfolders if not name.startswith(".")]
        # Links come last: where one leads back into the tree, its own name counts.
        subfolders[:] = sorted(inside, key=lambda name: (os.path.islink(f"{folder}/{name}"), name))
        if os.path.realpath(folder) in seen:
            subfolders.clear()
            continue
        seen.add(os.path.realpath(folder))
        files = (Path(folder, name) for name in names if not name.startswith("."))
        found += [f for f in files if f.suffix.lower() in VIDEO_SUFFIXES and f.is_file()]
    return sorted(found)


def find_folder_clips(root: str) -> list[ClipFile]:
    """Find all video files under a folder, at any depth, sorted by name; hidden ones are left out.

    The identity is the first sub-folder of a clip, or the clip itself where it lies in the folder.

    Args:
        root: the folder.

    Raises:
        FileNotFoundError: if there is no such folder, or no video file in it.
    """
    if not Path(root).is_dir():
        raise FileNotFoundError(f"There is no folder {root}.")
    files = []
    for path in find_videos(Path(root)):
        name = path.relative_to(root)
        identity = name.parts[0] if len(name.parts) > 1 else name.stem
        files.append(ClipFile(str(path), name.as_posix(), identity))
    if not files:
        raise FileNotFoundError(
            f"{root} has no video files ({' '.join(VIDEO_SUFFIXES)}): expected clips of faces in "
            "it, or in one sub-folder per person."
        )
    return files
