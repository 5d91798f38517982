"""Convert the authors' checkpoints: rename by a table of regular expressions, and be strict."""

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

Rule = tuple[str, str | None]

FAN_RULES: list[Rule] = [
    (r"^model\.conv1\.", "trunk.stem.0."),
    (r"^model\.bn1\.", "trunk.stem.1."),
    (r"^model\.conv2\.", "trunk.features.0."),
    (r"^model\.conv3\.", "trunk.features.2."),
    (r"^model\.conv4\.", "trunk.features.3."),
    (r"^model\.", "trunk."),
    *(
        (rf"trunk\.m0\.b{branch}_{level}\.", f"trunk.hourglass.{'inner.' * (4 - level)}{ours}.")
        for level in (4, 3, 2, 1)
        for branch, ours in ((1, "upper"), (2, "before"), (3, "after"))
    ),
    (r"\.m0\.b2_plus_1\.", ".hourglass.inner.inner.inner.inner."),
    (r"\.top_m_0\.", ".top."),
    (r"\.conv_last0\.", ".last.0."),
    (r"\.bn_end0\.", ".last.1."),
    (r"\.l0\.", ".heatmaps."),
    (r"\.bn(\d)\.", r".norm\1."),
    (r"\.downsample\.", ".shortcut."),
]
"""Names inside a face alignment trunk ``model``, which the authors of PC-AVS and DAVS share."""

STYLEGAN2_RULES: list[Rule] = [
    (r".+\.(blur|upsample)\.kernel", None),  # the FIR filter is part of the architecture
    (r"^style\.", "mapping."),
    (r"^input\.input$", "synthesis.constant"),
    (r"^conv1\.", "synthesis.convs.0."),
    *((rf"^convs\.{layer}\.", f"synthesis.convs.{layer + 1}.") for layer in range(16)),
    (r"^to_rgb1\.", "synthesis.to_rgbs.0."),
    *((rf"^to_rgbs\.{level}\.", f"synthesis.to_rgbs.{level + 1}.") for level in range(8)),
    (r"^noises\.", "synthesis."),
    (r"\.noise\.weight$", ".noise_strength"),
    (r"\.activate\.bias$", ".bias"),
]
"""Names of StyleGAN2's generator, which PC-AVS shares, up to 1024 px."""


def convert_state_dict(
    state: Mapping[str, Tensor],
    rules: Iterable[Rule],
    target: Mapping[str, Tensor],
    heads: str = r"(?!)",
) -> tuple[dict[str, Tensor], list[str]]:
    r"""Rename the tensors of a checkpoint to those of a network.

    Every rule is a pattern and its replacement. All rules are applied in turn to every key with
    :func:`re.sub`; a rule with the replacement None drops the keys that it matches in full. What
    comes out must be exactly the keys of `target`: nothing is left over and nothing is missing,
    except ``num_batches_tracked``, which checkpoints before PyTorch 0.4.1 do not have. Tensors are
    reshaped where shapes differ only by axes of length one.

    Args:
        state: The checkpoint's tensors.
        rules: The table.
        target: State dict of the network, for its keys and shapes.
        heads: Pattern of those checkpoint keys (in full) that may have another shape, for instance
            a classifier of another number of classes. They are dropped; the target's own tensors
            stay.

    Returns:
        The complete state dict for the network, and the checkpoint keys dropped because of their
        shape.

    Raises:
        ValueError: If a key is unknown or missing, two keys become one, or a shape does not fit.

    Example:
        >>> network = torch.nn.Linear(2, 1)
        >>> old = {"net.w": torch.ones(1, 2, 1), "net.b": torch.zeros(1), "net.x": torch.zeros(3)}
        >>> rules = [(r"net\.x", None), (r"^net\.w$", "weight"), (r"^net\.b$", "bias")]
        >>> new, dropped = convert_state_dict(old, rules, network.state_dict())
        >>> new["weight"], dropped
        (tensor([[1., 1.]]), [])
    """
    rules = list(rules)
    converted: dict[str, Tensor] = {}
    dropped = []
    for key, tensor in state.items():
        name = _rename(key, rules)
        if name is None:
            continue
        if name not in target:
            raise ValueError(f"unknown key {key!r} in the checkpoint (it became {name!r})")
        if name in converted:
            raise ValueError(f"key {key!r} and another one of the checkpoint both became {name!r}")
        wanted = target[name].shape
        if [side for side in tensor.shape if side != 1] == [side for side in wanted if side != 1]:
            converted[name] = tensor.reshape(wanted)
        elif re.fullmatch(heads, key):
            converted[name] = target[name]
            dropped.append(key)
        else:
            raise ValueError(
                f"key {key!r} of the checkpoint has shape {tuple(tensor.shape)}, "
                f"the network needs {tuple(wanted)}"
            )
    missing = [name for name in target if name not in converted]
    counters = [name for name in missing if name.endswith("num_batches_tracked")]
    converted |= {name: torch.zeros_like(target[name]) for name in counters}
    lost = sorted(set(missing) - set(counters))
    if lost:
        raise ValueError(f"the checkpoint lacks {len(lost)} tensors, first of all {lost[0]!r}")
    return converted, dropped


def _rename(key: str, rules: list[Rule]) -> str | None:
    name = key
    for pattern, replacement in rules:
        if replacement is not None:
            name = re.sub(pattern, replacement, name)
        elif re.fullmatch(pattern, name):
            return None
    return name
