"""Ellipsoids seen by an orthographic camera, in closed form.

With rotation R, radii r and S = R diag(r^2) R^T, the outline in the picture is the conic of S's
upper left block, and the depth is a plane plus a dome over it. Only operations that round exactly
are used on pixels, so that a pixel's value depends on nothing but itself.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from talkingface.data.synthetic.traits import Pose

VIEW = 0.86
"""Half the width of what the camera sees; a head is 1.2 high."""
HEIGHT = 0.06
"""Height of the head's centre above the picture's."""

Triple = tuple[Tensor, Tensor, Tensor]


class Box(NamedTuple):
    """Rows and columns of a part of the picture."""

    rows: slice
    columns: slice


@dataclass(frozen=True)
class View:
    """Pixels in the camera's x (right) and y (up), and the rotation of the part looked at.

    Shape:
        - rotation: 3 x 3 of (T, 1, 1), part to camera
        - x, y: (T, 1, W) and (T, H, 1), from the part's origin
        - pixel: (T, 1, 1), side of a pixel in the part's units
    """

    rotation: tuple[Triple, Triple, Triple]
    x: Tensor
    y: Tensor
    pixel: Tensor

    def crop(self, box: Box) -> "View":
        """The view of a part of the picture."""
        return replace(self, x=self.x[..., box.columns], y=self.y[:, box.rows])

    def box(self, left: Tensor, right: Tensor, bottom: Tensor, top: Tensor) -> Box | None:
        """Pixels within bounds of x and y in any frame, and two more; None if there are none."""
        first_x, first_y = self.x[..., :1], self.y[:, :1]
        edges = torch.stack(
            [
                ((left - first_x) / self.pixel).amin().floor(),
                ((right - first_x) / self.pixel).amax().ceil(),
                ((first_y - top) / self.pixel).amin().floor(),
                ((first_y - bottom) / self.pixel).amax().ceil(),
            ]
        )
        start_x, end_x, start_y, end_y = (int(edge) for edge in edges.tolist())
        start_x, start_y = max(start_x - 2, 0), max(start_y - 2, 0)
        end_x, end_y = min(end_x + 3, self.x.shape[-1]), min(end_y + 3, self.y.shape[1])
        if start_x >= end_x or start_y >= end_y:
            return None
        return Box(slice(start_y, end_y), slice(start_x, end_x))

    def block(
        self,
        x: tuple[Tensor | float, Tensor | float],
        y: tuple[Tensor | float, Tensor | float],
        z: tuple[Tensor | float, Tensor | float],
    ) -> Box | None:
        """Pixels that can show a block of the part, given by its ends along x, y and z."""
        one = torch.ones_like(self.pixel)
        (x0, x1), (y0, y1), (z0, z1) = ((one * low, one * high) for low, high in (x, y, z))
        middle = self.turned(((x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2))
        right, up = (
            (r[0].abs() * (x1 - x0) + r[1].abs() * (y1 - y0) + r[2].abs() * (z1 - z0)) / 2
            for r in self.rotation[:2]
        )
        return self.box(middle[0] - right, middle[0] + right, middle[1] - up, middle[1] + up)

    def turned(self, point: Triple) -> Triple:
        """A point of the part in the camera's x, y, z."""
        x, y, z = point
        a, b, c = (r[0] * x + r[1] * y + r[2] * z for r in self.rotation)
        return a, b, c

    def back(self, depth: Tensor) -> Triple:
        """The part's coordinates of the pixels' points at the camera's z."""
        a, b, c = (
            (r0 * self.x + r1 * self.y) + r2 * depth
            for r0, r1, r2 in zip(*self.rotation, strict=True)
        )
        return a, b, c


def rotation(pose: Tensor) -> tuple[Triple, Triple, Triple]:
    """Head-to-camera rotation roll @ yaw @ pitch as entries (T, 1, 1)."""
    angles = torch.deg2rad(pose[:, :3].double())  # in double, sine's last digit cannot show
    sy, sp, sr = angles.sin().to(pose.dtype)[..., None, None].unbind(1)
    cy, cp, cr = angles.cos().to(pose.dtype)[..., None, None].unbind(1)
    x = (cy, -sy * sp, sy * cp)
    y = (torch.zeros_like(cp), cp, sp)
    z = (-sy, -cy * sp, cy * cp)
    right = cr * x[0] + sr * y[0], cr * x[1] + sr * y[1], cr * x[2] + sr * y[2]
    up = cr * y[0] - sr * x[0], cr * y[1] - sr * x[1], cr * y[2] - sr * x[2]
    return right, up, z


def look(pose: Tensor, size: int) -> tuple[View, View]:
    """The views of the body, which does not turn, and of the head."""
    place = Pose(*pose[..., None, None].unbind(1))
    steps = torch.arange(size, dtype=pose.dtype, device=pose.device)
    steps = VIEW * ((2 * steps + 1) / size - 1)
    x = (steps - 2 * VIEW * place.x) / place.scale
    y = (-steps[:, None] - 2 * VIEW * place.y) / place.scale
    pixel = 2 * VIEW / size / place.scale
    body = View(rotation(torch.zeros_like(pose[:1])), x, y, pixel)
    return body, View(rotation(pose), x, y - HEIGHT, pixel)


class Solid(NamedTuple):
    """An ellipsoid along the axes of its part: centre and radii, each of three (T or 1, 1, 1)."""

    centre: Triple
    radii: Triple


class Surface(NamedTuple):
    """What the pixels see of a solid."""

    miss: Tensor  # squared distance of the ray from the centre; 1: it touches
    outside: Tensor  # distance in the picture to the outline, < 0 where hit
    depth: Tensor  # camera's z, far below all else where missed
    shade: Tensor  # brightness
    facing: Tensor  # cosine of the angle between surface and picture


class Light(NamedTuple):
    """Brightness = base + normal . direction, each (T or 1, 1, 1)."""

    direction: Triple
    base: float


class Seen:
    """A solid in a view: numbers per frame, from which any part of the picture is filled."""

    def __init__(self, solid: Solid, view: View) -> None:
        self.x, self.y, self.z = view.turned(solid.centre)
        r, squares = view.rotation, [radius * radius for radius in solid.radii]
        s = {
            (i, j): r[i][0] * r[j][0] * squares[0]
            + r[i][1] * r[j][1] * squares[1]
            + r[i][2] * r[j][2] * squares[2]
            for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
        }
        determinant = s[0, 0] * s[1, 1] - s[0, 1] * s[0, 1]
        self.a, self.b = s[1, 1] / determinant, -s[0, 1] / determinant
        self.c = s[0, 0] / determinant
        self.slope_x = self.a * s[0, 2] + self.b * s[1, 2]
        self.slope_y = self.b * s[0, 2] + self.c * s[1, 2]
        self.dome = (s[2, 2] - self.slope_x * s[0, 2] - self.slope_y * s[1, 2]).sqrt()
        self.half = s[0, 0].sqrt(), s[1, 1].sqrt()

    def box(self, view: View, margin: float = 0.0) -> Box | None:
        """Where it shows."""
        half_x, half_y = self.half[0] + margin, self.half[1] + margin
        return view.box(self.x - half_x, self.x + half_x, self.y - half_y, self.y + half_y)

    def surface(self, view: View, light: Light) -> Surface:
        """Fill a view."""
        u, v = view.x - self.x, view.y - self.y
        gx, gy = self.a * u + self.b * v, self.b * u + self.c * v
        miss = gx * u
        miss += gy * v
        far = miss.clamp_min(0.25)  # the centre has no direction
        outside = (far - far.sqrt()).div_((gx * gx).add_(gy * gy).clamp_min_(1e-9).sqrt_())
        dome = (1 - miss).clamp_min_(0).sqrt_()
        depth = (self.dome * dome).add_(self.slope_x * u + self.z).add_(self.slope_y * v)
        depth = torch.where(miss < 1, depth, -50 * miss)
        nz = dome.div_(self.dome)
        nx, ny = gx.sub_(nz * self.slope_x), gy.sub_(nz * self.slope_y)
        length = (nx * nx).add_(ny * ny).add_(nz * nz).clamp_min_(1e-6).sqrt_()
        lx, ly, lz = light.direction
        facing = nz.div_(length)
        shade = nx.mul_(lx).add_(ny.mul_(ly)).div_(length).add_(facing * lz).add_(light.base)
        return Surface(miss, outside, depth, shade, facing)


def height(solids: list[Solid], x: Tensor, y: Tensor) -> Tensor:
    """The part's z of the foremost solid at x and y of the part: (T, N), as x and y are."""
    z = torch.full_like(x, -1.0)
    for solid in solids:
        (cx, cy, cz), (rx, ry, rz) = ([c[..., 0] for c in triple] for triple in solid)
        u, v = (x - cx) / rx, (y - cy) / ry
        rest = 1 - u * u - v * v
        z = torch.where(rest > 0, torch.maximum(z, cz + rz * rest.clamp_min(0).sqrt()), z)
    return z
