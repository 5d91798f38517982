"""The network of Wav2Lip's lip-sync expert."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from talkingface.models.components.wav2lip import conv_encoder
from talkingface.models.experts.syncnet.mouths import Box

# Blocks as (channels / width, kernel, stride, padding, residual).
_FACE = [
    (1, 7, 1, 3, False),
    (2, 5, (1, 2), 1, False),
    *[(2, 3, 1, 1, True)] * 2,
    (4, 3, 2, 1, False),
    *[(4, 3, 1, 1, True)] * 3,
    (8, 3, 2, 1, False),
    *[(8, 3, 1, 1, True)] * 2,
    (16, 3, 2, 1, False),
    *[(16, 3, 1, 1, True)] * 2,
    (16, 3, 2, 1, False),
    (16, 3, 1, 0, False),
    (16, 1, 1, 0, False),
]
_AUDIO = [
    (1, 3, 1, 1, False),
    *[(1, 3, 1, 1, True)] * 2,
    (2, 3, (3, 1), 1, False),
    *[(2, 3, 1, 1, True)] * 2,
    (4, 3, 3, 1, False),
    *[(4, 3, 1, 1, True)] * 2,
    (8, 3, (3, 2), 1, False),
    *[(8, 3, 1, 1, True)] * 2,
    (16, 3, 1, 0, False),
    (16, 1, 1, 0, False),
]


class Wav2LipSync(nn.Module):
    """Bring 0.2 s of a mouth and of sound to vectors whose cosine says whether they are in sync.

    All entries are 0 or more because of the last ReLU, so that the cosine lies in [0, 1] and can be
    read as a probability. The tensors have the names of the released weights.

    Args:
        width: Channels of the first blocks; the vectors have 16 times as many entries. The released
            weights have 32 (16.4 million parameters).

    Shape:
        - mel: (N, 1, 80, 16), see
          :class:`~talkingface.models.components.audio_frontends.Wav2LipMel`
        - faces: (N, 15, 48, 96), see :meth:`windows`
        - output: vectors of sound and of faces, (N, 16 * width) each, of length one

    References:
        Prajwal et al., "A Lip Sync Expert Is All You Need for Speech to Lip Generation In The
        Wild", ACM MM 2020, section 3.2, https://arxiv.org/abs/2008.10010

    Example:
        >>> network = Wav2LipSync(width=2)
        >>> audio, faces = network(torch.zeros(3, 1, 80, 16), torch.zeros(3, 15, 48, 96))
        >>> audio.shape, faces.shape
        (torch.Size([3, 32]), torch.Size([3, 32]))
    """

    size = (48, 96)
    box: Box = (0.5, 0.0, 1.0, 1.0)

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.face_encoder = conv_encoder(15, width, _FACE)
        self.audio_encoder = conv_encoder(1, width, _AUDIO)
        # Twice as fast on CPUs in bfloat16.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @staticmethod
    def windows(mouths: Tensor) -> Tensor:
        """Put five frames together: channels B, G, R of frame after frame, in [0, 1].

        Shape:
            - mouths: (B, T, 3, 48, 96) RGB in [-1, 1]; output: (B, T - 4, 15, 48, 96).
        """
        mouths = (mouths.flip(2) + 1) / 2
        return mouths.unfold(1, 5, 1).movedim(-1, 2).flatten(2, 3)

    def forward(self, mel: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Embed sound and faces."""
        return self.encode_audio(mel), self.encode_faces(faces)

    def encode_audio(self, mel: Tensor) -> Tensor:
        """Embed windows of sound."""
        return _unit(self.audio_encoder(mel))

    def encode_faces(self, faces: Tensor) -> Tensor:
        """Embed windows of five frames."""
        return _unit(self.face_encoder(faces))


def _unit(features: Tensor) -> Tensor:
    # In half precision the cosines would have few values.
    return cast(Tensor, F.normalize(features.flatten(1).float(), dim=1))
