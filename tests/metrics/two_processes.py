"""Every metric over a few clips: ``python -m tests.metrics.two_processes FOLDER RANK``."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torchvision.models import alexnet

from talkingface import metrics as m
from talkingface.metrics._base import Described

CLIPS = 3
"""The first process sees two of them, the second one."""


class Colour(torch.nn.Module):
    """Features of frames."""

    num_features = 3

    def forward(self, frames: Tensor) -> Tensor:
        """Mean colour."""
        return frames.mean((2, 3))


def trunk() -> dict[str, Tensor]:
    """Weights of AlexNet's convolutions, the same in every process."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        shapes = alexnet(weights=None).features.state_dict()
    return {
        f"features.{key}": 0.05 * torch.randn(weight.shape, generator=generator)
        for key, weight in shapes.items()
    }


def frames(index: int, size: int = 64, count: int = 2) -> tuple[Tensor, Tensor]:
    """A pair of clips."""
    generator = torch.Generator().manual_seed(index)
    x, noise = torch.rand(2, index + count, 3, size, size, generator=generator)
    return 2 * x - 1, (0.8 * x + 0.2 * noise) * 2 - 1


def rows(index: int, width: int) -> tuple[Tensor, Tensor]:
    """A pair of related features."""
    generator = torch.Generator().manual_seed(index)
    x, noise = torch.randn(2, 20 + index, width, generator=generator)
    return x, x + noise


def points(index: int) -> tuple[Tensor, Tensor]:
    """Landmarks, of which one frame has no face."""
    generator = torch.Generator().manual_seed(index)
    x, y = 256 * torch.rand(2, 4 + index, 68, 2, generator=generator)
    x[1] = torch.nan
    return x, y


def labelled(index: int) -> tuple[Tensor, Tensor]:
    """Predictions or features that know something of their labels."""
    generator = torch.Generator().manual_seed(index)
    labels = torch.randint(0, 6, (30,), generator=generator)
    noise = torch.randn(30, 6, generator=generator)
    return noise + torch.nn.functional.one_hot(labels, 6), labels


def same_or_not(index: int) -> tuple[Tensor, Tensor]:
    """Scores of pairs."""
    scores, labels = labelled(index)
    return scores[:, 0], labels == 0


def track(index: int) -> tuple[Tensor, Tensor]:
    """Tracks of a clip."""
    x, y = rows(index, 1)
    return x[:, 0], y[:, 0]


def probed(index: int) -> Sequence[Any]:
    """Samples to train on in one clip, to test on in the others."""
    return (*labelled(index), "train" if index == 1 else "test")


JOBS: dict[str, tuple[Callable[[], Described], Callable[[int], Sequence[Any]]]] = {
    "psnr": (m.PSNR, frames),
    "ssim": (m.SSIM, frames),
    "ssim atvg": (lambda: m.SSIM("atvg"), lambda i: frames(i, 256, 1)),
    "ms-ssim": (m.MSSSIM, lambda i: frames(i, 176, 1)),
    "few-scale ms-ssim": (m.FewScaleMSSSIM, frames),
    "lpips": (lambda: m.LPIPS(trunk()), frames),
    "fid": (lambda: m.FID(Colour(), "colour"), frames),
    "cpbd": (m.CPBD, lambda i: frames(i, 224, 1)[:1]),
    "csim": (lambda: m.CSIM(Colour(), "colour"), frames),
    "id": (lambda: m.IDSquaredL2(Colour(), "colour"), frames),
    "lmd": (m.LMD, points),
    "lmd atvg": (lambda: m.LMD("atvg"), points),
    "pose lmd": (m.PoseLMD, points),
    "lse": (m.LSE, lambda i: rows(i, 16)),
    "retrieval": (lambda: m.Retrieval(ks=(1, 5)), lambda i: rows(i, 16)),
    "words": (lambda: m.WordAccuracy(groups=[(0, 1, 2)]), labelled),
    "verification": (m.VerificationAUC, same_or_not),
    "embeddings": (m.EmbeddingAUC, labelled),
    "leak": (m.LeakProbe, probed),
    "motion": (lambda: m.MotionCorrelation("yaw"), track),
}


def measure(clips: Sequence[int]) -> dict[str, Any]:
    """What every metric gives of these clips, and of all other processes'."""
    results = {}
    for name, (make, data) in JOBS.items():
        metric: Any = make()
        for index in clips:
            metric.update(*data(index))
        results[name] = metric.compute()
    return results


if __name__ == "__main__":
    folder, rank = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(measure(range(rank, CLIPS, 2)), f"{folder}/{rank}.pt")
    dist.destroy_process_group()
