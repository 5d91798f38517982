"""Hair: what falls behind the head, and the cap on it, straight or curly."""

import torch
from torch import Tensor

from talkingface.data.synthetic import anatomy
from talkingface.data.synthetic.painting import inside, over, soft, wave
from talkingface.data.synthetic.palette import Inks
from talkingface.data.synthetic.solids import Light, Seen, Solid, Surface, Triple, View
from talkingface.data.synthetic.traits import Identity


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


def _hairline(point: Triple, facing: Tensor, person: Identity) -> Tensor:
    """Distance of points on the cap of hair from its edge, < 0 where there is hair."""
    x, y, z = point
    part = x - 0.34 * (person.parting - 0.5)
    parting = soft(part.abs(), 0.30).mul_(0.11 * (1 - person.fringe))
    lock = wave(part * 6).mul_(facing).mul_(0.010 + 0.010 * person.hair_curl)
    line = 0.155 + 0.08 * person.hairline - 0.115 * person.fringe
    cut = line + parting + lock - (0.8 * y - 0.6 * z) - 0.20 * x.abs()
    return torch.maximum(cut, -0.10 - y)


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
