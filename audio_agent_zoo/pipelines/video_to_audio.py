"""Video to audio: frames in, sound of exactly the video's length out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audio_agent_zoo.hub import TEXT_TO_AUDIO, VIDEO_TO_AUDIO, push_folder, resolve
from audio_agent_zoo.media import iter_frames, probe_video
from audio_agent_zoo.models.frame_encoder import check_frames
from audio_agent_zoo.pipelines.picture_motion import PictureMotion, notes_on
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioOutput, TextToAudioPipeline
from audio_agent_zoo.pipelines.text_to_audio_request import Request
from audio_agent_zoo.pipelines.token_writing import TokenWriter
from audio_agent_zoo.pipelines.video_to_audio_parts import VideoToAudioParts, load_base
from audio_agent_zoo.pipelines.visual_guide import VisualGuide
from audio_agent_zoo.rates import FRAME_RATE, check_duration, n_semantic_tokens, n_video_frames

Progress = Callable[[str, int, int], None]
"""Called as `(stage, done, in all)`; stages are "frames", "tokens" and "denoise"."""

_ANY_SOUND = "sound"
"""What the base is told where there is no caption."""

_ARRAY_FRAMES = 64
"""Frames of an array that are looked at together."""

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class EncodedVideo:
    """A video as the language model's connector reads it.

    Attributes:
        frames: `(frames, frame_dim)` float32.
        duration_s: Its length in seconds.
        moves: Whether its picture changes.
    """

    frames: Tensor
    duration_s: float
    moves: bool


@dataclass(frozen=True)
class VideoToAudioOutput:
    """What the pipeline made.

    Attributes:
        audios: One `(samples,)` float32 waveform in [-1, 1] per video, exactly as long as it.
        sample_rate: Samples per second.
        tokens: Semantic tokens of each, 50 per second.
        seeds: Seed of each.
        notes: What is worth knowing, such as a picture that does not move.
        seconds: Wall time of each stage in seconds.
    """

    audios: list[NDArray[np.float32]]
    sample_rate: int
    tokens: list[NDArray[np.int64]]
    seeds: list[int]
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


class VideoToAudioPipeline:
    """Frame encoder, connector, language model and visual adapter over a text-to-audio base.

    Args:
        base: The frozen text-to-audio base; the adapter is attached to its UNet, which without a video sounds as
            it did before.
        parts: The video half, as `from_pretrained` loads it.
    """

    def __init__(self, base: TextToAudioPipeline, parts: VideoToAudioParts) -> None:
        parts.adapter.attach(base.parts.unet)
        self.base, self.parts = base, parts

    @classmethod
    def from_pretrained(
        cls,
        path_or_repo: str | Path = "foley-mini",
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        dtype: torch.dtype | None = None,
        device: str | torch.device = "cpu",
        base: TextToAudioPipeline | None = None,
    ) -> "VideoToAudioPipeline":
        """Load weights by name.

        Args:
            path_or_repo: "foley-mini", a published folder, or a Hub repository.
            revision: Branch, tag or commit of a repository.
            cache_dir: Where downloads are kept.
            token: Access token; the environment's when None.
            local_files_only: Never ask the network.
            dtype: Precision of the large networks; float32 when None.
            device: Where to compute.
            base: Text-to-audio base of the same weights, where it is loaded already.

        Raises:
            GatedRepoError: If the language model's terms have not been accepted; the message lists the steps.
            WeightsError: If weights are missing, damaged, or without a video half.
        """
        hub: dict[str, Any] = {"cache_dir": cache_dir, "token": token, "local_files_only": local_files_only}
        folder = resolve(path_or_repo, revision=revision, parts=(*TEXT_TO_AUDIO, *VIDEO_TO_AUDIO), **hub)
        local = Path(path_or_repo).expanduser().is_dir()
        name = folder.name if local else str(path_or_repo)
        parts = VideoToAudioParts.load(folder, dtype=dtype or torch.float32, hub=hub)
        base = base or TextToAudioPipeline(load_base(folder, name, hub))
        return cls(base, parts).to(device, dtype)

    @property
    def name(self) -> str:
        """What the weights are called."""
        return self.base.name

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> "VideoToAudioPipeline":
        """Move to a device, to a precision, or both."""
        self.base.to(device, dtype)
        for network in self.parts.networks():
            network.to(self.base.device)
        if dtype is not None:
            for network in (self.parts.lm.base, self.parts.frame_encoder.clip):
                nn.Module.to(network, dtype=dtype)
        return self

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a published folder with both halves; parts that were taken from elsewhere are referred to.

        Args:
            folder: Where to; created if need be.
        """
        self.parts.save(Path(folder), self.base.parts)

    def push_to_hub(self, repo: str, *, private: bool = False, token: str | None = None) -> str:
        """Publish as a Hub repository in one commit; returns the commit's address.

        Raises:
            WeightsError: If the Hub refuses.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return push_folder(folder, repo, private=private, token=token)

    @contextmanager
    def _timed(self, seconds: dict[str, float], stage: str) -> Iterator[None]:
        started = perf_counter()
        yield
        if self.base.device.type == "cuda":
            torch.cuda.synchronize(self.base.device)
        seconds[stage] = seconds.get(stage, 0.0) + perf_counter() - started

    def encode_video(self, video: str | Path | Frames, callback: Progress | None = None) -> EncodedVideo:
        """Frame vectors of a video file, read in pieces, or of frames at 21.5 per second.

        Args:
            video: File, or `(frames, height, width, 3)` uint8 at 21.5 frames per second.
            callback: Progress.

        Raises:
            MediaError: If the file can't be read, is cut off or has no frames.
            ValueError: If it is longer than 600 s, or an array of another shape.
        """
        pieces: Iterator[Frames]
        if isinstance(video, np.ndarray):
            check_frames(video)
            duration_s = check_duration(len(video) / FRAME_RATE, "the length of the video")
            pieces = (video[i : i + _ARRAY_FRAMES] for i in range(0, len(video), _ARRAY_FRAMES))
        else:
            info = probe_video(video)
            duration_s = check_duration(info.duration_s, f"the length of {video}")
            pieces = iter_frames(video, size=self.parts.frame_encoder.fitted_size(info.width, info.height))
        vectors, motion, done, total = list[Tensor](), PictureMotion(), 0, n_video_frames(duration_s)
        for piece in pieces:
            vectors.append(self.parts.frame_encoder.encode(piece))
            motion.look(piece)
            done += len(piece)
            if callback is not None:
                callback("frames", done, max(done, total))
        return EncodedVideo(torch.cat(vectors), duration_s, motion.seen)

    @torch.inference_mode()
    def write_tokens(
        self,
        videos: Sequence[EncodedVideo],
        captions: Sequence[str],
        seeds: Sequence[int],
        callback: Progress | None = None,
    ) -> list[Tensor]:
        """Semantic tokens of videos; those of one length are written together, long ones in stretches side by side.

        Args:
            videos: Encoded videos.
            captions: One each; "" for none.
            seeds: One each.
            callback: Progress.
        """
        writer = TokenWriter(self.parts)
        tokens: dict[int, Tensor] = {}
        for length in sorted({n_semantic_tokens(video.duration_s) for video in videos}):
            rows = [i for i, video in enumerate(videos) if n_semantic_tokens(video.duration_s) == length]
            written = writer.write(
                [videos[i].frames for i in rows],
                [captions[i] for i in rows],
                [seeds[i] for i in rows],
                length,
                None if callback is None else partial(callback, "tokens"),
            )
            tokens.update(zip(rows, written, strict=True))
        return [tokens[i] for i in range(len(videos))]

    @torch.inference_mode()
    def render(
        self,
        tokens: Sequence[Tensor],
        captions: Sequence[str],
        durations_s: Sequence[float],
        *,
        visual_scale: float | None = None,
        seeds: Sequence[int] | int = 0,
        negative_prompt: str | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> TextToAudioOutput:
        """Sound of semantic tokens, whoever wrote them: the adapter and the base alone.

        Args:
            tokens: `(tokens,)` int64 each, 50 per second.
            captions: One each; "" for none.
            durations_s: Seconds each.
            visual_scale: Weight of the tokens; the weights' own default when None. 0 is the base alone.
            seeds: One for all or one each.
            negative_prompt: What to steer away from.
            num_inference_steps: Denoising steps; the weights' own default when None.
            guidance_scale: Guidance; the weights' own default when None.
            callback: Denoising steps done and in all.

        Raises:
            ValueError: For unusable numbers, or lists of different lengths.
            RenderError: If a sound comes out with values that are no numbers.
        """
        if len(tokens) != len(captions):
            raise ValueError(f"{len(tokens)} sounds have {len(captions)} captions; give one each.")
        guide = VisualGuide(
            self.parts.adapter,
            [self.parts.quantizer.lookup(one.to(self.base.device)).cpu() for one in tokens],
            self._scale(visual_scale),
            self.base.parts.mel_rate,
        )
        return self.base(
            [caption.strip() or _ANY_SOUND for caption in captions],
            list(durations_s),
            negative_prompt=negative_prompt,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            seed=seeds if isinstance(seeds, int) else list(seeds),
            callback=callback,
            guide=guide,
        )

    def _scale(self, visual_scale: float | None) -> float:
        scale = self.parts.video.visual_scale if visual_scale is None else visual_scale
        if not (np.isfinite(scale) and scale >= 0):
            raise ValueError(f"visual_scale is {visual_scale}; give a number from 0 on, such as 0.5.")
        return float(scale)

    def __call__(
        self,
        video: str | Path | Frames | Sequence[str | Path | Frames],
        caption: str | Sequence[str | None] | None = None,
        *,
        visual_scale: float | None = None,
        seed: int | Sequence[int] = 0,
        negative_prompt: str | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        callback: Progress | None = None,
    ) -> VideoToAudioOutput:
        """Make the sound of one video or of several.

        Args:
            video: File, or `(frames, height, width, 3)` uint8 at 21.5 frames per second, or a list of those.
            caption: What is heard; one for all, one each, or None where the picture must do.
            visual_scale: Weight of the video against the caption; the weights' own default (0.5) when None.
            seed: One for all or one each.
            negative_prompt: What to steer away from.
            num_inference_steps: Denoising steps; the weights' own default when None.
            guidance_scale: Classifier-free guidance; the weights' own default when None.
            callback: Called as `(stage, done, in all)`.

        Raises:
            MediaError: If a video can't be read.
            ValueError: For unusable numbers, lists of different lengths, or a video of more than 600 s.
            RenderError: If a sound comes out with values that are no numbers.
        """
        videos = [video] if isinstance(video, str | Path | np.ndarray) else list(video)
        given = [caption] * len(videos) if isinstance(caption, str | None) else list(caption)
        captions = [(one or "").strip() for one in given]
        if not videos or len(captions) != len(videos):
            raise ValueError(
                f"{len(videos)} videos and {len(captions)} captions are given; give at least one video, "
                "and one caption for all, one each, or none."
            )
        # Refused before minutes are spent on frames and tokens.
        scale, defaults = self._scale(visual_scale), self.base.parts.generation
        seeds = Request.checked(
            [one or _ANY_SOUND for one in captions],
            1.0,
            negative_prompt,
            seed,
            steps=defaults.num_inference_steps if num_inference_steps is None else num_inference_steps,
            guidance=defaults.guidance_scale if guidance_scale is None else guidance_scale,
            most_steps=int(self.base.scheduler.config.num_train_timesteps),
        ).seeds
        seconds: dict[str, float] = {}
        with self._timed(seconds, "frames"):
            encoded = [self.encode_video(one, callback) for one in videos]
        with self._timed(seconds, "tokens"):
            tokens = self.write_tokens(encoded, captions, seeds, callback)
        made = self.render(
            tokens,
            captions,
            [one.duration_s for one in encoded],
            visual_scale=scale,
            seeds=seeds,
            negative_prompt=negative_prompt,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            callback=None if callback is None else lambda done, total: callback("denoise", done, total),
        )
        seconds.update(made.seconds)
        return VideoToAudioOutput(
            made.audios,
            made.sample_rate,
            [one.numpy() for one in tokens],
            made.seeds,
            notes_on([one.moves for one in encoded], captions),
            seconds,
        )
