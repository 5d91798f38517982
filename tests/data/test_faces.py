"""Crops against hand calculation, drawn patterns, and real photos."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from talkingface.data.faces import (
    DAVS_CROP,
    DAVS_FRAME_CROP,
    FC_TFG_CROP,
    MAX_GAP,
    PC_AVS_CROP,
    CroppedClip,
    Face,
    FaceDetector,
    FaceTrack,
    compose,
    invert,
    locate_face,
    preview,
    track_face,
    warp,
)
from talkingface.data.video import VideoClip, read_image

DATA = Path(__file__).parents[2] / "../shared/data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the real clips are not here")

# (87, 59), (137, 59), (112, 120) after the second crop, by hand:
# x -> (x - 16 + 0.5) * 224 / 192 - 0.5, y -> (y + 0.5) * 224 / 192 - 0.5
CROPPED_POINTS = torch.tensor([[82.9167, 68.9167], [141.25, 68.9167], [112.0833, 140.0833]])


def apply(matrices: Tensor, points: Tensor) -> Tensor:
    """Apply (..., 2, 3) maps to (..., N, 2) points."""
    return points @ matrices[..., :2].mT + matrices[..., None, :, 2]


def similar(points: Tensor, scale: float, degrees: float, shift: tuple[float, float]) -> Tensor:
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    return scale * points.double() @ rotation.T + torch.tensor(shift, dtype=torch.float64)


def track_of(points: Tensor, path: str = "drawn") -> FaceTrack:
    """Return a PC-AVS track through (T, 3, 2) eyes and mouth."""
    landmarks = points[:, [0, 1, 2, 2, 2]].float()
    boxes = torch.cat([points.amin(1), points.amax(1)], 1).float()
    return FaceTrack(path, PC_AVS_CROP, boxes, landmarks, torch.ones(len(points)).bool())


class Frames:
    """A clip in memory."""

    def __init__(self, frames: Tensor) -> None:
        self.frames, self.path, self.has_audio = frames, "clip.mp4", False

    def read(self, start: int = 0, count: int | None = None) -> Tensor:
        return self.frames[start:][:count]

    def __getitem__(self, indices: list[int]) -> Tensor:
        return self.frames[indices]

    def iterate(self, start: int = 0) -> Iterator[Tensor]:
        yield from self.frames[start:]


class Scripted(FaceDetector):
    """Finds, in a frame whose first pixel says k, what is written down for frame k."""

    def __init__(self, script: dict[int, list[tuple[float, float, float]]]) -> None:
        self.script = script

    def detect(self, frame: Tensor, near: Tensor | None = None) -> list[Face]:
        faces = [
            Face(
                torch.tensor([x, y, x + side, y + side]),
                torch.tensor([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]) * side
                + torch.tensor([x, y]),
                0.99,
            )
            for x, y, side in self.script.get(int(frame[0, 0, 0]), [])
        ]
        return sorted(faces, key=lambda face: -face.area)


def follow(
    script: dict[int, list[tuple[float, float, float]]], total: int, face: int | None = None
) -> FaceTrack:
    frames = torch.arange(total).byte().view(-1, 1, 1, 1).expand(total, 3, 4, 4)
    return track_face(Frames(frames), face=face, detector=Scripted(script))  # type: ignore[arg-type]


def test_points_that_resemble_the_template_land_on_it_exactly() -> None:
    points = similar(torch.tensor(PC_AVS_CROP.points), 2.5, 20.0, (300.0, 40.0))[None]
    placed = apply(PC_AVS_CROP.matrices(points), points)
    torch.testing.assert_close(placed[0].float(), CROPPED_POINTS, atol=1e-3, rtol=0)


def test_a_still_crop_holds_every_box_upright() -> None:
    # Boxes from (40, 30) to (100, 150) together: 120 high, with a tenth on each side 144.
    boxes = torch.tensor([[40.0, 40.0, 80.0, 100.0], [60.0, 30.0, 100.0, 150.0]])
    points = similar(torch.tensor(PC_AVS_CROP.points), 1.0, 30.0, (0.0, 0.0)).expand(2, 3, 2)
    track = replace(track_of(points), template=FC_TFG_CROP, boxes=boxes)
    maps = track.matrices(72)  # half the size
    assert torch.equal(maps[0], maps[1])
    corners = torch.tensor([[40.0, 30.0], [100.0, 150.0]]).double()
    # The middle (70, 90) goes to 35.5, between pixels 35 and 36.
    expected = torch.tensor([[35.5 - 15, 35.5 - 30], [35.5 + 15, 35.5 + 30]]).double()
    torch.testing.assert_close(apply(maps[0], corners), expected)


def test_frames_that_are_still_crops_already_stay_as_they_are() -> None:
    frames = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)
    track = FaceTrack.aligned("frames", 1, 64, FC_TFG_CROP)
    assert torch.equal(track.crop(frames, size=64), frames)


@pytest.mark.parametrize("size", [96, 256])
def test_other_sizes_scale_the_template(size: int) -> None:
    points = similar(torch.tensor(PC_AVS_CROP.points), 0.8, -35.0, (-5.0, 90.0))[None]
    placed = apply(PC_AVS_CROP.matrices(points, size), points)
    expected = (CROPPED_POINTS + 0.5) * size / 224 - 0.5
    torch.testing.assert_close(placed[0].float(), expected, atol=1e-3, rtol=0)


def test_second_crop_is_slicing_and_bilinear_scaling() -> None:
    frames = torch.rand(1, 3, 224, 224) * 2 - 1
    expected = F.interpolate(frames[:, :, :192, 16:208], (224, 224), mode="bilinear")
    cropped = warp(frames, PC_AVS_CROP.second_crop()[None], 224, 224)
    # At the very edge interpolate repeats pixels that lie outside the slice.
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    torch.testing.assert_close(cropped[inside], expected[inside], atol=2e-4, rtol=0)


def test_similarity_is_least_squares_where_the_face_has_another_shape() -> None:
    # Eyes 60 apart instead of 50, mouth 61 below: no rotation, and by hand the scale is
    # sum(p . q) / sum(p . p) over the centred points p (measured) and q (template).
    points = torch.tensor([[[70.0, 50.0], [130.0, 50.0], [100.0, 111.0]]])
    third = 61 / 3
    scale = (2 * 30 * 25 + 2 * third**2 + (2 * third) ** 2) / (
        2 * 30 * 30 + 2 * third**2 + (2 * third) ** 2
    )
    matrix = PC_AVS_CROP.matrices(points)[0]
    expected = torch.eye(2).double() * scale * 7 / 6
    torch.testing.assert_close(matrix[:, :2], expected)
    mouth = apply(matrix, points[0].double())[2]  # exact whatever the shape
    torch.testing.assert_close(mouth.float(), CROPPED_POINTS[2], atol=1e-3, rtol=0)


def test_translation_is_smoothed_and_scale_and_rotation_stay() -> None:
    still = torch.tensor(PC_AVS_CROP.points)
    # The face jumps 10 px to the right at frame 1, and grows without moving its mouth at frame 3.
    grown = (still - still[2]) * 1.3 + still[2]
    jump = torch.tensor([10.0, 0.0])
    points = torch.stack([still, still + jump, still + jump, grown + jump])
    matrices = PC_AVS_CROP.matrices(points)
    assert torch.equal(matrices[:, :, :2], matrices[:1, :, :2].expand(4, 2, 2))
    mouth = apply(matrices, points.double())[:, 2]
    scale = matrices[0, 0, 0]  # a jump of 10 px is one of 10 * scale px in the crop
    lag = torch.tensor([0.0, 0.2, 0.04, 0.008]).double() * 10 * scale
    torch.testing.assert_close(mouth[:, 0], 112 + 1 / 12 + lag)
    torch.testing.assert_close(mouth[:, 1], torch.full((4,), 140 + 1 / 12).double())


def test_coinciding_points_are_refused() -> None:
    with pytest.raises(ValueError, match="coincide"):
        PC_AVS_CROP.matrices(torch.full((2, 3, 2), 7.0))


def test_inverse_takes_points_back() -> None:
    points = similar(torch.tensor(PC_AVS_CROP.points), 1.7, 12.0, (33.0, 8.0))[None]
    there = PC_AVS_CROP.matrices(points)
    back = apply(invert(there), apply(there, points))
    torch.testing.assert_close(back, points)
    identity = compose(there, invert(there))
    torch.testing.assert_close(identity[0], torch.eye(3).double()[:2])


@pytest.mark.parametrize("size", [96, 224])
def test_drawn_dots_on_a_known_path_come_out_in_place(size: int) -> None:
    base = similar(torch.tensor(PC_AVS_CROP.points), 1.4, 15.0, (40.0, -10.0))
    # So slow a movement that the smoothing lags by less than 0.1 px: 0.25 px/frame * 0.2 / 0.8.
    path = base + torch.arange(4.0)[:, None, None] * torch.tensor([0.25, 0.15])
    rows, columns = torch.meshgrid(torch.arange(240.0), torch.arange(320.0), indexing="ij")
    dots = [
        [((columns - x) ** 2 + (rows - y) ** 2).div(-2 * 3.0**2).exp() for x, y in points.tolist()]
        for points in path
    ]
    # One dot per colour: left eye red, right eye green, mouth blue.
    frames = torch.stack([torch.stack(colours) for colours in dots]).mul(255).round().byte()
    crops = track_of(path).crop(frames, size=size).double()
    grid = torch.arange(float(size), dtype=torch.float64)
    mass = crops.sum((2, 3))
    centre = torch.stack(
        [(crops.sum(2) * grid).sum(2) / mass, (crops.sum(3) * grid).sum(2) / mass], dim=2
    )
    expected = ((CROPPED_POINTS + 0.5) * size / 224 - 0.5).double().expand(4, 3, 2)
    torch.testing.assert_close(centre, expected, atol=0.15, rtol=0)


def test_reduction_samples_at_the_right_places() -> None:
    # A ramp is reproduced exactly by bilinear sampling and by averaging: each pixel of the crop
    # holds the coordinate, in the original, that the inverse map gives for it.
    rows, columns = torch.meshgrid(torch.arange(400.0), torch.arange(400.0), indexing="ij")
    frames = (torch.stack([columns, rows, columns]) / 200 - 1)[None]
    points = similar(torch.tensor(PC_AVS_CROP.points), 1.2, 10.0, (60.0, 20.0))[None]
    matrices = PC_AVS_CROP.matrices(points, 64)  # 3.6-fold reduction
    crop = warp(frames, matrices, 64, 64)[0]
    where = apply(invert(matrices)[0], torch.tensor([[32.0, 20.0], [50.0, 40.0]]).double())
    seen = torch.stack([(crop[:2, 20, 32] + 1) * 200, (crop[:2, 40, 50] + 1) * 200])
    torch.testing.assert_close(seen, where.float(), atol=0.05, rtol=0)


def test_reduction_does_not_alias() -> None:
    board = ((torch.arange(256)[:, None] + torch.arange(256)) % 2 * 255).byte()
    frames = board.expand(1, 3, 256, 256)
    quarter = torch.tensor([[[0.25, 0.0, -0.375], [0.0, 0.25, -0.375]]])
    assert (warp(frames, quarter, 64, 64).float() - 127.5).abs().max() <= 1


@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_border_is_black(kind: str) -> None:
    white = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8) if kind == "uint8" else None
    frames = torch.ones(1, 3, 8, 8) if white is None else white
    moved = warp(frames, torch.tensor([[[1.0, 0.0, 4.0], [0.0, 1.0, 0.0]]]), 8, 8)
    assert moved.dtype == frames.dtype
    assert (moved[..., :4] == (0 if kind == "uint8" else -1)).all()
    torch.testing.assert_close(moved[..., 4:], frames[..., 4:])


def test_track_stays_with_the_person_when_a_larger_face_comes() -> None:
    script = {k: [(10.0 + k, 10.0, 40.0)] for k in range(10)}
    for k in range(3, 10):
        script[k].append((200.0, 10.0, 90.0))
    track = follow(script, 10)
    assert track.boxes[:, 0].tolist() == [10.0 + k for k in range(10)]
    assert bool(track.found.all())


def test_face_is_chosen_from_left_to_right() -> None:
    script = {k: [(200.0, 10.0, 60.0), (20.0, 10.0, 40.0), (100.0, 10.0, 80.0)] for k in range(2)}
    assert [follow(script, 2, face).boxes[0, 0].item() for face in (0, 1, 2, None)] == [
        *(20.0, 100.0, 200.0),
        100.0,
    ]
    with pytest.raises(ValueError, match=r"clip.mp4 at 0.00 s: there is no face 3; 3 found"):
        follow(script, 2, 3)


def test_gaps_are_interpolated_and_ends_held() -> None:
    script = {2: [(10.0, 20.0, 40.0)], 6: [(18.0, 20.0, 40.0)]}
    track = follow(script, 9)
    assert track.boxes[:, 0].tolist() == [10.0, 10.0, 10.0, 12.0, 14.0, 16.0, 18.0, 18.0, 18.0]
    assert track.found.nonzero().flatten().tolist() == [2, 6]
    # The mouth's centre is half way between its corners: 0.5 and 0.8 of the box.
    assert track.points[4, 2].tolist() == pytest.approx([14 + 20, 20 + 32])


def test_a_second_without_the_face_passes_and_more_does_not() -> None:
    face = [(10.0, 20.0, 40.0)]
    assert int(follow({0: face, MAX_GAP + 1: face}, MAX_GAP + 2).found.sum()) == 2
    with pytest.raises(ValueError, match=r"clip.mp4: the face is lost from 0.12 s to 1.12 s"):
        follow({0: face, 1: face, 2: face, MAX_GAP + 4: face}, 60)


def test_only_frames_that_count_are_searched() -> None:
    frames = torch.arange(60).byte().view(-1, 1, 1, 1).expand(60, 3, 4, 4)
    detector = Scripted({k: [(10.0, 20.0, 40.0)] for k in range(5)})
    track = track_face(Frames(frames), detector=detector, frames=5)  # type: ignore[arg-type]
    assert track.found.tolist() == 5 * [True]
    clip = CroppedClip(Frames(frames), track, 32)  # type: ignore[arg-type]
    assert len(clip) == len(list(clip.iterate())) == 5 and len(list(clip.iterate(3))) == 2


def test_clips_without_a_face_are_named() -> None:
    with pytest.raises(ValueError, match=r"clip.mp4: no face found in the clip"):
        follow({}, 5)
    with pytest.raises(ValueError, match=r"clip.mp4: no face found from 0.00 s to 1.00 s"):
        follow({}, 60)
    with pytest.raises(ValueError, match=r"holiday.jpg: no face found"):
        locate_face(torch.zeros(3, 64, 64).byte(), name="holiday.jpg")


def test_a_tiny_face_is_named_with_its_time() -> None:
    script = {k: [(10.0, 10.0, 30.0 - k)] for k in range(5)}
    with pytest.raises(ValueError, match=r"clip.mp4: the face is tiny, 26 px at 0.16 s"):
        follow(script, 5)


def test_aligned_frames_get_the_second_crop_only() -> None:
    track = FaceTrack.aligned("frames", 2, 224, PC_AVS_CROP)
    torch.testing.assert_close(
        track.matrices(96)[1], PC_AVS_CROP.second_crop(96), atol=1e-4, rtol=0
    )


def test_a_frame_is_cropped_the_same_beside_others_of_another_scale() -> None:
    frames = (torch.rand(2, 3, 240, 240) * 255).byte()
    near, far = (
        similar(torch.tensor(DAVS_FRAME_CROP.points), s, 0.0, (9.0, 9.0)) for s in (0.2, 0.9)
    )
    track = replace(track_of(torch.stack([near, far])), template=DAVS_FRAME_CROP)
    clip = CroppedClip(Frames(frames), track, 32)  # type: ignore[arg-type]
    every = clip.read()
    assert torch.equal(clip.read(1, 1), every[1:]) and torch.equal(clip[[0]], every[:1])
    assert torch.equal(track.crop(frames[1:], 1, 32), every[1:])


def test_cropped_clip_reads_the_same_in_every_way() -> None:
    frames = (torch.rand(20, 3, 120, 160) * 255).byte()
    points = similar(torch.tensor(PC_AVS_CROP.points), 0.4, 5.0, (20.0, 10.0))
    path = points + torch.arange(20.0)[:, None, None]
    track = track_of(path)
    clip = CroppedClip(Frames(frames), track, 48)  # type: ignore[arg-type]
    every = track.crop(frames, size=48)
    assert (len(clip), clip.height, clip.width) == (20, 48, 48)
    assert torch.equal(clip.read(3, 4), every[3:7])
    assert torch.equal(clip.read(18), every[18:])
    assert torch.equal(clip[[5, 2]], every[[5, 2]])
    assert torch.equal(clip[4:9:2], every[4:9:2])
    assert torch.equal(clip[-1], every[-1])
    first = CroppedClip(Frames(frames), track_of(path[:10]), 48)  # type: ignore[arg-type]
    assert torch.equal(first[-1], every[9]) and torch.equal(first[8:], every[8:10])
    with pytest.raises(ValueError, match="a window of 5 frames from frame 8"):
        first.read(8, 5)
    assert torch.equal(torch.stack(list(clip.iterate(1))), every[1:])
    assert torch.equal(track.crop(frames[6:8], 6, 48), every[6:8])
    with pytest.raises(ValueError, match="frames 19 to 20 were asked for"):
        track.crop(frames[:2], 19)


def test_preview_shows_the_box_and_the_crop() -> None:
    points = torch.tensor(PC_AVS_CROP.points)[None] + 40
    frames = torch.full((1, 3, 360, 400), 128, dtype=torch.uint8)
    track = track_of(points)
    picture = preview(frames[0], track)
    assert picture.shape == (3, 360, 400 + 360)
    top = (int(points[0, :, 0].mean()), int(points[0, 0, 1]))  # middle of the box's upper edge
    assert picture[:, top[1], top[0]].tolist() == [255, 0, 0]
    assert (picture[:, 200:300, 500:600] == 128).all()  # the middle of the crop


@needs_data
@pytest.mark.parametrize(
    ("photo", "face"), [("raw_photo_1", None), ("raw_photo_2", None), ("multiface", 3)]
)
def test_real_photos_are_found_again_in_place(photo: str, face: int | None) -> None:
    image = read_image(DATA / f"faces/{photo}.jpg")
    track = locate_face(image, face=face)
    crop = track.crop(image[None])
    again = locate_face(crop[0])
    # The detector answers a few pixels differently on the crop than on the original.
    moved = apply(track.matrices(224), track.points.double())
    torch.testing.assert_close(again.points.double(), moved, atol=6.0, rtol=0)
    # The mouth is placed exactly, the eyes as well as the face's shape allows.
    off = (again.points[0] - CROPPED_POINTS).norm(dim=1)
    assert off[2] < 5
    assert off.max() < 12


@needs_data
def test_faces_of_a_group_are_found_and_ordered() -> None:
    image = read_image(DATA / "faces/multiface.jpg")
    faces = FaceDetector().detect(image)
    assert len(faces) == 6
    assert [face.area for face in faces] == sorted((face.area for face in faces), reverse=True)
    lefts = [float(locate_face(image, face=k).boxes[0, 0]) for k in range(6)]
    assert lefts == sorted(lefts)
    assert float(locate_face(image).boxes[0, 0]) == float(faces[0].box[0])


@needs_data
def test_detection_maps_back_from_the_reduced_picture() -> None:
    image = read_image(DATA / "faces/raw_photo_2.jpg")  # 1638 x 2048, searched at 512 x 640
    half = F.interpolate(image[None].float(), scale_factor=0.5, mode="area")[0].byte()
    whole, reduced = FaceDetector().detect(image)[0], FaceDetector().detect(half)[0]
    torch.testing.assert_close(reduced.points * 2 + 0.5, whole.points, atol=8.0, rtol=0)


@pytest.mark.slow
@needs_data
def test_real_video_keeps_to_its_person() -> None:
    clip = VideoClip(DATA / "raw_video_1080p.mp4")
    track = track_face(clip, face=3)  # walks towards the camera among others
    assert len(track) == clip.frame_count
    assert track.found.float().mean() > 0.95
    centres = (track.boxes[:, :2] + track.boxes[:, 2:]) / 2
    sides = track.boxes[:, 2:] - track.boxes[:, :2]
    assert ((centres[1:] - centres[:-1]).abs() < sides[1:]).all()
    with pytest.raises(ValueError, match=r"raw_video_1080p.mp4: the face is lost from 0\.\d\d s"):
        track_face(clip)  # the largest one walks out of the picture


def test_davs_crop_is_the_released_alignment() -> None:
    """Eyes and mouth on the released canvas, cut, brought to 260 px, and cut by 2 px again."""
    canvas = 2 * torch.tensor([[70.0, 112.0], [110.0, 112.0], [90.0, 150.0]])
    cut = canvas - torch.tensor([44.0, 104.0])
    wanted = (cut + 0.5) * 260 / 268 - 0.5 - 2
    moved = canvas * 1.7 + 31  # the same face in a larger film
    matrix = DAVS_CROP.matrices(moved[None].repeat(3, 1, 1), 256)
    points = moved.double() @ matrix[1, :, :2].T + matrix[1, :, 2]
    torch.testing.assert_close(points, wanted.double(), rtol=0, atol=1e-4)


def test_aligning_every_frame_by_itself_puts_points_in_place_whatever_their_scale() -> None:
    target = torch.tensor(DAVS_FRAME_CROP.points)
    changes = [(1.5, 10.0, (5.0, -3.0)), (2.0, -20.0, (40.0, 60.0))]
    points = torch.stack([similar(target, *change) for change in changes])
    # Pixels of 268 px are cut by 2/260 of the side on every edge and brought to 256 px.
    cut = 268 * 2 / 260
    expected = ((target + 0.5 - cut) * 256 / (268 - 2 * cut) - 0.5).expand(2, 3, 2)
    maps = DAVS_FRAME_CROP.matrices(points, 256)
    torch.testing.assert_close(apply(maps, points).float(), expected, atol=1e-3, rtol=0)
    # The template of the clip has one scale for both, and cannot.
    assert (apply(DAVS_CROP.matrices(points, 256), points).float() - expected).abs().max() > 5
    smoothed = replace(DAVS_FRAME_CROP, smoothing=0.25).matrices(points, 256)
    torch.testing.assert_close(smoothed[1], 0.25 * maps[0] + 0.75 * maps[1])


def test_frames_of_another_shape_keep_their_spread() -> None:
    # numpy's SVD: centred, scaled by the standard deviation, rotated.
    points = np.array([[30.0, 40.0], [90.0, 50.0], [50.0, 120.0]])
    target = np.array(DAVS_FRAME_CROP.points)
    left, right = points - points.mean(0), target - target.mean(0)
    u, _, v = np.linalg.svd(left.T @ right)
    expected = left @ (u @ v) * right.std() / left.std() + target.mean(0)
    second = DAVS_FRAME_CROP.second_crop()
    maps = compose(invert(second), DAVS_FRAME_CROP.matrices(torch.tensor(points)[None])[0])
    placed = apply(maps, torch.tensor(points))
    np.testing.assert_allclose(placed.numpy(), expected, atol=1e-6)
