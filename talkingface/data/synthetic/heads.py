"""Face, ears and nose as surfaces, in light."""

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
from talkingface.data.synthetic.painting import Ground, inside, length, over, soft, step
from talkingface.data.synthetic.palette import Inks
from talkingface.data.synthetic.solids import Box, Light, Seen, Solid, View
from talkingface.data.synthetic.traits import Expression, Identity

_BEHIND = -1000.0  # deeper than anything


class _Face:
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
    layer = _Face(view, light, parts, box)
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
