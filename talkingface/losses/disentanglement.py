"""Losses that take information out of a code, by its classifier or by right angles."""

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

DomainForm = Literal["uniform", "flipped"]
"""Forms of :func:`domain_confusion_loss`."""

OrthogonalityForm = Literal["inner", "elementwise", "cosine"]
"""Forms of :func:`orthogonality_loss`."""


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


def orthogonality_loss(
    canonical: Tensor, motion: Tensor, form: OrthogonalityForm = "inner"
) -> Tensor:
    r"""Keep the codes of who somebody is at right angles to those of how they move (FC-TFG).

    With :math:`c_l` and :math:`m_l` the two codes of layer l of N, averaged over l and the batch:

    ============= ==========================================================================
    `inner`       :math:`\lvert \sum_d c_{ld} m_{ld} \rvert`, zero at right angles whatever
                  the single products are
    `elementwise` :math:`\sum_d \lvert c_{ld} m_{ld} \rvert`, "channel-wise": zero only where
                  in each channel one of the codes is zero
    `cosine`      :math:`\lvert \cos(c_l, m_l) \rvert`, which leaves the lengths free
    ============= ==========================================================================

    Eq. 3 prints :math:`\frac{1}{N} \sum c \odot m`, which is signed: it falls without bound as the
    codes grow against each other.

    Args:
        canonical: Codes of shape (..., N, D).
        motion: Codes of a shape that it broadcasts with, such as (B, 1, N, D) and (B, T, N, D).
        form: See above.

    Returns:
        Scalar, zero or more.

    Raises:
        ValueError: If the form is unknown or the shapes do not fit.

    References:
        Jang et al., "That's What I Said: Fully-Controllable Talking Face Generation", ACM MM 2023,
        eq. 3, https://arxiv.org/abs/2304.03275

    Examples:
        >>> import torch
        >>> canonical, motion = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -1.0]])
        >>> orthogonality_loss(canonical, motion)  # |3 - 2|
        tensor(1.)
        >>> orthogonality_loss(canonical, motion, "elementwise")  # 3 + 2
        tensor(5.)
        >>> orthogonality_loss(canonical, motion, "cosine")  # 1 / sqrt(5 * 10)
        tensor(0.1414)
    """
    if form not in get_args(OrthogonalityForm):
        raise ValueError(f"form is one of {', '.join(get_args(OrthogonalityForm))}; got {form!r}")
    if canonical.dim() < 2 or canonical.shape[-2:] != motion.shape[-2:]:
        raise ValueError(
            "codes must both be (..., layers, D), "
            f"got {tuple(canonical.shape)} and {tuple(motion.shape)}"
        )
    with torch.autocast(canonical.device.type, enabled=False):
        dtype = torch.promote_types(canonical.dtype, torch.float32)
        canonical, motion = canonical.to(dtype), motion.to(dtype)
        if form == "cosine":
            return F.cosine_similarity(canonical, motion, dim=-1).abs().mean()
        products = canonical * motion
        return (products.sum(-1).abs() if form == "inner" else products.abs().sum(-1)).mean()


def _check_logits(logits: Tensor) -> None:
    if logits.dim() != 2 or 0 in logits.shape:
        raise ValueError(f"logits must be (N, C), got {tuple(logits.shape)}")
