"""Checkpoints of rosinality's StyleGAN2 (``{"g", "d", "g_ema"}``) to the networks here."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from talkingface.models.components.stylegan2_discriminator import StyleGAN2Discriminator
from talkingface.models.components.stylegan2_generator import StyleGAN2Generator
from talkingface.models.conversion import STYLEGAN2_RULES, Rule, convert_state_dict

DISCRIMINATOR_RULES: list[Rule] = [
    (r".+\.kernel", None),  # the FIR filter is part of the architecture
    (r"^convs\.0\.(0|1)\.", "from_rgb."),
    *((rf"^convs\.{level + 1}\.", f"blocks.{level}.") for level in range(8)),
    (r"\.(conv1|conv2|skip)\.\d\.", r".\1."),
    (r"^final_conv\.\d\.", "final_conv."),
]


_PLAYERS = {"g": "generator", "g_ema": "generator", "d": "discriminator"}
_TRAINING = ("g_optim", "d_optim", "ada_aug_p", "latent_avg")


def split_checkpoint(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Sort the tensors of a checkpoint, named ``g_ema.conv1.conv.weight`` and the like, by player.

    Returns:
        "generator", the averaged one where there is one, and "discriminator" where there is one.

    Raises:
        ValueError: If there is no generator, or there is anything unknown.

    Example:
        >>> import torch
        >>> parts = split_checkpoint({"g.a": torch.zeros(1), "g_ema.a": torch.ones(1)})
        >>> parts["generator"]["a"]
        tensor([1.])
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        part, _, name = key.partition(".")
        if part not in (*_PLAYERS, *_TRAINING):
            raise ValueError(f"unknown entry {part!r}: a StyleGAN2 checkpoint has g, d and g_ema")
        if part in _PLAYERS:
            parts.setdefault(part, {})[name] = tensor
    if "g_ema" in parts:
        parts.pop("g", None)
    players = {_PLAYERS[part]: tensors for part, tensors in parts.items()}
    if "generator" not in players:
        raise ValueError("the checkpoint has no generator, neither g_ema nor g")
    return players


def read_sizes(generator: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of :class:`StyleGAN2Generator` with which it fits an official state dict.

    Raises:
        ValueError: If these are not the tensors of a generator.
    """
    mapping = [key for key in generator if re.fullmatch(r"style\.\d+\.weight", key)]
    levels = [key for key in generator if re.fullmatch(r"to_rgbs\.\d+\.bias", key)]
    first, last = generator.get("conv1.activate.bias"), f"convs.{2 * len(levels) - 1}.activate.bias"
    if not mapping or not levels or first is None or last not in generator:
        raise ValueError(
            "not a StyleGAN2 generator in rosinality's format (style.1.weight, conv1, to_rgbs ...)"
        )
    size = 4 * 2 ** len(levels)
    return {
        "size": size,
        "style_dim": generator[mapping[0]].shape[0],
        "mapping_layers": len(mapping),
        "channel_multiplier": generator[last].numel() * size / 16384,
        "max_channels": first.numel(),
    }


def convert_generator(
    state: Mapping[str, Tensor], generator: StyleGAN2Generator
) -> dict[str, Tensor]:
    """Convert an official generator, ``checkpoint["g"]`` or ``checkpoint["g_ema"]``, strictly.

    Raises:
        ValueError: If a key or a shape does not fit.

    Example:
        >>> import torch
        >>> convert_generator({"x": torch.zeros(1)}, StyleGAN2Generator(8, 4, 1, max_channels=4))
        Traceback (most recent call last):
        ValueError: unknown key 'x' in the checkpoint (it became 'x')
    """
    converted, _ = convert_state_dict(state, STYLEGAN2_RULES, generator.state_dict())
    return converted


def convert_discriminator(
    state: Mapping[str, Tensor], discriminator: StyleGAN2Discriminator
) -> dict[str, Tensor]:
    """Convert an official discriminator, ``checkpoint["d"]``, strictly.

    Raises:
        ValueError: If a key or a shape does not fit.
    """
    converted, _ = convert_state_dict(state, DISCRIMINATOR_RULES, discriminator.state_dict())
    return converted
