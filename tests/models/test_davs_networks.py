"""What DAVS's networks do beyond the released ones, by hand."""

import math
from typing import Any

import pytest
import torch

from talkingface.models.davs.networks import DAVSNetworks, Decoder

BLOCKS = ((1, 8), (1, 8), (1, 8))


def networks(**options: Any) -> DAVSNetworks:
    return DAVSNetworks(
        32,
        8,
        BLOCKS,
        person_stages=((4,), (6,), (7,), (8,)),
        trunk_channels=16,
        trunk_depth=2,
        audio_channels=(4, 4, 8, 8),
        **options,
    ).eval()


def test_a_blended_frame_lies_over_the_photo_through_its_mask() -> None:
    decoder = Decoder(32, 16, 4, BLOCKS, blend=True).eval()
    last = decoder.to_rgb[3]
    with torch.no_grad():
        last.weight.zero_()  # type: ignore[operator]
        last.bias.copy_(torch.tensor([0.0, 1.0, -1.0, 0.5]))  # type: ignore[operator]
    photo = torch.rand(2, 3, 32, 32)
    frames = decoder(torch.rand(2, 16), torch.rand(2, 4, 4, 4), photo)
    colour = torch.tensor([(math.tanh(x) + 1) / 2 for x in (0.0, 1.0, -1.0)]).view(3, 1, 1)
    mask = (math.tanh(0.5) + 1) / 2
    torch.testing.assert_close(frames, mask * colour + (1 - mask) * photo)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = decoder(torch.rand(2, 16), torch.rand(2, 4, 4, 4), photo)
    torch.testing.assert_close(rounded.float(), frames, rtol=0, atol=0.01)
    with pytest.raises(ValueError, match="photo is missing"):
        decoder(torch.rand(2, 16), torch.rand(2, 4, 4, 4))


@pytest.mark.parametrize(("skip", "channels"), [(8, 7), (4, 6), (2, 4)])
def test_the_identity_map_joins_where_it_should(skip: int, channels: int) -> None:
    torch.manual_seed(0)
    built = networks(skip=skip)
    person, maps = built.person_encoder(torch.rand(1, 3, 32, 32))
    words, photo = torch.rand(1, 2, 8), torch.rand(1, 3, 32, 32)
    wanted = built.paint(person, maps, words, photo)
    for number, level in enumerate(maps):
        changed = [*maps[:number], level + 1, *maps[number + 1 :]]
        same = torch.equal(built.paint(person, changed, words, photo), wanted)
        assert same == (level.shape[1:] != (channels, 32 // skip, 32 // skip))


def test_other_places_are_refused() -> None:
    with pytest.raises(ValueError, match="skip=3"):
        Decoder(32, 16, 4, BLOCKS, skip=3)
