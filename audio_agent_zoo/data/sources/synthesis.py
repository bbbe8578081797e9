"""The procedural Foley world as a dataset: endless, seeded, made while it is read."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from audio_agent_zoo.data.sources.examples import FoleyExample
from audio_agent_zoo.rates import SAMPLE_RATE
from audio_agent_zoo.synthesis.captions import Split
from audio_agent_zoo.synthesis.catalogue import CLASS_NAMES
from audio_agent_zoo.synthesis.clips import FoleyClip, make_clip
from audio_agent_zoo.synthesis.scenes import VISIBLE_CLASSES, render_scene

if TYPE_CHECKING:
    import datasets


class ClipItem(TypedDict):
    """One clip of `FoleyWorldDataset`.

    Attributes:
        audio: `(samples,)` float32 in [-1, 1] at 16 kHz.
        class_index: Index into `CLASS_NAMES`.
    """

    audio: Tensor
    class_index: int


class FoleyWorldDataset(Dataset[ClipItem]):
    """Clips of one length by index; classes take turns, so every one is equally frequent.

    Args:
        split: train, validation or test.
        n_clips: Number of clips.
        duration_s: Length of each in seconds.
        first_seed: Seed of clip 0; clip `i` uses `first_seed + i`.
        keep: Hold made clips in memory as 16-bit samples, for training over several epochs.
    """

    def __init__(
        self, split: Split, n_clips: int, duration_s: float, *, first_seed: int = 0, keep: bool = False
    ) -> None:
        self.split: Split = split
        self.n_clips = n_clips
        self.duration_s = duration_s
        self.first_seed = first_seed
        self.kept: dict[int, np.ndarray] | None = {} if keep else None

    def __len__(self) -> int:
        return self.n_clips

    def clip(self, index: int) -> FoleyClip:
        """The whole clip, with captions and events."""
        name = CLASS_NAMES[index % len(CLASS_NAMES)]
        return make_clip(self.first_seed + index, self.split, self.duration_s, class_name=name)

    def __getitem__(self, index: int) -> ClipItem:
        if not 0 <= index < self.n_clips:
            raise IndexError(index)
        class_index = index % len(CLASS_NAMES)
        if self.kept is None:
            return ClipItem(audio=torch.from_numpy(self.clip(index).audio), class_index=class_index)
        if index not in self.kept:
            self.kept[index] = np.round(self.clip(index).audio * 32767).astype(np.int16)
        return ClipItem(audio=torch.from_numpy(self.kept[index]).float() / 32767, class_index=class_index)


def foley_world(split: Split, n_clips: int, duration_s: float = 2.56, first_seed: int = 0) -> "datasets.Dataset":
    """The same clips as a Hugging Face dataset with columns of plain values.

    Columns: `audio` (float32 list at `sampling_rate`), `sampling_rate`, `caption`, `captions`,
    `class_name`, `onset_s` (list of seconds), `seed`.
    """
    import datasets

    def rows() -> Iterator[dict[str, Any]]:
        source = FoleyWorldDataset(split, n_clips, duration_s, first_seed=first_seed)
        for index in range(n_clips):
            clip = source.clip(index)
            yield {
                "audio": clip.audio,
                "sampling_rate": SAMPLE_RATE,
                "caption": clip.caption,
                "captions": list(clip.captions),
                "class_name": clip.class_name,
                "onset_s": [event.start_s for event in clip.events],
                "seed": clip.seed,
            }

    features = datasets.Features(
        {
            "audio": datasets.Sequence(datasets.Value("float32")),
            "sampling_rate": datasets.Value("int32"),
            "caption": datasets.Value("string"),
            "captions": datasets.Sequence(datasets.Value("string")),
            "class_name": datasets.Value("string"),
            "onset_s": datasets.Sequence(datasets.Value("float64")),
            "seed": datasets.Value("int64"),
        }
    )
    made = datasets.Dataset.from_generator(rows, features=features)
    assert isinstance(made, datasets.Dataset)
    return made


class FoleyWorldVideos:
    """Procedural clips of the visible classes with their videos, as a source for `prepare`.

    Args:
        split: train, validation or test.
        n_clips: Number of clips; classes take turns.
        duration_s: Length of each in seconds.
        first_seed: Seed of clip 0.
        classes: Classes; all visible ones when empty.
    """

    def __init__(
        self,
        split: Split = "train",
        n_clips: int = 2800,
        duration_s: float = 2.56,
        *,
        first_seed: int = 0,
        classes: tuple[str, ...] = (),
    ) -> None:
        self.split: Split = split
        self.n_clips, self.duration_s, self.first_seed = n_clips, duration_s, first_seed
        self.classes = classes or VISIBLE_CLASSES

    def __len__(self) -> int:
        return self.n_clips

    def example(self, index: int, image_size: int) -> FoleyExample:
        """Make one clip and render its video."""
        name = self.classes[index % len(self.classes)]
        clip = make_clip(self.first_seed + index, self.split, self.duration_s, class_name=name)
        frames = render_scene(name, clip.events, self.duration_s, seed=clip.seed, size=image_size)
        return FoleyExample(
            id=f"{self.split}-{self.first_seed + index}-{name}",
            audio=clip.audio,
            captions=clip.captions,
            frames=iter([frames]),
            class_name=name,
            onset_s=tuple(event.start_s for event in clip.events),
        )

    def identity(self) -> dict[str, Any]:
        """Split, seeds and length."""
        return {
            "source": "synthesis",
            "split": self.split,
            "n_clips": self.n_clips,
            "duration_s": self.duration_s,
            "first_seed": self.first_seed,
            "classes": list(self.classes),
        }
