"""The numbers that a drawn head is made from: who it is, how it is placed, what it does."""

import random
from typing import NamedTuple

import torch
from torch import Tensor


class Identity(NamedTuple):
    """What a person looks like: numbers in [0, 1], in this order in an identity tensor.

    Colours run along a chain of typical ones. ``parting`` and ``light_side`` are 0.5 in the middle;
    all else is symmetric. Glasses are worn above 0.7, beard and moustache grow from 0.75 on.
    """

    face_width: Tensor
    face_height: Tensor
    jaw_width: Tensor
    chin_length: Tensor
    cheek_fullness: Tensor
    skin_tone: Tensor
    skin_warmth: Tensor
    freckles: Tensor
    wrinkles: Tensor
    hair_colour: Tensor
    hair_length: Tensor
    hair_volume: Tensor
    hair_curl: Tensor
    hairline: Tensor
    fringe: Tensor
    parting: Tensor
    brow_thickness: Tensor
    brow_tilt: Tensor
    brow_height: Tensor
    eye_size: Tensor
    eye_spacing: Tensor
    eye_tilt: Tensor
    iris_colour: Tensor
    nose_width: Tensor
    nose_length: Tensor
    nose_bridge: Tensor
    lip_fullness: Tensor
    lip_colour: Tensor
    mouth_width: Tensor
    ear_size: Tensor
    glasses: Tensor
    glasses_shape: Tensor
    beard: Tensor
    moustache: Tensor
    clothes_colour: Tensor
    clothes_pattern: Tensor
    neckline: Tensor
    background_colour: Tensor
    background_tone: Tensor
    light_side: Tensor
    light_height: Tensor


class Pose(NamedTuple):
    """Where a head is, in this order in a pose tensor (T, 6).

    Degrees of yaw, pitch and roll: positive turns the nose to the right of the image, lifts it, and
    tilts the head clockwise; made for +-45, +-25 and +-20. ``x`` and ``y`` shift the head right and
    up by a fraction of the frame's side; ``scale`` is its size, 1 by default.
    """

    yaw: Tensor
    pitch: Tensor
    roll: Tensor
    x: Tensor
    y: Tensor
    scale: Tensor


class Expression(NamedTuple):
    """What a face does, each independent of the others, in this order in an expression tensor.

    All in [0, 1] but gaze, which is in [-1, 1] (right and up in the image). Zero is a relaxed face
    with a closed mouth. The first six are the articulation of
    `talkingface.data.synthetic.speech.speak`: how far the mouth is open, spread, rounded and pushed
    forward, pressed shut, how far the upper teeth come down to the lower lip, and how far the tip
    of the tongue is raised (at 1, with the teeth down, it lies between them).
    """

    opening: Tensor
    width: Tensor
    rounding: Tensor
    press: Tensor
    teeth: Tensor
    tongue: Tensor
    blink: Tensor
    brow: Tensor
    gaze_x: Tensor
    gaze_y: Tensor


def sample_identity(seed: int) -> Tensor:
    """Draw a person: independent uniform parameters.

    Args:
        seed: any integer; the same seed is the same person on every machine.

    Returns:
        (K,) float32 in [0, 1], ordered as `Identity`.

    Example:
        >>> len(sample_identity(7)) == len(Identity._fields)
        True
    """
    draw = random.Random(f"identity {seed}")
    return torch.tensor([draw.random() for _ in Identity._fields])


def express(frames: int, **columns: Tensor | float) -> Tensor:
    """Expression tensor of named columns, each a number or one value per frame; the rest is zero.

    Args:
        frames: T.
        columns: fields of `Expression`.

    Returns:
        (T, 10) float32.

    Raises:
        ValueError: if a name is no field of `Expression`.

    Example:
        >>> express(2, opening=torch.tensor([0.0, 0.5]), press=1.0)[:, :5]
        tensor([[0.0000, 0.0000, 0.0000, 1.0000, 0.0000],
                [0.5000, 0.0000, 0.0000, 1.0000, 0.0000]])
    """
    rest = [0.0] * len(Expression._fields)
    return _fill("expression", Expression._fields, rest, frames, columns)


def place(frames: int, **columns: Tensor | float) -> Tensor:
    """Pose tensor of named columns, each a number or one value per frame; the rest is at rest.

    Args:
        frames: T.
        columns: fields of `Pose`.

    Returns:
        (T, 6) float32; scale is 1 and all else 0 where not given.

    Raises:
        ValueError: if a name is no field of `Pose`.

    Example:
        >>> place(2, yaw=torch.tensor([0.0, 30.0]), y=0.1)
        tensor([[ 0.0000,  0.0000,  0.0000,  0.0000,  0.1000,  1.0000],
                [30.0000,  0.0000,  0.0000,  0.0000,  0.1000,  1.0000]])
    """
    rest = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    return _fill("pose", Pose._fields, rest, frames, columns)


def _fill(
    kind: str,
    names: tuple[str, ...],
    rest: list[float],
    frames: int,
    columns: dict[str, Tensor | float],
) -> Tensor:
    unknown = sorted(columns.keys() - set(names))
    if unknown:
        raise ValueError(f"no {kind} {unknown[0]!r}; known are {', '.join(names)}")
    table = torch.tensor(rest).repeat(frames, 1)
    for name, column in columns.items():
        table[:, names.index(name)] = column
    return table


def check(identity: Tensor, pose: Tensor, expression: Tensor) -> None:
    """Raise ValueError unless the three describe the same frames."""
    count, traits, actions = len(pose), len(Identity._fields), len(Expression._fields)
    if pose.shape != (count, 6) or expression.shape != (count, actions):
        raise ValueError(
            f"pose and expression must be (T, 6) and (T, {actions}), "
            f"got {tuple(pose.shape)} and {tuple(expression.shape)}"
        )
    if identity.shape not in {(traits,), (count, traits)}:
        raise ValueError(
            f"identity must be ({traits},) or (T, {traits}), got {tuple(identity.shape)}"
        )


def unpack(identity: Tensor, expression: Tensor, like: Tensor) -> tuple[Identity, Expression]:
    """Traits (T or 1, 1, 1) and actions (T, 1, 1) in the type and on the device of ``like``."""
    traits = identity.to(like).reshape(-1, len(Identity._fields), 1, 1)
    return Identity(*traits.unbind(1)), Expression(*expression.to(like)[..., None, None].unbind(1))
