"""Face images in one folder per person, as of MS-Celeb-1M.

``root/<person>/<image>.jpg``. MS-Celeb-1M, which the paper of DAVS takes a subset of, was withdrawn
by its owners; any set of this layout does. Images are square crops of one face, framed as the clips
that they are trained together with.

Citation: Y. Guo et al., "MS-Celeb-1M: A Dataset and Benchmark for Large-Scale Face Recognition",
ECCV 2016.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor
from torch.utils.data import Dataset

from talkingface.data.datasets.clips import crop_and_resize
from talkingface.data.datasets.index import FailureLog, list_reasons, reason_of
from talkingface.data.video import IMAGE_SUFFIXES, read_image


class FaceImage(NamedTuple):
    """An image, its name in messages, and whose face it shows."""

    path: str
    name: str
    identity: str


def find_face_images(root: str) -> list[FaceImage]:
    """Find the images in the folders of people, sorted by name; hidden ones are left out.

    Raises:
        FileNotFoundError: if there is no such folder, or no image in a folder below it.
    """
    if not Path(root).is_dir():
        raise FileNotFoundError(f"There is no folder {root}.")
    images = []
    for path in sorted(Path(root).glob("*/*")):
        name = path.relative_to(root)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.suffix.lower() in IMAGE_SUFFIXES and not hidden:
            images.append(FaceImage(str(path), name.as_posix(), name.parts[0]))
    if not images:
        raise FileNotFoundError(
            f"{root} has no images ({' '.join(IMAGE_SUFFIXES)}) of people: expected "
            "<person>/<image>.jpg."
        )
    return images


class FaceImageDataset(Dataset[dict[str, Tensor | int]]):
    """Images and who they show: ``faces`` (3, size, size) uint8 and ``face_identity``.

    An image that cannot be read is reported, once, and the next one takes its place.

    Args:
        images: the images.
        size: side of what comes out.
        class_names: names of the people; ``face_identity`` is an index into them.
        failures: where unreadable files are noted.

    Raises:
        ValueError: on reading, if no image at all can be read.
    """

    def __init__(
        self,
        images: Sequence[FaceImage],
        size: int,
        class_names: Sequence[str],
        failures: FailureLog,
    ) -> None:
        self.images = images
        self.size = size
        self.failures = failures
        self._labels = {name: label for label, name in enumerate(class_names)}

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        """Read an image, or the next one where it is broken."""
        for offset in range(len(self.images)):
            image = self.images[(index + offset) % len(self.images)]
            try:
                face = read_image(image.path)
                height, width = face.shape[1:]
                if abs(height - width) > 1:
                    raise ValueError(f"not square ({height} x {width} pixels): cut the face out")
                return {
                    "faces": crop_and_resize(face, self.size),
                    "face_identity": self._labels[image.identity],
                }
            except Exception as error:  # decoders fail in many ways, and training goes on
                self.failures.add(image.name, reason_of(error))
        reasons = list_reasons(self.failures.reasons())
        raise ValueError(f"None of {len(self.images)} images can be read: {reasons}.")
