"""Losses that take information out of a code: its classifier shall know nothing."""

import math

import torch.nn.functional as F
from torch import Tensor


def uniform_softmax_loss(logits: Tensor) -> Tensor:
    r"""Push a classifier's probabilities to the uniform distribution by mean squared error.

    .. math:: \mathcal{L} = \frac{1}{NC} \sum_{n,c}
              \left(\mathrm{softmax}(z_n)_c - \frac{1}{C}\right)^2

    Called L2-softmax in the released code of DAVS and PC-AVS, where its weight is 1e6: with C
    classes it never exceeds (C - 1) / C^2.

    Args:
        logits: Scores of shape (N, C), before the softmax.

    Returns:
        Scalar, zero when every class is equally likely.

    Raises:
        ValueError: If the logits are not of shape (N, C).

    References:
        Zhou et al., "Talking Face Generation by Adversarially Disentangled Audio-Visual
        Representation", AAAI 2019, https://arxiv.org/abs/1807.07860

    Examples:
        >>> import torch
        >>> uniform_softmax_loss(torch.zeros(4, 10))
        tensor(0.)
        >>> uniform_softmax_loss(torch.tensor([[100.0, 0.0]]))
        tensor(0.2500)
    """
    _check_logits(logits)
    return (logits.softmax(dim=1) - 1 / logits.shape[1]).square().mean()


def sum_log_softmax_loss(logits: Tensor) -> Tensor:
    r"""Push a classifier's probabilities to the uniform distribution by their logarithms.

    .. math:: \mathcal{L} = -\frac{1}{NC} \sum_{n,c} \log \mathrm{softmax}(z_n)_c - \log C

    This is the Kullback-Leibler divergence of the probabilities from the uniform distribution, as
    in the released code of PC-AVS. Unlike `uniform_softmax_loss` it keeps a large gradient where
    the classifier is sure.

    Args:
        logits: Scores of shape (N, C), before the softmax.

    Returns:
        Scalar, zero when every class is equally likely, without an upper limit.

    Raises:
        ValueError: If the logits are not of shape (N, C).

    References:
        https://github.com/Hangz-nju-cuhk/Talking-Face_PC-AVS

    Examples:
        >>> import torch
        >>> sum_log_softmax_loss(torch.tensor([[math.log(3.0), 0.0]]))  # log(4 / 3) / 2
        tensor(0.1438)
    """
    _check_logits(logits)
    return -F.log_softmax(logits, dim=1).mean() - math.log(logits.shape[1])


def _check_logits(logits: Tensor) -> None:
    if logits.dim() != 2 or 0 in logits.shape:
        raise ValueError(f"logits must be (N, C), got {tuple(logits.shape)}")
