"""Checkpoints of pSp (``psp_ffhq_encode.pt``): encoder, generator and average latent."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from talkingface.models.conversion import convert_state_dict
from talkingface.models.experts.inversion.networks import InversionNetworks
from talkingface.models.experts.stylegan2.convert import convert_generator, read_sizes

_PARTS = ("state_dict.encoder.", "state_dict.decoder.")


def split_checkpoint(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Give encoder and generator of a checkpoint, under their own names.

    Raises:
        ValueError: If it has other parts, or lacks one.

    Example:
        >>> split_checkpoint({"g_ema.input.input": torch.zeros(1)})
        Traceback (most recent call last):
        ValueError: not a checkpoint of pSp: it holds 'g_ema.input.input', not encoder and decoder
    """
    encoder, decoder = (
        {key.removeprefix(part): value for key, value in state.items() if key.startswith(part)}
        for part in _PARTS
    )
    rest = sorted(key for key in state if not key.startswith((*_PARTS, "latent_avg")))
    if rest or not (encoder and decoder and "latent_avg" in state):
        held = repr(rest[0]) if rest else "no more than a part"
        raise ValueError(f"not a checkpoint of pSp: it holds {held}, not encoder and decoder")
    return encoder, decoder


def generator_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of :class:`InversionNetworks` for the generator of a checkpoint.

    Raises:
        ValueError: If there is none.
    """
    sizes = read_sizes(split_checkpoint(state)[1])
    return {"image_size": sizes.pop("size"), **sizes}


def convert_psp(state: Mapping[str, Tensor], networks: InversionNetworks) -> dict[str, Tensor]:
    """Convert a checkpoint of pSp strictly, to networks without a hypernetwork.

    Args:
        state: Its tensors as :func:`~talkingface.models.weights.load_state_dict_file` reads them.
        networks: What is to take them.

    Raises:
        ValueError: If a key is unknown or missing, or a shape does not fit.
    """
    encoder, decoder = split_checkpoint(state)
    average = state["latent_avg"]
    if average.shape[-1] != networks.average.shape[1]:
        raise ValueError(
            f"latent_avg has shape {tuple(average.shape)}, "
            f"the network needs {tuple(networks.average.shape)}"
        )
    styles, _ = convert_state_dict(encoder, [], networks.encoder.state_dict())
    return {
        "average": torch.broadcast_to(average, networks.average.shape).clone(),
        **{f"encoder.{key}": value for key, value in styles.items()},
        **{
            f"generator.{key}": value
            for key, value in convert_generator(decoder, networks.generator).items()
        },
    }
