"""Text to audio: prompts in, waveforms of any length out."""

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
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
from audio_agent_zoo.models.mel_consistency import fit_to_mel
from audio_agent_zoo.pipelines.text_to_audio_parts import TextToAudioParts
from audio_agent_zoo.pipelines.text_to_audio_request import Guide, Request
from audio_agent_zoo.pipelines.windows import (
    Window,
    cut_into_windows,
    group_by_width,
    join_windows,
    overlap_columns,
)
from audio_agent_zoo.rates import n_mel_columns, n_samples

Progress = Callable[[int, int], None]
"""Called as `(denoising steps done, denoising steps in all)`."""

_SOUNDING_COLUMNS = 2048
"""Mel columns that are decoded and vocoded at once: there is nothing to win from more, and memory to lose."""


@dataclass(frozen=True)
class TextToAudioOutput:
    """What the pipeline made.

    Attributes:
        audios: One `(samples,)` float32 waveform in [-1, 1] per prompt, exactly as long as asked.
        sample_rate: Samples per second.
        seeds: Seed of each.
        seconds: Wall time of each stage ("text", "denoise", "decode", "vocode") in seconds.
    """

    audios: list[NDArray[np.float32]]
    sample_rate: int
    seeds: list[int]
    seconds: dict[str, float] = field(default_factory=dict)


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
            path_or_repo: "foley-mini", a folder, or a Hub repository. Stock (`auffusion-full-no-adapter`),
                condition-adapter (`auffusion`, `auffusion-full`) and published folders are told apart by
                their files.
            revision: Branch, tag or commit of a repository.
            cache_dir: Where downloads are kept.
            token: Access token; the environment's when None.
            local_files_only: Never ask the network.
            dtype: Precision of text encoders, UNet and VAE; float32 when None.
            device: Where to compute.

        Raises:
            ValueError: If a revision is given for something that has none.
            WeightsError: If the weights are missing, damaged, gated or of a later format.
        """
        folder = resolve(
            path_or_repo,
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
        )
        # A folder goes by its own name: where it lies on this machine is nobody else's business.
        local = Path(path_or_repo).expanduser().is_dir()
        name = folder.name if local else f"{path_or_repo}@{revision}" if revision else str(path_or_repo)
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
        """Log-mel to sound, always in float32: half precision is audible as hiss."""
        return self.parts.vocoder

    @property
    def scheduler(self) -> SchedulerMixin:
        """Noise schedule and solver; assign any diffusers scheduler made `from_config` of this one."""
        return self.parts.scheduler

    @scheduler.setter
    def scheduler(self, scheduler: SchedulerMixin) -> None:
        if not isinstance(scheduler, SchedulerMixin):
            raise TypeError(f"scheduler is a {type(scheduler).__name__}; give a diffusers scheduler.")
        self.parts.scheduler = scheduler

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> "TextToAudioPipeline":
        """Move to a device, to a precision, or both; ends offloading."""
        self.device = torch.device(device) if device is not None else self.device
        self.dtype = dtype or self.dtype
        self._offload_to = None
        for network in (self.parts.conditioning, self.parts.unet, self.parts.vae):
            # PyTorch's own method: diffusers' one warns about modules in need of float32 that are not there.
            nn.Module.to(network, self.device, self.dtype)
        self.parts.vocoder.to(self.device)
        return self

    def enable_model_cpu_offload(self, device: str | torch.device = "cuda") -> None:
        """Keep every network in main memory and move each to `device` only while it works.

        Raises:
            ValueError: If `device` is the CPU, or not there.
        """
        target = torch.device(device)
        present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not present.get(target.type, False):
            raise ValueError(
                f"device is {str(device)!r}, which this machine lacks; offloading needs a GPU. "
                "Without one, leave offloading off."
            )
        self.to("cpu")
        self.device, self._offload_to = target, target

    @contextmanager
    def _working(self, network: nn.Module) -> Iterator[None]:
        if self._offload_to is None:
            yield
            return
        try:
            network.to(self._offload_to)
            yield
        finally:
            network.to("cpu")

    @contextmanager
    def _timed(self, seconds: dict[str, float], stage: str) -> Iterator[None]:
        started = perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        seconds[stage] = seconds.get(stage, 0.0) + perf_counter() - started

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write a published folder, whichever layout the weights came in.

        Args:
            folder: Where to; created if need be.
            dtype: Precision on disk; that of the loaded weights when None.
        """
        self.parts.save(Path(folder), dtype=dtype)

    def push_to_hub(self, repo: str, *, private: bool = False, token: str | None = None) -> str:
        """Publish as a Hub repository in one commit; returns the commit's address.

        Raises:
            WeightsError: If the Hub refuses.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return push_folder(folder, repo, private=private, token=token)

    def _conditions(self, request: Request, guided: bool) -> tuple[Tensor, Tensor]:
        """Condition and empty (or negative) condition of each sound; every distinct text encoded once."""
        conditioning = self.parts.conditioning
        negatives = request.negatives if guided else []
        texts = list(dict.fromkeys([*request.prompts, *(text for text in negatives if text)]))
        with self._working(conditioning):
            rows = conditioning(texts).to(self.device, self.dtype)
            empty = conditioning.unconditional(rows[:1]).to(rows)
        condition = rows[[texts.index(text) for text in request.prompts]]
        if not guided:
            return condition, empty.expand_as(condition)
        without = [rows[texts.index(text)] if text else empty[0] for text in negatives]
        return condition, torch.stack(without)

    def _noise(self, windows: list[Window]) -> tuple[Tensor, list[torch.Generator]]:
        """Starting noise, drawn on the CPU so that every device gets the same."""
        factor, channels = self.parts.vae_factor, self.parts.unet.config.in_channels
        generators = [torch.Generator().manual_seed(window.seed) for window in windows]
        noise = [
            torch.randn(1, channels, self.mel.n_mels // factor, window.width // factor, generator=generator)
            for window, generator in zip(windows, generators, strict=True)
        ]
        return torch.cat(noise).to(self.device, self.dtype), generators

    def _denoise(
        self,
        windows: list[Window],
        condition: Tensor,
        empty: Tensor,
        request: Request,
        tick: Callable[[], None],
        guide: Guide | None,
    ) -> Tensor:
        """Latents `(batch, channels, rows, columns)` of windows of one width."""
        scheduler: Any = copy.deepcopy(self.parts.scheduler)  # solvers keep state between their steps
        scheduler.set_timesteps(request.steps, device=self.device)
        latents, generators = self._noise(windows)
        latents = latents * scheduler.init_noise_sigma
        guided = request.guidance > 1
        states = torch.cat([empty, condition]) if guided else condition
        stochastic = "generator" in inspect.signature(scheduler.step).parameters
        extra = {"generator": generators} if stochastic else {}
        aspect = latents.shape[-1] / latents.shape[-2]
        more = guide.unet_arguments(windows, aspect, guided) if guide is not None else {}
        for step in scheduler.timesteps:
            model_input = scheduler.scale_model_input(torch.cat([latents] * 2) if guided else latents, step)
            predicted = self.parts.unet(model_input.to(self.dtype), step, states, **more).sample
            if guided:
                without, with_text = predicted.chunk(2)
                predicted = without + request.guidance * (with_text - without)
            latents = torch.as_tensor(scheduler.step(predicted, step, latents, **extra).prev_sample)
            tick()
        return latents

    def _decode(self, latents: Tensor) -> Tensor:
        """Log-mel `(batch, n_mels, columns)` of latents, in float32."""
        with self._working(self.parts.vae):
            scaled = latents.to(self.dtype) / self.parts.vae.config.scaling_factor
            image: Tensor = self.parts.vae.decode(scaled).sample
        return from_image(image, self.mel)

    def _vocode(self, mel: Tensor, columns: int) -> Tensor:
        """The first `columns` of a log-mel as waveforms `(batch, columns * hop)`, on the CPU in float32."""
        # Columns beyond the cut that still reach into it are kept, so that the cut is no edge.
        heard = mel[..., : columns + self.vocoder.config.context_columns]
        with self._working(self.vocoder):
            wave: Tensor = self.vocoder(heard)
            wave = fit_to_mel(wave, heard, self.mel, self.parts.generation.mel_iterations)
        return wave[:, : columns * self.mel.hop_length].float().cpu()

    @torch.inference_mode()
    def __call__(
        self,
        prompt: str | Sequence[str],
        duration_s: float | Sequence[float] = 10.0,
        *,
        negative_prompt: str | Sequence[str | None] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        seed: int | Sequence[int] = 0,
        callback: Progress | None = None,
        max_batch_columns: int = 8192,
        min_columns: int | None = None,
        guide: Guide | None = None,
    ) -> TextToAudioOutput:
        """Make one sound per prompt.

        Args:
            prompt: One or several descriptions of a sound.
            duration_s: Seconds, one for all or one each; beyond the native width, windows are cross-faded.
            negative_prompt: What to steer away from; "" or None for nothing. It needs guidance above 1.
            num_inference_steps: Denoising steps; the weights' own default when None.
            guidance_scale: Classifier-free guidance, off at 1 and below; the weights' own default when None.
            seed: One for all or one each; the same prompt, length and seed give the same sound in any batch.
            callback: Called as `(steps done, steps in all)`; raise in it to stop.
            max_batch_columns: Mel columns denoised at once, the knob for memory.
            min_columns: Narrowest mel image; the weights' own default when None.
            guide: What the UNet is told besides the text.

        Raises:
            ValueError: For empty prompts, unusable numbers or lists of different lengths.
            RenderError: If a sound comes out with values that are no numbers.
        """
        parts = self.parts
        narrowest = parts.generation.min_columns if min_columns is None else min_columns
        for name, value in (("min_columns", narrowest), ("max_batch_columns", max_batch_columns)):
            if value < 1:
                raise ValueError(f"{name} is {value}; give at least 1.")
        request = Request.checked(
            prompt,
            duration_s,
            negative_prompt,
            seed,
            steps=parts.generation.num_inference_steps if num_inference_steps is None else num_inference_steps,
            guidance=parts.generation.guidance_scale if guidance_scale is None else guidance_scale,
            most_steps=int(parts.scheduler.config.num_train_timesteps),
        )
        windows = [
            window
            for item, (length, start) in enumerate(zip(request.durations_s, request.seeds, strict=True))
            for window in cut_into_windows(
                item,
                n_mel_columns(length),
                start,
                multiple=parts.width_multiple,
                min_columns=narrowest,
                native_columns=parts.generation.native_columns,
            )
        ]
        seconds: dict[str, float] = {}
        waves = self.make_windows(windows, request, callback, max_batch_columns, seconds, guide)
        overlap = overlap_columns(max(window.width for window in windows)) * self.mel.hop_length
        audios = []
        for item, length in enumerate(request.durations_s):
            own = [wave for window, wave in zip(windows, waves, strict=True) if window.item == item]
            audios.append(join_windows(own, overlap)[: n_samples(length)].numpy())
        return TextToAudioOutput(audios, self.mel.sample_rate, request.seeds, seconds)

    def make_windows(
        self,
        windows: list[Window],
        request: Request,
        callback: Progress | None,
        max_columns: int,
        seconds: dict[str, float],
        guide: Guide | None,
    ) -> list[Tensor]:
        """The waveform `(columns * hop,)` of every window, batch by batch; its `item` is its place in the request."""
        batches = group_by_width(windows, max_columns)
        probe: Any = copy.deepcopy(self.parts.scheduler)
        probe.set_timesteps(request.steps)
        done, total = 0, len(probe.timesteps) * len(batches)  # some solvers need more steps than asked

        def tick() -> None:
            nonlocal done
            done += 1
            if callback is not None:
                callback(done, total)

        with self._timed(seconds, "text"):
            condition, empty = self._conditions(request, guided=request.guidance > 1)
        waves: dict[int, Tensor] = {}
        for batch in batches:
            here = [windows[i] for i in batch]
            rows = [window.item for window in here]
            with self._timed(seconds, "denoise"), self._working(self.parts.unet):
                latents = self._denoise(here, condition[rows], empty[rows], request, tick, guide)
            self._check_finite(latents, rows, request)
            at_once = max(1, _SOUNDING_COLUMNS // here[0].width)
            for first in range(0, len(here), at_once):
                part = slice(first, first + at_once)
                with self._timed(seconds, "decode"):
                    mel = self._decode(latents[part])
                with self._timed(seconds, "vocode"):
                    made = self._vocode(mel, max(window.columns for window in here[part]))
                self._check_finite(made, rows[part], request)
                for i, window, wave in zip(batch[part], here[part], made, strict=True):
                    waves[i] = wave[: window.columns * self.mel.hop_length]
        return [waves[i] for i in range(len(windows))]

    def _check_finite(self, values: Tensor, rows: list[int], request: Request) -> None:
        for one, row in zip(values, rows, strict=True):
            if not torch.isfinite(one).all():
                raise RenderError(
                    f"{request.prompts[row]!r} (seed {request.seeds[row]}) came out with values that are no "
                    f"numbers, computed in {self.dtype}; use dtype=torch.float32, a lower guidance_scale, "
                    "another scheduler, or download the weights again."
                )
