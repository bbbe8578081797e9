"""Noise of rows: each from its own seed, and stretches that hold what was before."""

import torch

from audio_agent_zoo.training.row_noise import HELD_TOKENS, RowNoise

TOKENS = torch.arange(400).expand(3, -1)


def test_a_row_has_its_own_numbers_whatever_stands_beside_it() -> None:
    together = RowNoise([5, 6, 7], torch.device("cpu")).held(TOKENS, 1.0)
    assert torch.equal(RowNoise([6], torch.device("cpu")).held(TOKENS[:1], 1.0)[0], together[1])
    assert not torch.equal(together[0], together[1])


def test_what_is_held_is_the_token_before_the_stretch() -> None:
    held = RowNoise([1, 2, 3], torch.device("cpu")).held(TOKENS, 1.0)
    kept = held == TOKENS  # every token differs from every other
    assert kept[:, 0].all()
    for row in range(3):
        last = 0
        for place in range(400):
            last = place if kept[row, place] else last
            assert held[row, place] == last
        runs = (~kept[row]).int().diff().nonzero().flatten().tolist()
        lengths = [end - begin for begin, end in zip(runs[::2], runs[1::2], strict=False)]
        assert lengths and min(lengths) >= HELD_TOKENS


def test_nothing_is_held_at_no_share_and_more_at_a_larger_one() -> None:
    rows = torch.arange(400).expand(60, -1)

    def share(most: float) -> float:
        return float((RowNoise(range(60), torch.device("cpu")).held(rows, most) != rows).float().mean())

    assert share(0.0) == 0
    assert 0.1 < share(0.5) < share(1.2) < 0.7
