"""Perceptual losses: distances between the features of a fixed network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYER_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
"""Weights of VGG-19's features after relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1."""


def perceptual_loss(
    fake: Sequence[Tensor],
    real: Sequence[Tensor],
    weights: Sequence[float] = LAYER_WEIGHTS,
    first: int = 0,
) -> Tensor:
    r"""Compare generated and real frames by the features of a fixed network.

    .. math:: \mathcal{L}_{vgg} = \sum_n w_n
              \lVert \mathrm{VGG}_n(\text{real}) - \mathrm{VGG}_n(\text{fake}) \rVert_1

    The norm is the mean absolute difference; the real side is detached.

    Args:
        fake: Features of generated frames, one tensor per layer.
        real: Features of real frames, the same shapes.
        weights: One factor per layer; the paper gives none, the defaults are the released code's.
        first: Layer from which to start, 0 for all.

    Returns:
        Scalar, zero or more.

    Raises:
        ValueError: If the lists differ in length, or no layer is left.

    References:
        Zhou et al., "Pose-Controllable Talking Face Generation by Implicitly Modularized
        Audio-Visual Representation", CVPR 2021, eq. 7, https://arxiv.org/abs/2104.11116

    Examples:
        >>> fake, real = [torch.ones(1, 4, 8, 8)] * 5, [torch.zeros(1, 4, 8, 8)] * 5
        >>> perceptual_loss(fake, real), perceptual_loss(fake, real, first=4)
        (tensor(1.4688), tensor(1.))
    """
    if not len(fake) == len(real) == len(weights):
        raise ValueError(
            f"one weight per layer: {len(fake)} fake and {len(real)} real features, "
            f"{len(weights)} weights"
        )
    if not 0 <= first < len(fake):
        raise ValueError(f"first layer {first} of {len(fake)}")
    terms = [
        weight * F.l1_loss(fake_layer, real_layer.detach())
        for fake_layer, real_layer, weight in zip(
            fake[first:], real[first:], weights[first:], strict=True
        )
    ]
    return torch.stack(terms).sum()


def vgg_face_loss(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    r"""Compare faces by the features of a face recognition VGG-19 (released PC-AVS code).

    .. math:: \mathcal{L} = \tfrac{1}{8} \lVert \Delta h_5 \rVert_1 +
              \left(\tfrac{1}{4} + 1\right) \lVert \Delta h_6 \rVert_1

    The released code lists the features as h3, h4, h5, h6, h6 with `LAYER_WEIGHTS` and starts at
    the third, so the last ones count twice and the first two not at all.

    Args:
        fake: The features h3, h4, h5, h6 of generated frames: the outputs of layers 11, 20, 29
            and of the last one of torchvision's VGG-19-BN.
        real: The same of real frames; they are detached.

    Returns:
        Scalar, zero or more.

    Raises:
        ValueError: If there are not four features on both sides.

    References:
        https://github.com/Hangz-nju-cuhk/Talking-Face_PC-AVS

    Examples:
        >>> vgg_face_loss([torch.ones(1, 4, 8, 8)] * 4, [torch.zeros(1, 4, 8, 8)] * 4)
        tensor(1.3750)
    """
    if len(fake) != 4 or len(real) != 4:
        raise ValueError(f"four features on both sides, got {len(fake)} and {len(real)}")
    return perceptual_loss([*fake, fake[-1]], [*real, real[-1]], first=2)


def feature_distance(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    r"""Compare generated and real frames by the features of VGG-19 (FC-TFG, eq. 7 as printed).

    .. math:: \mathcal{L} = \frac{1}{N_f} \sum_{i=1}^{N_f} \lVert \Delta\phi_i \rVert_2

    As everywhere here a norm is a mean over the entries: the root of the mean square, for each
    image by itself. The real side is detached.

    Args:
        fake: Features of generated frames (B, ...), one tensor per layer.
        real: Features of real frames, the same shapes.

    Returns:
        Scalar, zero or more.

    Raises:
        ValueError: If the lists are empty or differ in length.

    References:
        Jang et al., "That's What I Said: Fully-Controllable Talking Face Generation", ACM MM 2023,
        eq. 7, https://arxiv.org/abs/2304.03275

    Examples:
        >>> fake = [torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0]])]
        >>> feature_distance(fake, [torch.zeros(1, 2), torch.zeros(1, 1)])  # (5 / sqrt(2) + 1) / 2
        tensor(2.2678)
    """
    if not fake or len(fake) != len(real):
        raise ValueError(f"as many features on both sides, got {len(fake)} and {len(real)}")
    terms = [
        # At zero the root has no slope; the floor is far below what a picture's noise makes.
        (ours - theirs.detach()).square().flatten(1).mean(1).clamp_min(1e-12).sqrt().mean()
        for ours, theirs in zip(fake, real, strict=True)
    ]
    return torch.stack(terms).mean()


class LPIPSLoss(nn.Module):
    """Learned perceptual distance (LPIPS 0.1) over a given ImageNet trunk.

    The linear heads come with the `lpips` package. The trunk's weights do not: they are given
    here and never downloaded. The network stays frozen and in evaluation mode.

    Args:
        trunk: torchvision's AlexNet or VGG-16 weights: a state dict, or the path of a local
            `.pth` file that holds one. Only the `features.*` keys are used.
        net: Which trunk it is.

    Shape:
        - fake, real: (B, 3, H, W) RGB in [-1, 1], H and W at least 32; `real` is detached
        - output: scalar, zero for equal frames

    Raises:
        FileNotFoundError: If the trunk's file does not exist.
        ValueError: If the file holds no state dict, or not the trunk's weights.

    References:
        Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
        CVPR 2018, https://arxiv.org/abs/1801.03924

    Examples:
        >>> from torchvision.models import alexnet
        >>> loss = LPIPSLoss(alexnet().state_dict())
        >>> frames = torch.rand(2, 3, 64, 64) * 2 - 1
        >>> loss(frames, frames)
        tensor(0.)
    """

    def __init__(
        self, trunk: str | Path | Mapping[str, Tensor], net: Literal["alex", "vgg"] = "alex"
    ) -> None:
        super().__init__()
        if net not in ("alex", "vgg"):
            raise ValueError(f"net is 'alex' or 'vgg', got {net!r}")
        from lpips import LPIPS

        self.network = LPIPS(net=net, pnet_rand=True, verbose=False)
        name = "trunk" if isinstance(trunk, Mapping) else str(trunk)
        weights = trunk if isinstance(trunk, Mapping) else _read_state_dict(Path(trunk))
        renamed = {}
        for key in self.network.net.state_dict():
            _slice, index, kind = key.split(".")  # lpips cuts `features` into numbered slices
            official = f"features.{index}.{kind}"
            if official not in weights:
                raise ValueError(f"{name}: no {official}; give torchvision's weights for '{net}'")
            renamed[key] = weights[official]
        try:
            self.network.net.load_state_dict(renamed)
        except RuntimeError as error:
            raise ValueError(f"{name}: not torchvision's weights for '{net}': {error}") from error
        self.requires_grad_(False).eval()

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Give the mean distance of a batch."""
        if fake.shape != real.shape or fake.dim() != 4:
            raise ValueError(
                f"frames must be (B, 3, H, W), got {tuple(fake.shape)} and {tuple(real.shape)}"
            )
        return self.network(fake, real.detach()).mean()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: the heads have dropout, which would make the loss random."""
        return super().train(False)


def _read_state_dict(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the path of local trunk weights")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path}: not a file of weights only: {error}") from error
    if not isinstance(weights, Mapping):
        raise ValueError(f"{path}: holds a {type(weights).__name__}, not a state dict")
    return weights
