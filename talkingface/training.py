"""The training commands: Lightning's command line with stages that build on one another."""

import inspect
import logging
import os
import re
import warnings
from argparse import ArgumentError
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from talkingface.callbacks import LastCheckpoint
from talkingface.models.pretrained import load_pretrained
from talkingface.models.reproducible import ReproducibleModule
from talkingface.models.weights import load_checkpoint_file

CONFIGS = Path(__file__).parent / "configs"
"""Configurations that come with the package."""
QUIET = (
    "LightningCLI's args parameter",
    "You have overridden `on_(before|after)_batch_transfer`",
    ".*does not have many workers",
    ".*treespec, LeafSpec",
    "Checkpoint directory .* exists and is not empty",
)
"""Warnings of Lightning about what is meant to be so, or about itself."""


class TalkingFaceCLI(LightningCLI):
    """LightningCLI with ``--init.<stage> PATH`` and a model folder at the end of ``fit``.

    The best checkpoint (the last one where nothing is monitored) is saved as the folder ``model``
    in ``trainer.default_root_dir``, where the next stage and ``talkingface generate`` take it from.
    ``--ckpt_path last`` goes on with the newest run there.
    """

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Make a parser that raises its errors, in place of printing its usage and exiting."""
        return super().init_parser(exit_on_error=False, **kwargs)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Keep the words as they were given, and find the configurations that they name."""
        self.words: list[str] = args
        super().parse_arguments(parser, find_configs(args))

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add ``--init``, and tell the model how many people and words the data has."""
        parser.add_argument(
            "--init",
            type=dict[str, str],
            default={},
            help="weights to start from, by stage: --init.sync runs/sync/model; not stored",
        )
        parser.link_arguments(
            "data",
            "model.init_args.num_identities",
            compute_fn=count_identities,
            apply_on="instantiate",
        )
        parser.link_arguments(
            "data",
            "model.init_args.num_words",
            compute_fn=count_words,
            apply_on="instantiate",
        )

    def _parse_ckpt_path(self) -> None:
        """Find the checkpoint; unlike Lightning's, this lets the configuration have its way."""
        config = self.config[self.config["subcommand"]]
        path, root = config.get("ckpt_path"), Path(config["trainer"]["default_root_dir"] or ".")
        if path == "last":
            runs = root.glob("**/checkpoints/last.ckpt")
            newest = max(runs, key=lambda file: file.stat().st_mtime, default=None)
            if newest is None:
                raise FileNotFoundError(f"no run to go on with below {root}: drop --ckpt_path.")
            config["ckpt_path"] = str(newest)
        elif path in (None, "best"):
            return
        elif not Path(path).is_file():
            raise FileNotFoundError(f"no checkpoint {path}: give a run's .ckpt file, or last.")
        checkpoint = load_checkpoint_file(config["ckpt_path"])
        if not isinstance(checkpoint, dict) or "pytorch-lightning_version" not in checkpoint:
            raise ValueError(
                f"{config['ckpt_path']} is not a Lightning checkpoint: give a run's .ckpt file "
                "(weights alone start a training by --init)."
            )

    def before_instantiate_classes(self) -> None:
        """Keep a run's newest state as well, unless it keeps none."""
        if self.config[self.subcommand]["trainer"]["enable_checkpointing"] is not False:
            self.trainer_defaults = {"callbacks": LastCheckpoint()}

    def initialise(self) -> None:
        """Start from the weights of earlier stages."""
        weights = self.config[self.subcommand]["init"]
        if not weights:
            return
        start, name = getattr(self.model, "initialise", None), type(self.model).__name__
        if start is None:
            raise ValueError(f"{name} starts from no other stage: drop --init.")
        stages = list(inspect.signature(start).parameters)
        if unknown := sorted(set(weights) - set(stages)):
            raise ValueError(f"{name} has no --init.{unknown[0]}, but {', '.join(stages)}.")
        start(**weights)

    def before_fit(self) -> None:
        """Start from earlier stages; a resumed run goes on in its own folder, with its best."""
        self.initialise()
        path = self.config[self.subcommand]["ckpt_path"]
        for callback in self.trainer.checkpoint_callbacks if path not in (None, "best") else ():
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(Path(path).parent)

    before_validate = before_test = before_fit

    def after_fit(self) -> None:
        """Save the best model as a folder."""
        if self.config["fit"]["trainer"]["fast_dev_run"] or not self.trainer.is_global_zero:
            return
        callback, model = self.trainer.checkpoint_callback, self.model
        steps = getattr(model, "updates", self.trainer.global_step)
        if isinstance(callback, ModelCheckpoint) and os.path.isfile(callback.best_model_path):
            model = load_pretrained(callback.best_model_path, type(self.model))
            checkpoint = load_checkpoint_file(callback.best_model_path)
            steps = checkpoint.get("updates", checkpoint["global_step"])
        folder = model.save_pretrained(
            Path(self.trainer.default_root_dir) / "model",
            with_discriminator=all(hasattr(model, x) for x in model.discriminator_modules),
            training_data=getattr(self.datamodule, "title", ""),
            class_names=getattr(self.datamodule, "class_names", None),
            word_names=getattr(self.datamodule, "word_names", None),
            command=describe(self.words),
            steps=steps,
        )
        print(folder)


def count_identities(data: pl.LightningDataModule) -> int:
    """Number of people in a datamodule's clips; 1 where they have no such labels."""
    data.setup("fit")
    return int(getattr(data, "num_identities", 1)) or 1


def count_words(data: pl.LightningDataModule) -> int:
    """Number of words in a datamodule's clips; 1 where they have no such labels."""
    data.setup("fit")
    return len(getattr(data, "word_names", ())) or 1


def find_configs(arguments: list[str]) -> list[str]:
    """Replace names of configs that come with the package by their paths.

    Example:
        >>> Path(find_configs(["fit", "--config", "pc_avs/main_tiny"])[-1]).name
        'main_tiny.yaml'
    """
    found: list[str] = []
    for argument in arguments:
        option, equals, value = argument.rpartition("=")
        bundled = CONFIGS / f"{value}.yaml"
        named = option == "--config" or (not equals and found[-1:] in (["--config"], ["-c"]))
        if named and not Path(value).is_file():
            if not bundled.is_file():
                near = sorted((CONFIGS / Path(value).parent.name).glob("*.yaml"))
                listed = near or sorted(CONFIGS.glob("*/"))  # of the same method, or the methods
                names = (path.relative_to(CONFIGS).with_suffix("") for path in listed)
                raise FileNotFoundError(
                    f"no configuration {value}: give a yaml file, or one of the package's "
                    f"({', '.join(map(str, names))})."
                )
            argument = f"{option}{equals}{bundled}"
        found.append(argument)
    return found


def describe(arguments: list[str]) -> str:
    """The command, with paths cut to their names: how a model was made, not where.

    Example:
        >>> describe(["fit", "--config", "pc_avs/main_tiny", "--data.root=/home/me/clips"])
        'talkingface fit --config pc_avs/main_tiny --data.root=clips'
        >>> describe(["fit", "--ckpt_path", "/home/me/runs/epoch=9-step=90.ckpt"])
        'talkingface fit --ckpt_path epoch=9-step=90.ckpt'
    """
    words = []
    for argument in arguments:
        named = argument.startswith("-")
        option, equals, value = argument.partition("=") if named else ("", "", argument)
        if Path(value).is_absolute() or os.path.exists(value):  # Path refuses long words
            value = Path(value).name or value
        words.append(f"{option}{equals}{value}")
    return " ".join(["talkingface", *words])


def explain(message: str) -> str:
    """Bring an error of the command line's parser, which may be a page of candidates, to a line.

    Example:
        >>> message = '''Parser key "model":
        ...   Errors:
        ...     - Problem with given class_path 'package.Net':
        ...         Parser key "lr": Expected a <class 'float'>. Got value: fast'''
        >>> explain(message)
        '--model.lr: expected float, not fast.'
    """
    if "compute_fn of link" in message:  # how the parser tells of an error in the data
        return message.rpartition(") failed: ")[2]
    option = "--" + ".".join(re.findall(r'key "([\w.]+)"', message))
    owner = re.search(r"class_path '(?:\w+\.)*(\w+)'", message)
    if owner and (names := re.search(r"arguments are required: (.+)", message)):
        return f"{owner[1]} needs {', '.join(f'{option}.{name}' for name in names[1].split(', '))}."
    if owner and (name := re.search(r"Option '(\w+)' is not accepted", message)):
        return f"{option}.{name[1]}: {owner[1]} has no such argument."
    if missing := re.search(r"No module named '[\w.]+'", message):
        return f"{option}: {missing[0]}: install it, or put the folder that holds it on PYTHONPATH."
    failed = re.search(
        r"Problem with given class_path '([\w.]+)':\s+(?=\S)(?!Parser key)(.+)", message
    )
    if failed:
        return f"{failed[1]}: {failed[2]}"
    kind = r"Expected a (?:<class '(?!NoneType)(\w+)'>|typing\.(\w+\[.*?\]))"
    if wanted := re.search(kind, message):
        if value := re.search(r"(?:Got|Given) value: (.*)", message):
            return f"{option}: expected {wanted[1] or wanted[2]}, not {value[1]}."
    reasons = re.findall(r"^ +- (?!Expected a <class 'NoneType'>)(.+)", message, re.MULTILINE)
    prefix = f"{option}: " if reasons and option != "--" else ""
    return prefix + " ".join((reasons[0] if reasons else message).split())


def train(arguments: list[str]) -> None:
    """Run ``fit``, ``validate`` or ``test``; see ``talkingface fit --help``.

    Raises:
        ValueError: If an option cannot be used, or what it names does not fit together.
        FileNotFoundError: If there is no such configuration, checkpoint or data.
    """
    logging.basicConfig(format="%(message)s")
    logging.getLogger("talkingface").setLevel(logging.INFO)
    for message in QUIET:
        warnings.filterwarnings("ignore", message)
    try:
        TalkingFaceCLI(
            ReproducibleModule,
            pl.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"prog": "talkingface"},
            args=arguments,
            seed_everything_default=0,
            # Else the hyperparameters would hold links' values that a class has no argument for.
            load_from_checkpoint_support=False,
        )
    except ArgumentError as error:
        hint = (
            f"(see talkingface {arguments[0]} --help, with --model.help CLASS or --data.help CLASS "
            "for the arguments of these)"
        )
        raise ValueError(f"{explain(error.message)} {hint}") from error
    except (ValueError, MisconfigurationException) as error:
        raise ValueError(explain(str(error))) from error
    except RuntimeError as error:
        if "loading state_dict" not in str(error):
            raise
        reason = " ".join(str(error).split()[:60])
        raise ValueError(f"the checkpoint does not fit this configuration: {reason}") from error
