"""VoxCeleb2: a million utterances of 6,112 celebrities, cut from interviews.

The corpus is gated: its owners give access on request, see
https://mm.kaist.ac.kr/datasets/voxceleb. The videos are 224 x 224 face crops at 25 fps with 16 kHz
sound; metadata is licensed CC BY 4.0, the videos remain their owners'.

Citation: J. S. Chung, A. Nagrani, A. Zisserman, "VoxCeleb2: Deep Speaker Recognition", Interspeech
2018.
"""

from pathlib import Path

from talkingface.data.datasets.index import ClipFile

LAYOUT = "{dev,test}/[mp4/]id*/<video>/<clip>.mp4 or id*/<video>/<clip>.mp4"
"""Where the corpus's own archives put the clips, below the root."""


def find_voxceleb2_clips(root: str) -> list[ClipFile]:
    """Find the clips of VoxCeleb2 in the corpus's own folders, sorted by name.

    Args:
        root: folder that holds ``dev`` and ``test``, or the ``id*`` folders.

    Raises:
        FileNotFoundError: if there are none.
    """
    files = [
        ClipFile(str(path), path.relative_to(root).as_posix(), path.parts[-3])
        for part in ("", "dev", "dev/mp4", "test", "test/mp4", "mp4")
        for path in (Path(root) / part).glob("id*/*/*.mp4")
        if not path.name.startswith(".")  # a half-written file
    ]
    if not files:
        raise FileNotFoundError(
            f"{root} has no clips of VoxCeleb2: expected {LAYOUT}. The corpus is gated; its owners "
            "give access at https://mm.kaist.ac.kr/datasets/voxceleb."
        )
    return sorted(files, key=lambda file: file.name)
