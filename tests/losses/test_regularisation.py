import torch

from talkingface.losses.regularisation import path_lengths, r1_penalty


def test_r1_of_a_known_discriminator() -> None:
    """D(x) = a sum(x^2) / 2 has the gradient a x, so that R1 is a^2 E|x|^2."""
    images = torch.randn(3, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    slope = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    scores = slope * images.square().sum((1, 2, 3)) / 2
    penalty = r1_penalty(scores[:, None], images)
    squares = images.detach().square().sum() / 3
    torch.testing.assert_close(penalty, 1.5**2 * squares)
    penalty.backward()
    torch.testing.assert_close(slope.grad, 2 * 1.5 * squares)


def test_path_lengths_of_a_linear_generator() -> None:
    """g(w) = sum_l A_l w_l: J^T y of layer l is A_l^T y, whatever the latents."""
    matrices = torch.randn(5, 12, 7, dtype=torch.float64, requires_grad=True)
    latents = torch.randn(2, 5, 7, dtype=torch.float64, requires_grad=True)
    images = torch.einsum("lpd,bld->bp", matrices, latents).view(2, 3, 2, 2)
    noise = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    lengths = path_lengths(images, latents, noise)
    products = torch.stack([matrices.mT @ y for y in noise.flatten(1)])
    wanted = products.norm(dim=2).square().mean(1).sqrt()
    torch.testing.assert_close(lengths, wanted)
    (gradient,) = torch.autograd.grad(lengths.sum(), matrices)
    (by_hand,) = torch.autograd.grad(wanted.sum(), matrices)
    torch.testing.assert_close(gradient, by_hand)


def test_path_length_noise_is_independent_of_the_size() -> None:
    """Of variance 1 / HW, E|y|^2 = 3, so that g(w) = w has lengths of about sqrt(3)."""
    latents = torch.zeros(4, 3 * 64 * 64, requires_grad=True)
    lengths = path_lengths(latents.view(4, 3, 64, 64), latents)
    torch.testing.assert_close(lengths, torch.full((4,), 3**0.5), rtol=0.05, atol=0)
