"""Whole clips through an expert, window by window."""

from typing import Any

import torch
from torch import Tensor

from talkingface.models.experts.syncnet.mouths import Box, crop_mouth


def embed_video(network: Any, frames: Tensor, box: Box, batch_size: int) -> Tensor:
    """Embed all windows of five frames of a clip (T, 3, H, W): (T - 4, D).

    Raises:
        ValueError: If frames are of another range or shape, or fewer than five.
    """
    if frames.dim() != 4 or frames.shape[1] != 3 or len(frames) < 5:
        raise ValueError(f"frames must be (T, 3, H, W), T >= 5, got {tuple(frames.shape)}")
    least, most = (float(value) for value in frames.aminmax())
    if not (frames.is_floating_point() and least >= -1.01 and most <= 1.01):
        raise ValueError(f"frames must be floats in [-1, 1], got {frames.dtype}, {least} to {most}")
    features = []
    for start in range(0, len(frames) - 4, batch_size):
        mouths = crop_mouth(frames[start : start + batch_size + 4], box, network.size)
        features.append(network.encode_faces(network.windows(mouths[None])[0]))
    return torch.cat(features)


def embed_audio(network: Any, front_end: Any, audio: Tensor, batch_size: int) -> Tensor:
    """Embed all windows of the sound (samples,) of T = samples // 640 frames: (T - 4, D).

    Raises:
        ValueError: If the sound is of another shape or shorter than five frames.
    """
    windows = front_end.windows(audio)
    return torch.cat([network.encode_audio(part) for part in windows.split(batch_size)])
