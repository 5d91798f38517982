import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from talkingface.losses.contrastive import (
    cross_modal_l1,
    info_nce,
    inverse_distance_contrastive,
    retrieval_accuracy,
    symmetric_info_nce,
)
from tests.losses import close, expected, inp_normal


@pytest.fixture(scope="module")
def official() -> tuple[Tensor, Tensor]:
    first = inp_normal("pcavs_losses/f1", 6, 32)
    return first, 0.5 * first + inp_normal("pcavs_losses/f2", 6, 32)


def by_equation_2(
    anchor: Tensor, positive: Tensor, negatives: list[Tensor], temperature: float = 1.0
) -> float:
    """Equation 2 in numpy, one anchor after the other; `negatives[i]` are anchor i's (K, D)."""

    def similarity(x: np.ndarray, y: np.ndarray) -> float:
        return math.exp(x @ y / np.linalg.norm(x) / np.linalg.norm(y) / temperature)

    losses = []
    for a, p, n in zip(anchor.numpy(), positive.numpy(), negatives, strict=True):
        others = sum(similarity(a, row) for row in n.numpy())
        losses.append(-math.log(similarity(a, p) / (similarity(a, p) + others)))
    return float(np.mean(losses))


def others(candidates: Tensor) -> list[Tensor]:
    return [torch.cat([candidates[:i], candidates[i + 1 :]]) for i in range(len(candidates))]


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_info_nce_is_equation_2(temperature: float) -> None:
    visual, audio = torch.randn(5, 7), torch.randn(5, 7)
    wanted = by_equation_2(visual, audio, others(audio), temperature)
    close(info_nce(visual, audio, temperature=temperature), wanted)


def test_extra_negatives_are_shared_or_each_anchors_own() -> None:
    visual, audio, shared, own = (torch.randn(*s, 7) for s in [(4,), (4,), (3,), (4, 2)])
    wanted = by_equation_2(visual, audio, [torch.cat([n, shared]) for n in others(audio)])
    close(info_nce(visual, audio, shared), wanted)
    wanted = by_equation_2(
        visual, audio, [torch.cat([n, o]) for n, o in zip(others(audio), own, strict=True)]
    )
    close(info_nce(visual, audio, own), wanted)
    # One anchor alone has the given negatives only: the paper's N- + 1 classes.
    close(info_nce(visual[:1], audio[:1], own[:1]), by_equation_2(visual[:1], audio[:1], [own[0]]))


def test_equation_3_is_the_sum_of_both_directions() -> None:
    visual, audio, late_visual, late_audio = (torch.randn(4, 7) for _ in range(4))
    wanted = by_equation_2(visual, audio, others(audio))
    wanted += by_equation_2(audio, visual, others(visual))
    close(symmetric_info_nce(visual, audio), wanted)
    wanted = by_equation_2(visual, audio, [torch.cat([n, late_audio]) for n in others(audio)])
    wanted += by_equation_2(audio, visual, [torch.cat([n, late_visual]) for n in others(visual)])
    actual = symmetric_info_nce(
        visual, audio, visual_negatives=late_visual, audio_negatives=late_audio
    )
    close(actual, wanted)


def test_alike_features_give_the_logarithm_of_the_number_of_classes() -> None:
    same = torch.ones(5, 3)
    close(info_nce(same, 2 * same, negatives=torch.ones(4, 3)), math.log(9))


def test_info_nce_knows_directions_only() -> None:
    visual, audio = torch.randn(6, 5), torch.randn(6, 5)
    wanted = symmetric_info_nce(visual, audio, temperature=0.2)
    order, rotation = torch.randperm(6), torch.linalg.qr(torch.randn(5, 5))[0]
    lengths = torch.rand(6, 1) + 0.1
    close(symmetric_info_nce(visual[order], audio[order], temperature=0.2), wanted)
    close(symmetric_info_nce(visual @ rotation, audio @ rotation, temperature=0.2), wanted)
    close(symmetric_info_nce(visual * lengths, audio * 9, temperature=0.2), wanted)


def test_parts_of_a_batch_against_all_candidates_average_to_the_whole() -> None:
    visual, audio = torch.randn(6, 5), torch.randn(6, 5)
    parts = [
        symmetric_info_nce(
            visual[o : o + 2],
            audio[o : o + 2],
            visual_candidates=visual,
            audio_candidates=audio,
            offset=o,
        )
        for o in (0, 2, 4)
    ]
    close(sum(parts) / 3, symmetric_info_nce(visual, audio))
    inverse = [inverse_distance_contrastive(visual[o : o + 3], audio, o) for o in (0, 3)]
    close(sum(inverse) / 2, inverse_distance_contrastive(visual, audio))
    accuracy = [retrieval_accuracy(visual[o : o + 3], audio, o) for o in (0, 3)]
    close(sum(accuracy) / 2, retrieval_accuracy(visual, audio))


def test_mixed_precision_does_not_round_the_similarities() -> None:
    visual, audio, extra = (torch.randn(4, 64) for _ in range(3))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = info_nce(visual, audio, extra, temperature=0.05)
    assert mixed.dtype == torch.float32
    close(mixed, info_nce(visual, audio, extra, temperature=0.05))


def test_info_nce_gradients() -> None:
    anchor, candidates, negatives = (
        torch.randn(*s, dtype=torch.float64, requires_grad=True)
        for s in [(3, 4), (5, 4), (3, 2, 4)]
    )
    assert torch.autograd.gradcheck(
        lambda a, c, n: info_nce(a, c, n, offset=1, temperature=0.5),
        (anchor, candidates, negatives),
    )


def test_released_contrastive_terms(official: tuple[Tensor, Tensor]) -> None:
    first, second = official
    close(
        inverse_distance_contrastive(first, second), expected("pcavs_losses", "softmax_contrastive")
    )
    close(
        inverse_distance_contrastive(second, first),
        expected("pcavs_losses", "softmax_contrastive_rev"),
    )
    close(cross_modal_l1(first, second), expected("pcavs_losses", "l1_cross_modal"))
    close(retrieval_accuracy(first, second), expected("pcavs_losses", "contrastive_accuracy"))


def test_inverse_distance_by_hand() -> None:
    # Unit vectors at right angles and at 60 degrees: distances sqrt(2) and 1.
    anchor = torch.tensor([[2.0, 0.0]])
    candidates = torch.tensor([[0.5, math.sqrt(3) / 2], [0.0, 3.0]])
    wanted = -math.log(math.e / (math.e + math.exp(1 / math.sqrt(2))))
    close(inverse_distance_contrastive(anchor, candidates), wanted)


def test_released_terms_train_one_side_only() -> None:
    anchor, other = (torch.randn(4, 5, requires_grad=True) for _ in range(2))
    inverse_distance_contrastive(anchor, other).backward()
    assert anchor.grad is None
    assert other.grad is not None and other.grad.abs().sum() > 0
    other.grad = None
    cross_modal_l1(anchor, other).backward()
    assert anchor.grad is None
    torch.testing.assert_close(other.grad, (other - anchor).sign().detach() / 20)


def test_inverse_distance_stays_finite_where_features_meet() -> None:
    anchor = torch.randn(3, 4)
    candidates = anchor.clone().requires_grad_()
    loss = inverse_distance_contrastive(anchor, candidates)
    loss.backward()
    close(loss.detach(), 0.0)
    assert candidates.grad is not None and candidates.grad.isfinite().all()


def test_released_terms_gradients() -> None:
    anchor = torch.randn(3, 4, dtype=torch.float64)
    candidates = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda c: inverse_distance_contrastive(anchor, c), (candidates,)
    )
    assert torch.autograd.gradcheck(lambda c: cross_modal_l1(anchor, c), (candidates,))


def test_bad_features_are_refused() -> None:
    two, three = torch.zeros(2, 4), torch.zeros(3, 4)
    with pytest.raises(ValueError, match=r"\(2, 5\)"):
        info_nce(two, torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"\(1, 2, 4\)"):
        info_nce(two[None], two)
    with pytest.raises(ValueError, match="2 anchors at offset 2 do not fit into 3"):
        info_nce(two, three, offset=2)
    with pytest.raises(ValueError, match="offset -1"):
        retrieval_accuracy(two, three, offset=-1)
    with pytest.raises(ValueError, match="0 anchors"):
        inverse_distance_contrastive(two[:0], three)
    with pytest.raises(ValueError, match="positive, got 0"):
        info_nce(two, two, temperature=0)
    for negatives in (torch.zeros(4), torch.zeros(3, 5), torch.zeros(3, 1, 4)):
        with pytest.raises(ValueError, match="negatives must be"):
            info_nce(two, two, negatives)
    with pytest.raises(ValueError, match="shapes differ"):
        cross_modal_l1(two, three)


RANK_PROGRAM = """
import sys
import torch
import torch.distributed as dist
from torch.distributed.nn.functional import all_gather
from torch.nn.parallel import DistributedDataParallel
from talkingface.losses.contrastive import symmetric_info_nce

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
data = torch.load(f"{folder}/data.pt")
encoder = DistributedDataParallel(torch.nn.Linear(6, 10, bias=False))
encoder.module.load_state_dict({"weight": data["weight"]})
visual, audio = encoder(data["input"][4 * rank : 4 * rank + 4]).chunk(2, dim=1)
loss = symmetric_info_nce(
    visual,
    audio,
    visual_candidates=torch.cat(all_gather(visual)),
    audio_candidates=torch.cat(all_gather(audio)),
    offset=4 * rank,
    temperature=0.3,
)
loss.backward()
dist.all_reduce(loss.data)
torch.save({"loss": loss.detach() / 2, "grad": encoder.module.weight.grad}, f"{folder}/{rank}.pt")
dist.destroy_process_group()
"""


@pytest.mark.ddp
def test_two_processes_are_one_large_batch(tmp_path: Path) -> None:
    weight, batch = torch.randn(10, 6), torch.randn(8, 6)
    torch.save({"weight": weight, "input": batch}, tmp_path / "data.pt")
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK_PROGRAM, str(rank), str(tmp_path)],
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=60)[1] for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], errors

    weight.requires_grad_()
    visual, audio = (batch @ weight.T).chunk(2, dim=1)
    loss = symmetric_info_nce(visual, audio, temperature=0.3)
    loss.backward()
    for rank in range(2):
        result = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(result["loss"], loss.detach(), rtol=1e-6, atol=0)
        torch.testing.assert_close(result["grad"], weight.grad, rtol=1e-5, atol=1e-7)
