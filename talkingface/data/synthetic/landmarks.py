"""Exact landmarks: the points in space at which the features are drawn, projected."""

import torch
from torch import Tensor

from talkingface.data.synthetic import anatomy
from talkingface.data.synthetic.solids import HEIGHT, VIEW, height, rotation
from talkingface.data.synthetic.traits import Expression, Identity, Pose, check, unpack


def landmarks(identity: Tensor, pose: Tensor, expression: Tensor, size: int) -> Tensor:
    """Where the 68 points of the iBUG scheme lie, hidden or not.

    Jaw 0-16, brows 17-26 (their centre lines), nose 27-35, eyes 36-47, mouth 48-67, the subject's
    right first. The jaw's points are fixed on the head: they do not slide along the outline as it
    turns. Those of the lids and lips follow blink and articulation.

    Args:
        identity: parameters ordered as `Identity`, in [0, 1].
        pose: columns ordered as `Pose`.
        expression: columns ordered as `Expression`.
        size: height and width of the frames in pixels.

    Shape:
        - identity: (K,) for one person, or (T, K)
        - pose: (T, 6)
        - expression: (T, 10)
        - output: (T, 68, 2) pixels right and down; a pixel's centre has whole numbers

    Raises:
        ValueError: if the shapes do not agree.

    Example:
        >>> from talkingface.data.synthetic.traits import express, place, sample_identity
        >>> points = landmarks(sample_identity(1), place(1), express(1), size=256)
        >>> points.shape, bool(points[0, 36, 0] < points[0, 45, 0])
        (torch.Size([1, 68, 2]), True)
    """
    check(identity, pose, expression)
    person, motion = unpack(identity, expression, pose)
    points = _points(person, motion)
    where = Pose(*pose[..., None].unbind(1))
    x, y, z = points.unbind(-1)
    right, up, _ = (r[0][..., 0] * x + r[1][..., 0] * y + r[2][..., 0] * z for r in rotation(pose))
    right = where.x + right * where.scale / (2 * VIEW)
    up = where.y + (up + HEIGHT) * where.scale / (2 * VIEW)
    return torch.stack([0.5 + right, 0.5 - up], dim=-1) * size - 0.5


def _points(person: Identity, motion: Expression) -> Tensor:
    """(T, 68, 3) in the head's coordinates."""
    parts = anatomy.head(person, motion)
    like = motion.opening[..., 0]  # (T, 1)

    def at(*values: float) -> Tensor:
        return like.new_tensor(values)

    def on(solids: list[anatomy.Solid], x: Tensor, y: Tensor) -> Tensor:
        x, y = torch.broadcast_tensors(x + 0 * like, y + 0 * like)
        return torch.stack([x, y, height(solids, x, y)], dim=-1)

    flat_person = Identity(*(trait[..., 0] for trait in person))
    flat_motion = Expression(*(action[..., 0] for action in motion))

    u = at(-0.98, -0.5, 0.0, 0.5, 0.98) * anatomy.BROW_HALF
    line, _ = anatomy.brow(u, flat_person, flat_motion)
    away = anatomy.brow_middle(flat_person) + u
    brows = on(parts.face, -away, line).flip(1), on(parts.face, away, line)

    broad, tip = (value[..., 0] for value in anatomy.nose_tip(person))
    both = parts.face + parts.nose
    bridge = on(both, at(0.0), tip + (0.12 - tip) * at(1.0, 0.67, 0.33, 0.0))
    base = on(
        both, broad * at(-1.2, -0.60, 0.0, 0.60, 1.2), tip - at(0.03, 0.038, 0.05, 0.038, 0.03)
    )

    middle, big = anatomy.eye_middle(flat_person)
    u = at(-1.0, -0.36, 0.36, 1.0, 0.36, -0.36) * anatomy.EYE_HALF * big
    lids = anatomy.eye(u, flat_person, flat_motion)
    edge = torch.where(at(0, 1, 1, 0, 0, 0) > 0, lids.top, lids.bottom)
    left = on(parts.face, middle + u, edge)
    right = on(parts.face, -middle - u, edge)[:, [3, 2, 1, 0, 5, 4]]

    half, inner = anatomy.mouth_half(flat_person, flat_motion)
    x = half * at(-1.0, -0.62, -0.27, 0.0, 0.27, 0.62, 1.0)
    outline = anatomy.mouth(x, flat_person, flat_motion)
    x_in = inner * at(-1.0, -0.5, 0.0, 0.5, 1.0)
    hole = anatomy.mouth(x_in, flat_person, flat_motion)
    lips = (
        on(parts.face, x, outline.upper_outer),
        on(parts.face, x, outline.lower_outer)[:, 1:6].flip(1),
        on(parts.face, x_in, hole.upper_inner),
        on(parts.face, x_in, hole.lower_inner)[:, 1:4].flip(1),
    )
    return torch.cat([_jaw(parts.face, like), *brows, bridge, base, right, left, *lips], dim=1)


def _jaw(face: list[anatomy.Solid], like: Tensor) -> Tensor:
    """(T, 17, 3): the frontal outline of cranium, jaw and chin, from ear to ear.

    Along each ray from the face's middle the outermost ellipse counts; its z is its centre's.
    """
    angles = torch.linspace(-1.50, 1.50, 17, dtype=torch.float64)
    right, up = angles.sin().to(like), -angles.cos().to(like)
    middle = -0.05
    far = torch.zeros_like(like + right)
    depth = torch.zeros_like(far)
    for solid in face[:3]:
        (_, cy, cz), (rx, ry, _) = ([c[..., 0] for c in triple] for triple in solid)
        a = (right / rx) ** 2 + (up / ry) ** 2
        b = up * (middle - cy) / (ry * ry)
        c = ((middle - cy) / ry) ** 2 - 1
        reach = (-b + (b * b - a * c).clamp_min(0).sqrt()) / a
        depth = torch.where(reach > far, cz.expand_as(far), depth)
        far = torch.maximum(far, reach)
    return torch.stack([far * right, middle + far * up, depth], dim=-1)
