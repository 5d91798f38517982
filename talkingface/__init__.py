"""Talking-face generation: published methods, their losses and their data under one API.

Example:
    >>> import talkingface
    >>> sorted(talkingface.PCAVS.controls)
    ['lip', 'pose']
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from talkingface.data.datamodules import (
        FolderDataModule,
        MEADDataModule,
        VoxCeleb2DataModule,
    )
    from talkingface.data.identity_images import IdentityImagesDataModule, WithFaces
    from talkingface.data.synthetic.datamodule import SyntheticDataModule
    from talkingface.data.words import LRWDataModule, WordClipsDataModule
    from talkingface.models.davs.module import DAVS
    from talkingface.models.davs.recognition import DAVSRecognition
    from talkingface.models.experts.identity import IdentityClassifier
    from talkingface.models.experts.inversion.module import Inversion
    from talkingface.models.experts.recognition import FaceRecognition
    from talkingface.models.experts.stylegan2.expert import StyleGAN2
    from talkingface.models.experts.syncnet.expert import SyncExpert
    from talkingface.models.experts.syncnet.syncnet import SyncNet
    from talkingface.models.fc_tfg.module import FCTFG
    from talkingface.models.pc_avs.module import PCAVS
    from talkingface.models.pc_avs.sync import PCAVSSync

__version__ = "0.1.0"
__all__ = [
    "DAVS",
    "FCTFG",
    "PCAVS",
    "DAVSRecognition",
    "FaceRecognition",
    "FolderDataModule",
    "IdentityClassifier",
    "IdentityImagesDataModule",
    "Inversion",
    "LRWDataModule",
    "MEADDataModule",
    "PCAVSSync",
    "StyleGAN2",
    "SyncExpert",
    "SyncNet",
    "SyntheticDataModule",
    "VoxCeleb2DataModule",
    "WithFaces",
    "WordClipsDataModule",
]

_HOME = {
    "DAVS": "talkingface.models.davs.module",
    "DAVSRecognition": "talkingface.models.davs.recognition",
    "FCTFG": "talkingface.models.fc_tfg.module",
    "PCAVS": "talkingface.models.pc_avs.module",
    "PCAVSSync": "talkingface.models.pc_avs.sync",
    "IdentityClassifier": "talkingface.models.experts.identity",
    "Inversion": "talkingface.models.experts.inversion.module",
    "FaceRecognition": "talkingface.models.experts.recognition",
    "StyleGAN2": "talkingface.models.experts.stylegan2.expert",
    "SyncExpert": "talkingface.models.experts.syncnet.expert",
    "SyncNet": "talkingface.models.experts.syncnet.syncnet",
    "FolderDataModule": "talkingface.data.datamodules",
    "MEADDataModule": "talkingface.data.datamodules",
    "VoxCeleb2DataModule": "talkingface.data.datamodules",
    "SyntheticDataModule": "talkingface.data.synthetic.datamodule",
    "IdentityImagesDataModule": "talkingface.data.identity_images",
    "WithFaces": "talkingface.data.identity_images",
    "LRWDataModule": "talkingface.data.words",
    "WordClipsDataModule": "talkingface.data.words",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: `import talkingface` stays fast, its parts stay independent.
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'talkingface' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
