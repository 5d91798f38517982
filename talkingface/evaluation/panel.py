"""The scorers of a comparison, and the networks that they read with."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from talkingface.evaluation.face_scorers import DrawnFaceScorer, LandmarkScorer
from talkingface.evaluation.fid_scorer import FIDScorer
from talkingface.evaluation.record import describe
from talkingface.evaluation.scorers import FrameScorer, IdentityScorer, Scorer
from talkingface.evaluation.sync_scorer import SyncScorer
from talkingface.metrics import (
    CPBD,
    LPIPS,
    MSSSIM,
    PSNR,
    SSIM,
    DlibLandmarks,
    FewScaleMSSSIM,
    LandmarkDetector,
)
from talkingface.metrics.detectors import MODEL as LANDMARKS
from talkingface.metrics.detectors import find_model
from talkingface.metrics.dlib_identity import MODEL as RECOGNITION
from talkingface.metrics.dlib_identity import DlibIdentity
from talkingface.models.experts.imagenet import VGG16Pool
from talkingface.models.experts.readers import FaceReader
from talkingface.models.experts.syncnet.expert import SyncExpert
from talkingface.models.experts.syncnet.syncnet import SyncNet
from talkingface.models.pretrained import load_pretrained

Expert = str | Path | nn.Module
"""A bundled name, a folder, a run's ``.ckpt`` or a hub id; or an open network."""

CORPUS_EXPERTS = {"face": "face-reader", "identity": "identity-reader", "sync": "sync-expert"}
"""Networks of the package that were trained on the synthetic corpus, and read nothing else."""

_CORPUS_ONLY = "the package's network reads drawn faces only"


@dataclass
class Panel:
    """Scorers, and what a report says about them.

    Args:
        scorers: The scorers.
        landmarks: Detector of landmarks, where there is one.
        readers: Class, source and sha256 of the networks that read, by name.
        absent: What is not measured, and why.
    """

    scorers: list[Scorer] = field(default_factory=list)
    landmarks: LandmarkDetector | None = None
    readers: dict[str, dict[str, Any]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def open_panel(
    drawn: bool,
    size: int,
    device: torch.device,
    face: Expert | None = None,
    identity: Expert | None = None,
    sync: Expert | None = None,
    syncnet: str | Path | None = None,
    alexnet: str | Path | None = None,
    vgg16: str | Path | None = None,
) -> Panel:
    """Open all scorers that there are networks for; the others are named.

    Args:
        drawn: Whether the faces are drawn ones. The package's own networks read these, and dlib's
            real ones (extra ``eval``).
        size: Side of the evaluation crop.
        device: Where networks run.
        face: A :class:`~talkingface.models.experts.readers.FaceReader`.
        identity: A network (N, 3, S, S) -> (N, D), such as an
            :class:`~talkingface.models.experts.readers.IdentityReader`.
        sync: A :class:`~talkingface.models.experts.syncnet.expert.SyncExpert`.
        syncnet: The official ``syncnet_v2.model``, for LSE as papers report it.
        alexnet: torchvision's AlexNet weights, for LPIPS.
        vgg16: torchvision's VGG-16 weights, for FID.

    Raises:
        FileNotFoundError: If there is nothing at a path.
        ValueError: If it is another kind of network.
    """
    panel = Panel()
    if drawn:
        face = face or CORPUS_EXPERTS["face"]
        identity = identity or CORPUS_EXPERTS["identity"]
        sync = sync or CORPUS_EXPERTS["sync"]
    _add_picture(panel, size, alexnet, device)
    if vgg16 is None:
        panel.absent["FID"] = "no VGG-16 weights were given (--vgg16)"
    else:
        network = VGG16Pool(vgg16).to(device).eval()
        panel.readers["vgg16"] = describe(network, vgg16)
        panel.scorers.append(FIDScorer(network, "vgg16"))
    _add_landmarks(panel, face, device)
    _add_sync(panel, sync, syncnet, device)
    _add_identity(panel, identity, device)
    return panel


def _open(panel: Panel, expert: Expert, cls: type | None, device: torch.device) -> tuple[Any, str]:
    """Open a network, and write down where it came from under the name that results give it."""
    if isinstance(expert, str | Path):
        network, path = load_pretrained(expert, cls), Path(expert)
        # Every run's model folder is called "model".
        name = "/".join(path.parts[-2:]) if path.name == "model" else path.name
    else:
        network, name = expert, type(expert).__name__
    if name in panel.readers:
        raise ValueError(f"two networks are called {name}: give their folders different names.")
    panel.readers[name] = describe(network, expert)
    return network.to(device).eval(), name


def _add_picture(panel: Panel, size: int, alexnet: str | Path | None, device: torch.device) -> None:
    panel.scorers += [
        FrameScorer(PSNR().to(device), "PSNR", masked=True, unit="dB", digits=2, cap=100),
        FrameScorer(SSIM().to(device), "SSIM", masked=True),
    ]
    if size >= 176:
        panel.scorers.append(FrameScorer(MSSSIM().to(device), "MS-SSIM"))
    elif size >= 44:
        panel.scorers.append(FrameScorer(FewScaleMSSSIM().to(device), "MS-SSIM, 3 scales"))
    else:
        panel.absent["MS-SSIM"] = f"frames of {size} px are too small: 44 px are needed"
    if alexnet is None:
        panel.absent["LPIPS"] = "no AlexNet weights were given (--alexnet)"
    else:
        metric = LPIPS(alexnet)
        panel.readers[metric.name] = describe(metric.network, alexnet)
        panel.scorers.append(FrameScorer(metric.to(device), "LPIPS"))
    if size >= 224:
        panel.scorers.append(FrameScorer(CPBD().to(device), "CPBD", paired=False))
    else:
        panel.absent["CPBD"] = f"frames of {size} px hold too few blocks: 224 px are needed"


def _add_landmarks(panel: Panel, face: Expert | None, device: torch.device) -> None:
    if face is not None:
        reader, name = _open(panel, face, FaceReader, device)
        scorer = DrawnFaceScorer(reader, name)
        panel.landmarks = scorer.detector
        panel.scorers.append(scorer)
        return
    panel.absent["motion"] = f"{_CORPUS_ONLY}, and only drawn faces have exact truth"
    try:
        panel.landmarks = DlibLandmarks()
        panel.readers[panel.landmarks.name] = describe(panel.landmarks, find_model(LANDMARKS))
        panel.scorers.append(LandmarkScorer(panel.landmarks))
    except ImportError as error:
        panel.absent["LMD and the face's region"] = str(error)


def _add_sync(
    panel: Panel, sync: Expert | None, syncnet: str | Path | None, device: torch.device
) -> None:
    if syncnet is not None:
        network = SyncNet.from_official(syncnet).to(device).eval()
        panel.readers["syncnet_v2"] = describe(network, syncnet)
        panel.scorers.append(SyncScorer(network, "syncnet_v2", drop_last=True))
    if sync is not None:
        expert, name = _open(panel, sync, SyncExpert, device)
        panel.scorers.append(SyncScorer(expert, name))
    if sync is None and syncnet is None:
        panel.absent["LSE and retrieval"] = (
            f"{_CORPUS_ONLY}; give --syncnet, or an expert trained on such clips with --sync"
        )


def _add_identity(panel: Panel, identity: Expert | None, device: torch.device) -> None:
    if identity is not None:
        panel.scorers.append(IdentityScorer(*_open(panel, identity, None, device)))
        return
    try:
        known = panel.landmarks
        embed = DlibIdentity(known if isinstance(known, DlibLandmarks) else None)
        panel.readers[embed.name] = describe(embed, find_model(RECOGNITION))
        panel.scorers.append(IdentityScorer(embed, embed.name))
    except ImportError as error:
        panel.absent["CSIM"] = f"{error}, or give a network with --identity"
