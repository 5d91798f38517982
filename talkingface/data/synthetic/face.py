"""A talking head drawn from numbers: every pixel has exact labels.

The head is made of ellipsoids seen by an orthographic camera (`solids`). Each pixel's ray meets the
surface in closed form, and eyes, brows and mouth (`features`) are painted where it lands, in the
head's own coordinates (`anatomy`): rotation brings parallax, foreshortening, occlusion and shading
by itself. Wall, hair, body, face, ears, nose and glasses are layers, laid from back to front. Edges
are one pixel soft.
"""

from typing import Literal

import torch
from torch import Tensor

from talkingface.data.synthetic import anatomy, scenery
from talkingface.data.synthetic.glasses import lay_glasses
from talkingface.data.synthetic.hair import lay_hair, lay_hair_behind
from talkingface.data.synthetic.heads import lay_head
from talkingface.data.synthetic.landmarks import landmarks
from talkingface.data.synthetic.palette import CODE, Inks
from talkingface.data.synthetic.solids import look
from talkingface.data.synthetic.traits import (
    Expression,
    Identity,
    Pose,
    check,
    express,
    place,
    sample_identity,
    unpack,
)

__all__ = [
    "CODE",
    "Expression",
    "Identity",
    "Pose",
    "express",
    "face_mask",
    "landmarks",
    "place",
    "render",
    "sample_identity",
]

_PIXELS = 65536  # drawn at a time, so that a picture's planes stay in the cache


@torch.no_grad()
def render(
    identity: Tensor,
    pose: Tensor,
    expression: Tensor,
    size: int,
    palette: Literal["natural", "code"] = "natural",
) -> Tensor:
    """Draw the frames of a clip.

    A frame depends on its own row alone: the same bytes come from any chunk of the clip.

    Args:
        identity: parameters ordered as `Identity`, in [0, 1].
        pose: columns ordered as `Pose`.
        expression: columns ordered as `Expression`.
        size: height and width of the frames in pixels.
        palette: "code" draws each part in its flat colour of `CODE`, to check where it is.

    Shape:
        - identity: (K,) for one person, or (T, K)
        - pose: (T, 6)
        - expression: (T, 10)
        - output: (T, 3, size, size) RGB in [-1, 1], on the device and in the type of ``pose``

    Raises:
        ValueError: if the shapes do not agree, or the palette is unknown.

    Example:
        >>> pose = place(2, yaw=torch.tensor([0.0, 30.0]))
        >>> render(sample_identity(1), pose, express(2, opening=0.8), size=32).shape
        torch.Size([2, 3, 32, 32])
    """
    if palette not in {"natural", "code"}:
        raise ValueError(f"palette must be 'natural' or 'code', got {palette!r}")
    return _draw(identity, pose, expression, size, palette == "code")[0]


@torch.no_grad()
def face_mask(identity: Tensor, pose: Tensor, expression: Tensor, size: int) -> Tensor:
    """Where the head is: skin, features, ears and the hair on it, without neck, body and wall.

    Args:
        identity: parameters ordered as `Identity`, in [0, 1].
        pose: columns ordered as `Pose`.
        expression: columns ordered as `Expression`.
        size: height and width of the frames in pixels.

    Shape:
        - output: (T, size, size) bool

    Raises:
        ValueError: if the shapes do not agree.

    Example:
        >>> face_mask(sample_identity(1), place(2), express(2), size=32).shape
        torch.Size([2, 32, 32])
    """
    return _draw(identity, pose, expression, size, flat=True)[1]


def _draw(
    identity: Tensor, pose: Tensor, expression: Tensor, size: int, flat: bool
) -> tuple[Tensor, Tensor]:
    """Pictures and the heads' masks, a few frames at a time."""
    check(identity, pose, expression)
    pictures = pose.new_empty(len(pose), 3, size, size)
    masks = torch.empty(len(pose), size, size, dtype=torch.bool, device=pose.device)
    step = max(1, _PIXELS // (size * size))
    one = identity.dim() == 1
    wall: Tensor | None = None
    for start in range(0, len(pose), step):
        rows = slice(start, start + step)
        person, motion = unpack(identity if one else identity[rows], expression[rows], pose)
        inks, light = Inks(person, flat), scenery.lamp(person)
        body, head = look(pose[rows], size)
        if wall is None or not one:
            wall = scenery.wall(size, person, inks)
        picture = pictures[rows]
        picture.copy_(wall)
        lay_hair_behind(picture, head, light, person, inks)
        scenery.lay_body(picture, body, light, person, inks)
        share, depth = lay_head(picture, head, light, person, motion, inks)
        lay_glasses(picture, depth, head, anatomy.head(person, motion), person, inks)
        hair = lay_hair(picture, depth, head, light, person, inks)
        picture.clamp_(0, 1).mul_(2).sub_(1)
        masks[rows] = torch.maximum(share, hair) > 0.5
    return pictures, masks
