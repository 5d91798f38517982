"""Whether lips and sound go together, by the distances of SyncNet's features."""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from talkingface.metrics._base import ClipMean, Value


class SyncScore(NamedTuple):
    """LSE-C, LSE-D and offset of one clip."""

    lse_c: float
    lse_d: float
    offset: int


def sync_distances(
    lip: Tensor, audio: Tensor, vshift: int = 15, padding: Literal["zero", "mask"] = "zero"
) -> Tensor:
    r"""Distances of each lip feature to the audio features around it.

    .. math:: d_{is} = \lVert l_i - a_{i+s-v} + 10^{-6} \rVert_2, \quad s = 0 \dots 2v

    Where there is no audio feature, beyond the ends of the clip, the reference puts zeros and
    counts them. That lowers LSE-C on short clips (4.1 at 24 windows against 5.1 at 1000 for the
    same signal), so that it compares only between clips of one length.

    Args:
        lip: Features of shape (N, D).
        audio: Features of the same moments, of the same shape.
        vshift: Largest shift searched, in frames.
        padding: `zero` as the reference; `mask` gives NaN there.

    Returns:
        (N, 2 vshift + 1).

    Raises:
        ValueError: If shapes are wrong or differ, or a masked clip is not longer than `vshift`.

    References:
        Chung and Zisserman, "Out of time: automated lip sync in the wild", ACCV-W 2016;
        https://github.com/joonson/syncnet_python

    Examples:
        >>> lip = torch.eye(4)
        >>> sync_distances(lip, lip, vshift=1)[0]  # zeros before the first, itself, the second
        tensor([1.0000e+00, 2.0000e-06, 1.4142e+00])
        >>> sync_distances(lip, lip, vshift=1, padding="mask")[0]
        tensor([       nan, 2.0000e-06, 1.4142e+00])
    """
    if lip.dim() != 2 or lip.shape != audio.shape or not len(lip):
        raise ValueError(
            f"lip and audio features must be (N, D) of the same windows, got {tuple(lip.shape)} "
            f"and {tuple(audio.shape)}"
        )
    if padding not in ("zero", "mask"):
        raise ValueError(f"padding is 'zero' or 'mask', got {padding!r}")
    if vshift < 1:
        raise ValueError(f"vshift must be 1 or more, got {vshift}")
    count = len(lip)
    if padding == "mask" and count <= vshift:
        raise ValueError(
            f"{count} windows leave nothing at a shift of {vshift}: lower vshift, or pad with zeros"
        )
    lip, padded = lip.float(), F.pad(audio.float(), (0, 0, vshift, vshift))
    shifts = range(2 * vshift + 1)
    distances = torch.stack([F.pairwise_distance(lip, padded[s : s + count]) for s in shifts], 1)
    if padding == "mask":
        moment = torch.arange(count, device=lip.device)[:, None] + torch.arange(
            -vshift, vshift + 1, device=lip.device
        )
        distances[(moment < 0) | (moment >= count)] = torch.nan
    return distances


def sync_score(distances: Tensor) -> SyncScore:
    r"""LSE-C, LSE-D and offset of one clip.

    .. math:: m_s = \frac{1}{N} \sum_i d_{is}, \quad \text{LSE-D} = \min_s m_s, \quad
              \text{LSE-C} = \mathrm{median}_s\, m_s - \min_s m_s, \quad
              \text{offset} = v - \arg\min_s m_s

    The offset is in frames: +k where audio row i carries the content of lip row i + k, that is,
    where the sound is k frames ahead of the lips.

    Args:
        distances: Of `sync_distances`, (N, 2 v + 1); NaN does not count.

    Examples:
        >>> lip = torch.randn(60, 16)
        >>> sync_score(sync_distances(lip, lip.roll(-3, 0))).offset
        3
    """
    means = distances.nanmean(0)
    least, best = means.min(0)
    confidence = means.median() - least
    return SyncScore(float(confidence), float(least), len(means) // 2 - int(best))


class LSE(ClipMean):
    """Lip-sync error: confidence (LSE-C), distance (LSE-D) and offset, mean over clips.

    Of features that SyncNet, or a network like it, gives for windows of five frames; see
    `sync_distances` and `sync_score` for the definition. No-reference scores: a model can exceed
    real clips, and codecs move them by 0.4 to 1.2, so print real clips' beside them, from the same
    run. LSE-D is the least over all shifts and hides a constant one: read the offset beside it.

    Profiles name where the features come from, which is the caller's part:

    - `lrs`: the whole pre-cropped clip, every frame resized to 224 px; one update per clip.
    - `tracked`: a crop around each face track as SyncNet's pipeline makes it; one update per track.

    Args:
        vshift: Largest shift searched, in frames; 15 in the official scripts.
        profile: `lrs` or `tracked`.
        padding: `zero` as the reference, `mask` so that clips of different lengths compare; the
            latter becomes part of the name.
        network: Which network made the features.

    Shape:
        - lip_features, audio_features: (N, D), one clip
        - output: dictionary with `lse_c` (zero or more, higher is better), `lse_d` (zero or more,
          lower is better) and `offset` (frames, nearer to zero is better)

    Raises:
        ValueError: If an argument is unknown, or shapes are wrong or differ.

    References:
        Chung and Zisserman, "Out of time: automated lip sync in the wild", ACCV-W 2016; Prajwal et
        al., "A Lip Sync Expert Is All You Need for Speech to Lip Generation In The Wild", ACM MM
        2020, https://arxiv.org/abs/2008.10010

    Examples:
        >>> metric, features = LSE(), torch.randn(100, 32)
        >>> metric.update(features, features)
        >>> scores = metric.compute()
        >>> scores["offset"], bool(scores["lse_c"] > 6), bool(scores["lse_d"] < 1e-4)
        (tensor(0.), True, True)
    """

    name = "lse"
    profiles = ("lrs", "tracked")
    values = (
        Value("lse_c", 0, float("inf"), "higher"),
        Value("lse_d", 0, float("inf"), "lower"),
        Value("offset", -float("inf"), float("inf"), "zero"),
    )

    def __init__(
        self,
        vshift: int = 15,
        profile: Literal["lrs", "tracked"] = "lrs",
        padding: Literal["zero", "mask"] = "zero",
        network: str = "syncnet_v2",
    ) -> None:
        super().__init__(3)
        self.choose(profile)
        if padding not in ("zero", "mask"):
            raise ValueError(f"padding is 'zero' or 'mask', got {padding!r}")
        self.vshift = vshift
        self.padding = padding
        self.name = f"lse[{network}]" if padding == "zero" else f"lse_masked[{network}]"

    def update(self, lip_features: Tensor, audio_features: Tensor) -> None:
        """Take in one clip."""
        distances = sync_distances(lip_features, audio_features, self.vshift, self.padding)
        self.add(*(torch.tensor(float(value)) for value in sync_score(distances)))

    def compute(self) -> dict[str, Tensor]:
        """Give the means over clips."""
        return dict(zip(("lse_c", "lse_d", "offset"), self.mean(), strict=True))
