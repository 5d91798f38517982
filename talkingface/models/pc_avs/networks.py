"""Networks of PC-AVS.

Zhou et al., "Pose-Controllable Talking Face Generation by Implicitly Modularized Audio-Visual
Representation" (CVPR 2021). The defaults are the architecture of the released checkpoints.
"""

import torch
from torch import Tensor, nn

from talkingface.models.components.audio_encoders import ResNetSE
from talkingface.models.components.fan import FAN, HeatmapPool
from talkingface.models.components.identity_encoder import IdentityEncoder
from talkingface.models.components.stylegan2 import MappingNetwork, Modulation, Noise
from talkingface.models.components.stylegan2_generator import Synthesis


class NonIdentityEncoder(nn.Module):
    """Non-identity encoder: frame to feature, from which speech content and head pose are read.

    Args:
        size: Side of the frames, divisible by 4.
        num_classes: Classes of the classifiers that training uses to remove identity.
        content_dim: Length of the content code that the generator takes.
        pose_dim: Length of the pose code.
        feature_dim: Length of the feature and of the content shared with the audio encoder.
        channels: Width of the face alignment trunk.
        depth: How often its hourglass halves.
        landmarks: Number of its maps.

    Shape:
        - frames: (B, 3, size, size) in [-1, 1]; output: (B, feature_dim).

    Example:
        >>> encoder = NonIdentityEncoder(64, 10, channels=16, landmarks=5)
        >>> feature = encoder(torch.zeros(2, 3, 64, 64))
        >>> code = encoder.content_code(encoder.content(feature))
        >>> feature.shape, code.shape, encoder.pose(feature).shape
        (torch.Size([2, 512]), torch.Size([2, 500]), torch.Size([2, 12]))
    """

    def __init__(
        self,
        size: int = 224,
        num_classes: int = 5830,
        content_dim: int = 500,
        pose_dim: int = 12,
        feature_dim: int = 512,
        channels: int = 256,
        depth: int = 4,
        landmarks: int = 68,
    ) -> None:
        super().__init__()
        self.trunk = FAN(landmarks, channels, depth)
        self.pool = HeatmapPool(landmarks, size // 4, feature_dim)
        self.to_content = _mlp(feature_dim, feature_dim)
        self.content_embedding = nn.Sequential(nn.ReLU(), nn.Linear(feature_dim, content_dim))
        self.to_pose = _mlp(feature_dim, feature_dim)
        self.pose_embedding = nn.Sequential(nn.ReLU(), nn.Linear(feature_dim, pose_dim))
        self.classifier = _mlp(feature_dim, num_classes)
        self.content_classifier = nn.Sequential(nn.ReLU(), nn.Linear(feature_dim, num_classes))
        self.pose_classifier = nn.Sequential(nn.ReLU(), nn.Linear(pose_dim, num_classes))
        # PyTorch's own initialisation shrinks what differs between frames layer by layer: the
        # pose code would begin constant, and the generator would learn to do without it.
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames."""
        return self.pool(self.trunk(frames))

    def content(self, feature: Tensor) -> Tensor:
        """Speech content (B, feature_dim), the space shared with :class:`AudioEncoder`."""
        return self.to_content(feature)

    def content_code(self, content: Tensor) -> Tensor:
        """Content code (B, content_dim) for the generator, of content from frames or from sound."""
        return self.content_embedding(content)

    def pose(self, feature: Tensor) -> Tensor:
        """Head pose code (B, pose_dim)."""
        return self.pose_embedding(self.to_pose(feature))

    def classify(self, feature: Tensor) -> Tensor:
        """Identity logits (B, num_classes) of the whole feature."""
        return self.classifier(feature)

    def classify_content(self, content: Tensor) -> Tensor:
        """Identity logits (B, num_classes) of the content (B, feature_dim)."""
        return self.content_classifier(content)

    def classify_pose(self, pose: Tensor) -> Tensor:
        """Identity logits (B, num_classes) of the pose code (B, pose_dim)."""
        return self.pose_classifier(pose)


class AudioEncoder(nn.Module):
    """Audio content encoder: mel window to content, in the space of `NonIdentityEncoder.content`.

    Args:
        num_classes: Classes of the classifier (training only).
        channels: Channels of the stages.
        layers: Blocks per stage.
        feature_dim: Length of the content.
        mels: Mel bands.

    Shape:
        - mel: (B, 1, mels, 20) in [0, 1]; output: (B, feature_dim).

    Example:
        >>> encoder = AudioEncoder(10, (4, 8, 8, 16), (1, 1, 1, 1), feature_dim=32)
        >>> content = encoder(torch.zeros(2, 1, 80, 20))
        >>> content.shape, encoder.classify(content).shape
        (torch.Size([2, 32]), torch.Size([2, 10]))
    """

    def __init__(
        self,
        num_classes: int = 5830,
        channels: tuple[int, ...] = (32, 64, 128, 256),
        layers: tuple[int, ...] = (3, 4, 6, 3),
        feature_dim: int = 512,
        mels: int = 80,
    ) -> None:
        super().__init__()
        self.trunk = ResNetSE(feature_dim, channels, layers, mels)
        self.classifier = nn.Linear(feature_dim, num_classes)

    def forward(self, mel: Tensor) -> Tensor:
        """Encode mel windows."""
        return self.trunk(mel)

    def classify(self, content: Tensor) -> Tensor:
        """Logits (B, num_classes) of content (B, feature_dim)."""
        return self.classifier(content)


class Generator(nn.Module):
    """StyleGAN2-like generator that starts from the identity map; one style for every layer.

    Args:
        size: Side of the images.
        style_dim: Length of the style: identity vector, content code and pose code together.
        channels: Channels per level; the start size is size / 2 ** (len(channels) - 1).
        map_channels: Channels of the identity map.
        modulation: "weight", or "adain" for the ablation of the paper.
        mapping_layers: Layers of the mapping network that official checkpoints carry. The method
            never runs it: the style goes into the layers as it is. 0 leaves it out.

    Shape:
        - style: (B, style_dim); identity_map: (B, map_channels, s, s), or None for the learned
          constant.
        - output: (B, 3, size, size) in [-1, 1].

    Example:
        >>> generator = Generator(96, 32, (16, 16, 8, 8, 8, 4), map_channels=16)
        >>> generator(torch.randn(2, 32), torch.randn(2, 16, 3, 3)).shape
        torch.Size([2, 3, 96, 96])
    """

    def __init__(
        self,
        size: int = 224,
        style_dim: int = 2560,
        channels: tuple[int, ...] = (512, 512, 512, 512, 256, 128),
        map_channels: int = 512,
        modulation: Modulation = "weight",
        mapping_layers: int = 0,
    ) -> None:
        super().__init__()
        self.synthesis = Synthesis(size, style_dim, channels, map_channels, modulation)
        self.mapping = MappingNetwork(style_dim, mapping_layers) if mapping_layers else None
        self.style_dim = style_dim
        # Training takes a fifth less time on CPUs in bfloat16.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self, style: Tensor, identity_map: Tensor | None = None, noise: Noise = "fixed"
    ) -> Tensor:
        """Generate images."""
        return torch.tanh(self.synthesis(style, identity_map, noise))


class PCAVSNetworks(nn.Module):
    """All networks that PC-AVS generates with.

    Args:
        size: Side of the images.
        num_classes: Identities of the training set.
        content_dim: Length of the content code.
        pose_dim: Length of the pose code.
        feature_dim: Length of the content shared by frames and sound.
        identity_layers: Blocks per stage of the identity encoder.
        identity_width: Planes of its first stage; the identity vector has 32 times as many numbers.
        identity_groups: Groups of its 3x3 convolutions.
        identity_width_per_group: Channels per group in a stage of 64 planes.
        fan_channels: Width of the non-identity encoder.
        fan_depth: How often its hourglass halves.
        landmarks: Number of its maps.
        audio_channels: Channels of the audio encoder's stages.
        audio_layers: Blocks of the audio encoder's stages.
        generator_channels: Channels of the generator's levels.
        map_channels: Channels of the identity map.
        modulation: "weight", or "adain" for the ablation of the paper.
        mapping_layers: See :class:`Generator`.

    Shape:
        - source: (B, N, 3, size, size), references in [-1, 1].
        - mel: (B, 1, 80, 20) in [0, 1].
        - driving: (B, 3, size, size), the frame whose head pose is taken.
        - output: (B, 3, size, size) in [-1, 1].

    Example:
        >>> networks = PCAVSNetworks(
        ...     64,
        ...     num_classes=10,
        ...     identity_layers=(1, 1, 1, 1),
        ...     identity_width=16,
        ...     identity_width_per_group=4,
        ...     fan_channels=16,
        ...     audio_channels=(4, 8, 8, 16),
        ...     audio_layers=(1, 1, 1, 1),
        ...     generator_channels=(16, 16, 8, 8, 4),
        ...     map_channels=16,
        ... ).eval()
        >>> source, mel = torch.zeros(2, 3, 3, 64, 64), torch.zeros(2, 1, 80, 20)
        >>> networks(source, mel, driving=torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 3, 64, 64])
    """

    def __init__(
        self,
        size: int = 224,
        num_classes: int = 5830,
        content_dim: int = 500,
        pose_dim: int = 12,
        feature_dim: int = 512,
        identity_layers: tuple[int, ...] = (3, 4, 6, 3),
        identity_width: int = 64,
        identity_groups: int = 32,
        identity_width_per_group: int = 4,
        fan_channels: int = 256,
        fan_depth: int = 4,
        landmarks: int = 68,
        audio_channels: tuple[int, ...] = (32, 64, 128, 256),
        audio_layers: tuple[int, ...] = (3, 4, 6, 3),
        generator_channels: tuple[int, ...] = (512, 512, 512, 512, 256, 128),
        map_channels: int = 512,
        modulation: Modulation = "weight",
        mapping_layers: int = 0,
    ) -> None:
        super().__init__()
        self.identity_encoder = IdentityEncoder(
            num_classes,
            map_channels,
            identity_layers,
            identity_width,
            identity_groups,
            identity_width_per_group,
            map_size=size // 2 ** (len(generator_channels) - 1),
        )
        self.non_identity_encoder = NonIdentityEncoder(
            size,
            num_classes,
            content_dim,
            pose_dim,
            feature_dim,
            fan_channels,
            fan_depth,
            landmarks,
        )
        self.audio_encoder = AudioEncoder(num_classes, audio_channels, audio_layers, feature_dim)
        self.generator = Generator(
            size,
            self.identity_encoder.vector_dim + content_dim + pose_dim,
            generator_channels,
            map_channels,
            modulation,
            mapping_layers,
        )

    def style(self, identity: Tensor, content: Tensor, pose: Tensor) -> Tensor:
        """Join the codes to a style.

        Shape:
            - identity: (B, vector_dim); content: (B, feature_dim), of frames or of sound;
              pose: (B, pose_dim).
            - output: (B, vector_dim + content_dim + pose_dim).
        """
        return torch.cat([identity, self.non_identity_encoder.content_code(content), pose], 1)

    def forward(
        self, source: Tensor, mel: Tensor, driving: Tensor, content_scale: float = 1.0
    ) -> Tensor:
        """Generate the frame of one mel window: identity of `source`, head pose of `driving`."""
        identity, identity_map = self.identity_encoder(source)
        content = content_scale * self.audio_encoder(mel)
        pose = self.non_identity_encoder.pose(self.non_identity_encoder(driving))
        return self.generator(self.style(identity, content, pose), identity_map)


def _mlp(in_features: int, out_features: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(in_features, in_features), nn.ReLU(), nn.Linear(in_features, out_features)
    )
