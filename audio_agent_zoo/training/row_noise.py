"""Random numbers of a batch's rows, each from its own seed."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

HELD_TOKENS = 12
"""How long a held stretch lasts: a quarter of a second."""


class RowNoise:
    """Draws that depend on the rows alone: not on how many processes share a batch, nor on when a run went on.

    Args:
        seeds: One per row.
        device: Where the numbers are wanted; they are drawn on the CPU, so that every device gets the same.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self._generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        self._device = device

    def normal(self, *shape: int) -> Tensor:
        """Standard normal `(rows, *shape)`."""
        return torch.stack([torch.randn(shape, generator=g) for g in self._generators]).to(self._device)

    def uniform(self, *shape: int) -> Tensor:
        """From 0 to 1 `(rows, *shape)`."""
        return torch.stack([torch.rand(shape, generator=g) for g in self._generators]).to(self._device)

    def integers(self, high: int, *shape: int) -> Tensor:
        """Below `high` `(rows, *shape)` int64."""
        return torch.stack([torch.randint(high, shape, generator=g) for g in self._generators]).to(self._device)

    def held(self, tokens: Tensor, most: float) -> Tensor:
        """Tokens that stay, for stretches, what they were before: as one writes who passes an event over.

        Args:
            tokens: `(rows, tokens)` int64.
            most: Tokens of a row that are held, as a share drawn for each row from 0 to this; stretches overlap, so
                that about two thirds are at a share of 1.
        """
        begins = self.uniform(tokens.shape[1]) < most * self.uniform(1) / HELD_TOKENS
        reach = F.pad(begins.float(), (HELD_TOKENS - 1, 0)).unsqueeze(1)
        held = F.max_pool1d(reach, HELD_TOKENS, 1).squeeze(1) > 0
        held[:, 0] = False
        places = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        return tokens.gather(1, torch.where(held, 0, places).cummax(1).values)
