"""Models that come with the package, each verified by a declared sha256 whenever it is opened."""

import os
import re
from pathlib import Path

import talkingface
from talkingface.models.weights import sha256

__all__ = ["bundled_folder", "bundled_names", "declare", "find_bundled"]

_SUMS = "SHA256SUMS"


def bundled_folder(name: str) -> Path:
    """Where a model of the package lies, or would lie."""
    return Path(talkingface.__file__).parent / "weights" / name


def bundled_names() -> list[str]:
    """Names of the models in the package."""
    return sorted(file.parent.name for file in bundled_folder("").glob("*/config.json"))


def find_bundled(name: str) -> Path | None:
    """Find a model of the package by its name, and verify its files; None if there is none.

    Raises:
        ValueError: If a file is not the declared one.

    Example:
        >>> find_bundled("someone/else") is None
        True
    """
    folder = bundled_folder(name)
    if not re.fullmatch(r"\w[\w.-]*", name) or not folder.is_dir():
        return None
    declared = _read_sums()
    for file in [folder / "config.json", *sorted(folder.glob("*.safetensors"))]:
        expected = declared.get(f"{name}/{file.name}")
        digest = sha256(file) if file.is_file() else "missing"
        if digest != expected:
            raise ValueError(
                f"{file} is not the file that talkingface {talkingface.__version__} came with: its "
                f"sha256 is {digest}, declared is {expected}; install the package again"
            )
    return folder


def declare(name: str) -> None:
    """Write the digests of a model's files into the package's list, in ``sha256sum``'s format."""
    folder = bundled_folder(name)
    others = {k: v for k, v in _read_sums().items() if not k.startswith(f"{name}/")}
    own = {f"{name}/{file.name}": sha256(file) for file in folder.iterdir()}
    lines = [f"{digest}  {file}\n" for file, digest in sorted((others | own).items())]
    partial = bundled_folder(f"{_SUMS}.part")
    partial.write_text("".join(lines), encoding="utf-8")
    os.replace(partial, bundled_folder(_SUMS))


def _read_sums() -> dict[str, str]:
    """Declared digest of each file, by its path in the folder of weights."""
    file = bundled_folder(_SUMS)
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
