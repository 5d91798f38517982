"""Where the parts of a head are, from its traits and its expression.

The head's coordinates are x to the image's right, y up, z to the viewer, from the axis on which it
turns; a head is 1.2 high. Features are curves of x on the surface, which the painter fills and
`landmarks` reads.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from talkingface.data.synthetic.solids import Solid
from talkingface.data.synthetic.traits import Expression, Identity


class Head(NamedTuple):
    """The solids of a head."""

    face: list[Solid]
    nose: list[Solid]
    ears: list[Solid]
    wide: Tensor  # half the width of the cranium


def head(person: Identity, motion: Expression) -> Head:
    """Cranium, jaw, chin, lips' ground and cheeks; nose; ears. The chin sinks with the mouth."""
    zero = torch.zeros_like(motion.opening)

    def solid(*values: Tensor | float) -> Solid:
        x, y, z, *radii = (zero + value for value in values)
        return Solid((x, y, z), (radii[0], radii[1], radii[2]))

    wide = skull_half(person)
    tall = 0.47 + 0.06 * person.face_height
    jaw = 0.325 + 0.07 * person.jaw_width
    chin = -0.31 - 0.06 * person.chin_length - 0.08 * motion.opening
    cheek = 0.035 * person.cheek_fullness
    push = 0.075 * motion.rounding
    face = [
        solid(0.0, 0.14, -0.06, wide, tall, 0.51),
        solid(0.0, -0.14, 0.06, jaw, 0.40, 0.41),
        solid(0.0, chin, 0.11, 0.82 * jaw, 0.28, 0.33),
        solid(0.0, -0.34 - 0.03 * motion.opening, 0.28, 0.21, 0.19, 0.175 + push),
        solid(-0.19, -0.13, 0.20, 0.15 + cheek, 0.17, 0.185 + cheek),
        solid(0.19, -0.13, 0.20, 0.15 + cheek, 0.17, 0.185 + cheek),
    ]
    broad, tip = nose_tip(person)
    bridge = 0.385 + 0.035 * person.nose_bridge
    nose = [
        solid(0.0, 0.02, bridge, 0.042 + 0.2 * broad, 0.20, 0.075),
        solid(0.0, tip, 0.455, broad, 0.056, 0.105),
        solid(-0.85 * broad, tip - 0.012, 0.425, 0.62 * broad, 0.042, 0.06),
        solid(0.85 * broad, tip - 0.012, 0.425, 0.62 * broad, 0.042, 0.06),
    ]
    size = 0.85 + 0.35 * person.ear_size
    ears = [
        solid(side * (wide + 0.005), -0.03, -0.10, 0.055 * size, 0.13 * size, 0.08 * size)
        for side in (-1.0, 1.0)
    ]
    return Head(face, nose, ears, wide)


def skull_half(person: Identity) -> Tensor:
    """Half the width of the cranium."""
    return 0.41 + 0.055 * person.face_width


def nose_tip(person: Identity) -> tuple[Tensor, Tensor]:
    """Radius of the tip of the nose, and its height."""
    return 0.050 + 0.028 * person.nose_width, -0.09 - 0.06 * person.nose_length


class Mouth(NamedTuple):
    """Heights of the mouth's outlines at some x."""

    upper_outer: Tensor
    upper_inner: Tensor
    lower_inner: Tensor
    lower_outer: Tensor
    steep: Tensor  # 1 / length of the outlines' slope, which makes heights into distances


def mouth_half(person: Identity, motion: Expression) -> tuple[Tensor, Tensor]:
    """Half the width of the mouth, and of its aperture."""
    half = (0.122 + 0.036 * person.mouth_width) * (1 + 0.30 * motion.width - 0.40 * motion.rounding)
    return half, half * (0.94 - 0.22 * motion.rounding)


def gape(motion: Expression) -> Tensor:
    """Height of the aperture in the middle; bared teeth part the lips a little."""
    height = 0.185 * motion.opening * (1 - 0.25 * motion.rounding) + 0.022 * motion.teeth
    return height * (1 - motion.press)


def mouth(x: Tensor, person: Identity, motion: Expression) -> Mouth:
    """Lips: two arches around a middle line that curves up to the corners."""
    half, inner = mouth_half(person, motion)
    full = (0.027 + 0.020 * person.lip_fullness) * (1 + 0.45 * motion.rounding)
    full = full * (1 - 0.70 * motion.press) * (1 - 0.25 * motion.width)
    u, v = x / half, x / inner
    u2 = u * u
    arch, hole = (1 - u2).clamp_min(-1), (1 - v * v).clamp_min(0)
    curve = (0.020 + 0.018 * motion.width) * (1 - motion.rounding)
    middle = -0.34 + curve * u2.clamp_max(1.5)
    height = gape(motion)
    upper, lower = middle + 0.24 * height * hole, middle - 0.76 * height * hole
    dip = (1 - 9 * u2).clamp_min(0)
    bow = 1 - 0.30 * dip * dip * (1 - 0.6 * motion.rounding)
    # Seen closed, the aperture's arch is narrower than the lips': they stay around it.
    top = middle + 0.24 * height * arch + full * bow * arch
    bottom = middle - 0.76 * height * arch - 1.30 * full * arch
    slope = (0.9 * height + full) * 2 * u / half
    return Mouth(top, upper, lower, bottom, 1 / (1 + slope * slope).sqrt())


class Eye(NamedTuple):
    """Heights of the lids' edges at some distances from the eye's middle, positive outwards."""

    top: Tensor
    bottom: Tensor
    crease: Tensor
    steep: Tensor


EYE_Y = 0.045
EYE_HALF = 0.098


def eye_middle(person: Identity) -> tuple[Tensor, Tensor]:
    """Distance of the eyes from the middle of the face, and their size."""
    return 0.165 + 0.035 * person.eye_spacing, 0.92 + 0.26 * person.eye_size


def eye(out: Tensor, person: Identity, motion: Expression) -> Eye:
    """Almond eyes whose upper lids come down with the blink."""
    _, size = eye_middle(person)
    u = out / (EYE_HALF * size)
    arch = (1 - u * u).clamp_min(-1)
    line = EYE_Y + size * 0.022 * (person.eye_tilt - 0.4) * u
    bottom = line - 0.040 * size * arch
    # The lid's highest point lies towards the nose.
    lift = (0.098 + 0.014 * motion.brow) * size * (1 - motion.blink)
    top = bottom + lift * arch * (1 - 0.12 * u)
    crease = line + (0.068 + 0.012 * motion.brow) * size * arch
    slope = 2 * u * (lift / size - 0.040) / EYE_HALF
    return Eye(top, bottom, crease, 1 / (1 + slope * slope).sqrt())


BROW_HALF = 0.118


def brow_middle(person: Identity) -> Tensor:
    """Distance of the brows from the middle of the face."""
    return 0.182 + 0.035 * person.eye_spacing


def brow(out: Tensor, person: Identity, motion: Expression) -> tuple[Tensor, Tensor]:
    """Height of the centre line and half thickness, at distances from the brow's middle."""
    u = out / BROW_HALF
    line = 0.190 + 0.035 * person.brow_height + 0.060 * motion.brow
    line = line + 0.045 * (person.brow_tilt - 0.75) * u - 0.030 * u * u
    thick = (0.012 + 0.014 * person.brow_thickness) * (1 - 0.35 * u)
    u2 = u * u
    return line, thick * (1 - u2 * u2)
