"""What somebody needs to repeat a comparison: versions of packages, digests of weights."""

import hashlib
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import torch
from torch import nn

import talkingface
from talkingface.models.bundled import find_bundled
from talkingface.models.pretrained import class_name
from talkingface.models.weights import sha256

PACKAGES = ("torchvision", "torchmetrics", "kornia", "lpips", "av")
"""Packages that numbers depend on."""


def hash_tensors(network: nn.Module) -> str:
    """sha256 over names, types, shapes and bytes of all tensors of a network.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> hash_tensors(net) == hash_tensors(net), len(hash_tensors(net))
        (True, 64)
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        tensor = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def describe(network: object, source: object = None) -> dict[str, Any]:
    """Class, origin, and sha256 of the file of weights, or of the tensors where there is none.

    Args:
        network: What is used.
        source: What it was opened from: a name, a folder, a file.

    Example:
        >>> describe(nn.Linear(2, 1))["class"]
        'torch.nn.modules.linear:Linear'
    """
    facts: dict[str, Any] = {"class": class_name(type(network)), "source": None, "sha256": None}
    if isinstance(source, str | Path):
        facts["source"] = str(source)
        path = find_bundled(str(source)) or Path(source)
        file = path / "model.safetensors" if path.is_dir() else path
        if file.is_file():
            return {**facts, "sha256": sha256(file), "sha256 of": file.name}
    if isinstance(network, nn.Module):
        return {**facts, "sha256": hash_tensors(network), "sha256 of": "tensors"}
    return facts


def versions(device: torch.device) -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on, and the device.

    Example:
        >>> "torch" in versions(torch.device("cpu"))
        True
    """
    on_gpu = device.type == "cuda"
    return {
        "talkingface": talkingface.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
    }
