"""Eyes, brows, mouth, beard and skin, painted on a head."""

import torch
from torch import Tensor

from talkingface.data.synthetic import anatomy
from talkingface.data.synthetic.painting import Ground, length, soft, wave
from talkingface.data.synthetic.palette import IRIS, LIPS, ramp


def paint_skin(ground: Ground) -> None:
    """Blush, freckles, hollows of the eyes, wrinkles and the nose's shadow (never in code)."""
    part = ground.part((-0.46, 0.46), (-0.45, 0.42), (-0.05, 0.55))
    if part is None or part.inks.flat:
        return
    x, y, person, skin = part.x, part.y, part.person, part.inks.skin
    side = x.abs()
    away, size = anatomy.eye_middle(person)
    blush = soft(length(side - 0.25, (y + 0.14) * 1.3) - 0.02, 0.14)
    part.lay(skin * part.inks.of(1.0, 0.74, 0.72), blush.mul_(0.34).mul_(part.front))
    hollow = soft(length((side - away) / size, (y - 0.055) / size * 1.25) - 0.05, 0.10)
    part.lay(skin * part.inks.of(0.82, 0.76, 0.76), hollow.mul_(0.45).mul_(part.front))
    _, tip = anatomy.nose_tip(person)
    shadow = soft(length(side * 0.8, y - tip + 0.06) - 0.02, 0.075)
    part.lay(skin * part.inks.of(0.70, 0.62, 0.60), shadow.mul_(0.55).mul_(part.front))
    if bool((person.freckles > 0.6).any()):
        _paint_freckles(part)
    if bool((person.wrinkles > 0.4).any()):
        _paint_wrinkles(part)


def _paint_freckles(part: Ground) -> None:
    """Dots in the cells of a grid, each in a place of its own."""
    u, v = part.x * 24 + 40, part.y * 24 + 40
    column, row = u.floor(), v.floor()
    seed = column * 0.7548777 + row * 0.5698403
    seed -= seed.floor()
    other = seed * 7.0
    other -= other.floor()
    third = other * 11.0
    third -= third.floor()
    dot = length(u - column - 0.1 - 0.8 * other, v - row - 0.1 - 0.8 * seed) / 24
    zone = soft(length((part.x.abs() - 0.16) * 0.8, (part.y + 0.10) * 1.2) - 0.06, 0.10)
    size = 0.002 + 0.012 * (third - 0.5)
    alpha = part.cover(dot - size).mul_(zone)
    strength = ((part.person.freckles - 0.6) * 2.5).clamp(0, 1)
    part.lay(part.inks.skin * part.inks.of(0.66, 0.50, 0.42), alpha.mul_(0.6 * strength))


def _paint_wrinkles(part: Ground) -> None:
    """Lines from the nose to the mouth, on the forehead and under the eyes."""
    x, y, person = part.x.abs(), part.y, part.person
    away, size = anatomy.eye_middle(person)
    fold = torch.maximum(
        (x - 0.105 - 0.35 * (-0.10 - y) - 1.2 * (y + 0.25) * (y + 0.25) + 0.02).abs(),
        (y + 0.235).abs() - 0.105,
    )
    brow = (y - 0.30 + 0.25 * x * x).abs()
    brow = torch.minimum(brow, (y - 0.345 + 0.25 * x * x).abs())
    brow = torch.maximum(brow, x - 0.16)
    bag = torch.maximum(
        (y + 0.032 - 2.2 * (x - away) * (x - away)).abs(), (x - away).abs() - 0.085 * size
    )
    line = soft(torch.minimum(torch.minimum(fold, brow), bag) - 0.001, 0.011)
    strength = ((person.wrinkles - 0.4) * 1.5).clamp(0, 1)
    part.lay(
        part.inks.skin * part.inks.of(0.66, 0.58, 0.56), line.mul_(part.front) * 0.4 * strength
    )


def paint_eyes(ground: Ground) -> None:
    """White, iris, pupil and glint between the lids; lashes along them."""
    person, motion = ground.person, ground.motion
    away, size = anatomy.eye_middle(person)
    for side in (-1.0, 1.0):
        near, far = away - 0.11 * size, away + 0.13 * size
        span = (near, far) if side > 0 else (-far, -near)
        part = ground.part(span, (-0.03, 0.17), (0.2, 0.5))
        if part is None:
            continue
        inks = part.inks
        out = part.x * side - away
        lids = anatomy.eye(out, person, motion)
        y = part.y
        skin = inks.skin
        ends = out.abs() - anatomy.EYE_HALF * size
        if not inks.flat:
            lid = torch.maximum(y - lids.crease, lids.bottom - y)
            lid = torch.maximum(lid * lids.steep, ends)
            part.lay(skin * inks.of(0.90, 0.84, 0.83), part.cover(lid))
        # A shut eye leaves no slit: its rim fades out.
        shut = ((1 - motion.blink) / 0.06).clamp(0, 1)
        eye = torch.maximum(y - lids.top, lids.bottom - y).mul_(lids.steep)
        eye = part.cover(torch.maximum(eye, ends)).mul_(shut)
        part.lay(inks("eye white", inks.of(0.97, 0.97, 0.96)), eye)
        gaze_x = part.x - side * away - 0.045 * size * motion.gaze_x
        gaze_y = y - anatomy.EYE_Y - 0.004 - 0.027 * size * motion.gaze_y
        radius = length(gaze_x, gaze_y) / size
        colour = ramp(person.iris_colour, IRIS)
        sharp = part.sharpness * size

        def disc(edge: float, radius: Tensor = radius, sharp: Tensor = sharp) -> Tensor:
            return ((edge - radius) * sharp).add_(0.5).clamp_(0, 1)

        part.lay(inks("iris", colour * 0.5), eye * disc(0.048))
        if not inks.flat:
            part.lay(colour, eye * disc(0.041))
            ring = soft((radius - 0.027).abs(), 0.012)
            part.lay(colour * 1.25, ring.mul_(0.5).mul_(eye))
        part.lay(inks("pupil", inks.of(0.05, 0.04, 0.05)), eye * disc(0.020))
        if inks.flat:
            continue
        shade = soft((lids.top - y) - 0.004, 0.035)  # the lid's shadow
        part.lay(inks.of(0.25, 0.20, 0.22), shade.mul_(0.5).mul_(eye))
        glint_x = gaze_x - 0.03 * size * (person.light_side - 0.5) - 0.012 * size
        glint = length(glint_x, gaze_y - 0.017 * size) / size
        part.lay(inks.of(1.0, 1.0, 1.0), eye * disc(0.0105, glint))
        thick = 0.0085 + 0.03 * out.clamp(0, 0.08)
        lash = torch.maximum(((y - lids.top).abs() - thick) * lids.steep, ends - 0.004)
        part.lay(skin * 0.18, part.cover(lash).mul_(0.92))
        rim = torch.maximum(((y - lids.bottom).abs() - 0.003) * lids.steep, ends)
        part.lay(skin * 0.45, part.cover(rim).mul_(0.55))
        fold = torch.maximum(((y - lids.crease).abs() - 0.003) * lids.steep, ends + 0.013 * size)
        part.lay(skin * 0.55, part.cover(fold).mul_(0.5))


def paint_brows(ground: Ground) -> None:
    """Brows that taper to the temples."""
    away = anatomy.brow_middle(ground.person)
    reach = anatomy.BROW_HALF + 0.01
    for name, side in (("right brow", -1.0), ("left brow", 1.0)):
        span = (away - reach, away + reach) if side > 0 else (-away - reach, reach - away)
        part = ground.part(span, (0.10, 0.35), (0.2, 0.5))
        if part is None:
            continue
        out = part.x * side - away
        line, thick = anatomy.brow(out, part.person, part.motion)
        brow = torch.maximum((part.y - line).abs() - thick, out.abs() - anatomy.BROW_HALF)
        inks = part.inks
        hair = inks.hair * 0.62 + inks.skin * 0.10
        alpha = part.cover(brow)
        if not inks.flat:
            alpha.mul_(wave((out * 0.7 + part.y) * 45).mul_(0.06).add_(0.9))
        part.lay(inks(name, hair), alpha)


def paint_mouth(ground: Ground) -> None:
    """Lips around an aperture with teeth, tongue and the dark of the mouth."""
    person, motion = ground.person, ground.motion
    half, inner = anatomy.mouth_half(person, motion)
    bottom = -0.58 - 0.15 * motion.opening
    part = ground.part((-half - 0.03, half + 0.03), (bottom, -0.23), (0.2, 0.6))
    if part is None:
        return
    inks, x, y = part.inks, part.x, part.y
    lips = anatomy.mouth(x, person, motion)
    tone = inks.skin * 0.30 + ramp(person.lip_colour, LIPS) * 0.70 * (
        0.35 + 0.65 * inks.skin.amax(1, keepdim=True)
    )
    if not inks.flat:
        under = length(x * 0.9, y - lips.lower_outer + 0.030) - 0.018
        shadow = soft(torch.maximum(under, y - lips.lower_outer - 0.01), 0.05)
        part.lay(inks.skin * inks.of(0.74, 0.66, 0.64), shadow.mul_(0.5).mul_(part.front))
    ends = x.abs() - half
    lower = torch.maximum(y - lips.lower_inner, lips.lower_outer - y).mul_(lips.steep)
    upper = torch.maximum(y - lips.upper_outer, lips.upper_inner - y).mul_(lips.steep)
    lower, upper = (part.cover(torch.maximum(lip, ends)) for lip in (lower, upper))
    part.lay(inks("lower lip", tone), lower)
    part.lay(inks("upper lip", tone * 0.84), upper)
    if not inks.flat:
        bulge = length(x * 0.55, y - (lips.lower_inner * 0.62 + lips.lower_outer * 0.38)) - 0.006
        shine = soft(bulge, 0.022).mul_(0.34).mul_(lower)
        part.lay(inks.of(1.0, 0.86, 0.84), shine)
        seam = (y - lips.upper_inner).abs() - 0.004 - 0.002 * motion.press
        seam = torch.maximum(seam * lips.steep, ends + 0.01 * half)
        part.lay(tone * 0.40, part.cover(seam).mul_(0.9))
    _paint_aperture(part, lips, half, inner)


def _paint_aperture(part: Ground, lips: anatomy.Mouth, half: Tensor, inner: Tensor) -> None:
    motion, inks, x, y = part.motion, part.inks, part.x, part.y
    height = anatomy.gape(motion)
    hole = torch.maximum(y - lips.upper_inner, lips.lower_inner - y)
    # Less than a pixel's slit still darkens its pixel by its share.
    hole = part.cover(torch.maximum(hole * lips.steep, x.abs() - inner))
    hole = torch.minimum(hole, height * part.sharpness)
    part.lay(inks("mouth", inks.of(0.24, 0.06, 0.08)), hole)
    white = inks("teeth", inks.of(0.94, 0.92, 0.88))
    floor, roof = -0.34 - 0.76 * height, -0.34 + 0.24 * height

    arch = (1 - (x / inner) * (x / inner)).clamp_min(0)
    edge = 0.062 * (0.10 + 0.90 * motion.teeth) * (0.35 + 0.65 * arch)
    edge = lips.upper_inner - torch.minimum(edge, 0.62 * height * arch)
    ends = x.abs() - 0.92 * inner
    low = lips.lower_inner + 0.036 * ((motion.teeth - 0.5) * 2).clamp(0, 1) * (0.3 + 0.7 * arch)
    below = part.cover(torch.maximum(y - torch.minimum(low, edge - 0.007), ends)).mul_(hole)
    part.lay(white if inks.flat else white * 0.88, below)

    # The tongue lies on the floor, or its tip rises to the roof.
    out = ((motion.tongue * motion.teeth - 0.42) / 0.2).clamp(0, 1)
    tip = floor + height * (0.30 + 0.62 * motion.tongue) * (1 - out) + out * (0.5 * height)
    wide = inner * (0.66 - 0.24 * motion.tongue)
    bump = (1 - (x / wide) * (x / wide)).clamp_min(-1)
    top = tip - (0.25 * height + 0.012) * (1 - bump)
    raised = part.cover(torch.maximum(y - top, x.abs() - wide)).mul_(hole)
    red = inks("tongue", inks.of(0.80, 0.38, 0.41))
    part.lay(red, raised)
    if not inks.flat:
        crease = soft((y - top + 0.012).abs() - 0.001, 0.012)
        part.lay(inks.of(0.93, 0.58, 0.58), crease.mul_(0.7).mul_(raised))

    # Pressed to the lower lip, as in f and v, the teeth show in front of it.
    bite = ((motion.teeth * motion.press - 0.25) / 0.2).clamp(0, 1)
    above = torch.maximum(torch.maximum(edge - y, y - lips.upper_inner), ends)
    upper = part.cover(above).mul_(hole)
    drop = lips.upper_inner - 0.030 * bite * (0.3 + 0.7 * arch)
    front = torch.maximum(torch.maximum(drop - y, y - lips.upper_inner), x.abs() - 0.66 * half)
    upper = torch.maximum(upper, part.cover(front).mul_(bite))
    part.lay(white, upper)
    if not inks.flat:
        gap = soft((wave(x / 0.030) * 0.5).abs(), 0.16).mul_(0.14)
        part.lay(inks.of(0.55, 0.45, 0.42), gap.mul_(upper))
        shade = soft(lips.upper_inner - y, 0.014).mul_(0.35)
        part.lay(inks.of(0.35, 0.18, 0.18), shade.mul_(upper))

    # Between the teeth, as in th, the tongue lies on the lower lip.
    if bool((out > 0).any()):
        reach = lips.lower_outer * 0.45 + lips.lower_inner * 0.55
        tongue = torch.maximum(y - roof + 0.45 * height, reach + 0.35 * x * x / wide - y)
        tongue = torch.maximum(tongue, x.abs() - 0.62 * half)
        alpha = part.cover(tongue).mul_(out)
        part.lay(red, alpha)
        if not inks.flat:
            line = soft(x.abs() - 0.001, 0.012).mul_(0.35)
            part.lay(inks.of(0.58, 0.22, 0.26), line.mul_(alpha))


def paint_beard(ground: Ground) -> None:
    """A full beard along the jaw, from stubble on, and a moustache under the nose."""
    person, motion = ground.person, ground.motion
    if not bool(((person.beard > 0.75) | (person.moustache > 0.75)).any()):
        return
    part = ground.part((-0.50, 0.50), (-0.85, 0.02), (-0.2, 0.55))
    if part is None:
        return
    inks, x, y = part.inks, part.x, part.y
    side = x.abs()
    half, _ = anatomy.mouth_half(person, motion)
    lips = anatomy.mouth(x, person, motion)
    hair = inks.hair * 0.72 + inks.skin * 0.06
    strands = wave(x * 37 + 0.12 * wave(y * 17)) * 0.05 + 0.95
    if bool((person.beard > 0.75).any()):
        rise = (side - 0.13).clamp_min(0)
        top = -0.37 + 5.6 * rise * rise
        bare = 0.93 * half - length(x, (y + 0.345) * 1.1 + 0.10 * motion.opening)
        beard = torch.maximum(
            torch.maximum(y - top.clamp_max(-0.04), bare), y - lips.lower_outer + 0.03 - side
        )
        alpha = part.cover(beard) if inks.flat else soft(beard + 0.01, 0.035).mul_(part.front)
        strength = ((person.beard - 0.75) * 8).clamp(0, 1)
        worn = (strength > 0).to(alpha) if inks.flat else (0.25 * (strength > 0) + 0.68 * strength)
        part.lay(inks("beard", hair * strands[:, None]), alpha * worn)
    if bool((person.moustache > 0.75).any()):
        grown = ((person.moustache - 0.75) / 0.25).clamp(0, 1)
        u = side / (half * (1.0 + 0.15 * grown))
        middle = lips.upper_outer.clamp_min(-0.37) + 0.016 + 0.014 * grown - 0.03 * u * u
        thick = (0.012 + 0.016 * grown) * (1 - u * u * u)
        line = torch.maximum((y - middle).abs() - thick, (u - 1) * half)
        alpha = part.cover(line)
        worn = (grown > 0).to(alpha)
        part.lay(
            inks("moustache", hair * strands[:, None]),
            alpha.mul_(worn * (1.0 if inks.flat else 0.92)),
        )
