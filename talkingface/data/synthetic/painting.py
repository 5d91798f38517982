"""Paint on pixels, in operations that round exactly, so that neighbours never matter."""

from typing import NamedTuple

from torch import Tensor

from talkingface.data.synthetic.palette import Inks
from talkingface.data.synthetic.solids import Box, View
from talkingface.data.synthetic.traits import Expression, Identity


def inside(distance: Tensor, sharpness: Tensor) -> Tensor:
    """Share of each pixel in which ``distance`` < 0; ``sharpness`` is 1 / its change per pixel."""
    return (distance * sharpness).neg_().add_(0.5).clamp_(0, 1)


def soft(distance: Tensor, width: float) -> Tensor:
    """1 inside, 0 beyond ``width`` outside, smooth between: shadows and blush."""
    t = (distance / width).clamp_(0, 1)
    return (t * -2).add_(3).mul_(t).mul_(t).neg_().add_(1)


def step(value: Tensor) -> Tensor:
    """Smooth step from 0 at -1 to 1 at 1."""
    t = (value * 0.5).add_(0.5).clamp_(0, 1)
    return (t * -2).add_(3).mul_(t).mul_(t)


def wave(turns: Tensor) -> Tensor:
    """Almost a sine of ``turns`` full turns, from parabolas."""
    t = turns - turns.round()
    return (t.abs() * -16).add_(8).mul_(t)


def length(x: Tensor, y: Tensor) -> Tensor:
    """Length of a vector."""
    return (x * x + y * y).sqrt_()


def over(picture: Tensor, colour: Tensor, alpha: Tensor) -> None:
    """Lay a colour over a picture (T, 3, H, W), in place; ``alpha`` is (T, H, W)."""
    picture += (colour - picture).mul_(alpha[:, None])


class Ground(NamedTuple):
    """What features are painted on: a picture, its pixels' places on the head, and the head.

    Shape:
        - picture: (T, 3, H, W), painted in place
        - x, y: (T, H, W), head coordinates of what the pixels show
        - front: (T, H, W), 1 on the face's side of the head, 0 on its back and beside it
        - sharpness: (T, H, W), see `inside`
    """

    view: View
    picture: Tensor
    x: Tensor
    y: Tensor
    front: Tensor
    sharpness: Tensor
    inks: Inks
    person: Identity
    motion: Expression

    def part(
        self,
        x: tuple[Tensor | float, Tensor | float],
        y: tuple[Tensor | float, Tensor | float],
        z: tuple[Tensor | float, Tensor | float],
    ) -> "Ground | None":
        """The pixels that can show a block of the head, given by its ends along x, y and z."""
        box = self.view.block(x, y, z)
        return None if box is None else self.crop(box)

    def crop(self, box: Box) -> "Ground":
        """The same for a part of the picture."""
        return self._replace(
            view=self.view.crop(box),
            picture=self.picture[..., box.rows, box.columns],
            x=self.x[:, box.rows, box.columns],
            y=self.y[:, box.rows, box.columns],
            front=self.front[:, box.rows, box.columns],
            sharpness=self.sharpness[:, box.rows, box.columns],
        )

    def cover(self, distance: Tensor) -> Tensor:
        """Share of each pixel within a shape on the face."""
        return inside(distance, self.sharpness).mul_(self.front)

    def lay(self, colour: Tensor, alpha: Tensor) -> None:
        """Paint a colour."""
        over(self.picture, colour, alpha)
