"""The methods and stages at their smallest sizes, random batches for them, and one way to fit."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader, default_collate

from talkingface.data.batch import AUDIO_CONTEXT, SAMPLES_PER_FRAME
from talkingface.models.components.stylegan2_generator import Synthesis
from talkingface.models.davs.module import DAVS
from talkingface.models.davs.recognition import DAVSRecognition
from talkingface.models.experts.identity import IdentityClassifier
from talkingface.models.experts.inversion.module import Inversion
from talkingface.models.experts.readers import FaceReader, IdentityReader
from talkingface.models.experts.stylegan2.expert import StyleGAN2
from talkingface.models.experts.syncnet.expert import SyncExpert
from talkingface.models.fc_tfg.module import FCTFG
from talkingface.models.pc_avs.module import PCAVS
from talkingface.models.pc_avs.sync import PCAVSSync

SIZE, FRAMES, IDENTITIES, WORDS = 32, 2, 4, 3


@dataclass(frozen=True)
class Tiny:
    """A module and the smallest arguments with which it has all its parts.

    Args:
        cls: The module's class.
        sizes: Constructor arguments.
        random: Arguments that turn on what is random or carried along in training.
        quiet: Arguments that turn off augmentation.
        separate: Arguments that turn off the terms that compare a batch's items.
        unlabelled: Arguments with which it does without labels that a folder of clips lacks.
        stages: Names of ``initialise``'s arguments, and the stages they take.
        frames: Frames of a window.
    """

    cls: Any
    sizes: Mapping[str, Any]
    random: Mapping[str, Any] = field(default_factory=dict)
    quiet: Mapping[str, Any] = field(default_factory=dict)
    separate: Mapping[str, Any] = field(default_factory=dict)
    unlabelled: Mapping[str, Any] = field(default_factory=dict)
    stages: Mapping[str, "Tiny"] = field(default_factory=dict)
    frames: int = FRAMES

    def __call__(self, **overrides: Any) -> Any:
        """Make the module."""
        return self.cls(**{**self.sizes, **overrides})

    def still(self, **overrides: Any) -> Any:
        """Make the module so that nothing in it is random or depends on the rest of a batch."""
        cls = type(f"Still{self.cls.__name__}", (_Still, self.cls), {})
        model = cls(**{**self.sizes, **self.quiet, **overrides})
        for part in model.modules():
            if isinstance(part, Synthesis):
                part.register_forward_pre_hook(lambda _, inputs: (*inputs[:2], "fixed"))
        return model.train()

    def responsive(self, **overrides: Any) -> Any:
        """Make the method in eval mode with batch statistics under which frames vary visibly."""
        model = self(**overrides)
        for part in model.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.momentum = 1.0
        with torch.no_grad():
            model.train().generate(default_collate(items(8)))
        return model.eval()


class _Still(LightningModule):
    """Batch norm, spectral norm and dropout stay in eval mode; plain SGD for every player."""

    def train(self, mode: bool = True) -> Any:
        return super().train(False)

    def configure_optimizers(self) -> Any:
        players = ("networks", "discriminator")
        parts = [getattr(self, name) for name in players if hasattr(self, name)]
        optimizers = [SGD(part.parameters(), lr=0.1) for part in parts]
        return optimizers if len(optimizers) > 1 else optimizers[0]


class FaceReaderOfFilms(FaceReader):
    """A face reader for films without labels: they are drawn, the same for the same windows."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Add labels."""
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        draw = torch.Generator().manual_seed(int(batch["start"].sum()))
        shape = batch["video"].shape[:2]
        sizes = {"landmarks": (68, 2), "pose": (6,), "expression": (10,), "gaze": (2,), "blink": ()}
        labels = {key: torch.rand(*shape, *size, generator=draw) for key, size in sizes.items()}
        return {**batch, **labels}


IDENTITY = Tiny(
    IdentityClassifier,
    {
        "num_identities": IDENTITIES,
        "layers": (1, 1, 1, 1),
        "width": 16,
        "groups": 4,
        "width_per_group": 16,
        "map_channels": 16,
        "map_size": 4,
    },
)
SYNC = Tiny(
    PCAVSSync,
    {
        "image_size": SIZE,
        "feature_dim": 32,
        "trunk_channels": 16,
        "trunk_depth": 2,
        "audio_channels": (4, 8, 8, 16),
        "audio_layers": (1, 1, 1, 1),
    },
    quiet={"augment": False},
)
PC_AVS = Tiny(
    PCAVS,
    {
        "image_size": SIZE,
        "num_identities": IDENTITIES,
        "identity_layers": (1, 1, 1, 1),
        "identity_width": 16,
        "identity_groups": 4,
        "identity_width_per_group": 16,
        "trunk_channels": 16,
        "trunk_depth": 2,
        "audio_channels": (4, 8, 8, 16),
        "audio_layers": (1, 1, 1, 1),
        "feature_dim": 32,
        "content_dim": 16,
        "generator_channels": (16, 16, 8, 8),
        "map_channels": 16,
        "discriminator_channels": 8,
        "vgg_weight": 0.0,  # VGG-19 is not tiny
    },
    random={"ema_half_life": 100.0, "clip": 1.0, "face_weight": 1.0, "pose_jitter": 0.05},
    quiet={"augment": False},
    separate={"sync_weight": 0.0},
    stages={"identity": IDENTITY, "sync": SYNC},
)

READER = {"image_size": SIZE, "channels": (8, 8, 16, 16)}
FACE_READER = Tiny(FaceReaderOfFilms, {**READER, "pyramid": 8, "hidden": 16})
IDENTITY_READER = Tiny(IdentityReader, {**READER, "num_identities": IDENTITIES, "dim": 8})

SYNC_EXPERT = Tiny(SyncExpert, {"width": 2}, quiet={"augment": False}, frames=7)

_INVERSION_SIZES: dict[str, Any] = {
    "image_size": SIZE,
    "style_dim": 16,
    "mapping_layers": 2,
    "channel_multiplier": 0.0078125,  # 4 channels at 32 px
    "max_channels": 8,
    "encoder_channels": (4, 8, 8, 16),
    "encoder_depths": (1, 1, 1, 1),
    "lpips_weight": 0.0,  # AlexNet is not tiny
    "identity_weight": 0.0,
    "lr": 1e-3,
}
INVERSION = Tiny(Inversion, _INVERSION_SIZES)
INVERSION_HYPER = Tiny(
    Inversion,
    _INVERSION_SIZES
    | {
        "hyper": True,
        "hyper_channels": (4, 8, 8, 16),
        "hyper_depths": (1, 1, 1, 1),
        "hyper_dim": 8,
        "refinements": 2,
    },
)

STYLEGAN2 = Tiny(
    StyleGAN2,
    {"image_size": SIZE, "style_dim": 8, "mapping_layers": 2, "max_channels": 8},
    random={"ema_half_life": 100.0, "clip": 1.0, "r1_interval": 2, "path_interval": 3},
)

_DAVS_SIZES: dict[str, Any] = {
    "image_size": SIZE,
    "num_words": WORDS,
    "num_identities": IDENTITIES,
    "dim": 16,
    "person_stages": ((8,), (8,), (8,), (16,)),
    "trunk_channels": 16,
    "trunk_depth": 2,
    "landmarks": 8,
    "audio_channels": (8, 8, 16, 16),
    "word_frames": FRAMES,
    "word_hidden": 16,
}
DAVS_RECOGNITION = Tiny(
    DAVSRecognition,
    _DAVS_SIZES,
    random={"ema_half_life": 100.0, "clip": 1.0},
    separate={"contrastive_weight": 0.0},
    unlabelled={"word_weight": 0.0},
)
DAVS_MAIN = Tiny(
    DAVS,
    _DAVS_SIZES
    | {
        "decoder_blocks": ((1, 16), (1, 16), (1, 8)),
        "discriminator_channels": 4,
        "sequence_frames": FRAMES,
        "leak_frames": FRAMES,
        "gan": "both",
        # Terms of order one, for plain gradient descent.
        "l1_weight": 0.02,
        "mouth_weight": 0.04,
        "disentangle_weight": 1.0,
    },
    random={"ema_half_life": 100.0, "clip": 1.0},
    separate={"contrastive_weight": 0.0},
    unlabelled={"word_weight": 0.0, "disentangle": "persons"},
    stages={"recognition": DAVS_RECOGNITION},
)

FC_TFG = Tiny(
    FCTFG,
    {
        **{k: v for k, v in _INVERSION_SIZES.items() if k not in ("lpips_weight", "lr")},
        "audio_width": 2,
        "motion_layers": (1, 2, 3, 4),
        "audio_layers": (3, 4),
        "stddev_group": 1,  # no comparison of a batch's items
        # Networks that are not tiny, or need five frames.
        "sync_weight": 0.0,
        "perceptual_weight": 0.0,
    },
    random={"ema_half_life": 100.0, "clip": 1.0, "mute": 0.5},
    stages={"inversion": INVERSION, "sync": SYNC_EXPERT},
)

METHODS = [PC_AVS, DAVS_MAIN, FC_TFG]
STAGES = [
    IDENTITY,
    SYNC,
    FACE_READER,
    IDENTITY_READER,
    SYNC_EXPERT,
    STYLEGAN2,
    DAVS_RECOGNITION,
    INVERSION,
    INVERSION_HYPER,
]


def label(tiny: Tiny) -> str:
    """Name of a test's parameter."""
    return str(tiny.cls.__name__)


def seed(number: int) -> None:
    """Set all random generators."""
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def items(count: int, start: int = 0, frames: int = FRAMES) -> list[dict[str, Any]]:
    """Random items of a batch, the same for the same number."""
    samples = frames * SAMPLES_PER_FRAME + 2 * AUDIO_CONTEXT
    made = []
    for number in range(start, start + count):
        draw = torch.Generator().manual_seed(number)

        def pictures(amount: int, draw: torch.Generator = draw) -> Tensor:
            coarse = torch.rand(amount, 3, 4, 4, generator=draw) * 2 - 1
            return torch.nn.functional.interpolate(coarse, (SIZE, SIZE))

        made.append(
            {
                "video": pictures(frames),
                "source": pictures(1),
                "audio": 0.1 * torch.randn(samples, generator=draw),
                "audio_gain": torch.rand((), generator=draw) + 0.5,
                "clip": f"clip {number}",
                "start": number,
                "identity": number % IDENTITIES,
                "word": number % WORDS,
                "faces": pictures(1)[0],
                "face_identity": (number + 1) % IDENTITIES,
            }
        )
    return made


def loader(count: int, batch_size: int, start: int = 0, frames: int = FRAMES) -> Any:
    """Random batches, in order."""
    return DataLoader(items(count, start, frames), batch_size)  # type: ignore[arg-type]


def trainer(**options: Any) -> Trainer:
    """Make a trainer on the CPU that writes nothing, unless told otherwise."""
    defaults = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return Trainer(**{**defaults, **options})


def fit(model: Any, data: Any, ckpt_path: str | None = None, **options: Any) -> Trainer:
    """Train, and give back the trainer."""
    made = trainer(**options)
    made.fit(model, data, ckpt_path=ckpt_path)
    return made
