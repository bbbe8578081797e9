"""The networks of a text-to-audio base: loaded from any of the public layouts, saved in ours."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, SchedulerMixin, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.hub import CONFIG_NAME, Generation, PublishedConfig
from audio_agent_zoo.models.hifigan import HifiGanGenerator
from audio_agent_zoo.models.mel import MelConfig
from audio_agent_zoo.models.text_conditioning import CONDITION_CONFIG, TextConditioning

Loaded = TypeVar("Loaded")


@dataclass
class TextToAudioParts:
    """Everything a text-to-audio base is made of.

    Attributes:
        conditioning: Text encoders with their adapters.
        unet: Denoiser.
        vae: Between mel images and latents.
        vocoder: Log-mel to sound.
        scheduler: Noise schedule and solver.
        mel: Front-end constants.
        generation: Sampling defaults.
        name: What the weights are called.
        license: Their licence.
    """

    conditioning: TextConditioning
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    vocoder: HifiGanGenerator
    scheduler: SchedulerMixin
    mel: MelConfig
    generation: Generation
    name: str
    license: str

    @classmethod
    def load(cls, folder: Path, name: str) -> "TextToAudioParts":
        """Load a stock folder, a condition-adapter folder or a published folder, in float32 on the CPU.

        Raises:
            WeightsError: If a part is missing, damaged, incomplete or of a later format.
        """
        config = PublishedConfig.read(folder)
        if config is None and not (folder / "model_index.json").exists() and not (folder / CONDITION_CONFIG).exists():
            raise WeightsError(
                f"{folder} holds no text-to-audio base: it has neither {CONFIG_NAME} (a published folder), "
                f"nor {CONDITION_CONFIG} (condition adapters), nor model_index.json (the stock layout)."
            )
        if config is not None:
            config.check(folder)
        vocoder = HifiGanGenerator.from_pretrained(folder)
        if config is not None:
            mel, generation = MelConfig.from_dict(config.mel), config.generation
        else:
            # The public layouts don't say how they were trained; these are Auffusion's constants.
            mel, generation = MelConfig(n_mels=vocoder.config.num_mels), Generation()
        return cls(
            conditioning=TextConditioning.from_pretrained(folder),
            unet=_load(UNet2DConditionModel, folder, "unet"),
            vae=_load(AutoencoderKL, folder, "vae"),
            vocoder=vocoder,
            scheduler=_guarded(lambda: DPMSolverMultistepScheduler.from_pretrained(folder, subfolder="scheduler"), folder, "scheduler"),
            mel=mel,
            generation=generation,
            name=config.name if config else name,
            license=config.license if config else "other",
        )

    def save(self, folder: Path, *, dtype: torch.dtype | None = None) -> None:
        """Write a published folder.

        Args:
            folder: Where to; created if need be.
            dtype: Precision on disk; that of the loaded weights when None.
        """
        folder.mkdir(parents=True, exist_ok=True)
        parts = copy.deepcopy((self.unet, self.vae, self.conditioning, self.vocoder)) if dtype else None
        unet, vae, conditioning, vocoder = parts or (self.unet, self.vae, self.conditioning, self.vocoder)
        for part in (unet, vae, conditioning, vocoder) if dtype else ():
            part.to(dtype)
        unet.save_pretrained(folder / "unet")
        vae.save_pretrained(folder / "vae")
        conditioning.save_pretrained(folder)
        vocoder.save_pretrained(folder / "vocoder")
        self.scheduler.save_pretrained(folder / "scheduler")
        PublishedConfig(
            name=self.name, license=self.license, mel=self.mel.to_dict(), generation=self.generation
        ).write(folder)


def _guarded(load: Callable[[], Loaded], folder: Path, part: str) -> Loaded:
    try:
        return load()
    except WeightsError:
        raise
    except Exception as error:  # the libraries raise a dozen kinds for a damaged file
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"{part} in {folder} can't be loaded: {first_line}. The file is missing or damaged; download the folder again."
        ) from error


def _load(kind: Any, folder: Path, part: str) -> Any:
    """Load a diffusers model and insist that every weight is there."""
    level = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()  # training-time keys in public configs are no news to a user
    try:
        model, info = _guarded(
            lambda: kind.from_pretrained(folder, subfolder=part, torch_dtype=torch.float32, output_loading_info=True),
            folder,
            part,
        )
    finally:
        diffusers_logging.set_verbosity(level)
    problems = {key: sorted(map(str, info[key]))[:3] for key in ("missing_keys", "unexpected_keys") if info[key]}
    if problems:
        raise WeightsError(f"{part} in {folder} does not fit its config: {problems}. Download the folder again.")
    return model.eval()
