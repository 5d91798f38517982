"""What the demo's video is made of: a picture, speech and motion, drawn or from files."""

import logging
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from talkingface.data.audio import read_audio
from talkingface.data.batch import Frames
from talkingface.data.faces import CroppedClip, FaceDetector, locate_face, track_face
from talkingface.data.video import VideoClip, read_image
from talkingface.evaluation.footage import corpus_footage
from talkingface.generation import ForwardClip, VideoGenerator, open_device

log = logging.getLogger(__name__)

SECONDS = 4.0
"""Length of drawn speech and motion."""


class Material:
    """A picture, speech and motion; where no file is given, those of three drawn people.

    They are the first three people of the test split, as in the first case of the protocol
    ``exact``: no model was trained on their looks or voices. Frames of drawn people are every
    model's crop; in files the face is found, and cropped as each model's method does.

    Args:
        source: Picture of a person.
        audio: A sound file, or a video with sound.
        driving: Video of whoever moves.

    Attributes:
        speech: (samples,) at 16 kHz.
        titles: Where the picture, the speech and the motion come from.

    Raises:
        FileNotFoundError: If there is no file at a path.
        ValueError: If it cannot be read, or no face is found in it.

    Example:
        >>> Material().titles["source"]
        'drawn person id900000'
    """

    def __init__(
        self,
        source: str | Path | None = None,
        audio: str | Path | None = None,
        driving: str | Path | None = None,
    ) -> None:
        self._person, self._mover, speaker = corpus_footage(3, SECONDS, seed=0)
        self.speech = speaker.audio if audio is None else read_audio(audio)
        self._photo = None if source is None else read_image(source)
        self._clip = None if driving is None else VideoClip(driving)
        # A face is found once; its crop is another one for each method.
        if self._photo is not None:
            detector = FaceDetector(open_device("auto"))
            self._place = locate_face(self._photo, detector=detector, name=str(source))
        if self._clip is not None:
            log.info("Following the face in %s", driving)
            self._track = track_face(self._clip, detector=FaceDetector(open_device("auto")))
        drawn = {"source": self._person, "driving": self._mover, "speech": speaker}
        given = {"source": source, "driving": driving, "speech": audio}
        self.titles = {
            name: f"drawn person {clip.name.split('/')[0]}"
            if (path := given[name]) is None
            else Path(path).name
            for name, clip in drawn.items()
        }

    @property
    def has_own_motion(self) -> bool:
        """Whether the motion is a file's."""
        return self._clip is not None

    def picture(self, generator: VideoGenerator) -> Tensor:
        """The picture in a model's crop, (3, H, W)."""
        size = generator.model.image_size
        if self._photo is None:
            return self._person.first(size)
        place = replace(self._place, template=generator.template)
        return place.crop(self._photo[None], size=size)[0]

    def motion(self, generator: VideoGenerator) -> Frames:
        """The motion in a model's crop, T frames (3, H, W)."""
        size = generator.model.image_size
        if self._clip is None:
            return self._mover.frames(size)
        track = replace(self._track, template=generator.template)
        return ForwardClip(CroppedClip(self._clip, track, size))
