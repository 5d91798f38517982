"""What features or predictions know: words, persons, and what has leaked."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.utilities.data import dim_zero_cat

from talkingface.metrics._base import Described, Value


class WordAccuracy(Described, Metric):
    """Word recognition: share of clips whose word is among the k that score highest.

    Ties count against, so that a constant prediction is right about nothing.

    Args:
        ks: Which top-k to give.
        groups: Groups of class indices that look alike (homophenes), to say which part of the
            errors stays inside a group.

    Shape:
        - logits: (B, C), any monotone score
        - labels: (B,) int64 in [0, C)
        - output: dictionary with `top1`, `top5`, ... in [0, 1] (higher is better; chance is k / C)
          and, with groups, `errors_in_group` in [0, 1], NaN without errors

    Raises:
        ValueError: If shapes or labels do not fit, there are fewer classes than k, or nothing was
            given.

    References:
        Zhou et al., "Talking Face Generation by Adversarially Disentangled Audio-Visual
        Representation", AAAI 2019, Table 3, https://arxiv.org/abs/1807.07860

    Examples:
        >>> metric = WordAccuracy(ks=(1, 2), groups=[(0, 1)])
        >>> logits = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
        >>> metric.update(logits, torch.tensor([0, 1, 2]))
        >>> {key: round(float(value), 3) for key, value in metric.compute().items()}
        {'top1': 0.333, 'top2': 0.667, 'errors_in_group': 0.5}
    """

    name = "word_accuracy"
    values: tuple[Value, ...] = (Value("top1", 0, 1, "higher"), Value("top5", 0, 1, "higher"))
    higher_is_better = True
    full_state_update = False
    is_differentiable = False
    hits: Tensor
    count: Tensor
    errors: Tensor
    inside: Tensor

    def __init__(self, ks: Sequence[int] = (1, 5), groups: Sequence[Sequence[int]] = ()) -> None:
        super().__init__()
        if not ks or min(ks) < 1:
            raise ValueError(f"ks must be 1 or more, got {tuple(ks)}")
        members = [index for group in groups for index in group]
        if len(members) != len(set(members)):
            raise ValueError("a class is in two groups")
        self.ks = tuple(ks)
        self.values = tuple(Value(f"top{k}", 0, 1, "higher") for k in self.ks)
        if groups:
            self.values += (Value("errors_in_group", 0, 1, "neither"),)
        self.group_of = {index: g for g, group in enumerate(groups) for index in group}
        self.add_state("hits", torch.zeros(len(self.ks), dtype=torch.int64), dist_reduce_fx="sum")
        for state in ("count", "errors", "inside"):
            self.add_state(state, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Take in predictions."""
        if logits.dim() != 2 or labels.shape != logits.shape[:1]:
            raise ValueError(
                "logits and labels must be (B, C) and (B,), got "
                f"{tuple(logits.shape)} and {tuple(labels.shape)}"
            )
        classes = logits.shape[1]
        if classes < max(self.ks):
            raise ValueError(f"top-{max(self.ks)} of {classes} classes: lower ks")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise ValueError(
                f"labels must be in [0, {classes}), got {int(labels.min())} to {int(labels.max())}"
            )
        # Ties, and numbers that are none, count against.
        ranks = classes - (logits < logits.gather(1, labels[:, None])).sum(1)
        self.hits += torch.stack([(ranks <= k).sum() for k in self.ks])
        self.count += len(labels)
        if self.group_of:
            wrong = logits.argmax(1) != labels
            pairs = zip(logits.argmax(1)[wrong].tolist(), labels[wrong].tolist(), strict=True)
            self.errors += wrong.sum()
            self.inside += sum(
                a in self.group_of and self.group_of[a] == self.group_of.get(b) for a, b in pairs
            )

    def compute(self) -> dict[str, Tensor]:
        """Give the shares."""
        if self.count == 0:
            raise ValueError("word accuracy: no predictions; call update first")
        shares = {f"top{k}": hits / self.count for k, hits in zip(self.ks, self.hits, strict=True)}
        if self.group_of:
            shares["errors_in_group"] = self.inside / self.errors
        return shares


class VerificationAUC(Described, Metric):
    r"""Area under the ROC curve of deciding whether two samples are of the same person.

    .. math:: \mathrm{AUC} = P(s_{same} > s_{other}) + \tfrac{1}{2} P(s_{same} = s_{other})

    Exact, from all pairs of all updates and processes; scores of any range (torchmetrics' own takes
    probabilities).

    Shape:
        - scores: (B,), higher for more alike, such as cosines
        - same: (B,) bool
        - output: scalar in [0, 1], 0.5 is chance, higher is better

    Raises:
        ValueError: If shapes do not fit, scores are NaN, or only one kind of pair was given.

    Examples:
        >>> metric = VerificationAUC()
        >>> metric.update(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([True, True, False]))
        >>> metric.compute()
        tensor(0.5000)
    """

    name = "verification_auc"
    values = (Value("verification_auc", 0, 1, "higher"),)
    higher_is_better = True
    full_state_update = False
    is_differentiable = False
    scores: list[Tensor]
    same: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("same", [], dist_reduce_fx="cat")

    def update(self, scores: Tensor, same: Tensor) -> None:
        """Take in pairs."""
        if scores.dim() != 1 or same.shape != scores.shape or same.dtype != torch.bool:
            raise ValueError(
                "scores and same must be (B,) and (B,) bool, got "
                f"{tuple(scores.shape)} and {tuple(same.shape)} {same.dtype}"
            )
        if scores.isnan().any():
            raise ValueError("scores of verification must not be NaN")
        self.scores.append(scores)
        self.same.append(same.to(scores.device))

    def compute(self) -> Tensor:
        """Rank all pairs."""
        if not len(self.scores):
            raise ValueError("verification: no pairs; call update first")
        scores, same = dim_zero_cat(self.scores), dim_zero_cat(self.same).bool()
        if same.all() or not same.any():
            raise ValueError("verification needs pairs of the same and of different persons")
        levels, order = scores.unique(return_inverse=True)
        # torchmetrics squashes scores outside [0, 1], which ranks are not; double keeps each level
        return binary_auroc(order.double() / len(levels), same.long()).float()


class EmbeddingAUC(Described, Metric):
    """`VerificationAUC` of embeddings: by the cosines of all pairs, is it the same person?

    Args:
        limit: Embeddings that each process takes in at most, the first ones: pairs grow with their
            square.

    Shape:
        - embeddings: (B, D), of any length
        - people: (B,) int64
        - output: scalar in [0, 1], 0.5 is chance, higher is better

    Raises:
        ValueError: If shapes do not fit, embeddings are NaN, or nobody, or all, are one person.

    Examples:
        >>> metric = EmbeddingAUC()
        >>> metric.update(torch.tensor([[1.0, 0.0], [2.0, 0.1]]), torch.tensor([3, 3]))
        >>> metric.update(torch.tensor([[0.0, 1.0]]), torch.tensor([5]))
        >>> metric.compute()
        tensor(1.)
    """

    name = "embedding_auc"
    values = (Value("embedding_auc", 0, 1, "higher"),)
    higher_is_better = True
    full_state_update = False
    is_differentiable = False
    embeddings: list[Tensor]
    people: list[Tensor]

    def __init__(self, limit: int = 4096) -> None:
        super().__init__()
        self.limit = limit
        self.add_state("embeddings", [], dist_reduce_fx="cat")
        self.add_state("people", [], dist_reduce_fx="cat")

    def update(self, embeddings: Tensor, people: Tensor) -> None:
        """Take in samples."""
        if embeddings.dim() != 2 or people.shape != embeddings.shape[:1]:
            raise ValueError(
                "embeddings and people must be (B, D) and (B,), got "
                f"{tuple(embeddings.shape)} and {tuple(people.shape)}"
            )
        room = self.limit - sum(map(len, self.people))
        if room > 0:
            self.embeddings.append(embeddings[:room].float())
            self.people.append(people[:room])

    def compute(self) -> Tensor:
        """Compare all pairs."""
        if not len(self.embeddings):
            raise ValueError("verification: no embeddings; call update first")
        vectors = F.normalize(dim_zero_cat(self.embeddings), dim=1)
        metric = VerificationAUC()
        metric.update(*pair_cosines(vectors, dim_zero_cat(self.people)))
        return metric.compute()


def pair_cosines(vectors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines of all pairs of unit vectors, and which pairs have one label.

    Shape:
        - vectors: (N, D)
        - labels: (N,)
        - output: (N * (N - 1) / 2,) both

    Example:
        >>> vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> pair_cosines(vectors, torch.tensor([7, 7, 8]))
        (tensor([1., 0., 0.]), tensor([ True, False, False]))
    """
    rows, columns = torch.triu_indices(len(labels), len(labels), offset=1, device=labels.device)
    return (vectors @ vectors.T)[rows, columns], labels[rows] == labels[columns]


class LeakProbe(Described, Metric):
    r"""How much a linear classifier reads out of frozen features that should not hold it.

    A linear support vector machine, one against the rest, of features that are standardised by the
    training samples:

    .. math:: \min_W \tfrac{1}{2} \lVert W \rVert^2 + C \sum_{i,c}
              \max(0, 1 - y_{ic}\, w_c^\top [x_i, 1])^2

    The objective is convex, so that the result does not depend on luck; it is that of
    scikit-learn's `LinearSVC`. DAVS trains an SVM on the person features of all frames of a clip,
    concatenated, to find its word: 27.8 % are found before disentanglement and 9.7 % after.

    Args:
        penalty: C.

    Shape:
        - features: (B, D)
        - labels: (B,) integers
        - output: dictionary with `leak_accuracy` in [0, 1] on the test samples, lower is better,
          and `leak_chance`, the accuracy of always naming the most frequent training class

    Raises:
        ValueError: If shapes do not fit, features are not finite, training has fewer than two
            classes, or there are no test samples.

    References:
        Zhou et al., "Talking Face Generation by Adversarially Disentangled Audio-Visual
        Representation", AAAI 2019, section 4.3, https://arxiv.org/abs/1807.07860; Fan et al.,
        "LIBLINEAR: A Library for Large Linear Classification", JMLR 2008

    Examples:
        >>> metric, labels = LeakProbe(), torch.arange(90) % 3
        >>> features = torch.randn(90, 8, generator=torch.Generator().manual_seed(0))
        >>> features[torch.arange(90), labels] += 9  # leaks
        >>> metric.update(features[:60], labels[:60], "train")
        >>> metric.update(features[60:], labels[60:], "test")
        >>> bool(metric.compute()["leak_accuracy"] > 0.9)
        True
    """

    name = "leak_probe"
    values = (Value("leak_accuracy", 0, 1, "lower"), Value("leak_chance", 0, 1, "neither"))
    higher_is_better = False
    full_state_update = False
    is_differentiable = False
    features: list[Tensor]
    labels: list[Tensor]
    tested: list[Tensor]

    def __init__(self, penalty: float = 1.0) -> None:
        super().__init__()
        if penalty <= 0:
            raise ValueError(f"penalty must be positive, got {penalty}")
        self.penalty = penalty
        for state in ("features", "labels", "tested"):
            self.add_state(state, [], dist_reduce_fx="cat")

    def update(self, features: Tensor, labels: Tensor, split: Literal["train", "test"]) -> None:
        """Take in samples to train on, or to test on."""
        if features.dim() != 2 or labels.shape != features.shape[:1]:
            raise ValueError(
                "features and labels must be (B, D) and (B,), got "
                f"{tuple(features.shape)} and {tuple(labels.shape)}"
            )
        if split not in ("train", "test"):
            raise ValueError(f"split is 'train' or 'test', got {split!r}")
        if not features.isfinite().all():
            raise ValueError("features of the leak probe must be finite, got NaN or infinity")
        self.features.append(features.float())
        self.labels.append(labels)
        self.tested.append(torch.full_like(labels, split == "test", dtype=torch.bool))

    def compute(self) -> dict[str, Tensor]:
        """Train, and test."""
        if not len(self.features):
            raise ValueError("leak probe: no samples; call update first")
        features, labels = dim_zero_cat(self.features).double(), dim_zero_cat(self.labels)
        tested = dim_zero_cat(self.tested).bool()
        if not tested.any():
            raise ValueError("leak probe: no test samples")
        classes, counts = labels[~tested].unique(return_counts=True)
        if len(classes) < 2:
            raise ValueError(f"leak probe: training samples of {len(classes)} class, needs two")
        x = features[~tested]
        mean, deviation = x.mean(0), x.std(0, correction=0)
        scaled = (features - mean) / deviation.where(deviation > 0, 1)
        weights = fit_linear_svm(scaled[~tested], labels[~tested], classes, self.penalty)
        scores = scaled[tested] @ weights[:, :-1].T + weights[:, -1]
        actual = labels[tested]
        return {
            "leak_accuracy": (classes[scores.argmax(1)] == actual).float().mean(),
            "leak_chance": (classes[counts.argmax()] == actual).float().mean(),
        }


def fit_linear_svm(features: Tensor, labels: Tensor, classes: Tensor, penalty: float) -> Tensor:
    """Fit the linear support vector machines of `LeakProbe`.

    Args:
        features: (N, D) float64.
        labels: (N,).
        classes: (C,) the different labels.
        penalty: Weight of the errors against the length of the weights.

    Returns:
        (C, D + 1) weights, the last column the bias, which is held short like all others.
    """
    # A metric may be computed where gradients are off.
    with torch.inference_mode(False), torch.enable_grad():
        x = torch.cat([features, features.new_ones(len(features), 1)], 1).clone()
        y = torch.where(labels[:, None] == classes, 1.0, -1.0).to(x)
        weights = x.new_zeros(len(classes), x.shape[1], requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weights],
            max_iter=1000,
            tolerance_grad=1e-9,
            tolerance_change=1e-13,
            line_search_fn="strong_wolfe",
        )

        def objective() -> Tensor:
            optimizer.zero_grad()
            errors = (1 - y * (x @ weights.T)).relu().square().sum()
            value = (weights.square().sum() / 2 + penalty * errors) / len(x)
            value.backward()
            return value

        optimizer.step(objective)
        return weights.detach()
