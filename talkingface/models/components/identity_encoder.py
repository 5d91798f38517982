"""Identity encoder of PC-AVS, trained on its own as an identity expert first."""

import torch.nn.functional as F
from torch import Tensor, nn

from talkingface.models.components.resnext import ResNeXt


class IdentityEncoder(nn.Module):
    """Identity encoder: reference images become one vector and one spatial map.

    Args:
        num_classes: Identities of the training set (the classifier is used in training only).
        map_channels: Channels of the map.
        layers: Blocks per stage of the ResNeXt.
        width: Planes of its first stage.
        groups: Groups of its 3x3 convolutions.
        width_per_group: Channels per group in a stage of 64 planes.
        map_size: Side of the map, the generator's start size.

    Shape:
        - images: (B, N, 3, H, W) or (B, 3, H, W) in [-1, 1]; vector and map are averaged over the N
          references.
        - output: vector (B, vector_dim) with vector_dim = 32 * width, map (B, map_channels,
          map_size, map_size).

    Example:
        >>> import torch
        >>> encoder = IdentityEncoder(10, 16, (1, 1, 1, 1), 16, 4, width_per_group=16, map_size=3)
        >>> vector, identity_map = encoder(torch.zeros(2, 3, 3, 96, 96))
        >>> vector.shape, identity_map.shape, encoder.classify(vector).shape
        (torch.Size([2, 512]), torch.Size([2, 16, 3, 3]), torch.Size([2, 10]))
    """

    def __init__(
        self,
        num_classes: int = 5830,
        map_channels: int = 512,
        layers: tuple[int, ...] = (3, 4, 6, 3),
        width: int = 64,
        groups: int = 32,
        width_per_group: int = 4,
        map_size: int = 7,
    ) -> None:
        super().__init__()
        self.trunk = ResNeXt(layers, width, groups, width_per_group)
        self.vector_dim = self.trunk.out_channels
        self.map_size = map_size
        self.to_map = nn.Conv2d(self.vector_dim, map_channels, 1)
        self.classifier = nn.Linear(self.vector_dim, num_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode the references of each sample."""
        references = images if images.ndim == 5 else images[:, None]
        features = self.trunk(references.flatten(0, 1))
        vector = features.mean((2, 3))
        identity_map = F.adaptive_avg_pool2d(self.to_map(features), self.map_size)
        grouped = references.shape[:2]
        return vector.unflatten(0, grouped).mean(1), identity_map.unflatten(0, grouped).mean(1)

    def classify(self, vector: Tensor) -> Tensor:
        """Identity logits (B, num_classes) of vectors (B, vector_dim)."""
        return self.classifier(vector)
