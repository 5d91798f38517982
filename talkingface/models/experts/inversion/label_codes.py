"""Codes of drawn people from their exact numbers, to teach an encoder and a generator by."""

import torch
from torch import Tensor, nn

LOOKS, POSE, EXPRESSION, ARTICULATION = 41, 6, 10, 6
"""Numbers that a drawn frame is made from: whose it is, how it is placed, what it does; of the last
the first few are what speech does. See `talkingface.data.synthetic.traits`."""
POSE_UNITS = (30.0, 15.0, 15.0, 0.05, 0.05, 0.1)
"""Of each number of a pose: what counts as one."""
POSE_REST = (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
"""A head that stands still in the middle."""
_SIDES = (15, 39)  # of looks: parting and light, 0.5 in the middle
_MIRRORED_POSE = (-1.0, 1.0, -1.0, -1.0, 1.0, 1.0)
_MIRRORED_EXPRESSION = (*(1.0,) * 8, -1.0, 1.0)


class LabelCodes(nn.Module):
    """Give the codes of drawn frames, one per layer of a generator, from exact labels.

    A code is a sum of two that are at right angles by construction: looks have the first entries,
    motion the last ``motion_dim``. Motion reaches ``motion_layers`` alone, and of it what speech
    does ``audio_layers`` alone, as FC-TFG's two encoders can give them.

    Args:
        num_layers: Layers of the generator.
        style_dim: Length of a code.
        motion_dim: Entries of it that hold motion.
        motion_layers: Layers that move, counted from 0.
        audio_layers: Those of them that speak.
        width: Width of the hidden layers.

    Shape:
        - looks: (N, 41), ordered as `talkingface.data.synthetic.traits.Identity`, in [0, 1].
        - pose: (N, 6); expression: (N, 10), ordered as ``Pose`` and ``Expression`` there.
        - output: (N, num_layers, style_dim).

    Example:
        >>> labels = LabelCodes(4, 8, 3, motion_layers=(1, 2), audio_layers=(2,))
        >>> looks, pose, face = torch.rand(2, 41), torch.zeros(2, 6), torch.rand(2, 10)
        >>> codes, still = labels(looks, pose, face), labels(looks, pose, 0 * face)
        >>> [bool((codes != still)[:, layer].any()) for layer in range(4)]
        [False, True, True, False]
    """

    units: Tensor
    rest: Tensor

    def __init__(
        self,
        num_layers: int,
        style_dim: int,
        motion_dim: int,
        motion_layers: tuple[int, ...],
        audio_layers: tuple[int, ...],
        width: int = 256,
    ) -> None:
        super().__init__()
        self.motion_layers, self.audio_layers = list(motion_layers), list(audio_layers)
        self.num_layers, self.style_dim, self.motion_dim = num_layers, style_dim, motion_dim
        self.looks = _mlp(LOOKS, width, num_layers * (style_dim - motion_dim))
        silent = POSE + EXPRESSION - ARTICULATION
        self.motion = _mlp(silent, width, len(motion_layers) * motion_dim)
        self.speech = _mlp(POSE + EXPRESSION, width, len(audio_layers) * motion_dim)
        self.register_buffer("units", torch.tensor(POSE_UNITS), persistent=False)
        self.register_buffer("rest", torch.tensor(POSE_REST), persistent=False)

    def forward(self, looks: Tensor, pose: Tensor, expression: Tensor) -> Tensor:
        """Give the codes."""
        placed = (pose - self.rest) / self.units
        silent = torch.cat([placed, expression[:, ARTICULATION:]], 1)
        whole = torch.cat([placed, expression], 1)
        codes = looks.new_zeros(len(looks), self.num_layers, self.style_dim)
        who = self.looks(2 * looks - 1).unflatten(1, (self.num_layers, -1))
        codes[:, :, : self.style_dim - self.motion_dim] = who
        moved = codes[:, :, self.style_dim - self.motion_dim :]
        moved[:, self.motion_layers] += self.motion(silent).unflatten(1, (-1, self.motion_dim))
        moved[:, self.audio_layers] += self.speech(whole).unflatten(1, (-1, self.motion_dim))
        return codes


def mirror_labels(looks: Tensor, pose: Tensor, expression: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Labels of mirrored frames; only curls and patterns are not drawn the other way round.

    Shape:
        - inputs and outputs: as the inputs of :class:`LabelCodes`.

    Example:
        >>> pose = torch.tensor([[10.0, 5.0, 2.0, 0.1, 0.0, 1.0]])
        >>> mirror_labels(torch.rand(1, 41), pose, torch.rand(1, 10))[1]
        tensor([[-10.0000,   5.0000,  -2.0000,  -0.1000,   0.0000,   1.0000]])
    """
    looks = looks.clone()
    looks[:, _SIDES] = 1 - looks[:, _SIDES]
    return (
        looks,
        pose * pose.new_tensor(_MIRRORED_POSE),
        expression * pose.new_tensor(_MIRRORED_EXPRESSION),
    )


def _mlp(in_features: int, width: int, out_features: int) -> nn.Sequential:
    """Three linear layers, so that codes vary by about one from the start."""
    first, second = nn.Linear(in_features, width), nn.Linear(width, width)
    last = nn.Linear(width, out_features)
    for layer in (first, second):
        nn.init.kaiming_normal_(layer.weight, a=0.2)
    nn.init.normal_(last.weight, std=width**-0.5)
    return nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), last)
