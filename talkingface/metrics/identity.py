"""Whether the person stays the same, by a face recognition network that is given."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from talkingface.metrics._base import CountingClipMean, Value, check_frames, parts


class CSIM(CountingClipMean):
    r"""Cosine similarity of identity embeddings, mean over frames, then clips.

    .. math:: \mathrm{CSIM} = \frac{1}{T} \sum_t
              \frac{e(x_t)^\top e(y_t)}{\lVert e(x_t) \rVert \, \lVert e(y_t) \rVert}

    Papers seldom name their network, and values of different networks do not compare: FaceNet
    gives two strangers up to 0.76 where ArcFace gives 0.35. The network's name is therefore part
    of the metric's. A network that was also a training loss flatters its model: say so.

    Frames whose embedding is NaN on either side (no face found) are left out and counted in
    `dropped`; clips of which nothing is left are counted in `failed`.

    Args:
        embed: Maps (N, 3, H, W) RGB in [-1, 1] to embeddings (N, D) of any length.
        name: Name of the network, such as `arcface_r50`.

    Shape:
        - frames: (T, 3, H, W) RGB in [-1, 1], one clip
        - target: the same, or (1, 3, H, W), the one picture that shows the person; its size may
          be another
        - output: scalar in [-1, 1], higher is better

    Raises:
        ValueError: If shapes or ranges are wrong, the network gives no (N, D), or no face was
            found in any clip.

    References:
        Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019,
        https://arxiv.org/abs/1801.07698

    Examples:
        >>> metric = CSIM(lambda frames: frames.mean((2, 3)), "mean_colour")
        >>> metric.update(torch.full((4, 3, 8, 8), 0.5), torch.full((1, 3, 8, 8), 1.0))
        >>> metric.name, metric.compute()
        ('csim[mean_colour]', tensor(1.))
    """

    name = "csim"
    values = (Value("csim", -1, 1, "higher"),)
    higher_is_better = True

    def __init__(self, embed: Callable[[Tensor], Tensor], name: str) -> None:
        super().__init__()
        if not name:
            raise ValueError("name the embedding network: its values compare with no other's")
        self.embed = embed
        self.name = f"{type(self).name}[{name}]"
        self.eval()

    def update(self, frames: Tensor, target: Tensor) -> None:
        """Take in one clip."""
        frames, target = check_frames(frames), check_frames(target, "target")
        if len(target) not in (1, len(frames)):
            raise ValueError(
                f"target must have one frame or as many as the clip: {len(target)}, {len(frames)}"
            )
        cosine = (self._unit(frames) * self._unit(target)).sum(1)
        self.add_frames(self._value(cosine))

    def _value(self, cosine: Tensor) -> Tensor:
        return cosine

    def _unit(self, frames: Tensor) -> Tensor:
        embeddings = torch.cat([self.embed(part) for (part,) in parts(frames)])
        if embeddings.dim() != 2 or len(embeddings) != len(frames):
            raise ValueError(
                f"{self.name}: the network gave {tuple(embeddings.shape)} for {len(frames)} frames"
            )
        return F.normalize(embeddings.double(), dim=1)


class IDSquaredL2(CSIM):
    r"""Squared distance of unit identity embeddings, mean over frames, then clips.

    .. math:: \frac{1}{T} \sum_t \left\lVert \frac{e(x_t)}{\lVert e(x_t) \rVert} -
              \frac{e(y_t)}{\lVert e(y_t) \rVert} \right\rVert_2^2 = 2 - 2\,\mathrm{CSIM}

    DAVS reports it with the network of OpenFace, whose embeddings have unit length.

    Args:
        embed: See `CSIM`.
        name: Name of the network.

    Shape:
        - frames: (T, 3, H, W) RGB in [-1, 1], one clip
        - target: the same, or (1, 3, H, W)
        - output: scalar in [0, 4], lower is better

    Raises:
        ValueError: See `CSIM`.

    References:
        Zhou et al., "Talking Face Generation by Adversarially Disentangled Audio-Visual
        Representation", AAAI 2019, Table 4, https://arxiv.org/abs/1807.07860

    Examples:
        >>> metric = IDSquaredL2(lambda frames: frames.mean((2, 3)), "mean_colour")
        >>> metric.update(torch.full((4, 3, 8, 8), 0.5), torch.full((4, 3, 8, 8), -0.5))
        >>> metric.name, metric.compute()
        ('id_squared_l2[mean_colour]', tensor(4.))
    """

    name = "id_squared_l2"
    values = (Value("id_squared_l2", 0, 4, "lower"),)
    higher_is_better = False

    def _value(self, cosine: Tensor) -> Tensor:
        return 2 - 2 * cosine
