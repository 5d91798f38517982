"""The alternating update, on two players of one number each, against arithmetic."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader

from talkingface.models.adversarial import AdversarialModule, Tensors
from tests.models.tiny import fit

RATE = 0.5


class Duel(AdversarialModule):
    """The generator makes g * x; it minimises (d - y)^2 of its output y, and d wants d * y down.

    d/dg of mean (d - g x)^2 is mean of -2 x (d - g x), d/dd of mean d * y is mean of y.
    """

    def __init__(self, g: float = 1.0, d: float = 2.0, **options: Any) -> None:
        super().__init__(**options)
        self.networks = nn.Linear(1, 1, bias=False)
        self.discriminator = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.networks.weight, g)
        nn.init.constant_(self.discriminator.weight, d)
        self.average_weights()
        self.order: list[str] = []

    @property
    def players(self) -> tuple[float, float]:
        networks: Any = self.networks
        return float(networks.weight), float(self.discriminator.weight)

    def generate(self, batch: Any) -> Tensors:
        return {"video": self.networks(batch["video"])}

    def generator_losses(self, batch: Any, outputs: Tensors) -> Tensors:
        self.order.append("generator")
        assert outputs["video"].requires_grad
        return {"distance": (self.discriminator.weight - outputs["video"]).square().mean()}

    def discriminator_losses(self, batch: Any, outputs: Tensors) -> Tensors:
        self.order.append("discriminator")
        assert not outputs["video"].requires_grad
        return {"score": self.discriminator(outputs["video"]).mean()}

    def configure_optimizers(self) -> Any:
        return [SGD(p.parameters(), RATE) for p in (self.networks, self.discriminator)]


def clips(*values: float) -> Any:
    return DataLoader([{"video": torch.full((1, 1), value)} for value in values])  # type: ignore[arg-type]


def play(g: float, d: float, *batches: list[float]) -> tuple[float, float]:
    """The same updates by hand; each list is what one update sees."""
    for xs in batches:
        fakes = [g * x for x in xs]  # made before either player moves
        g -= RATE * sum(-2 * x * (d - g * x) for x in xs) / len(xs)
        d -= RATE * sum(fakes) / len(xs)
    return g, d


def test_generator_moves_first_and_both_see_the_same_frames() -> None:
    model = Duel()
    fit(model, clips(0.5))
    # g: 1 + 0.5 * 2 * 0.5 * (2 - 0.5) = 1.75; d: 2 - 0.5 * 0.5, of the frame made with g = 1
    assert model.players == pytest.approx((1.75, 1.75))
    assert model.order == ["generator", "discriminator"]


def test_updates_by_hand() -> None:
    model = Duel()
    fit(model, clips(0.5, -0.2, 0.3))
    assert model.players == pytest.approx(play(1.0, 2.0, [0.5], [-0.2], [0.3]))
    assert (model.updates, model.images_seen) == (3, 3)


def test_accumulation_is_the_mean_also_of_a_shorter_last_update() -> None:
    model = Duel(accumulate=2)
    trainer = fit(model, clips(0.5, -0.2, 0.3))
    assert model.players == pytest.approx(play(1.0, 2.0, [0.5, -0.2], [0.3]))
    assert (model.updates, model.images_seen, trainer.global_step) == (2, 3, 4)


def test_accumulation_begins_anew_in_every_epoch() -> None:
    model = Duel(accumulate=2)
    fit(model, clips(0.5, -0.2, 0.3), max_epochs=2)
    epoch = [[0.5, -0.2], [0.3]]
    assert model.players == pytest.approx(play(1.0, 2.0, *epoch, *epoch))


def test_accumulation_follows_limited_epochs() -> None:
    model = Duel(accumulate=2)
    fit(model, clips(0.5, -0.2, 0.3, 0.4), limit_train_batches=3)
    assert model.players == pytest.approx(play(1.0, 2.0, [0.5, -0.2], [0.3]))


def test_no_gradient_leaks_to_the_other_player() -> None:
    model: Any = Duel()
    grads: dict[str, Tensor | None] = {}

    def remember(optimizer: Any) -> None:
        player = "g" if optimizer.param_groups[0]["params"][0] is model.networks.weight else "d"
        grads[player] = model.networks.weight.grad
        grads[f"{player} other"] = model.discriminator.weight.grad

    model.on_before_optimizer_step = remember
    fit(model, clips(0.5))
    assert grads["g other"] is None  # while the generator moves
    assert grads["d"] is None or not grads["d"].any()  # while the discriminator does
    assert model.networks.weight.requires_grad and model.discriminator.weight.requires_grad


@pytest.mark.parametrize("clip", [0.1, 1e9])
def test_clipping_bounds_each_players_gradient(clip: float) -> None:
    model = Duel(clip=clip)
    fit(model, clips(0.5))
    gradients = (-1.5, 0.5)
    expected = [
        start - RATE * max(-clip, min(clip, gradient))
        for start, gradient in zip((1.0, 2.0), gradients, strict=True)
    ]
    assert model.players == pytest.approx(expected, rel=1e-4)


def test_moving_average_by_hand() -> None:
    model: Any = Duel(ema_half_life=0.1)
    seen, average = [], 0.0

    def remember(*_: Any) -> None:
        seen.append(model.players[0])

    model.on_train_batch_end = remember
    fit(model, clips(0.5, -0.2, 0.3, 0.1))
    for images, weight in enumerate(seen, start=1):
        # The first update begins the average. The half-life is 0.1 images, and while those are
        # more than a twentieth of what was seen (2 images), a twentieth.
        decay = 0.5 ** (1 / min(0.1, 0.05 * images)) if images > 1 else 0.0
        average = decay * average + (1 - decay) * weight
    assert model.inference_networks is not model.networks
    assert float(model.inference_networks.weight) == pytest.approx(average, rel=1e-5)
    assert average != pytest.approx(seen[-1], rel=1e-5)


def test_half_life_of_the_average() -> None:
    model: Any = Duel(g=0.0, ema_half_life=8.0)
    model.trainer = SimpleNamespace(world_size=2)
    model.average.update_parameters(model.networks)
    nn.init.ones_(model.networks.weight)
    model.images_seen, model._images_pending = 10_000, 4
    model.average.update_parameters(model.networks)
    # 4 images on each of two ranks are one half-life.
    assert float(model.inference_networks.weight) == pytest.approx(0.5)


def test_without_an_average_the_networks_are_used() -> None:
    model = Duel()
    assert model.average is None
    assert model.inference_networks is model.networks


def test_average_is_not_trained() -> None:
    model = Duel(ema_half_life=8.0)
    assert model.average is not None
    assert not any(parameter.requires_grad for parameter in model.average.parameters())


def test_counters_travel_in_checkpoints() -> None:
    model, other = Duel(), Duel()
    model.updates, model.images_seen = 7, 56
    checkpoint: dict[str, Any] = {}
    model.on_save_checkpoint(checkpoint)
    other.on_load_checkpoint(checkpoint)
    assert (other.updates, other.images_seen) == (7, 56)


@pytest.mark.parametrize("accumulate", [0, -1])
def test_accumulate_is_checked(accumulate: int) -> None:
    with pytest.raises(ValueError, match=f"accumulate={accumulate}: give at least 1"):
        Duel(accumulate=accumulate)
