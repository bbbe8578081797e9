"""Batches of procedural sounds with their captions, for models that put both into one space."""

from functools import partial
from typing import TypedDict

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from audio_agent_zoo.data.resumed_order import ResumedOrder, batches_done
from audio_agent_zoo.synthesis.captions import Split
from audio_agent_zoo.synthesis.catalogue import CLASS_NAMES
from audio_agent_zoo.synthesis.clips import FoleyClip, make_clip, make_pair

VALIDATION_SEED = 3_000_000


class CaptionBatch(TypedDict):
    """Sounds of one length with one caption each.

    Attributes:
        audio: `(batch, samples)` float32 in [-1, 1] at 16 kHz.
        captions: One per sound.
    """

    audio: Tensor
    captions: list[str]


class _CaptionBatches(Dataset[CaptionBatch]):
    """Batch `i` is drawn from its own seed; single sounds, one of each class, and pairs take turns.

    With one sound of each class, no caption of a batch is true of another's sound.
    """

    def __init__(self, split: Split, n_batches: int, n_rounds: int, seconds: tuple[float, float], seed: int) -> None:
        self.split, self.n_batches, self.n_rounds = split, n_batches, n_rounds
        self.seconds, self.seed = seconds, seed
        self._kept: dict[int, tuple[np.ndarray, tuple[str, ...]]] = {}

    def __len__(self) -> int:
        return self.n_batches

    def _clip(self, index: int, paired: bool) -> FoleyClip:
        if paired:
            return make_pair(self.seed + index, self.split, self.seconds[1], together=index % 3 == 0)
        name = CLASS_NAMES[index % len(CLASS_NAMES)]
        return make_clip(self.seed + index, self.split, self.seconds[0], class_name=name, n_captions=8)

    def sound(self, index: int, paired: bool) -> tuple[np.ndarray, tuple[str, ...]]:
        """Samples in 16 bits, and captions."""
        key = 2 * index + paired
        if key not in self._kept:
            clip = self._clip(index, paired)
            self._kept[key] = (np.round(clip.audio * 32767).astype(np.int16), clip.captions)
        return self._kept[key]

    def __getitem__(self, index: int) -> CaptionBatch:
        if not 0 <= index < self.n_batches:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, index])
        rounds, paired = rng.integers(0, self.n_rounds, len(CLASS_NAMES)), index % 2 == 1
        items = [self.sound(int(r) * len(CLASS_NAMES) + i, paired) for i, r in enumerate(rounds)]
        audio = torch.from_numpy(np.stack([sound for sound, _ in items])).float() / 32767
        return CaptionBatch(audio=audio, captions=[texts[int(rng.integers(len(texts)))] for _, texts in items])


class FoleyCaptionsDataModule(LightningDataModule):
    """Sounds and captions of the procedural Foley world, made from seeds and kept in memory once made.

    Args:
        n_rounds: Distinct single sounds of each class, and as many pairs.
        n_batches: Training batches of an epoch.
        n_validation_batches: Validation batches.
        duration_s: Length of single sounds in seconds.
        pair_duration_s: Length of pairs in seconds.
        first_seed: Seed of the first training clip.
    """

    def __init__(
        self,
        n_rounds: int = 80,
        n_batches: int = 200,
        n_validation_batches: int = 12,
        duration_s: float = 2.56,
        pair_duration_s: float = 5.12,
        first_seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        seconds = (duration_s, pair_duration_s)
        self.train = _CaptionBatches("train", n_batches, n_rounds, seconds, first_seed)
        self.validation = _CaptionBatches("validation", n_validation_batches, 8, seconds, VALIDATION_SEED)

    def training_captions(self, n_rounds: int = 12) -> list[str]:
        """Captions of training clips, for a tokenizer to learn from."""
        indices = range(n_rounds * len(CLASS_NAMES))
        return [text for i in indices for paired in (False, True) for text in self.train.sound(i, paired)[1]]

    def train_dataloader(self) -> DataLoader[CaptionBatch]:
        """Batches in shuffled order."""
        return DataLoader(self.train, batch_size=None, sampler=ResumedOrder(self.train, 1, partial(batches_done, self)))

    def val_dataloader(self) -> DataLoader[CaptionBatch]:
        """Held-out batches in order."""
        return DataLoader(self.validation, batch_size=None)
