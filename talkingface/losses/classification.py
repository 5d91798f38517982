"""Cross entropy of labels, with a sentence where the classifier is too small for them."""

import torch.nn.functional as F
from torch import Tensor


def classification_loss(
    scores: Tensor, labels: Tensor, what: str = "people", smoothing: float = 0.0
) -> Tensor:
    """Cross entropy of classes and labels, mean over the batch.

    Args:
        scores: Logits.
        labels: Classes.
        what: What is classified, for the error.
        smoothing: Share of each label that is spread over all classes.

    Shape:
        - scores: (B, C); labels: (B,) in 0..C - 1.

    Raises:
        ValueError: If there is no class of a label, as where a model goes on with other data.

    Example:
        >>> import torch
        >>> classification_loss(torch.zeros(2, 4), torch.tensor([0, 3]))  # log 4
        tensor(1.3863)
        >>> classification_loss(torch.zeros(1, 1), torch.tensor([2]))
        Traceback (most recent call last):
        ...
        ValueError: label 2 of people, but the model's classifier has 1 classes: ...
    """
    highest = int(labels.max()) if len(labels) else 0
    if highest >= scores.shape[1]:
        raise ValueError(
            f"label {highest} of {what}, but the model's classifier has {scores.shape[1]} classes: "
            "train on the data whose classes it knows, build it for more, or set the weight of "
            "this loss to 0."
        )
    return F.cross_entropy(scores, labels, label_smoothing=smoothing)
