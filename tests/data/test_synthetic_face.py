"""The drawn head: what is seen is what the labels say."""

import hashlib
import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from talkingface.data.synthetic.face import (
    CODE,
    Expression,
    Identity,
    Pose,
    express,
    face_mask,
    landmarks,
    place,
    render,
    sample_identity,
)

PARTS = list(CODE)
LIPS, HOLE = ("upper lip", "lower lip"), ("mouth", "teeth", "tongue")
# Index of each landmark's mirror image.
MIRROR = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
MIRROR += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
MIRROR += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]


def person(**traits: float) -> Tensor:
    """An average person without glasses and beard, lit from the front, with traits changed."""
    traits = {"hair_curl": 0.2, **traits}
    return torch.tensor([traits.get(name, 0.5) for name in Identity._fields])


def clean_shaven(seed: int) -> Tensor:
    """A random person whose face nothing hides."""
    identity = sample_identity(seed)
    for trait in ("glasses", "beard", "moustache", "fringe"):
        identity[Identity._fields.index(trait)] = 0.1
    return identity


def parts(identity: Tensor, pose: Tensor, expression: Tensor, size: int) -> Tensor:
    """(T, size, size) index in PARTS of the code colour that fills each pixel; -1 on edges."""
    frames = render(identity, pose, expression, size, palette="code")
    filled = torch.full(frames[:, 0].shape, -1)
    for index, colour in enumerate(CODE.values()):
        code = torch.tensor(colour).view(3, 1, 1) / 127.5 - 1
        filled = torch.where((frames - code).abs().sum(1) < 0.3, index, filled)
    return filled


def where(drawn: Tensor, *names: str) -> Tensor:
    return torch.isin(drawn, torch.tensor([PARTS.index(name) for name in names]))


def area(identity: Tensor, expression: Tensor, *names: str, size: int = 256) -> list[float]:
    drawn = parts(identity, place(len(expression)), expression, size)
    return where(drawn, *names).float().sum((-2, -1)).tolist()


def points(mask: Tensor) -> Tensor:
    """(N, 2) x and y of the pixels of a mask (H, W)."""
    return mask.nonzero().flip(-1).float()


# --- labels


def moving(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Random moderate poses and expressions with open eyes and mouths, that show all points."""
    draw = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=draw)

    pose = place(count, yaw=uniform(-20, 20), pitch=uniform(-8, 8), roll=uniform(-12, 12))
    pose[:, 3:] += 0.04 * torch.randn(count, 3, generator=draw)
    expression = express(
        count,
        opening=uniform(0.2, 1.0),
        width=uniform(0.0, 1.0),
        rounding=uniform(0.0, 0.8),
        teeth=uniform(0.0, 0.4),
        tongue=uniform(0.0, 1.0),
        blink=uniform(0.0, 0.5),
        brow=uniform(0.0, 1.0),
        gaze_x=uniform(-1.0, 1.0),
        gaze_y=uniform(-1.0, 1.0),
    )
    return pose, expression


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_landmarks_lie_where_the_code_colours_show_them(seed: int) -> None:
    fine = 4  # drawn larger than 256 pixels, measured in those
    identity = clean_shaven(seed)
    pose, expression = moving(seed, 3)
    pose[0] = place(1)[0]
    drawn = parts(identity, pose, expression, 256 * fine)
    expected = (landmarks(identity, pose, expression, 256) + 0.5) * fine - 0.5
    for frame, label in zip(drawn, expected, strict=True):

        def edge(mask: Tensor, *numbers: int, label: Tensor = label) -> Tensor:
            """Distances from landmarks to the nearest pixel on the outline of a part."""
            inner = mask.clone()
            for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
                inner &= mask.roll(shift, axis)
            return torch.cdist(label[list(numbers)], points(mask & ~inner)).amin(1) / fine

        def ends(mask: Tensor, first: int, last: int, label: Tensor = label) -> Tensor:
            """How far the outermost pixels of a part are from two landmarks, along their line."""
            line = label[last] - label[first]
            along = (points(mask) - label[first]) @ (line / line.norm())
            return torch.stack([along.min(), along.max() - line.norm()]).abs() / fine

        mouth, hole = where(frame, *LIPS, *HOLE), where(frame, *HOLE)
        eyes = where(frame, "eye white", "iris", "pupil")
        x = torch.arange(eyes.shape[-1])
        right = eyes & (x < label[27, 0])
        left = eyes & (x > label[27, 0])
        nose = where(frame, "nose", "nostrils")
        nostrils = points(where(frame, "nostrils"))
        side = (nostrils - label[33]) @ (label[34] - label[32]) > 0
        centres = torch.stack([nostrils[~side].mean(0), nostrils[side].mean(0)])
        errors = {
            "lips": edge(mouth, *range(48, 60)),
            "corners": ends(mouth, 48, 54),
            "aperture": edge(hole, *range(60, 68)),
            "right eye": edge(right, *range(36, 42)),
            "left eye": edge(left, *range(42, 48)),
            "right eye's corners": ends(right, 36, 39),
            "left eye's corners": ends(left, 42, 45),
            "right brow": ends(where(frame, "right brow"), 17, 21),
            "left brow": ends(where(frame, "left brow"), 22, 26),
            "nose": edge(nose, 31, 33, 35),
            "nostrils": (centres - label[[32, 34]]).norm(dim=1) / fine,
        }
        assert {name: error.max().item() for name, error in errors.items() if error.max() > 1} == {}
    # The jaw's points are fixed in space: they are the outline of a head that looks ahead.
    chin = points(where(drawn[0], "skin", *LIPS))
    along = expected[0, 4:13]
    assert (torch.cdist(along, chin).amin(1) / fine).max() < 1
    assert abs(chin[:, 1].max() - expected[0, 8, 1]) / fine < 1


def test_landmarks_are_hidden_by_the_head_but_not_lost() -> None:
    points_ = landmarks(person(), place(3, yaw=torch.tensor([-45.0, 0.0, 45.0])), express(3), 256)
    width = points_[:, 45, 0] - points_[:, 42, 0]  # the left eye, near in the first frame
    assert width[1] > width[2] > 0 and width[0] > width[2]
    assert points_.isfinite().all()
    nose = points_[:, 30, 0] - points_[:, 27, 0]
    assert nose[0] < -5 and abs(nose[1]) < 0.01 and nose[2] > 5  # parallax


def test_landmarks_of_a_mirrored_head_are_mirrored() -> None:
    pose, expression = moving(5, 4)
    identity = sample_identity(5)
    expected = landmarks(identity, pose, expression, 256)[:, MIRROR]
    expected[..., 0] = 255 - expected[..., 0]
    pose[:, [0, 2, 3]] *= -1
    torch.testing.assert_close(landmarks(identity, pose, expression, 256), expected)


@pytest.mark.parametrize("seed", [3, 4])
def test_the_mouth_s_opening_is_measured_in_the_picture(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    opening = torch.rand(24, generator=draw)
    width, rounding, press, teeth, tongue = torch.rand(5, generator=draw).tolist()
    expression = express(
        24, opening=opening, width=width, rounding=rounding, press=press / 4, teeth=teeth / 2
    )
    expression[:, Expression._fields.index("tongue")] = tongue
    drawn = parts(clean_shaven(seed), place(24), expression, 256)
    height = where(drawn, *HOLE)[:, :, 128].sum(-1).float()
    assert torch.corrcoef(torch.stack([height, opening]))[0, 1] > 0.99


def test_the_mask_is_the_head() -> None:
    identity, pose = clean_shaven(6), place(2, yaw=torch.tensor([0.0, 40.0]))
    mask = face_mask(identity, pose, express(2), 96)
    drawn = parts(identity, pose, express(2), 96)
    head = where(drawn, "skin", "nose", "iris", "ears", "left brow", *LIPS)
    assert mask.dtype == torch.bool and mask[head].float().mean() > 0.99
    assert not mask[where(drawn, "background", "clothes", "neck")].float().mean() > 0.01


# --- pose


def iris(pose: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
    """Mean x and y of each eye's iris and pupil in 96 pixels: (T, 2) right eye, left eye."""
    seen = where(parts(person(), pose, expression, 192), "iris", "pupil")
    middle = landmarks(person(), pose, expression, 192)[:, 27, 0].round().long()
    eyes = []
    for mask, column in zip(seen, middle, strict=True):
        found = points(mask)
        left = found[:, 0] > column
        eyes.append(torch.stack([found[~left].mean(0), found[left].mean(0)]))
    x, y = (torch.stack(eyes) / 2).unbind(-1)
    return x, y


def test_pose_turns_lifts_tilts_shifts_and_scales() -> None:
    degrees = 15.0
    pose = place(6)
    pose[1, 0] = pose[2, 1] = pose[3, 2] = degrees
    pose[4, 3:5] = torch.tensor([0.05, 0.10])
    pose[5, 5] = 1.2
    x, y = iris(pose, express(6))
    middle_x, middle_y = x.mean(1) - x[0].mean(), y.mean(1) - y[0].mean()
    # The eyes lie 0.40 before the axis of rotation and 0.05 above it; 48 pixels are 0.86 long.
    turn = 0.40 * math.sin(math.radians(degrees)) * 48 / 0.86
    assert middle_x[1] == pytest.approx(turn, rel=0.1) and abs(middle_y[1]) < 0.5
    assert middle_y[2] == pytest.approx(-turn, rel=0.1) and abs(middle_x[2]) < 0.5
    tilt = math.degrees(math.atan2(y[3, 1] - y[3, 0], x[3, 1] - x[3, 0]))
    assert tilt == pytest.approx(degrees, abs=1.5)  # clockwise: the eye on the right sinks
    assert middle_x[4].item() == pytest.approx(0.05 * 96, abs=0.2)
    assert middle_y[4].item() == pytest.approx(-0.10 * 96, abs=0.2)
    assert (x[5, 1] - x[5, 0]) / (x[0, 1] - x[0, 0]) == pytest.approx(1.2, rel=0.02)


def test_the_far_side_is_foreshortened_and_hidden() -> None:
    drawn = parts(person(hair_length=0.0), place(2, yaw=torch.tensor([0.0, 45.0])), express(2), 128)
    columns = torch.arange(128)
    eye, ear = where(drawn, "eye white", "iris", "pupil"), where(drawn, "ears")
    nose = where(drawn, "nose")
    split = (nose * columns).sum((-2, -1)) / nose.sum((-2, -1))
    near = (eye & (columns < split[:, None, None])).sum((-2, -1))
    far = (eye & (columns > split[:, None, None])).sum((-2, -1))
    assert near[0] == pytest.approx(far[0].item(), rel=0.05) and 0 < far[1] < 0.7 * near[1]
    assert (ear[0] & (columns > 64)).any() and not (ear[1] & (columns > 64)).any()


# --- expression


def test_opening_changes_only_the_lower_face_and_grows() -> None:
    opening = torch.tensor([0.0, 0.25, 0.5, 1.0])
    frames = render(person(), place(4), express(4, opening=opening), 96)
    changed = (frames - frames[:1]).abs().sum(1) > 0
    base = landmarks(person(), place(1), express(1), 96)[0, 33, 1]
    assert not changed[:, : int(base) - 2].any()
    heights = area(person(), express(4, opening=opening), *HOLE)
    assert heights[0] == 0 and sorted(set(heights)) == heights


def test_lips_spread_round_and_press() -> None:
    motion = express(4, opening=torch.tensor([0.3, 0.3, 0.3, 0.0]))
    motion[1, 1] = motion[2, 2] = motion[3, 3] = 1
    drawn = parts(person(), place(4), motion, 128)
    widths = where(drawn, *LIPS, *HOLE).any(-2).sum(-1).tolist()
    assert widths[1] > 1.2 * widths[0] and widths[2] < 0.75 * widths[0]
    pressed = express(2, press=torch.tensor([0.0, 1.0]))
    relaxed, thin = area(person(), pressed, *LIPS)
    assert 0 < thin < 0.6 * relaxed
    # Rounded lips are pushed forward: seen from the side, they reach further from the face.
    side = landmarks(person(), place(2, yaw=45.0), express(2, rounding=motion[1:3, 2]), 256)
    assert side[1, 51, 0] > side[0, 51, 0] + 3


def test_teeth_and_tongue_show_and_bite() -> None:
    half = torch.tensor([0.0, 0.5, 1.0])
    shown = area(person(), express(3, opening=0.5, teeth=half), "teeth")
    assert shown[0] < shown[1] < shown[2]
    raised = express(3, opening=0.5, tongue=half)
    drawn = where(parts(person(), place(3), raised, 128), "tongue")
    tops = [points(mask)[:, 1].min().item() for mask in drawn]
    assert tops[0] > tops[1] > tops[2]
    # f: a shut mouth whose upper teeth lie on the lower lip; th: the tongue lies between them.
    f, p = express(1, opening=0.08, press=0.55, teeth=0.95), express(1, press=1.0)
    assert area(person(), f, "teeth")[0] > 40 and area(person(), p, *HOLE)[0] == 0
    th = express(1, opening=0.25, teeth=0.7, tongue=1.0)
    drawn = parts(person(), place(1), th, 256)[0]
    assert points(where(drawn, "tongue"))[:, 1].min() > points(where(drawn, "teeth"))[:, 1].min()
    lower = landmarks(person(), place(1), th, 256)[0, 66, 1]
    assert points(where(drawn, "tongue"))[:, 1].max() > lower + 1


def test_blink_hides_the_iris_and_gaze_and_brow_move_alone() -> None:
    shut = area(person(), express(3, blink=torch.tensor([0.0, 0.6, 1.0])), "iris", "pupil")
    assert shut[0] > shut[1] > shut[2] == 0
    motion = express(3, gaze_x=torch.tensor([0.0, 0.7, 0.0]), gaze_y=torch.tensor([0.0, 0.0, 0.7]))
    x, y = iris(place(3), motion)
    assert (x[1] - x[0] > 1).all() and ((y[1] - y[0]).abs() < 0.3).all()
    assert (y[2] - y[0] < -0.5).all() and ((x[2] - x[0]).abs() < 0.3).all()
    raised = where(
        parts(person(), place(2), express(2, brow=torch.tensor([0.0, 1.0])), 128), "left brow"
    )
    low, high = (points(mask)[:, 1].mean() for mask in raised)
    assert low - high > 3


# --- identity


@pytest.mark.parametrize("trait", Identity._fields)
def test_each_trait_shows(trait: str) -> None:
    worn = {"glasses_shape": "glasses"}.get(trait, "hair_volume")
    pair = [person(**{worn: 0.9, trait: value}) for value in (0.0, 1.0)]
    first, second = (render(identity, place(1, y=0.1), express(1), 64) for identity in pair)
    assert ((first - second).abs().amax(1) > 0.1).sum() >= 4


def test_some_wear_glasses_and_beards() -> None:
    for trait, part in (("glasses", "glasses"), ("beard", "beard"), ("moustache", "moustache")):
        without = area(person(**{trait: 0.5}), express(1), part)[0]
        assert without == 0 and area(person(**{trait: 0.9}), express(1), part)[0] > 30


def test_people_differ() -> None:
    identities = torch.stack([sample_identity(seed) for seed in range(200)])
    assert identities.shape[1] >= 28 and identities.min() >= 0 and identities.max() <= 1
    assert ((identities.mean(0) - 0.5).abs() < 0.08).all()
    faces = render(identities[:6], place(6), express(6), 24).flatten(1)
    assert torch.pdist(faces, p=1).min() / faces.shape[1] > 0.05


def test_light_from_the_right_is_brighter_on_the_right() -> None:
    cheeks = render(person(light_side=1.0), place(1), express(1), 32)[0, :, 14:20]
    assert cheeks[..., 19:23].mean() > cheeks[..., 9:13].mean() + 0.1


# --- drawing


def test_edges_are_soft() -> None:
    # Hard edges would turn whole pixels from one colour into another however small the step is.
    before, after = render(person(), place(2, yaw=torch.tensor([10.0, 10.1])), express(2), 64)
    assert 0 < (after - before).abs().max() < 0.3


def busy(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """People with glasses, beards and curls among them, in extreme poses."""
    pose, expression = moving(8, count)
    pose[:, :3] *= 2
    people = torch.stack([sample_identity(seed) for seed in range(1, count + 1)])
    return people, pose, expression


def digest() -> str:
    frames = render(*busy(6), 48)
    return hashlib.sha256(frames.numpy().tobytes()).hexdigest()


def test_the_same_bytes_come_from_any_chunk_process_and_number_of_threads() -> None:
    people, pose, expression = busy(6)
    together = render(people, pose, expression, 64)
    assert together.isfinite().all() and together.abs().max() <= 1
    for i in range(6):
        alone = render(people[i], pose[i : i + 1], expression[i : i + 1], 64)
        assert torch.equal(alone[0], together[i])
    threads = torch.get_num_threads()
    torch.set_num_threads(3 - min(threads, 2))
    assert torch.equal(render(people, pose, expression, 64), together)
    torch.set_num_threads(threads)
    code = "from tests.data.test_synthetic_face import digest; print(digest())"
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert elsewhere.stdout.strip() == digest()


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(2, 6\) and \(1, 10\)"):
        render(person(), place(2), express(1), 16)
    with pytest.raises(ValueError, match=rf"identity must be \({len(Identity._fields)},\)"):
        landmarks(person()[:5], place(1), express(1), 16)
    with pytest.raises(ValueError, match="no expression 'smile'"):
        express(1, smile=1.0)
    with pytest.raises(ValueError, match="no pose 'tilt'; known are yaw"):
        place(1, tilt=1.0)
    with pytest.raises(ValueError, match="got 'sepia'"):
        render(person(), place(1), express(1), 16, palette="sepia")  # type: ignore[arg-type]
    assert Pose._fields == ("yaw", "pitch", "roll", "x", "y", "scale")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_any_device_draws_the_same() -> None:
    people, pose, expression = busy(6)
    drawn = render(people.cuda(), pose.cuda(), expression.cuda(), 64)
    torch.testing.assert_close(drawn.cpu(), render(people, pose, expression, 64), rtol=0, atol=1e-3)
