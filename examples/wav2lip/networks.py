"""Networks of Wav2Lip's generator.

Prajwal et al., "A Lip Sync Expert Is All You Need for Speech to Lip Generation In The Wild" (ACM MM
2020). Images are RGB in [0, 1], as in the authors' code; the module converts.
"""

import torch
from torch import Tensor, nn

from talkingface.models.components.wav2lip import ConvBlock, Wav2LipAudioEncoder, conv_encoder

# Per resolution, the full one first: channels / width, kernel and residual blocks behind the first.
_ENCODER = ((1, 7, 0), (2, 3, 2), (4, 3, 3), (8, 3, 2), (16, 3, 2), (32, 3, 1))
# Per resolution, the lowest first: channels / width and residual blocks behind the first.
_DECODER = ((32, 1), (32, 2), (24, 2), (16, 2), (8, 2), (4, 2))


class UpBlock(nn.Sequential):
    """Transposed convolution, batch norm, ReLU.

    Args:
        before: Channels of the input.
        after: Channels of the output.
        side: Side of the output where the input is one pixel; None doubles the size.

    Shape:
        - input: (B, before, H, W); output: (B, after, 2 H, 2 W) or (B, after, side, side).

    Example:
        >>> UpBlock(8, 4)(torch.zeros(2, 8, 3, 3)).shape
        torch.Size([2, 4, 6, 6])
    """

    def __init__(self, before: int, after: int, side: int | None = None) -> None:
        if side is None:
            conv = nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)
        else:
            conv = nn.ConvTranspose2d(before, after, side)
        super().__init__(conv, nn.BatchNorm2d(after), nn.ReLU())


class Wav2LipNetworks(nn.Module):
    """Paint the mouth of a face whose lower half is hidden, to 0.2 s of sound (section 3.3).

    The face encoder reads the masked frame and a reference of the same person as six channels; the
    decoder begins with the sound's code and takes in the encoder's map at every resolution.

    Args:
        size: Height and width of the frames, a multiple of 32. The paper's is 96.
        width: Channels at full resolution. The paper's is 16 (36 million parameters).

    Shape:
        - masked: (N, 3, size, size), frames with a black lower half; reference: the same.
        - mel: (N, 1, 80, 16), see
          :class:`~talkingface.models.components.audio_frontends.Wav2LipMel`.
        - output: (N, 3, size, size) in (0, 1).

    Raises:
        ValueError: If the size is no multiple of 32.

    Example:
        >>> networks = Wav2LipNetworks(size=64, width=1)
        >>> frames = torch.zeros(2, 3, 64, 64)
        >>> networks(frames, frames, torch.zeros(2, 1, 80, 16)).shape
        torch.Size([2, 3, 64, 64])
    """

    def __init__(self, size: int = 96, width: int = 16) -> None:
        super().__init__()
        side, rest = divmod(size, 32)
        if rest or not side:
            raise ValueError(f"size={size}: give a multiple of 32, which five halvings need.")
        self.audio_encoder = Wav2LipAudioEncoder(2 * width)

        self.face_encoder = nn.ModuleList()
        before = 6
        for factor, kernel, residuals in _ENCODER:
            stride = 1 if before == 6 else 2
            blocks = [(factor, kernel, stride, kernel // 2, False)]
            blocks += [(factor, 3, 1, 1, True)] * residuals
            self.face_encoder.append(conv_encoder(before, width, blocks))
            before = factor * width
        to_code = [(32, side, 1, 0, False), (32, 1, 1, 0, False)]
        self.face_encoder.append(conv_encoder(before, width, to_code))

        self.face_decoder = nn.ModuleList([ConvBlock(before, before, 1, 1, 0, residual=False)])
        skip = before  # channels of the encoder's map that joins
        for (factor, residuals), (other, *_) in zip(_DECODER, reversed(_ENCODER), strict=True):
            up = UpBlock(
                before + skip, factor * width, None if len(self.face_decoder) > 1 else side
            )
            before, skip = factor * width, other * width
            residual = conv_encoder(before, width, [(factor, 3, 1, 1, True)] * residuals)
            self.face_decoder.append(nn.Sequential(up, *residual))
        self.to_rgb = nn.Sequential(
            ConvBlock(before + skip, 2 * width, 3, 1, 1, residual=False),
            nn.Conv2d(2 * width, 3, 1),
            nn.Sigmoid(),
        )

    def forward(self, masked: Tensor, reference: Tensor, mel: Tensor) -> Tensor:
        """Paint frames."""
        x, maps = torch.cat([masked, reference], 1), []
        for stage in self.face_encoder:
            x = stage(x)
            maps.append(x)
        x = self.audio_encoder(mel)[:, :, None, None]
        for stage in self.face_decoder:
            x = torch.cat([stage(x), maps.pop()], 1)
        return self.to_rgb(x)
