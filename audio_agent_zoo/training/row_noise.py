"""Random numbers of a batch's rows, each from its own seed."""

from collections.abc import Sequence

import torch
from torch import Tensor


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
