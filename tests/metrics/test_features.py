"""Metrics of features and predictions: identity, retrieval, probes, motion."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.svm import LinearSVC
from torch import Tensor

from talkingface.metrics import (
    CSIM,
    EmbeddingAUC,
    IDSquaredL2,
    LeakProbe,
    MotionCorrelation,
    Retrieval,
    VerificationAUC,
    WordAccuracy,
)
from talkingface.metrics.probe import fit_linear_svm
from talkingface.metrics.retrieval import own_ranks


def corner(frames: Tensor) -> Tensor:
    """The colour of one corner; black has no face."""
    return frames[..., 0, 0].where(frames.amax((1, 2, 3))[:, None] > -1, torch.nan)


def coloured(*colours: tuple[float, float, float]) -> Tensor:
    return torch.tensor(colours, dtype=torch.float32)[..., None, None].expand(-1, -1, 8, 8)


def test_identity_by_hand() -> None:
    frames = coloured((0.5, 0, 0), (0, 0.3, 0.3), (-1, -1, -1))
    target = coloured((1, 0, 0))  # cosine 1 and 0, no face
    similarity, distance = CSIM(corner, "corner"), IDSquaredL2(corner, "corner")
    for metric, wanted in ((similarity, 0.5), (distance, 1.0)):
        metric.update(frames, target)
        assert float(metric.compute()) == pytest.approx(wanted)
        assert int(metric.dropped) == 1
    assert (similarity.name, distance.name) == ("csim[corner]", "id_squared_l2[corner]")


def test_identity_refuses() -> None:
    metric = CSIM(corner, "corner")
    with pytest.raises(ValueError, match="one frame or as many"):
        metric.update(coloured(*[(0.0, 0.0, 0.0)] * 3), coloured(*[(0.0, 0.0, 0.0)] * 2))
    with pytest.raises(ValueError, match="gave"):
        CSIM(torch.square, "square").update(*[coloured((0.0, 0.0, 0.0))] * 2)
    with pytest.raises(ValueError, match="name the embedding"):
        CSIM(corner, "")


def test_ranks_are_those_of_sorting() -> None:
    queries, candidates = torch.randn(700, 6), torch.randn(700, 6)  # more rows than at a time
    distances = torch.cdist(queries.double(), candidates.double())
    wanted = distances.argsort(1).argsort(1).diagonal() + 1
    assert torch.equal(own_ranks(queries, candidates), wanted)
    metric = Retrieval(ks=(1, 50))
    metric.update(queries[:300], candidates[:300])
    metric.update(queries[300:], candidates[300:])
    scores = metric.compute()
    assert float(scores["r@50"]) == pytest.approx(100 * float((wanted <= 50).float().mean()))
    assert float(scores["median_rank"]) == np.median(wanted)
    assert float(scores["mean_rank"]) == pytest.approx(float(wanted.float().mean()))
    # Lengths do not count for cosines.
    longer = candidates * torch.rand(700, 1).add(0.1)
    assert torch.equal(
        own_ranks(queries, longer, "cosine"), own_ranks(queries, candidates, "cosine")
    )


def test_retrieval_directions_differ_and_collapse_is_no_success() -> None:
    a, b = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [0.4], [9.0]])
    assert own_ranks(a, b).tolist() == [1, 1, 3]
    assert own_ranks(b, a).tolist() == [1, 2, 1]
    assert own_ranks(torch.full((4, 3), 0.1), torch.full((4, 3), 0.3)).tolist() == [4] * 4
    assert own_ranks(torch.full((4, 3), math.nan), b.new_ones(4, 3)).tolist() == [4] * 4


def test_retrieval_refuses() -> None:
    with pytest.raises(ValueError, match="pairs of"):
        Retrieval().update(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="finite"):
        Retrieval().update(torch.zeros(3, 2), torch.full((3, 2), torch.nan))
    with pytest.raises(ValueError, match="ks"):
        Retrieval(ks=())
    few = Retrieval(ks=(1, 10))
    few.update(torch.eye(3), torch.eye(3))
    with pytest.raises(ValueError, match="R@10 of 3 pairs"):
        few.compute()
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="no pairs"):
        Retrieval().compute()


def test_word_accuracy_by_hand() -> None:
    metric = WordAccuracy(ks=(1, 2), groups=[(0, 1), (2, 3)])
    logits = torch.tensor(
        [[9.0, 8, 1, 1], [9, 8, 1, 1], [9, 8, 1, 1], [0, 0, 5, 4], [0.1, 0.1, 0.1, 0.1]]
    )
    metric.update(logits, torch.tensor([0, 1, 2, 2, 3]))
    scores = metric.compute()
    assert float(scores["top1"]) == pytest.approx(2 / 5)  # a constant prediction is not right
    assert float(scores["top2"]) == pytest.approx(3 / 5)
    assert float(scores["errors_in_group"]) == pytest.approx(1 / 3)
    broken = WordAccuracy(ks=(1, 3))
    broken.update(torch.full((2, 4), math.nan), torch.tensor([0, 1]))
    assert broken.compute() == {"top1": 0, "top3": 0}
    for labels, message in (([0, 1, 2, 3, 4], "0 to 4"), ([0, 1], r"\(B, C\)")):
        with pytest.raises(ValueError, match=message):
            metric.update(logits, torch.tensor(labels))
    with pytest.raises(ValueError, match="top-5 of 4"):
        WordAccuracy().update(logits, torch.zeros(5, dtype=torch.int64))


def test_verification_is_that_of_scikit_learn() -> None:
    scores = torch.randn(400).mul(4).round()  # many ties
    same = torch.rand(400) < torch.sigmoid(scores / 3)
    metric = VerificationAUC()
    metric.update(scores[:10], same[:10])
    metric.update(scores[10:], same[10:])
    wanted = roc_auc_score(same.numpy(), scores.numpy())
    assert float(metric.compute()) == pytest.approx(wanted, abs=1e-6)
    single = VerificationAUC()
    single.update(scores[same], same[same])
    with pytest.raises(ValueError, match="different persons"):
        single.compute()


def test_verification_of_embeddings_takes_all_pairs_of_all_batches() -> None:
    people = torch.arange(12) // 4  # batches of one person each
    embeddings = torch.randn(3, 5)[people] + 1.5 * torch.randn(12, 5)
    metric = EmbeddingAUC(limit=11)
    for rows in torch.arange(12).split(4):
        metric.update(embeddings[rows], people[rows])
    pairs = [(i, j) for i in range(11) for j in range(i)]
    cosines = [float(torch.cosine_similarity(embeddings[i], embeddings[j], 0)) for i, j in pairs]
    wanted = roc_auc_score([bool(people[i] == people[j]) for i, j in pairs], cosines)
    assert 0.5 < float(metric.compute()) == pytest.approx(wanted, abs=1e-6)
    with pytest.raises(ValueError, match=r"\(B, D\)"):
        metric.update(embeddings, people[:3])
    with pytest.raises(ValueError, match="call update first"):
        EmbeddingAUC().compute()


def test_probe_is_scikit_learns_linear_svm() -> None:
    labels = torch.arange(240) % 4
    features = torch.randn(240, 12) + 1.2 * torch.randn(4, 12)[labels]
    features[:, 3] = 7  # a constant
    train, test = features[:160].double(), features[160:].double()
    mean, deviation = train.mean(0), train.std(0, correction=0).clamp_min(1e-12)
    deviation[3] = 1
    a, b = (((x - mean) / deviation).numpy() for x in (train, test))
    official = LinearSVC(C=1.0, tol=1e-9, max_iter=100_000).fit(a, labels[:160].numpy())
    weights = fit_linear_svm(torch.from_numpy(a), labels[:160], torch.arange(4), 1.0)
    np.testing.assert_allclose(weights[:, :-1], official.coef_, atol=1e-4)
    np.testing.assert_allclose(weights[:, -1], official.intercept_, atol=1e-4)

    metric = LeakProbe()
    metric.update(features[160:], labels[160:], "test")
    metric.update(features[:160], labels[:160], "train")
    with torch.inference_mode():
        scores = metric.compute()
    wanted = official.score(b, labels[160:].numpy())
    assert 0.4 < wanted < 0.99
    assert float(scores["leak_accuracy"]) == pytest.approx(wanted)
    assert float(scores["leak_chance"]) == 0.25


def test_probe_refuses() -> None:
    metric = LeakProbe()
    with pytest.raises(ValueError, match="split"):
        metric.update(torch.zeros(2, 2), torch.zeros(2), "val")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="finite"):
        metric.update(torch.full((2, 2), torch.inf), torch.zeros(2), "train")
    metric.update(torch.zeros(2, 2), torch.zeros(2), "train")
    with pytest.raises(ValueError, match="no test samples"):
        metric.compute()
    metric.update(torch.zeros(2, 2), torch.zeros(2), "test")
    with pytest.raises(ValueError, match="of 1 class"):
        metric.compute()


def test_motion_is_pearson_pooled_and_within() -> None:
    driven, read = np.random.randn(2, 3, 20)
    driven += np.array([[1000.0], [1010], [1020]])  # far from zero: sums of squares stay exact
    read += np.array([[5.0], [9], [13]])
    metric = MotionCorrelation("yaw")
    for x, y in zip(driven, read, strict=True):
        with_gap = torch.cat([torch.tensor(x), torch.tensor([1e6])])
        metric.update(with_gap, torch.cat([torch.tensor(y), torch.tensor([torch.nan])]))
    scores = metric.compute()
    pooled = np.corrcoef(driven.ravel(), read.ravel())[0, 1]
    centred = [z - z.mean(1, keepdims=True) for z in (driven, read)]
    within = np.corrcoef(*(z.ravel() for z in centred))[0, 1]
    assert pooled > 0.8 > abs(within)
    assert float(scores["pooled"]) == pytest.approx(pooled, abs=1e-6)
    assert float(scores["within"]) == pytest.approx(within, abs=1e-6)
    assert int(metric.dropped) == 3


def test_what_does_not_move_has_no_correlation() -> None:
    metric = MotionCorrelation("roll")
    metric.update(torch.randn(9), torch.full((9,), 0.1))
    assert metric.compute()["within"].isnan() and metric.compute()["pooled"].isnan()
    with pytest.raises(ValueError, match="one length"):
        metric.update(torch.zeros(3), torch.zeros(4))
    lost = MotionCorrelation("roll")
    lost.update(torch.zeros(3), torch.full((3,), torch.nan))
    with pytest.raises(ValueError, match="3 were NaN"):
        lost.compute()
