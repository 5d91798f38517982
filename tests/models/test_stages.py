"""PC-AVS's pre-training stages learn, and measure what they say."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import default_collate

from talkingface.models.pc_avs.sync import Contrastive, content_loss
from tests.models.tiny import IDENTITIES, IDENTITY, SYNC, Tiny, fit, items, loader, seed, trainer

ALONE = SimpleNamespace(trainer=SimpleNamespace(world_size=1), global_rank=0)


def train(tiny: Tiny, epochs: int, **options: Any) -> tuple[dict[str, float], dict[str, float]]:
    """Scores on the training data before and after training on eight clips of four people."""
    seed(0)
    model, data = tiny(**options), loader(8, 8)

    def scores() -> dict[str, float]:
        return dict(trainer().validate(model, data, verbose=False)[0])

    before = scores()
    fit(model, data, max_epochs=epochs)
    return before, scores()


def test_identity_classifier_learns_people() -> None:
    before, after = train(IDENTITY, 40)
    assert before["val/loss"] == pytest.approx(math.log(IDENTITIES), abs=0.3)
    assert after["val/loss"] < 0.3
    assert after["val/accuracy"] > 0.9


def test_sync_finds_the_sound_of_a_moment() -> None:
    before, after = train(SYNC, 100, augment=False, temperature=0.1, lr=2e-3)
    assert after["val/loss"] < 0.5 * before["val/loss"]
    assert after["val/video_to_audio"] > 0.7 > before["val/video_to_audio"]
    assert after["val/audio_to_video"] > 0.7 > before["val/audio_to_video"]


def test_identity_scores_by_hand() -> None:
    seed(0)
    model = IDENTITY()
    data: Any = loader(8, 4)
    scores = trainer().validate(model, data, verbose=False)[0]
    video = torch.stack([item["video"] for item in items(8)])
    with torch.no_grad():
        logits = model.eval()(video.flatten(0, 1)).unflatten(0, (8, -1))
    labels = torch.arange(8) % IDENTITIES
    loss = -logits.log_softmax(-1)[torch.arange(8), :, labels].mean()
    assert scores["val/loss"] == pytest.approx(float(loss), abs=1e-5)
    accuracy = (logits.argmax(-1) == labels[:, None]).float().mean()
    assert scores["val/accuracy"] == pytest.approx(float(accuracy))


def features() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    visual, audio = torch.randn(2, 5, 7, generator=draw)
    return visual, audio


def test_content_loss_by_hand() -> None:
    visual, audio = features()
    cosine = F.normalize(visual, dim=1) @ F.normalize(audio, dim=1).T / 0.3
    diagonal = cosine.diagonal()
    expected = (cosine.logsumexp(1) - diagonal).mean() + (cosine.logsumexp(0) - diagonal).mean()
    loss = content_loss(ALONE, visual, audio, 0.3, "infonce")
    torch.testing.assert_close(loss, expected)


def test_released_content_loss_by_hand() -> None:
    visual, audio = features()
    scores = 1 / torch.cdist(F.normalize(visual, dim=1), F.normalize(audio, dim=1))
    diagonal = scores.diagonal()
    expected = (scores.logsumexp(1) - diagonal).mean() + (scores.logsumexp(0) - diagonal).mean()
    loss = content_loss(ALONE, visual, audio, 1.0, "inverse_distance")
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("contrastive", ["infonce", "inverse_distance"])
def test_content_loss_takes_negatives_of_all_ranks(contrastive: Contrastive) -> None:
    whole = content_loss(ALONE, *features(), 0.3, contrastive)
    per_rank = []
    for rank, rows in enumerate((slice(0, 5), slice(5, 10))):
        visual, audio = (torch.cat([x, x.flip(1)]) for x in features())
        ranks = SimpleNamespace(
            trainer=SimpleNamespace(world_size=2),
            global_rank=rank,
            all_gather=lambda x, sync_grads, both=(visual, audio): next(
                y for y in both if (x == y[:5]).all() or (x == y[5:]).all()
            ).unflatten(0, (2, 5)),
        )
        per_rank.append(content_loss(ranks, visual[rows], audio[rows], 0.3, contrastive))
    together = content_loss(ALONE, visual, audio, 0.3, contrastive)
    torch.testing.assert_close(torch.stack(per_rank).mean(), together)
    assert together > whole  # more candidates


def test_cross_modal_weight_adds_the_distance() -> None:
    seed(0)
    batch: Any = default_collate(items(3))
    losses = []
    for weight in (0.0, 2.0):
        seed(0)
        model = SYNC.still(cross_modal_weight=weight)
        model.trainer = ALONE.trainer
        model.log_dict = lambda *_, **__: None
        losses.append(model.training_step(batch, 0))
    visual, audio = model(batch["video"], batch["audio"], batch["audio_gain"])
    torch.testing.assert_close(losses[1] - losses[0], 2 * (visual - audio).abs().mean())


def test_both_encoders_are_trained() -> None:
    seed(0)
    model = SYNC()
    start = {name: value.clone() for name, value in model.named_parameters()}
    fit(model, loader(4, 4))
    moved = {name for name, value in model.named_parameters() if not value.equal(start[name])}
    for part in ("non_identity_encoder.trunk", "non_identity_encoder.to_content", "audio_encoder"):
        assert any(name.startswith(f"networks.{part}") for name in moved), part
    # Nothing else of the non-identity encoder plays a part.
    assert not any("to_pose" in name or "content_embedding" in name for name in moved)
