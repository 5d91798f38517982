"""Losses of sync experts against the reference's numbers and sums by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from talkingface.losses import cosine_bce_loss, cosine_sync_loss, shift_info_nce
from tests.models.test_pc_avs_parity import FIXTURES


@pytest.fixture
def embeddings() -> tuple[Tensor, Tensor, dict[str, float]]:
    """Sound and face of the reference, and its numbers for the pair."""
    data = np.load(FIXTURES / "wav2lip_syncnet_color.npz")
    audio, face = (torch.from_numpy(data[f"{name}_embedding"]) for name in ("audio", "face"))
    return (
        audio,
        face,
        {name: float(data[name].item()) for name in ("cosine", "loss_y1", "loss_y0")},
    )


def test_reference_numbers(embeddings: tuple[Tensor, Tensor, dict[str, float]]) -> None:
    audio, face, wanted = embeddings
    assert float(cosine_sync_loss(face, audio)) == pytest.approx(1 - wanted["cosine"], abs=1e-6)
    assert float(cosine_bce_loss(face, audio, torch.ones(1))) == pytest.approx(
        wanted["loss_y1"], abs=1e-6
    )
    assert float(cosine_bce_loss(face, audio, torch.zeros(1))) == pytest.approx(
        wanted["loss_y0"], abs=1e-6
    )


def test_any_length_gives_the_same(embeddings: tuple[Tensor, Tensor, dict[str, float]]) -> None:
    audio, face, _ = embeddings
    torch.testing.assert_close(cosine_sync_loss(3 * face, audio / 7), cosine_sync_loss(face, audio))


def test_shift_info_nce_by_hand() -> None:
    visual, audio = torch.randn(2, 3, 5, 7)
    expected = []
    for v, a in zip(visual.tolist(), audio.tolist(), strict=True):
        cosine = [
            [
                sum(x * y for x, y in zip(p, q, strict=True)) / math.hypot(*p) / math.hypot(*q)
                for q in a
            ]
            for p in v
        ]
        for i in range(5):
            row = sum(math.exp((cosine[i][j] - cosine[i][i]) / 0.2) for j in range(5))
            column = sum(math.exp((cosine[j][i] - cosine[i][i]) / 0.2) for j in range(5))
            expected.append((math.log(row) + math.log(column)) / 2)
    loss = shift_info_nce(visual, audio, temperature=0.2)
    assert float(loss) == pytest.approx(sum(expected) / 15, abs=1e-5)


def test_clips_do_not_see_each_other() -> None:
    visual, audio = torch.randn(2, 4, 5, 7)
    each = [shift_info_nce(v[None], a[None]) for v, a in zip(visual, audio, strict=True)]
    torch.testing.assert_close(shift_info_nce(visual, audio), torch.stack(each).mean())


def test_half_precision_is_computed_in_float32() -> None:
    visual, audio = torch.rand(2, 2, 5, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(
            shift_info_nce(visual, audio), shift_info_nce(visual.double().float(), audio)
        )
        assert cosine_bce_loss(visual, audio, torch.ones(2, 5)).dtype == torch.float32


def test_equal_vectors_have_no_loss() -> None:
    features = torch.rand(50, 8)
    assert float(cosine_bce_loss(features, features, torch.ones(50))) < 1e-6
    assert float(cosine_sync_loss(features, features)) < 1e-6


def test_bad_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        cosine_sync_loss(torch.ones(2, 3), torch.ones(1, 3))
    with pytest.raises(ValueError, match="labels"):
        cosine_bce_loss(torch.ones(2, 3), torch.ones(2, 3), torch.ones(3))
    with pytest.raises(ValueError, match="clips, moments"):
        shift_info_nce(torch.ones(2, 3), torch.ones(2, 3))
    with pytest.raises(ValueError, match="temperature"):
        shift_info_nce(torch.ones(1, 2, 3), torch.ones(1, 2, 3), temperature=0)
