"""Face detection, landmarks, and the papers' crops, declared as templates.

A crop is one affine map per frame, from pixels of the original to pixels of the crop, so that an
image is resampled once, and results can be warped back with the inverse map. Coordinates are
(x, y) in pixels; whole numbers are the centres of pixels. Landmarks are MTCNN's five points: left
eye, right eye, nose, left and right corner of the mouth, where left is the left of the image.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.functional import resize
from torchvision.utils import draw_bounding_boxes, draw_keypoints

from talkingface.data.batch import FPS
from talkingface.data.video import VideoClip

MIN_FACE = 32
"""Pixels: a face whose box is smaller holds too little detail to be worth a crop."""
MIN_SCORE = 0.9
"""Probability from which on a detection counts; below it, boxes and points wander off."""
MIN_OVERLAP = 0.4
"""Intersection over union with the last box from which on a detection is the same face."""
MAX_GAP = FPS
"""Frames in a row (one second) over which a lost face is interpolated."""
SEARCH_SIDES = (640, 1920)
"""Longer side to which a frame is reduced for detection; the second where the first finds none."""
REGION_SIDE = 256
"""Side to which the surroundings of a known face are reduced for detection."""
CHUNK = 16
"""Frames held in memory at once where a clip is streamed."""


@dataclass(frozen=True)
class CropTemplate:
    """How a method crops faces: where three points go, and which part of that picture is kept.

    The time-averaged points of a clip are mapped to ``points`` by one least-squares similarity, so
    that scale and rotation are constant over a clip. Per frame only the translation changes: it
    puts the mouth on ``points[2]``. What is smoothed is this translation, in pixels of the
    template: the one that is used is ``smoothing`` times the one used for the frame before, plus
    ``1 - smoothing`` times the exact one; the first frame's is exact.

    Args:
        name: Name of the crop, kept with prepared data and in checkpoints.
        size: Side in pixels in which ``points`` are given, and the default size of the crop.
        points: (x, y) of the left eye's centre, the right eye's centre and the mouth's centre.
        box: Second crop: (top, left, bottom, right) of the part kept, as fractions of the side.
        smoothing: Weight of the previous frame's translation, in [0, 1).

    Example:
        >>> from talkingface.data.faces import PC_AVS_CROP
        >>> points = torch.tensor(PC_AVS_CROP.points)[None] * 2 + 40  # twice as large, moved
        >>> PC_AVS_CROP.matrices(points)[0].round(decimals=3).tolist()
        [[0.583, 0.0, -41.917], [0.0, 0.583, -23.25]]
    """

    name: str
    size: int
    points: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    smoothing: float = 0.0

    def second_crop(self, size: int | None = None) -> Tensor:
        """Return the map from pixels of the template to pixels of a crop of ``size``.

        Shape:
            - output: (2, 3) float64, to be applied to (x, y, 1).
        """
        top, left, bottom, right = (self.size * edge for edge in self.box)
        size = size or self.size
        horizontal, vertical = size / (right - left), size / (bottom - top)
        # Pixels are areas: the edge of pixel 0 lies at -0.5, before and after.
        return torch.tensor(
            [
                [horizontal, 0.0, (0.5 - left) * horizontal - 0.5],
                [0.0, vertical, (0.5 - top) * vertical - 0.5],
            ],
            dtype=torch.float64,
        )

    def matrices(self, points: Tensor, size: int | None = None) -> Tensor:
        """Return the maps from pixels of a clip to pixels of its crop, one per frame.

        Both crops are one map: similarity, translation, second crop.

        Args:
            points: Left eye, right eye and mouth in every frame of the clip.
            size: Side of the crop in pixels; the template's own by default.

        Shape:
            - ``points``: (T, 3, 2) pixels.
            - output: (T, 2, 3) float64, to be applied to (x, y, 1).

        Raises:
            ValueError: If the averaged points coincide.
        """
        points = points.double()
        target = torch.tensor(self.points, dtype=torch.float64)
        linear = _similarity(points.mean(0), target)
        exact = target[2] - points[:, 2] @ linear.T
        shift = exact.clone()
        for k in range(1, len(shift)):
            shift[k] = self.smoothing * shift[k - 1] + (1 - self.smoothing) * exact[k]
        first = torch.cat([linear.expand(len(shift), 2, 2), shift[:, :, None]], dim=2)
        return compose(self.second_crop(size).expand_as(first), first)

    def follow(self, boxes: Tensor, points: Tensor, size: int | None = None) -> Tensor:
        """Return the maps for a tracked face; this crop takes its points alone.

        Shape:
            - ``boxes``: (T, 4); ``points``: (T, 3, 2); output: (T, 2, 3) float64.
        """
        return self.matrices(points, size)


@dataclass(frozen=True)
class TubeTemplate(CropTemplate):
    """A crop that stands still: one upright square per clip that holds the face in every frame.

    The first-order motion model's (Siarohin et al., 2019) crop of VoxCeleb: the smallest box around
    the face's boxes of all frames, its longer side ``1 + 2 * margin`` times as long, square. The
    head moves within the frame. ``points`` only say where frames that are such crops already have
    them.

    Args:
        margin: Room on each side, as a share of the longer side.

    Example:
        >>> from talkingface.data.faces import FC_TFG_CROP
        >>> boxes = torch.tensor([[10.0, 20.0, 60.0, 80.0], [50.0, 20.0, 110.0, 90.0]])
        >>> FC_TFG_CROP.follow(boxes, torch.zeros(2, 3, 2), 120)[1].tolist()  # 120 px square
        [[1.0, 0.0, -0.5], [0.0, 1.0, 4.5]]
    """

    margin: float = 0.1

    def follow(self, boxes: Tensor, points: Tensor, size: int | None = None) -> Tensor:
        """Return one map, the same for all frames."""
        boxes, size = boxes.double(), size or self.size
        low, high = boxes[:, :2].amin(0), boxes[:, 2:].amax(0)
        scale = size / ((1 + 2 * self.margin) * (high - low).amax())
        # The middle of the box comes to lie in the middle of the crop, between two pixels.
        shift = (size - 1) / 2 - scale * (low + high) / 2
        return torch.cat([scale * torch.eye(2).double(), shift[:, None]], 1).repeat(
            len(boxes), 1, 1
        )


@dataclass(frozen=True)
class FrameTemplate(CropTemplate):
    """A crop that aligns every frame by itself, so that its scale and rotation follow the points.

    Procrustes analysis, as in the released script of DAVS: centroid on centroid, spread on spread,
    and the rotation of the least-squares similarity. ``smoothing`` is the weight of the map that is
    used for the frame before, here in scale and rotation too.

    Example:
        >>> from talkingface.data.faces import DAVS_FRAME_CROP
        >>> near = torch.tensor(DAVS_FRAME_CROP.points)
        >>> maps = DAVS_FRAME_CROP.matrices(torch.stack([near, 2 * near]), 256)
        >>> (maps[0, 0, 0] / maps[1, 0, 0]).round(decimals=3).item()  # half the scale
        2.0
    """

    def matrices(self, points: Tensor, size: int | None = None) -> Tensor:
        """Return the maps from pixels of a clip to pixels of its crop, one per frame.

        Shape:
            - ``points``: (T, 3, 2) pixels; output: (T, 2, 3) float64.

        Raises:
            ValueError: If the points of a frame coincide.
        """
        target = torch.tensor(self.points, dtype=torch.float64)
        maps: list[Tensor] = []
        for places in points.double():
            linear = _similarity(places, target)
            spread = (target - target.mean(0)).norm() / (places - places.mean(0)).norm()
            linear = linear * spread / torch.linalg.det(linear).sqrt()
            shift = target.mean(0) - linear @ places.mean(0)
            exact = torch.cat([linear, shift[:, None]], dim=1)
            last = maps[-1] if maps else exact
            maps.append(self.smoothing * last + (1 - self.smoothing) * exact)
        first = torch.stack(maps)
        return compose(self.second_crop(size).expand_as(first), first)


PC_AVS_CROP = CropTemplate(
    name="pc_avs",
    size=224,
    points=((87.0, 59.0), (137.0, 59.0), (112.0, 120.0)),
    box=(0.0, 16 / 224, 192 / 224, 208 / 224),
    smoothing=0.2,
)
"""PC-AVS's crop at 224 px: alignment of the clip, then rows 0-191 and columns 16-207."""

DAVS_CROP = CropTemplate(
    name="davs",
    size=268,
    points=((96.0, 120.0), (176.0, 120.0), (136.0, 196.0)),
    box=(2 / 260, 2 / 260, 258 / 260, 258 / 260),
)
"""DAVS's crop: rows 104-371, columns 44-311 of the aligned canvas at 260 px, without a rim of 2 px.

The released script aligns every frame by itself, so that scale and rotation jitter; here they are
those of the clip."""

DAVS_FRAME_CROP = FrameTemplate(
    name="davs_frame", size=DAVS_CROP.size, points=DAVS_CROP.points, box=DAVS_CROP.box
)
"""As in the released script: every frame by itself. (Its border is grey, here it is black.)"""

FC_TFG_CROP = TubeTemplate(
    name="fc_tfg",
    size=256,
    points=((92.0, 113.0), (164.0, 113.0), (128.0, 189.0)),
)
"""FC-TFG's crop (section 4.1.1): the first-order motion model's, at 256 px.

That tracker also ends a clip where the face leaves its first place; here the square is the whole
clip's."""

CROP_TEMPLATES: dict[str, CropTemplate] = {
    "pc_avs": PC_AVS_CROP,
    "davs": DAVS_CROP,
    "davs_frame": DAVS_FRAME_CROP,
    "fc_tfg": FC_TFG_CROP,
}
"""The methods' crops by name."""


def _similarity(source: Tensor, target: Tensor) -> Tensor:
    """Return the (2, 2) rotation and scale, without mirroring, of the least-squares similarity."""
    # With points as complex numbers a similarity is z -> a z + b, and a is a linear regression.
    z = torch.view_as_complex((source - source.mean(0)).contiguous())
    w = torch.view_as_complex((target - target.mean(0)).contiguous())
    spread = z.abs().square().sum()
    if spread < 1e-6:
        raise ValueError("eyes and mouth of the face coincide in one point; the crop is undefined.")
    a = (z.conj() * w).sum() / spread
    return torch.stack([torch.stack([a.real, -a.imag]), torch.stack([a.imag, a.real])])


def compose(second: Tensor, first: Tensor) -> Tensor:
    """Return the affine maps that apply ``first``, then ``second``.

    Shape:
        - ``second``, ``first``, output: (..., 2, 3).

    Example:
        >>> double = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
        >>> shift = torch.tensor([[1.0, 0.0, 5.0], [0.0, 1.0, 7.0]])
        >>> compose(double, shift)[:, 2].tolist()
        [10.0, 14.0]
    """
    linear = second[..., :2] @ first[..., :2]
    shift = second[..., :2] @ first[..., 2:] + second[..., 2:]
    return torch.cat([linear, shift], dim=-1)


def invert(matrices: Tensor) -> Tensor:
    """Return the inverse affine maps: from pixels of the crop back to pixels of the original.

    Shape:
        - ``matrices``, output: (..., 2, 3).

    Example:
        >>> there = PC_AVS_CROP.matrices(torch.tensor([[[10.0, 9], [40, 11], [26, 50]]]))
        >>> identity = compose(invert(there), there)[0]
        >>> torch.allclose(identity, torch.eye(3, dtype=torch.float64)[:2])
        True
    """
    linear = torch.linalg.inv(matrices[..., :2])
    return torch.cat([linear, -linear @ matrices[..., 2:]], dim=-1)


def reduction_of(matrices: Tensor) -> int:
    """How many times smaller than the frames crops (T, 2, 3) are, on average, in whole times."""
    scale = float(torch.linalg.det(matrices[:, :, :2].double()).abs().mean())
    return max(1, round(scale**-0.5))


def warp(
    frames: Tensor, matrices: Tensor, height: int, width: int, dense: int | None = None
) -> Tensor:
    """Warp frames by affine maps, bilinearly, with a black border.

    Where a map reduces k-fold, the picture is sampled k times denser and averaged in blocks: no
    aliasing, and still a single resampling.

    Args:
        frames: Pictures, ``uint8`` or float in [-1, 1]; the output is of the same kind.
        matrices: Maps from pixels of ``frames`` to pixels of the output.
        height: Rows of the output.
        width: Columns of the output.
        dense: Samples along a pixel's side, whose mean it is, against aliasing; by default
            :func:`reduction_of` the maps. Frames of a clip need the same, however they are read.

    Shape:
        - ``frames``: (T, 3, H, W).
        - ``matrices``: (T, 2, 3).
        - output: (T, 3, height, width).

    Example:
        >>> frames = torch.full((1, 3, 8, 8), 200, dtype=torch.uint8)
        >>> half = torch.tensor([[[0.5, 0.0, -0.25], [0.0, 0.5, -0.25]]])
        >>> warp(frames, half, 4, 6)[0, 0, 0].tolist()
        [200, 200, 200, 200, 0, 0]
    """
    from kornia.geometry.transform import warp_affine

    # Shifted so that zero, with which the border is filled, is black.
    pictures = frames.float() if frames.dtype == torch.uint8 else frames + 1
    dense = dense or reduction_of(matrices)
    denser = torch.tensor([[dense, 0.0, (dense - 1) / 2], [0.0, dense, (dense - 1) / 2]])
    maps = compose(denser.to(matrices).expand_as(matrices), matrices).to(pictures)
    warped = warp_affine(pictures, maps, (height * dense, width * dense), align_corners=True)
    warped = F.avg_pool2d(warped, dense) if dense > 1 else warped
    return warped.round().clamp(0, 255).byte() if frames.dtype == torch.uint8 else warped - 1


@dataclass(frozen=True, eq=False)
class Face:
    """A detected face.

    Shape:
        - ``box``: (4,) left, top, right, bottom in pixels.
        - ``points``: (5, 2) left eye, right eye, nose, corners of the mouth, in pixels.
        - ``score``: probability in [0, 1].
    """

    box: Tensor
    points: Tensor
    score: float

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


class FaceDetector:
    """Multi-task cascaded CNN (Zhang et al., 2016) as it ships with facenet-pytorch.

    Frames are reduced to a longer side of 640 px for the search, which finds faces of 3 % of it
    and more; a frame in which nothing is found is searched once more at up to 1920 px.

    Args:
        device: Where the networks run.

    Example:
        >>> FaceDetector().detect(torch.zeros(3, 64, 64, dtype=torch.uint8))
        []
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        from facenet_pytorch import MTCNN

        self.device = torch.device(device)
        self._mtcnn = MTCNN(keep_all=True, device=self.device)

    def detect(self, frame: Tensor, near: Tensor | None = None) -> list[Face]:
        """Find faces, the largest first.

        Args:
            frame: The picture.
            near: Box around which to search only: faster, and more exact, where the face is small.

        Shape:
            - ``frame``: (3, H, W) uint8 RGB.
            - ``near``: (4,) left, top, right, bottom in pixels.
        """
        height, width = frame.shape[1:]
        if near is not None:
            side = float((near[2:] - near[:2]).max())
            middle_x, middle_y = ((near[:2] + near[2:]) / 2).tolist()
            left, right = max(0, int(middle_x - side)), min(width, int(middle_x + side) + 1)
            top, bottom = max(0, int(middle_y - side)), min(height, int(middle_y + side) + 1)
            region = frame[:, top:bottom, left:right]
            # Half to twice the last size is looked for.
            return self._search(region, REGION_SIDE, side / 2, (left, top))
        for side in SEARCH_SIDES:
            faces = self._search(frame, side, 0.0, (0, 0))
            if faces or max(height, width) <= side:
                break
        return faces

    def _search(
        self, frame: Tensor, max_side: int, min_face: float, origin: tuple[int, int]
    ) -> list[Face]:
        """Find faces in a picture whose first pixel is ``origin`` of the frame."""
        if min(frame.shape[1:], default=0) < 20:  # the networks' smallest face
            return []
        scale = min(1.0, max_side / max(frame.shape[1:]))
        if scale < 1:
            sides = [max(1, round(side * scale)) for side in frame.shape[1:]]
            frame = resize(frame, sides, antialias=True)
        self._mtcnn.min_face_size = max(20, int(min_face * scale))
        boxes, scores, points = self._mtcnn.detect(frame.permute(1, 2, 0), landmarks=True)
        if boxes is None:
            return []
        offset = torch.tensor(origin, dtype=torch.float32)
        # MTCNN measures from the edge of the first pixel, not from its centre.
        faces = [
            Face(
                (torch.from_numpy(box.astype(np.float32)) / scale - 0.5) + offset.repeat(2),
                (torch.from_numpy(point.astype(np.float32)) / scale - 0.5) + offset,
                float(score),
            )
            for box, score, point in zip(boxes, scores, points, strict=True)
            if score >= MIN_SCORE
        ]
        return sorted(faces, key=lambda face: -face.area)


@cache
def _default_detector() -> FaceDetector:
    return FaceDetector()


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """One face over the frames of a clip (or in a photo: one frame), and the crop that follows it.

    Args:
        path: Name of the clip, for messages.
        template: The crop.
        boxes: The face's box in every frame, in pixels.
        landmarks: Its five points in every frame, in pixels.
        found: Where the face was detected; elsewhere boxes and landmarks are interpolated.

    Shape:
        - ``boxes``: (T, 4).
        - ``landmarks``: (T, 5, 2).
        - ``found``: (T,) bool.

    Example:
        >>> track = FaceTrack.aligned("frames", 3, 224, PC_AVS_CROP)
        >>> frames = torch.zeros(2, 3, 224, 224, dtype=torch.uint8)
        >>> track.crop(frames, start=1, size=96).shape
        torch.Size([2, 3, 96, 96])
    """

    path: str
    template: CropTemplate
    boxes: Tensor
    landmarks: Tensor
    found: Tensor

    @classmethod
    def aligned(cls, path: str, frames: int, side: int, template: CropTemplate) -> "FaceTrack":
        """Return the track of square frames that are aligned already and lack the second crop.

        The authors' own demo clips (VoxCeleb2 after PC-AVS's alignment) are such frames.
        """
        points = torch.tensor(template.points)[[0, 1, 2, 2, 2]]
        points = (points + 0.5) * (side / template.size) - 0.5
        # What a margin is added to lies that far within the frame.
        edge = side * (0.5 - 0.5 / (1 + 2 * getattr(template, "margin", 0.0)))
        box = torch.tensor([edge, edge, side - edge, side - edge]) - 0.5
        found = torch.ones(frames, dtype=torch.bool)
        return cls(path, template, box.expand(frames, 4), points.expand(frames, 5, 2), found)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.found)

    @property
    def points(self) -> Tensor:
        """(T, 3, 2) left eye, right eye, and the mouth's centre: the mean of its corners."""
        return torch.stack([*self.landmarks[:, :2].unbind(1), self.landmarks[:, 3:].mean(1)], dim=1)

    def matrices(self, size: int | None = None) -> Tensor:
        """Return the (T, 2, 3) maps from pixels of the clip to pixels of a crop of ``size``."""
        return self.template.follow(self.boxes, self.points, size)

    def crop(self, frames: Tensor, start: int = 0, size: int | None = None) -> Tensor:
        """Crop consecutive frames of the clip.

        Args:
            frames: The frames.
            start: Index of the first of them in the clip.
            size: Side of the crop in pixels; the template's own by default.

        Shape:
            - ``frames``: (t, 3, H, W) uint8.
            - output: (t, 3, size, size) uint8.

        Raises:
            ValueError: If the frames reach beyond the track.
        """
        if not 0 <= start <= len(self) - len(frames):
            raise ValueError(
                f"{self.path}: frames {start} to {start + len(frames) - 1} were asked for, but the "
                f"face was tracked over {len(self)} frames."
            )
        size = size or self.template.size
        maps = self.matrices(size)
        part = maps[start : start + len(frames)]
        return warp(frames, part, size, size, reduction_of(maps))


def track_face(
    clip: VideoClip,
    template: CropTemplate = PC_AVS_CROP,
    face: int | None = None,
    detector: FaceDetector | None = None,
    frames: int | None = None,
) -> FaceTrack:
    """Follow one face through a clip.

    The face is chosen in the first frame that shows any; in every further frame it is the
    detection that overlaps most with the last box, so that the track never jumps to another
    person. Every frame is searched: around the last box, then as a whole. Gaps of up to a second
    are interpolated linearly; before the first and after the last detection the nearest is held.

    Args:
        clip: The video.
        template: The crop.
        face: Index of the face from left to right, from 0; the largest by default.
        detector: Detector to use; one on the CPU by default.
        frames: How many frames, from the beginning, to follow it through; all by default.

    Raises:
        ValueError: If there is no face, it is lost for more than a second, it is too small, or
            there is none of index ``face``; the message names file and time.

    Example:
        >>> track_face(VideoClip("speech.mp4")).matrices(224).shape  # doctest: +SKIP
        torch.Size([105, 2, 3])
    """
    detector = detector or _default_detector()
    name, last, seen = str(clip.path), None, {}
    gap_start = 0
    for k, frame in enumerate(islice(clip.iterate(), frames)):
        if last:
            near = _overlapping(detector.detect(frame, near=last.box), last)
            found = near or _overlapping(detector.detect(frame), last)
        else:
            found = _choose(detector.detect(frame), face, f"{name} at {k / FPS:.2f} s")
        if found:
            last = seen[k] = found
            gap_start = k + 1
        elif k - gap_start >= MAX_GAP:
            break
        total = k + 1
    else:
        if not seen:
            raise ValueError(f"{name}: no face found in the clip.")
        return _interpolate(name, template, seen, total)
    if not seen:
        raise ValueError(
            f"{name}: no face found from 0.00 s to {k / FPS:.2f} s; cut the clip to where there "
            "is one."
        )
    raise ValueError(
        f"{name}: the face is lost from {gap_start / FPS:.2f} s to {k / FPS:.2f} s, more than a "
        "second; cut the clip there, or choose another face."
    )


def locate_face(
    image: Tensor,
    template: CropTemplate = PC_AVS_CROP,
    face: int | None = None,
    detector: FaceDetector | None = None,
    name: str = "image",
) -> FaceTrack:
    """Find one face in a photo: a track of one frame.

    Args:
        image: The photo.
        template: The crop.
        face: Index of the face from left to right, from 0; the largest by default.
        detector: Detector to use; one on the CPU by default.
        name: Name of the photo, for messages.

    Shape:
        - ``image``: (3, H, W) uint8 RGB.

    Raises:
        ValueError: If there is no face, it is too small, or there is none of index ``face``.
    """
    found = _choose((detector or _default_detector()).detect(image), face, name)
    if found is None:
        raise ValueError(f"{name}: no face found in the image; give one that shows a face.")
    return _interpolate(name, template, {0: found}, 1)


def crop_image(
    image: Tensor,
    template: CropTemplate = PC_AVS_CROP,
    size: int | None = None,
    face: int | None = None,
    detector: FaceDetector | None = None,
    name: str = "image",
) -> Tensor:
    """Find one face in a photo and crop it; the arguments are those of `locate_face`.

    Shape:
        - ``image``: (3, H, W) uint8 RGB.
        - output: (3, size, size) uint8.

    Raises:
        ValueError: If there is no face, it is too small, or there is none of index ``face``.
    """
    return locate_face(image, template, face, detector, name).crop(image[None], size=size)[0]


def _overlapping(faces: list[Face], last: Face) -> Face | None:
    """Return the face that overlaps most with the last one, if any does well enough."""
    from torchvision.ops import box_iou

    if not faces:
        return None
    overlap, index = box_iou(torch.stack([face.box for face in faces]), last.box[None]).max(0)
    return faces[int(index)] if float(overlap) >= MIN_OVERLAP else None


def _choose(faces: list[Face], index: int | None, where: str) -> Face | None:
    """Return the largest face or, with an index, that one from left to right; None without any."""
    if not faces or index is None:
        return faces[0] if faces else None
    if not 0 <= index < len(faces):
        raise ValueError(
            f"{where}: there is no face {index}; {len(faces)} found, counted from 0 at the left."
        )
    return sorted(faces, key=lambda face: float(face.box[0] + face.box[2]))[index]


def _interpolate(name: str, template: CropTemplate, seen: dict[int, Face], total: int) -> FaceTrack:
    """Fill the gaps between the frames in which the face was seen."""
    times = np.array(list(seen))
    known = torch.stack([torch.cat([face.box, face.points.flatten()]) for face in seen.values()])
    filled = [np.interp(np.arange(total), times, column) for column in known.T.numpy()]
    table = torch.from_numpy(np.stack(filled, axis=1)).float()
    boxes, landmarks = table[:, :4], table[:, 4:].reshape(total, 5, 2)
    sides = (boxes[:, 2:] - boxes[:, :2]).amax(1)
    if float(sides.median()) < MIN_FACE:
        when = f" at {int(sides.argmin()) / FPS:.2f} s" if total > 1 else ""
        raise ValueError(
            f"{name}: the face is tiny, {float(sides.min()):.0f} px{when}; at least {MIN_FACE} px "
            "are needed: give a closer picture, or choose another face."
        )
    found = torch.zeros(total, dtype=torch.bool)
    found[times] = True
    return FaceTrack(name, template, boxes, landmarks, found)


class CroppedClip:
    """A clip seen through its crop: frames are decoded and cropped when they are read.

    It reads like a `VideoClip`.

    Args:
        clip: The video.
        track: The face's track over its frames, or over the first of them, which then count alone.
        size: Side of the crop in pixels; the template's own by default.

    Example:
        >>> clip = VideoClip("speech.mp4")  # doctest: +SKIP
        >>> CroppedClip(clip, track_face(clip), 96).read(10, 5).shape  # doctest: +SKIP
        torch.Size([5, 3, 96, 96])
    """

    def __init__(self, clip: VideoClip, track: FaceTrack, size: int | None = None) -> None:
        self.clip = clip
        self.track = track
        self.path = clip.path
        self.has_audio = clip.has_audio
        self.frame_count = len(track)
        self.height = self.width = size or track.template.size
        self._matrices = track.matrices(self.height)
        self._dense = reduction_of(self._matrices)

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.frame_count

    def _crop(self, frames: Tensor, indices: slice | list[int]) -> Tensor:
        return warp(frames, self._matrices[indices], self.height, self.width, self._dense)

    def read(self, start: int = 0, count: int | None = None) -> Tensor:
        """Return ``count`` frames from ``start`` on, (T, 3, size, size) uint8.

        Raises:
            ValueError: if the window does not lie within the track.
        """
        count = self.frame_count - start if count is None else count
        if not (start >= 0 and count >= 0 and start + count <= self.frame_count):
            raise ValueError(
                f"{self.path} has a track of {self.frame_count} frames: "
                f"a window of {count} frames from frame {start} does not lie within it."
            )
        return self._crop(self.clip.read(start, count), slice(start, start + count))

    def __getitem__(self, index: int | slice | Sequence[int]) -> Tensor:
        """Return the frame of an index, or the frames of a slice or a list of indices."""
        if isinstance(index, slice):
            index = range(self.frame_count)[index]
        if isinstance(index, Sequence):
            numbers = range(self.frame_count)  # the clip may have more
            indices = [numbers[number] for number in index]
            return self._crop(self.clip[indices], indices)
        return self[[index]][0]

    def iterate(self, start: int = 0) -> Iterator[Tensor]:
        """Yield the frames, (3, size, size) uint8, one after another; memory stays flat."""
        frames = islice(self.clip.iterate(start), max(self.frame_count - start, 0))
        while chunk := list(islice(frames, CHUNK)):
            yield from self._crop(torch.stack(chunk), slice(start, start + len(chunk)))
            start += len(chunk)


def preview(frame: Tensor, track: FaceTrack, index: int = 0, size: int | None = None) -> Tensor:
    """Draw a frame with the face's box (red), points (green) and crop (white) beside the crop.

    Args:
        frame: The original photo or a frame of the clip.
        track: The face's track.
        index: Index of the frame in the clip.
        size: Side of the crop in pixels; the template's own by default.

    Shape:
        - ``frame``: (3, H, W) uint8.
        - output: (3, max(size, 360), W') uint8.

    Example:
        >>> track = FaceTrack.aligned("photo", 1, 224, PC_AVS_CROP)
        >>> preview(torch.zeros(3, 224, 224, dtype=torch.uint8), track).shape
        torch.Size([3, 360, 720])
    """
    crop = track.crop(frame[None], index, size)[0]
    side, height = crop.shape[-1], max(crop.shape[-1], 360)
    scale = height / frame.shape[1]
    picture = resize(frame, [height, math.ceil(frame.shape[2] * scale)], antialias=True)
    edge = side - 0.5
    corners = torch.tensor([[-0.5, -0.5], [edge, -0.5], [edge, edge], [-0.5, edge]])
    back = invert(track.matrices(side)[index]).float()
    outline = corners @ back[:, :2].T + back[:, 2]
    ring = [(0, 1), (1, 2), (2, 3), (3, 0)]
    picture = draw_keypoints(picture, outline[None] * scale, ring, "white", radius=1, width=2)
    picture = draw_bounding_boxes(picture, track.boxes[index][None] * scale, colors="red", width=2)
    points = track.landmarks[index][None] * scale
    picture = draw_keypoints(picture, points, colors="lime", radius=max(2, round(side / 90)))
    beside = resize(crop, [height, height], antialias=True)
    return torch.cat([picture, beside], dim=2)
