"""Glasses: flat shapes in planes before and beside the face."""

import torch
from torch import Tensor

from talkingface.data.synthetic import anatomy
from talkingface.data.synthetic.painting import inside, length, over, soft
from talkingface.data.synthetic.palette import FRAME, Inks, ramp
from talkingface.data.synthetic.solids import Triple, View
from talkingface.data.synthetic.traits import Identity


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
    box = view.block((-reach, reach), (level - high - 0.02, level + high + 0.02), (-0.15, 0.51))
    if box is None:
        return
    rows, columns = box
    window, target = view.crop(box), picture[..., rows, columns]
    depths = depth[:, rows, columns]
    sharp = 0.9 / window.pixel
    end = ahead - bend * hinge  # z of the hinges
    back = (parts.wide + 0.03 - hinge) / (end + 0.10)
    for side in (1.0, -1.0):
        (_, y, z), at = _on_plane(window, side, back, hinge + back * end)
        arm = torch.maximum((y - level - 0.03).abs() - 0.010 - 0.004 * heavy, z - end)
        arm = torch.maximum(arm, -0.12 - z)
        alpha = inside(arm, sharp).mul_(worn)
        alpha.mul_(((at + 0.05 - depths) / 0.02).add_(0.5).clamp_(0, 1))
        over(target, colour if inks.flat else colour * 0.8, alpha)
    for side in (1.0, -1.0):
        (x, y, _), _ = _on_plane(window, side, 1 / bend, ahead / bend)
        x = x * side
        dx, dy = (x - centre).abs() - wide + round_, (y - level).abs() - high + round_
        lens = torch.maximum(dx, dy).clamp_max(0) - round_
        lens = length(dx.clamp_min(0), dy.clamp_min(0)) + lens
        own = (x > 0).to(lens).mul_(worn)
        if not inks.flat:
            glare = soft((x - centre - 0.6 * (y - level) + 0.03).abs() - 0.02, 0.03)
            glare = glare.mul_(0.10).add_(0.05)
            over(target, inks.of(1.0, 1.0, 1.0), inside(lens, sharp).mul_(own).mul_(glare))
        rim = lens.abs() - thick
        bridge = torch.maximum(
            (y - level - 0.02 + 0.6 * x * x).abs() - thick * 0.9, x - centre + wide
        )
        over(target, colour, inside(torch.minimum(rim, bridge), sharp).mul_(own))


def _on_plane(
    view: View, side: float, back: Tensor | float, far: Tensor | float
) -> tuple[Triple, Tensor]:
    """Where the rays meet the plane side * x + back * z = far of the head; the camera's z there."""
    a, b, c = (side * r[0] + back * r[2] for r in view.rotation)
    at = (far - (a * view.x + b * view.y)) / torch.where(c.abs() < 0.02, 1.0, c)
    at = torch.where(c.abs() < 0.02, torch.full_like(at, 50.0), at)  # edge-on: nothing to see
    return view.back(at), at
