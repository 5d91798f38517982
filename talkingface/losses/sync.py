"""Losses of lip-sync experts, and of generators that listen to one."""

import torch
import torch.nn.functional as F
from torch import Tensor

from talkingface.losses.contrastive import unit_vectors


def cosine_sync_loss(visual: Tensor, audio: Tensor) -> Tensor:
    r"""Distance of lips and sound as an expert sees it (FC-TFG, eq. 4).

    .. math:: \mathcal{L}_{sync} = 1 - \cos(f_v, f_a)

    Args:
        visual: Visual features (..., D), of any length.
        audio: Audio features of the same moments and shape.

    Returns:
        Scalar, the mean; in [0, 2], and in [0, 1] for an expert whose features are 0 or more.

    Raises:
        ValueError: If the shapes differ.

    References:
        Jang et al., "That's What I Said: Fully-Controllable Talking Face Generation", ACM MM 2023,
        eq. 4, https://arxiv.org/abs/2304.03275

    Examples:
        >>> cosine_sync_loss(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]]))
        tensor(0.4000)
    """
    return (1 - _cosine(visual, audio)).mean()


def cosine_bce_loss(visual: Tensor, audio: Tensor, together: Tensor) -> Tensor:
    r"""Binary cross entropy that reads a cosine as the probability of being in sync (Wav2Lip).

    .. math:: \mathcal{L} = -\frac{1}{N} \sum_i y_i \log p_i + (1 - y_i) \log (1 - p_i),
              \quad p_i = \cos(f_{v,i}, f_{a,i})

    It stands at log 2 = 0.693 while the expert knows nothing. As a generator's loss, all ``y`` are
    1. The cosine is held in [0, 1], and its logarithms above -100.

    Args:
        visual: Visual features (..., D), 0 or more, of any length.
        audio: Audio features of the same shape.
        together: y of shape (...,): 1 for pairs of one moment, 0 for others.

    Returns:
        Scalar.

    Raises:
        ValueError: If the shapes differ.

    References:
        Prajwal et al., "A Lip Sync Expert Is All You Need for Speech to Lip Generation In The
        Wild", ACM MM 2020, eq. 1 and 2, https://arxiv.org/abs/2008.10010

    Examples:
        >>> visual, audio = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]])
        >>> cosine_bce_loss(visual, audio, torch.ones(1))  # -log 0.6
        tensor(0.5108)
        >>> cosine_bce_loss(visual, audio, torch.zeros(1))  # -log 0.4
        tensor(0.9163)
    """
    cosine = _cosine(visual, audio)
    if together.shape != cosine.shape:
        raise ValueError(
            f"labels must be {tuple(cosine.shape)} for these features, got {tuple(together.shape)}"
        )
    with torch.autocast(visual.device.type, enabled=False):
        # Rounding may bring a cosine of equal vectors above 1.
        return F.binary_cross_entropy(cosine.clamp(0, 1), together.to(cosine.dtype))


def shift_info_nce(visual: Tensor, audio: Tensor, temperature: float = 1.0) -> Tensor:
    r"""Find each moment's sound among the shifts of the same clip, and the other way round.

    .. math:: \mathcal{L} = -\frac{1}{2 B N} \sum_{b, i} \log \mathrm{softmax}_j (s_{bij})_i +
              \log \mathrm{softmax}_j (s_{bji})_i,
              \quad s_{bij} = \frac{1}{\tau} \cos(f_{v,bi}, f_{a,bj})

    The negatives of a moment are the other moments of its own clip: what tells them apart is time,
    never the voice or the face. The loss stands at log N while the expert knows nothing, and since
    no clip sees another, it is the same however a batch is split among processes.

    Args:
        visual: Visual features of B clips of N moments in order, (B, N, D), of any length.
        audio: Audio features, (B, N, D).
        temperature: :math:`\tau`.

    Returns:
        Scalar.

    Raises:
        ValueError: If shapes do not fit or the temperature is not positive.

    Examples:
        >>> shift_info_nce(torch.eye(2)[None], torch.eye(2)[None])  # log(1 + exp(-1))
        tensor(0.3133)
        >>> shift_info_nce(torch.ones(1, 4, 8), torch.ones(1, 4, 8))  # log 4
        tensor(1.3863)
    """
    if visual.dim() != 3 or visual.shape != audio.shape:
        raise ValueError(
            "features must both be (clips, moments, D), "
            f"got {tuple(visual.shape)} and {tuple(audio.shape)}"
        )
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    with torch.autocast(visual.device.type, enabled=False):
        scores = unit_vectors(visual) @ unit_vectors(audio).mT / temperature
        clips, moments = visual.shape[:2]
        labels = torch.arange(moments, device=visual.device).repeat(clips)
        to_audio = F.cross_entropy(scores.flatten(0, 1), labels)
        to_visual = F.cross_entropy(scores.mT.flatten(0, 1), labels)
    return (to_audio + to_visual) / 2


def _cosine(visual: Tensor, audio: Tensor) -> Tensor:
    if visual.shape != audio.shape:
        raise ValueError(f"shapes differ: {tuple(visual.shape)} and {tuple(audio.shape)}")
    with torch.autocast(visual.device.type, enabled=False):
        return (unit_vectors(visual) * unit_vectors(audio)).sum(-1)
