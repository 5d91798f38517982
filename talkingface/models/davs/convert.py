"""The official checkpoint of DAVS (``101_DAVS_checkpoint.pth.tar``), renamed by a table."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from talkingface.models.conversion import FAN_RULES, Rule, convert_state_dict

_PARALLEL: Rule = (r"^module\.", "")  # saved from data-parallel modules

_MAXOUT: list[Rule] = [
    (r"^block1\.conv01_([ab])\.", r"stem.\1.0."),
    (r"^block1\.conv01_([ab])_bn\.", r"stem.\1.1."),
    *(
        (rf"^block{stage}{block}\.conv{stage}{block}_([ab]){ending}\.", rf"{ours}.\1.{part}.")
        for stage, count in ((1, 4), (2, 6), (3, 4), (4, 2))
        for block in range(1, count + 1)
        for ours in (f"stages.{stage - 1}.{block - 1}",)
        for ending, part in (("", 0), ("_bn", 1))
    ),
]
_BLOCKS: list[Rule] = [
    (rf"^convblock{block}\.conv{block}_{conv}{ending}\.", f"blocks.{block - 1}.{3 * conv + part}.")
    for block, count in ((1, 2), (2, 3), (3, 4), (4, 4), (5, 3), (6, 2))
    for conv in range(count)
    for ending, part in (("", 0), ("_bn", 1))
]
_SPEAKING: list[Rule] = [
    (r"(conv8|bn[789])\..+", None),  # never run
    (r"^conv1\.", "trunk.0."),
    (r"^conv2_1\.", "trunk.2."),
    (r"^norm_1\.", "trunk.3."),
    (r"^conv2_2\.", "trunk.5."),
    (r"^norm_2\.", "trunk.6."),
    (r"^conv3\.", "trunk.8."),
    (r"^norm3\.", "trunk.9."),
    (r"^conv4\.", "patch."),
    (r"^conv6\.", "mouth.0."),
    (r"^bn6\.", "mouth.1."),
    (r"^conv9\.", "mouth.3."),
    (r"^fc\.", "joint.0."),
    (r"^fc2\.", "joint.1."),
    *((rf"^mfcc_conv{layer + 1}\.", f"sound.convs.{layer}.") for layer in range(4)),
    *((rf"^mfcc_bn{layer + 1}\.", f"sound.norms.{layer}.") for layer in range(4)),
]

RULES: dict[str, list[Rule]] = {
    "ID_encoder": _MAXOUT,
    "lip_feature_encoder": [
        (r"model\.(conv5|conv6|fc)\..+", None),  # never run
        (r"^bn1\.", "pool.norm."),
        (r"^conv6\.", "pool.conv."),
        (r"^fc\.", "pool.fc."),
        *FAN_RULES,
    ],
    "mfcc_encoder": [
        (r"model1\.bn5\..+", None),  # never run
        *((rf"^model1\.conv{layer + 1}\.", f"square.convs.{layer}.") for layer in range(4)),
        *((rf"^model1\.bn{layer + 1}\.", f"square.norms.{layer}.") for layer in range(3)),
        *((rf"^model2\.conv{layer + 1}\.", f"tall.{layer}.") for layer in range(3)),
        *((rf"^model2\.bn{layer + 1}\.", f"norms.{layer}.") for layer in range(2)),
    ],
    "Decoder": [
        (r"^deconv1_1_new\.", "start.0."),
        (r"^deconv1_1_bn\.", "start.1."),
        *_BLOCKS,
        (r"^conv7_1\.", "to_rgb.0."),
        (r"^conv7_1_bn\.", "to_rgb.1."),
        (r"^conv7_2\.", "to_rgb.3."),
    ],
    "model_fusion": [(r"dis\..+", None), (r"^fc_1\.", "hidden."), (r"^fc_2\.", "fc.")],
    "netD": _SPEAKING,
    "netD_mul": _SPEAKING,
    "discriminator_audio": [(r"^fc1\.", "layers.0."), (r"^fc2\.", "layers.2.")],
    "ID_lip_discriminator": [
        (r"^conv6\.", "conv."),
        (r"^fc\.", "hidden."),
        (r"^fc_2\.", "fc."),
    ],
    # Not in the released file; their architectures come with the code.
    "id_fc": [(r"(fc_2|dis)\..+", None), (r"^fc_1\.", "fc.")],
    "vgg_encoder": [
        (r"fc\..+", None),
        *((rf"^conv{layer + 1}\.", f"convs.{layer}.0.") for layer in range(7)),
        *((rf"^bn{layer + 1}\.", f"convs.{layer}.1.") for layer in range(7)),
    ],
    "vgg_decoder": [
        (r"^upconv00\.", "blocks.0.0."),
        (r"^upnorm00\.", "blocks.0.1."),
        *((rf"^upconv{layer}\.", f"blocks.{layer + 1}.0.") for layer in range(6)),
        *((rf"^upnorm{layer}\.", f"blocks.{layer + 1}.1.") for layer in range(6)),
        (r"^upconv6\.", "to_rgb.0."),
    ],
}
"""Networks of the released code, by their names in the checkpoint."""

ROLES = {
    "ID_encoder": "person_encoder",
    "lip_feature_encoder": "lip_encoder",
    "mfcc_encoder": "audio_encoder",
    "Decoder": "decoder",
    "model_fusion": "word_classifier",
}
"""Entries of the checkpoint that the generator's side is made of, and their names here."""

ADVERSARIES = {
    "netD": "frame",
    "netD_mul": "sequence",
    "discriminator_audio": "domain",
    "ID_lip_discriminator": "word_classifier",
}
"""Entries that adversarial fine-tuning goes on from, and their names here."""


def convert_network(
    name: str, state: Mapping[str, Tensor], network: nn.Module
) -> dict[str, Tensor]:
    """Convert one official network.

    Args:
        name: Its name in the checkpoint, a key of :data:`RULES`.
        state: Its tensors, with or without the prefix ``module.``.
        network: What is to take them.

    Returns:
        The complete state dict for ``network``.

    Raises:
        ValueError: If a key is unknown or missing, or a shape does not fit.

    Example:
        >>> convert_network("discriminator_audio", {}, nn.Linear(1, 1))
        Traceback (most recent call last):
        ValueError: official network discriminator_audio: the checkpoint lacks 2 tensors, ...
    """
    try:
        converted, _ = convert_state_dict(state, [_PARALLEL, *RULES[name]], network.state_dict())
    except ValueError as error:
        raise ValueError(f"official network {name}: {error}") from error
    return converted


def load_networks(checkpoint: Any, roles: Mapping[str, str], parts: nn.Module) -> list[str]:
    """Load the entries of an official checkpoint into the parts that play their roles.

    Args:
        checkpoint: The checkpoint, as it was read.
        roles: Names of its entries -> names of submodules of ``parts``.
        parts: Where the networks are.

    Returns:
        Names of the entries that it lacks.

    Raises:
        ValueError: If an entry does not fit, or this is no dictionary of networks.
    """
    if not isinstance(checkpoint, Mapping):
        raise ValueError("this is no checkpoint of DAVS: a dictionary of networks is expected")
    absent = [name for name in roles if name not in checkpoint]
    for name in roles.keys() - set(absent):
        network = parts.get_submodule(roles[name])
        network.load_state_dict(convert_network(name, checkpoint[name], network))
    return absent
