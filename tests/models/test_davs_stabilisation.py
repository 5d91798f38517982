"""Test of the removal of scale jitter."""

from typing import Any

import torch
from kornia.geometry.transform import warp_affine

from talkingface.data.synthetic.dataset import make_clip
from talkingface.losses import box_mask
from talkingface.models.davs.module import DAVS
from talkingface.models.davs.stabilisation import register, stabilise


def test_jitter_of_a_speaking_face_is_undone() -> None:
    clip = make_clip(3, seconds=0.4)
    photo = clip.frames(128, indices=[0])[0]
    mouth = box_mask(128)
    frames = photo.repeat(3, 1, 1, 1)
    talking = 0.8 * torch.flip(photo, (1,))  # something else in the mouth's box
    frames = torch.where(mouth.bool(), talking, 0.9 * frames - 0.05)
    # Scale about the middle, then a shift in pixels: what warp_affine takes.
    changes = [(1.04, 0.0, 0.0), (0.97, 1.5, -1.0), (1.0, 0.0, 0.0)]
    maps = torch.tensor(
        [[[s, 0, 63.5 * (1 - s) + x], [0, s, 63.5 * (1 - s) + y]] for s, x, y in changes]
    )
    jittered = warp_affine(frames, maps, (128, 128), padding_mode="border", align_corners=True)
    scale, shift = register(jittered, photo, mouth)
    expected = torch.tensor(changes)
    torch.testing.assert_close(scale.real, expected[:, 0], atol=2e-3, rtol=0)
    torch.testing.assert_close(scale.imag, torch.zeros(3), atol=2e-3, rtol=0)
    torch.testing.assert_close(torch.view_as_real(shift) * 64, expected[:, 1:], atol=0.15, rtol=0)
    inside = (..., slice(12, -12), slice(12, -12))
    before, after = (
        (x - frames)[inside].abs().mean() for x in (jittered, stabilise(jittered, photo, mouth))
    )
    assert after < before / 2


def test_equations_are_solved_in_full_precision() -> None:
    photo = make_clip(3, seconds=0.4).frames(64, indices=[0])[0]
    wanted = stabilise(photo[None], photo, torch.zeros(64, 64))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(stabilise(photo[None], photo, torch.zeros(64, 64)), wanted)


def test_a_frame_that_shows_something_else_is_left_alone() -> None:
    photo = make_clip(3, seconds=0.4).frames(64, indices=[0])[0]
    other = torch.flip(photo, (1, 2))[None]
    assert torch.allclose(stabilise(other, photo, torch.zeros(64, 64)), other, atol=1e-5)


def test_animation_is_stabilised_where_wanted() -> None:
    sizes: dict[str, Any] = {
        "image_size": 32,
        "num_words": 5,
        "num_identities": 4,
        "dim": 16,
        "person_stages": ((4,), (4,), (8,), (16,)),
        "trunk_channels": 16,
        "trunk_depth": 2,
        "audio_channels": (4, 4, 8, 8),
        "discriminator_channels": 4,
        "decoder_blocks": ((1, 16), (1, 8), (1, 8)),
        "word_frames": 3,
        "sequence_frames": 2,
    }
    plain, model = DAVS(**sizes).eval(), DAVS(**sizes, stabilise=True).eval()
    model.load_state_dict(plain.state_dict())
    photo, speech = make_clip(3, seconds=0.4).frames(32, indices=[0])[0], torch.rand(3200) - 0.5
    frames = (plain.animate(photo, speech) + 1) / 2
    expected = 2 * stabilise(frames, (photo + 1) / 2, box_mask(32)) - 1
    torch.testing.assert_close(model.animate(photo, speech), expected, atol=1e-5, rtol=0)
    assert model.hparams["stabilise"] is True
