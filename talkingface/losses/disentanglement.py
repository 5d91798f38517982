"""Losses that take information out of a code: its classifier shall know nothing."""

import math
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

DomainForm = Literal["uniform", "flipped"]
"""Forms of :func:`domain_confusion_loss`."""


def uniform_softmax_loss(logits: Tensor, over: Literal["mean", "sum"] = "mean") -> Tensor:
    r"""Push a classifier's probabilities to the uniform distribution by squared error.

    .. math:: \mathcal{L} = \frac{1}{NC} \sum_{n,c}
              \left(\mathrm{softmax}(z_n)_c - \frac{1}{C}\right)^2

    The mean is called L2-softmax in the released code of DAVS and PC-AVS, where its weight is 1e6:
    with C classes it never exceeds (C - 1) / C^2. Eq. 3 and 5 of DAVS are the sum over classes, C
    times as large.

    Args:
        logits: Scores of shape (N, C), before the softmax.
        over: Take the mean over the classes, or their sum; over samples it is always the mean.

    Returns:
        Scalar, zero when every class is equally likely.

    Raises:
        ValueError: If the logits are not of shape (N, C).

    References:
        Zhou et al., "Talking Face Generation by Adversarially Disentangled Audio-Visual
        Representation", AAAI 2019, eq. 3 and 5, https://arxiv.org/abs/1807.07860

    Examples:
        >>> import torch
        >>> uniform_softmax_loss(torch.zeros(4, 10))
        tensor(0.)
        >>> sure = torch.tensor([[100.0, 0.0]])
        >>> uniform_softmax_loss(sure), uniform_softmax_loss(sure, over="sum")
        (tensor(0.2500), tensor(0.5000))
    """
    _check_logits(logits)
    squares = (logits.softmax(dim=1) - 1 / logits.shape[1]).square()
    return squares.mean() if over == "mean" else squares.sum(1).mean()


def domain_classification_loss(visual: Tensor, audio: Tensor) -> Tensor:
    r"""Teach a discriminator which features come from sound (cross entropy).

    .. math:: \mathcal{L} = -\tfrac{1}{2} \left( \overline{\log(1 - \sigma(z^v))} +
              \overline{\log \sigma(z^a)} \right)

    Args:
        visual: Logits of any shape, of features of frames.
        audio: Logits of any shape, of features of sound.

    Returns:
        Scalar; log(2) where the discriminator cannot tell.

    References:
        Zhou et al., "Talking Face Generation by Adversarially Disentangled Audio-Visual
        Representation", AAAI 2019, section 3.1, https://arxiv.org/abs/1807.07860

    Examples:
        >>> import torch
        >>> domain_classification_loss(torch.zeros(3, 1), torch.zeros(3, 1))
        tensor(0.6931)
    """
    return (F.softplus(visual).mean() + F.softplus(-audio).mean()) / 2


def domain_confusion_loss(visual: Tensor, audio: Tensor, form: DomainForm = "uniform") -> Tensor:
    r"""Train the encoders so that the domain discriminator cannot tell frames from sound.

    ========= ===================================================================
    `uniform` :math:`\overline{\lVert (\sigma(z), 1 - \sigma(z)) - (\tfrac12, \tfrac12) \rVert^2}`
              over both domains, the paper's Euclidean distance (eq. 3) for two classes
    `flipped` cross entropy with the wrong labels, as in the released code
    ========= ===================================================================

    Args:
        visual: Logits of any shape, of features of frames.
        audio: Logits of any shape, of features of sound.
        form: See above. The released weight of `flipped`, 5 for each domain, is 10 here.

    Returns:
        Scalar; the mean of both domains.

    Raises:
        ValueError: If the form is unknown.

    References:
        Zhou et al., "Talking Face Generation by Adversarially Disentangled Audio-Visual
        Representation", AAAI 2019, section 3.1, https://arxiv.org/abs/1807.07860

    Examples:
        >>> import torch
        >>> unsure, sure = torch.zeros(2), torch.full((2,), 100.0)
        >>> domain_confusion_loss(unsure, unsure), domain_confusion_loss(-sure, sure)
        (tensor(0.), tensor(0.5000))
        >>> domain_confusion_loss(unsure, unsure, "flipped")
        tensor(0.6931)
    """
    if form not in get_args(DomainForm):
        raise ValueError(f"form is one of {', '.join(get_args(DomainForm))}; got {form!r}")
    if form == "flipped":
        return domain_classification_loss(audio, visual)
    return (visual.sigmoid() - 0.5).square().mean() + (audio.sigmoid() - 0.5).square().mean()


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
