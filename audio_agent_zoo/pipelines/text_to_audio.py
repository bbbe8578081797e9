"""Text to audio: prompts in, waveforms of any length out."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from diffusers import SchedulerMixin
from numpy.typing import NDArray
from torch import Tensor, nn

from audio_agent_zoo.errors import RenderError
from audio_agent_zoo.hub import push_folder, resolve
from audio_agent_zoo.models.hifigan import HifiGanGenerator
from audio_agent_zoo.models.mel import MelConfig, from_image
from audio_agent_zoo.pipelines.text_to_audio_parts import TextToAudioParts
from audio_agent_zoo.rates import check_duration, n_mel_columns, n_samples

MAX_PROMPT_CHARACTERS = 1000
_OVERLAP_COLUMNS = 64
_VOCODER_CONTEXT = 16  # mel columns the vocoder sees beyond the cut, so that the end is no edge
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TextToAudioOutput:
    """What the pipeline made.

    Attributes:
        audios: One `(samples,)` float32 waveform in [-1, 1] per prompt, exactly as long as asked.
        sample_rate: Samples per second.
        seeds: Seed of each.
        seconds: Wall time of each stage in seconds.
    """

    audios: list[NDArray[np.float32]]
    sample_rate: int
    seeds: list[int]
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Window:
    """One mel image to make: a whole sound, or a stretch of a long one."""

    item: int
    width: int
    columns: int
    seed: int


def _window_seed(seed: int, index: int) -> int:
    if index == 0:
        return seed
    return int.from_bytes(sha256(f"{seed}/{index}".encode()).digest()[:4], "big")


def _per_prompt(value: Any, n: int, name: str) -> list[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * n
    if len(value) != n:
        raise ValueError(f"{name} holds {len(value)} entries for {n} prompts; give one, or one per prompt.")
    return list(value)


def _check_prompts(prompt: str | Sequence[str]) -> list[str]:
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not prompts:
        raise ValueError("the list of prompts is empty; give at least one.")
    for text in prompts:
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"prompt is {text!r}; give a few words that describe a sound.")
        if len(text) > MAX_PROMPT_CHARACTERS:
            raise ValueError(
                f"a prompt has {len(text)} characters, at most {MAX_PROMPT_CHARACTERS} are accepted; "
                "a planner splits long requests (`audio-agent generate`)."
            )
    return prompts


class TextToAudioPipeline:
    """Latent diffusion on mel images, then a vocoder.

    Args:
        parts: The networks, as `from_pretrained` loads them.
    """

    def __init__(self, parts: TextToAudioParts) -> None:
        self.parts = parts
        self.device = torch.device("cpu")
        self.dtype = torch.float32
        self._offload_to: torch.device | None = None

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
    ) -> "TextToAudioPipeline":
        """Load weights by name.

        Args:
            path_or_repo: "foley-mini", a folder, or a Hub repository; stock (`auffusion-full-no-adapter`),
                condition-adapter (`auffusion`, `auffusion-full`) and published layouts are told apart by their files.
            revision: Branch, tag or commit of a repository.
            cache_dir: Where downloads are kept.
            token: Access token; the environment's when None.
            local_files_only: Never ask the network.
            dtype: Precision of the computation; float32 when None.
            device: Where to compute.

        Raises:
            WeightsError: If the weights are missing, damaged, gated or of a later format.
        """
        folder = resolve(
            path_or_repo, revision=revision, cache_dir=cache_dir, token=token, local_files_only=local_files_only
        )
        name = f"{path_or_repo}@{revision}" if revision else str(path_or_repo)
        return cls(TextToAudioParts.load(folder, name)).to(device, dtype)

    @property
    def name(self) -> str:
        """What the weights are called."""
        return self.parts.name

    @property
    def mel(self) -> MelConfig:
        """Front-end constants."""
        return self.parts.mel

    @property
    def vocoder(self) -> HifiGanGenerator:
        """Log-mel to sound."""
        return self.parts.vocoder

    @property
    def scheduler(self) -> SchedulerMixin:
        """Noise schedule and solver; assign any diffusers scheduler made `from_config` of this one."""
        return self.parts.scheduler

    @scheduler.setter
    def scheduler(self, scheduler: SchedulerMixin) -> None:
        self.parts.scheduler = scheduler

    @property
    def _networks(self) -> tuple[nn.Module, ...]:
        return (self.parts.conditioning, self.parts.unet, self.parts.vae, self.parts.vocoder)

    def to(
        self, device: str | torch.device | None = None, dtype: torch.dtype | None = None
    ) -> "TextToAudioPipeline":
        """Move to a device, to a precision, or both."""
        self.device = torch.device(device) if device is not None else self.device
        self.dtype = dtype or self.dtype
        self._offload_to = None
        for network in self._networks:
            network.to(self.device, self.dtype)
        return self

    def enable_model_cpu_offload(self, device: str | torch.device = "cuda") -> None:
        """Keep every network in main memory and move each to `device` only while it works.

        Raises:
            ValueError: If `device` is the CPU, or not there.
        """
        target = torch.device(device)
        present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}.get(target.type, False)
        if not present:
            raise ValueError(f"device is {str(device)!r}, which this machine lacks; offloading needs a GPU.")
        self.to("cpu")
        self.device, self._offload_to = target, target

    @contextmanager
    def _working(self, network: nn.Module) -> Iterator[None]:
        if self._offload_to is None:
            yield
            return
        network.to(self._offload_to)
        try:
            yield
        finally:
            network.to("cpu")

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write a published folder, whichever layout the weights came in."""
        self.parts.save(Path(folder), dtype=dtype)

    def push_to_hub(self, repo: str, *, private: bool = False, token: str | None = None) -> str:
        """Publish as a Hub repository in one commit; returns the commit's address."""
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return push_folder(Path(folder), repo, private=private, token=token)

    def _image_width(self, columns: int, min_columns: int) -> int:
        """Width of the image for `columns`: the narrowest times a power of two, up to the native width.

        Few widths mean full batches, and they are the ones a model meets in training.
        """
        vae_factor = 2 ** (len(self.parts.vae.config.block_out_channels) - 1)
        multiple = vae_factor * 2 ** (len(self.parts.unet.config.block_out_channels) - 1)
        width = min_columns
        while width < columns:
            width *= 2
        return ceil(min(width, self.parts.generation.native_columns) / multiple) * multiple

    def _windows(self, item: int, duration_s: float, seed: int, min_columns: int) -> list[_Window]:
        columns, native = n_mel_columns(duration_s), self.parts.generation.native_columns
        if columns <= native:
            return [_Window(item, self._image_width(columns, min_columns), columns, seed)]
        count = ceil((columns - _OVERLAP_COLUMNS) / (native - _OVERLAP_COLUMNS))
        width = self._image_width(native, native)
        return [_Window(item, width, native, _window_seed(seed, i)) for i in range(count)]

    def _encode(self, texts: list[str]) -> Tensor:
        """Condition of each text, every distinct one encoded once."""
        distinct = list(dict.fromkeys(texts))
        with self._working(self.parts.conditioning):
            made = self.parts.conditioning(distinct)
        return made[[distinct.index(text) for text in texts]].to(self.device, self.dtype)

    def _unconditional(self, negatives: list[str], condition: Tensor) -> Tensor:
        with self._working(self.parts.conditioning):
            empty = self.parts.conditioning.unconditional(condition)
        if not any(negatives):
            return empty
        given = self._encode([text or "-" for text in negatives])
        has_text = torch.tensor([bool(text) for text in negatives], device=self.device)
        return torch.where(has_text[:, None, None], given, empty)

    def _noise(self, windows: list[_Window]) -> tuple[Tensor, list[torch.Generator]]:
        """Starting noise, drawn on the CPU so that every device gets the same."""
        factor = 2 ** (len(self.parts.vae.config.block_out_channels) - 1)
        channels, rows = self.parts.unet.config.in_channels, self.mel.n_mels // factor
        generators = [torch.Generator().manual_seed(window.seed) for window in windows]
        noise = [
            torch.randn(1, channels, rows, window.width // factor, generator=generator)
            for window, generator in zip(windows, generators, strict=True)
        ]
        return torch.cat(noise).to(self.device, self.dtype), generators

    def _denoise(
        self, windows: list[_Window], condition: Tensor, empty: Tensor, steps: int, guidance: float, tick: Callable[[], None]
    ) -> Tensor:
        """Latents `(batch, channels, rows, columns)` of windows of one width."""
        scheduler = self.parts.scheduler
        scheduler.set_timesteps(steps, device=self.device)
        latents, generators = self._noise(windows)
        latents = latents * scheduler.init_noise_sigma
        guided = guidance > 1
        states = torch.cat([empty, condition]) if guided else condition
        extra = {"generator": generators} if "generator" in inspect.signature(scheduler.step).parameters else {}
        for step in scheduler.timesteps:
            model_input = scheduler.scale_model_input(torch.cat([latents] * 2) if guided else latents, step)
            predicted = self.parts.unet(model_input.to(self.dtype), step, states).sample
            if guided:
                without, with_text = predicted.chunk(2)
                predicted = without + guidance * (with_text - without)
            latents = scheduler.step(predicted, step, latents, **extra).prev_sample
            tick()
        return latents

    def _sound(self, latents: Tensor, columns: int) -> Tensor:
        """Waveforms `(batch, columns * hop)` of latents, on the CPU in float32."""
        with self._working(self.parts.vae):
            image = self.parts.vae.decode(latents.to(self.dtype) / self.parts.vae.config.scaling_factor).sample
        mel = from_image(image, self.mel)[..., : columns + _VOCODER_CONTEXT]
        with self._working(self.parts.vocoder):
            wave: Tensor = self.parts.vocoder(mel.to(self.dtype))
        return wave[:, : columns * self.mel.hop_length].float().cpu()

    def _join(self, windows: list[Tensor], duration_s: float) -> NDArray[np.float32]:
        """Cross-fade the windows of one sound at equal power and cut it to its length."""
        overlap = _OVERLAP_COLUMNS * self.mel.hop_length
        rise = torch.sin(torch.linspace(0, torch.pi / 2, overlap))
        joined = windows[0]
        for wave in windows[1:]:
            border = joined[-overlap:] * rise.flip(0) + wave[:overlap] * rise
            joined = torch.cat([joined[:-overlap], border, wave[overlap:]])
        audio = joined[: n_samples(duration_s)]
        return (audio / audio.abs().amax().clamp(min=1.0)).numpy()

    @torch.inference_mode()
    def __call__(
        self,
        prompt: str | Sequence[str],
        duration_s: float | Sequence[float] = 10.0,
        *,
        negative_prompt: str | Sequence[str] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        seed: int | Sequence[int] = 0,
        callback: Progress | None = None,
        max_batch_columns: int = 8192,
        min_columns: int | None = None,
    ) -> TextToAudioOutput:
        """Make one sound per prompt.

        Args:
            prompt: One or several descriptions of a sound.
            duration_s: Seconds, one for all or one each; beyond the native width, windows are cross-faded.
            negative_prompt: What to steer away from; "" or None for nothing.
            num_inference_steps: Denoising steps; the weights' own default when None.
            guidance_scale: Classifier-free guidance, off at 1 and below; the weights' own default when None.
            seed: One for all or one each; the same prompt, length and seed give the same sound in any batch.
            callback: Called as `(steps done, steps in all)`; raise in it to stop.
            max_batch_columns: Mel columns denoised at once, the knob for memory.
            min_columns: Narrowest mel image; the weights' own default when None.

        Raises:
            ValueError: For empty prompts, unusable lengths, steps below 1 or lists of different lengths.
            RenderError: If a sound comes out with values that are no numbers.
        """
        prompts = _check_prompts(prompt)
        durations = [check_duration(value) for value in _per_prompt(duration_s, len(prompts), "duration_s")]
        seeds = [int(value) for value in _per_prompt(seed, len(prompts), "seed")]
        negatives = [text or "" for text in _per_prompt(negative_prompt, len(prompts), "negative_prompt")]
        defaults = self.parts.generation
        steps = defaults.num_inference_steps if num_inference_steps is None else num_inference_steps
        if steps < 1:
            raise ValueError(f"num_inference_steps is {steps}; give at least 1.")
        guidance = defaults.guidance_scale if guidance_scale is None else guidance_scale
        narrowest = min_columns or defaults.min_columns
        windows = [
            window
            for i, (length, one_seed) in enumerate(zip(durations, seeds, strict=True))
            for window in self._windows(i, length, one_seed, narrowest)
        ]

        started = perf_counter()
        condition = self._encode(prompts)
        empty = self._unconditional(negatives, condition)
        seconds = {"text": perf_counter() - started}

        batches = _batches(windows, max_batch_columns)
        total, done = 0, 0

        def tick() -> None:
            nonlocal done
            done += 1
            if callback:
                callback(done, total)

        self.parts.scheduler.set_timesteps(steps)
        total = len(self.parts.scheduler.timesteps) * len(batches)  # some solvers call the UNet more often than asked
        made: dict[int, Tensor] = {}
        seconds |= {"denoise": 0.0, "decode": 0.0}
        for batch in batches:
            items = [windows[i].item for i in batch]
            started = perf_counter()
            with self._working(self.parts.unet):
                latents = self._denoise(
                    [windows[i] for i in batch], condition[items], empty[items], steps, guidance, tick
                )
            seconds["denoise"] += perf_counter() - started
            started = perf_counter()
            waves = self._sound(latents, max(windows[i].columns for i in batch))
            for i, wave in zip(batch, waves, strict=True):
                if not torch.isfinite(wave).all():
                    raise RenderError(
                        f"{prompts[windows[i].item]!r} came out with values that are no numbers; use dtype=torch.float32, "
                        "another seed, or download the weights again."
                    )
                made[i] = wave[: windows[i].columns * self.mel.hop_length]
            seconds["decode"] += perf_counter() - started
        audios = [
            self._join([made[i] for i, window in enumerate(windows) if window.item == item], length)
            for item, length in enumerate(durations)
        ]
        return TextToAudioOutput(audios, self.mel.sample_rate, seeds, seconds)


def _batches(windows: list[_Window], max_columns: int) -> list[list[int]]:
    """Indices of windows of one width together, at most `max_columns` columns (but always one window) at once."""
    batches: list[list[int]] = []
    for width in sorted({window.width for window in windows}, reverse=True):
        same = [i for i, window in enumerate(windows) if window.width == width]
        size = max(1, max_columns // width)
        batches += [same[i : i + size] for i in range(0, len(same), size)]
    return batches
