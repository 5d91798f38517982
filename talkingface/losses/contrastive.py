"""Losses that bring the two modalities of one moment together and keep others apart."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

MarginForm = Literal["distance", "squared", "ranking"]
"""Forms of :func:`margin_contrastive`."""


def info_nce(
    anchor: Tensor,
    candidates: Tensor,
    negatives: Tensor | None = None,
    offset: int = 0,
    temperature: float = 1.0,
) -> Tensor:
    r"""Classify which candidate belongs to each anchor (InfoNCE).

    .. math:: \mathcal{L} = -\frac{1}{N} \sum_i \log
              \frac{\exp(D(a_i, c_{o+i}) / \tau)}
                   {\sum_j \exp(D(a_i, c_j) / \tau) + \sum_k \exp(D(a_i, n_{ik}) / \tau)},
              \quad D(x, y) = \frac{x^\top y}{\lvert x \rvert \lvert y \rvert}

    The other candidates are anchor i's negatives, next to any extra ones, such as features of
    the same recording at another time. Half precision is computed in float32.

    Over several processes, `candidates` holds the features of all of them, gathered with
    gradient, and `offset` is the rank times the number of anchors: the mean over the ranks, which
    distributed training takes, is then the loss of one process with the whole batch.

    Args:
        anchor: Features of shape (N, D), of any length.
        candidates: Features of shape (M, D), M >= offset + N; row offset + i is anchor i's
            positive.
        negatives: Extra negatives, (K, D) for all anchors or (N, K, D) for each of its own.
        offset: Row of the first anchor's positive.
        temperature: :math:`\tau`; the paper has none, that is 1.

    Returns:
        Scalar; log(number of candidates and negatives) when all features are alike.

    Raises:
        ValueError: If shapes do not fit or the temperature is not positive.

    References:
        Zhou et al., "Pose-Controllable Talking Face Generation by Implicitly Modularized
        Audio-Visual Representation", CVPR 2021, eq. 2, https://arxiv.org/abs/2104.11116

    Examples:
        >>> visual, audio = torch.eye(2), 3 * torch.eye(2)
        >>> info_nce(visual, audio)  # log(1 + exp(-1))
        tensor(0.3133)
        >>> info_nce(visual, audio, negatives=torch.zeros(1, 2))  # log(1 + 2 exp(-1))
        tensor(0.5514)
    """
    labels = _positives(anchor, candidates, offset)
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    # Autocast would round the cosines to 8 bits or so, a temperature below 1 magnifies that.
    with torch.autocast(anchor.device.type, enabled=False):
        unit = unit_vectors(anchor)
        scores = unit @ unit_vectors(candidates).T
        if negatives is not None:
            n, d = anchor.shape
            if negatives.shape[-1] != d or (negatives.dim() != 2 and negatives.shape[:-2] != (n,)):
                raise ValueError(
                    f"negatives must be (K, {d}) or ({n}, K, {d}), got {tuple(negatives.shape)}"
                )
            extra = torch.matmul(unit_vectors(negatives), unit.unsqueeze(-1)).squeeze(-1)
            scores = torch.cat([scores, extra], dim=1)
        return F.cross_entropy(scores / temperature, labels)


def symmetric_info_nce(
    visual: Tensor,
    audio: Tensor,
    visual_candidates: Tensor | None = None,
    audio_candidates: Tensor | None = None,
    visual_negatives: Tensor | None = None,
    audio_negatives: Tensor | None = None,
    offset: int = 0,
    temperature: float = 1.0,
) -> Tensor:
    r"""Synchronise visual and audio features: InfoNCE from either side to the other.

    .. math:: \mathcal{L}_c = \mathcal{L}_c^{v2a} + \mathcal{L}_c^{a2v}

    Args:
        visual: Visual features of shape (N, D).
        audio: Audio features of the same moments, of shape (N, D).
        visual_candidates: Visual features gathered over the processes; default `visual`.
        audio_candidates: Audio features gathered over the processes; default `audio`.
        visual_negatives: Extra visual negatives, (K, D) or (N, K, D).
        audio_negatives: Extra audio negatives, (K, D) or (N, K, D).
        offset: Row of the first moment in the gathered features.
        temperature: See `info_nce`.

    Returns:
        Scalar.

    Raises:
        ValueError: If shapes do not fit or the temperature is not positive.

    References:
        Zhou et al., "Pose-Controllable Talking Face Generation by Implicitly Modularized
        Audio-Visual Representation", CVPR 2021, eq. 2 and 3, https://arxiv.org/abs/2104.11116

    Examples:
        >>> symmetric_info_nce(torch.eye(2), torch.eye(2))  # 2 log(1 + exp(-1))
        tensor(0.6265)
    """
    visual_candidates = visual if visual_candidates is None else visual_candidates
    audio_candidates = audio if audio_candidates is None else audio_candidates
    to_audio = info_nce(visual, audio_candidates, audio_negatives, offset, temperature)
    to_visual = info_nce(audio, visual_candidates, visual_negatives, offset, temperature)
    return to_audio + to_visual


def inverse_distance_contrastive(anchor: Tensor, candidates: Tensor, offset: int = 0) -> Tensor:
    r"""Classify which candidate belongs to each anchor by inverse distance (released PC-AVS code).

    .. math:: \mathcal{L} = -\frac{1}{N} \sum_i \log
              \frac{\exp(1 / d_{i,o+i})}{\sum_j \exp(1 / d_{ij})},
              \quad d_{ij} = \left\lVert \frac{a_i}{\lvert a_i \rvert} -
              \frac{c_j}{\lvert c_j \rvert} \right\rVert_2

    The **anchor is detached**: only the candidates learn. The released code takes it in both
    directions, `(visual, audio)` for the audio encoder and `(audio, visual)` for the visual one,
    with weight 100 each. Distances are held above 1e-6, where the released code divides by zero.

    Args:
        anchor: Features of shape (N, D), of any length; they get no gradient.
        candidates: Features of shape (M, D); row offset + i is anchor i's positive.
        offset: Row of the first anchor's positive.

    Returns:
        Scalar.

    Raises:
        ValueError: If shapes do not fit.

    References:
        https://github.com/Hangz-nju-cuhk/Talking-Face_PC-AVS

    Examples:
        >>> visual = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        >>> audio = torch.tensor([[0.0, 1.0], [0.0, -5.0]])
        >>> inverse_distance_contrastive(visual, audio)  # four equal distances: log(2)
        tensor(0.6931)
    """
    labels = _positives(anchor, candidates, offset)
    distances = torch.cdist(
        unit_vectors(anchor.detach()),
        unit_vectors(candidates),
        compute_mode="donot_use_mm_for_euclid_dist",  # exact for close pairs
    )
    return F.cross_entropy(1 / distances.clamp_min(1e-6), labels)


def margin_contrastive(
    visual: Tensor,
    audio: Tensor,
    offset: int = 0,
    form: MarginForm = "distance",
    margin: float = 1.0,
    hardest: bool = False,
) -> Tensor:
    r"""Pull the two modalities of a sample together, push others apart up to a margin.

    Features are brought to unit length first. With distances :math:`d_{nm} = \lVert v_n - a_m
    \rVert_2`, cosines :math:`s_{nm}`, margin :math:`\alpha`, and :math:`n'` the positive of n:

    ========== =====================================================================
    `distance` :math:`\frac{1}{N} \sum_n d_{nn'} + \sum_{m \ne n'} \max(\alpha - d_{nm}, 0)`,
               eq. 1 of the paper per sample (there it is summed over them)
    `squared`  :math:`\frac{1}{2N} \sum_n d_{nn'}^2 + \sum_{m \ne n'} \max(\alpha - d_{nm}, 0)^2`,
               which the released code trains with
    `ranking`  :math:`\frac{1}{N} \sum_n \sum_{m \ne n'} \max(\alpha + s_{nm} - s_{nn'}, 0)`,
               in the released code as well (a sum over n there)
    ========== =====================================================================

    Args:
        visual: Features of shape (N, D), of any length.
        audio: Features of shape (M, D), M >= offset + N; row offset + n belongs to visual row n.
            Over several processes these are gathered from all of them.
        offset: Row of the first visual feature's positive.
        form: See above.
        margin: :math:`\alpha`.
        hardest: Of each sample's negatives count the worst one alone.

    Returns:
        Scalar, zero or more.

    Raises:
        ValueError: If shapes do not fit or the form is unknown.

    References:
        Zhou et al., "Talking Face Generation by Adversarially Disentangled Audio-Visual
        Representation", AAAI 2019, eq. 1, https://arxiv.org/abs/1807.07860

    Examples:
        >>> same = torch.tensor([[3.0, 0.0], [1.0, 0.0]])  # each is at distance 0 from both
        >>> margin_contrastive(same, same)
        tensor(1.)
        >>> margin_contrastive(same, same, form="squared")
        tensor(0.5000)
    """
    if form not in get_args(MarginForm):
        raise ValueError(f"form is one of {', '.join(get_args(MarginForm))}; got {form!r}")
    labels = _positives(visual, audio, offset)
    positive = F.one_hot(labels, len(audio)).bool()
    with torch.autocast(visual.device.type, enabled=False):
        rows, columns = unit_vectors(visual), unit_vectors(audio)
        if form == "ranking":
            scores = rows @ columns.T
            hinge = (margin + scores - scores[positive][:, None]).clamp_min(0)
        else:
            distances = torch.cdist(rows, columns, compute_mode="donot_use_mm_for_euclid_dist")
            hinge = (margin - distances).clamp_min(0)
        if form == "squared":
            distances, hinge = distances.square() / 2, hinge.square() / 2
        negatives = hinge.masked_fill(positive, 0)
        pushed = (negatives.amax(1) if hardest else negatives.sum(1)).mean()
        return pushed if form == "ranking" else pushed + distances[positive].mean()


def cross_modal_l1(visual: Tensor, audio: Tensor) -> Tensor:
    """Pull audio features to the visual features of the same moments (released PC-AVS code).

    Mean absolute difference; the **visual features are detached**.

    Args:
        visual: Visual features of any shape; they get no gradient.
        audio: Audio features of the same shape.

    Returns:
        Scalar, zero or more.

    Raises:
        ValueError: If the shapes differ.

    References:
        https://github.com/Hangz-nju-cuhk/Talking-Face_PC-AVS

    Examples:
        >>> cross_modal_l1(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 5.0]]))
        tensor(1.5000)
    """
    if visual.shape != audio.shape:
        raise ValueError(f"shapes differ: {tuple(visual.shape)} and {tuple(audio.shape)}")
    return F.l1_loss(audio, visual.detach())


def retrieval_accuracy(anchor: Tensor, candidates: Tensor, offset: int = 0) -> Tensor:
    """Share of anchors whose own candidate is the most similar one (cosine), of a batch.

    Args:
        anchor: Features of shape (N, D), of any length.
        candidates: Features of shape (M, D); row offset + i is anchor i's positive.
        offset: Row of the first anchor's positive.

    Returns:
        Scalar in [0, 1], without gradient; 1 / M is chance.

    Raises:
        ValueError: If shapes do not fit.

    Examples:
        >>> audio = torch.tensor([[1.0, 0.1], [2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
        >>> visual = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
        >>> retrieval_accuracy(visual, audio)
        tensor(0.7500)
    """
    labels = _positives(anchor, candidates, offset)
    with torch.no_grad(), torch.autocast(anchor.device.type, enabled=False):
        nearest = (unit_vectors(anchor) @ unit_vectors(candidates).T).argmax(dim=1)
        return (nearest == labels).float().mean()


def unit_vectors(features: Tensor) -> Tensor:
    """Features (..., D) of length one, in float32 or better."""
    dtype = torch.promote_types(features.dtype, torch.float32)
    return F.normalize(features.to(dtype), dim=-1)


def _positives(anchor: Tensor, candidates: Tensor, offset: int) -> Tensor:
    """Check the shapes; give the candidate row of each anchor's positive."""
    if anchor.dim() != 2 or candidates.dim() != 2 or anchor.shape[1] != candidates.shape[1]:
        raise ValueError(
            "anchor and candidates must be (N, D) and (M, D), "
            f"got {tuple(anchor.shape)} and {tuple(candidates.shape)}"
        )
    n, m = len(anchor), len(candidates)
    if n == 0 or offset < 0 or offset + n > m:
        raise ValueError(f"{n} anchors at offset {offset} do not fit into {m} candidates")
    return torch.arange(offset, offset + n, device=anchor.device)
