import math

import pytest
import torch
from torch import Tensor

from talkingface.losses.adversarial import (
    AdversarialMode,
    discriminator_adversarial_loss,
    feature_matching_loss,
    generator_adversarial_loss,
)
from talkingface.models.components.discriminators import MultiscaleDiscriminator
from talkingface.models.pc_avs.convert import convert_discriminator
from tests.fixtures import fill
from tests.losses import FIXTURES, close, expected, inp_normal

MODES: list[tuple[AdversarialMode, str]] = [
    ("hinge", "hinge"),
    ("lsgan", "ls"),
    ("vanilla", "original"),
    ("wgan", "w"),
]


@pytest.fixture(scope="module")
def predictions() -> list[Tensor]:
    return [inp_normal("pcavs_losses/p0", 2, 1, 9, 9), inp_normal("pcavs_losses/p1", 2, 1, 5, 5)]


@pytest.mark.parametrize(("mode", "official"), MODES)
def test_every_mode_gives_the_released_numbers(
    mode: AdversarialMode, official: str, predictions: list[Tensor]
) -> None:
    real, fake = discriminator_adversarial_loss(predictions, predictions, mode)
    close(real, expected("pcavs_losses", f"{official}_D_real"))
    close(fake, expected("pcavs_losses", f"{official}_D_fake"))
    generator = generator_adversarial_loss(predictions, mode)
    close(generator, expected("pcavs_losses", f"{official}_G"))


@pytest.mark.parametrize(
    ("mode", "generator", "real", "fake"),
    [
        ("hinge", -2.0, 0.0, 3.0),
        ("lsgan", 1.0, 1.0, 4.0),
        ("vanilla", math.log1p(math.exp(-2)), math.log1p(math.exp(-2)), math.log1p(math.exp(2))),
        ("wgan", -2.0, -2.0, 2.0),
    ],
)
def test_hand_computed_values_at_two(
    mode: AdversarialMode, generator: float, real: float, fake: float
) -> None:
    two = torch.tensor([[2.0]])
    close(generator_adversarial_loss(two, mode), generator)
    losses = discriminator_adversarial_loss(two, two, mode)
    close(losses[0], real)
    close(losses[1], fake)


def test_vanilla_is_the_papers_equation_for_the_discriminator() -> None:
    real, fake = torch.tensor([0.3, -1.2]), torch.tensor([0.8, 2.0])
    by_equation = real.sigmoid().log().mean() + (1 - fake.sigmoid()).log().mean()
    close(sum(discriminator_adversarial_loss(real, fake)), -by_equation)


def test_every_scale_counts_the_same_whatever_its_size() -> None:
    large, small = torch.full((1, 1, 100, 100), 3.0), torch.full((1, 1, 2, 2), 5.0)
    close(generator_adversarial_loss([large, small], "hinge"), -4.0)


@pytest.mark.parametrize("mode", [mode for mode, _ in MODES])
def test_gradients(mode: AdversarialMode) -> None:
    scales = [torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda *p: generator_adversarial_loss(p, mode), scales)
    assert torch.autograd.gradcheck(lambda *p: discriminator_adversarial_loss(p, p, mode), scales)


def test_bad_predictions_are_refused() -> None:
    one = torch.zeros(1)
    with pytest.raises(ValueError, match="got 'gan'"):
        generator_adversarial_loss(one, "gan")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 'gan'"):
        discriminator_adversarial_loss(one, one, "gan")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="last entry"):
        generator_adversarial_loss([[one, one]])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="one tensor per scale"):
        generator_adversarial_loss([])
    with pytest.raises(ValueError, match="2 scales of real and 1"):
        discriminator_adversarial_loss([one, one], [one])


@pytest.fixture(scope="module")
def official_outputs() -> dict[str, list[list[Tensor]]]:
    network = MultiscaleDiscriminator()
    weights = fill.state_from_manifest(FIXTURES / "manifest/pcavs_netD.json")
    state = convert_discriminator({key: torch.from_numpy(w) for key, w in weights.items()}, network)
    network.load_state_dict(state)
    network.eval()
    images = {"fake": "pcavs_netD/image", "real": "pcavs_netD/image2"}
    with torch.no_grad():
        return {
            name: network(torch.from_numpy(fill.inp_image(tag, 1, 224, 224)))
            for name, tag in images.items()
        }


def test_losses_of_the_official_discriminator(
    official_outputs: dict[str, list[list[Tensor]]],
) -> None:
    fake, real = official_outputs["fake"], official_outputs["real"]
    matching = 10 * feature_matching_loss(fake, real, image_weight=1)
    close(matching, expected("pcavs_gan_losses", "feat_match"))
    fakes, reals = [scale[-1] for scale in fake], [scale[-1] for scale in real]
    for mode, official in MODES[:3]:
        losses = discriminator_adversarial_loss(reals, fakes, mode)
        close(losses[0], expected("pcavs_gan_losses", f"{official}_D_real"))
        close(losses[1], expected("pcavs_gan_losses", f"{official}_D_fake"))
        generator = generator_adversarial_loss(fakes, mode)
        close(generator, expected("pcavs_gan_losses", f"{official}_G"))


def features(value: float, size: int = 4) -> list[Tensor]:
    """A scale whose image, two layers and predictions are 1, 2, 3 and 4 times the value."""
    return [torch.full((1, i, size, size), i * value) for i in range(1, 5)]


def test_feature_matching_by_hand() -> None:
    fake, real = [features(1.0), features(1.0, 2)], [features(0.0), features(3.0, 2)]
    # Layers 2 and 3 of two scales, differences of 1 and 2 times: (5 + 10) / 2.
    close(feature_matching_loss(fake, real), 7.5)
    close(feature_matching_loss(fake, real, image_weight=0.5), 7.5 + 0.5 * 1.5)
    close(feature_matching_loss(real, fake), 7.5)
    close(feature_matching_loss(real, real, image_weight=1), 0.0)


def test_feature_matching_trains_the_generated_side_only() -> None:
    fake = [[torch.randn(2, 3, requires_grad=True) for _ in range(4)]]
    real = [[torch.randn(2, 3, requires_grad=True) for _ in range(4)]]
    feature_matching_loss(fake, real, image_weight=1).backward()
    assert [entry.grad is not None for entry in fake[0]] == [True, True, True, False]
    assert all(entry.grad is None for entry in real[0])
    # The mean absolute difference of 6 entries has a gradient of 1/6 in each.
    assert fake[0][1].grad is not None
    torch.testing.assert_close(fake[0][1].grad.abs(), torch.full((2, 3), 1 / 6))


def test_feature_matching_gradients() -> None:
    fake = [torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(4)]
    real = [torch.randn(2, 3, dtype=torch.float64) for _ in range(4)]
    assert torch.autograd.gradcheck(
        lambda *entries: feature_matching_loss([entries], [real], image_weight=2.0), fake
    )


def test_feature_lists_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[4\] and \[4, 4\]"):
        feature_matching_loss([features(1.0)], [features(1.0)] * 2)
    with pytest.raises(ValueError, match=r"\[3\] and \[4\]"):
        feature_matching_loss([features(1.0)[:3]], [features(1.0)])
    with pytest.raises(ValueError, match="same scales"):
        feature_matching_loss([], [])
    with pytest.raises(ValueError, match="one layer or more"):
        feature_matching_loss([features(1.0)[:2]], [features(1.0)[:2]])
