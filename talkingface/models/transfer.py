"""Carry weights from one stage of training into the next."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from talkingface.models.pretrained import load_pretrained

log = logging.getLogger(__name__)


def transfer(state: Mapping[str, Tensor], module: nn.Module, source: str) -> list[str]:
    """Load weights strictly, all but the last layer of classifiers of another number of classes.

    Only that layer can differ in its outputs alone: any other would be followed by one with other
    inputs, which is an error.

    Args:
        state: Weights under the names of ``module``'s own.
        module: What to load them into.
        source: Where they come from, for messages.

    Returns:
        Names of the classifier weights that keep their own values.

    Raises:
        ValueError: If a name is missing or unknown, or another shape differs.

    Example:
        >>> few, many = nn.ModuleDict(), nn.ModuleDict()
        >>> few["classifier"], many["classifier"] = nn.Linear(4, 2), nn.Linear(4, 3)
        >>> transfer(few.state_dict(), many, "stage one")
        ['classifier.weight', 'classifier.bias']
    """
    own = module.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or unknown:
        raise ValueError(
            f"{source}: weights do not fit {type(module).__name__}: "
            f"missing {missing[:3]}, unknown {unknown[:3]}; use the same options in both stages."
        )
    differing = [name for name in own if own[name].shape != state[name].shape]
    heads = [
        name
        for name in differing
        if "classifier" in name and own[name].shape[1:] == state[name].shape[1:]
    ]
    if other := [name for name in differing if name not in heads]:
        raise ValueError(
            f"{source}: {other[0]} has shape {tuple(state[other[0]].shape)}, expected "
            f"{tuple(own[other[0]].shape)}; use the same sizes in both stages."
        )
    module.load_state_dict({**state, **{name: own[name] for name in heads}})
    if heads:
        counts = {
            name.rpartition(".")[0]: f"{len(state[name])} -> {len(own[name])}" for name in heads
        }
        log.warning(
            "%s: classifiers of another number of classes begin anew: %s",
            source,
            ", ".join(f"{layer} ({count})" for layer, count in counts.items()),
        )
    return heads


def transfer_players(
    path: str | Path,
    module: Any,
    adapt: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict,
) -> None:
    """Load both players of a saved model of the same class: networks and, if saved, discriminator.

    Args:
        path: Folder, ``.ckpt`` or hub id.
        module: An :class:`~talkingface.models.adversarial.AdversarialModule`.
        adapt: Makes of the networks' tensors what the module needs.

    Raises:
        FileNotFoundError: If there is nothing at the path.
        ValueError: If it is another class, or its weights do not fit this model's sizes.
    """
    other: Any = load_pretrained(path, type(module))
    if words := (other.saved_facts or {}).get("word_names"):
        module.saved_facts = {"word_names": words}
    transfer(adapt(other.inference_networks.state_dict()), module.networks, str(path))
    if other.lacks_discriminator:
        log.info("%s was saved without its discriminator: this one begins anew", path)
        return
    transfer(other.discriminator.state_dict(), module.discriminator, str(path))


def require_discriminator(model: Any, path: str | Path) -> None:
    """Raise an error if a model was opened from a folder without its discriminator.

    Args:
        model: A :class:`~talkingface.models.pretrained.PretrainedMixin`.
        path: Where it was opened.

    Raises:
        ValueError: If there was none.
    """
    if model.lacks_discriminator:
        parts = ", ".join(model.discriminator_modules)
        raise ValueError(f"{path} was saved without {parts}: save it with_discriminator=True.")
