"""Finding the 68 facial landmarks that the landmark metrics compare."""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from talkingface.data.batch import to_uint8
from talkingface.metrics._base import check_frames

MODEL = "shape_predictor_68_face_landmarks.dat"
LEAST = 256
"""Smaller frames are enlarged to this side: dlib finds faces of 80 px and more."""


def find_model(name: str) -> Path:
    """Find a file of dlib's models where the extra `eval` has put it.

    Raises:
        ImportError: If it is not installed.

    Examples:
        >>> find_model("shape_predictor_68_face_landmarks.dat").suffix
        '.dat'
    """
    try:
        packaged = files("face_recognition_models") or []
        return Path(str(next(file for file in packaged if file.name == name).locate()))
    except (PackageNotFoundError, StopIteration) as error:
        raise ImportError(f"{name} is missing: pip install 'talkingface[eval]'") from error


class LandmarkDetector(Protocol):
    """Anything that finds landmarks; its name goes with the results.

    Shape:
        - frames: (T, 3, H, W) RGB in [-1, 1]
        - output: (T, 68, 2) x and y in pixels of these frames, a pixel's centre having integer
          coordinates, in iBUG's order; NaN rows where no face is found
    """

    @property
    def name(self) -> str:
        """Which detector it is."""

    def __call__(self, frames: Tensor, /) -> Tensor:
        """Find the landmarks of every frame by itself."""


class DlibLandmarks:
    """dlib's frontal face detector and 68-point shape predictor, on the CPU, for real faces.

    Every frame is searched by itself; of several faces the largest is taken. Needs the extra
    `eval`: ``pip install 'talkingface[eval]'``. The predictor was trained on the iBUG 300-W set,
    which is for research only.

    Shape:
        - frames: (T, 3, H, W) RGB in [-1, 1]
        - output: (T, 68, 2) pixels; NaN rows where no face is found

    Raises:
        ImportError: If dlib or its model is not installed.
        ValueError: If the frames are not in that range.

    References:
        Kazemi and Sullivan, "One Millisecond Face Alignment with an Ensemble of Regression Trees",
        CVPR 2014; Sagonas et al., "300 Faces In-The-Wild Challenge", IVC 2016

    Examples:
        >>> detect = DlibLandmarks()
        >>> detect(torch.zeros(2, 3, 64, 64)).isnan().all()  # no face
        tensor(True)
    """

    name = "dlib_68"

    def __init__(self) -> None:
        try:
            import dlib
        except ImportError as error:
            raise ImportError("dlib is missing: pip install 'talkingface[eval]'") from error
        self._detect = dlib.get_frontal_face_detector()
        self._predict = dlib.shape_predictor(str(find_model(MODEL)))

    def __call__(self, frames: Tensor, /) -> Tensor:
        """Find the landmarks of every frame by itself."""
        frames = check_frames(frames)
        scale = max(1.0, LEAST / min(frames.shape[-2:]))
        rows = []
        for frame in frames:
            if scale > 1:
                frame = F.interpolate(
                    frame[None], scale_factor=scale, mode="bilinear", align_corners=False
                )[0]
            image = to_uint8(frame).permute(1, 2, 0).contiguous().cpu().numpy()
            faces = self._detect(image, 0)
            if not faces:
                rows.append(torch.full((68, 2), torch.nan))
                continue
            found = self._predict(image, max(faces, key=lambda box: box.area())).parts()
            points = torch.tensor([(point.x, point.y) for point in found], dtype=torch.float32)
            rows.append((points + 0.5) / scale - 0.5)
        return torch.stack(rows).to(frames.device)
