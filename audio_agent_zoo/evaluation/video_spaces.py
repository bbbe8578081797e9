"""Spaces that hold videos and sounds, for the similarity that tables of video-to-audio call CLIP."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audio_agent_zoo.data.sources.synthesis import FoleyWorldVideos
from audio_agent_zoo.evaluation.system_scores import VideoSpace, heard
from audio_agent_zoo.evaluation.video_systems import VideoSystems
from audio_agent_zoo.metrics.feature_networks import Clap
from audio_agent_zoo.metrics.similarity import WAV2CLIP_SIMILARITY, SimilarityProtocol
from audio_agent_zoo.metrics.video_networks import clip_frames, wav2clip

MINI_VIDEO_SIMILARITY = SimilarityProtocol("mini_video_similarity", "video frames", "sound")
"""Videos in the space of foley-mini's audio-text judge, by a linear map from the mean of their frame vectors."""

_FIRST_SEED = 700_000
_PENALTY = 1e-2


def ridge(inputs: Tensor, targets: Tensor, penalty: float = _PENALTY) -> Tensor:
    """Linear map with an intercept, `(dim + 1, out)` float64, that puts rows near their targets.

    Args:
        inputs: `(rows, dim)`.
        targets: `(rows, out)`.
        penalty: Weight of the squared map, against the mean squared input.
    """
    rows = with_one(inputs)
    gram = rows.T @ rows
    weight = penalty * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
    weight[-1, -1] = 0.0  # the intercept is free
    solved: Tensor = torch.linalg.solve(gram + weight, rows.T @ targets.double())
    return solved


def with_one(rows: Tensor) -> Tensor:
    """Rows in float64 with a 1 behind each."""
    return torch.cat([rows.double(), torch.ones(len(rows), 1, dtype=torch.float64)], dim=1)


def mini_space(systems: VideoSystems, judge: Clap, n_clips: int = 120) -> VideoSpace:
    """The audio-text judge's space, with a map into it that is learned from true videos and their true sounds.

    Args:
        systems: Whose frame encoder sees, and whose videos are seen.
        judge: Whose ear hears.
        n_clips: Training clips, of other seeds and of the training split.
    """
    encoder = systems.pipeline.parts.frame_encoder
    classes = tuple(systems.settings.classes)
    source = FoleyWorldVideos("train", n_clips, 2.56, first_seed=_FIRST_SEED, classes=classes)
    vectors, sounds = list[Tensor](), list[np.ndarray]()
    for i in range(n_clips):
        example = source.example(i, encoder.image_size)
        vectors.append(encoder.encode(np.concatenate(list(example.frames))).mean(dim=0))
        sounds.append(example.audio)
    linear = ridge(torch.stack(vectors), heard(sounds, judge.sound))
    seen = with_one(torch.stack([video.frames.mean(dim=0) for video in systems.videos])) @ linear
    text = (
        "The video is the mean of its frame vectors, mapped into the space of the audio-text judge by ridge regression "
        f"on {n_clips} true training clips; generated sound had no part in it."
    )
    return VideoSpace(seen.float(), judge.sound, MINI_VIDEO_SIMILARITY, text)


def wav2clip_space(
    systems: VideoSystems, weights: Path | None, sha256: str | None, clip_source: str, device: str
) -> VideoSpace:
    """CLIP's images and Wav2CLIP's sounds, as FoleyCrafter's and Audio-Agent's tables have them.

    Args:
        systems: Whose videos are seen.
        weights: The public `Wav2CLIP.pt`.
        sha256: What it has to hash to.
        clip_source: Folder or repository of CLIP ViT-B/32.
        device: Where the networks run.

    Raises:
        WeightsError: If weights are not there; the message names the download.
    """
    ear = wav2clip(weights, expected_sha256=sha256, device=device)
    eye = clip_frames(clip_source, device=device)
    seen: Sequence[Tensor] = [eye([systems.frames(i)]).float().cpu() for i in range(len(systems.examples))]
    return VideoSpace(
        torch.cat(list(seen)), ear, WAV2CLIP_SIMILARITY, "CLIP's mean over frames, Wav2CLIP's of the sound."
    )
