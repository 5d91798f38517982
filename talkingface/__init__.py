"""Talking-face generation: published methods, their losses and their data under one API.

Example:
    >>> import talkingface
    >>> sorted(talkingface.PCAVS.controls)
    ['lip', 'pose']
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from talkingface.data.datamodules import FolderDataModule, VoxCeleb2DataModule
    from talkingface.data.synthetic.datamodule import SyntheticDataModule
    from talkingface.data.words import LRWDataModule, WordClipsDataModule
    from talkingface.models.davs.module import DAVS
    from talkingface.models.davs.recognition import DAVSRecognition
    from talkingface.models.experts.identity import IdentityClassifier
    from talkingface.models.experts.syncnet.expert import SyncExpert
    from talkingface.models.experts.syncnet.syncnet import SyncNet
    from talkingface.models.pc_avs.module import PCAVS
    from talkingface.models.pc_avs.sync import PCAVSSync

__version__ = "0.1.0"
__all__ = [
    "DAVS",
    "PCAVS",
    "DAVSRecognition",
    "FolderDataModule",
    "IdentityClassifier",
    "LRWDataModule",
    "PCAVSSync",
    "SyncExpert",
    "SyncNet",
    "SyntheticDataModule",
    "VoxCeleb2DataModule",
    "WordClipsDataModule",
]

_HOME = {
    "DAVS": "talkingface.models.davs.module",
    "DAVSRecognition": "talkingface.models.davs.recognition",
    "PCAVS": "talkingface.models.pc_avs.module",
    "PCAVSSync": "talkingface.models.pc_avs.sync",
    "IdentityClassifier": "talkingface.models.experts.identity",
    "SyncExpert": "talkingface.models.experts.syncnet.expert",
    "SyncNet": "talkingface.models.experts.syncnet.syncnet",
    "FolderDataModule": "talkingface.data.datamodules",
    "VoxCeleb2DataModule": "talkingface.data.datamodules",
    "SyntheticDataModule": "talkingface.data.synthetic.datamodule",
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
