"""SyncNet v2, whose features the LSE scores are distances of."""

from pathlib import Path
from typing import Self

from torch import Tensor, nn

from talkingface.models.components.audio_frontends import SyncNetMFCC
from talkingface.models.conversion import convert_state_dict
from talkingface.models.experts.syncnet.embedding import embed_audio, embed_video
from talkingface.models.experts.syncnet.mouths import Box
from talkingface.models.weights import load_state_dict_file


class SyncNet(nn.Module):
    """Bring 0.2 s of a face and of sound to vectors that are close where they are in sync.

    The tensors have the names of the released weights (``syncnet_v2.model``).

    Args:
        width: Channels of the first convolution of sound, even; the vectors have 16 times as many
            entries. The released weights have 64 (13.6 million parameters).

    Shape:
        - mfcc: (N, 1, 13, 20), see
          :class:`~talkingface.models.components.audio_frontends.SyncNetMFCC`
        - faces: (N, 3, 5, 224, 224), see :meth:`windows`
        - output: vectors of sound and of faces, (N, 16 * width) each, of any length

    References:
        Chung and Zisserman, "Out of time: automated lip sync in the wild", ACCV-W 2016,
        https://www.robots.ox.ac.uk/~vgg/software/lipsync

    Example:
        >>> import torch
        >>> network = SyncNet(width=2).eval()
        >>> audio, faces = network(torch.zeros(3, 1, 13, 20), torch.zeros(3, 3, 5, 224, 224))
        >>> audio.shape, faces.shape
        (torch.Size([3, 32]), torch.Size([3, 32]))
    """

    size = (224, 224)
    box: Box = (0.0, 0.0, 1.0, 1.0)

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        w = width
        self.netcnnaud = nn.Sequential(
            *_layer(nn.Conv2d(1, w, 3, padding=1)),
            nn.MaxPool2d(1, 1),
            *_layer(nn.Conv2d(w, 3 * w, 3, padding=1)),
            nn.MaxPool2d(3, (1, 2)),
            *_layer(nn.Conv2d(3 * w, 6 * w, 3, padding=1)),
            *_layer(nn.Conv2d(6 * w, 4 * w, 3, padding=1)),
            *_layer(nn.Conv2d(4 * w, 4 * w, 3, padding=1)),
            nn.MaxPool2d(3, 2),
            *_layer(nn.Conv2d(4 * w, 8 * w, (5, 4))),
        )
        self.netfcaud = _head(w)
        self.netcnnlip = nn.Sequential(
            *_layer(nn.Conv3d(3, 3 * w // 2, (5, 7, 7), (1, 2, 2))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_layer(nn.Conv3d(3 * w // 2, 4 * w, (1, 5, 5), (1, 2, 2), (0, 1, 1))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_layer(nn.Conv3d(4 * w, 4 * w, (1, 3, 3), padding=(0, 1, 1))),
            *_layer(nn.Conv3d(4 * w, 4 * w, (1, 3, 3), padding=(0, 1, 1))),
            *_layer(nn.Conv3d(4 * w, 4 * w, (1, 3, 3), padding=(0, 1, 1))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_layer(nn.Conv3d(4 * w, 8 * w, (1, 6, 6))),
        )
        self.netfclip = _head(w)
        self.front_end = SyncNetMFCC()

    @classmethod
    def from_official(cls, path: str | Path) -> Self:
        """Open the released weights, in eval mode.

        Args:
            path: ``syncnet_v2.model`` of https://www.robots.ox.ac.uk/~vgg/software/lipsync (54 MB,
                its sha256 begins with 961e8696 and ends with 5442).

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged or holds another network.
        """
        network = cls()
        state, _ = convert_state_dict(load_state_dict_file(path), [], network.state_dict())
        network.load_state_dict(state)
        return network.eval()

    @staticmethod
    def windows(faces: Tensor) -> Tensor:
        """Put five frames together: B, G, R in [0, 255].

        Shape:
            - faces: (B, T, 3, 224, 224) RGB in [-1, 1]; output: (B, T - 4, 3, 5, 224, 224).
        """
        faces = (faces.flip(2) + 1) * 127.5
        return faces.unfold(1, 5, 1).movedim(-1, 3)

    def forward(self, mfcc: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Embed windows of sound and of faces."""
        return self.encode_audio(mfcc), self.encode_faces(faces)

    def encode_audio(self, mfcc: Tensor) -> Tensor:
        """Embed windows of sound."""
        return self.netfcaud(self.netcnnaud(mfcc).flatten(1))

    def encode_faces(self, faces: Tensor) -> Tensor:
        """Embed windows of five frames."""
        return self.netfclip(self.lip_features(faces))

    def lip_features(self, faces: Tensor) -> Tensor:
        """Features of windows of five frames before the last layers, (N, 8 * width)."""
        return self.netcnnlip(faces).flatten(1)

    def embed_video(self, frames: Tensor, batch_size: int = 16) -> Tensor:
        """Embed a clip, one row per window of five frames.

        Args:
            frames: RGB in [-1, 1] of any size, cropped as SyncNet's own pipeline or the profile in
                use says; each is scaled to 224 x 224.
            batch_size: Windows at a time.

        Shape:
            - frames: (T, 3, H, W); output: (T - 4, 16 * width). SyncNet's own scores leave the last
              row out.

        Raises:
            ValueError: If frames are of another range or shape, or fewer than five.
        """
        return embed_video(self, frames, self.box, batch_size)

    def embed_audio(self, audio: Tensor, batch_size: int = 256) -> Tensor:
        """Embed the sound of a clip, one row per window of five frames.

        Shape:
            - audio: (samples,), 16 kHz mono in [-1, 1], T = samples // 640 frames; output: (T - 4,
              16 * width).

        Raises:
            ValueError: If the sound is of another shape or shorter than five frames.
        """
        return embed_audio(self, self.front_end, audio, batch_size)


def _layer(convolution: nn.Conv2d | nn.Conv3d) -> list[nn.Module]:
    norm = nn.BatchNorm2d if isinstance(convolution, nn.Conv2d) else nn.BatchNorm3d
    return [convolution, norm(convolution.out_channels), nn.ReLU()]


def _head(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(8 * width, 8 * width),
        nn.BatchNorm1d(8 * width),
        nn.ReLU(),
        nn.Linear(8 * width, 16 * width),
    )
