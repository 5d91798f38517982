"""Tests of splits, windows and the sampler."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from talkingface.data.sampling import (
    Span,
    Window,
    WindowSampler,
    count_tiles,
    draw_window,
    split_identities,
    split_time,
    tile_window,
)

SPANS = [Span(0, 40), Span(5, 16), Span(0, 12), Span(30, 90), Span(0, 25), Span(0, 31), Span(2, 13)]


def make(batch_size: int = 2, rank: int = 0, world_size: int = 1, **kwargs: int) -> WindowSampler:
    values: dict[str, Any] = {"frames": 5, "references": 3, "windows_per_clip": 2, "seed": 3}
    values |= kwargs
    return WindowSampler(SPANS, batch_size=batch_size, rank=rank, world_size=world_size, **values)


def batches(sampler: WindowSampler) -> list[list[Window]]:
    windows = list(sampler)
    size = sampler.batch_size
    return [windows[k : k + size] for k in range(0, len(windows), size)]


@pytest.mark.parametrize(
    ("frame_count", "fraction", "train_stop"),
    [(100, 0.2, 80), (104, 0.2, 83), (23, 0.1, 18), (30, 0.0, 30)],
)
def test_split_time_holds_out_the_end(frame_count: int, fraction: float, train_stop: int) -> None:
    # by hand: 104 * 0.2 = 20.8 -> 21 frames held out; 23 * 0.1 = 2.3, but one window of 5 at least
    spans = split_time(frame_count, 5, 1, fraction)
    assert spans == ((0, train_stop), (train_stop, frame_count))


def test_split_time_needs_a_window_and_references_before_and_a_window_after() -> None:
    assert split_time(11, 5, 1, 0.2) == ((0, 6), (6, 11))
    assert split_time(10, 5, 1, 0.2) is None
    assert split_time(6, 5, 1, 0.0) == ((0, 6), (6, 6))
    assert split_time(5, 5, 1, 0.0) is None


def test_split_identities_is_disjoint_complete_and_repeatable() -> None:
    names = [f"id{k % 10}" for k in range(35)]
    train, val = split_identities(names, 0.3, seed=1)
    assert len(val) == 3
    assert train | val == set(names)
    assert not train & val
    assert split_identities(names[::-1], 0.3, seed=1) == (train, val)
    assert len({frozenset(split_identities(names, 0.3, seed=s)[1]) for s in range(5)}) > 1
    assert split_identities(names, 0.01, seed=1)[1]  # one at least
    assert split_identities(names, 0.99, seed=1)[0]  # one is left for training
    assert split_identities(names, 0.0, seed=1) == (set(names), set())
    with pytest.raises(ValueError, match="two identities"):
        split_identities(["a", "a"], 0.2, seed=0)


def test_drawn_windows_stay_in_the_span_and_apart_from_references() -> None:
    span = Span(7, 19)
    draws = [draw_window(4, span, 5, 3, np.random.default_rng(k)) for k in range(400)]
    assert {window.clip for window in draws} == {4}
    assert {window.start for window in draws} == set(range(7, 15))  # every start, nothing else
    for window in draws:
        assert len(set(window.references)) == 3
        assert not set(window.references) & set(range(window.start, window.start + 5))
    assert {frame for window in draws for frame in window.references} == set(range(7, 19))


def test_a_span_of_one_window_lends_its_own_frames_as_references() -> None:
    draws = [draw_window(1, Span(2, 9), 7, 2, np.random.default_rng(k)) for k in range(100)]
    assert {draw.start for draw in draws} == {2}
    assert {frame for draw in draws for frame in draw.references} == set(range(2, 9))


def test_tiles_cover_a_span_in_order() -> None:
    span = Span(10, 27)
    tiles = [tile_window(2, span, 5, 2, k) for k in range(count_tiles(span, 5))]
    assert tiles == [Window(2, start, (0, 1)) for start in (10, 15, 20, 22)]


def test_epoch_visits_every_clip_equally_and_fills_the_last_batch() -> None:
    sampler = make(batch_size=4)
    windows = list(sampler)
    assert len(windows) == len(sampler) == 16  # 7 clips * 2 = 14, and two more for whole batches
    assert Counter(window.clip for window in windows[:14]) == dict.fromkeys(range(7), 2)
    assert len(set(windows)) == 16


def test_windows_depend_on_seed_and_epoch_alone() -> None:
    state = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]
    first = list(make())
    torch.manual_seed(5)
    torch.set_rng_state(state[0])
    assert list(make()) == first
    assert list(make(seed=4)) != first
    sampler = make()
    sampler.set_epoch(1)
    second = list(sampler)
    assert second != first
    assert [window.clip for window in second] != [window.clip for window in first]
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.random.get_state()[1].tolist() == state[1]  # type: ignore[index]


@pytest.mark.parametrize("windows_per_clip", [1, 2, 3])
def test_two_ranks_see_what_one_sees_with_twice_the_batch(windows_per_clip: int) -> None:
    one = make(batch_size=4, windows_per_clip=windows_per_clip)
    two = [make(2, rank, 2, windows_per_clip=windows_per_clip) for rank in range(2)]
    for sampler in (one, *two):
        sampler.set_epoch(7)
    together = [[*a, *b] for a, b in zip(*map(batches, two), strict=True)]
    assert [sorted(batch) for batch in together] == [sorted(batch) for batch in batches(one)]


def test_resume_continues_the_epoch_and_leaves_the_others_whole() -> None:
    sampler, whole = make(), make()
    sampler.resume(epoch=2, batches=3)
    whole.set_epoch(2)
    assert batches(sampler) == batches(whole)[3:]
    assert len(sampler) == len(whole) == 14
    for epoch in (3, 0):
        sampler.set_epoch(epoch)
        whole.set_epoch(epoch)
        assert list(sampler) == list(whole)


def test_rank_outside_the_world_is_refused() -> None:
    with pytest.raises(ValueError, match="rank"):
        make(rank=2, world_size=2)
