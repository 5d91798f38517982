"""Networks of DAVS's generator side.

Zhou et al., "Talking Face Generation by Adversarially Disentangled Audio-Visual Representation"
(AAAI 2019). The defaults are the architecture of the released checkpoint. Images are RGB in
[0, 1], as the released weights expect them; the modules of this package convert.
"""

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor, nn

from talkingface.models.components.fan import FAN, HeatmapPool

PersonBackbone = Literal["maxout", "vggm"]
"""Person-ID encoders: the released maxout network, and the paper's VGG-M."""

SKIPS = {2: 0, 4: 1, 8: 2}
"""How many times smaller than the image a person encoder's map is -> which of its maps it is."""


class Maxout(nn.Module):
    """Two convolutions with batch norm, of which the larger output counts, element by element.

    Shape:
        - input: (B, in_channels, H, W); output: (B, out_channels, H / stride, W / stride).

    Example:
        >>> Maxout(3, 8, 7, stride=2)(torch.zeros(1, 3, 16, 16)).shape
        torch.Size([1, 8, 8, 8])
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1
    ) -> None:
        super().__init__()

        def branch() -> nn.Sequential:
            conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2)
            return nn.Sequential(conv, nn.BatchNorm2d(out_channels))

        self.a, self.b = branch(), branch()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return torch.maximum(self.a(x), self.b(x))


class MaxoutEncoder(nn.Module):
    """Released person-ID encoder: a light maxout network without any other nonlinearity.

    Args:
        stages: Channels of the blocks, stage by stage; the first stage is the stem. Sizes halve
            between stages, the last one has 5x5 kernels.

    Shape:
        - images: (B, 3, H, W) in [0, 1].
        - output: vector (B, stages[-1][-1]), and a map per stage, the first at H / 2, each at half
          the size of the one before.

    Raises:
        ValueError: If there are not enough stages for the decoder's skip connection.

    Example:
        >>> encoder = MaxoutEncoder(((4,), (4, 8), (8,), (16,)))
        >>> vector, maps = encoder(torch.zeros(2, 3, 64, 64))
        >>> vector.shape, [tuple(m.shape[1:]) for m in maps]
        (torch.Size([2, 16]), [(4, 32, 32), (8, 16, 16), (8, 8, 8), (16, 4, 4)])
    """

    def __init__(
        self,
        stages: tuple[tuple[int, ...], ...] = (
            (32,),
            (32, 32, 64, 64),
            (96, 96, 128, 128, 160, 160),
            (320, 320, 320, 320),
            (256, 256),
        ),
    ) -> None:
        super().__init__()
        if len(stages) < len(SKIPS) or not all(stages):
            raise ValueError(f"give {len(SKIPS)} stages of channels or more, got {stages}")
        self.stem = Maxout(3, stages[0][-1], 7, stride=2)
        self.stages = nn.ModuleList()
        for number, (before, channels) in enumerate(pairwise(stages), start=1):
            kernel_size = 5 if number == len(stages) - 1 else 3
            widths = pairwise((before[-1], *channels))
            self.stages.append(nn.Sequential(*(Maxout(*width, kernel_size) for width in widths)))
        self.map_channels = [channels[-1] for channels in stages]
        self.dim = stages[-1][-1]

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Encode images."""
        x = self.stem(images)
        maps = [x]
        for stage in self.stages:
            x = stage(F.max_pool2d(x, 2))
            maps.append(x)
        return x.mean((2, 3)), maps


class VGGMEncoder(nn.Module):
    """The paper's person-ID encoder, a modified VGG-M.

    Args:
        channels: Channels of the seven convolutions; the last is the length of the vector. The
            released code's unused encoder ends with 512, the paper's latent codes have 256.

    Shape:
        - images: (B, 3, H, W) in [0, 1], H and W divisible by 32.
        - output: vector (B, channels[-1]), and maps at H / 2, H / 4, H / 8, H / 16 and H / 32.

    Example:
        >>> encoder = VGGMEncoder((4, 4, 8, 8, 8, 8, 16))
        >>> vector, maps = encoder(torch.zeros(2, 3, 64, 64))
        >>> vector.shape, [tuple(m.shape[1:]) for m in maps]
        (torch.Size([2, 16]), [(4, 32, 32), (8, 16, 16), (8, 8, 8), (16, 4, 4), (16, 2, 2)])
    """

    def __init__(self, channels: tuple[int, ...] = (64, 128, 256, 256, 512, 512, 256)) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU())
            for before, after in pairwise((3, *channels))
        )
        self.map_channels = [channels[i] for i in (1, 3, 4, 6, 6)]
        self.dim = channels[-1]

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Encode images."""
        x, maps = images, []
        for number, conv in enumerate(self.convs):
            x = conv(x)
            if number in (1, 3, 4, 6):
                maps.append(x)
            if number not in (2, 5):
                x = F.max_pool2d(x, 2)
        maps.append(x)
        return x.mean((2, 3)), maps


class LipEncoder(nn.Module):
    """Video word-ID encoder: a frame through a face alignment trunk.

    Args:
        size: Side of the frames, divisible by 4.
        dim: Length of the embedding.
        channels: Width of the trunk.
        depth: How often its hourglass halves.
        landmarks: Number of its maps.

    Shape:
        - frames: (B, 3, size, size) in [0, 1]; output: (B, dim).

    Example:
        >>> LipEncoder(32, 16, channels=16, depth=2, landmarks=5)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 16])
    """

    def __init__(
        self,
        size: int = 256,
        dim: int = 256,
        channels: int = 256,
        depth: int = 4,
        landmarks: int = 68,
    ) -> None:
        super().__init__()
        self.trunk = FAN(landmarks, channels, depth, align_corners=True)
        self.pool = HeatmapPool(landmarks, size // 4, dim)
        # While nothing is known of words yet, what passes the head's one channel is noise, which
        # training silences: half open and at full strength, its ReLU closes for good within some
        # tens of updates. So it starts open everywhere, with a small voice, and so that opening or
        # closing it everywhere alike changes nothing.
        with torch.no_grad():
            self.pool.conv.bias.fill_(1.0)  # type: ignore[union-attr]
            weight = self.pool.fc.weight
            weight.copy_(0.1 * (weight - weight.mean(1, keepdim=True)))

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames."""
        return self.pool(self.trunk(frames))


class MFCCTrunk(nn.Module):
    """Convolutions that bring MFCC windows to a vector, in the encoder and the discriminators.

    Args:
        windows: Windows that are stacked as channels.
        channels: Channels of the four convolutions.
        slope: Of the leaky ReLU behind the first three norms; 1 leaves it out.
        last_norm: Normalise the result as well.

    Shape:
        - mfcc: (B, windows, 20, 12); output: (B, channels[-1]).

    Example:
        >>> MFCCTrunk(6, (4, 4, 8, 8))(torch.zeros(2, 6, 20, 12)).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        windows: int,
        channels: tuple[int, ...],
        slope: float = 0.2,
        last_norm: bool = False,
    ) -> None:
        super().__init__()
        kernels = ((3, (3, 2), (1, 2)), (3, 2, 1), (3, 1, 0), (2, 1, 0))
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, *kernel, bias=False)  # type: ignore[arg-type]
            for (before, after), kernel in zip(pairwise((windows, *channels)), kernels, strict=True)
        )
        normed = channels if last_norm else channels[:-1]
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in normed)
        self.slope = slope

    def forward(self, mfcc: Tensor) -> Tensor:
        """Encode windows."""
        x = mfcc
        for number, conv in enumerate(self.convs):
            x = conv(x)
            if number < len(self.norms):
                x = F.leaky_relu(self.norms[number](x), self.slope)
        return x.flatten(1)


class AudioEncoder(nn.Module):
    """Audio word-ID encoder: an MFCC window through two branches, square and all cepstra at once.

    Args:
        dim: Length of the embedding.
        channels: Channels of the square branch; the other one has the first and the last two.

    Shape:
        - mfcc: (B, 20, 12), time by cepstra; output: (B, dim).

    Example:
        >>> AudioEncoder(16, (4, 4, 8, 8))(torch.zeros(2, 20, 12)).shape
        torch.Size([2, 16])
    """

    def __init__(self, dim: int = 256, channels: tuple[int, ...] = (64, 128, 256, 512)) -> None:
        super().__init__()
        first, _, third, last = channels
        self.square = MFCCTrunk(1, channels)
        self.tall = nn.ModuleList(
            [
                nn.Conv2d(1, first, (3, 12), bias=False),
                nn.Conv2d(first, third, (3, 1), padding=(1, 0), bias=False),
                nn.Conv2d(third, last, (3, 1), bias=False),
            ]
        )
        self.norms = nn.ModuleList([nn.BatchNorm2d(first), nn.BatchNorm2d(third)])
        self.fc = nn.Linear(2 * last, dim)

    def forward(self, mfcc: Tensor) -> Tensor:
        """Encode windows."""
        x = mfcc[:, None]
        # The released code keeps every third and every second row by max-pooling of kernel 1.
        tall = F.leaky_relu(self.norms[0](self.tall[0](x)), 0.2)[:, :, ::3]
        tall = F.leaky_relu(self.norms[1](self.tall[1](tall)), 0.2)[:, :, ::2]
        return self.fc(torch.cat([self.square(x), self.tall[2](tall).flatten(1)], 1))


class Decoder(nn.Module):
    """Decoder with bilinear up-sampling, which an identity map joins on the way.

    Args:
        size: Side of the images, divisible by 2 ** len(blocks).
        dim: Length of the person and the word embedding together.
        skip_channels: Channels of the identity map.
        blocks: Convolutions and channels per resolution, the lowest first; three or more.
        skip: How many times smaller than the image that map is: 8, 4 or 2.
        blend: Paint a mask as well, through which the image is laid over the photo.

    Shape:
        - code: (B, dim); identity: (B, skip_channels, size / skip, size / skip).
        - photo: (B, 3, size, size) in [0, 1], needed to blend.
        - output: (B, 3, size, size) in (0, 1).

    Raises:
        ValueError: If the size does not divide, there are fewer than three blocks, or the map has
            another size.

    Example:
        >>> decoder = Decoder(32, 32, 8, ((1, 16), (1, 8), (1, 8)))
        >>> decoder(torch.zeros(2, 32), torch.zeros(2, 8, 4, 4)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        size: int = 256,
        dim: int = 512,
        skip_channels: int = 160,
        blocks: tuple[tuple[int, int], ...] = (
            (2, 512),
            (3, 512),
            (4, 256),
            (4, 256),
            (3, 128),
            (2, 64),
        ),
        skip: int = 8,
        blend: bool = False,
    ) -> None:
        super().__init__()
        if skip not in SKIPS:
            raise ValueError(
                f"skip={skip}: the identity map is 8, 4 or 2 times smaller than the image."
            )
        start, rest = divmod(size, 2 ** len(blocks))
        if rest or not start or len(blocks) < 3:
            raise ValueError(
                f"images of {size} px cannot be reached by doubling {len(blocks)} times, or that "
                "is fewer than 3 times: choose another size or number of blocks"
            )
        width = blocks[0][1]
        self.start = nn.Sequential(
            nn.ConvTranspose2d(dim, width, start), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.joins = len(blocks) - skip.bit_length() + 1
        self.blocks = nn.ModuleList()
        for level, (repeats, channels) in enumerate(blocks):
            layers: list[nn.Module] = []
            width += skip_channels if level == self.joins else 0
            for before, after in pairwise((width, *([channels] * repeats))):
                conv = nn.Conv2d(before, after, 3, padding=1)
                layers += [conv, nn.BatchNorm2d(after), nn.ReLU()]
            self.blocks.append(nn.Sequential(*layers))
            width = channels
        self.to_rgb = nn.Sequential(
            nn.ConvTranspose2d(width, width // 2, 3, padding=1),
            nn.BatchNorm2d(width // 2),
            nn.ReLU(),
            last := nn.ConvTranspose2d(width // 2, 4 if blend else 3, 3, padding=1),
            nn.Tanh(),
        )
        self.blend = blend
        if blend:
            with torch.no_grad():
                last.bias[3] = -0.5  # type: ignore[index]  # begin with three quarters of the photo
        # Twice as fast on CPUs in bfloat16.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, code: Tensor, identity: Tensor, photo: Tensor | None = None) -> Tensor:
        """Paint images."""
        x = self.start(code[:, :, None, None])
        for level, block in enumerate(self.blocks):
            if level == self.joins:
                x = torch.cat([identity, x], 1)
            # All that PyTorch had before 0.4, with which the released weights were trained.
            x = F.interpolate(block(x), scale_factor=2, mode="bilinear", align_corners=True)
        painted = (self.to_rgb(x) + 1) / 2
        if not self.blend:
            return painted
        if photo is None:
            raise ValueError("photo is missing: this decoder lays what it paints over it.")
        # Not torch.lerp, which refuses the two precisions of autocast.
        return photo + painted[:, 3:] * (painted[:, :3] - photo)


class VGGMDecoder(nn.Module):
    """The released code's decoder of transposed convolutions, which its model does not use.

    Args:
        dim: Length of the person and the word embedding together.
        skip_channels: Channels of the identity map.
        channels: Channels of the transposed convolutions; the second output meets the map.

    Shape:
        - code: (B, dim); skip: (B, skip_channels, 32, 32); output: (B, 3, 256, 256) in (0, 1).

    Example:
        >>> decoder = VGGMDecoder(16, 4, (8, 8, 8, 4, 4, 4, 4))
        >>> decoder(torch.zeros(1, 16), torch.zeros(1, 4, 32, 32)).shape
        torch.Size([1, 3, 256, 256])
    """

    def __init__(
        self,
        dim: int = 768,
        skip_channels: int = 512,
        channels: tuple[int, ...] = (512, 512, 512, 256, 128, 64, 64),
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for level, (before, after) in enumerate(pairwise((dim, *channels))):
            kernel = (8, 1, 0) if level == 0 else (3, 1, 1) if level == 6 else (4, 2, 1)
            width = before + skip_channels if level == 3 else before
            conv = nn.ConvTranspose2d(width, after, *kernel, bias=level == 3)
            block = [conv, nn.BatchNorm2d(after), *([nn.ReLU()] if level else [])]
            self.blocks.append(nn.Sequential(*block))
        self.to_rgb = nn.Sequential(nn.Conv2d(channels[-1], 3, 1), nn.Tanh())

    def forward(self, code: Tensor, skip: Tensor) -> Tensor:
        """Paint images."""
        x = code[:, :, None, None]
        for level, block in enumerate(self.blocks):
            x = block(torch.cat([skip, x], 1) if level == 3 else x)
        return (self.to_rgb(x) + 1) / 2


class WordClassifier(nn.Module):
    r"""Word of a sequence of embeddings, :math:`C_w`.

    Args:
        num_words: Number of words.
        frames: Length of the sequence.
        dim: Length of an embedding.
        hidden: Width of the hidden layer.

    Shape:
        - embeddings: (B, frames, dim); output: (B, num_words) logits.

    Example:
        >>> WordClassifier(5, 3, 8, 16)(torch.zeros(2, 3, 8)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self, num_words: int = 500, frames: int = 12, dim: int = 256, hidden: int = 512
    ) -> None:
        super().__init__()
        self.hidden = nn.Linear(frames * dim, hidden)
        self.fc = nn.Linear(hidden, num_words)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Score the words."""
        return self.fc(F.relu(self.hidden(embeddings.flatten(1))))


class PersonClassifier(nn.Module):
    r"""Person of one embedding: of the pid space, and, as :math:`C_w^p`, of the wid space.

    Args:
        num_identities: Number of people.
        dim: Length of an embedding.

    Shape:
        - embedding: (B, dim); output: (B, num_identities) logits.

    Example:
        >>> PersonClassifier(5, 8)(torch.zeros(2, 8)).shape
        torch.Size([2, 5])
    """

    def __init__(self, num_identities: int = 40145, dim: int = 256) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(dim, num_identities)

    def forward(self, embedding: Tensor) -> Tensor:
        """Score the people."""
        return self.fc(self.dropout(embedding))


class RecognitionNetworks(nn.Module):
    """The three encoders and their classifiers, which the first stage trains.

    Args:
        size: Side of the frames.
        num_words: Number of words.
        num_identities: Number of people among the labelled faces.
        dim: Length of an embedding.
        person_backbone: ``"maxout"`` as released, or ``"vggm"`` as in the paper.
        person_stages: Channels of the maxout network.
        person_channels: Channels of VGG-M, the last one equal to ``dim``.
        trunk_channels: Width of the lip encoder's trunk.
        trunk_depth: How often its hourglass halves.
        landmarks: Number of its maps.
        audio_channels: Channels of the audio encoder.
        word_frames: Embeddings that make a word.
        word_hidden: Width of the word classifier.
        shared_classifier: One word classifier for lips and sound, or one for each.

    Raises:
        ValueError: If the person encoder's vector is not as long as the other embeddings, or its
            last map has one pixel.

    Example:
        >>> networks = RecognitionNetworks(
        ...     32, 5, 4, 16, "maxout", ((4,), (4,), (8,), (16,)), trunk_channels=16, trunk_depth=2,
        ...     audio_channels=(4, 4, 8, 8), word_frames=3, word_hidden=8,
        ... )
        >>> lips = networks.lips(torch.zeros(2, 3, 3, 32, 32))
        >>> lips.shape, networks.word_classifier(lips).shape
        (torch.Size([2, 3, 16]), torch.Size([2, 5]))
    """

    def __init__(
        self,
        size: int = 256,
        num_words: int = 500,
        num_identities: int = 40145,
        dim: int = 256,
        person_backbone: PersonBackbone = "maxout",
        person_stages: tuple[tuple[int, ...], ...] = (
            (32,),
            (32, 32, 64, 64),
            (96, 96, 128, 128, 160, 160),
            (320, 320, 320, 320),
            (256, 256),
        ),
        person_channels: tuple[int, ...] = (64, 128, 256, 256, 512, 512, 256),
        trunk_channels: int = 256,
        trunk_depth: int = 4,
        landmarks: int = 68,
        audio_channels: tuple[int, ...] = (64, 128, 256, 512),
        word_frames: int = 12,
        word_hidden: int = 512,
        shared_classifier: bool = True,
    ) -> None:
        super().__init__()
        self.person_encoder: MaxoutEncoder | VGGMEncoder = (
            MaxoutEncoder(person_stages)
            if person_backbone == "maxout"
            else VGGMEncoder(person_channels)
        )
        if self.person_encoder.dim != dim:
            raise ValueError(
                f"the person encoder ends with {self.person_encoder.dim} channels, but embeddings "
                f"have {dim} numbers: make the two equal"
            )
        if person_backbone == "maxout" and size < 2 ** (len(person_stages) + 1):
            raise ValueError(
                f"{len(person_stages)} person_stages bring {size} px to a pixel or less, and a "
                "single one has no variance to normalise by: give fewer, or larger images."
            )
        self.lip_encoder = LipEncoder(size, dim, trunk_channels, trunk_depth, landmarks)
        self.audio_encoder = AudioEncoder(dim, audio_channels)
        self.word_classifier = WordClassifier(num_words, word_frames, dim, word_hidden)
        self.audio_word_classifier = (
            None if shared_classifier else WordClassifier(num_words, word_frames, dim, word_hidden)
        )
        self.person_classifier = PersonClassifier(num_identities, dim)

    def lips(self, frames: Tensor) -> Tensor:
        """Word embeddings (B, T, dim) of frames (B, T, 3, size, size) in [0, 1]."""
        return self.lip_encoder(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    def sound(self, mfcc: Tensor) -> Tensor:
        """Word embeddings (B, T, dim) of MFCC windows (B, T, 20, 12)."""
        return self.audio_encoder(mfcc.flatten(0, 1)).unflatten(0, mfcc.shape[:2])

    def classify_sound(self, embeddings: Tensor) -> Tensor:
        """Word logits of embeddings of sound."""
        return (self.audio_word_classifier or self.word_classifier)(embeddings)


class DAVSNetworks(RecognitionNetworks):
    """All networks of DAVS's generator side: those of recognition, and the decoder.

    Args:
        size: Side of the frames.
        dim: Length of an embedding.
        decoder_blocks: See :class:`Decoder`.
        skip: See :class:`Decoder`.
        blend: See :class:`Decoder`.
        recognition: Further arguments of :class:`RecognitionNetworks`.

    Example:
        >>> networks = DAVSNetworks(
        ...     32, 16, ((1, 16), (1, 8), (1, 8)), person_stages=((4,), (4,), (8,), (16,)),
        ...     trunk_channels=16, trunk_depth=2, audio_channels=(4, 4, 8, 8),
        ... ).eval()
        >>> person, maps = networks.person_encoder(torch.zeros(2, 3, 32, 32))
        >>> words = networks.sound(torch.zeros(2, 5, 20, 12))
        >>> networks.paint(person, maps, words, photo=torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 5, 3, 32, 32])
    """

    def __init__(
        self,
        size: int = 256,
        dim: int = 256,
        decoder_blocks: tuple[tuple[int, int], ...] = (
            (2, 512),
            (3, 512),
            (4, 256),
            (4, 256),
            (3, 128),
            (2, 64),
        ),
        skip: int = 8,
        blend: bool = False,
        **recognition: object,
    ) -> None:
        super().__init__(size, dim=dim, **recognition)  # type: ignore[arg-type]
        self.level = SKIPS.get(skip, 0)
        channels = self.person_encoder.map_channels[self.level]
        self.decoder = Decoder(size, 2 * dim, channels, decoder_blocks, skip, blend)

    def paint(self, person: Tensor, maps: list[Tensor], words: Tensor, photo: Tensor) -> Tensor:
        """Frames (B, n, 3, size, size) in [0, 1] of people who say n codes each.

        Shape:
            - person: (B, dim); maps: the person encoder's; words: (B, n, dim).
            - photo: (B, 3, size, size) in [0, 1], which the first two were made of.
        """
        count = words.shape[1]
        people = repeat(person, "b d -> b t d", t=count)
        identity = repeat(maps[self.level], "b c h w -> (b t) c h w", t=count)
        below = repeat(photo, "b c h w -> (b t) c h w", t=count) if self.decoder.blend else None
        frames = self.decoder(torch.cat([people, words], 2).flatten(0, 1), identity, below)
        return frames.unflatten(0, words.shape[:2])
