from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from talkingface.metrics import LSE, sync_distances, sync_score
from tests.fixtures import fill
from tests.losses import FIXTURES, expected


def features(name: str) -> tuple[Tensor, Tensor]:
    with np.load(FIXTURES / f"{name}.npz") as arrays:
        lip, audio = (torch.from_numpy(arrays[f"in__{k}_features"]) for k in ("lip", "audio"))
    return lip, audio


@pytest.mark.parametrize(("name", "vshift"), [("syncnet_score_a", 15), ("syncnet_score_b", 10)])
def test_scores_of_the_reference(name: str, vshift: int) -> None:
    lip, audio = features(name)
    distances = sync_distances(lip, audio, vshift)
    assert fill.compare(distances, FIXTURES, name, "dists") < 1e-5
    assert fill.compare(distances.mean(0), FIXTURES, name, "mdist") < 1e-5
    metric = LSE(vshift)
    metric.update(lip, audio)
    scores = metric.compute()
    assert float(scores["lse_d"]) == pytest.approx(expected(name, "min_dist"), abs=1e-5)
    assert float(scores["lse_c"]) == pytest.approx(expected(name, "conf"), abs=1e-5)
    assert float(scores["offset"]) == expected(name, "offset")


def test_mean_over_clips() -> None:
    metric = LSE(10)
    for name in ("syncnet_score_a", "syncnet_score_b"):
        metric.update(*features(name))
    offsets = [sync_score(sync_distances(*features(f"syncnet_score_{n}"), 10)).offset for n in "ab"]
    assert float(metric.compute()["offset"]) == np.mean(offsets)


def test_masked_padding_does_not_depend_on_length() -> None:
    """Zero padding lowers the confidence of short clips, masking does not."""
    content = torch.randn(1000, 64)
    lip, audio = (content + 0.3 * torch.randn(1000, 64) for _ in range(2))
    means = {}
    paddings: tuple[Literal["zero", "mask"], ...] = ("zero", "mask")
    for padding in paddings:
        short = [
            sync_score(sync_distances(lip[i : i + 24], audio[i : i + 24], 15, padding)).lse_c
            for i in range(0, 960, 24)
        ]
        long = sync_score(sync_distances(lip, audio, 15, padding)).lse_c
        means[padding] = float(np.mean(short)) / long
    assert means["zero"] < 0.9
    assert means["mask"] == pytest.approx(1, abs=0.03)


def test_masked_distances_are_the_valid_ones() -> None:
    lip, audio = torch.randn(8, 4), torch.randn(8, 4)
    zero, mask = sync_distances(lip, audio, 3), sync_distances(lip, audio, 3, "mask")
    assert mask.isnan().sum(0).tolist() == [3, 2, 1, 0, 1, 2, 3]
    torch.testing.assert_close(mask.nan_to_num(0), zero * ~mask.isnan())
    assert LSE(padding="mask").name == "lse_masked[syncnet_v2]"


def test_wrong_features_are_refused() -> None:
    for lip, audio, message in (
        (torch.zeros(5, 8), torch.zeros(6, 8), "same windows"),
        (torch.zeros(0, 8), torch.zeros(0, 8), "same windows"),
        (torch.zeros(15, 8), torch.zeros(15, 8), "15 windows leave nothing at a shift of 15"),
    ):
        with pytest.raises(ValueError, match=message):
            sync_distances(lip, audio, padding="mask")
    with pytest.raises(ValueError, match="no profile"):
        LSE(profile="lrw")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="padding"):
        LSE(padding="reflect")  # type: ignore[arg-type]
