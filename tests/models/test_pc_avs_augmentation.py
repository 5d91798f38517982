import numpy as np
import pytest
import torch
from kornia.geometry import get_perspective_transform
from torch import Tensor

from talkingface.models.pc_avs.augmentation import (
    PCAVSAugmentation,
    PoseJitter,
    perspective_points,
)


def solve(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Solve equation 1 for four points: eight linear equations, M[2, 2] = 1."""
    rows, right = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    return np.append(np.linalg.solve(np.array(rows), np.array(right)), 1).reshape(3, 3)


def printed_points(r_s: float, r_t: float, h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    source = [[-r_s, -r_s], [w + r_s, -r_s], [-r_s, h + r_s], [w + r_s, h + r_s]]
    target = [[-r_s + r_t, -r_s], [w + r_s, -r_s], [-r_s, h + r_s], [w + r_s + r_t, h + r_s]]
    return np.array(source), np.array(target)


@pytest.mark.parametrize(("r_s", "r_t"), [(0.0, 10.0), (5.0, -8.0), (3.0, 0.0)])
def test_perspective_is_equation_1(r_s: float, r_t: float) -> None:
    source, target = printed_points(r_s, r_t, 48, 64)
    ours = perspective_points(torch.tensor([r_s]), torch.tensor([r_t]), 48, 64)
    np.testing.assert_allclose(ours[0][0].numpy(), source)
    np.testing.assert_allclose(ours[1][0].numpy(), target)
    matrix = solve(source, target)
    np.testing.assert_allclose(get_perspective_transform(*ours)[0].numpy(), matrix, atol=1e-4)
    # The paper writes points as rows: [P_t, e] = [P_s, e] * M, up to each row's scale.
    rows = np.column_stack([source, np.ones(4)]) @ matrix.T
    np.testing.assert_allclose(rows / rows[:, 2:], np.column_stack([target, np.ones(4)]))


def blob(x: float, y: float, height: int, width: int) -> Tensor:
    """A soft white spot on black, (1, 1, 3, H, W)."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    spot = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 2.0**2))
    return (spot * 2 - 1).expand(1, 1, 3, height, width)


def centroid(frames: Tensor) -> Tensor:
    """Centre (x, y) of what is bright, of frames (..., 3, H, W) on black."""
    weight = (frames.double() + 1).sum(-3)
    total = weight.sum((-1, -2))
    x = (weight.sum(-2) * torch.arange(weight.shape[-1])).sum(-1) / total
    y = (weight.sum(-1) * torch.arange(weight.shape[-2])).sum(-1) / total
    return torch.stack([x, y], -1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("point", [(20.0, 25.0), (44.0, 20.0), (31.0, 34.0)])
def test_pictures_move_as_the_equation_and_the_crop_say(
    seed: int, point: tuple[float, float]
) -> None:
    height, width = 56, 64
    torch.manual_seed(seed)
    r_s, r_t = 0.1 * width * torch.rand(1), 0.15 * width * (torch.rand(1) * 2 - 1)
    zoom = 1 / (1 - 0.1 * torch.rand(1))
    matrix = solve(*printed_points(r_s.item(), r_t.item(), height, width))

    def project(x: float, y: float) -> np.ndarray:
        u, v, w = matrix @ np.array([x, y, 1])
        return np.array([u / w, v / w])

    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    wanted = middle + zoom.item() * (project(*point) - project(*middle))
    torch.manual_seed(seed)
    moved = PCAVSAugmentation(color=0)(blob(*point, height, width))
    # The spot is small but not a point, which a perspective shifts by some hundredths.
    np.testing.assert_allclose(centroid(moved)[0, 0], wanted, atol=0.15)


def test_the_centre_of_the_frame_stays() -> None:
    augment = PCAVSAugmentation(color=0, margin=0.2, step=0.3, crop=0.3)
    for _ in range(5):
        np.testing.assert_allclose(
            centroid(augment(blob(31.5, 23.5, 48, 64)))[0, 0], (31.5, 23.5), atol=0.25
        )


def test_nothing_happens_without_strength() -> None:
    frames = torch.rand(2, 3, 3, 40, 32) * 2 - 1
    augmented = PCAVSAugmentation(color=0, margin=0, step=0, crop=0)(frames)
    torch.testing.assert_close(augmented, frames, rtol=0, atol=1e-4)


def test_all_frames_of_a_clip_change_alike_and_clips_do_not() -> None:
    frames = (torch.rand(1, 1, 3, 32, 32) * 2 - 1).expand(3, 4, 3, 32, 32)
    augmented = PCAVSAugmentation()(frames)
    torch.testing.assert_close(augmented, augmented[:, :1].expand_as(augmented))
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert (augmented[first] - augmented[second]).abs().mean() > 0.05


def test_the_global_generator_makes_it_repeatable() -> None:
    frames, augment = torch.rand(2, 2, 3, 32, 32) * 2 - 1, PCAVSAugmentation()
    torch.manual_seed(5)
    first, state = augment(frames), torch.get_rng_state()
    second = augment(frames)
    torch.manual_seed(5)
    assert augment(frames).equal(first)
    torch.set_rng_state(state)
    assert augment(frames).equal(second)
    assert not first.equal(second)


def test_colors_are_an_affine_change_of_each_channel() -> None:
    frames = torch.linspace(-0.5, 0.5, 30 * 30).view(1, 1, 1, 30, 30).repeat(1, 2, 3, 1, 1)
    augmented = PCAVSAugmentation(color=0.2, margin=0, step=0, crop=0)(frames)
    lines = [
        np.polyfit(frames[0, :, c].flatten(), augmented[0, :, c].flatten(), 1) for c in range(3)
    ]
    for c, (slope, middle) in enumerate(lines):
        line = slope * frames[0, :, c] + middle
        torch.testing.assert_close(augmented[0, :, c], line.float(), rtol=0, atol=1e-4)
        assert abs(slope - 1) <= 0.2 + 1e-4
        # Grey 0 lies 1 above black: the factor moves it by up to 0.2, the shift by another 0.2.
        assert abs(middle - (slope - 1)) <= 0.2 + 1e-4
    slopes = [slope for slope, _ in lines]
    assert max(slopes) - min(slopes) > 1e-2


def test_values_stay_in_range_and_the_border_is_not_black() -> None:
    extreme = torch.randint(0, 2, (4, 2, 3, 24, 24)) * 2.0 - 1
    augmented = PCAVSAugmentation(color=0.9)(extreme)
    assert augmented.min() >= -1 and augmented.max() <= 1
    white = torch.ones(8, 1, 3, 24, 24)
    torch.testing.assert_close(PCAVSAugmentation(color=0, step=0.4, crop=0)(white), white)


def test_half_precision_goes_in_and_out() -> None:
    frames, augment = torch.rand(1, 2, 3, 32, 32) * 2 - 1, PCAVSAugmentation()
    torch.manual_seed(1)
    full = augment(frames)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = augment(frames.bfloat16())
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.float(), full, rtol=0, atol=0.02)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"step is a fraction in \[0, 1\), got 1"):
        PCAVSAugmentation(step=1)
    with pytest.raises(ValueError, match="color is a fraction"):
        PCAVSAugmentation(color=-0.1)
    augment = PCAVSAugmentation()
    with pytest.raises(ValueError, match=r"got torch.float32 \(2, 3, 32, 32\)"):
        augment(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match="uint8"):
        augment(torch.zeros(1, 2, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"\(1, 3, 5, 32, 32\)"):
        augment(torch.zeros(1, 3, 5, 32, 32))


@pytest.mark.gpu
def test_on_a_gpu_its_generator_is_used() -> None:
    frames, augment = (torch.rand(2, 2, 3, 32, 32) * 2 - 1).cuda(), PCAVSAugmentation()
    torch.cuda.manual_seed(5)
    torch.manual_seed(5)
    first = augment(frames)
    torch.rand(7)  # the CPU's generator does not matter
    torch.cuda.manual_seed(5)
    assert first.is_cuda
    assert augment(frames).equal(first)


def test_jitter_moves_the_middle_by_the_shift_alone() -> None:
    video = torch.full((64, 3, 3, 41, 41), -1.0)
    video[..., 18:23, 18:23] = 1  # a square around the middle (20, 20): mirroring leaves it
    source, moved = PoseJitter(0.1)(video[:, :1], video)
    torch.testing.assert_close(source, video[:, :1])
    offset = centroid(moved) - 20
    # Scale and rotation are about the middle; the shift is at most 0.1 * 41 px, and is used.
    assert offset.abs().max() <= 4.1 + 0.1
    assert offset.abs().amax((0, 1)).min() > 3
    torch.testing.assert_close(offset, offset[:, :1].expand_as(offset))  # one draw per clip


def test_jitter_mirrors_source_and_target_together() -> None:
    source = torch.full((64, 1, 3, 40, 40), -1.0)
    source[..., :10] = 1  # a bar at the left
    video = source.repeat(1, 2, 1, 1, 1)
    mirrored, moved = PoseJitter(0.05)(source, video)
    left = mirrored[:, 0, 0, 20, 0] > 0
    assert 0.25 < left.float().mean() < 0.75
    torch.testing.assert_close(
        mirrored, torch.where(left[:, None, None, None, None], source, source.flip(-1))
    )
    assert torch.equal(moved[:, 0, 0, 20, 2] > 0, left)


@pytest.mark.parametrize("strength", [0.0, 0.5, -0.1])
def test_jitter_strength_is_a_fraction(strength: float) -> None:
    with pytest.raises(ValueError, match="strength"):
        PoseJitter(strength)
