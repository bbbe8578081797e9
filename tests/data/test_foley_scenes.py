"""Rendered videos for the frame encoder: labels on the right frames, the same videos each time."""

import numpy as np
import pytest
import torch

from audio_agent_zoo.data.foley_scenes import FoleySceneDataModule, FoleySceneDataset
from audio_agent_zoo.rates import FRAME_RATE, n_video_frames
from audio_agent_zoo.synthesis.clips import make_clip
from audio_agent_zoo.synthesis.scenes import VISIBLE_CLASSES, render_scene

N_FRAMES = n_video_frames(1.28)


def whole(index: int = 3, **more: int) -> FoleySceneDataset:
    return FoleySceneDataset("train", index + 1, 1.28, frames_per_clip=None, size=16, **more)


def test_frames_are_those_of_the_scene_and_labels_fall_on_its_events() -> None:
    for index in (0, 3, 17):
        item, name = whole(index)[index], VISIBLE_CLASSES[index]
        clip = make_clip(index, "train", 1.28, class_name=name, n_captions=1)
        assert item["class_index"] == index
        np.testing.assert_array_equal(
            item["frames"].numpy(), render_scene(name, clip.events, 1.28, seed=clip.seed, size=16)
        )
        assert item["frames"].shape == (N_FRAMES, 16, 16, 3) and item["frames"].dtype == torch.uint8
        seconds = np.arange(N_FRAMES) / FRAME_RATE
        for event in clip.events:
            nearest = int(np.argmin(np.abs(seconds - event.start_s)))
            assert item["contact"][nearest] > 0.9, "a frame is never more than 24 ms from an onset"
            inside = (seconds >= event.start_s) & (seconds < event.end_s)
            assert item["sounding"].numpy()[inside].all()
        far = np.min(np.abs(seconds[:, None] - [event.start_s for event in clip.events]), axis=1) > 0.25
        assert not (item["contact"].numpy()[far] > 1e-3).any()
        covered = sum((seconds >= event.start_s) & (seconds < event.end_s) for event in clip.events) > 0
        assert set(item["sounding"].numpy()[~covered].tolist()) <= {0.0}


def test_a_stretch_keeps_frames_and_labels_together() -> None:
    entire = whole()[3]
    dataset = FoleySceneDataset("train", 4, 1.28, frames_per_clip=9, size=16)
    starts = set()
    for _ in range(40):
        part = dataset[3]
        first = next(
            i for i in range(N_FRAMES - 8) if torch.equal(part["contact"], entire["contact"][i : i + 9])
        )  # contacts of different stretches differ
        assert torch.equal(part["frames"], entire["frames"][first : first + 9])
        assert torch.equal(part["sounding"], entire["sounding"][first : first + 9])
        starts.add(first)
    assert len(starts) > 5


def test_seeds_and_splits_give_other_videos_of_the_same_class() -> None:
    first = whole()[3]["frames"]
    assert torch.equal(first, whole()[3]["frames"])
    assert not torch.equal(first, whole(first_seed=1000)[3]["frames"])
    assert whole(first_seed=1000)[3]["class_index"] == 3


def test_an_index_beyond_the_end_is_refused() -> None:
    dataset = whole()
    assert len(dataset) == 4
    for index in (4, -1):
        with pytest.raises(IndexError):
            dataset[index]


def test_loaders_give_batches_of_both_kinds() -> None:
    data = FoleySceneDataModule(n_train_clips=7, n_validation_clips=5, duration_s=0.64, batch_size=3, frames_per_clip=6)
    batches = list(data.train_dataloader())
    assert [tuple(batch["frames"].shape) for batch in batches] == [(3, 6, 64, 64, 3)] * 2
    assert len({int(index) for batch in batches for index in batch["class_index"]}) == 6, "no video comes twice"
    held_out = list(data.val_dataloader())
    assert [tuple(batch["frames"].shape) for batch in held_out] == [(4, 14, 64, 64, 3), (1, 14, 64, 64, 3)]
    assert held_out[0]["contact"].shape == held_out[0]["sounding"].shape == (4, 14)
