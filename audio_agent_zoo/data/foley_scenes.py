"""Rendered videos of the procedural world, for the stage that learns to see."""

from functools import partial
from typing import TypedDict

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from audio_agent_zoo.data.resumed_order import ResumedOrder, batches_done
from audio_agent_zoo.rates import FRAME_RATE
from audio_agent_zoo.synthesis.captions import Split
from audio_agent_zoo.synthesis.clips import make_clip
from audio_agent_zoo.synthesis.scenes import VISIBLE_CLASSES, render_scene

VALIDATION_SEED = 3_000_000
_CONTACT_S = 0.06


class SceneItem(TypedDict):
    """Some frames of one video with what is known of each.

    Attributes:
        frames: `(frames, size, size, 3)` uint8.
        class_index: Index into `VISIBLE_CLASSES`.
        contact: `(frames,)` in [0, 1]: 1 at an onset, falling off within some 60 ms on either side.
        sounding: `(frames,)` 1 while an event lasts, else 0.
    """

    frames: Tensor
    class_index: int
    contact: Tensor
    sounding: Tensor


class FoleySceneDataset(Dataset[SceneItem]):
    """Videos of one length by index, kept once rendered; classes take turns.

    Args:
        split: train, validation or test.
        n_clips: Number of videos.
        duration_s: Length of each in seconds.
        first_seed: Seed of the first.
        frames_per_clip: Frames in a row drawn from a video each time it is read; None for all.
        size: Pixels along each side.
    """

    def __init__(
        self,
        split: Split,
        n_clips: int,
        duration_s: float = 2.56,
        *,
        first_seed: int = 0,
        frames_per_clip: int | None = 12,
        size: int = 64,
    ) -> None:
        self.split: Split = split
        self.n_clips, self.duration_s, self.first_seed = n_clips, duration_s, first_seed
        self.frames_per_clip, self.size = frames_per_clip, size
        self.kept: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return self.n_clips

    def _made(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if index not in self.kept:
            name = VISIBLE_CLASSES[index % len(VISIBLE_CLASSES)]
            clip = make_clip(self.first_seed + index, self.split, self.duration_s, class_name=name, n_captions=1)
            frames = render_scene(name, clip.events, self.duration_s, seed=clip.seed, size=self.size)
            instants = np.arange(len(frames)) / FRAME_RATE
            starts = np.array([event.start_s for event in clip.events] or [1e9])
            contact = np.exp(-np.square(instants[:, None] - starts[None]).min(1) / (2 * _CONTACT_S**2))
            sounding = np.zeros(len(frames), np.float32)
            for event in clip.events:
                sounding[(instants >= event.start_s) & (instants < event.end_s)] = 1
            self.kept[index] = (frames, contact.astype(np.float32), sounding)
        return self.kept[index]

    def __getitem__(self, index: int) -> SceneItem:
        if not 0 <= index < self.n_clips:
            raise IndexError(index)
        frames, contact, sounding = self._made(index)
        rows = torch.arange(len(frames))
        if self.frames_per_clip is not None:
            first = int(torch.randint(0, len(frames) - self.frames_per_clip + 1, ()).item())
            rows = rows[first : first + self.frames_per_clip]
        return SceneItem(
            frames=torch.from_numpy(frames[rows.numpy()]),
            class_index=index % len(VISIBLE_CLASSES),
            contact=torch.from_numpy(contact)[rows],
            sounding=torch.from_numpy(sounding)[rows],
        )


class FoleySceneDataModule(LightningDataModule):
    """Frames of procedural videos, made from seeds.

    Args:
        n_train_clips: Distinct training videos, kept in memory once rendered.
        n_validation_clips: Validation videos.
        duration_s: Length of each in seconds.
        batch_size: Videos per step.
        frames_per_clip: Frames in a row drawn from each.
        num_workers: Loader processes; each keeps its own copy of what it rendered.
    """

    def __init__(
        self,
        n_train_clips: int = 3360,
        n_validation_clips: int = 112,
        duration_s: float = 2.56,
        batch_size: int = 40,
        frames_per_clip: int = 12,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.batch_size, self.num_workers = batch_size, num_workers
        self.train = FoleySceneDataset("train", n_train_clips, duration_s, frames_per_clip=frames_per_clip)
        self.validation = FoleySceneDataset(
            "validation", n_validation_clips, duration_s, first_seed=VALIDATION_SEED, frames_per_clip=None
        )

    def train_dataloader(self) -> DataLoader[SceneItem]:
        """Shuffled training batches, incomplete ones dropped."""
        return DataLoader(
            self.train,
            self.batch_size,
            sampler=ResumedOrder(self.train, self.batch_size, partial(batches_done, self)),
            drop_last=True,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def val_dataloader(self) -> DataLoader[SceneItem]:
        """Validation videos, all frames of each."""
        return DataLoader(self.validation, 4)
