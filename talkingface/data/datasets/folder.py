"""Any folder of face clips."""

from pathlib import Path

from talkingface.data.datasets.index import ClipFile
from talkingface.data.video import VIDEO_SUFFIXES


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
    for path in sorted(Path(root).rglob("*")):
        name = path.relative_to(root)
        hidden = any(part.startswith(".") for part in name.parts)  # half-written, or a trash folder
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and not hidden:
            identity = name.parts[0] if len(name.parts) > 1 else name.stem
            files.append(ClipFile(str(path), name.as_posix(), identity))
    if not files:
        raise FileNotFoundError(
            f"{root} has no video files ({' '.join(VIDEO_SUFFIXES)}): expected clips of faces in "
            "it, or in one sub-folder per person."
        )
    return files
