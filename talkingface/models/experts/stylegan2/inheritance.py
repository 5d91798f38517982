"""Where StyleGAN2 may begin: with a generator that an inversion has trained already."""

from typing import Any

import torch
from torch import Tensor

from talkingface.data.batch import to_float
from talkingface.models.components.stylegan2_generator import StyleGAN2Generator
from talkingface.models.reproducible import evaluating
from talkingface.models.transfer import transfer

_PART = 64  # frames that are encoded together
_LATENTS = 10_000


@torch.no_grad()
def inherit(networks: Any, generator: StyleGAN2Generator, frames: Tensor) -> None:
    r"""Begin with the generator of an inversion, and sample faces like those that it inverts.

    An inversion has codes :math:`c_l` of their own for every layer, StyleGAN2 samples one latent
    :math:`w` for all. The codes of frames, side by side, are nearly combinations of few principal
    components: :math:`c_l = M_l u + \bar c_l`. The random mapping network gives :math:`u`, once its
    latents are brought to mean 0 and covariance 1, and the modulations take all of that in.

    Args:
        networks: :class:`~talkingface.models.experts.inversion.networks.InversionNetworks` with a
            generator of the same sizes.
        generator: What begins.
        frames: Faces, more than a latent has entries.

    Shape:
        - frames: (N, 3, size, size) ``uint8``.

    Raises:
        ValueError: If the frames are too few, or the sizes differ.
    """
    dim = generator.style_dim
    if len(frames) <= dim:
        raise ValueError(f"{len(frames)} faces do not span {dim} components: give more of them.")
    with evaluating(networks):
        parts = [networks.encode(to_float(part)) for part in frames.split(_PART)]
    codes = torch.cat(parts).double()
    mean = codes.mean(0)
    _, size, axes = torch.linalg.svd((codes - mean).flatten(1), full_matrices=False)
    spread = (axes[:dim] * size[:dim, None] / len(codes) ** 0.5).unflatten(1, mean.shape)
    latents = generator.map(torch.randn(_LATENTS, dim, device=frames.device)).double()
    centre, root = latents.mean(0), torch.linalg.cholesky(latents.T.cov())
    mixing = torch.linalg.solve_triangular(root, spread.permute(1, 2, 0), upper=False, left=False)
    transfer(networks.generator.synthesis.state_dict(), generator.synthesis, "the inversion")
    synthesis: Any = generator.synthesis
    layers = list(enumerate(synthesis.convs))
    layers += [(2 * level + 1, rgb) for level, rgb in enumerate(synthesis.to_rgbs)]
    for layer, part in layers:
        modulation = part.conv.modulation
        weight = modulation.weight.double() * modulation.scale
        shift = weight @ (mean[layer] - mixing[layer] @ centre)
        modulation.weight.copy_(weight @ mixing[layer] / modulation.scale)
        modulation.bias.add_(shift / modulation.lr_multiplier)
