"""Look at the offsets between sound and picture of the clips of a folder.

Prints a histogram, and the names of clips that are more than a frame off. An expert that was
trained on clips which are out of sync has learnt their offset: use one of other data, and compare
clips with one another rather than with zero where the data differ much from what it knows.

    python examples/check_sync.py MODEL CLIPS
"""

import argparse
from collections.abc import Iterator

from torch import Tensor

from talkingface.data.audio import read_audio
from talkingface.data.batch import SAMPLES_PER_FRAME, to_float
from talkingface.data.datasets.folder import find_folder_clips
from talkingface.data.video import VideoClip
from talkingface.models.experts.syncnet.expert import SyncExpert
from talkingface.models.experts.syncnet.offsets import offset_histogram


def read_clips(folder: str, shortest: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, frames and sound of all clips that are long enough; the others are named."""
    for clip in find_folder_clips(folder):
        try:
            frames = to_float(VideoClip(clip.path)[:])
            sound = read_audio(clip.path, 0, len(frames) * SAMPLES_PER_FRAME)
        except ValueError as error:
            print(f"not measured: {error}")
            continue
        if len(frames) < shortest:
            print(f"not measured: {clip.name} has {len(frames)} frames, {shortest} are needed")
        else:
            yield clip.name, frames, sound


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder or .ckpt of a SyncExpert")
    parser.add_argument("clips", help="folder of face clips, like those of training")
    parser.add_argument("--vshift", type=int, default=15, help="largest offset (default: 15)")
    options = parser.parse_args()
    expert = SyncExpert.from_pretrained(options.model)
    clips = read_clips(options.clips, options.vshift + 5)
    histogram = offset_histogram(expert, clips, options.vshift)
    print(f"Frames by which the sound is ahead (+) or behind (-), {len(histogram.offsets)} clips:")
    print(histogram)
    for name, offset in sorted(histogram.out_of_sync().items()):
        print(f"out of sync: {name} {offset:+d}")


if __name__ == "__main__":
    main()
