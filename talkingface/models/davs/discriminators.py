"""DAVS's adversaries: of frames and sequences, of the two domains, and of what the codes leak."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from talkingface.models.davs.networks import MFCCTrunk

MOUTH = (19 / 31, 11 / 31, 9 / 31)
"""Top, left and side of the mouth in the feature map, as fractions of its side."""


class SpeakingDiscriminator(nn.Module):
    """Discriminator of one frame or a short sequence: patches, and mouth and sound together.

    The joint head sees the mouth's part of the features next to the sound, so a mouth that is
    sharp but does not fit what is heard is fake to it.

    Args:
        size: Side of the frames, divisible by 8, at least 32.
        frames: Frames stacked as channels: 1, or the length of the sequence.
        channels: Channels of the first layer.

    Shape:
        - frames: (B, 3 * frames, size, size) in [0, 1]; mfcc: (B, frames, 20, 12).
        - output: patch logits (B, 1, h, w) with h = size / 8 - 2, and joint logits (B, 1).

    Raises:
        ValueError: If the size does not fit.

    Example:
        >>> discriminator = SpeakingDiscriminator(32, frames=2, channels=4)
        >>> patch, joint = discriminator(torch.zeros(2, 6, 32, 32), torch.zeros(2, 2, 20, 12))
        >>> patch.shape, joint.shape
        (torch.Size([2, 1, 2, 2]), torch.Size([2, 1]))
    """

    def __init__(self, size: int = 256, frames: int = 1, channels: int = 64) -> None:
        super().__init__()
        if size % 8 or size < 32:
            raise ValueError(f"frames of {size} px: give a multiple of 8, at least 32")
        wide = 8 * channels
        layers: list[nn.Module] = [nn.Conv2d(3 * frames, channels, 4, 2, 1), nn.LeakyReLU(0.2)]
        for before, after, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
            layers += [
                nn.Conv2d(before * channels, after * channels, 4, stride, 1, bias=False),
                nn.BatchNorm2d(after * channels),
                nn.LeakyReLU(0.2),
            ]
        self.trunk = nn.Sequential(*layers)
        self.patch = nn.Conv2d(wide, 1, 4, padding=1)
        whole = size // 8 - 1
        top, left, side = (round(fraction * whole) for fraction in MOUTH)
        self.side = max(side, 3)
        self.top, self.left = min(top, whole - self.side), min(left, whole - self.side)
        self.mouth = nn.Sequential(
            nn.Conv2d(wide, wide, 3, bias=False),
            nn.BatchNorm2d(wide),
            nn.LeakyReLU(0.2),
            nn.Conv2d(wide, wide, self.side - 2),
            nn.LeakyReLU(0.2),
        )
        sound = (channels, 2 * channels, 4 * channels, 4 * channels)
        # As released: no nonlinearity between the layers of the sound's branch.
        self.sound = MFCCTrunk(frames, sound, slope=1.0, last_norm=True)
        self.joint = nn.Sequential(nn.Linear(wide + sound[-1], wide), nn.Linear(wide, 1))

    def forward(self, frames: Tensor, mfcc: Tensor) -> tuple[Tensor, Tensor]:
        """Judge frames."""
        features = self.trunk(frames)
        rows, columns = (slice(x, x + self.side) for x in (self.top, self.left))
        mouth = self.mouth(features[:, :, rows, columns]).flatten(1)
        return self.patch(features), self.joint(torch.cat([mouth, self.sound(mfcc)], 1))


class DomainDiscriminator(nn.Module):
    """Says of a word embedding whether it comes from sound (positive) or from lips.

    Shape:
        - embedding: (..., dim); output: (..., 1) logits.

    Example:
        >>> DomainDiscriminator(8)(torch.zeros(2, 3, 8)).shape
        torch.Size([2, 3, 1])
    """

    def __init__(self, dim: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 1))

    def forward(self, embedding: Tensor) -> Tensor:
        """Judge embeddings."""
        return self.layers(embedding)


def lower_mean(vectors: Tensor) -> Tensor:
    """Take nine tenths of its mean off a sequence of person vectors.

    Who somebody is outweighs what moves in these vectors by far. For a linear classifier nothing is
    lost by this invertible map, but gradients and penalties then reach the words.

    Shape:
        - vectors: (..., frames, dim); output: the same.

    Example:
        >>> lower_mean(torch.tensor([[9.0], [11.0]]))
        tensor([[0.],
                [2.]])
    """
    return vectors - 0.9 * vectors.mean(-2, keepdim=True)


class VectorWordClassifier(nn.Module):
    r"""Word that the person vectors of a sequence betray, :math:`C_p^w` of the paper.

    Args:
        num_words: Number of words.
        frames: Length of the sequence.
        dim: Length of a vector.

    Shape:
        - vectors: (B, frames, dim); output: (B, num_words) logits.

    Example:
        >>> VectorWordClassifier(5, 3, 8)(torch.zeros(2, 3, 8)).shape
        torch.Size([2, 5])
    """

    def __init__(self, num_words: int = 500, frames: int = 20, dim: int = 256) -> None:
        super().__init__()
        self.fc = nn.Linear(frames * dim, num_words)

    def forward(self, vectors: Tensor) -> Tensor:
        """Score the words."""
        return self.fc(vectors.flatten(1))


class MapWordClassifier(nn.Module):
    """Word that the person encoder's first maps betray, as the released training asks.

    Args:
        num_words: Number of words.
        frames: Length of the sequence.
        size: Side of the maps.
        channels: Channels of the maps.
        hidden: Numbers that a frame is brought to.

    Shape:
        - maps: (B, frames, channels, size, size); output: (B, num_words) logits.

    Example:
        >>> MapWordClassifier(5, 3, 8, 4, 6)(torch.zeros(2, 3, 4, 8, 8)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        num_words: int = 500,
        frames: int = 20,
        size: int = 64,
        channels: int = 64,
        hidden: int = 128,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 3, stride=2, padding=1)
        self.hidden = nn.Linear(((size + 1) // 2) ** 2, hidden)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(frames * hidden, num_words)

    def forward(self, maps: Tensor) -> Tensor:
        """Score the words."""
        squeezed = F.relu(self.conv(maps.flatten(0, 1))).flatten(1)
        hidden = self.hidden(squeezed).unflatten(0, maps.shape[:2])
        return self.fc(self.dropout(hidden.flatten(1)))
