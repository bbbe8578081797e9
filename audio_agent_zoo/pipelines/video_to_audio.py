"""Video to audio: frames in, sound of exactly the video's length out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audio_agent_zoo.hub import TEXT_TO_AUDIO, VIDEO_TO_AUDIO, resolve
from audio_agent_zoo.media import iter_frames, probe_video
from audio_agent_zoo.models.semantic_token_lm import Sampling
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from audio_agent_zoo.pipelines.text_to_audio_parts import TextToAudioParts
from audio_agent_zoo.pipelines.video_to_audio_parts import VideoToAudioParts, base_folder
from audio_agent_zoo.pipelines.visual_guide import VisualGuide
from audio_agent_zoo.rates import FRAME_RATE, SEMANTIC_TOKEN_RATE, check_duration, n_semantic_tokens, n_video_frames

Progress = Callable[[str, int, int], None]
"""Called as `(stage, done, in all)`; stages are "frames", "tokens" and "denoise"."""

_STILL = 0.3
"""Mean change from frame to frame, in grey levels of 255, below which nothing is said to move."""

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

        Raises:
            GatedRepoError: If the language model's terms have not been accepted; the message lists the steps.
            WeightsError: If weights are missing, damaged, or without a video half.
        """
        hub = {"cache_dir": cache_dir, "token": token, "local_files_only": local_files_only}
        folder = resolve(path_or_repo, revision=revision, parts=(*TEXT_TO_AUDIO, *VIDEO_TO_AUDIO), **hub)
        local = Path(path_or_repo).expanduser().is_dir()
        name = folder.name if local else str(path_or_repo)
        parts = VideoToAudioParts.load(folder, dtype=dtype or torch.float32, hub=hub)
        base = TextToAudioPipeline(TextToAudioParts.load(base_folder(folder, hub), name))
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
            self.parts.lm.base.to(dtype)
            self.parts.frame_encoder.clip.to(dtype)
        return self

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
            duration_s, pieces = len(video) / FRAME_RATE, iter([video])
        else:
            info = probe_video(video)
            duration_s = check_duration(info.duration_s, f"the length of {video}")
            pieces = iter_frames(video, size=self.parts.frame_encoder.fitted_size(info.width, info.height))
        vectors, last, change, total = list[Tensor](), None, 0.0, n_video_frames(duration_s)
        done = 0
        for piece in pieces:
            vectors.append(self.parts.frame_encoder.encode(piece))
            grey = piece[:, ::2, ::2].mean(-1, dtype=np.float32)
            if last is not None:
                grey = np.concatenate([last, grey])
            change = max(change, float(np.abs(np.diff(grey, axis=0)).mean((1, 2)).max(initial=0.0)))
            last, done = grey[-1:], done + len(piece)
            if callback is not None:
                callback("frames", done, max(done, total))
        return EncodedVideo(torch.cat(vectors), duration_s, change > _STILL)

    @torch.inference_mode()
    def write_tokens(
        self,
        videos: Sequence[EncodedVideo],
        captions: Sequence[str],
        seeds: Sequence[int],
        callback: Progress | None = None,
    ) -> list[Tensor]:
        """Semantic tokens of videos; those of one length are written together.

        Args:
            videos: Encoded videos.
            captions: One each; "" for none.
            seeds: One each.
            callback: Progress.
        """
        tokens: dict[int, Tensor] = {}
        for length in sorted({n_semantic_tokens(video.duration_s) for video in videos}):
            rows = [i for i, video in enumerate(videos) if n_semantic_tokens(video.duration_s) == length]
            written = self._write(
                [videos[i].frames for i in rows],
                [captions[i] for i in rows],
                [seeds[i] for i in rows],
                length,
                callback,
            )
            tokens.update(zip(rows, written.cpu(), strict=True))
        return [tokens[i] for i in range(len(videos))]

    def _write(
        self,
        frames: list[Tensor],
        captions: list[str],
        seeds: list[int],
        length: int,
        callback: Progress | None,
    ) -> Tensor:
        """Tokens `(batch, length)`, window by window; each goes on from the last tokens of the one before."""
        video, lm = self.parts.video, self.parts.lm
        window, context = video.window_tokens, min(video.context_tokens, video.window_tokens - 1)
        sampling = Sampling(video.temperature, video.top_k or None)
        shown = torch.arange(n_video_frames(length / SEMANTIC_TOKEN_RATE))
        seen = torch.stack([one[shown.clamp(max=len(one) - 1)] for one in frames])
        embedded = self.parts.connector(seen.to(self.base.device), length)
        written: Tensor | None = None
        start = 0
        while written is None or written.shape[1] < length:
            count = window if video.fixed_window else min(window, length - start)
            stretch = self.parts.connector.stretch(embedded, start, count)
            given = None if written is None else written[:, start:]
            done = 0 if written is None else written.shape[1]

            def advance(step: int, total: int, done: int = done) -> None:
                if callback is not None:
                    callback("tokens", min(length, done + step), length)

            made = lm.generate(
                captions,
                stretch,
                count,
                given=given,
                sampling=sampling,
                seeds=[s + start for s in seeds],
                callback=advance,
            )
            written = made if written is None else torch.cat([written[:, :start], made], dim=1)
            start += count - context
        return written[:, :length]

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
    ) -> Any:
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

        Returns:
            A `TextToAudioOutput`.
        """
        scale = self.parts.video.visual_scale if visual_scale is None else visual_scale
        if not (np.isfinite(scale) and scale >= 0):
            raise ValueError(f"visual_scale is {visual_scale}; give a number from 0 on, such as 0.5.")
        mel_rate = self.base.parts.mel_rate
        guide = VisualGuide(
            self.parts.adapter,
            [self.parts.quantizer.lookup(one.to(self.base.device)).cpu() for one in tokens],
            float(scale),
            mel_rate,
        )
        return self.base(
            [caption.strip() or "sound" for caption in captions],
            list(durations_s),
            negative_prompt=negative_prompt,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            seed=seeds if isinstance(seeds, int) else list(seeds),
            callback=callback,
            guide=guide,
        )

    def __call__(
        self,
        video: str | Path | Frames | Sequence[str | Path | Frames],
        caption: str | Sequence[str] | None = None,
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
            ValueError: For unusable numbers, or lists of different lengths.
            RenderError: If a sound comes out with values that are no numbers.
        """
        videos = [video] if isinstance(video, str | Path | np.ndarray) else list(video)
        captions = [caption or ""] * len(videos) if isinstance(caption, str | None) else list(caption)
        seeds = [seed] * len(videos) if isinstance(seed, int) else list(seed)
        if not videos or len(captions) != len(videos) or len(seeds) != len(videos):
            raise ValueError(
                f"{len(videos)} videos, {len(captions)} captions and {len(seeds)} seeds are given; "
                "give at least one video, and one of each per video."
            )
        seconds: dict[str, float] = {}
        with self._timed(seconds, "frames"):
            encoded = [self.encode_video(one, callback) for one in videos]
        with self._timed(seconds, "tokens"):
            tokens = self.write_tokens(encoded, captions, seeds, callback)
        made = self.render(
            tokens,
            captions,
            [one.duration_s for one in encoded],
            visual_scale=visual_scale,
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
            _notes(encoded, captions),
            seconds,
        )


def _notes(videos: Sequence[EncodedVideo], captions: Sequence[str]) -> tuple[str, ...]:
    notes = []
    for i, (video, caption) in enumerate(zip(videos, captions, strict=True)):
        which = f"video {i + 1}: " if len(videos) > 1 else ""
        if not video.moves and caption.strip():
            notes.append(f"{which}nothing moves in the picture; the sound follows the caption, its times are a guess.")
        elif not video.moves:
            notes.append(f"{which}nothing moves in the picture and there is no caption; the sound is a guess.")
        elif not caption.strip():
            notes.append(f"{which}there is no caption; what sounds is guessed from the picture.")
    return tuple(notes)
