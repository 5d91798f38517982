"""The training commands: Lightning's command line with stages that build on one another."""

import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from talkingface.models.pretrained import load_pretrained
from talkingface.models.reproducible import ReproducibleModule


CONFIGS = Path(__file__).parent / "configs"
"""Configurations that come with the package."""


class TalkingFaceCLI(LightningCLI):
    """LightningCLI with ``--init.<stage> PATH`` and a model folder at the end of ``fit``.

    The best checkpoint (the last one where nothing is monitored) is saved as a model folder in
    ``trainer.default_root_dir``, where the next stage and ``talkingface generate`` take it from.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add ``--init``, and tell the model how many people the data has."""
        parser.add_argument(
            "--init",
            type=dict[str, str],
            default={},
            help="weights to start from, by stage: --init.sync runs/sync; paths are not stored",
        )
        parser.link_arguments(
            "data",
            "model.init_args.num_identities",
            compute_fn=count_identities,
            apply_on="instantiate",
        )

    def before_fit(self) -> None:
        """Start from earlier stages."""
        if weights := self.config["fit"]["init"]:
            if self.config["fit"].get("ckpt_path"):
                return  # a resumed run has its weights
            initialise = getattr(self.model, "initialise", None)
            if initialise is None:
                raise ValueError(f"{type(self.model).__name__} starts from nothing: drop --init.")
            try:
                initialise(**weights)
            except TypeError as error:
                raise ValueError(f"--init: {error}") from error

    def after_fit(self) -> None:
        """Save the best model as a folder."""
        callback = self.trainer.checkpoint_callback
        if not isinstance(callback, ModelCheckpoint) or not self.trainer.is_global_zero:
            return
        best = callback.best_model_path or callback.last_model_path
        if best:
            model = load_pretrained(best, type(self.model))
            folder = Path(self.trainer.default_root_dir)
            facts = {"command": " ".join(["talkingface", *sys.argv[1:]])}
            data = getattr(self.datamodule, "root", None)
            saved = model.save_pretrained(
                folder / "model",
                with_discriminator=hasattr(model, "discriminator"),
                training_data=str(data),
                class_names=list(getattr(self.datamodule, "class_names", [])),
                **facts,
            )
            print(saved)


def count_identities(data: pl.LightningDataModule) -> int:
    """Number of people in a datamodule's clips."""
    data.setup("fit")
    return int(getattr(data, "num_identities", 1))


def find_configs(arguments: list[str]) -> list[str]:
    """Replace names of configs that come with the package by their paths.

    Example:
        >>> Path(find_configs(["fit", "--config", "pc_avs/main_tiny"])[-1]).name
        'main_tiny.yaml'
    """
    found = []
    for argument in arguments:
        option, equals, value = argument.rpartition("=")
        bundled = CONFIGS / f"{value}.yaml"
        after_config = option == "--config" or (not equals and found[-1:] in (["--config"], ["-c"]))
        if after_config and not Path(value).is_file() and bundled.is_file():
            argument = f"{option}{equals}{bundled}"
        found.append(argument)
    return found


def train(arguments: list[str]) -> None:
    """Run ``fit``, ``validate``, ``test`` or ``predict``; see ``talkingface fit --help``."""
    TalkingFaceCLI(
        ReproducibleModule,
        pl.LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=SaveConfigCallback,
        save_config_kwargs={"overwrite": True},
        parser_kwargs={"parser_mode": "yaml"},
        args=find_configs(arguments),
        seed_everything_default=0,
    )
