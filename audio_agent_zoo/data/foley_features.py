"""Prepared features in batches of one length, in an order that a resumed run takes up again."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from audio_agent_zoo.columns import FEATURES_CONFIG
from audio_agent_zoo.data.resumed_order import FromWhereTheRunIs, batches_done
from audio_agent_zoo.errors import AudioAgentError


class FeatureBatch(TypedDict):
    """Rows of one length.

    Attributes:
        captions: One per row.
        frames: `(batch, frames, frame_dim)`.
        tokens: `(batch, tokens)` int64.
        latents: `(batch, channels, rows, columns)`.
        row_seeds: One per row, for its noise.
        seed: For what all rows share; the same on every process.
    """

    captions: list[str]
    frames: Tensor
    tokens: Tensor
    latents: Tensor
    row_seeds: list[int]
    seed: int


class FoleyFeatures:
    """The rows of a folder that `prepare` wrote, memory-mapped.

    Args:
        folder: Folder of shards.

    Raises:
        AudioAgentError: If it holds no features, or not all of them yet.
    """

    def __init__(self, folder: str | Path) -> None:
        import datasets

        self.folder = Path(folder)
        shards = sorted(str(path) for path in self.folder.glob("shard-*.parquet"))
        if not shards or not (self.folder / FEATURES_CONFIG).exists():
            raise AudioAgentError(f"{folder} holds no prepared features; write them with: audio-agent prepare")
        self.identity: dict[str, Any] = json.loads((self.folder / FEATURES_CONFIG).read_text(encoding="utf-8"))
        n_shards = -(-self.identity.get("n_clips", 0) // self.identity.get("rows_per_shard", 1))
        if len(shards) < n_shards:
            raise AudioAgentError(
                f"{folder} holds {len(shards)} of {n_shards} shards; finish them with the same audio-agent prepare."
            )
        self.rows = datasets.Dataset.from_parquet(shards)
        lengths: dict[int, list[int]] = {}
        for index, shape in enumerate(self.rows["latent_shape"]):
            lengths.setdefault(int(shape[-1]), []).append(index)
        self.by_length = [np.array(rows) for _, rows in sorted(lengths.items())]

    def __len__(self) -> int:
        return len(self.rows)

    def captions(self) -> list[str]:
        """Every caption in every wording."""
        return [text for wordings in self.rows["captions"] for text in wordings]

    def centroid_rows(self) -> int:
        """Highest semantic token that occurs, plus one."""
        return 1 + int(max(max(tokens) for tokens in self.rows["tokens"]))

    def batch(
        self,
        indices: list[int],
        rng: np.random.Generator,
        share: slice = slice(None),
    ) -> FeatureBatch:
        """Rows of one length, each with one of its captions.

        Args:
            indices: Rows that all processes read together.
            rng: Source of captions and seeds, in the same state on every process.
            share: Which of the rows this process reads.
        """
        seed, *seeds = (int(value) for value in rng.integers(1 << 62, size=1 + len(indices)))
        seeds, rows = seeds[share], [self.rows[int(index)] for index in indices[share]]
        draws = [np.random.default_rng(value) for value in seeds]
        frames = [np.frombuffer(row["frames"], np.float16).reshape(row["n_frames"], -1) for row in rows]
        latents = [np.frombuffer(row["latents"], np.float16).reshape(row["latent_shape"]) for row in rows]
        return FeatureBatch(
            captions=[
                str(draw.choice(row["captions"])) if row["captions"] else ""
                for row, draw in zip(rows, draws, strict=True)
            ],
            frames=torch.from_numpy(np.stack(frames)).float(),
            tokens=torch.tensor([row["tokens"] for row in rows]),
            latents=torch.from_numpy(np.stack(latents)).float(),
            row_seeds=seeds,
            seed=seed,
        )


class FeatureBatches(Dataset[FeatureBatch]):
    """Batch `i` is drawn from its own seed, so that a resumed run sees what an unbroken one would.

    Args:
        features: Rows.
        n_batches: Number of batches.
        batch_size: Rows that one process reads of each, fewer where a length has fewer.
        seed: Seed of the sequence.
        first: Index of the first batch, where a run goes on.
        rank: Which process reads.
        n_ranks: How many read; together they see what one would with as many times the batch size.
    """

    def __init__(
        self,
        features: FoleyFeatures,
        n_batches: int,
        batch_size: int,
        seed: int,
        first: int = 0,
        rank: int = 0,
        n_ranks: int = 1,
    ) -> None:
        self.features, self.n_batches, self.batch_size = features, n_batches, batch_size
        self.seed, self.first, self.rank, self.n_ranks = seed, first, rank, n_ranks

    def __len__(self) -> int:
        return self.n_batches

    def __getitem__(self, index: int) -> FeatureBatch:
        if not 0 <= index < self.n_batches:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, self.first + index])
        sizes = np.array([len(rows) for rows in self.features.by_length], dtype=np.float64)
        rows = self.features.by_length[int(rng.choice(len(sizes), p=sizes / sizes.sum()))]
        chosen = rng.choice(rows, min(self.batch_size * self.n_ranks, len(rows)), replace=False)
        # Processes must have equally many rows, for their gradients count the same; the first ones come twice.
        chosen = np.resize(chosen, -(-len(chosen) // self.n_ranks) * self.n_ranks)
        return self.features.batch(chosen.tolist(), rng, slice(self.rank, None, self.n_ranks))


class FoleyFeaturesDataModule(LightningDataModule):
    """Features for both stages of the video half.

    Args:
        path: Folder with `train/` and `validation/`, or one whose last twentieth is held out.
        batch_size: Rows per step of each process.
        batches_per_epoch: Training batches between epoch ends.
        n_validation_batches: Validation batches.
        seed: Seed of the order.
    """

    def __init__(
        self,
        path: str = "runs/foley_mini/features",
        batch_size: int = 32,
        batches_per_epoch: int = 200,
        n_validation_batches: int = 6,
        seed: int = 7,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.path = Path(path)
        self.batch_size, self.batches_per_epoch = batch_size, batches_per_epoch
        self.n_validation_batches, self.seed = n_validation_batches, seed
        self.train: FoleyFeatures
        self.validation: FoleyFeatures

    def setup(self, stage: str) -> None:
        """Map the shards."""
        if not hasattr(self, "train"):
            self.train = FoleyFeatures(self.path / "train")
            self.validation = FoleyFeatures(self.path / "validation")

    def _loader(
        self, features: FoleyFeatures, n_batches: int, seed: int, done: Callable[[], int]
    ) -> DataLoader[FeatureBatch]:
        rank, n_ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        batches = FeatureBatches(features, n_batches, self.batch_size, seed, rank=rank, n_ranks=n_ranks)
        return DataLoader(batches, batch_size=None, sampler=FromWhereTheRunIs(batches, done))

    def state_dict(self) -> dict[str, Any]:
        """What the features are of, for a run that goes on from a checkpoint."""
        return {split: features.identity for split, features in self._splits().items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compare.

        Raises:
            AudioAgentError: If the run began with other features.
        """
        for split, features in self._splits().items():
            old, now = state_dict.get(split, {}), features.identity
            if wrong := sorted(name for name in old.keys() | now.keys() if old.get(name) != now.get(name)):
                raise AudioAgentError(
                    f"{features.folder} holds features of other {', '.join(wrong)} than the run began with: then "
                    f"{[old.get(name) for name in wrong]}, now {[now.get(name) for name in wrong]}. Go on with those, "
                    "or start anew with --fresh."
                )

    def _splits(self) -> dict[str, FoleyFeatures]:
        return {"train": self.train, "validation": self.validation}

    def train_dataloader(self) -> DataLoader[FeatureBatch]:
        """One epoch of batches, from the step the run is at."""
        return self._loader(self.train, self.batches_per_epoch, self.seed, partial(batches_done, self))

    def val_dataloader(self) -> DataLoader[FeatureBatch]:
        """The same batches each time."""
        return self._loader(self.validation, self.n_validation_batches, self.seed + 1, lambda: 0)
