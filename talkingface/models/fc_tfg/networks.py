"""Networks of FC-TFG.

Jang et al., "That's What I Said: Fully-Controllable Talking Face Generation" (ACM MM 2023),
https://arxiv.org/abs/2304.03275. The defaults are the paper's.
"""

import math
from collections.abc import Iterable
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from talkingface.models.components.psp import LARGEST_INPUT, PSPEncoder, fit_input
from talkingface.models.components.stylegan2 import Noise
from talkingface.models.components.stylegan2_generator import StyleGAN2Generator
from talkingface.models.components.wav2lip import Wav2LipAudioEncoder

Temporal = Literal["conv", "lstm"]
"""Kinds of temporal fusion; ``"lstm"`` is the ablation of Table 3."""
State = tuple[Tensor, Tensor] | None
"""What temporal fusion hands on from one part of a clip to the next."""


class CanonicalEncoder(nn.Module):
    """Canonical encoder E_can: the code of a picture to that of the same face without its motion.

    Args:
        layers: Number of layers of the generator, each with two linear layers of its own.
        dim: Length of a code.

    Shape:
        - codes: (B, layers, dim); output: the same.

    Example:
        >>> CanonicalEncoder(3, 16)(torch.zeros(2, 3, 16)).shape
        torch.Size([2, 3, 16])
    """

    def __init__(self, layers: int, dim: int = 512) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_mlp(dim, dim, depth=2) for _ in range(layers))

    def forward(self, codes: Tensor) -> Tensor:
        """Give the canonical codes."""
        pairs = zip(self.layers, codes.unbind(-2), strict=True)
        return torch.stack([layer(code) for layer, code in pairs], -2)


class MotionEncoder(nn.Module):
    """Multimodal motion encoder E_m (eq. 2): codes of driving frames and sound to motion codes.

    Args:
        layers: Number of layers of the generator, each with three linear layers of its own.
        heard: Those of them, counted from 0, that hear the sound beside seeing the frame.
        dim: Length of a code.
        audio_dim: Length of the code of sound.

    Shape:
        - codes: (B, T, layers, dim).
        - sound: (B, T, audio_dim), or None for none at all.
        - muted: (B,) bool, clips for which the sound is withheld; or None.
        - output: (B, T, layers, dim).

    Example:
        >>> encoder = MotionEncoder(3, heard=(1,), dim=16, audio_dim=8)
        >>> encoder(torch.zeros(2, 5, 3, 16), torch.zeros(2, 5, 8)).shape
        torch.Size([2, 5, 3, 16])
    """

    def __init__(
        self, layers: int, heard: tuple[int, ...], dim: int = 512, audio_dim: int = 512
    ) -> None:
        super().__init__()
        self.heard = heard
        self.silent = nn.Parameter(torch.zeros(audio_dim))  # stands for sound that is not given
        self.layers = nn.ModuleList(
            _mlp(dim + audio_dim * (layer in heard), dim, depth=3) for layer in range(layers)
        )

    def forward(
        self, codes: Tensor, sound: Tensor | None = None, muted: Tensor | None = None
    ) -> Tensor:
        """Give the motion codes."""
        if sound is None:
            sound = self.silent.expand(*codes.shape[:-2], -1)
        elif muted is not None:
            sound = torch.where(muted[:, None, None], self.silent.to(sound.dtype), sound)
        motion = []
        for index, (layer, code) in enumerate(zip(self.layers, codes.unbind(-2), strict=True)):
            motion.append(layer(torch.cat([sound, code], -1) if index in self.heard else code))
        return torch.stack(motion, -2)


class TemporalConv(nn.Module):
    """Temporal fusion by one convolution over time, the same for all layers.

    It begins as the identity. At the ends of a clip, the first and the last code are repeated.

    Args:
        dim: Length of a code.
        kernel: Frames that it sees.

    Shape:
        - codes: (B, T, layers, dim); output: the same, and None.

    Example:
        >>> codes = torch.randn(1, 4, 2, 8)
        >>> torch.equal(TemporalConv(8)(codes)[0], codes)
        True
    """

    def __init__(self, dim: int = 512, kernel: int = 3) -> None:
        super().__init__()
        self.reach = kernel // 2
        self.conv = nn.Conv1d(dim, dim, kernel, padding=self.reach, padding_mode="replicate")
        nn.init.dirac_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, codes: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Fuse codes over time."""
        fused = self.conv(rearrange(codes, "b t l d -> (b l) d t"))
        return rearrange(fused, "(b l) d t -> b t l d", b=len(codes)), None


class TemporalLSTM(nn.Module):
    """Temporal fusion by an LSTM, the ablation of Table 3; its output is added to the codes.

    Args:
        dim: Length of a code.

    Shape:
        - codes: (B, T, layers, dim); output: the same, and the state to go on with.

    Example:
        >>> lstm, codes = TemporalLSTM(8), torch.randn(1, 4, 2, 8)
        >>> first, state = lstm(codes[:, :3])
        >>> last, _ = lstm(codes[:, 3:], state)
        >>> torch.allclose(torch.cat([first, last], 1), lstm(codes)[0], atol=1e-6)
        True
    """

    reach = 0

    def __init__(self, dim: int = 512) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, dim, batch_first=True)

    def forward(self, codes: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Fuse codes over time."""
        series = rearrange(codes, "b t l d -> (b l) t d")
        change, state = self.lstm(series, state)
        return codes + rearrange(change, "(b l) t d -> b t l d", b=len(codes)), state


class FCTFGNetworks(nn.Module):
    """All networks that FC-TFG generates with.

    Codes are offsets from the generator's average latent, one per layer, as the encoder gives them.
    Of the layers that are manipulated, the code is the sum of the canonical code of the source and
    of the motion code (eq. 1); the other layers keep the source's.

    Args:
        size: Side of the images.
        style_dim: Length of a code.
        mapping_layers: Layers of the generator's mapping network, which is not run here.
        channel_multiplier: See
            :class:`~talkingface.models.components.stylegan2_generator.StyleGAN2Generator`.
        max_channels: See there.
        encoder_channels: See :class:`~talkingface.models.components.psp.PSPEncoder`.
        encoder_depths: See there.
        audio_width: See :class:`~talkingface.models.components.wav2lip.Wav2LipAudioEncoder`.
        motion_layers: Layers that are manipulated, counted from 0.
        audio_layers: Those of them that hear the sound.
        temporal: Kind of temporal fusion.

    Shape:
        - source: (B, 3, size, size) in [-1, 1].
        - mel: (B, T, 1, 80, 16).
        - driving: (B, T, 3, size, size) in [-1, 1].
        - output: (B, T, 3, size, size), about [-1, 1], unbounded.

    Raises:
        ValueError: If there are no such layers.

    Example:
        >>> networks = FCTFGNetworks(
        ...     32, 16, 1, max_channels=8, encoder_channels=(4, 4, 8, 8),
        ...     encoder_depths=(1, 1, 1, 1), audio_width=2, motion_layers=(1, 2, 3),
        ...     audio_layers=(3,),
        ... ).eval()
        >>> source, driving = torch.zeros(2, 3, 32, 32), torch.zeros(2, 5, 3, 32, 32)
        >>> networks(source, torch.zeros(2, 5, 1, 80, 16), driving).shape
        torch.Size([2, 5, 3, 32, 32])
    """

    average: Tensor

    def __init__(
        self,
        size: int = 256,
        style_dim: int = 512,
        mapping_layers: int = 8,
        channel_multiplier: float = 2,
        max_channels: int = 512,
        encoder_channels: tuple[int, ...] = (64, 128, 256, 512),
        encoder_depths: tuple[int, ...] = (3, 4, 14, 3),
        audio_width: int = 32,
        motion_layers: tuple[int, ...] = (1, 2, 3, 4, 7, 8, 9, 10),
        audio_layers: tuple[int, ...] = (7, 8),
        temporal: Temporal = "conv",
    ) -> None:
        super().__init__()
        self.generator = StyleGAN2Generator(
            size, style_dim, mapping_layers, channel_multiplier, max_channels
        )
        count = self.generator.num_layers
        self.motion_layers = sorted(check_layers("motion_layers", motion_layers, range(count)))
        heard = check_layers("audio_layers", audio_layers, self.motion_layers)
        if temporal not in ("conv", "lstm"):
            raise ValueError(f'temporal must be "conv" or "lstm", not {temporal!r}.')
        side = min(size, LARGEST_INPUT)
        self.encoder = PSPEncoder(side, count, style_dim, encoder_channels, encoder_depths)
        self.audio_encoder = Wav2LipAudioEncoder(audio_width)
        self.canonical = CanonicalEncoder(len(self.motion_layers), style_dim)
        self.motion = MotionEncoder(
            len(self.motion_layers),
            tuple(self.motion_layers.index(layer) for layer in heard),
            style_dim,
            self.audio_encoder.dim,
        )
        self.temporal: TemporalConv | TemporalLSTM = (
            TemporalConv(style_dim) if temporal == "conv" else TemporalLSTM(style_dim)
        )
        self.register_buffer("average", torch.zeros(count, style_dim))

    def encode(self, frames: Tensor) -> Tensor:
        """Codes (N, layers, style_dim) of frames (N, 3, size, size): E_inv."""
        codes: Tensor = self.encoder(fit_input(frames))
        return codes

    def split(self, motion_dim: int) -> None:
        """Begin with what is known of codes that keep motion in entries of their own, the last.

        The canonical encoder lets the others pass, the motion encoder these; what sound says comes
        on top of them, and is still to be learnt.

        Args:
            motion_dim: Entries of a code that hold motion.
        """
        entries = torch.arange(self.average.shape[1]) < self.average.shape[1] - motion_dim
        for layer in self.canonical.layers:
            _pass(layer, entries)
        for layer in self.motion.layers:
            _pass(layer, ~entries)

    def _exact(self) -> torch.autocast:
        """No autocast: what gaze does to a code is lost in bfloat16 behind a bias of 30."""
        return torch.autocast(self.average.device.type, enabled=False)

    def canonical_code(self, codes: Tensor) -> Tensor:
        """Codes z_sc (B, motion layers, style_dim) of codes (B, layers, style_dim) of sources."""
        with self._exact():
            return self.canonical(codes[:, self.motion_layers].to(self.average))

    def motion_code(self, codes: Tensor, mel: Tensor | None, muted: Tensor | None = None) -> Tensor:
        """Codes z_cd (B, T, motion layers, style_dim) of what the driving frames show and say.

        Shape:
            - codes: (B, T, motion layers, style_dim) of driving frames.
            - mel: (B, T, 1, 80, 16), or None where the frames alone say what the lips do.
            - muted: See :class:`MotionEncoder`.
        """
        sound = None
        if mel is not None:
            sound = self.audio_encoder(mel.flatten(0, 1)).unflatten(0, mel.shape[:2])
            sound = sound.to(self.average)
        with self._exact():
            return self.motion(codes.to(self.average), sound, muted)

    def fuse(
        self, codes: Tensor, canonical: Tensor, motion: Tensor, state: State = None
    ) -> tuple[Tensor, State]:
        """Put the moved layers' codes z_sd, fused over time, among the source's others.

        Shape:
            - codes: (B, layers, style_dim); canonical: (B, motion layers, style_dim).
            - motion: (B, T, motion layers, style_dim).
            - output: (B, T, layers, style_dim), and the temporal state.
        """
        fused, state = self.temporal(canonical[:, None] + motion, state)
        whole = codes[:, None].expand(-1, motion.shape[1], -1, -1)
        index = torch.tensor(self.motion_layers, device=codes.device)
        return whole.index_copy(2, index, fused.to(whole.dtype)), state

    def paint(self, codes: Tensor, noise: Noise = "fixed") -> Tensor:
        """Frames (N, 3, size, size) of codes (N, layers, style_dim)."""
        return self.generator(self.average + codes, noise)

    def forward(self, source: Tensor, mel: Tensor | None, driving: Tensor) -> Tensor:
        """Generate a clip: the source's face moving like the driving frames, saying the sound."""
        codes = self.encode(source)
        driven = self.encode(driving.flatten(0, 1))[:, self.motion_layers]
        motion = self.motion_code(driven.unflatten(0, driving.shape[:2]), mel)
        whole, _ = self.fuse(codes, self.canonical_code(codes), motion)
        return self.paint(whole.flatten(0, 1)).unflatten(0, driving.shape[:2])


def check_layers(name: str, layers: Iterable[int], known: Iterable[int]) -> list[int]:
    """Give the layers as a list.

    Raises:
        ValueError: If one of them is not known, or named twice.

    Example:
        >>> check_layers("audio_layers", (7, 8), [1, 2, 7, 8])
        [7, 8]
    """
    chosen, known = list(layers), list(known)
    if len(set(chosen)) < len(chosen) or not set(chosen) <= set(known):
        raise ValueError(
            f"{name} is {tuple(chosen)}: give layers out of {', '.join(map(str, known))}, counted "
            "from 0, each once."
        )
    return chosen


@torch.no_grad()
def _pass(mlp: nn.Module, entries: Tensor, shift: float = 30.0) -> None:
    """Make linear layers a projection: so far from zero no leaky ReLU bends what passes.

    Entries that come before those of a code begin with little weight.
    """
    layers = [layer for layer in mlp.modules() if isinstance(layer, nn.Linear)]
    kept = entries.to(layers[0].weight)
    for layer in layers:
        others = layer.in_features - layer.out_features
        layer.weight[:, others:] = torch.eye(layer.out_features)
        layer.weight[:, :others].normal_(std=0.3 / math.sqrt(max(others, 1)))
        layer.bias.zero_()
    layers[0].bias.fill_(shift)
    layers[-1].weight.copy_(torch.diag(kept))
    layers[-1].bias.copy_(-shift * kept)


def _mlp(in_features: int, out_features: int, depth: int) -> nn.Sequential:
    """Linear layers with leaky ReLUs between them.

    They begin so that what varies in the input varies as much in the sum of a canonical and a
    motion code: under PyTorch's own initialisation it would shrink from layer to layer.
    """
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(in_features, out_features)
        nn.init.kaiming_normal_(linear.weight, a=0.2)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.LeakyReLU(0.2)]
        in_features = out_features
    nn.init.normal_(linear.weight, std=1 / math.sqrt(2 * out_features))
    return nn.Sequential(*layers[:-1])
