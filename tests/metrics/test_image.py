import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import convolve1d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor, nn
from torchmetrics import Metric

from talkingface.data.batch import to_uint8
from talkingface.losses import LPIPSLoss
from talkingface.metrics import FID, LPIPS, MSSSIM, PSNR, SSIM, FewScaleMSSSIM
from tests.fixtures import fill
from tests.metrics.two_processes import trunk


def clip(tag: str, size: int, frames: int = 2) -> Tensor:
    return torch.from_numpy(fill.inp_image(f"metrics/{tag}", frames, size, size, cell=16))


def pair(size: int, frames: int = 2) -> tuple[Tensor, Tensor]:
    x = clip("x", size, frames)
    return x, (0.7 * x + 0.3 * clip("y", size, frames)).clamp(-1, 1)


def value(metric: Metric, *clips: tuple[Tensor, ...]) -> float:
    for tensors in clips:
        metric.update(*tensors)
    return float(metric.compute())


def unit(frames: Tensor) -> list[np.ndarray]:
    """Frames as (H, W, 3) in [0, 1]."""
    return list((frames.double().permute(0, 2, 3, 1).numpy() + 1) / 2)


def test_psnr_is_that_of_scikit_image() -> None:
    x, y = pair(40, 10)  # more frames than are worked on at a time
    wanted = [
        peak_signal_noise_ratio(b, a, data_range=1) for a, b in zip(unit(x), unit(y), strict=True)
    ]
    assert value(PSNR(), (x, y)) == pytest.approx(np.mean(wanted), abs=1e-5)


def test_psnr_of_a_mask_and_of_equal_frames() -> None:
    target = torch.zeros(1, 3, 4, 4)
    frames = target.clone()
    frames[..., 2:] = 0.2
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[..., 2:] = True
    assert value(PSNR(), (frames, target, mask)) == pytest.approx(20, abs=1e-5)
    assert value(PSNR(), (frames, target, ~mask)) == 100
    assert value(PSNR(), (torch.ones(1, 3, 4, 4), -torch.ones(1, 3, 4, 4))) == 0


def test_mean_is_over_frames_then_over_clips() -> None:
    short, long = torch.full((1, 3, 4, 4), 0.2), torch.full((9, 3, 4, 4), 0.02)
    clips = [(frames, torch.zeros_like(frames)) for frames in (short, long)]
    assert value(PSNR(), *clips) == pytest.approx((20 + 40) / 2, abs=1e-5)


def test_ssim_wang_is_that_of_scikit_image() -> None:
    x, y = pair(48)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    wanted, masked = [], []
    mask = torch.zeros(2, 48, 48, dtype=torch.bool)
    mask[:, 10:30, 20:48] = True
    for a, b, inside in zip(unit(x), unit(y), mask.numpy(), strict=True):
        mean, full = structural_similarity(a, b, channel_axis=2, data_range=1, full=True, **options)
        wanted.append(mean)
        inside[:5], inside[-5:], inside[:, :5], inside[:, -5:] = 0, 0, 0, 0
        masked.append(full[inside].mean())
    assert value(SSIM(), (x, y)) == pytest.approx(np.mean(wanted), abs=1e-5)
    assert value(SSIM(), (x, y, mask)) == pytest.approx(np.mean(masked), abs=1e-5)


def test_ssim_atvg_is_scikit_images_default() -> None:
    x, y = pair(256, 1)
    a, b = (to_uint8(frames)[0].permute(1, 2, 0).numpy() for frames in (x, y))
    wanted = structural_similarity(a, b, channel_axis=2)
    assert value(SSIM("atvg"), (x, y)) == pytest.approx(wanted, abs=1e-5)


def multi_scale(x: np.ndarray, y: np.ndarray, weights: list[float]) -> float:
    """MS-SSIM of (3, H, W) in [0, 1], written out."""
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    product = 1.0

    def blur(z: np.ndarray) -> np.ndarray:
        for axis in (1, 2):
            z = convolve1d(z, taps / taps.sum(), axis=axis, mode="mirror")
        return z

    for scale, weight in enumerate(weights):
        mx, my = blur(x), blur(y)
        contrast = (2 * (blur(x * y) - mx * my) + 9e-4) / (
            blur(x * x) - mx * mx + blur(y * y) - my * my + 9e-4
        )
        if scale == len(weights) - 1:
            term = ((2 * mx * my + 1e-4) / (mx * mx + my * my + 1e-4) * contrast).mean()
        else:
            term = contrast[:, 5:-5, 5:-5].mean()
        product *= max(term, 0) ** weight
        half = x.shape[1] // 2
        x, y = (
            z[:, : 2 * half, : 2 * half].reshape(3, half, 2, half, 2).mean((2, 4)) for z in (x, y)
        )
    return product


def test_ms_ssim_is_its_formula() -> None:
    weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
    for metric, size, exponents in (
        (MSSSIM(), 176, weights),
        (FewScaleMSSSIM(3), 64, [w / sum(weights[:3]) for w in weights[:3]]),
    ):
        x, y = pair(size, 1)
        a, b = ((z[0].double().numpy() + 1) / 2 for z in (x, y))
        wanted = multi_scale(a, b, exponents)
        assert 0.2 < wanted < 0.95
        assert value(metric, (x, y)) == pytest.approx(wanted, abs=1e-4)


def test_lpips_is_that_of_the_loss() -> None:
    weights = trunk()
    x, y = pair(64, 9)
    wanted = float(LPIPSLoss(weights)(x, y))
    assert value(LPIPS(weights), (x, y)) == pytest.approx(wanted, rel=1e-4)


class Corner(nn.Module):
    """Features whose FID can be written down: the pixels of one corner."""

    num_features = 3

    def forward(self, frames: Tensor) -> Tensor:
        assert not self.training
        return frames[..., 0, 0]


def test_fid_is_the_frechet_distance_of_gaussians() -> None:
    frames, target = (scale * clip(tag, 8, 60) for tag, scale in (("a", 1.0), ("b", 0.5)))
    metric = FID(Corner(), "corner").train()
    metric.update(frames[:20], target[:50])
    metric.update(frames[20:], target[50:])
    a, b = (z[..., 0, 0].double() for z in (frames, target))
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(ca)
    root = vectors @ values.sqrt().diag() @ vectors.T  # of the covariance
    cross = torch.linalg.eigvalsh(root @ cb @ root).sqrt().sum()
    wanted = (a.mean(0) - b.mean(0)).square().sum() + ca.trace() + cb.trace() - 2 * cross
    assert float(metric.compute()) == pytest.approx(float(wanted), abs=1e-5)
    assert metric.frames == (60, 60)
    assert metric.name == "fid[corner]"


GOOD = torch.zeros(2, 3, 256, 256)
PAIRED = [PSNR(), SSIM(), SSIM("atvg"), MSSSIM(), FewScaleMSSSIM()]


@pytest.mark.parametrize("metric", PAIRED, ids=lambda m: m.name + m.profile)
def test_wrong_frames_are_refused(metric: PSNR) -> None:
    for frames, target, message in (
        (to_uint8(GOOD), GOOD, "floats in"),
        (GOOD * 255 + 255, GOOD, r"\[-1, 1\], got values from 255"),
        (GOOD, GOOD * torch.nan, "target must be in"),
        (GOOD[:1], GOOD, "differ in length or size"),
        (GOOD[..., :128, :128], GOOD, "differ in length or size"),
        (GOOD[0], GOOD[0], r"\(T, 3, H, W\)"),
        (GOOD[:0], GOOD[:0], r"\(T, 3, H, W\)"),
    ):
        with pytest.raises(ValueError, match=message):
            metric.update(frames, target)
    with pytest.raises(ValueError, match="no clip"):
        metric.compute()


def test_wrong_sizes_and_masks_are_refused() -> None:
    def small(size: int) -> tuple[Tensor, Tensor]:
        return GOOD[..., :size, :size], GOOD[..., :size, :size]

    for metric, size, message in (
        (SSIM(), 10, "11 px"),
        (SSIM("atvg"), 224, "256 x 256"),
        (MSSSIM(), 160, "FewScaleMSSSIM"),
        (FewScaleMSSSIM(4), 96, "needs 99 px"),
        (LPIPS(trunk()), 16, "32 px"),
    ):
        with pytest.raises(ValueError, match=message):
            metric.update(*small(size))
    for mask, message in (
        (torch.ones(2, 256, 256), "bool"),
        (torch.zeros(2, 256, 256, dtype=torch.bool), "frame 0 is empty"),
    ):
        for masked in (PSNR(), SSIM()):
            with pytest.raises(ValueError, match=message):
                masked.update(GOOD, GOOD, mask)
    with pytest.raises(ValueError, match="take one of wang, atvg"):
        SSIM("gauss")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_features"):
        FID(nn.Identity(), "identity")
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="two frames"):
        FID(Corner(), "corner").compute()


def test_blur_lowers_every_score() -> None:
    """Directions: what is worse scores worse."""
    x = clip("x", 256, 1)
    near, far = (F.avg_pool2d(F.pad(x, (k // 2,) * 4, "reflect"), k, 1) for k in (3, 9))
    for metric in PAIRED:
        metric.reset()
        better = value(metric, (near, x))
        metric.reset()
        assert value(metric, (far, x)) < better
        metric.reset()
