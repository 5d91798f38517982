import hashlib
import io
import os
import pickle
import tarfile
import types
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any, ClassVar
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from talkingface.models.weights import Weights, load_checkpoint_file, load_state_dict_file

CONTENT = b"weights of a network"
URL = "https://example.org/files/net.pth"


def declared(content: bytes = CONTENT, url: str = URL) -> Weights:
    digest = hashlib.sha256(content).hexdigest()
    return Weights(url, digest, "CC-BY-4.0", "https://example.org", size=3_200_000)


class Response(io.BytesIO):
    def info(self) -> Message:
        return Message()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "talkingface"


@pytest.mark.parametrize("url", ["http://example.org/a", "file:///etc/passwd", "ftp://a/b", "a"])
def test_only_https(url: str) -> None:
    with pytest.raises(ValueError, match="https only"):
        declared(url=url)


@pytest.mark.parametrize("digest", ["", "abc", "0" * 63, "A" * 64, "0" * 64 + "\n"])
def test_only_full_digests(digest: str) -> None:
    with pytest.raises(ValueError, match="64 hex digits"):
        Weights(URL, digest, "MIT", "someone", size=1)


def test_local_copy_is_verified(tmp_path: Path) -> None:
    file = tmp_path / "copy.pth"
    file.write_bytes(CONTENT)
    assert declared().fetch(file) == file
    assert declared().fetch(str(file)) == file
    file.write_bytes(CONTENT + b"!")
    with pytest.raises(ValueError, match=f"{hashlib.sha256(CONTENT + b'!').hexdigest()}, expected"):
        declared().fetch(file)
    for missing in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(FileNotFoundError, match=URL):
            declared().fetch(missing)


def test_download_once_and_verify_every_time(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def urlopen(request: Any) -> Response:
        asked.append(request.full_url)
        return Response(CONTENT)

    monkeypatch.setattr(torch.hub, "urlopen", urlopen)
    file = declared().fetch()
    assert file.read_bytes() == CONTENT and file.parent == cache
    assert declared().fetch() == file
    assert asked == [URL]
    file.write_bytes(b"something else")
    with pytest.raises(ValueError, match="not the file declared"):
        declared().fetch()


def test_other_content_is_not_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "urlopen", lambda request: Response(b"<html>"))
    with pytest.raises(ValueError, match="no longer gives the declared file"):
        declared().fetch()
    assert list(cache.iterdir()) == []


def test_unreachable(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def urlopen(request: Any) -> Response:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "urlopen", urlopen)
    with pytest.raises(FileNotFoundError) as caught:
        declared().fetch()
    for part in (URL, "3.2 MB", "no route to host", "pass its path", str(cache)):
        assert part in str(caught.value)
    assert list(cache.iterdir()) == []


STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.steps": torch.tensor(7)}


def save_zip(state: Any, file: Path) -> None:
    torch.save(state, file)


def save_old(state: Any, file: Path) -> None:
    torch.save(state, file, _use_new_zipfile_serialization=False)


def save_python2(state: Any, file: Path) -> None:
    """Write text as Python 2 did: byte strings."""
    base: Any = pickle._Pickler

    class Pickler(base):
        dispatch: ClassVar = dict(base.dispatch)

        def save_bytes(self, text: str) -> None:
            data = text.encode()
            self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
            self.memoize(text)

        dispatch[str] = save_bytes

    module: Any = types.ModuleType("python2")
    module.Pickler = Pickler
    module.dump = lambda value, stream, protocol: Pickler(stream, protocol).dump(value)
    torch.save(state, file, pickle_module=module, _use_new_zipfile_serialization=False)
    assert b"U\x0bconv.weight" in file.read_bytes()


def save_safe(state: Any, file: Path) -> None:
    save_file(state, file)


@pytest.mark.parametrize(
    ("save", "name"),
    [
        (save_safe, "a.safetensors"),
        (save_zip, "a.pth"),
        (save_old, "a.pth.tar"),
        (save_python2, "a.pth.tar"),
    ],
)
def test_every_format(save: Callable[[Any, Path], None], name: str, tmp_path: Path) -> None:
    save(STATE, tmp_path / name)
    state = load_state_dict_file(tmp_path / name)
    assert state.keys() == STATE.keys()
    for key, value in STATE.items():
        assert torch.equal(state[key], value) and state[key].dtype == value.dtype


def test_nested_checkpoint(tmp_path: Path) -> None:
    network = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    checkpoint = {
        "step": 3,
        "net": nn.DataParallel(network).state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    save_old(checkpoint, tmp_path / "a.pth.tar")
    state = load_state_dict_file(tmp_path / "a.pth.tar")
    assert torch.equal(state["net.module.weight"], network.weight.detach())
    assert "optimizer.state.0.exp_avg" in state
    assert "step" not in state


class Attack:
    """Calls ``mkdir`` when it is unpickled by something that runs code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("how", ["zip", "old", "protocol 2", "protocol 4"])
def test_code_is_refused_and_not_run(how: str, tmp_path: Path) -> None:
    file, proof = tmp_path / "attack.pth", tmp_path / "it-ran"
    value = {"conv.weight": torch.ones(1), "more": Attack(proof)}
    if how == "zip":
        save_zip(value, file)
    elif how == "old":
        save_old(value, file)
    else:
        file.write_bytes(pickle.dumps(Attack(proof), protocol=int(how[-1])))

    with pytest.raises(ValueError, match=r"attack\.pth would run code .* is refused; save its"):
        load_state_dict_file(file)
    assert not proof.exists()

    # The same file does run code where it is allowed to, so the check above can fail.
    if how.startswith("protocol"):
        pickle.loads(file.read_bytes())
    else:
        torch.load(file, weights_only=False)
    assert proof.exists()


def test_whole_modules_and_programs_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "module.pth")
    torch.jit.trace(nn.Linear(1, 1), torch.ones(1)).save(tmp_path / "program.pt")
    with tarfile.open(tmp_path / "of-2016.pth", "w") as tar:
        tar.addfile(tarfile.TarInfo("storages"))
    with pytest.raises(ValueError, match=r"\(torch\.nn\.modules\.linear\.Linear\) and is refused"):
        load_state_dict_file(tmp_path / "module.pth")
    for name in ("program.pt", "of-2016.pth"):
        with pytest.raises(ValueError, match=f"{name} would run code"):
            load_state_dict_file(tmp_path / name)


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_no_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=name):
        load_state_dict_file(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=f"{name} is a folder"):
        load_state_dict_file(tmp_path / name)
    (tmp_path / name).rmdir()
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=f"{name} is empty"):
        load_state_dict_file(tmp_path / name)


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("save", [save_safe, save_zip, save_old])
def test_cut_short(save: Callable[[Any, Path], None], kept: float, tmp_path: Path) -> None:
    file = tmp_path / ("a.safetensors" if save is save_safe else "a.pth")
    save({f"layer{k}.weight": torch.ones(64) for k in range(8)}, file)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"a\.\w+ is not a readable .* damaged or cut short"):
        load_state_dict_file(file)


@pytest.mark.parametrize("content", [b"<html>Sign in</html>", b"hello", b"PK\x03\x04", bytes(99)])
def test_something_else(content: bytes, tmp_path: Path) -> None:
    for name in ("a.pth", "a.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="damaged or cut short"):
            load_state_dict_file(tmp_path / name)


@pytest.mark.parametrize("value", [3, [torch.ones(1)], torch.ones(1), {"epoch": 3}, {}])
def test_no_named_tensors(value: Any, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="no named tensors"):
        load_state_dict_file(tmp_path / "a.pth")


def test_checkpoint_is_plain_data(tmp_path: Path) -> None:
    checkpoint = {"epoch": 3, "hyper_parameters": {"sizes": (1, 2)}, "state_dict": STATE}
    torch.save(checkpoint, tmp_path / "run.ckpt")
    loaded = load_checkpoint_file(tmp_path / "run.ckpt")
    assert loaded["hyper_parameters"] == {"sizes": (1, 2)} and loaded["epoch"] == 3
    assert torch.equal(loaded["state_dict"]["conv.weight"], STATE["conv.weight"])
