"""An embedding of real faces that comes with the extra `eval`."""

import torch
import torch.nn.functional as F
from torch import Tensor

from talkingface.data.batch import to_uint8
from talkingface.metrics._base import check_frames
from talkingface.metrics.detectors import DlibLandmarks, find_model

MODEL = "dlib_face_recognition_resnet_model_v1.dat"
LEAST = 256
"""Smaller frames are enlarged to this side, as for the landmarks."""


class DlibIdentity:
    """dlib's face recognition network, on the CPU, for real faces.

    Each frame is aligned by its own landmarks. Needs the extra `eval`:
    ``pip install 'talkingface[eval]'``.

    Args:
        landmarks: The detector to align by; one of its own by default.

    Shape:
        - frames: (T, 3, H, W) RGB in [-1, 1]
        - output: (T, 128), unit rows; NaN rows where no face is found

    Raises:
        ImportError: If dlib or its model is not installed.
        ValueError: If the frames are not in that range.

    References:
        King, "High Quality Face Recognition with Deep Metric Learning", 2017,
        http://blog.dlib.net/2017/02/high-quality-face-recognition-with-deep.html

    Examples:
        >>> embed = DlibIdentity()
        >>> embed(torch.zeros(2, 3, 64, 64)).isnan().all()  # no face
        tensor(True)
    """

    name = "dlib_resnet_v1"

    def __init__(self, landmarks: DlibLandmarks | None = None) -> None:
        self._landmarks = landmarks or DlibLandmarks()
        import dlib

        self._dlib = dlib
        self._network = dlib.face_recognition_model_v1(str(find_model(MODEL)))

    def __call__(self, frames: Tensor, /) -> Tensor:
        """Embed the face of every frame by itself."""
        frames = check_frames(frames)
        if min(frames.shape[-2:]) < LEAST:
            scale = LEAST / min(frames.shape[-2:])
            frames = F.interpolate(frames, scale_factor=scale, mode="bilinear")
        rows = []
        for frame, points in zip(frames, self._landmarks(frames), strict=True):
            if points.isnan().any():
                rows.append(torch.full((128,), torch.nan))
                continue
            image = to_uint8(frame).permute(1, 2, 0).contiguous().cpu().numpy()
            low, high = points.amin(0).tolist(), points.amax(0).tolist()
            box = self._dlib.rectangle(*(round(edge) for edge in (*low, *high)))
            corners = [self._dlib.point(round(x), round(y)) for x, y in points.tolist()]
            shape = self._dlib.full_object_detection(box, corners)
            rows.append(torch.tensor(list(self._network.compute_face_descriptor(image, shape))))
        return F.normalize(torch.stack(rows), dim=1).to(frames.device)
