"""VGG-19 features for the perceptual loss."""

from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torchvision.models.vgg import VGG19_Weights, cfgs, make_layers


class VGG19Features(nn.Module):
    """Frozen VGG-19 trunk that returns relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1.

    PC-AVS (like SPADE's released code, which it follows) feeds images in [-1, 1] without ImageNet
    normalisation.

    Args:
        weights: Local file with torchvision's VGG-19 state dict (``vgg19-*.pth``); None leaves
            random weights, for instance because a state dict is loaded afterwards.

    Shape:
        - input: (B, 3, H, W) in [-1, 1], H, W >= 16.
        - output: five maps, (B, 64, H, W), (B, 128, H/2, W/2), (B, 256, H/4, W/4), (B, 512, H/8,
          W/8) and (B, 512, H/16, W/16).

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If the file is not torchvision's VGG-19.

    Example:
        >>> [f.shape[-1] for f in VGG19Features()(torch.zeros(1, 3, 32, 32))]
        [32, 16, 8, 4, 2]
    """

    taps: ClassVar[tuple[int, ...]] = (1, 6, 11, 20, 29)
    batch_norm: ClassVar[bool] = False

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        self.features = make_layers(cfgs["E"], self.batch_norm)[: self.taps[-1] + 1]
        if weights is not None:
            self._load(Path(weights))
        self.requires_grad_(False).eval()

    @classmethod
    def pretrained(cls) -> Self:
        """ImageNet weights of torchvision, downloaded once into torch's hub folder and verified.

        Raises:
            FileNotFoundError: If they can neither be found nor downloaded.
        """
        weights = VGG19_Weights.IMAGENET1K_V1
        try:
            state = weights.get_state_dict(progress=False, check_hash=True)
        except OSError as error:
            raise FileNotFoundError(
                f"cannot download VGG-19 from {weights.url} (548 MB): {error}; fetch that file "
                f"elsewhere and pass its path"
            ) from error
        network = cls()
        network.load_state_dict({key: state[key] for key in network.state_dict()})
        return network

    @property
    def name(self) -> str:
        """Name of the architecture in torchvision."""
        return "vgg19_bn" if self.batch_norm else "vgg19"

    def _load(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file; give a state dict of torchvision's {self.name}"
                f", e.g. {VGG19_Weights.IMAGENET1K_V1.url}"
            )
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file raises anything
            raise ValueError(f"{path}: not a PyTorch file of plain tensors") from error
        wanted = self.state_dict()
        if not wanted.keys() <= state.keys() or any(
            state[k].shape != wanted[k].shape for k in wanted
        ):
            raise ValueError(
                f"{path}: not a state dict of torchvision's {self.name} (features.0.weight ...)"
            )
        self.load_state_dict({key: state[key] for key in wanted})

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the five feature maps."""
        outputs, x = [], images
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                outputs.append(x)
        return outputs


class VGGFaceFeatures(VGG19Features):
    """Frozen VGG-19 with batch norm, trained to recognise faces, for the released VGG-face term.

    Its weights were never published with PC-AVS: give a face recognition network of this
    architecture.

    Args:
        weights: Local file with a state dict of torchvision's ``vgg19_bn``; None leaves random
            weights.

    Shape:
        - input: (B, 3, H, W) in [-1, 1], H, W >= 32.
        - output: four maps, (B, 128, H/2, W/2), (B, 256, H/4, W/4), (B, 512, H/8, W/8) and
          (B, 512, H/32, W/32).

    Example:
        >>> [tuple(f.shape[1:]) for f in VGGFaceFeatures()(torch.zeros(1, 3, 32, 32))]
        [(128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 1, 1)]
    """

    # The ReLU behind layer 11 works in place, here as in the released code: the map is rectified.
    taps = (11, 20, 29, 52)
    batch_norm = True
