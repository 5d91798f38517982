"""Image quality: generated frames against the real ones, pixel by pixel."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from talkingface.data.batch import to_uint8
from talkingface.metrics._base import ClipMean, Value, check_pair, parts

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, from fine to coarse (Wang et al. 2003)."""


class PSNR(ClipMean):
    r"""Peak signal-to-noise ratio in dB, over all three channels.

    .. math:: \mathrm{PSNR} = 10 \log_{10} \frac{2^2}{\mathrm{MSE}}

    of floats in [-1, 1]; mean over frames, then over clips. A frame gives 100 dB at most, where
    equal frames would give infinity.

    Shape:
        - frames, target: (T, 3, H, W) RGB in [-1, 1], one clip
        - mask: (T, H, W) bool, optional: the pixels that count
        - output: scalar in dB, 0 to 100, higher is better

    Raises:
        ValueError: If shapes or ranges are wrong, or a frame's mask is empty.

    Examples:
        >>> metric = PSNR()
        >>> metric.update(torch.zeros(5, 3, 64, 64), torch.full((5, 3, 64, 64), 0.2))
        >>> metric.compute()  # 10 log10(4 / 0.04)
        tensor(20.)
    """

    name = "psnr"
    values = (Value("psnr", 0, 100, "higher"),)
    higher_is_better = True

    def update(self, frames: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Take in one clip."""
        frames, target = check_pair(frames, target)
        errors = (frames.double() - target.double()).square().mean(1)
        if mask is None:
            mse = errors.mean((1, 2))
        else:
            mse = _mean_in_mask(errors, _check_mask(mask, frames))
        # Below 4e-10, that is 100 dB, lie only equal frames.
        self.add((10 * (4 / mse.clamp_min(4e-10)).log10()).mean())


class SSIM(ClipMean):
    r"""Structural similarity, of each channel, mean over pixels and channels, frames, then clips.

    .. math:: \mathrm{SSIM}(x, y) = \frac{(2 \mu_x \mu_y + C_1)(2 \sigma_{xy} + C_2)}
              {(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)},
              \quad C_1 = (0.01 L)^2, C_2 = (0.03 L)^2

    The means and (co)variances are those of a window around each pixel; pixels whose window does
    not lie inside the frame do not count. Profiles, which differ by hundredths:

    - `wang`: Gaussian window, 11 x 11, sigma 1.5; frames as floats in [0, 1], L = 1.
    - `atvg`: uniform window, 7 x 7, sample covariance; frames as 8-bit integers of 256 x 256,
      L = 255: the defaults of scikit-image, which the evaluation of ATVGnet uses.

    Torchmetrics' SSIM counts the frame's border too, so that it equals neither.

    Args:
        profile: `wang` or `atvg`.

    Shape:
        - frames, target: (T, 3, H, W) RGB in [-1, 1], one clip
        - mask: (T, H, W) bool, optional: the pixels whose windows count
        - output: scalar in [-1, 1], higher is better

    Raises:
        ValueError: If the profile is unknown, shapes or ranges are wrong, frames are smaller than
            the window or, for `atvg`, not 256 x 256, or a frame's mask is empty.

    References:
        Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity",
        IEEE TIP 2004; Chen et al., "Hierarchical Cross-Modal Talking Face Generation with Dynamic
        Pixel-Wise Loss" (ATVGnet), CVPR 2019

    Examples:
        >>> metric, frames = SSIM(), torch.rand(2, 3, 64, 64) * 2 - 1
        >>> metric.update(frames, frames)
        >>> metric.compute()
        tensor(1.)
        >>> metric.update(frames, -frames)
        >>> bool(metric.compute() < 0.6)
        True
    """

    name = "ssim"
    profiles = ("wang", "atvg")
    values = (Value("ssim", -1, 1, "higher"),)
    higher_is_better = True

    def __init__(self, profile: Literal["wang", "atvg"] = "wang") -> None:
        super().__init__()
        self.choose(profile)
        if profile == "wang":
            taps = torch.arange(-5, 6, dtype=torch.float64)
            window = torch.exp(-taps.square() / (2 * 1.5**2))
        else:
            window = torch.ones(7, dtype=torch.float64)
        self.register_buffer("window", window / window.sum(), persistent=False)

    window: Tensor

    def update(self, frames: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Take in one clip."""
        frames, target = check_pair(frames, target)
        height, width = frames.shape[-2:]
        if min(height, width) < len(self.window):
            raise ValueError(
                f"SSIM's window is {len(self.window)} px wide, the frames are {height} x {width}"
            )
        if self.profile == "atvg" and (height, width) != (256, 256):
            raise ValueError(
                f"profile 'atvg' is defined at 256 x 256 px, got {height} x {width}; "
                "take 'wang', or resize"
            )
        maps = torch.cat([self._map(x, y).mean(1) for x, y in parts(frames, target)])
        if mask is None:
            self.add(maps.mean())
        else:
            inset = len(self.window) // 2
            inside = _check_mask(mask, frames)[:, inset:-inset, inset:-inset]
            self.add(_mean_in_mask(maps, inside).mean())

    def _map(self, x: Tensor, y: Tensor) -> Tensor:
        """SSIM of every window inside the frame."""
        # Variances do not depend on where zero is: around it, single precision is enough.
        if self.profile == "atvg":
            x, y, peak = to_uint8(x) - 127.5, to_uint8(y) - 127.5, 255.0
            samples = len(self.window) ** 2
            unbiased = samples / (samples - 1)
        else:
            x, y, peak, unbiased = x / 2, y / 2, 1.0, 1.0
        moments = torch.cat([x, y, x * x, y * y, x * y], dim=1)
        taps = self.window.to(moments).expand(moments.shape[1], 1, 1, -1)
        blurred = F.conv2d(moments, taps, groups=len(taps))
        blurred = F.conv2d(blurred, taps.mT, groups=len(taps))
        mx, my, xx, yy, xy = blurred.chunk(5, dim=1)
        variances = unbiased * (xx - mx * mx + yy - my * my)
        covariance = unbiased * (xy - mx * my)
        mx, my = mx + peak / 2, my + peak / 2
        c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
        luminance = (2 * mx * my + c1) / (mx * mx + my * my + c1)
        return luminance * (2 * covariance + c2) / (variances + c2)


class MSSSIM(ClipMean):
    r"""Multi-scale structural similarity over five scales, mean over frames, then clips.

    .. math:: \mathrm{MS\text{-}SSIM} = \mathrm{SSIM}_5^{\,w_5} \prod_{j=1}^{4} cs_j^{\,w_j}

    with the contrast-structure term :math:`cs` of scale j; each scale halves the size. Computed by
    torchmetrics: Gaussian window 11 x 11, sigma 1.5, frames as floats in [0, 1] with range 1, all
    channels together, negative terms set to zero.

    Shape:
        - frames, target: (T, 3, H, W) RGB in [-1, 1], one clip; H and W at least 176
        - output: scalar in [0, 1], higher is better

    Raises:
        ValueError: If shapes or ranges are wrong, or the frames are too small; see
            `FewScaleMSSSIM`.

    References:
        Wang et al., "Multiscale structural similarity for image quality assessment", Asilomar 2003

    Examples:
        >>> metric, frames = MSSSIM(), torch.full((1, 3, 176, 176), 0.5)
        >>> metric.update(frames, frames)
        >>> metric.compute()
        tensor(1.)
    """

    name = "ms_ssim"
    values = (Value("ms_ssim", 0, 1, "higher"),)
    higher_is_better = True
    weights = MS_SSIM_WEIGHTS

    def update(self, frames: Tensor, target: Tensor) -> None:
        """Take in one clip."""
        frames, target = check_pair(frames, target)
        scales = len(self.weights)
        least = 11 * max(1, scales - 1) ** 2  # torchmetrics' rule
        if min(frames.shape[-2:]) < least:
            raise ValueError(
                f"MS-SSIM over {scales} scales needs {least} px or more, the frames are "
                f"{frames.shape[-2]} x {frames.shape[-1]}; FewScaleMSSSIM takes fewer scales"
            )
        per_frame = [
            multiscale_structural_similarity_index_measure(
                (x + 1) / 2, (y + 1) / 2, data_range=1.0, betas=self.weights, reduction="none"
            )
            for x, y in parts(frames, target)
        ]
        self.add(torch.cat(per_frame).mean())


class FewScaleMSSSIM(MSSSIM):
    """MS-SSIM over fewer scales, for small frames; not comparable with `MSSSIM`.

    The exponents of the scales that are left are divided by their sum.

    Args:
        scales: Number of scales, 2 to 4. Two scales take frames of 11 px, three 44 px, four 99 px.

    Shape:
        - frames, target: (T, 3, H, W) RGB in [-1, 1], one clip
        - output: scalar in [0, 1], higher is better

    Raises:
        ValueError: If shapes or ranges are wrong, or frames are too small for the scales.

    Examples:
        >>> metric, frames = FewScaleMSSSIM(), torch.full((1, 3, 64, 64), 0.5)
        >>> metric.update(frames, frames)
        >>> metric.name, metric.compute()
        ('ms_ssim_3_scales', tensor(1.))
    """

    name = "ms_ssim_3_scales"
    values = (Value("ms_ssim_3_scales", 0, 1, "higher"),)

    def __init__(self, scales: int = 3) -> None:
        super().__init__()
        if not 2 <= scales <= 4:
            raise ValueError(f"scales must be 2 to 4, got {scales}; SSIM has one, MSSSIM five")
        self.name = f"ms_ssim_{scales}_scales"
        self.values = (Value(self.name, 0, 1, "higher"),)
        kept = MS_SSIM_WEIGHTS[:scales]
        self.weights = tuple(weight / sum(kept) for weight in kept)  # type: ignore[assignment]


def _check_mask(mask: Tensor, frames: Tensor) -> Tensor:
    wanted = (frames.shape[0], *frames.shape[-2:])
    if mask.dtype != torch.bool or mask.shape != wanted:
        raise ValueError(
            f"the mask must be bool of shape {wanted}, got {mask.dtype} {tuple(mask.shape)}"
        )
    return mask


def _mean_in_mask(maps: Tensor, mask: Tensor) -> Tensor:
    """Mean of each frame's map over its mask."""
    pixels = mask.sum((1, 2))
    if (pixels == 0).any():
        raise ValueError(f"the mask of frame {int(pixels.argmin())} is empty: leave the frame out")
    return (maps * mask).sum((1, 2)) / pixels
