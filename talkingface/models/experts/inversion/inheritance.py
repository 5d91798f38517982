"""Begin a generator whose codes come from labels with what a trained PC-AVS knows of painting.

PC-AVS's generator takes one style, identity, speech and pose side by side, in every layer; here
each layer has a code of its own. A layer's modulation is a linear function of the style, so its
principal components, those of identity apart from those of motion, make the code's entries.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from talkingface.data.batch import to_float
from talkingface.models.components.stylegan2 import EqualLinear
from talkingface.models.components.stylegan2_generator import Synthesis
from talkingface.models.experts.inversion.label_codes import LabelCodes
from talkingface.models.reproducible import evaluating

_PART = 100  # frames that are encoded at a time
_TEACHING = 1500  # updates that teach the labels the components, some seconds


def inherit(
    painter: Any,
    synthesis: Synthesis,
    labels: LabelCodes,
    frames: Tensor,
    people: Tensor,
    numbers: Sequence[Tensor],
) -> None:
    """Give a generator a trained one's kernels, and the labels the codes that go with them.

    Where the trained generator is wider, the channels that carry most are kept. The start map
    becomes the mean of the faces'.

    Args:
        painter: A trained :class:`~talkingface.models.pc_avs.module.PCAVS` of the same image size.
        synthesis: The generator's, of as many levels, nowhere wider than the trained one.
        labels: Gives codes; learns to give those with which the faces are painted.
        frames: Faces to see both by, some of each person.
        people: Whose they are.
        numbers: What they are drawn from, the arguments of ``labels``.

    Shape:
        - frames: (N, 3, size, size) uint8; people: (N,); numbers: (N, ...) each.

    Raises:
        ValueError: If the trained generator has other levels, or is narrower.
    """
    trained: Synthesis = painter.networks.generator.synthesis
    if synthesis.slots != trained.slots or any(
        new > old
        for layers in zip(_widths(synthesis), _widths(trained), strict=True)
        for new, old in zip(*layers, strict=True)
    ):
        raise ValueError(
            "the trained generator's levels do not hold this one's: give one of the same image "
            "size with as many channels or more in each level."
        )
    with torch.no_grad(), evaluating(painter):
        identity, motion, maps = _read(painter.networks, frames, people)
        styles = torch.cat([identity, motion], 1)
        kept = _strongest(trained, synthesis, styles, maps)
        _copy(trained, synthesis, kept)
        synthesis.constant.copy_(maps.mean(0, keepdim=True)[:, kept[0]])
        silent = motion.shape[1] - painter.hparams["pose_dim"]
        targets = _components(trained, synthesis, labels, kept, identity, motion, silent)
    _teach(labels, numbers, targets)


def _widths(synthesis: Synthesis) -> list[tuple[int, int]]:
    """Channels that go out of and into each convolution."""
    convs: Any = synthesis.convs
    return [tuple(conv.conv.weight.shape[:2]) for conv in convs]


def _read(networks: Any, frames: Tensor, people: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Identity, the mean of each person's; speech and pose; and identity maps."""
    identities, motions, maps = [], [], []
    for part in frames.split(_PART):
        identity, identity_map = networks.identity_encoder(to_float(part))
        feature = networks.non_identity_encoder(to_float(part))
        encoder = networks.non_identity_encoder
        content = encoder.content_code(encoder.content(feature))
        identities.append(identity)
        maps.append(identity_map)
        motions.append(torch.cat([content, encoder.pose(feature)], 1))
    identity = torch.cat(identities)
    same = (people[:, None] == people).to(identity)
    mean = same @ identity / same.sum(1, keepdim=True)
    return mean, torch.cat(motions), torch.cat(maps)


def _strongest(
    trained: Synthesis, synthesis: Synthesis, styles: Tensor, maps: Tensor
) -> list[Tensor]:
    """Channels to keep of each convolution's input, and of the last one's output."""
    energy: list[Tensor] = []
    hooks = [
        conv.register_forward_hook(lambda _, x, y: energy.append(x[0].square().mean((0, 2, 3))))
        for conv in trained.convs
    ]
    some = slice(None, None, max(1, len(styles) // _PART))
    trained(styles[some], maps[some])
    for hook in hooks:
        hook.remove()
    kept = []
    layers: Any = zip(trained.convs, _widths(synthesis), energy, strict=True)
    for layer, (_, count), inputs in layers:
        passed = layer.conv.modulation(styles[some]).square().mean(0)
        share = inputs * passed * layer.conv.weight.square().sum((0, 2, 3))
        kept.append(share.topk(count).indices.sort().values)
    last: Any = synthesis.convs[-1]
    return [*kept, torch.arange(len(last.bias), device=last.bias.device)]


def _copy(trained: Synthesis, synthesis: Synthesis, kept: Sequence[Tensor]) -> None:
    """Kernels and biases of the kept channels; noise is left out."""
    pairs: Any = zip(trained.convs, synthesis.convs, strict=True)
    for layer, (old, new) in enumerate(pairs):
        new.conv.weight.copy_(old.conv.weight[kept[layer + 1]][:, kept[layer]])
        new.bias.copy_(old.bias[kept[layer + 1]])
        new.noise_strength.zero_()
    pairs = zip(trained.to_rgbs, synthesis.to_rgbs, strict=True)
    for level, (old, new) in enumerate(pairs):
        # Not demodulated: what the layer divides by, the root of its width, has to be kept.
        width = kept[2 * level + 1]
        share = math.sqrt(len(width) / old.conv.weight.shape[1])
        new.conv.weight.copy_(old.conv.weight[:, width] * share)
        new.bias.copy_(old.bias)


def _components(
    trained: Synthesis,
    synthesis: Synthesis,
    labels: LabelCodes,
    kept: Sequence[Tensor],
    identity: Tensor,
    motion: Tensor,
    silent: int,
) -> Tensor:
    """Make modulations of principal components, and give the faces' (N, layers, style_dim).

    Up to column ``silent``, motion is speech.
    """
    slots: list[list[tuple[EqualLinear, EqualLinear, Tensor]]] = [[] for _ in range(trained.slots)]
    convs: Any = zip(trained.convs, synthesis.convs, strict=True)
    for layer, (old, new) in enumerate(convs):
        slots[layer].append((old.conv.modulation, new.conv.modulation, kept[layer]))
    rgbs: Any = zip(trained.to_rgbs, synthesis.to_rgbs, strict=True)
    for level, (old, new) in enumerate(rgbs):
        entry = (old.conv.modulation, new.conv.modulation, kept[2 * level + 1])
        slots[2 * level + 1].append(entry)
    looks = labels.style_dim - labels.motion_dim
    targets = identity.new_zeros(len(identity), len(slots), labels.style_dim)
    means = identity.mean(0), motion.mean(0)
    for layer, entries in enumerate(slots):
        weight = torch.cat([old.weight[rows] * old.scale for old, _, rows in entries])
        bias = torch.cat([old.bias[rows] * old.lr_multiplier for old, _, rows in entries])
        of_identity, of_motion = weight.split([identity.shape[1], motion.shape[1]], 1)
        moved = motion - means[1]
        if layer not in labels.audio_layers:
            moved = torch.cat([0 * moved[:, :silent], moved[:, silent:]], 1)
        parts = [(slice(0, looks), (identity - means[0]) @ of_identity.T)]
        if layer in labels.motion_layers:
            parts.append((slice(looks, labels.style_dim), moved @ of_motion.T))
        mixing = weight.new_zeros(len(weight), labels.style_dim)
        for columns, modulation in parts:
            left, size, right = torch.linalg.svd(modulation, full_matrices=False)
            count = min(columns.stop - columns.start, len(size))
            columns = slice(columns.start, columns.start + count)
            spread = math.sqrt(len(identity))
            targets[:, layer, columns] = left[:, :count] * spread  # of variance one
            mixing[:, columns] = right[:count].T * size[:count] / spread
        bias = bias + of_identity @ means[0] + of_motion @ means[1]
        row = 0
        for _, new, rows in entries:
            new.weight.copy_(mixing[row : row + len(rows)] / new.scale)
            new.bias.copy_(bias[row : row + len(rows)])
            row += len(rows)
    return targets


def _teach(labels: LabelCodes, numbers: Sequence[Tensor], targets: Tensor) -> None:
    optimizer = torch.optim.Adam(labels.parameters(), 2e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _TEACHING)
    for _ in range(_TEACHING):
        some = torch.randint(0, len(targets), (256,), device=targets.device)
        error = F.mse_loss(labels(*(part[some] for part in numbers)), targets[some])
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        decay.step()
