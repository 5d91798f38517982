"""A talking head drawn from numbers: every pixel has exact labels.

The head is a smooth union of ellipsoids seen by an orthographic camera. Each pixel's ray meets the
surface in closed form, and eyes, brows and mouth are painted where it lands, in the head's own
coordinates: rotation brings parallax, foreshortening, occlusion and shading by itself. Edges are
one pixel soft: a signed distance divided by its own change from pixel to pixel.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from talkingface.data.synthetic.traits import (
    Expression,
    Identity,
    Pose,
    check,
    express,
    place,
    sample_identity,
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

_HEIGHT = 0.06  # of the head's centre above the picture's
_VIEW = 0.86  # half the width of what the camera sees; a head is 1.2 high


_SKIN = (
    (0.98, 0.85, 0.75),
    (0.93, 0.74, 0.60),
    (0.80, 0.58, 0.43),
    (0.60, 0.41, 0.29),
    (0.43, 0.28, 0.20),
)
_HAIR = (
    (0.12, 0.10, 0.10),
    (0.32, 0.20, 0.13),
    (0.60, 0.28, 0.14),
    (0.88, 0.70, 0.40),
    (0.72, 0.72, 0.74),
)
_IRIS = (
    (0.33, 0.19, 0.10),
    (0.50, 0.38, 0.14),
    (0.28, 0.50, 0.32),
    (0.20, 0.48, 0.78),
    (0.45, 0.53, 0.60),
)
_LIPS = ((0.78, 0.42, 0.38), (0.80, 0.30, 0.34), (0.62, 0.22, 0.28))
_FABRIC = (
    (0.75, 0.25, 0.28),
    (0.92, 0.62, 0.25),
    (0.36, 0.58, 0.38),
    (0.22, 0.45, 0.66),
    (0.46, 0.34, 0.62),
    (0.86, 0.85, 0.82),
)
_WALL = (
    (0.70, 0.80, 0.86),
    (0.72, 0.83, 0.74),
    (0.91, 0.85, 0.68),
    (0.90, 0.74, 0.70),
    (0.78, 0.73, 0.86),
)


CODE: dict[str, tuple[int, int, int]] = {
    "background": (0, 0, 0),
    "clothes": (0, 0, 128),
    "neck": (128, 64, 0),
    "hair": (64, 0, 128),
    "skin": (255, 192, 128),
    "ears": (255, 128, 64),
    "right brow": (0, 128, 0),
    "left brow": (0, 255, 0),
    "eye white": (255, 255, 255),
    "iris": (0, 128, 255),
    "pupil": (0, 0, 255),
    "nose": (192, 160, 0),
    "nostrils": (96, 96, 0),
    "upper lip": (255, 0, 0),
    "lower lip": (255, 0, 255),
    "mouth": (128, 0, 64),
    "teeth": (192, 255, 255),
    "tongue": (255, 128, 192),
    "beard": (0, 96, 96),
    "moustache": (0, 192, 160),
    "glasses": (255, 255, 0),
}
"""Colour of each part in the palette "code", RGB in 0..255."""


class _Rays(NamedTuple):
    """Pixels' lines of sight, and the lamp, in the coordinates of a rigid part."""

    flat: bool  # code colours
    origin: Tensor  # (T, 3, H, W)
    direction: Tensor  # (T, 3, 1, 1), to the viewer
    light: Tensor  # (T, 3), to the lamp


class _Surface(NamedTuple):
    """Where the rays first hit."""

    outside: Tensor  # (T, H, W), distance in the picture to the outline, < 0 where hit
    depth: Tensor  # (T, H, W) along the ray, larger is nearer
    normal: Tensor  # (T, 3, H, W)


def _unit(vectors: Tensor) -> Tensor:
    """Vectors along dimension 1 at length 1 (a reduction over few channels, where norm is slow)."""
    return vectors * vectors.square().sum(1, keepdim=True).clamp_min(1e-12).rsqrt()


def _rotation(pose: Tensor) -> Tensor:
    """Head-to-camera rotations (T, 3, 3) of yaw, pitch, roll in degrees: roll @ yaw @ pitch."""
    (sy, sp, sr), (cy, cp, cr) = (
        f(torch.deg2rad(pose[:, :3])).unbind(-1) for f in (torch.sin, torch.cos)
    )
    one, zero = torch.ones_like(sy), torch.zeros_like(sy)

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))

    yaw = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    pitch = matrix(one, zero, zero, zero, cp, sp, zero, -sp, cp)
    roll = matrix(cr, sr, zero, -sr, cr, zero, zero, zero, one)
    return roll @ yaw @ pitch


def _rays(
    rotation: Tensor, pose: Tensor, height: float, light: Tensor, size: int, flat: bool
) -> _Rays:
    """Lines of sight through the pixels, x right and y up, in a part turned by ``rotation``."""
    pixels = torch.arange(size, dtype=rotation.dtype, device=rotation.device)
    steps = _VIEW * ((2 * pixels + 1) / size - 1)
    y, x = torch.meshgrid(-steps, steps, indexing="ij")
    points = torch.stack([x, y]) - 2 * _VIEW * pose[:, 3:5, None, None]
    points = points / pose[:, 5, None, None, None]
    points = points - points.new_tensor([0.0, height])[:, None, None]
    origin = torch.einsum("tji,tjhw->tihw", rotation[:, :2], points)
    return _Rays(
        flat, origin, rotation[:, 2, :, None, None], torch.einsum("tji,tj->ti", rotation, light)
    )


def _ellipsoid(rays: _Rays, centre: Tensor, radii: Tensor) -> _Surface:
    """Where the rays meet an ellipsoid; ``centre`` and ``radii`` are (T or 1, 3, 1, 1)."""
    w, v = (rays.origin - centre) / radii, rays.direction / radii
    a, b = (v * v).sum(1), (w * v).sum(1)
    miss = (w * w).sum(1) - b * b / a  # squared distance of the ray from the centre; 1: it touches
    outside = (miss.clamp_min(0).sqrt() - 1) * radii.amin(1)
    depth = ((1 - miss).clamp_min(0) / a).sqrt() - b / a
    return _Surface(outside, depth, _unit((w + depth[:, None] * v) / radii))


def _points(surface: _Surface, rays: _Rays) -> Tensor:
    return rays.origin + surface.depth[:, None] * rays.direction


def _union(first: _Surface, second: _Surface, blend: float) -> _Surface:
    """Join two surfaces with a fillet of size ``blend``."""
    lead = second.depth - first.depth
    lead = lead + 10 * (first.outside.clamp_min(0) - second.outside.clamp_min(0))  # hits go first
    front = (0.5 + lead / (2 * blend)).clamp(0, 1)
    depth = torch.lerp(first.depth, second.depth, front) + blend * front * (1 - front)
    normal = torch.lerp(first.normal, second.normal, front[:, None])
    near = (0.5 + (first.outside - second.outside) / (2 * blend)).clamp(0, 1)
    outside = torch.lerp(first.outside, second.outside, near) - blend * near * (1 - near)
    return _Surface(outside, depth, _unit(normal))


def _inside(distance: Tensor) -> Tensor:
    """Share of each pixel in which ``distance`` < 0, in [0, 1]."""
    dy, dx = torch.gradient(distance, dim=(-2, -1))
    return (0.5 - distance / torch.hypot(dx, dy).clamp_min(1e-6)).clamp(0, 1)


def _soft(distance: Tensor, width: float) -> Tensor:
    """1 inside, 0 beyond ``width`` outside, smooth between: shadows and blush."""
    t = (distance / width).clamp(0, 1)
    return 1 - t * t * (3 - 2 * t)


def _over(colour: Tensor, paint: Tensor, alpha: Tensor) -> Tensor:
    return torch.lerp(colour, paint.expand_as(colour), alpha[:, None].expand_as(colour))


def _paint(like: Tensor, rgb: list[float]) -> Tensor:
    return like.new_tensor(rgb).view(3, 1, 1)


def _part(flat: bool, name: str, natural: Tensor) -> Tensor:
    """Colour of a part: its code, or the natural one."""
    if not flat:
        return natural
    return (natural.new_tensor(CODE[name]) / 255).view(3, 1, 1).expand_as(natural)


def _ramp(value: Tensor, colours: tuple[tuple[float, float, float], ...]) -> Tensor:
    """Colour (..., 3, 1, 1) at ``value`` (..., 1, 1) in [0, 1] on a chain of colours."""
    table = torch.tensor(colours, dtype=value.dtype, device=value.device)
    position = value[..., 0, 0] * (len(colours) - 1)
    index = position.long().clamp(0, len(colours) - 2)
    colour = torch.lerp(table[index], table[index + 1], (position - index)[..., None])
    return colour[..., None, None]


def _shade(surface: _Surface, rays: _Rays) -> Tensor:
    """Brightness (T, 1, H, W): a large soft lamp, darker where the surface turns away."""
    if rays.flat:
        return torch.ones_like(surface.depth[:, None])
    lit = (surface.normal * rays.light[:, :, None, None]).sum(1, keepdim=True)
    facing = (surface.normal * rays.direction).sum(1, keepdim=True)
    return 0.58 + 0.36 * lit + 0.16 * facing


class _Canvas:
    """A picture with depth, onto which surfaces are laid in any order."""

    def __init__(self, colour: Tensor) -> None:
        self.colour = colour.clone()
        self.depth = torch.full_like(colour[:, 0], -10.0)

    def lay(self, surface: _Surface, colour: Tensor, alpha: Tensor) -> None:
        alpha = alpha * (0.5 + (surface.depth - self.depth) / 0.03).clamp(0, 1)
        self.colour = _over(self.colour, colour, alpha)
        self.depth = torch.where(alpha > 0.5, surface.depth, self.depth)


def render(
    identity: Tensor,
    pose: Tensor,
    expression: Tensor,
    size: int,
    palette: Literal["natural", "code"] = "natural",
) -> Tensor:
    """Draw the frames of a clip.

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
    check(identity, pose, expression)
    if palette not in {"natural", "code"}:
        raise ValueError(f"palette must be 'natural' or 'code', got {palette!r}")
    flat, count, traits = palette == "code", len(pose), len(Identity._fields)
    person = Identity(*identity.to(pose).reshape(-1, traits, 1, 1).unbind(1))
    motion = Expression(*expression.to(pose)[..., None, None].unbind(1))
    side = person.light_side[:, 0, 0] - 0.5
    light = torch.stack([1.6 * side, torch.full_like(side, 0.55), torch.ones_like(side)], dim=-1)
    light = _unit(light).expand(count, 3)
    still = torch.eye(3, dtype=pose.dtype, device=pose.device).expand(count, 3, 3)

    body = _rays(still, pose, 0.0, light, size, flat)
    head = _rays(_rotation(pose), pose, _HEIGHT, light, size, flat)
    canvas = _Canvas(_part(flat, "background", _wall(body, person)))
    _lay_body(canvas, body, person)
    _lay_hair_behind(canvas, head, person)
    _lay_head(canvas, head, person, motion)
    _lay_hair(canvas, head, person)
    return canvas.colour.clamp(0, 1) * 2 - 1


def _triple(x: Tensor | float, y: Tensor | float, z: Tensor | float, like: Tensor) -> Tensor:
    """(T or 1, 3, 1, 1) of three numbers or (T or 1, 1, 1) parameters."""
    return torch.stack([torch.as_tensor(c).to(like).expand_as(like) for c in (x, y, z)], dim=1)


def _wall(rays: _Rays, person: Identity) -> Tensor:
    x, y, _ = rays.origin.unbind(1)
    glow = 0.92 + 0.12 * y - 0.10 * x * x + 0.16 * (person.background_tone - 0.5)
    return _ramp(person.background_colour, _WALL) * glow[:, None]


def _lay_body(canvas: _Canvas, rays: _Rays, person: Identity) -> None:
    """Neck and shoulders, which stay while the head turns."""
    one = torch.ones_like(person.skin_tone)
    x, y, _ = rays.origin.unbind(1)
    neck = _ellipsoid(rays, _triple(0.0, -0.72, -0.16, one), _triple(0.21, 0.5, 0.2, one))
    torso = _ellipsoid(rays, _triple(0.0, -1.36, -0.16, one), _triple(0.86, 0.66, 0.34, one))
    skin = _ramp(person.skin_tone, _SKIN) * _shade(neck, rays)
    skin = _part(rays.flat, "neck", skin)
    below_chin = 1 - 0.35 * _soft((-0.52 - y), 0.30)
    if not rays.flat:
        skin = skin * below_chin[:, None]
    canvas.lay(neck, skin, _inside(neck.outside))
    collar = torch.hypot(x, (y + 0.70) * 1.1) - 0.25
    fabric = _ramp(person.clothes_colour, _FABRIC) * _shade(torso, rays)
    fabric = fabric * (1 - 0.25 * _inside(collar - 0.035))[:, None]
    fabric = _part(rays.flat, "clothes", fabric)
    canvas.lay(torso, fabric, _inside(torso.outside) * (1 - _inside(collar)))


def _lay_hair_behind(canvas: _Canvas, rays: _Rays, person: Identity) -> None:
    """The hair that falls behind the ears, down to the shoulders when it is long."""
    length, volume = person.hair_length, person.hair_volume
    surface = _ellipsoid(
        rays,
        _triple(0.0, 0.1 - 0.32 * length, -0.24 - 0.10 * length, length),
        _triple(0.40 + 0.10 * length + 0.06 * volume, 0.42 + 0.28 * length, 0.27, length),
    )
    colour = _part(rays.flat, "hair", _strands(surface, rays, person) * 0.85)
    canvas.lay(surface, colour, _inside(surface.outside))


def _strands(surface: _Surface, rays: _Rays, person: Identity) -> Tensor:
    x, y, z = surface.normal.unbind(1)
    strand = torch.cos(24 * torch.atan2(x, z)) * (1 - y * y)
    gloss = _soft((y - 0.72).abs() - 0.04, 0.22)
    shade = _shade(surface, rays) * (1 + 0.05 * strand + 0.22 * gloss)[:, None]
    return _ramp(person.hair_colour, _HAIR) * shade


def _lay_hair(canvas: _Canvas, rays: _Rays, person: Identity) -> None:
    """A cap of hair on the cranium, cut along a tilted plane that is bent into a hairline."""
    volume, wide = person.hair_volume, 0.42 + 0.06 * person.face_width
    surface = _ellipsoid(
        rays,
        _triple(0.0, 0.17, -0.08, volume),
        _triple(wide + 0.010 + 0.016 * volume, 0.50 + 0.06 * volume, 0.53 + 0.02 * volume, volume),
    )
    x, y, z = _points(surface, rays).unbind(1)
    parting = 0.10 * _soft(x.abs(), 0.30) * (1 - person.fringe)
    hairline = 0.21 - 0.13 * person.fringe + parting
    cut = hairline - (0.8 * y - 0.6 * z) - 0.20 * x.abs()
    colour = _part(rays.flat, "hair", _strands(surface, rays, person))
    canvas.lay(surface, colour, _inside(surface.outside) * _inside(cut))


def _lay_head(canvas: _Canvas, rays: _Rays, person: Identity, motion: Expression) -> None:
    skull = _skull(rays, person, motion)
    x, y, z = _points(skull, rays).unbind(1)
    front = (z / 0.06 - 1).clamp(0, 1)
    skin = _part(rays.flat, "skin", _ramp(person.skin_tone, _SKIN))
    ground = _Ground(rays.flat, x, y, front, skin, person, motion)
    colour = ground.skin.expand_as(skull.normal)
    for paint in (_paint_cheeks, _paint_mouth, _paint_eyes, _paint_brows):
        colour = paint(colour, ground)
    canvas.lay(skull, colour * _shade(skull, rays), _inside(skull.outside))


def _skull(rays: _Rays, person: Identity, motion: Expression) -> _Surface:
    """Cranium, jaw, chin, nose and ears as one surface; the chin sinks as the mouth opens."""
    wide, jaw = 0.42 + 0.06 * person.face_width, 0.31 + 0.07 * person.jaw_width
    chin = -0.30 - 0.06 * person.chin_length - 0.08 * motion.opening
    nose, tip = 0.055 + 0.03 * person.nose_width, -0.08 - 0.07 * person.nose_length
    one = torch.ones_like(chin)
    surface = _union(
        _ellipsoid(rays, _triple(0.0, 0.14, -0.06, one), _triple(wide, 0.5, 0.51, one)),
        _ellipsoid(rays, _triple(0.0, -0.14, 0.06, one), _triple(jaw, 0.40, 0.41, one)),
        0.12,
    )
    for centre, radii, blend in (
        (_triple(0.0, chin, 0.11, one), _triple(0.82 * jaw, 0.28, 0.33, one), 0.08),
        (_triple(0.0, 0.02, 0.40, one), _triple(0.055, 0.20, 0.065, one), 0.08),
        (_triple(0.0, tip, 0.46, one), _triple(nose, 0.058, 0.105, one), 0.05),
        (_triple(wide, -0.03, -0.10, one), _triple(0.06, 0.125, 0.08, one), 0.02),
        (_triple(-wide, -0.03, -0.10, one), _triple(0.06, 0.125, 0.08, one), 0.02),
    ):
        surface = _union(surface, _ellipsoid(rays, centre, radii), blend)
    return surface


class _Ground(NamedTuple):
    """What paint is put on: head coordinates of the pixels' hits, and the face there."""

    flat: bool
    x: Tensor
    y: Tensor
    front: Tensor  # 1 on the face's side of the head, 0 on its back
    skin: Tensor
    person: Identity
    motion: Expression


def _paint_cheeks(colour: Tensor, ground: _Ground) -> Tensor:
    """Blush and nostrils."""
    flat, x, y, front, skin, person, _ = ground
    red = skin * _paint(skin, [1.0, 0.72, 0.70])
    blush = _soft(torch.hypot(x.abs() - 0.25, (y + 0.14) * 1.3) - 0.02, 0.13)
    if not flat:
        colour = _over(colour, red, 0.35 * front * blush)
    tip = -0.08 - 0.07 * person.nose_length
    spread = 0.035 + 0.012 * person.nose_width
    nostril = torch.hypot((x.abs() - spread) / 1.5, y - tip + 0.045) - 0.014
    return _over(colour, _part(flat, "nostrils", skin * 0.45), 0.8 * front * _inside(nostril))


class _Mouth(NamedTuple):
    """Outlines of the mouth in the head's x and y, at given x."""

    half: Tensor  # half its width
    middle: Tensor  # height of the line where the lips meet
    upper_outer: Tensor
    upper_inner: Tensor
    lower_inner: Tensor
    lower_outer: Tensor


def _mouth(x: Tensor, person: Identity, motion: Expression) -> _Mouth:
    height = 0.17 * motion.opening * (1 - motion.press)
    half = (0.125 + 0.04 * person.mouth_width) * (1 + 0.28 * motion.width - 0.42 * motion.rounding)
    full = 0.028 + 0.022 * person.lip_fullness + 0.012 * motion.rounding
    full = full * (1 - 0.75 * motion.press)
    u = x / half
    arch = 1 - u * u
    middle = -0.34 + 0.035 * (u * u).clamp_max(1.5) * (1 - motion.rounding)  # the corners smile
    upper, lower = middle + 0.25 * height * arch, middle - 0.95 * height * arch
    bow = 1 - 0.35 * _soft(u.abs(), 0.35)
    outer = upper + full * bow * arch, lower - 1.25 * full * arch
    return _Mouth(half, middle, outer[0], upper, lower, outer[1])


def _paint_mouth(colour: Tensor, ground: _Ground) -> Tensor:
    """Lips around an aperture that shows teeth first, then the dark of the mouth and the tongue."""
    flat, x, y, front, skin, person, motion = ground
    mouth = _mouth(x, person, motion)
    height = mouth.upper_inner - mouth.lower_inner
    tone = torch.lerp(skin, _ramp(person.lip_colour, _LIPS), 0.65)
    upper = torch.maximum(y - mouth.upper_outer, mouth.upper_inner - y)
    lower = torch.maximum(y - mouth.upper_inner, mouth.lower_outer - y)
    colour = _over(colour, _part(flat, "lower lip", tone), front * _inside(lower))
    colour = _over(colour, _part(flat, "upper lip", tone), front * _inside(upper))
    seam = torch.maximum((y - mouth.middle).abs() - 0.007, x.abs() - mouth.half)
    if not flat:
        colour = _over(colour, tone * 0.42, front * _inside(seam))
    hole = front * _inside(torch.maximum(y - mouth.upper_inner, mouth.lower_inner - y))
    dark = _paint(colour, [0.26, 0.07, 0.09]).expand_as(colour)
    colour = _over(colour, _part(flat, "mouth", dark), hole)
    tip = mouth.lower_inner + (0.2 + 0.6 * motion.tongue) * height
    red = _paint(colour, [0.78, 0.33, 0.36]).expand_as(colour)
    tongue = torch.maximum(y - tip, x.abs() - 0.6 * mouth.half)
    colour = _over(colour, _part(flat, "tongue", red), hole * _inside(tongue))
    edge = mouth.upper_inner - (0.25 + 0.6 * motion.teeth) * height
    teeth = torch.maximum(edge - y, x.abs() - 0.9 * mouth.half)
    white = _paint(colour, [0.97, 0.96, 0.93]).expand_as(colour)
    return _over(colour, _part(flat, "teeth", white), hole * _inside(teeth))


def _paint_eyes(colour: Tensor, ground: _Ground) -> Tensor:
    """Almond eyes whose upper lids come down with the blink."""
    flat, x, y, front, skin, person, motion = ground
    scale = 0.95 + 0.3 * person.eye_size
    x_out = (x.abs() - 0.165 - 0.035 * person.eye_spacing) / scale  # positive to the temple
    y = (y - 0.045) / scale
    arch = 1 - (x_out / 0.098).square()
    openness = 1 - motion.blink
    bottom = -0.042 * arch
    top = bottom + (0.105 + 0.012 * motion.brow) * openness * arch
    if not flat:
        hollow = 0.6 * front * _soft(torch.hypot(x_out, y * 1.3) - 0.05, 0.10)
        colour = _over(colour, skin * 0.80, hollow)
        lid = torch.maximum(y - 0.075 * arch, bottom - y)
        colour = _over(colour, skin * 0.90, front * _inside(lid))
    eye = front * _inside(torch.maximum(y - top, bottom - y)) * (openness / 0.15).clamp(0, 1)
    white = _paint(colour, [0.98, 0.98, 0.97])
    colour = _over(colour, _part(flat, "eye white", white.expand_as(colour)), eye)
    x_iris = x_out - x.sign() * 0.045 * motion.gaze_x
    y_iris = y - 0.006 - 0.028 * motion.gaze_y
    radius = torch.hypot(x_iris, y_iris)
    iris = _ramp(person.iris_colour, _IRIS)
    colour = _over(colour, _part(flat, "iris", iris * 0.55), eye * _inside(radius - 0.049))
    colour = _over(colour, _part(flat, "iris", iris), eye * _inside(radius - 0.041))
    black = _part(flat, "pupil", white * 0.06)
    colour = _over(colour, black, eye * _inside(radius - 0.021))
    if flat:
        return colour
    glint_x = x_iris - x.sign() * 0.05 * (person.light_side - 0.5)
    colour = _over(colour, white, eye * _inside(torch.hypot(glint_x, y_iris - 0.022) - 0.012))
    lash = torch.maximum((y - top).abs() - 0.011, -arch * 0.05 - 0.004)
    return _over(colour, skin * 0.22, 0.9 * front * _inside(lash))


def _paint_brows(colour: Tensor, ground: _Ground) -> Tensor:
    flat, x, y, front, skin, person, motion = ground
    x_out = x.abs() - 0.185 - 0.035 * person.eye_spacing
    u = x_out / 0.115
    tilt = 0.05 * (person.brow_tilt - 0.8)
    y = y - 0.205 - 0.055 * motion.brow - tilt * u + 0.03 * u * u
    thick = (0.013 + 0.014 * person.brow_thickness) * (1 - 0.35 * u)
    brow = torch.maximum(y.abs() - thick * (1 - u.pow(4)), u.abs() * 0.115 - 0.115)
    hair = torch.lerp(_ramp(person.hair_colour, _HAIR), skin, 0.12) * 0.75
    alpha = front * _inside(brow)
    if flat:
        colour = _over(colour, _part(flat, "right brow", skin), alpha * (x < 0))
        return _over(colour, _part(flat, "left brow", skin), alpha * (x > 0))
    return _over(colour, hair, 0.92 * alpha)


def landmarks(identity: Tensor, pose: Tensor, expression: Tensor, size: int) -> Tensor:
    """Where the 68 points of the iBUG scheme lie, exactly, hidden or not.

    Jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, mouth 48-67, the subject's right first.

    Args:
        identity: parameters ordered as `Identity`, in [0, 1].
        pose: columns ordered as `Pose`.
        expression: columns ordered as `Expression`.
        size: height and width of the frames in pixels.

    Shape:
        - identity: (K,) for one person, or (T, K)
        - pose: (T, 6)
        - expression: (T, 10)
        - output: (T, 68, 2) pixels right and down; a pixel's centre has whole numbers

    Raises:
        ValueError: if the shapes do not agree.

    Example:
        >>> points = landmarks(sample_identity(1), place(1), express(1), size=256)
        >>> points.shape, bool(points[0, 36, 0] < points[0, 45, 0])
        (torch.Size([1, 68, 2]), True)
    """
    check(identity, pose, expression)
    person = Identity(*identity.to(pose).reshape(-1, len(Identity._fields), 1, 1).unbind(1))
    motion = Expression(*expression.to(pose)[..., None, None].unbind(1))
    points = _features(person, motion, pose)
    origin = torch.cat([points, torch.zeros_like(points[..., :1])], dim=-1).mT[:, :, None]
    ahead = pose.new_tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)
    skull = _skull(_Rays(False, origin, ahead, ahead[..., 0, 0]), person, motion)
    depth = torch.where(skull.outside < 0, skull.depth, 0.0)
    solid = torch.cat([points, depth[:, 0, :, None]], dim=-1)
    turned = torch.einsum("tij,tnj->tni", _rotation(pose)[:, :2], solid)
    turned = (turned + pose.new_tensor([0.0, _HEIGHT])) * pose[:, None, 5:] / (2 * _VIEW)
    turned = (turned + pose[:, None, 3:5]) * pose.new_tensor([1.0, -1.0])
    return (turned + 0.5) * size - 0.5


def _features(person: Identity, motion: Expression, pose: Tensor) -> Tensor:
    """(T, 68, 2) x and y of the points on the head that looks ahead."""
    count = len(pose)

    def at(values: list[float]) -> Tensor:
        return pose.new_tensor(values)

    def curve(x: Tensor, y: Tensor) -> Tensor:
        x, y = torch.broadcast_tensors(x, y)
        return torch.stack([x, y], dim=-1).flatten(1, -2).expand(count, -1, 2)

    wide, jaw = 0.42 + 0.06 * person.face_width, 0.31 + 0.07 * person.jaw_width
    chin = -0.30 - 0.06 * person.chin_length - 0.08 * motion.opening
    angle = torch.linspace(-1.45, 1.45, 17).to(pose)
    jaws = curve(
        torch.lerp(wide, jaw, 0.5) * torch.sin(angle), (chin - 0.28) * torch.cos(angle) * 0.999
    )
    u = at([-0.9, -0.45, 0.0, 0.45, 0.9])
    height = 0.205 + 0.055 * motion.brow + 0.05 * (person.brow_tilt - 0.8) * u - 0.03 * u * u
    away = 0.185 + 0.035 * person.eye_spacing + 0.115 * u
    brows = curve(-away, height).flip(1), curve(away, height)
    tip = -0.08 - 0.07 * person.nose_length
    bridge = curve(at([0.0] * 4), tip + (0.1 - tip) * at([1.0, 0.67, 0.33, 0.0]))
    spread = 0.035 + 0.012 * person.nose_width
    base = curve(spread * at([-2.0, -1.0, 0.0, 1.0, 2.0]), tip - 0.045)
    scale = 0.95 + 0.3 * person.eye_size
    u = at([-1.0, -0.4, 0.4, 1.0, 0.4, -0.4])
    arch = 1 - u * u
    lid = (0.105 + 0.012 * motion.brow) * (1 - motion.blink) * at([0, 1, 1, 0, 0, 0])
    lids = 0.045 + scale * (lid - 0.042) * arch
    away = 0.165 + 0.035 * person.eye_spacing + scale * 0.098 * u
    right = curve(-away, lids)[:, [3, 2, 1, 0, 5, 4]]
    left = curve(away, lids)
    half = _mouth(pose.new_zeros(1, 1, 1), person, motion).half
    outer = _mouth(half * at([-1.0, -0.62, -0.26, 0.0, 0.26, 0.62, 1.0]), person, motion)
    inner = _mouth(half * at([-0.99, -0.45, 0.0, 0.45, 0.99]), person, motion)
    x_outer = half * at([-1.0, -0.62, -0.26, 0.0, 0.26, 0.62, 1.0])
    x_inner = half * at([-0.99, -0.45, 0.0, 0.45, 0.99])
    lips = (
        curve(x_outer, outer.upper_outer),
        curve(x_outer, outer.lower_outer)[:, 1:6].flip(1),
        curve(x_inner, inner.upper_inner),
        curve(x_inner, inner.lower_inner)[:, 1:4].flip(1),
    )
    return torch.cat([jaws, *brows, bridge, base, right, left, *lips], dim=1)


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
    check(identity, pose, expression)
    person = Identity(*identity.to(pose).reshape(-1, len(Identity._fields), 1, 1).unbind(1))
    motion = Expression(*expression.to(pose)[..., None, None].unbind(1))
    rays = _rays(_rotation(pose), pose, _HEIGHT, torch.zeros_like(pose[:, :3]), size, True)
    return _skull(rays, person, motion).outside < 0
