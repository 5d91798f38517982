"""Penalties on gradients that keep adversarial training steady."""

import math

import torch
from torch import Tensor


def r1_penalty(scores: Tensor, images: Tensor) -> Tensor:
    r"""Penalise how steep the discriminator is at real images.

    .. math:: R_1 = \mathbb{E}_x \lVert \nabla_x D(x) \rVert_2^2

    which training weighs by :math:`\gamma / 2`. Each score may depend on its own image only, or,
    as with a minibatch deviation, on others too: the gradient of the scores' sum is taken.

    Args:
        scores: What the discriminator gave for the images, of any shape.
        images: (B, ...), with ``requires_grad`` set before the scores were computed.

    Returns:
        Scalar, zero or more, that can be differentiated.

    References:
        Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018,
        eq. 9, https://arxiv.org/abs/1801.04406

    Examples:
        >>> images = torch.tensor([[3.0, 4.0]], requires_grad=True)
        >>> r1_penalty(images.square().sum(1) / 2, images).detach()  # the gradient is the image
        tensor(25.)
    """
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


def path_lengths(images: Tensor, latents: Tensor, noise: Tensor | None = None) -> Tensor:
    r"""How far images move, in a random direction, per step of their latents.

    .. math:: \lVert J_w^T y \rVert_2, \quad y \sim \mathcal{N}(0, I / HW)

    by one backward pass of :math:`g(w) \cdot y`; squares are averaged over an image's layers. Path
    length regularisation is the mean of :math:`(\lVert J_w^T y \rVert_2 - a)^2` with the moving
    average :math:`a` of the lengths.

    Args:
        images: (B, 3, H, W), what the generator made of the latents.
        latents: (B, D), or (B, layers, D).
        noise: y, of the images' shape; drawn where it is not given.

    Returns:
        (B,), zero or more, that can be differentiated.

    References:
        Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, eq. 4,
        https://arxiv.org/abs/1912.04958

    Examples:
        >>> latents = torch.zeros(1, 2, requires_grad=True)
        >>> images = 3 * latents.view(1, 1, 1, 2)
        >>> path_lengths(images, latents, noise=torch.tensor([[[[3.0, 4.0]]]])).detach()
        tensor([15.])
    """
    if noise is None:
        noise = torch.randn_like(images) / math.sqrt(images.shape[-2] * images.shape[-1])
    (gradient,) = torch.autograd.grad((images * noise).sum(), latents, create_graph=True)
    return gradient.square().sum(-1).view(len(latents), -1).mean(1).sqrt()
