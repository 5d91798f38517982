import math
from typing import Any

import pytest
import torch

from talkingface.losses.disentanglement import (
    orthogonality_loss,
    sum_log_softmax_loss,
    uniform_softmax_loss,
)
from tests.losses import close, expected, inp_normal

LOSSES = [uniform_softmax_loss, sum_log_softmax_loss]


def test_released_numbers() -> None:
    logits = inp_normal("pcavs_losses/logits", 6, 17, scale=2)
    close(uniform_softmax_loss(logits), expected("pcavs_losses", "l2softmax"))
    close(sum_log_softmax_loss(logits), expected("pcavs_losses", "sum_log_softmax"))


def test_hand_computed_values() -> None:
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])  # 3/4 and 1/4; 1/2 and 1/2
    close(uniform_softmax_loss(logits), (1 / 16 + 1 / 16) / 4)
    close(sum_log_softmax_loss(logits), math.log(4 / 3) / 4)


def test_a_sure_classifier_reaches_the_bound() -> None:
    sure = 100.0 * torch.eye(5)
    close(uniform_softmax_loss(sure), 4 / 25)
    close(sum_log_softmax_loss(sure), 80 - math.log(5))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_constant_and_the_order_of_classes_do_not_matter(loss: type) -> None:
    logits = torch.randn(4, 9)
    close(loss(logits[:, torch.randperm(9)] + torch.randn(4, 1)), loss(logits))
    close(loss(torch.full((3, 9), 7.0)), 0.0)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss: type) -> None:
    assert torch.autograd.gradcheck(
        loss, (torch.randn(3, 4, dtype=torch.float64, requires_grad=True),)
    )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), (0, 4), (4, 0)])
def test_bad_logits_are_refused(loss: type, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="logits must be"):
        loss(torch.zeros(shape))


# Two layers of three channels; two frames that share the canonical code.
CANONICAL = torch.tensor([[[[1.0, -2.0, 2.0], [0.0, 3.0, 0.0]]]])
MOTION = torch.tensor([[[[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]], [[-2.0, 2.0, -1.0], [4.0, 0.0, 3.0]]]])


@pytest.mark.parametrize(
    ("form", "by_hand"),
    [
        ("inner", (abs(2 - 2) + 3 + abs(-2 - 4 - 2) + 0) / 4),
        ("elementwise", ((2 + 2) + 3 + (2 + 4 + 2) + 0) / 4),
        ("cosine", (0 + 1 + 8 / (3 * 3) + 0) / 4),
    ],
)
def test_orthogonality_by_hand(form: Any, by_hand: float) -> None:
    close(orthogonality_loss(CANONICAL, MOTION, form), by_hand)
    close(orthogonality_loss(-CANONICAL, MOTION, form), by_hand)  # bounded below on both sides


def test_only_the_cosine_leaves_lengths_alone() -> None:
    close(orthogonality_loss(5 * CANONICAL, MOTION, "cosine"), (1 + 8 / 9) / 4)
    close(orthogonality_loss(5 * CANONICAL, MOTION), 5 * 11 / 4)


def test_orthogonality_of_other_codes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 1, 2, 3\) and \(2, 2\)"):
        orthogonality_loss(CANONICAL, torch.zeros(2, 2))
    with pytest.raises(ValueError, match="signed"):
        orthogonality_loss(CANONICAL, MOTION, "signed")  # type: ignore[arg-type]
