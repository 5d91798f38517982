"""Colours: chains of natural ones, and the code colours of the parts."""

import torch
from torch import Tensor

from talkingface.data.synthetic.traits import Identity

CODE: dict[str, tuple[int, int, int]] = {
    "background": (0, 0, 0),
    "clothes": (255, 128, 192),
    "neck": (128, 255, 0),
    "hair": (64, 255, 192),
    "skin": (0, 192, 192),
    "ears": (192, 0, 0),
    "right brow": (64, 0, 64),
    "left brow": (255, 255, 128),
    "eye white": (255, 255, 255),
    "iris": (64, 192, 255),
    "pupil": (128, 0, 128),
    "nose": (192, 128, 255),
    "nostrils": (0, 64, 255),
    "upper lip": (0, 255, 64),
    "lower lip": (255, 0, 192),
    "mouth": (255, 192, 0),
    "teeth": (255, 64, 64),
    "tongue": (0, 192, 0),
    "beard": (192, 255, 64),
    "moustache": (192, 0, 255),
    "glasses": (0, 0, 192),
}
"""Colour of each part in the palette "code", RGB in 0..255.

On an edge two parts mix; no mixture of parts that touch comes near the colour of a third.
"""

Chain = tuple[tuple[float, float, float], ...]

SKIN: Chain = (
    (0.99, 0.86, 0.77),
    (0.95, 0.76, 0.62),
    (0.82, 0.60, 0.45),
    (0.62, 0.42, 0.30),
    (0.44, 0.29, 0.21),
)
HAIR: Chain = (
    (0.12, 0.10, 0.10),
    (0.32, 0.20, 0.13),
    (0.60, 0.28, 0.14),
    (0.88, 0.70, 0.40),
    (0.72, 0.72, 0.74),
)
IRIS: Chain = (
    (0.33, 0.19, 0.10),
    (0.50, 0.38, 0.14),
    (0.28, 0.50, 0.32),
    (0.20, 0.48, 0.78),
    (0.45, 0.53, 0.60),
)
LIPS: Chain = ((0.80, 0.45, 0.41), (0.80, 0.32, 0.35), (0.66, 0.22, 0.28))
FABRIC: Chain = (
    (0.75, 0.25, 0.28),
    (0.92, 0.62, 0.25),
    (0.36, 0.58, 0.38),
    (0.22, 0.45, 0.66),
    (0.46, 0.34, 0.62),
    (0.86, 0.85, 0.82),
)
WALL: Chain = (
    (0.70, 0.80, 0.86),
    (0.72, 0.83, 0.74),
    (0.91, 0.85, 0.68),
    (0.90, 0.74, 0.70),
    (0.78, 0.73, 0.86),
)
FRAME: Chain = ((0.12, 0.10, 0.10), (0.35, 0.20, 0.12), (0.62, 0.14, 0.16), (0.70, 0.66, 0.58))


def ramp(value: Tensor, colours: Chain) -> Tensor:
    """Colour (..., 3, 1, 1) at ``value`` (..., 1, 1) in [0, 1] on a chain of colours."""
    table = torch.tensor(colours, dtype=value.dtype, device=value.device)
    position = value[..., 0, 0] * (len(colours) - 1)
    index = position.long().clamp(0, len(colours) - 2)
    share = (position - index)[..., None]
    colour = table[index] + (table[index + 1] - table[index]) * share
    return colour[..., None, None]


class Inks:
    """The colours of one person's parts, natural or code, each (T or 1, 3, 1, 1)."""

    def __init__(self, person: Identity, flat: bool) -> None:
        self.flat = flat
        self._like = person.skin_tone
        warm = self.of(1.0, 1.0, 1.0) + self.of(0.03, 0.0, -0.05) * (
            2 * person.skin_warmth[:, None] - 1
        )
        self.skin = ramp(person.skin_tone, SKIN) * warm
        self.hair = ramp(person.hair_colour, HAIR)

    def of(self, red: float, green: float, blue: float) -> Tensor:
        """A plain colour (1, 3, 1, 1)."""
        return self._like.new_tensor([red, green, blue]).view(1, 3, 1, 1)

    def code(self, part: str) -> Tensor:
        """The code colour of a part."""
        red, green, blue = CODE[part]
        return self.of(red / 255, green / 255, blue / 255)

    def __call__(self, part: str, natural: Tensor) -> Tensor:
        """What a part is drawn with."""
        return self.code(part) if self.flat else natural
