"""DAVS's losses give the numbers of the released code, and those of the paper's equations."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from talkingface.losses import (
    discriminator_adversarial_loss,
    domain_classification_loss,
    domain_confusion_loss,
    margin_contrastive,
    masked_l1,
    sum_log_softmax_loss,
    uniform_softmax_loss,
)
from talkingface.metrics import Retrieval
from talkingface.metrics.retrieval import own_ranks
from tests.fixtures import fill

FIXTURES = Path(__file__).parents[1] / "fixtures"


def normal(tag: str, *shape: int, scale: float = 1.0) -> Tensor:
    return torch.from_numpy(fill.inp_normal(f"davs_loss/{tag}", shape, scale))


def features() -> tuple[Tensor, Tensor]:
    a, b = normal("f1", 6, 4), normal("f2", 6, 4)
    return a, 0.7 * a + b


def check(actual: Tensor, output: str) -> None:
    wanted, _ = fill.expected(FIXTURES, "davs_losses", output)
    assert abs(float(actual) - wanted[0]) <= 1e-5 * max(1, abs(wanted[0])), output


@pytest.mark.parametrize("hardest", [False, True])
def test_contrastive_losses_are_the_released_ones(hardest: bool) -> None:
    ending = "_maxviol" if hardest else ""
    for margin in (0, 1, 2):
        loss = margin_contrastive(*features(), form="squared", margin=margin, hardest=hardest)
        check(loss, f"l2contrastive_margin{margin}{ending}")
    ranking = margin_contrastive(*features(), form="ranking", margin=0.2, hardest=hardest)
    check(6 * ranking, f"contrastive_margin02{ending}")


def test_other_losses_are_the_released_ones() -> None:
    logits, judged = normal("logits", 5, 500, scale=2), normal("p", 4, 1, 7, 7)
    check(uniform_softmax_loss(logits), "l2softmax")
    check(sum_log_softmax_loss(logits) + math.log(500), "sumlogsoftmax")
    for name, judgement in (("bce", judged), ("ls", judged.sigmoid())):
        mode = "vanilla" if name == "bce" else "lsgan"
        real, fake = discriminator_adversarial_loss(judgement, judgement, mode)  # type: ignore[arg-type]
        check(real, f"gan_{name}_real")
        check(fake, f"gan_{name}_fake")


def test_retrieval_is_the_released_one() -> None:
    video, audio = (F.normalize(x, dim=1) for x in features())
    wanted, _ = fill.expected(FIXTURES, "davs_losses", "l2_sim_matrix")
    distances = torch.from_numpy(wanted).view(6, 6)
    ranks = (distances <= distances.diagonal()).sum(0)  # of each sound's own video
    assert own_ranks(audio, video).tolist() == ranks.tolist() != [1] * 6
    metric = Retrieval(ks=(1, 5))
    metric.update(audio, video)
    values = [float(value) for value in metric.compute().values()]
    for output in ("L2retrieval", "sentence_to_video"):
        (r1, r5, *_, median, mean), _ = fill.expected(FIXTURES, "davs_losses", output)
        assert values == pytest.approx([r1, r5, median, mean])


def test_contrastive_loss_is_equation_1() -> None:
    visual, audio = (F.normalize(x, dim=1) for x in features())
    total = 0.0
    for n in range(6):
        for m in range(6):
            d = float((visual[n] - audio[m]).norm())
            total += d if n == m else max(1 - d, 0)
    torch.testing.assert_close(margin_contrastive(*features()), torch.tensor(total / 6))
    # Two processes with three samples each, whose losses are averaged, are one with six.
    parts = [margin_contrastive(features()[0][i : i + 3], features()[1], i) for i in (0, 3)]
    torch.testing.assert_close(torch.stack(parts).mean(), torch.tensor(total / 6))


def test_contrastive_gradient_is_finite_where_features_coincide() -> None:
    visual = torch.eye(3, requires_grad=True)
    margin_contrastive(visual, torch.eye(3)).backward()
    assert visual.grad is not None
    assert visual.grad.isfinite().all()


def test_domain_losses_are_those_of_two_classes() -> None:
    visual, audio = features()
    both = torch.cat([visual, audio]).reshape(-1, 1)
    classes = torch.cat([both, -both], 1)  # logits of sound and of frames
    squares = (torch.stack([both[:, 0].sigmoid(), 1 - both[:, 0].sigmoid()], 1) - 0.5) ** 2
    torch.testing.assert_close(domain_confusion_loss(visual, audio), squares.sum(1).mean())
    halved = classes / 2  # softmax of (z / 2, -z / 2) is (sigmoid(z), 1 - sigmoid(z))
    torch.testing.assert_close(
        domain_confusion_loss(visual, audio), uniform_softmax_loss(halved, over="sum")
    )
    labels = torch.tensor([1] * 24 + [0] * 24)
    torch.testing.assert_close(
        domain_classification_loss(visual, audio), F.cross_entropy(halved, labels)
    )
    flipped = domain_confusion_loss(visual, audio, "flipped")
    torch.testing.assert_close(flipped, F.cross_entropy(halved, 1 - labels))


def test_unknown_forms_and_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="distance, squared, ranking"):
        margin_contrastive(*features(), form="cosine")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="uniform, flipped"):
        domain_confusion_loss(*features(), form="reversed")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"mask \(4, 4\)"):
        masked_l1(torch.zeros(3, 8, 8), torch.zeros(3, 8, 8), torch.zeros(4, 4))
