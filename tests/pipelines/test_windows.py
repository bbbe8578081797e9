"""How sounds become images of the right widths, and windows one sound again."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audio_agent_zoo.pipelines.windows import (
    Window,
    cut_into_windows,
    group_by_width,
    join_windows,
    overlap_columns,
    window_seed,
)


@given(
    columns=st.integers(1, 60_000),
    multiple=st.sampled_from([8, 32, 64]),
    min_columns=st.integers(1, 1200),
    native_columns=st.sampled_from([64, 256, 1000, 1024]),
)
def test_windows_cover_the_sound(columns: int, multiple: int, min_columns: int, native_columns: int) -> None:
    windows = cut_into_windows(
        3, columns, 17, multiple=multiple, min_columns=min_columns, native_columns=native_columns
    )
    native = -(-native_columns // multiple) * multiple
    assert all(window.width % multiple == 0 and window.width <= native for window in windows)
    assert all(window.item == 3 and window.columns <= window.width for window in windows)
    assert windows[0].seed == 17 and len({window.seed for window in windows}) == len(windows)
    overlap = overlap_columns(native)
    total = sum(window.columns for window in windows) - overlap * (len(windows) - 1)
    assert columns <= total < columns + native
    if columns <= native:
        (window,) = windows
        assert window.width < 2 * max(columns, min(min_columns, native), multiple)
        assert window.width == native or (window.width // multiple).bit_count() == 1, "few widths share batches"


def test_seeds_of_windows_stay_as_they_are() -> None:
    assert [window_seed(5, i) for i in range(3)] == [5, 3_101_376_431, 111_713_285]


@given(
    widths=st.lists(st.sampled_from([128, 256, 1024]), min_size=1, max_size=40),
    max_columns=st.integers(1, 9000),
)
def test_every_window_is_in_one_batch_of_its_width(widths: list[int], max_columns: int) -> None:
    windows = [Window(i, width, width, i) for i, width in enumerate(widths)]
    batches = group_by_width(windows, max_columns)
    assert sorted(i for batch in batches for i in batch) == list(range(len(windows)))
    for batch in batches:
        assert len({widths[i] for i in batch}) == 1
        assert len(batch) == 1 or sum(widths[i] for i in batch) <= max_columns
    for width in set(widths):
        sizes = [len(batch) for batch in batches if widths[batch[0]] == width]
        assert len(sizes) == -(-widths.count(width) // max(1, max_columns // width))


def test_cross_fades_keep_the_power_of_independent_windows() -> None:
    generator = torch.Generator().manual_seed(0)
    powers = []
    for _ in range(200):
        waves = [torch.randn(600, generator=generator) * 0.1 for _ in range(3)]
        joined = join_windows(waves, 200)
        assert joined.shape == (1400,)
        powers.append(joined.square().reshape(-1, 100).mean(1))
    np.testing.assert_allclose(torch.stack(powers).mean(0), 0.01, rtol=0.05)


def test_a_cross_fade_that_goes_beyond_one_scales_the_whole_sound() -> None:
    waves = [torch.full((400,), 0.9), torch.full((400,), 0.9)]
    joined = join_windows(waves, 100)
    assert joined.abs().max() == pytest.approx(1.0)
    assert joined[0] == pytest.approx(1 / 2**0.5, rel=1e-3)


def test_one_window_is_left_alone() -> None:
    wave = torch.randn(50)
    assert join_windows([wave], 10) is wave
