"""Metrics of talking faces: torchmetrics classes whose definitions have names.

Frames are RGB in [-1, 1], one clip per update; values are means over frames, then over clips.
"""

from talkingface.metrics._base import Value
from talkingface.metrics.detectors import DlibLandmarks, LandmarkDetector
from talkingface.metrics.identity import CSIM, IDSquaredL2
from talkingface.metrics.image import MSSSIM, PSNR, SSIM, FewScaleMSSSIM
from talkingface.metrics.landmark import LMD, PoseLMD
from talkingface.metrics.motion import MotionCorrelation
from talkingface.metrics.perceptual import FID, LPIPS
from talkingface.metrics.probe import EmbeddingAUC, LeakProbe, VerificationAUC, WordAccuracy
from talkingface.metrics.retrieval import Retrieval
from talkingface.metrics.sharpness import CPBD
from talkingface.metrics.sync import LSE, SyncScore, sync_distances, sync_score

__all__ = [
    "CPBD",
    "CSIM",
    "FID",
    "LMD",
    "LPIPS",
    "LSE",
    "MSSSIM",
    "PSNR",
    "SSIM",
    "DlibLandmarks",
    "EmbeddingAUC",
    "FewScaleMSSSIM",
    "IDSquaredL2",
    "LandmarkDetector",
    "LeakProbe",
    "MotionCorrelation",
    "PoseLMD",
    "Retrieval",
    "SyncScore",
    "Value",
    "VerificationAUC",
    "WordAccuracy",
    "sync_distances",
    "sync_score",
]
