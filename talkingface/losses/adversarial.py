"""Adversarial losses and discriminator feature matching."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

AdversarialMode = Literal["hinge", "lsgan", "vanilla", "wgan"]
"""Names of the adversarial objectives."""


def generator_adversarial_loss(
    predictions: Tensor | Sequence[Tensor], mode: AdversarialMode = "vanilla"
) -> Tensor:
    r"""Reward the generator for frames that the discriminator takes for real.

    With the discriminator's raw outputs :math:`d` on generated frames, averaged over all entries
    and then over the scales:

    ========= ==================================================================
    `vanilla` :math:`-\log\sigma(d)`, the non-saturating form of the paper's
              :math:`\log(1 - \sigma(d))`: same fixed point, a gradient from the start
    `lsgan`   :math:`(d - 1)^2`
    `hinge`   :math:`-d`
    `wgan`    :math:`-d`
    ========= ==================================================================

    Args:
        predictions: Raw discriminator outputs (no sigmoid) on generated frames: a tensor of any
            shape, or one per scale.
        mode: The objective. PC-AVS's paper prints `vanilla`, its released code uses `hinge`.

    Returns:
        Scalar.

    Raises:
        ValueError: If the mode is unknown or there are no predictions.

    References:
        Zhou et al., "Pose-Controllable Talking Face Generation by Implicitly Modularized
        Audio-Visual Representation", CVPR 2021, eq. 5, https://arxiv.org/abs/2104.11116

    Examples:
        >>> generator_adversarial_loss([torch.tensor([2.0]), torch.tensor([4.0])], "hinge")
        tensor(-3.)
    """
    _check_mode(mode)
    losses = [
        -scale.mean() if mode in ("hinge", "wgan") else _real_loss(scale, mode)
        for scale in _scales(predictions)
    ]
    return torch.stack(losses).mean()


def discriminator_adversarial_loss(
    real: Tensor | Sequence[Tensor],
    fake: Tensor | Sequence[Tensor],
    mode: AdversarialMode = "vanilla",
) -> tuple[Tensor, Tensor]:
    r"""Teach the discriminator to tell real from generated frames.

    With its raw outputs :math:`d`, averaged over all entries and then over the scales:

    ========= ======================== ===========================
    mode      real term                fake term
    ========= ======================== ===========================
    `vanilla` :math:`-\log\sigma(d)`   :math:`-\log(1-\sigma(d))`
    `lsgan`   :math:`(d - 1)^2`        :math:`d^2`
    `hinge`   :math:`\max(0, 1 - d)`   :math:`\max(0, 1 + d)`
    `wgan`    :math:`-d`               :math:`d`
    ========= ======================== ===========================

    Args:
        real: Raw outputs (no sigmoid) on real frames: a tensor of any shape, or one per scale.
        fake: Raw outputs on generated frames, which the caller has detached.
        mode: The objective. PC-AVS's paper prints `vanilla`, its released code uses `hinge`.

    Returns:
        The real and the fake term, two scalars; their sum is minimised.

    Raises:
        ValueError: If the mode is unknown, there are no predictions, or the scales differ in
            number.

    References:
        Zhou et al., "Pose-Controllable Talking Face Generation by Implicitly Modularized
        Audio-Visual Representation", CVPR 2021, eq. 5, https://arxiv.org/abs/2104.11116

    Examples:
        >>> discriminator_adversarial_loss(torch.tensor([0.5]), torch.tensor([-3.0]), "hinge")
        (tensor(0.5000), tensor(0.))
    """
    _check_mode(mode)
    reals, fakes = _scales(real), _scales(fake)
    if len(reals) != len(fakes):
        raise ValueError(f"{len(reals)} scales of real and {len(fakes)} of fake predictions")
    return (
        torch.stack([_real_loss(scale, mode) for scale in reals]).mean(),
        torch.stack([_fake_loss(scale, mode) for scale in fakes]).mean(),
    )


def feature_matching_loss(
    fake: Sequence[Sequence[Tensor]],
    real: Sequence[Sequence[Tensor]],
    image_weight: float = 0.0,
) -> Tensor:
    r"""Compare what the discriminator sees in generated and in real frames.

    .. math:: \mathcal{L} = \frac{1}{S} \sum_{s=1}^{S} \sum_n
              \lVert D_{s,n}(\text{real}) - D_{s,n}(\text{fake}) \rVert_1

    The norm is the mean absolute difference, the real side is detached. Every scale's list is
    what the discriminator returns: its (possibly downsampled) input image, the outputs of its
    layers, and last the predictions, which are left out.

    Args:
        fake: Per scale: image, layer outputs, predictions, for generated frames.
        real: The same for real frames.
        image_weight: Factor of the first entry, a pixel loss. The paper's equation has none (0);
            the released code counts it like a layer (1).

    Returns:
        Scalar, zero or more.

    Raises:
        ValueError: If there are no scales, if the lists do not match, or if one holds fewer than
            three entries.

    References:
        Zhou et al., "Pose-Controllable Talking Face Generation by Implicitly Modularized
        Audio-Visual Representation", CVPR 2021, eq. 6, https://arxiv.org/abs/2104.11116

    Examples:
        >>> image, layer, logits = torch.zeros(1, 3, 8, 8), torch.zeros(1, 4, 4, 4), torch.ones(1)
        >>> real, fake = [[image, layer, logits]], [[image + 0.5, layer + 2, logits]]
        >>> feature_matching_loss(fake, real), feature_matching_loss(fake, real, image_weight=1)
        (tensor(2.), tensor(2.5000))
    """
    if not fake or [len(scale) for scale in fake] != [len(scale) for scale in real]:
        raise ValueError(
            "fake and real need the same scales and layers, got "
            f"{[len(scale) for scale in fake]} and {[len(scale) for scale in real]} entries"
        )
    if min(len(scale) for scale in fake) < 3:
        raise ValueError(
            "every scale is a list of image, one layer or more, predictions; "
            f"got {[len(scale) for scale in fake]} entries"
        )
    scales = []
    for fake_scale, real_scale in zip(fake, real, strict=True):
        terms = [
            F.l1_loss(fake_entry, real_entry.detach())
            for fake_entry, real_entry in zip(fake_scale[:-1], real_scale[:-1], strict=True)
        ]
        scales.append(image_weight * terms[0] + torch.stack(terms[1:]).sum())
    return torch.stack(scales).mean()


def _scales(predictions: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    scales = [predictions] if isinstance(predictions, Tensor) else predictions
    if not scales or not all(isinstance(scale, Tensor) for scale in scales):
        raise ValueError(
            "predictions must be a tensor or one tensor per scale; "
            "take the last entry of a discriminator's feature lists"
        )
    return scales


def _check_mode(mode: str) -> None:
    if mode not in get_args(AdversarialMode):
        raise ValueError(f"mode is one of {', '.join(get_args(AdversarialMode))}; got {mode!r}")


def _real_loss(prediction: Tensor, mode: AdversarialMode) -> Tensor:
    if mode == "hinge":
        return F.relu(1 - prediction).mean()
    if mode == "lsgan":
        return (prediction - 1).square().mean()
    if mode == "vanilla":
        return F.softplus(-prediction).mean()
    return -prediction.mean()


def _fake_loss(prediction: Tensor, mode: AdversarialMode) -> Tensor:
    if mode == "hinge":
        return F.relu(1 + prediction).mean()
    if mode == "lsgan":
        return prediction.square().mean()
    if mode == "vanilla":
        return F.softplus(prediction).mean()
    return prediction.mean()
