"""Saving models and opening them again: a folder with ``config.json`` and safetensors."""

import importlib
import inspect
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from jsonargparse import ArgumentError, ArgumentParser
from safetensors.torch import save_file
from torch import Tensor, nn

import talkingface
from talkingface.data.batch import FPS
from talkingface.models.bundled import bundled_names, find_bundled
from talkingface.models.weights import load_checkpoint_file, load_state_dict_file

if TYPE_CHECKING:
    from pytorch_lightning import LightningModule as _Module
else:
    _Module = object

__all__ = ["FACTS", "FORMAT_VERSION", "PretrainedMixin", "load_pretrained", "resolve_class"]

FORMAT_VERSION = 1
"""Version of the folder's layout; later layouts are refused."""
FACTS = (
    "size",
    "fps",
    "crop_template",
    "front_end",
    "gain_rule",
    "content_scale",
    "class_names",
    "licence",
    "training_data",
    "command",
)
"""What every ``config.json`` says about a model, ``null`` where it is not known."""

_CONFIG, _MODEL, _DISCRIMINATOR = "config.json", "model.safetensors", "discriminator.safetensors"
_HEADER = ("format_version", "class", "hparams", "package_version")


class PretrainedMixin(_Module):
    """``save_pretrained`` and ``from_pretrained`` for a ``LightningModule`` with plain hparams.

    A folder holds ``config.json`` (class, hyperparameters and :data:`FACTS`) and
    ``model.safetensors``: the tensors of ``inference_modules`` under their names in
    ``state_dict()``, averaged (EMA) where there is an average. Put the mixin before the Lightning
    class, and call ``save_hyperparameters()`` in the constructor.

    Example:
        >>> from pytorch_lightning import LightningModule
        >>> class Small(PretrainedMixin, LightningModule):
        ...     def __init__(self, width: int = 2):
        ...         super().__init__()
        ...         self.save_hyperparameters()
        ...         self.networks = nn.Linear(width, 1)
        >>> model = Small(width=3)
        >>> folder = model.save_pretrained(getfixture("tmp_path") / "small", licence="Apache-2.0")
        >>> sorted(file.name for file in folder.iterdir())
        ['config.json', 'model.safetensors']
        >>> copy = Small.from_pretrained(folder)
        >>> torch.equal(copy.networks.weight, model.networks.weight)
        True
    """

    inference_modules: ClassVar[tuple[str, ...]] = ("networks",)
    """Submodules (dotted names) that a saved model consists of."""
    discriminator_modules: ClassVar[tuple[str, ...]] = ("discriminator",)
    """Submodules that adversarial fine-tuning needs besides."""
    saved_facts: Mapping[str, Any] | None = None
    """What the opened ``config.json`` said; kept when the model is saved again."""
    lacks_discriminator: bool = False
    """Whether it was opened from a folder that has none of its :attr:`discriminator_modules`."""

    def card(self) -> dict[str, Any]:
        """Facts that this class knows by itself (see :data:`FACTS`); override and extend."""
        return {"size": getattr(self, "image_size", None), "fps": FPS}

    def averaged_modules(self) -> dict[str, nn.Module]:
        """Moving averages, each under the name of the submodule that it is of.

        They are saved in that submodule's place, and get the same weights when a folder is opened.
        By default the ``AveragedModel`` of ``networks`` that ``self.average`` is, if any.
        """
        average = getattr(self, "average", None)
        return {} if average is None else {"networks": average.module}

    def export_state_dict(self) -> dict[str, Tensor]:
        """Tensors of the networks used for inference, averaged where there is an average."""
        state = self._tensors(self.inference_modules)
        for name, module in self.averaged_modules().items():
            averaged = {f"{name}.{key}": value for key, value in module.state_dict().items()}
            state |= {_plain(key): value for key, value in averaged.items()}
        return state

    def save_pretrained(
        self,
        directory: str | Path,
        *,
        with_discriminator: bool = False,
        dtype: Literal["float32", "float16"] = "float32",
        **facts: Any,
    ) -> Path:
        """Save the model as a folder that :meth:`from_pretrained` opens anywhere.

        The folder appears whole or not at all; one that was saved before is replaced, other files
        in it stay.

        Args:
            directory: the folder, made with its parents.
            with_discriminator: keep the discriminator, for adversarial fine-tuning.
            dtype: of the file's floating-point tensors; they are float32 again when opened.
            facts: entries for ``config.json``: those of :data:`FACTS` and any other plain values.

        Returns:
            The folder.

        Raises:
            ValueError: if the folder holds anything else, or a value cannot be saved.
        """
        target = Path(directory).resolve()
        kept = _files_to_keep(target)
        config = json.dumps(self._config(facts), indent=2, ensure_ascii=False) + "\n"
        files = {_MODEL: self.export_state_dict()}
        if with_discriminator:
            files[_DISCRIMINATOR] = self._tensors(self.discriminator_modules)
            if not files[_DISCRIMINATOR]:
                raise ValueError(f"{class_name(type(self))} has no discriminator to save")

        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        fresh.mkdir()
        try:
            for name, state in files.items():
                save_file(_storable(state, dtype), fresh / name, metadata={"format": "pt"})
            (fresh / _CONFIG).write_text(config, encoding="utf-8")
            for file in kept:
                shutil.copy2(file, fresh / file.name)
            replace_folder(fresh, target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return target

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        map_location: str | torch.device = "cpu",
        revision: str | None = None,
        **overrides: Any,
    ) -> Self:
        """Open a saved model, in eval mode; what its last training froze is free again.

        Args:
            name: a model of the package (``face-reader``), a folder, a Lightning ``.ckpt`` file,
                or an ``organisation/name`` on the Hugging Face hub, looked for in this order. The
                package's own are verified by their sha256.
            map_location: device to put it on.
            revision: branch, tag or commit of a model on the hub; its main branch by default.
            overrides: hyperparameters to replace.

        Raises:
            FileNotFoundError: if there is no such model.
            ValueError: if it is a model of another class, damaged in any way, or a hyperparameter
                cannot be what is given.
        """
        return load_pretrained(name, cls, map_location, revision, **overrides)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Name the class, so that a run's checkpoint opens without being told what it is."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["class"] = class_name(type(self))

    def _tensors(self, modules: Iterable[str] | None) -> dict[str, Tensor]:
        prefixes = ("",) if modules is None else tuple(f"{name}." for name in modules)
        state = {_plain(key): value for key, value in self.state_dict().items()}
        return {key: value for key, value in state.items() if key.startswith(prefixes)}

    def _config(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        reserved = sorted(set(facts) & set(_HEADER))
        if reserved:
            raise ValueError(f"{reserved[0]!r} is written by save_pretrained itself, leave it out")
        own = {key: value for key, value in self.card().items() if value is not None}
        config: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "class": class_name(type(self)),
            "hparams": _plain_hparams(dict(self.hparams)),
            "package_version": talkingface.__version__,
        } | dict.fromkeys(FACTS)
        config |= dict(self.saved_facts or {}) | own | dict(facts)
        for section in (config["hparams"], config):
            for key, value in section.items():
                try:
                    json.dumps(value)
                except (TypeError, ValueError) as error:
                    raise ValueError(
                        f"{key!r} = {value!r} cannot be saved: give plain values ({error})"
                    ) from error
        return config


def load_pretrained(
    path: str | Path,
    cls: type | str | None = None,
    map_location: str | torch.device = "cpu",
    revision: str | None = None,
    **overrides: Any,
) -> Any:
    """Open a saved model of any class, in eval mode.

    Args:
        path: as in :meth:`PretrainedMixin.from_pretrained`.
        cls: its class, as such or as ``"package.module:Class"``, which is then imported. Without it
            the file's own word is taken, inside ``talkingface.models`` only; and so it is beside
            the name of a class from elsewhere, which cannot be meant for the package's own models.
        map_location: device to put it on.
        revision: branch, tag or commit of a model on the hub.
        overrides: hyperparameters to replace.

    Raises:
        FileNotFoundError: if there is no such model.
        ValueError: if it is a model of another class, damaged in any way, or a hyperparameter
            cannot be what is given.

    Example:
        >>> load_pretrained(getfixture("tmp_path"))
        Traceback (most recent call last):
        ...
        FileNotFoundError: ... is not a saved model: it has no config.json
    """
    source = _locate(path, revision)
    if source.is_dir():
        config = _read_config(source / _CONFIG)
        wanted = _wanted_class(cls, config["class"])
        model = _build(wanted, config["class"], config["hparams"], overrides, source / _CONFIG)
        _fill(
            model, load_state_dict_file(source / _MODEL), model.inference_modules, source / _MODEL
        )
        for name, module in model.averaged_modules().items():
            module.load_state_dict(model.get_submodule(name).state_dict())
        discriminator = source / _DISCRIMINATOR
        if discriminator.exists() and model._tensors(model.discriminator_modules):
            state = load_state_dict_file(discriminator)
            _fill(model, state, model.discriminator_modules, discriminator)
        else:
            model.lacks_discriminator = bool(model._tensors(model.discriminator_modules))
        model.saved_facts = {key: config[key] for key in config if key not in _HEADER}
    else:
        checkpoint = load_checkpoint_file(source)
        parts = checkpoint if isinstance(checkpoint, dict) else {}
        if not all(isinstance(parts.get(key), dict) for key in ("state_dict", "hyper_parameters")):
            raise ValueError(
                f"{source} is not a Lightning checkpoint: give the .ckpt file of a run or the "
                f"folder of a saved model ({_CONFIG} and {_MODEL})"
            )
        hparams = _plain_hparams(checkpoint["hyper_parameters"])
        wanted = _wanted_class(cls, checkpoint.get("class"))
        model = _build(wanted, checkpoint.get("class"), hparams, overrides, source)
        _fill(model, checkpoint["state_dict"], None, source)
    return model.to(map_location).eval()


def resolve_class(name: str, prefix: str = "talkingface.models") -> type:
    """Import ``"package.module:Class"``, only from inside ``prefix`` (``""``: from anywhere).

    Raises:
        ValueError: if the name is outside ``prefix``, or there is no such class.

    Example:
        >>> resolve_class("talkingface.models.pretrained:PretrainedMixin").__name__
        'PretrainedMixin'
        >>> resolve_class("os:system")
        Traceback (most recent call last):
        ...
        ValueError: class 'os:system' is not part of talkingface.models: say which class ...
    """
    match = re.fullmatch(r"([A-Za-z_]\w*(?:\.\w+)*):([A-Za-z_]\w*)", name)
    if not match:
        raise ValueError(f"{name!r} does not name a class: write it as package.module:Class")
    module_name, attribute = match.groups()
    if prefix and not f"{module_name}.".startswith(f"{prefix}."):
        raise ValueError(
            f"class {name!r} is not part of {prefix}: say which class to use (the class's own "
            f"from_pretrained, or --method {name}) if you trust it"
        )
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot import class {name!r}: {error}") from error
    if not isinstance(found, type) or (prefix and class_name(found) != name):
        raise ValueError(f"{name!r} is not a class of {module_name}")
    return found


def class_name(cls: type) -> str:
    """Name of a class as ``config.json`` has it: ``"package.module:Class"``."""
    return f"{cls.__module__}:{cls.__qualname__}"


def _locate(path: str | Path, revision: str | None = None) -> Path:
    """Find a bundled model, a folder, a file or, last, a model on the hub."""
    name = str(path)
    found = find_bundled(name) or (Path(path) if os.path.exists(path) else None)
    if found and revision is not None:
        raise ValueError(f"{name} is no model of the hub: it has no revision {revision}.")
    if found:
        return found
    if isinstance(path, str) and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name):
        return _download(name, revision)
    names = ", ".join(bundled_names()) or "none"
    raise FileNotFoundError(
        f"no model {name!r}: it is no folder or file here, no organisation/name of the Hugging "
        f"Face hub, and none of the models in the package ({names})"
    )


def _download(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    files = [_CONFIG, _MODEL, _DISCRIMINATOR]
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=files))
    except Exception as error:  # offline, refused, unknown: each has types of its own
        raise FileNotFoundError(
            f"no model {name!r}: there is no such folder, and https://huggingface.co/{name} gave "
            f"{type(error).__name__}; check the name, or download that page's files and give "
            "their folder"
        ) from error


def _read_config(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise FileNotFoundError(f"{file.parent} is not a saved model: it has no {file.name}")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not valid JSON: {error}") from error
    version = config.get("format_version") if isinstance(config, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise ValueError(
            f"{file} has format version {version}, and talkingface {talkingface.__version__} reads "
            f"up to {FORMAT_VERSION}: install talkingface {config.get('package_version')} or later"
        )
    if version != FORMAT_VERSION or not (
        isinstance(config.get("class"), str) and isinstance(config.get("hparams"), dict)
    ):
        raise ValueError(f"{file} does not describe a model: it needs {', '.join(_HEADER[:3])}")
    return config


def _wanted_class(cls: type | str | None, named: object) -> type | None:
    """Import the class that is asked for by name, unless the file's is the package's own."""
    if not isinstance(cls, str):
        return cls
    wanted = resolve_class(cls, prefix="")
    inside = [str(name).startswith("talkingface.models.") for name in (cls, named)]
    related = any(class_name(base) == named for base in wanted.__mro__)
    return None if inside == [False, True] and not related else wanted


def _build(
    wanted: type | None,
    named: object,
    hparams: dict[str, Any],
    overrides: dict[str, Any],
    file: Path,
) -> Any:
    """Construct the wanted class, or the subclass of it that the file names.

    What its last training froze was that training's affair: who fine-tunes it would find that
    nothing changes.
    """
    if not isinstance(named, str):
        cls = wanted
    elif wanted is not None and named in map(class_name, wanted.__mro__):
        cls = wanted
    else:
        cls = _named_class(named, wanted, file)
    if cls is None:
        raise ValueError(f"{file} does not name its class: open it with the class's own method")
    kept = {name: value for name, value in hparams.items() if name != "freeze"}
    try:
        return cls(**kept | _checked(cls, overrides))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"cannot make a {class_name(cls)} with the hyperparameters of {file}: {error}"
        ) from error


def _checked(cls: type, overrides: dict[str, Any]) -> dict[str, Any]:
    """Hyperparameters as the class's constructor declares them."""
    declared = inspect.signature(cls).parameters.keys()
    known = {name: value for name, value in overrides.items() if name in declared}
    if not known:
        return overrides
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, skip={*declared} - {*known})
    try:
        return overrides | parser.parse_object(known).as_dict()
    except ArgumentError as error:
        reason = re.sub(r"<class '(\w+)'>|typing\.", r"\1", " ".join(error.message.split()))
        raise ValueError(reason.removeprefix("Parser key ")) from error


def _named_class(name: str, wanted: type | None, file: Path) -> type:
    try:
        found = resolve_class(name)
    except ValueError as error:
        if wanted is None:
            raise ValueError(f"{file}: {error}") from error
        found = object
    wanted = wanted or PretrainedMixin
    if not issubclass(found, wanted):
        raise ValueError(
            f"{file} holds a {name}, not a {class_name(wanted)}: open it with its own class"
        )
    return found


def _fill(
    model: PretrainedMixin, state: Mapping[str, Tensor], modules: Iterable[str] | None, file: Path
) -> None:
    """Load all tensors of some submodules (``None``: of the whole model), and no others."""
    own, label = model._tensors(modules), class_name(type(model))
    state = {_plain(key): tensor for key, tensor in state.items()}
    for key in [*own, *state]:
        if key not in state:
            raise ValueError(
                f"{file} lacks tensor {key!r} of shape {tuple(own[key].shape)}, which {label} needs"
            )
        if key not in own:
            raise ValueError(
                f"{file} has a tensor {key!r} of shape {tuple(state[key].shape)}, which {label} "
                "does not have"
            )
        if own[key].shape != state[key].shape:
            raise ValueError(
                f"tensor {key!r} has shape {tuple(state[key].shape)} in {file} but shape "
                f"{tuple(own[key].shape)} in {label} with these hyperparameters"
            )
    names = {_plain(key): key for key in model.state_dict()}
    model.load_state_dict({names[key]: tensor for key, tensor in state.items()}, strict=False)


def _storable(state: Mapping[str, Tensor], dtype: str) -> dict[str, Tensor]:
    """Copies for a file: on the CPU, contiguous, nothing shared, floating point as ``dtype``."""
    stored = {}
    for key, value in state.items():
        kind = getattr(torch, dtype) if value.is_floating_point() else value.dtype
        stored[key] = value.detach().to("cpu", kind, copy=True).contiguous()
        if dtype == "float16" and not torch.equal(stored[key].isfinite(), value.cpu().isfinite()):
            raise ValueError(f"tensor {key!r} exceeds the range of float16: save it as float32")
    return stored


def _files_to_keep(target: Path) -> list[Path]:
    """Check that a target can be written, and list the files there that are not the model's."""
    if not target.exists():
        return []
    if not target.is_dir():
        raise ValueError(f"{target} is a file: give a folder to save the model in")
    files = list(target.iterdir())
    if files and (not (target / _CONFIG).exists() or not (target / _MODEL).exists()):
        raise ValueError(f"{target} holds other files: give a new or empty folder")
    folders = [file.name for file in files if file.is_dir()]
    if folders:
        raise ValueError(f"{target} holds a folder {folders[0]!r}: give a new or empty folder")
    return [file for file in files if file.name not in (_CONFIG, _MODEL, _DISCRIMINATOR)]


def replace_folder(fresh: Path, target: Path) -> None:
    """Put a complete folder in the place of another; on failure the old one is put back."""
    if not target.exists():
        os.replace(fresh, target)
        return
    old = fresh.with_name(f"{fresh.name}.old")
    os.replace(target, old)
    try:
        os.replace(fresh, target)
    except OSError:
        os.replace(old, target)
        raise
    shutil.rmtree(old)


def _plain(key: str) -> str:
    """Name of a tensor without the layer that ``torch.compile`` puts in."""
    return key.replace("_orig_mod.", "")


def _plain_hparams(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments without the entries (``_class_path``...) that LightningCLI adds."""
    return {key: value for key, value in hparams.items() if not key.startswith("_")}
