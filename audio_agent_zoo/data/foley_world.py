"""Batches of procedural clips for the stages that learn from sound alone."""

from functools import partial

from lightning import LightningDataModule
from torch.utils.data import DataLoader

from audio_agent_zoo.data.resumed_order import ResumedOrder, batches_done
from audio_agent_zoo.data.sources.synthesis import ClipItem, FoleyWorldDataset

VALIDATION_SEED = 1_000_000


class FoleyWorldDataModule(LightningDataModule):
    """Clips of one length, made from seeds; nothing to download.

    Args:
        n_train_clips: Distinct training clips, kept in memory once made (16-bit).
        n_validation_clips: Validation clips.
        duration_s: Length of each clip in seconds.
        batch_size: Clips per step.
        num_workers: Loader processes; 0 makes the clips in the training process.
        first_seed: Seed of the first training clip.
    """

    def __init__(
        self,
        n_train_clips: int = 3800,
        n_validation_clips: int = 380,
        duration_s: float = 2.56,
        batch_size: int = 16,
        num_workers: int = 0,
        first_seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.train = FoleyWorldDataset("train", n_train_clips, duration_s, first_seed=first_seed, keep=True)
        self.validation = FoleyWorldDataset(
            "validation", n_validation_clips, duration_s, first_seed=VALIDATION_SEED, keep=True
        )

    def train_dataloader(self) -> DataLoader[ClipItem]:
        """Shuffled training batches, incomplete ones dropped."""
        return DataLoader(
            self.train,
            self.batch_size,
            sampler=ResumedOrder(self.train, self.batch_size, partial(batches_done, self)),
            drop_last=True,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def val_dataloader(self) -> DataLoader[ClipItem]:
        """Validation batches in order."""
        return DataLoader(self.validation, self.batch_size, num_workers=0)
