"""The published protocols: which picture, sound and motion a model gets, and what is the truth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from talkingface.data.batch import SAMPLES_PER_FRAME
from talkingface.data.synthetic.clip import SyntheticClip, cross
from talkingface.evaluation.footage import CorpusFootage, Footage, other_than


@dataclass(frozen=True)
class Case:
    """One video to make, and the truth it is held against.

    Args:
        name: What reports call it.
        source: Clip whose first frame is the picture of the person.
        audio: Speech, (T * 640,) at 16 kHz.
        wrong_audio: Another clip's, as long.
        driving: Where motion comes from that speech does not decide; None: the picture stays.
        target: The truth, T frames.
        lips: Somebody who says what ``audio`` says, for models that lips can drive.
        wrong_lips: The same of ``wrong_audio``.
        relay: A person and speech through which the model itself passes the driving motion first:
            what it makes of them is then its driving video (see :func:`pose_driven`).

    Raises:
        ValueError: If target and sounds differ in length.
    """

    name: str
    source: Footage
    audio: Tensor
    wrong_audio: Tensor
    driving: Footage | None
    target: Footage
    lips: Footage
    wrong_lips: Footage
    relay: tuple[Footage, Tensor] | None = None

    def __post_init__(self) -> None:
        wanted = len(self.target) * SAMPLES_PER_FRAME
        for name, sound in (("audio", self.audio), ("wrong_audio", self.wrong_audio)):
            if len(sound) != wanted:
                raise ValueError(
                    f"{self.name}: {name} has {len(sound)} samples, but the target's "
                    f"{len(self.target)} frames last {wanted}: give clips of equal length."
                )


def fit_sound(audio: Tensor, samples: int) -> Tensor:
    """Cut a sound, or play it again, to a length.

    Example:
        >>> import torch
        >>> fit_sound(torch.tensor([1.0, 2.0]), 5)
        tensor([1., 2., 1., 2., 1.])
    """
    return audio.repeat(-(-samples // len(audio)))[:samples]


def self_driven(footage: Sequence[Footage]) -> list[Case]:
    """Rebuild a clip from its first frame, its sound and its own motion.

    FC-TFG's protocol (section 4.2.3): the first frame is the identity reference, the remaining
    frames decide pose, expression and lips, and are the truth. PC-AVS (section 4.2) evaluates
    alike, but for where the pose comes from: see :func:`pose_driven`.
    """
    cases = []
    for index, clip in enumerate(footage):
        rest, wrong = clip.rest(), footage[other_than(footage, index)]
        wrong_audio = fit_sound(wrong.audio, len(rest.audio))
        cases.append(Case(clip.name, clip, rest.audio, wrong_audio, rest, rest, rest, wrong))
    return cases


def pose_driven(footage: Sequence[Footage]) -> list[Case]:
    """Rebuild a clip from its first frame and its sound, with its pose seen on someone else.

    PC-AVS's protocol (section 4.2, "Image Generation Paradigm"): so that the mouth cannot be
    copied, the pose source is another person who says something else while moving like the
    target. What is made is compared with the clip's own frames. The paper makes the pose source
    with the model under test ("use the target frames as pose sources to drive another reference
    image together with a different audio"), and so do real clips here; on the corpus it is drawn,
    exactly. A method without pose control gets no pose source (the paper's "Fix Pose").
    """
    cases = []
    for index, clip in enumerate(footage):
        rest, other = clip.rest(), footage[other_than(footage, index)]
        wrong_audio = fit_sound(other.audio, len(rest.audio))
        name = f"{clip.name}, pose through {other.name}"
        driving: Footage = rest
        relay = None
        if isinstance(clip, CorpusFootage) and isinstance(other, CorpusFootage):
            driving = CorpusFootage(cross(other.clip, other.clip, clip.clip)).rest()
        else:
            relay = (other, wrong_audio)
        sounds = (rest.audio, wrong_audio)
        cases.append(Case(name, clip, *sounds, driving, rest, rest, other, relay))
    return cases


def exact(footage: Sequence[Footage]) -> list[Case]:
    """Cross-driven: person A, pose, blink and gaze of B, speech of C, against the exact truth.

    Only a drawn corpus has it: the target is drawn from A's looks, B's motion and C's speech.

    Raises:
        ValueError: If the clips are not drawn ones, or fewer than three.
    """
    return [_crossed(*clips) for clips in _quartets(footage)]


def exact_still(footage: Sequence[Footage]) -> list[Case]:
    """Cross-driven, but the head stays: person A in the pose of A's picture, speech of C.

    :func:`exact` for methods without pose control; the others get no driving video.

    Raises:
        ValueError: If the clips are not drawn ones, or fewer than three.
    """
    return [_crossed(person, None, *speeches) for person, _, *speeches in _quartets(footage)]


def _quartets(footage: Sequence[Footage]) -> list[tuple[SyntheticClip, ...]]:
    """Clips of a person, a motion, a speech and a wrong speech (of three clips, the person's)."""
    clips = [item.clip for item in footage if isinstance(item, CorpusFootage)]
    if len(clips) < len(footage):
        raise ValueError("exact targets are drawn: this protocol needs the synthetic corpus.")
    if len(clips) < 3:
        raise ValueError(f"person, motion and speech are three clips' own: {len(clips)} are here.")
    turned = [clips[step:] + clips[:step] for step in range(4)]
    return list(zip(*turned, strict=True))


def _crossed(
    person: SyntheticClip, motion: SyntheticClip | None, speech: SyntheticClip, wrong: SyntheticClip
) -> Case:
    target = CorpusFootage(cross(person, speech, motion))
    name = f"{person.name}, speech of {speech.name}"
    if motion is not None:
        name = f"{person.name}, motion of {motion.name}, speech of {speech.name}"
    return Case(
        name,
        CorpusFootage(person),
        target.audio,
        fit_sound(wrong.audio, len(target.audio)),
        None if motion is None else CorpusFootage(motion),
        target,
        CorpusFootage(speech),
        CorpusFootage(wrong),
    )


PROTOCOLS: dict[str, Callable[[Sequence[Footage]], list[Case]]] = {
    "self": self_driven,
    "pose": pose_driven,
    "exact": exact,
    "exact-still": exact_still,
}
"""The protocols by the names that the command line knows."""
