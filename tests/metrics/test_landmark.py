from pathlib import Path

import pytest
import torch
from torch import Tensor

from talkingface.data.batch import to_float
from talkingface.data.video import VideoClip
from talkingface.metrics import LMD, DlibLandmarks, PoseLMD


def real(frames: int = 3) -> Tensor:
    """Points on a grid, the outer eye corners 80 px apart."""
    points = torch.stack([torch.arange(68.0), 2 * torch.arange(68.0)], 1).repeat(frames, 1, 1)
    points[:, 36], points[:, 45] = torch.tensor([60.0, 100.0]), torch.tensor([140.0, 100.0])
    return points


def value(metric: LMD, *clips: tuple[Tensor, Tensor]) -> float:
    for points in clips:
        metric.update(*points)
    return float(metric.compute())


def opened(points: Tensor, by: float) -> Tensor:
    """Upper half of the mouth up, lower half down: each point moves, the mean does not."""
    points = points.clone()
    points[:, 48:58, 1] -= by
    points[:, 58:68, 1] += by
    return points


def test_conventions_by_hand() -> None:
    a, b = opened(real(), 3.0), real()
    assert value(LMD(), (a, b)) == 3
    assert value(LMD("atvg"), (a, b)) == 60  # the sum over 20 points
    assert value(LMD(unit="iod"), (a, b)) == pytest.approx(3 / 80)
    # Over all points the means do not move either: 20 of 68 points are 3 px away.
    assert value(LMD(points="all"), (a, b)) == pytest.approx(60 / 68)
    assert value(PoseLMD(), (a, b)) == 0


def test_atvg_takes_whole_pixels() -> None:
    assert value(LMD("atvg"), (opened(real(), 0.4), real())) == 0
    assert value(LMD("atvg"), (opened(real(), 0.6), real())) == 20
    assert value(LMD(), (opened(real(), 0.4), real())) == pytest.approx(0.4, abs=1e-5)


def test_shift_counts_for_the_pose_only() -> None:
    shifted = real() + torch.tensor([6.0, 8.0])
    assert value(LMD(), (shifted, real())) == 0
    assert value(LMD(points="all"), (shifted, real())) == pytest.approx(0, abs=1e-5)
    assert value(PoseLMD(), (shifted, real())) == 10
    assert value(PoseLMD("atvg"), (shifted, real())) == 170
    assert PoseLMD(unit="iod").name == "lmd_pose_iod"
    assert value(PoseLMD(unit="iod"), (shifted, real())) == pytest.approx(10 / 80)


def test_frames_without_a_face_are_counted() -> None:
    a = torch.cat([opened(real(1), 2.0), opened(real(1), 4.0), opened(real(1), 6.0)])
    b = real()
    a[0] = torch.nan
    b[2, 5, 0] = torch.nan
    metric = LMD()
    assert value(metric, (a, b), (opened(real(), 1.0), real())) == (4 + 1) / 2
    assert (int(metric.dropped), int(metric.failed)) == (2, 0)
    metric.update(a * torch.nan, b)
    assert (int(metric.dropped), int(metric.failed), int(metric.clips)) == (5, 1, 2)

    lost = LMD()
    lost.update(a * torch.nan, b)
    with pytest.raises(ValueError, match=r"no face in any of 1 clips \(3 frames\)"):
        lost.compute()


def test_wrong_points_are_refused() -> None:
    with pytest.raises(ValueError, match="unequal length: 3 and 4"):
        LMD().update(real(3), real(4))
    with pytest.raises(ValueError, match=r"\(T, 68, 2\)"):
        LMD().update(real()[:, :67], real())
    with pytest.raises(ValueError, match="points"):
        LMD(points="lips")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unit"):
        LMD(unit="mm")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no profile of lmd_mouth"):
        LMD("sum")  # type: ignore[arg-type]


def test_dlib_finds_real_faces(shared_data: Path) -> None:
    pytest.importorskip("dlib")
    clip = to_float(VideoClip(sorted((shared_data / "grid/others").glob("*.mp4"))[0])[[0, 20]])
    frames = torch.cat([clip, torch.zeros_like(clip[:1])])
    points = DlibLandmarks()(frames)
    assert points.shape == (3, 68, 2)
    assert points.isnan().flatten(1).all(1).tolist() == [False, False, True]
    size = clip.shape[-1]
    assert (points[:2] > -0.2 * size).all() and (points[:2] < 1.2 * size).all()
    right, left, mouth = points[:2, 36:42].mean(1), points[:2, 42:48].mean(1), points[:2, 48:68]
    assert (right[:, 0] < left[:, 0]).all()  # the subject's right side comes first
    assert (mouth.mean(1)[:, 1] > left[:, 1] + 0.15 * size).all()
    # Twice the size, twice the coordinates: points are in pixels of the frames given.
    large = torch.nn.functional.interpolate(clip, scale_factor=2, mode="bilinear")
    again = (DlibLandmarks()(large) + 0.5) / 2 - 0.5
    assert (again - points[:2]).norm(dim=-1).mean() < 0.015 * size
