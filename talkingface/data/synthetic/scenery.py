"""The wall, the lamp, and the body below the head."""

import torch
from torch import Tensor

from talkingface.data.synthetic.painting import inside, length, over, soft, wave
from talkingface.data.synthetic.palette import FABRIC, WALL, Inks, ramp
from talkingface.data.synthetic.solids import Light, Seen, Solid, View
from talkingface.data.synthetic.traits import Identity


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
    zero = torch.zeros_like(view.pixel[:1])
    neck = Solid((zero, zero - 0.72, zero - 0.16), (zero + 0.20, zero + 0.52, zero + 0.19))
    torso = Solid((zero, zero - 1.38, zero - 0.16), (zero + 0.88, zero + 0.68, zero + 0.36))
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
