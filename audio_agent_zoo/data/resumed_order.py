"""The order of training batches, which a resumed run takes up where it was left."""

from collections.abc import Callable, Iterator, Sized
from typing import Protocol

import torch
from lightning import LightningDataModule
from torch.utils.data import DistributedSampler


def batches_done(data: LightningDataModule) -> int:
    """Training batches that the run has read so far; checkpoints are of whole steps, so none of them is half used."""
    return data.trainer.fit_loop.total_batch_idx + 1 if data.trainer else 0


class NumberedBatches(Sized, Protocol):
    """Batches that are drawn by their number in the whole run.

    Attributes:
        first: Number of the one with index 0.
    """

    first: int


class FromWhereTheRunIs(DistributedSampler[int]):
    """Every index in order, for batches numbered from where the run is.

    Every process reads every index and takes its share of rows within; Lightning leaves such a sampler alone.

    Args:
        batches: What is read.
        done: Batches read so far, asked at the start of each epoch: else a later epoch would repeat the first one.
    """

    def __init__(self, batches: NumberedBatches, done: Callable[[], int]) -> None:
        super().__init__(batches, num_replicas=1, rank=0, shuffle=False)  # type: ignore[arg-type]
        self.batches, self.done = batches, done

    def __iter__(self) -> Iterator[int]:
        self.batches.first = self.done()
        return iter(range(len(self.batches)))


class ResumedOrder(DistributedSampler[int]):
    """Every index in a random order of its own per epoch, from where the run is; incomplete batches are left out.

    Args:
        dataset: What is read.
        batch_size: Rows of a batch.
        done: Batches read so far, asked at the start of each epoch.
        seed: Seed of the order.
    """

    def __init__(self, dataset: Sized, batch_size: int, done: Callable[[], int], seed: int = 7) -> None:
        super().__init__(dataset, num_replicas=1, rank=0, shuffle=True, seed=seed)  # type: ignore[arg-type]
        self.per_epoch, self.batch_size, self.done = max(1, len(dataset) // batch_size), batch_size, done

    def __iter__(self) -> Iterator[int]:
        epoch, first = divmod(self.done(), self.per_epoch)
        generator = torch.Generator().manual_seed(self.seed + epoch)
        order = torch.randperm(len(self.dataset), generator=generator).tolist()  # type: ignore[arg-type]
        return iter(order[first * self.batch_size :])
