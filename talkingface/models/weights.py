"""Files of weights: declared downloads that are verified, and reading without running code."""

import hashlib
import http.client
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

__all__ = ["Weights", "load_checkpoint_file", "load_state_dict_file", "sha256"]


@dataclass(frozen=True)
class Weights:
    """Weights published elsewhere: where they are, what exactly they are, and on which terms.

    Args:
        url: https address of the file.
        sha256: digest of the file, 64 hexadecimal digits.
        licence: terms of the weights, e.g. ``"CC-BY-4.0"``.
        source: page of the authors, for people.
        size: bytes.
        hparams: constructor arguments of the network that they belong to.

    Raises:
        ValueError: if the address is not https or the digest is not a full sha256.

    Example:
        >>> url = "https://example.org/net.pth"
        >>> Weights(url, sha256="0" * 64, licence="MIT", source="A. Author", size=8).cached.name
        '0000000000000000-net.pth'
    """

    url: str
    sha256: str
    licence: str
    source: str
    size: int
    hparams: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not self.url.startswith("https://"):
            raise ValueError(f"weights are fetched over https only, not from {self.url!r}")
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 of {self.url} has to be 64 hex digits, not {self.sha256!r}")

    @property
    def cached(self) -> Path:
        """Where the downloaded file lives: below torch's hub folder, which ``TORCH_HOME`` moves."""
        name = self.url.rpartition("/")[2]
        return Path(torch.hub.get_dir()) / "talkingface" / f"{self.sha256[:16]}-{name}"

    def fetch(self, path: str | Path | None = None) -> Path:
        """Return a local file with these weights, its sha256 verified on every call.

        Args:
            path: a copy that is already here; else the cache is used, and filled where it is empty.

        Raises:
            FileNotFoundError: if ``path`` is not there or the download fails.
            ValueError: if the file is not the declared one.
        """
        file = self.cached if path is None else Path(path)
        if path is None and not file.exists():
            self._download(file)
        elif not file.is_file():
            raise FileNotFoundError(f"no file {file}: give the file downloaded from {self.url}")
        digest = sha256(file)
        if digest != self.sha256:
            raise ValueError(
                f"{file} is not the file declared for {self.url}: its sha256 is {digest}, expected "
                f"{self.sha256}; delete it and download it again"
            )
        return file

    def _download(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:  # writes a temporary file beside `file` and renames it after the digest was checked
            torch.hub.download_url_to_file(self.url, str(file), hash_prefix=self.sha256)
        except RuntimeError as error:
            raise ValueError(
                f"{self.url} no longer gives the declared file ({error}); pass the path of a copy "
                f"with sha256 {self.sha256}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise FileNotFoundError(
                f"cannot download {self.url} ({self.size / 1e6:.1f} MB): {error}; download it by "
                f"other means and pass its path, or place it at {file}"
            ) from error


def sha256(file: Path) -> str:
    """Digest of a file, 64 hexadecimal digits.

    Example:
        >>> file = getfixture("tmp_path") / "empty"
        >>> file.touch()
        >>> sha256(file)[:16]
        'e3b0c44298fc1c14'
    """
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load_checkpoint_file(path: str | Path) -> Any:
    """Read a PyTorch file onto the CPU as plain data; nothing in it is executed.

    Both of PyTorch's formats are read: zip, and the older one that ``.pth.tar`` files have.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is a folder, is empty or damaged, or would need code to be run.

    Example:
        >>> file = getfixture("tmp_path") / "run.ckpt"
        >>> torch.save({"epoch": 3, "state_dict": {}}, file)
        >>> load_checkpoint_file(file)
        {'epoch': 3, 'state_dict': {}}
    """
    file = _check_file(path)
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            return torch.load(file, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # a damaged file raises anything: OSError, KeyError, EOFError...
        if _needs_code(file, error):
            reason = re.search(r"GLOBAL ([\w.]+)", str(error))
            raise ValueError(
                f"{file} would run code when loaded{f' ({reason[1]})' if reason else ''} and is "
                "refused; save its state dict alone (torch.save(model.state_dict(), file)) where "
                "you trust it, and load that"
            ) from error
        raise ValueError(f"{file} is not a readable PyTorch file: damaged or cut short") from error


def load_state_dict_file(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors`` or PyTorch file onto the CPU, running no code.

    Nested dictionaries are joined with dots (a checkpoint's ``{"netG": {"w": ...}}`` gives
    ``netG.w``); what is no tensor (epoch counters, options) is left out.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is a folder, is empty or damaged, holds no named tensors, or would need
            code to be run.

    Example:
        >>> file = getfixture("tmp_path") / "net.pth"
        >>> torch.save({"netG": {"w": torch.ones(2)}, "epoch": 3}, file)
        >>> load_state_dict_file(file)
        {'netG.w': tensor([1., 1.])}
    """
    file = _check_file(path)
    if file.suffix == ".safetensors":
        try:
            return load_file(file)
        except SafetensorError as error:
            raise ValueError(
                f"{file} is not a readable safetensors file ({error}): damaged or cut short"
            ) from error
    tensors = dict(_named_tensors(load_checkpoint_file(file)))
    if not tensors:
        raise ValueError(f"{file} holds no named tensors: give a file with a state dict")
    return tensors


def _check_file(path: str | Path) -> Path:
    file = Path(path)
    if file.is_dir():
        raise ValueError(f"{file} is a folder: give the file of weights itself")
    if not file.exists():
        raise FileNotFoundError(f"no file of weights at {file}")
    if file.stat().st_size == 0:
        raise ValueError(f"{file} is empty: download or copy it again")
    return file


def _needs_code(file: Path, error: Exception) -> bool:
    """Tell a file that is refused for what it would call from one that is merely damaged."""
    message = str(error)
    if "TorchScript" in message or "legacy .tar" in message:
        return True
    if not isinstance(error, pickle.UnpicklingError):
        return False
    # Newer pickle protocols are no state dicts of torch.save: torch stops at an unknown opcode.
    with file.open("rb") as stream:
        other_protocol = re.match(rb"\x80[\x03-\x05]", stream.read(2)) is not None
    return other_protocol or bool(
        re.search(r"GLOBAL \S|unrecognized function|Can only (build|create)", message)
    )


def _named_tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor) and name:
        yield name, value.detach()
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _named_tensors(item, f"{name}.{key}" if name else str(key))
