"""Official checkpoints of PC-AVS (``latest_net_{V,E,A_sync,G}.pth``) to :class:`PCAVSNetworks`."""

from collections.abc import Mapping

from torch import Tensor

from talkingface.models.components.discriminators import MultiscaleDiscriminator
from talkingface.models.conversion import (
    FAN_RULES,
    STYLEGAN2_RULES,
    Rule,
    convert_state_dict,
)
from talkingface.models.pc_avs.networks import PCAVSNetworks

RULES: dict[str, list[Rule]] = {
    "V": [
        (r"model\.fc\..+", None),  # ImageNet head, never used
        (r"^fc\.", "classifier."),
        (r"^conv1x1\.", "to_map."),
        (r"^model\.conv1\.", "trunk.stem.0."),
        (r"^model\.bn1\.", "trunk.stem.1."),
        *((rf"^model\.layer{stage + 1}\.", f"trunk.stages.{stage}.") for stage in range(4)),
        (r"^", "identity_encoder."),
    ],
    "E": [
        (r"^model\.fc\.", "pool.fc."),
        (r"^model\.conv6\.", "pool.conv."),
        (r"^model\.bn5\.", "pool.norm."),
        *FAN_RULES,
        (r"^to_mouth\.", "to_content."),
        (r"^mouth_embed\.", "content_embedding."),
        (r"^mouth_fc\.", "content_classifier."),
        (r"^to_headpose\.", "to_pose."),
        (r"^headpose_embed\.", "pose_embedding."),
        (r"^headpose_fc\.", "pose_classifier."),
        (r"^", "non_identity_encoder."),
    ],
    "A_sync": [
        (r"^fc\.", "classifier."),
        (r"^model\.conv1\.", "trunk.stem.0."),
        (r"^model\.bn1\.", "trunk.stem.2."),
        *((rf"^model\.layer{stage + 1}\.", f"trunk.stages.{stage}.") for stage in range(4)),
        (r"^model\.", "trunk."),
        (r"\.bn(\d)\.", r".norm\1."),
        (r"\.se\.fc\.0\.", ".gate.fc1."),
        (r"\.se\.fc\.2\.", ".gate.fc2."),
        (r"\.downsample\.", ".shortcut."),
        (r"^", "audio_encoder."),
    ],
    "G": [*STYLEGAN2_RULES, (r"^", "generator.")],
}

DISCRIMINATOR_RULES: list[Rule] = [
    (r"^discriminator_(\d)\.model4\.0\.", r"discriminators.\1.layers.4."),
    (r"^discriminator_(\d)\.model0\.", r"discriminators.\1.layers.0."),
    (r"^discriminator_(\d)\.model(\d)\.0\.", r"discriminators.\1.layers.\2."),
    (r"weight_orig$", "parametrizations.weight.original"),
    (r"weight_([uv])$", r"parametrizations.weight.0._\1"),
]

# The only tensors whose number of classes may differ from the network's.
HEADS = r"(fc|classifier\.\d|mouth_fc\.1|headpose_fc\.1)\.(weight|bias)"


def convert_state_dicts(
    states: Mapping[str, Mapping[str, Tensor]], networks: PCAVSNetworks
) -> tuple[dict[str, Tensor], list[str]]:
    """Convert the four official state dicts.

    The mapping network, which the method never runs, is dropped unless `networks` has one.

    Args:
        states: Official state dicts by the names in their file names: "V", "E", "A_sync" and "G".
        networks: The networks that are to take the weights.

    Returns:
        The complete state dict for `networks`, and the classifier tensors, as ``net.key``, that
        were left out because of another number of classes.

    Raises:
        ValueError: If one of the four is missing or does not fit.

    Example:
        >>> convert_state_dicts({}, PCAVSNetworks(32, 2, generator_channels=(8, 8), fan_depth=2))
        Traceback (most recent call last):
        ValueError: official networks V, E, A_sync, G are needed, got none of V, E, A_sync, G
    """
    absent = [net for net in RULES if net not in states]
    if absent:
        raise ValueError(
            f"official networks {', '.join(RULES)} are needed, got none of {', '.join(absent)}"
        )
    target = networks.state_dict()
    parts = {
        "V": "identity_encoder.",
        "E": "non_identity_encoder.",
        "A_sync": "audio_encoder.",
        "G": "generator.",
    }
    converted: dict[str, Tensor] = {}
    dropped = []
    for net, prefix in parts.items():
        rules = RULES[net]
        if net == "G" and networks.generator.mapping is None:
            rules = [(r"style\..+", None), *rules]
        wanted = {key: tensor for key, tensor in target.items() if key.startswith(prefix)}
        try:
            part, without = convert_state_dict(states[net], rules, wanted, HEADS)
        except ValueError as error:
            raise ValueError(f"official network {net}: {error}") from error
        converted |= part
        dropped += [f"{net}.{key}" for key in without]
    return converted, dropped


def convert_discriminator(
    state: Mapping[str, Tensor], discriminator: MultiscaleDiscriminator
) -> dict[str, Tensor]:
    """Convert the official discriminator, which adversarial fine-tuning starts from.

    Raises:
        ValueError: If a key or a shape does not fit.

    Example:
        >>> import torch
        >>> convert_discriminator({"x": torch.zeros(1)}, MultiscaleDiscriminator(channels=4))
        Traceback (most recent call last):
        ValueError: unknown key 'x' in the checkpoint (it became 'x')
    """
    converted, _ = convert_state_dict(state, DISCRIMINATOR_RULES, discriminator.state_dict())
    return converted
