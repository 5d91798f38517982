"""A talking head drawn from numbers: every pixel has exact labels.

The head is a smooth union of ellipsoids seen by an orthographic camera. Each pixel's ray meets the
surface in closed form, and eyes, brows and mouth are painted where it lands, in the head's own
coordinates: rotation brings parallax, foreshortening, occlusion and shading by itself. Edges are
one pixel soft: a signed distance divided by its own change from pixel to pixel.
"""

import random
from typing import NamedTuple

import torch
from torch import Tensor

_VIEW = 0.86  # half the width of what the camera sees; a head is 1.2 high


class Identity(NamedTuple):
    """What a person looks like: numbers in [0, 1], in this order in an identity tensor.

    Colours run along a chain of typical ones. ``light_side`` 0.5 is light from the front; all else
    is symmetric, so a face lit from the front and turned the other way is its own mirror image.
    """

    face_width: Tensor
    jaw_width: Tensor
    chin_length: Tensor
    skin_tone: Tensor
    hair_colour: Tensor
    hair_length: Tensor
    hair_volume: Tensor
    fringe: Tensor
    brow_thickness: Tensor
    brow_tilt: Tensor
    eye_size: Tensor
    eye_spacing: Tensor
    iris_colour: Tensor
    nose_width: Tensor
    nose_length: Tensor
    lip_fullness: Tensor
    lip_colour: Tensor
    mouth_width: Tensor
    clothes_colour: Tensor
    background_colour: Tensor
    background_tone: Tensor
    light_side: Tensor


class Expression(NamedTuple):
    """What a face does, each independent of the others, in this order in an expression tensor.

    All in [0, 1] but gaze, which is in [-1, 1] (right and up in the image). Zero is a relaxed face
    with a closed mouth. The first four are the articulation of
    `talkingface.data.synthetic.speech.speak`.
    """

    opening: Tensor
    width: Tensor
    rounding: Tensor
    press: Tensor
    blink: Tensor
    brow: Tensor
    gaze_x: Tensor
    gaze_y: Tensor


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


def sample_identity(seed: int) -> Tensor:
    """Draw a person: independent uniform parameters.

    Args:
        seed: any integer; the same seed is the same person on every machine.

    Returns:
        (K,) float32 in [0, 1], ordered as `Identity`.

    Example:
        >>> Identity(*sample_identity(7)).hair_length
        tensor(0.6280)
    """
    draw = random.Random(f"identity {seed}")
    return torch.tensor([draw.random() for _ in Identity._fields])


def express(frames: int, **columns: Tensor | float) -> Tensor:
    """Expression tensor of named columns, each a number or one value per frame; the rest is zero.

    Args:
        frames: T.
        columns: fields of `Expression`.

    Returns:
        (T, E) float32.

    Raises:
        ValueError: if a name is no field of `Expression`.

    Example:
        >>> express(3, opening=torch.tensor([0.0, 0.5, 1.0]), blink=1.0)[:, :5]
        tensor([[0.0000, 0.0000, 0.0000, 0.0000, 1.0000],
                [0.5000, 0.0000, 0.0000, 0.0000, 1.0000],
                [1.0000, 0.0000, 0.0000, 0.0000, 1.0000]])
    """
    unknown = sorted(columns.keys() - set(Expression._fields))
    if unknown:
        raise ValueError(f"no expression {unknown[0]!r}; known are {', '.join(Expression._fields)}")
    expression = torch.zeros(frames, len(Expression._fields))
    for name, column in columns.items():
        expression[:, Expression._fields.index(name)] = column
    return expression


class _Rays(NamedTuple):
    """Pixels' lines of sight, and the lamp, in the coordinates of a rigid part."""

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
    (sy, sp, sr), (cy, cp, cr) = (f(torch.deg2rad(pose)).unbind(-1) for f in (torch.sin, torch.cos))
    one, zero = torch.ones_like(sy), torch.zeros_like(sy)

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))

    yaw = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    pitch = matrix(one, zero, zero, zero, cp, sp, zero, -sp, cp)
    roll = matrix(cr, sr, zero, -sr, cr, zero, zero, zero, one)
    return roll @ yaw @ pitch


def _rays(rotation: Tensor, centre: tuple[float, float], light: Tensor, size: int) -> _Rays:
    """Lines of sight through the pixels, x right and y up, in a part turned by ``rotation``."""
    pixels = torch.arange(size, dtype=rotation.dtype, device=rotation.device)
    steps = _VIEW * ((2 * pixels + 1) / size - 1)
    y, x = torch.meshgrid(-steps - centre[1], steps - centre[0], indexing="ij")
    origin = torch.einsum("tji,jhw->tihw", rotation[:, :2], torch.stack([x, y]))
    return _Rays(origin, rotation[:, 2, :, None, None], torch.einsum("tji,tj->ti", rotation, light))


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


def _ramp(value: Tensor, colours: tuple[tuple[float, float, float], ...]) -> Tensor:
    """Colour (..., 3, 1, 1) at ``value`` (..., 1, 1) in [0, 1] on a chain of colours."""
    table = torch.tensor(colours, dtype=value.dtype, device=value.device)
    position = value[..., 0, 0] * (len(colours) - 1)
    index = position.long().clamp(0, len(colours) - 2)
    colour = torch.lerp(table[index], table[index + 1], (position - index)[..., None])
    return colour[..., None, None]


def _shade(surface: _Surface, rays: _Rays) -> Tensor:
    """Brightness (T, 1, H, W): a large soft lamp, darker where the surface turns away."""
    lit = (surface.normal * rays.light[:, :, None, None]).sum(1, keepdim=True)
    facing = (surface.normal * rays.direction).sum(1, keepdim=True)
    return 0.58 + 0.36 * lit + 0.16 * facing


class _Canvas:
    """A picture with depth, onto which surfaces are laid in any order."""

    def __init__(self, colour: Tensor) -> None:
        self.colour = colour
        self.depth = torch.full_like(colour[:, 0], -10.0)

    def lay(self, surface: _Surface, colour: Tensor, alpha: Tensor) -> None:
        alpha = alpha * (0.5 + (surface.depth - self.depth) / 0.03).clamp(0, 1)
        self.colour = _over(self.colour, colour, alpha)
        self.depth = torch.where(alpha > 0.5, surface.depth, self.depth)


def render(identity: Tensor, pose: Tensor, expression: Tensor, size: int) -> Tensor:
    """Draw the frames of a clip.

    Args:
        identity: parameters ordered as `Identity`, in [0, 1].
        pose: yaw, pitch and roll in degrees; positive turns the nose to the right of the image,
            lifts it, and tilts the head clockwise. Made for +-45, +-25 and +-20.
        expression: columns ordered as `Expression`.
        size: height and width of the frames in pixels.

    Shape:
        - identity: (K,) for one person, or (T, K)
        - pose: (T, 3)
        - expression: (T, E)
        - output: (T, 3, size, size) RGB in [-1, 1], on the device and in the type of ``pose``

    Raises:
        ValueError: if the shapes do not agree.

    Example:
        >>> pose = torch.tensor([[0.0, 0.0, 0.0], [30.0, 5.0, 0.0]])
        >>> render(sample_identity(1), pose, express(2, opening=0.8), size=32).shape
        torch.Size([2, 3, 32, 32])
    """
    count, traits, actions = len(pose), len(Identity._fields), len(Expression._fields)
    if pose.shape != (count, 3) or expression.shape != (count, actions):
        raise ValueError(
            f"pose and expression must be (T, 3) and (T, {actions}), "
            f"got {tuple(pose.shape)} and {tuple(expression.shape)}"
        )
    if identity.shape not in {(traits,), (count, traits)}:
        raise ValueError(
            f"identity must be ({traits},) or (T, {traits}), got {tuple(identity.shape)}"
        )
    person = Identity(*identity.to(pose).reshape(-1, traits, 1, 1).unbind(1))
    motion = Expression(*expression.to(pose)[..., None, None].unbind(1))
    side = person.light_side[:, 0, 0] - 0.5
    light = torch.stack([1.6 * side, torch.full_like(side, 0.55), torch.ones_like(side)], dim=-1)
    light = _unit(light).expand(count, 3)
    still = torch.eye(3, dtype=pose.dtype, device=pose.device).expand(count, 3, 3)

    body = _rays(still, (0.0, 0.0), light, size)
    head = _rays(_rotation(pose), (0.0, 0.06), light, size)
    canvas = _Canvas(_wall(body, person))
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
    below_chin = 1 - 0.35 * _soft((-0.52 - y), 0.30)
    canvas.lay(neck, skin * below_chin[:, None], _inside(neck.outside))
    collar = torch.hypot(x, (y + 0.70) * 1.1) - 0.25
    fabric = _ramp(person.clothes_colour, _FABRIC) * _shade(torso, rays)
    fabric = fabric * (1 - 0.25 * _inside(collar - 0.035))[:, None]
    canvas.lay(torso, fabric, _inside(torso.outside) * (1 - _inside(collar)))


def _lay_hair_behind(canvas: _Canvas, rays: _Rays, person: Identity) -> None:
    """The hair that falls behind the ears, down to the shoulders when it is long."""
    length, volume = person.hair_length, person.hair_volume
    surface = _ellipsoid(
        rays,
        _triple(0.0, 0.1 - 0.32 * length, -0.24 - 0.10 * length, length),
        _triple(0.40 + 0.10 * length + 0.06 * volume, 0.42 + 0.28 * length, 0.27, length),
    )
    colour = _strands(surface, rays, person) * 0.85
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
    canvas.lay(surface, _strands(surface, rays, person), _inside(surface.outside) * _inside(cut))


def _lay_head(canvas: _Canvas, rays: _Rays, person: Identity, motion: Expression) -> None:
    skull = _skull(rays, person, motion)
    x, y, z = _points(skull, rays).unbind(1)
    front = (z / 0.06 - 1).clamp(0, 1)
    ground = _Ground(x, y, front, _ramp(person.skin_tone, _SKIN), person, motion)
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

    x: Tensor
    y: Tensor
    front: Tensor  # 1 on the face's side of the head, 0 on its back
    skin: Tensor
    person: Identity
    motion: Expression


def _paint_cheeks(colour: Tensor, ground: _Ground) -> Tensor:
    """Blush and nostrils."""
    x, y, front, skin, person, _ = ground
    red = skin * _paint(skin, [1.0, 0.72, 0.70])
    blush = _soft(torch.hypot(x.abs() - 0.25, (y + 0.14) * 1.3) - 0.02, 0.13)
    colour = _over(colour, red, 0.35 * front * blush)
    tip = -0.08 - 0.07 * person.nose_length
    spread = 0.035 + 0.012 * person.nose_width
    nostril = torch.hypot((x.abs() - spread) / 1.5, y - tip + 0.045) - 0.014
    return _over(colour, skin * 0.45, 0.8 * front * _inside(nostril))


def _paint_mouth(colour: Tensor, ground: _Ground) -> Tensor:
    """Lips around an aperture that shows teeth first, then the dark of the mouth and the tongue."""
    x, y, front, skin, person, motion = ground
    opening, rounding, press = motion.opening, motion.rounding, motion.press
    half = (0.125 + 0.04 * person.mouth_width) * (1 + 0.28 * motion.width - 0.42 * rounding)
    full = 0.028 + 0.022 * person.lip_fullness + 0.012 * rounding
    full = full * (1 - 0.75 * press)
    u = x / half
    arch = 1 - u * u
    y = y + 0.34 - 0.035 * (u * u).clamp_max(1.5) * (1 - rounding)  # the corners smile
    height = 0.17 * opening * (1 - press)
    upper, lower = 0.25 * height * arch, -0.95 * height * arch
    bow = 1 - 0.35 * _soft(u.abs(), 0.35)
    lips = torch.maximum(y - upper - full * bow * arch, lower - 1.25 * full * arch - y)
    tone = torch.lerp(skin, _ramp(person.lip_colour, _LIPS), 0.65)
    colour = _over(colour, tone, front * _inside(lips))
    seam = torch.maximum(y.abs() - 0.007 - 0.004 * press, u.abs() * half - half)
    colour = _over(colour, tone * 0.42, front * _inside(seam))
    mouth = front * _inside(torch.maximum(y - upper, lower - y)) * (height / 0.012).clamp(0, 1)
    colour = _over(colour, _paint(colour, [0.26, 0.07, 0.09]), mouth)
    tongue = torch.hypot(x / 1.5, y + 0.95 * height + 0.02) - 0.055
    red = _paint(colour, [0.78, 0.33, 0.36])
    colour = _over(colour, red, mouth * _inside(tongue))
    teeth = torch.maximum(
        0.19 * height * arch - 0.055 * arch.clamp_min(0).sqrt() - y, u.abs() * half - 0.9 * half
    )
    white = _paint(colour, [0.97, 0.96, 0.93])
    return _over(colour, white, mouth * _inside(teeth))


def _paint_eyes(colour: Tensor, ground: _Ground) -> Tensor:
    """Almond eyes whose upper lids come down with the blink."""
    x, y, front, skin, person, motion = ground
    scale = 0.95 + 0.3 * person.eye_size
    x_out = (x.abs() - 0.165 - 0.035 * person.eye_spacing) / scale  # positive to the temple
    y = (y - 0.045) / scale
    arch = 1 - (x_out / 0.098).square()
    openness = 1 - motion.blink
    bottom = -0.042 * arch
    top = bottom + (0.105 + 0.012 * motion.brow) * openness * arch
    colour = _over(
        colour, skin * 0.80, 0.6 * front * _soft(torch.hypot(x_out, y * 1.3) - 0.05, 0.10)
    )
    lid = torch.maximum(y - 0.075 * arch, bottom - y)
    colour = _over(colour, skin * 0.90, front * _inside(lid))
    eye = front * _inside(torch.maximum(y - top, bottom - y)) * (openness / 0.15).clamp(0, 1)
    white = _paint(colour, [0.98, 0.98, 0.97])
    colour = _over(colour, white, eye)
    x_iris = x_out - x.sign() * 0.045 * motion.gaze_x
    y_iris = y - 0.006 - 0.028 * motion.gaze_y
    radius = torch.hypot(x_iris, y_iris)
    iris = _ramp(person.iris_colour, _IRIS)
    colour = _over(colour, iris * 0.55, eye * _inside(radius - 0.049))
    colour = _over(colour, iris, eye * _inside(radius - 0.041))
    colour = _over(colour, white * 0.06, eye * _inside(radius - 0.021))
    glint_x = x_iris - x.sign() * 0.05 * (person.light_side - 0.5)
    colour = _over(colour, white, eye * _inside(torch.hypot(glint_x, y_iris - 0.022) - 0.012))
    lash = torch.maximum((y - top).abs() - 0.011, -arch * 0.05 - 0.004)
    return _over(colour, skin * 0.22, 0.9 * front * _inside(lash))


def _paint_brows(colour: Tensor, ground: _Ground) -> Tensor:
    x, y, front, skin, person, motion = ground
    x_out = x.abs() - 0.185 - 0.035 * person.eye_spacing
    u = x_out / 0.115
    tilt = 0.05 * (person.brow_tilt - 0.8)
    y = y - 0.205 - 0.055 * motion.brow - tilt * u + 0.03 * u * u
    thick = (0.013 + 0.014 * person.brow_thickness) * (1 - 0.35 * u)
    brow = torch.maximum(y.abs() - thick * (1 - u.pow(4)), u.abs() * 0.115 - 0.115)
    hair = torch.lerp(_ramp(person.hair_colour, _HAIR), skin, 0.12) * 0.75
    return _over(colour, hair, 0.92 * front * _inside(brow))
