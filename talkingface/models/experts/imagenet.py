"""Networks trained on ImageNet, whose features say how alike sets of pictures are."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from talkingface.models.weights import load_state_dict_file


class VGG16Pool(nn.Module):
    """Mean over space of VGG-16's last feature maps.

    Args:
        weights: torchvision's VGG-16 weights, of which only the ``features.*`` are used.

    Shape:
        - frames: (N, 3, H, W) RGB in [-1, 1], 32 px or more; output: (N, 512).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds other weights.
    """

    num_features = 512

    def __init__(self, weights: str | Path) -> None:
        super().__init__()
        self.features = make_layers(cfgs["D"])
        state = load_state_dict_file(weights)
        own = {key: value for key, value in state.items() if key.startswith("features.")}
        try:
            self.load_state_dict(own)
        except RuntimeError as error:
            raise ValueError(f"{weights} does not hold torchvision's VGG-16: {error}") from error
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), False)

    mean: Tensor
    std: Tensor

    def forward(self, frames: Tensor) -> Tensor:
        """Describe frames."""
        return self.features(((frames + 1) / 2 - self.mean) / self.std).mean((2, 3))
