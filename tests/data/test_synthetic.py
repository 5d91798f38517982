"""The drawn corpus: what is seen and heard is what the labels say."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from talkingface.data.audio import read_audio
from talkingface.data.batch import to_float
from talkingface.data.synthetic.dataset import make_clip, write_clips
from talkingface.data.synthetic.face import Identity, express, render, sample_identity
from talkingface.data.synthetic.speech import sample_voice, speak
from talkingface.data.video import VideoClip


def person(**traits: float) -> Tensor:
    """An average person, lit from the front, with the named traits changed."""
    return torch.tensor([traits.get(name, 0.5) for name in Identity._fields])


def frontal(frames: int) -> Tensor:
    return torch.zeros(frames, 3)


def iris_pixels(pose: Tensor, expression: Tensor, size: int = 96) -> Tensor:
    """(T, size, size), 1 where the picture depends on the colour of the iris."""
    brown, blue = (render(person(iris_colour=c), pose, expression, size) for c in (0.0, 0.75))
    return ((brown - blue).abs().sum(1) > 0.1).float()


def centroids(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean x to the right and y down, in pixels from the picture's centre."""
    axis = torch.arange(pixels.shape[-1]) + 0.5 - pixels.shape[-1] / 2
    area = pixels.sum((-2, -1))
    return (pixels * axis).sum((-2, -1)) / area, (pixels * axis[:, None]).sum((-2, -1)) / area


# --- face


def test_turning_the_other_way_gives_the_mirror_image() -> None:
    pose = torch.tensor([[35.0, 12.0, 9.0], [-18.0, -20.0, 4.0], [0.0, 5.0, 0.0]]).double()
    mirrored = pose * torch.tensor([-1.0, 1.0, -1.0])
    motion = express(3, opening=0.5, width=0.3, gaze_x=torch.tensor([0.6, -0.3, 0.0]), gaze_y=0.4)
    opposite = motion.clone()
    opposite[:, 6] *= -1
    identity = person(fringe=0.1, hair_length=0.8, nose_width=0.9)

    frames = render(identity, pose, motion, 48)
    torch.testing.assert_close(
        frames.flip(-1), render(identity, mirrored, opposite, 48), rtol=0, atol=1e-8
    )
    assert (frames - frames.flip(-1)).abs()[0].max() > 0.5  # the pose is not symmetric itself


def test_light_from_the_right_is_brighter_on_the_right() -> None:
    frame = render(person(light_side=1.0), frontal(1), express(1), 32)[0]
    cheeks = frame[:, 14:20]
    assert cheeks[..., 19:23].mean() > cheeks[..., 9:13].mean() + 0.1


def test_pose_turns_lifts_and_tilts() -> None:
    degrees = 15.0
    pose = torch.cat([frontal(1), degrees * torch.eye(3)])
    pixels = iris_pixels(pose, express(4))
    between = centroids(pixels)[0].round().long() + 48
    columns = torch.arange(96)
    is_left = (columns < between[:, None])[:, None]
    (left_x, left_y), (right_x, right_y) = centroids(pixels * is_left), centroids(pixels * ~is_left)
    x, y = (left_x + right_x) / 2, (left_y + right_y) / 2
    # The eyes lie 0.40 before the axis of rotation and 0.045 above it; 48 pixels are 0.86 long.
    angle = math.radians(degrees)
    turn, lift = 0.40 * math.sin(angle), 0.40 * math.sin(angle) + 0.045 * (math.cos(angle) - 1)
    assert x[1] - x[0] == pytest.approx(turn * 48 / 0.86, rel=0.15)
    assert y[2] - y[0] == pytest.approx(-lift * 48 / 0.86, rel=0.15)
    assert y[1] - y[0] == pytest.approx(0.0, abs=0.5)
    tilt = math.degrees(math.atan2(right_y[3] - left_y[3], right_x[3] - left_x[3]))
    assert tilt == pytest.approx(degrees, abs=1.5)  # clockwise: the right eye sinks


def test_the_far_eye_is_foreshortened() -> None:
    pixels = iris_pixels(torch.tensor([[45.0, 0.0, 0.0]]), express(1))[0]
    x = centroids(pixels[None])[0].item() + 48
    near, far = pixels[:, : int(x)].sum(), pixels[:, int(x) :].sum()
    assert 0 < far < 0.7 * near


def test_opening_changes_only_the_lower_face_and_grows() -> None:
    opening = torch.tensor([0.0, 0.25, 0.5, 1.0])
    frames = render(person(), frontal(4), express(4, opening=opening), 96)
    changed = (frames - frames[:1]).abs().sum(1) > 0
    nose = 48 - round((0.06 - 0.19) / 0.86 * 48)  # row of the tip's lower edge
    assert not changed[:, :nose].any()
    clearly = ((frames - frames[:1]).abs().sum(1) > 0.3).sum((-2, -1)).tolist()
    assert clearly[0] == 0 and clearly[1] > 20
    assert clearly == sorted(clearly)


def test_a_wide_mouth_is_wider_than_a_round_one() -> None:
    motion = express(
        3, opening=0.4, width=torch.tensor([0.0, 1.0, 0.0]), rounding=torch.tensor([0.0, 0.0, 1.0])
    )
    # Where the colour of the lips shows is where the lips are.
    pale, red = (render(person(lip_colour=c), frontal(3), motion, 96) for c in (0.0, 1.0))
    columns = ((pale - red).abs().sum(1) > 0.05).any(-2).sum(-1)
    neutral, wide, round_ = columns.tolist()
    assert wide > 1.15 * neutral and round_ < 0.75 * neutral


def test_press_thins_the_lips() -> None:
    motion = express(2, press=torch.tensor([0.0, 1.0]))
    pale, red = (render(person(lip_colour=c), frontal(2), motion, 96) for c in (0.0, 1.0))
    relaxed, pressed = ((pale - red).abs().sum(1) > 0.05).sum((-2, -1)).tolist()
    assert 0 < pressed < 0.6 * relaxed


def test_blink_hides_the_iris() -> None:
    areas = iris_pixels(frontal(3), express(3, blink=torch.tensor([0.0, 0.5, 1.0]))).sum((-2, -1))
    assert areas[0] > areas[1] > areas[2] == 0


def test_gaze_moves_the_iris_alone() -> None:
    motion = express(3, gaze_x=torch.tensor([0.0, 0.7, 0.0]), gaze_y=torch.tensor([0.0, 0.0, 0.7]))
    x, y = centroids(iris_pixels(frontal(3), motion))
    assert x[1] - x[0] > 1 and abs(y[1] - y[0]) < 0.3
    assert y[2] - y[0] < -0.5 and abs(x[2] - x[0]) < 0.3


def test_edges_are_soft() -> None:
    # Hard edges would turn whole pixels from one colour into another however small the step is.
    pose = torch.tensor([[10.0, 0.0, 0.0], [10.1, 0.0, 0.0]])
    before, after = render(person(), pose, express(2), 64)
    assert 0 < (after - before).abs().max() < 0.3


def test_frames_do_not_depend_on_their_neighbours() -> None:
    pose = torch.tensor([[20.0, 5.0, -3.0], [-10.0, 0.0, 8.0]])
    motion = express(2, opening=torch.tensor([0.2, 0.9]))
    people = torch.stack([sample_identity(1), sample_identity(2)])
    together = render(people, pose, motion, 32)
    alone = [render(people[i], pose[i : i + 1], motion[i : i + 1], 32) for i in range(2)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)
    assert together.min() >= -1 and together.max() <= 1


def test_people_differ() -> None:
    identities = torch.stack([sample_identity(seed) for seed in range(200)])
    assert identities.min() >= 0 and identities.max() <= 1
    torch.testing.assert_close(identities.mean(0), torch.full((22,), 0.5), rtol=0, atol=0.08)
    faces = render(identities[:6], frontal(6), express(6), 24).flatten(1)
    assert torch.pdist(faces, p=1).min() / faces.shape[1] > 0.05


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(1, 8\)"):
        render(person(), frontal(2), express(1), 16)
    with pytest.raises(ValueError, match=r"identity must be \(22,\)"):
        render(person()[:5], frontal(1), express(1), 16)
    with pytest.raises(ValueError, match="no expression 'smile'"):
        express(1, smile=1.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_any_device_draws_the_same() -> None:
    pose, motion = torch.tensor([[20.0, 5.0, -3.0]]), express(1, opening=0.5)
    drawn = render(person(), pose.cuda(), motion, 64)
    torch.testing.assert_close(drawn.cpu(), render(person(), pose, motion, 64), rtol=0, atol=1e-3)


# --- clips


def test_a_clip_agrees_with_itself() -> None:
    clip = make_clip(seed=5, seconds=2.0, size=16)
    assert clip.frames.shape == (50, 3, 16, 16)
    assert clip.audio.shape == (50 * 640,)
    audio, articulation, *_ = speak(clip.phonemes, sample_voice(5))
    torch.testing.assert_close(clip.audio[: len(audio)], audio)
    columns = clip.articulation.shape[1]
    torch.testing.assert_close(clip.articulation[: len(articulation)], articulation[:, :columns])
    assert not clip.audio[len(audio) :].any()
    again = render(clip.identity, clip.pose[30:31], clip.expression[30:31], 16)
    torch.testing.assert_close(clip.frames[30:31], again, rtol=0, atol=1e-5)
    assert torch.equal(clip.frames, make_clip(seed=5, seconds=2.0, size=16).frames)


def test_heads_wander_as_declared() -> None:
    pose = torch.stack([make_clip(seed, seconds=0.04, size=8).pose[0] for seed in range(100)])
    deviation = pose.std(0)
    assert deviation.tolist() == pytest.approx([15, 8, 5], rel=0.2)
    assert (pose.abs() < torch.tensor([43, 23, 15])).all()
    motion = make_clip(0, seconds=3.0, size=8).pose
    # No wave is faster than 0.6 Hz.
    fastest = 2 * math.pi * 0.6 / 25 * 2.83 * torch.tensor([15, 8, 5])
    assert (motion.diff(dim=0).abs() < fastest).all() and (motion.std(0) > 0.5).all()


def test_eyes_shut_and_open() -> None:
    clip = make_clip(1, seconds=5.0, size=8)
    assert clip.blink.max() == 1 and (clip.blink == 0).float().mean() > 0.7


def test_a_clip_has_a_frame() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        make_clip(0, seconds=0.0)


def test_written_clips_read_back(tmp_path: Path) -> None:
    paths = write_clips(tmp_path / "drawn", count=2, seconds=1.0, size=48, seed=7)
    assert [path.name for path in paths] == ["000007.mp4", "000008.mp4"]
    assert {path.suffix for path in (tmp_path / "drawn").iterdir()} == {".mp4", ".safetensors"}
    clip, film = make_clip(8, seconds=1.0, size=48), VideoClip(paths[1])
    assert (film.frame_count, film.height, film.width) == (25, 48, 48)
    error = (to_float(film.read()) - clip.frames).square().mean((1, 2, 3))
    assert (10 * torch.log10(4 / error) > 25).all()

    audio = read_audio(paths[1])
    assert len(audio) == 25 * 640
    lags = range(-64, 65)
    middle = clip.audio[640:-640]
    assert middle.any()
    likeness = [torch.dot(middle, audio[640 + lag : len(audio) - 640 + lag]) for lag in lags]
    assert abs(lags[int(torch.stack(likeness).argmax())]) <= 1

    labels = load_file(paths[1].with_suffix(".safetensors"))
    for name, label in labels.items():
        assert torch.equal(label, getattr(clip, name))
    assert labels.keys() >= {"pose", "blink", "articulation"}
