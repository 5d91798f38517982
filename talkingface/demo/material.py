"""What the demo's video is made of: a picture, speech and motion, drawn or from files."""

from pathlib import Path

from torch import Tensor

from talkingface.data.audio import read_audio
from talkingface.data.batch import Frames
from talkingface.data.video import VideoClip, read_image
from talkingface.evaluation.footage import corpus_footage
from talkingface.generation import VideoGenerator

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
        ValueError: If it cannot be read.

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
        self.source, self.driving = source, driving
        # What is wrong with a file is said before models are opened.
        if source is not None:
            read_image(source)
        if driving is not None:
            VideoClip(driving)
        self._person, self._mover, speaker = corpus_footage(3, SECONDS, seed=0)
        self.speech = speaker.audio if audio is None else read_audio(audio)
        drawn = {"source": self._person, "driving": self._mover, "speech": speaker}
        given = {"source": source, "driving": driving, "speech": audio}
        self.titles = {
            name: f"drawn person {clip.name.split('/')[0]}"
            if (path := given[name]) is None
            else Path(path).name
            for name, clip in drawn.items()
        }

    def picture(self, generator: VideoGenerator) -> Tensor:
        """The picture in a model's crop, (3, H, W).

        Raises:
            ValueError: If no face is found in it.
        """
        if self.source is not None:
            return generator.source(self.source)
        return self._person.first(generator.model.image_size)

    def motion(self, generator: VideoGenerator) -> Frames:
        """The motion in a model's crop, T frames (3, H, W).

        Raises:
            ValueError: If no face can be followed in it.
        """
        if self.driving is not None:
            return generator.driving(self.driving)
        return self._mover.frames(generator.model.image_size)
