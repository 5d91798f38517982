"""The layers of a picture, from the wall to the glasses, laid from back to front."""

import torch
from torch import Tensor

from talkingface.data.synthetic import anatomy
from talkingface.data.synthetic.features import (
    paint_beard,
    paint_brows,
    paint_eyes,
    paint_mouth,
    paint_skin,
)
from talkingface.data.synthetic.painting import Ground, inside, length, over, soft, step, wave
from talkingface.data.synthetic.palette import FABRIC, FRAME, WALL, Inks, ramp
from talkingface.data.synthetic.solids import Box, Light, Seen, Solid, Surface, Triple, View
from talkingface.data.synthetic.traits import Expression, Identity

_BEHIND = -1000.0  # deeper than anything


def wall(size: int, person: Identity, inks: Inks) -> Tensor:
    """A wall with a pool of light behind the head: (T or 1, 3, size, size)."""
    steps = torch.arange(size, dtype=person.skin_tone.dtype, device=person.skin_tone.device)
    steps = (2 * steps + 1) / size - 1
    x, y = steps, -steps[:, None]
    if inks.flat:
        return inks.code("background").expand(-1, -1, size, size)
    pool = (x - 1.2 * (person.light_side - 0.5)) * (x - 1.2 * (person.light_side - 0.5))
    pool = 1 - 0.15 * (pool + (y - 0.35) * (y - 0.35)) + 0.10 * y
    glow = 0.90 + 0.34 * (person.background_tone - 0.5)
    return ramp(person.background_colour, WALL) * (glow * pool)[:, None]


def lamp(person: Identity) -> Light:
    """A large soft lamp, and a little light from the viewer."""
    side, up = 1.7 * (person.light_side - 0.5), 0.30 + 0.50 * person.light_height
    far = (side * side + up * up + 1).sqrt()
    return Light((0.38 * side / far, 0.38 * up / far, 0.38 / far + 0.17), 0.55)


def lay_body(picture: Tensor, view: View, light: Light, person: Identity, inks: Inks) -> None:
    """Neck and shoulders, which move with the head but do not turn."""
    number = person.skin_tone.new_tensor
    neck = _solid(number, (0.0, -0.72, -0.16), (0.20, 0.52, 0.19))
    torso = _solid(number, (0.0, -1.38, -0.16), (0.88, 0.68, 0.36))
    for solid, part in ((neck, "neck"), (torso, "clothes")):
        seen = Seen(solid, view)
        box = seen.box(view)
        if box is None:
            continue
        window = view.crop(box)
        surface, sharp = seen.surface(window, light), 1 / window.pixel
        alpha = inside(surface.outside, sharp)
        x, y = window.x, window.y
        if part == "neck":
            colour = inks.skin
            shadow = soft(-0.50 - y + 0.9 * x * x, 0.34).mul_(0.42)
        else:
            drop = y + 0.70
            v = 0.9 * person.neckline
            deep = 1.25 - 0.55 * person.neckline
            round_ = length(x, drop * deep)
            collar = round_ + (x.abs() * 0.75 + drop.abs() * deep * 0.75 - round_) * v - 0.25
            alpha *= 1 - inside(collar, sharp)
            first = ramp(person.clothes_colour, FABRIC)
            other = ramp((person.clothes_colour + 0.45) % 1, FABRIC) * 0.5 + 0.42
            stripes = wave((y + 0.10 * x * x) * 7).mul_(6).clamp_(-1, 1).mul_(0.5).add_(0.5)
            stripes = stripes * ((person.clothes_pattern - 0.5) * 3).clamp(0, 0.85)
            colour = first + (other - first) * stripes[:, None]
            shadow = inside(collar - 0.035, sharp).mul_(0.22)
        if inks.flat:
            colour = inks.code(part)
        else:
            colour = colour * (surface.shade * (1 - shadow))[:, None]
        over(picture[..., box.rows, box.columns], colour, alpha)


def _solid(number, centre, radii) -> Solid:  # type: ignore[no-untyped-def]
    a, b = ([number(v).view(1, 1, 1) for v in triple] for triple in (centre, radii))
    return Solid(tuple(a), tuple(b))  # type: ignore[arg-type]


def lay_hair_behind(
    picture: Tensor, view: View, light: Light, person: Identity, inks: Inks
) -> None:
    """The hair that falls behind the ears, down to the shoulders when it is long."""
    long, volume = person.hair_length, person.hair_volume
    zero = torch.zeros_like(long)
    solid = Solid(
        (zero, 0.10 - 0.34 * long, -0.24 - 0.08 * long),
        (0.39 + 0.11 * long + 0.05 * volume, 0.42 + 0.30 * long, 0.27 + zero),
    )
    seen = Seen(solid, view)
    box = seen.box(view, 0.04)
    if box is None:
        return
    window = view.crop(box)
    surface = seen.surface(window, light)
    outside = surface.outside - _curls(window, seen, person)
    colour = inks("hair", _strands(window, surface, person, inks) * 0.72)
    over(picture[..., box.rows, box.columns], colour, inside(outside, 1 / window.pixel))


def _curls(window: View, seen: Seen, person: Identity) -> Tensor:
    """How far curly hair stands out from its solid's outline."""
    u, v = window.x - seen.x, window.y - seen.y
    turn = v / (u.abs() + v.abs() + 1e-3)
    curl = ((person.hair_curl - 0.35) * 1.6).clamp(0, 1)
    bumps = wave(turn * 4.3 + 0.25) + wave(turn * 7.1 + 0.1 + 0.3 * u.sign())
    return bumps.mul_(0.009 * curl).add_(0.010 * curl)


def _strands(window: View, surface: Surface, person: Identity, inks: Inks) -> Tensor:
    """Hair's colour under the lamp: fine strands, locks or curls, and a band of gloss."""
    x, y, z = window.back(surface.depth.clamp_min(-1))
    flow = (x - 0.3 * (person.parting - 0.5)) / (x.abs() + z.abs() + 0.25)
    curl = ((person.hair_curl - 0.35) * 1.6).clamp(0, 1)
    bend = wave(y * 4.5 + flow).mul_(0.10 * curl)
    lock = wave(flow * 5 + bend * 4)
    fine = wave(flow * 21 + 0.15 * lock + bend * 14)
    rings = wave(y * 8 + lock * 0.2).mul_(lock).mul_(0.12 * curl)
    gloss = soft((y + 0.05 * lock - 0.47).abs() - 0.02, 0.13).mul_(0.20)
    tone = fine.mul_(0.055).add_(lock.mul_(0.06)).add_(rings).add_(gloss).add_(1)
    return inks.hair * (surface.shade * tone)[:, None]


def _hairline(point: Triple, facing: Tensor, person: Identity) -> Tensor:
    """Distance of points on the cap of hair from its edge, < 0 where there is hair."""
    x, y, z = point
    part = x - 0.34 * (person.parting - 0.5)
    parting = soft(part.abs(), 0.30).mul_(0.11 * (1 - person.fringe))
    lock = wave(part * 6).mul_(facing).mul_(0.010 + 0.010 * person.hair_curl)
    line = 0.155 + 0.08 * person.hairline - 0.115 * person.fringe
    cut = line + parting + lock - (0.8 * y - 0.6 * z) - 0.20 * x.abs()
    return torch.maximum(cut, -0.10 - y)


def lay_hair(
    picture: Tensor, depth: Tensor, view: View, light: Light, person: Identity, inks: Inks
) -> Tensor:
    """A cap of hair, cut along a tilted plane that is bent into a hairline; returns its share."""
    volume, wide = person.hair_volume, anatomy.skull_half(person)
    tall = 0.47 + 0.06 * person.face_height
    zero = torch.zeros_like(volume)
    solid = Solid(
        (zero, 0.17 + zero, -0.08 + zero),
        (wide + 0.012 + 0.022 * volume, tall + 0.01 + 0.065 * volume, 0.53 + 0.02 * volume),
    )
    cover = torch.zeros_like(depth)
    seen = Seen(solid, view)
    box = seen.box(view, 0.04)
    if box is None:
        return cover
    window = view.crop(box)
    surface = seen.surface(window, light)
    facing = surface.facing.clamp(0.05, 1)  # edge-on, locks would break up
    sharp = 1 / window.pixel
    rows, columns = box
    # Beside the forehead a ray that misses the front's hair still meets that on the far side.
    rim = seen.z + seen.slope_x * (window.x - seen.x) + seen.slope_y * (window.y - seen.y)
    front = torch.maximum(surface.depth, rim)  # curls stand out at the rim's depth
    alpha = torch.zeros_like(surface.depth)
    for hit in (front, 2 * rim - front):
        cut = _hairline(window.back(hit), facing, person)
        ahead = ((hit - depth[:, rows, columns]) / 0.03).add_(0.5).clamp_(0, 1)
        alpha = torch.maximum(alpha, inside(cut, facing * sharp).mul_(ahead))
    alpha.mul_(inside(surface.outside - _curls(window, seen, person), sharp))
    colour = inks("hair", _strands(window, surface, person, inks))
    over(picture[..., rows, columns], colour, alpha)
    cover[:, rows, columns] = alpha
    return cover


class HeadLayer:
    """The head's surfaces in their part of the picture."""

    def __init__(self, view: View, light: Light, parts: anatomy.Head, box: Box) -> None:
        self.box = box
        self.view = window = view.crop(box)
        self.parts, self.light = parts, light
        surface = Seen(parts.face[0], view).surface(window, light)
        self.outside, self.depth, self.shade = surface.outside, surface.depth, surface.shade
        self.facing = surface.facing
        for solid, blend in zip(parts.face[1:], (0.10, 0.08, 0.12, 0.14, 0.14), strict=True):
            self._join(Seen(solid, window), blend)

    def _join(self, seen: Seen, blend: float) -> None:
        """Add a solid: light flows smoothly over the seam, the surface itself is the foremost."""
        box = seen.box(self.view, blend)
        if box is None:
            return
        rows, columns = box
        other = seen.surface(self.view.crop(box), self.light)
        outside, depth, shade, facing = (
            plane[:, rows, columns] for plane in (self.outside, self.depth, self.shade, self.facing)
        )
        front = step((other.depth - depth) / blend)
        shade += (other.shade - shade).mul_(front)
        facing += (other.facing - facing).mul_(front)
        torch.maximum(depth, other.depth, out=depth)
        torch.minimum(outside, other.outside, out=outside)


def lay_head(
    picture: Tensor, view: View, light: Light, person: Identity, motion: Expression, inks: Inks
) -> tuple[Tensor, Tensor]:
    """Face, ears and nose; returns the head's share of each pixel, and its depth."""
    parts = anatomy.head(person, motion)
    depth = torch.full_like(picture[:, 0], _BEHIND)
    cover = torch.zeros_like(depth)
    box = _around([Seen(solid, view) for solid in (*parts.face, *parts.ears)], view)
    if box is None:
        return cover, depth
    rows, columns = box
    layer = HeadLayer(view, light, parts, box)
    window = layer.view
    x, y, z = window.back(layer.depth)
    facing = layer.facing.clamp_(0.2, 1)
    albedo = (inks("skin", inks.skin) + torch.zeros_like(x)[:, None]).contiguous()
    ground = Ground(
        window,
        albedo,
        x,
        y,
        (z / 0.06 + 1).clamp_(0, 1),
        2 * facing / (1 + facing) / window.pixel,
        inks,
        person,
        motion,
    )
    for paint in (paint_skin, paint_beard, paint_mouth, paint_eyes, paint_brows):
        paint(ground)
    if not inks.flat:
        albedo *= _skin_light(layer.shade, inks)
    head = inside(layer.outside, 1 / window.pixel)
    target, depths = picture[..., rows, columns], depth[:, rows, columns]
    over(target, albedo, head)
    depths.copy_(torch.where(head > 0.5, layer.depth, depths))
    for ear in parts.ears:
        head = torch.maximum(head, _lay_ear(target, depths, window, light, ear, inks))
    cover[:, rows, columns] = head
    _lay_nose(target, depths, window, light, parts, person, inks)
    return cover, depth


def _skin_light(shade: Tensor, inks: Inks) -> Tensor:
    """Light (T, 3, H, W) on skin, whose shadows are warm."""
    least = inks.of(0.14, 0.05, 0.03)
    return shade[:, None] * (1 - least) + least


def _around(solids: list[Seen], view: View) -> Box | None:
    """One box around all."""
    low_x = torch.stack([seen.x - seen.half[0] for seen in solids]).amin(0)
    high_x = torch.stack([seen.x + seen.half[0] for seen in solids]).amax(0)
    low_y = torch.stack([seen.y - seen.half[1] for seen in solids]).amin(0)
    high_y = torch.stack([seen.y + seen.half[1] for seen in solids]).amax(0)
    return view.box(low_x, high_x, low_y, high_y)


def _lay_ear(
    picture: Tensor, depth: Tensor, view: View, light: Light, ear: Solid, inks: Inks
) -> Tensor:
    """An ear with its hollow, behind or on the head; returns its share of the pixels."""
    cover = torch.zeros_like(depth)
    seen = Seen(ear, view)
    box = seen.box(view)
    if box is None:
        return cover
    rows, columns = box
    surface = seen.surface(view.crop(box), light)
    alpha = inside(surface.outside, 1 / view.pixel)
    depths = depth[:, rows, columns]
    alpha.mul_(((surface.depth - depths) / 0.03).add_(0.5).clamp_(0, 1))
    colour = inks("ears", inks.skin)
    if not inks.flat:
        hollow = soft((surface.miss - 0.42).abs() - 0.10, 0.25).mul_(-0.22).add_(1)
        warm = inks.skin * inks.of(1.0, 0.93, 0.91)
        colour = warm * hollow[:, None] * _skin_light(surface.shade, inks)
    over(picture[..., rows, columns], colour, alpha)
    depths.copy_(torch.where(alpha > 0.5, surface.depth, depths))
    cover[:, rows, columns] = alpha
    return cover


def _lay_nose(
    picture: Tensor,
    depth: Tensor,
    view: View,
    light: Light,
    parts: anatomy.Head,
    person: Identity,
    inks: Inks,
) -> None:
    """The nose stands before the face, so it also hides what lies behind it."""
    solids = [Seen(solid, view) for solid in parts.nose]
    box = _around(solids, view)
    if box is None:
        return
    rows, columns = box
    window = view.crop(box)
    first, *others = (seen.surface(window, light) for seen in solids)
    outside, z, shade = first.outside, first.depth, first.shade
    for other in others:
        shade += (other.shade - shade).mul_(step((other.depth - z) / 0.035))
        z = torch.maximum(z, other.depth)
        outside = torch.minimum(outside, other.outside)
    ahead = z - depth[:, rows, columns]
    alpha = inside(outside, 1 / window.pixel)
    alpha.mul_((ahead / 0.004).add_(0.5).clamp_(0, 1) if inks.flat else step(ahead / 0.03))
    broad, tip = anatomy.nose_tip(person)
    hx, hy, _ = window.back(z)
    hole = length((hx.abs() - 0.62 * broad) / 1.5, hy - tip + 0.040) - 0.0125
    nostril = inside(hole, 0.8 / window.pixel).mul_(alpha)
    if inks.flat:
        over(picture[..., rows, columns], inks.code("nose"), alpha)
        over(picture[..., rows, columns], inks.code("nostrils"), nostril)
        return
    red = soft(length(hx, hy - tip) - 0.02, 0.09).mul_(0.30)
    tone = inks.skin + (inks.skin * inks.of(1.0, 0.80, 0.78) - inks.skin) * red[:, None]
    colour = tone * _skin_light(shade, inks)
    shine = soft(length(hx - 0.05 * (person.light_side - 0.5), hy - tip - 0.018) - 0.004, 0.030)
    over(colour, inks.of(1.0, 0.97, 0.93), shine.mul_(0.28))
    over(picture[..., rows, columns], colour, alpha)
    over(picture[..., rows, columns], inks.skin * inks.of(0.42, 0.32, 0.30), nostril.mul_(0.85))


def lay_glasses(
    picture: Tensor, depth: Tensor, view: View, parts: anatomy.Head, person: Identity, inks: Inks
) -> None:
    """Frames before the eyes and arms back to the ears, where they are worn."""
    worn = (person.glasses > 0.7).to(picture)
    if not bool(worn.any()):
        return
    away, size = anatomy.eye_middle(person)
    heavy = ((person.glasses - 0.7) / 0.3).clamp(0, 1)
    boxy = person.glasses_shape
    wide, high = 0.128 + 0.012 * heavy + 0.006 * size, 0.112 - 0.022 * boxy + 0.008 * heavy
    round_ = high * (1 - 0.60 * boxy)
    thick = 0.006 + 0.007 * heavy
    centre, level = away + 0.012, anatomy.EYE_Y - 0.008
    ahead, bend = 0.485, 0.20
    hinge = centre + wide
    colour = inks("glasses", ramp((person.glasses_shape + 1.7 * person.glasses) % 1, FRAME))
    reach = parts.wide + 0.05
    corner = view.turned((torch.zeros_like(reach), level + 0 * reach, 0.18 + 0 * reach))
    span_x = reach * view.rotation[0][0].abs() + (high + 0.02) * view.rotation[0][1].abs()
    span_x = span_x + 0.33 * view.rotation[0][2].abs()
    span_y = reach * view.rotation[1][0].abs() + (high + 0.02) * view.rotation[1][1].abs()
    span_y = span_y + 0.33 * view.rotation[1][2].abs()
    box = view.box(corner[0] - span_x, corner[0] + span_x, corner[1] - span_y, corner[1] + span_y)
    if box is None:
        return
    rows, columns = box
    window, target, depths = (
        view.crop(box),
        picture[..., box.rows, box.columns],
        depth[:, rows, columns],
    )
    sharp = 0.9 / window.pixel
    sides = (1.0, -1.0)
    for side in sides:
        ear = parts.wide + 0.03
        back = (ear - hinge) / (ahead - bend * hinge + 0.10)
        x, y, z, at = _on_plane(window, side, back, hinge + back * (ahead - bend * hinge))
        arm = torch.maximum(
            (y - level - 0.03).abs() - 0.010 - 0.004 * heavy, z - ahead + bend * hinge
        )
        arm = torch.maximum(arm, -0.12 - z)
        alpha = inside(arm, sharp).mul_(worn)
        alpha.mul_(((at + 0.05 - depths) / 0.02).add_(0.5).clamp_(0, 1))
        over(target, colour * 0.8 if not inks.flat else colour, alpha)
    for side in sides:
        x, y, z, at = _on_plane(window, side, 1 / bend, ahead / bend)
        x = x * side
        dx, dy = (x - centre).abs() - wide + round_, (y - level).abs() - high + round_
        lens = (
            length(dx.clamp_min(0), dy.clamp_min(0)) + torch.maximum(dx, dy).clamp_max(0) - round_
        )
        own = (x > 0).to(lens).mul_(worn)
        if not inks.flat:
            glare = (
                soft((x - centre - 0.6 * (y - level) + 0.03).abs() - 0.02, 0.03)
                .mul_(0.10)
                .add_(0.05)
            )
            over(target, inks.of(1.0, 1.0, 1.0), inside(lens, sharp).mul_(own).mul_(glare))
        rim = lens.abs() - thick
        bridge = torch.maximum(
            (y - level - 0.02 + 0.6 * x * x).abs() - thick * 0.9, x - centre + wide
        )
        over(target, colour, inside(torch.minimum(rim, bridge), sharp).mul_(own))


def _on_plane(view: View, side: float, back: Tensor | float, far: Tensor | float):  # type: ignore[no-untyped-def]
    """Head's x, y, z and the camera's z where the rays meet the plane side * x + back * z = far."""
    r = view.rotation
    a, b, c = (side * r[i][0] + back * r[i][2] for i in range(3))
    at = (far - (a * view.x + b * view.y)) / torch.where(c.abs() < 0.02, 1.0, c)
    at = torch.where(c.abs() < 0.02, torch.full_like(at, 50.0), at)  # edge-on: nothing to see
    x, y, z = view.back(at)
    return x, y, z, at
