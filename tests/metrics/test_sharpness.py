import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from talkingface.metrics import CPBD
from talkingface.metrics.sharpness import luma
from tests.fixtures import fill


def cpbd(frames: Tensor, profile: str) -> float:
    metric = CPBD(profile)  # type: ignore[arg-type]
    metric.update(frames)
    return float(metric.compute())


def stripes(*levels: float, gain: float = 1.0) -> Tensor:
    """Frames whose rows all repeat a profile of gray levels, there and back."""
    row = [-100.0] * 8 + [v - 100 for v in levels] + [levels[-1] - 100] * 8
    row += [v - 100 for v in levels[::-1]]
    wave = (gain * torch.tensor(row).repeat(256)[:256] + 100) / 127.5 - 1
    return wave.expand(1, 3, 256, 256).clamp(-1, 1)


# Edges of a known width: from the last level of one side to the first of the other.
TWO = (0.0, 100.0, 200.0)
THREE = (0.0, 50.0, 170.0, 200.0)
FOUR = (0.0, 40.0, 100.0, 160.0, 200.0)
SIX = (0.0, 20.0, 60.0, 100.0, 140.0, 180.0, 200.0)


@pytest.mark.parametrize(
    ("levels", "gain", "atvg", "narvekar"),
    [
        # High contrast: just noticed at 3. 1 - exp(-(2/3)^3.6) = 0.21, width 3 just 0.63, 4: 0.94.
        (TWO, 1.0, 1, 1),
        (THREE, 1.0, 0, 1),
        (FOUR, 1.0, 0, 0),
        # Contrast of 40: just noticed at 5. Width 4: 0.36. Width 6: 0.85.
        (FOUR, 0.2, 1, 1),
    ],
)
def test_edges_of_known_width(
    levels: tuple[float, ...], gain: float, atvg: float, narvekar: float
) -> None:
    frames = stripes(*levels, gain=gain)
    assert cpbd(frames, "atvg") == atvg
    assert cpbd(frames, "narvekar") == narvekar


def test_half_of_the_edges() -> None:
    """The left half has edges of two pixels, the right half of four."""
    left, right = stripes(*TWO), stripes(*FOUR)
    counts = []
    for frames in (left, right):
        falls = luma(frames)[0, 0, 1:-1] - 100
        counts.append(int((falls == 0).sum()))  # each edge passes 100 once, at its steepest
    assert counts[0] > 10 and counts[1] > 10
    both = torch.cat([left[..., :128, :], right[..., 128:, :]], 2)
    assert cpbd(both, "atvg") == pytest.approx(counts[0] / sum(counts), abs=0.01)


def test_numbers_of_the_python_port() -> None:
    """Values that `cpbd` 1.0.7 gives for the same luma."""
    frames = torch.from_numpy(fill.inp_image("cpbd", 2, 256, 256))
    smooth = F.avg_pool2d(frames, 3, 1, 1)
    for clip, wanted in (
        (frames, (0.89318714, 0.89108784)),
        (smooth, (0.57339822, 0.52955013)),
    ):
        for frame, value in zip(clip, wanted, strict=True):
            assert cpbd(frame[None], "narvekar") == pytest.approx(value, abs=1e-6)


def test_flat_frames_have_no_sharp_edges() -> None:
    assert cpbd(torch.zeros(1, 3, 256, 256), "atvg") == 0


def test_small_frames_and_wrong_ranges_are_refused() -> None:
    for frames, message in (
        (torch.zeros(1, 3, 223, 256), "224 px or more, got 223 x 256"),
        (torch.full((1, 3, 256, 256), 128.0), "got values from 128"),
    ):
        with pytest.raises(ValueError, match=message):
            CPBD().update(frames)
    with pytest.raises(ValueError, match="no profile of cpbd"):
        CPBD("paper")  # type: ignore[arg-type]
