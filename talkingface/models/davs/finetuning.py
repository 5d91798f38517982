"""Fine-tuning on the photo, as the released test script does before it generates."""

import copy

import torch
from torch import Tensor, nn

from talkingface.losses import masked_l1
from talkingface.models.davs.networks import DAVSNetworks


def fine_tune(
    networks: DAVSNetworks, photo: Tensor, words: Tensor, mouth: Tensor, lr: float = 2e-4
) -> tuple[DAVSNetworks, list[float]]:
    """Teach a copy of the networks to rebuild one photo, all but its mouth.

    One step per word code: person encoder and decoder learn, in training mode (batch statistics of
    the one photo, running statistics move along), with an optimizer that is new in every step, as
    released.

    Args:
        networks: Left as they are.
        photo: The photo, in [0, 1].
        words: What the mouth is told in each step.
        mouth: Mask of the mouth, where differences count a thousandth.
        lr: Learning rate of Adam.

    Shape:
        - photo: (1, 3, H, W); words: (steps, dim); mouth: (H, W).

    Returns:
        The copy, in eval mode, and the loss of each step.
    """
    losses = []
    # Autocast keeps what it cast of the weights until its outermost context ends: not here, where
    # they change in every step.
    exact = torch.autocast(photo.device.type, enabled=False)
    with torch.inference_mode(False), torch.enable_grad(), exact:
        photo, words = (x.to(mouth.dtype, copy=True) for x in (photo, words))
        weight = 1 - 0.999 * mouth.clone()
        tuned = copy.deepcopy(networks).eval()
        learning = nn.ModuleList([tuned.person_encoder, tuned.decoder]).train()
        learning.requires_grad_(True)
        for code in words.split(1):
            optimizer = torch.optim.Adam(learning.parameters(), lr)
            vector, maps = tuned.person_encoder(photo)
            loss = 4 * masked_l1(tuned.paint(vector, maps, code[None], photo)[0], photo, weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return tuned.eval().requires_grad_(False), losses
