"""The networks of a text-to-audio base: loaded from any of the public layouts, saved in ours."""

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import diffusers
import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, SchedulerMixin, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.hub import TEXT_TO_AUDIO
from audio_agent_zoo.models.hifigan import HifiGanGenerator
from audio_agent_zoo.models.mel import MelConfig
from audio_agent_zoo.models.text_conditioning import CONDITION_CONFIG, TextConditioning
from audio_agent_zoo.published import CONFIG_NAME, Generation, PublishedConfig

Loaded = TypeVar("Loaded")

# Bases that learned from recordings put music and voices under effects; users of every one of them complain.
_EFFECTS_ONLY = "music, speech"


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

    Raises:
        WeightsError: If the parts do not fit one another.
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

    def __post_init__(self) -> None:
        """Refuse parts of different models, before they fail in the middle of a render."""
        pairs = {
            "the vocoder's num_mels and the mel front end's": (self.vocoder.config.num_mels, self.mel.n_mels),
            "the vocoder's hop and the mel front end's": (
                self.vocoder.config.hop_length,
                self.mel.hop_length,
            ),
            "the UNet's in_channels and the VAE's latent_channels": (
                self.unet.config.in_channels,
                self.vae.config.latent_channels,
            ),
            "the UNet's cross_attention_dim and the text condition's": (
                self.unet.config.cross_attention_dim,
                self.conditioning.cross_attention_dim,
            ),
        }
        if wrong := [f"{what} are {a} and {b}" for what, (a, b) in pairs.items() if a != b]:
            raise WeightsError(f"the parts of {self.name} do not fit: {'; '.join(wrong)}. Take all from one model.")
        if self.mel.n_mels % self.vae_factor:
            raise WeightsError(
                f"{self.name} has {self.mel.n_mels} mel bands, which its VAE can't divide by {self.vae_factor}."
            )

    @property
    def vae_factor(self) -> int:
        """Mel columns, and mel bands, per latent value."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def mel_rate(self) -> float:
        """Mel columns per second."""
        return self.mel.sample_rate / self.mel.hop_length

    @property
    def width_multiple(self) -> int:
        """What the width of an image in mel columns must be a multiple of."""
        return int(self.vae_factor * 2 ** (len(self.unet.config.block_out_channels) - 1))

    @classmethod
    def load(cls, folder: Path, name: str) -> "TextToAudioParts":
        """Load a stock folder, a condition-adapter folder or a published folder, in float32 on the CPU.

        Raises:
            WeightsError: If a part is missing, damaged, incomplete or of a later format.
        """
        config = PublishedConfig.read(folder)
        public = (folder / "model_index.json").exists() or (folder / CONDITION_CONFIG).exists()
        if config is None and not public:
            raise WeightsError(
                f"{folder} holds no text-to-audio base: it has neither {CONFIG_NAME} (a published folder), "
                f"nor {CONDITION_CONFIG} (condition adapters), nor model_index.json (the stock layout)."
            )
        if config is not None:
            config.check(folder, TEXT_TO_AUDIO)
        vocoder = HifiGanGenerator.from_pretrained(folder)
        if config is not None:
            mel = _guarded(lambda: MelConfig.from_dict(config.mel), folder, "mel")
        else:
            # The public layouts don't say how they were trained; these are Auffusion's constants.
            mel = MelConfig(n_mels=vocoder.config.num_mels)
        return cls(
            conditioning=TextConditioning.from_pretrained(folder),
            unet=_load(UNet2DConditionModel, folder, "unet"),
            vae=_load(AutoencoderKL, folder, "vae"),
            vocoder=vocoder,
            scheduler=_guarded(lambda: _load_scheduler(folder, config is not None), folder, "scheduler"),
            mel=mel,
            generation=config.generation if config else Generation(negative_prompt=_EFFECTS_ONLY),
            name=config.name if config else name,
            license=config.license if config else "other",
        )

    def save(self, folder: Path, *, dtype: torch.dtype | None = None) -> None:
        """Write a published folder.

        Args:
            folder: Where to; created if need be, and completed if other parts are in it.
            dtype: Precision on disk; that of the loaded weights when None.
        """
        folder.mkdir(parents=True, exist_ok=True)
        # Last written, so that a save cut off leaves no folder that looks whole.
        (folder / CONFIG_NAME).unlink(missing_ok=True)
        networks = (self.unet, self.vae, self.conditioning, self.vocoder)
        if dtype is not None:
            networks = copy.deepcopy(networks)
            for network in networks:
                torch.nn.Module.to(network, dtype)
        unet, vae, conditioning, vocoder = networks
        unet.save_pretrained(folder / "unet")
        vae.save_pretrained(folder / "vae")
        conditioning.save_pretrained(folder)
        vocoder.save_pretrained(folder / "vocoder")
        self.scheduler.save_pretrained(folder / "scheduler")
        PublishedConfig(name=self.name, license=self.license, mel=self.mel.to_dict(), generation=self.generation).write(
            folder
        )


def _guarded(load: Callable[[], Loaded], folder: Path, part: str) -> Loaded:
    try:
        return load()
    except WeightsError:
        raise
    except Exception as error:  # the libraries raise a dozen kinds for a damaged file
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(
            f"{part} in {folder} can't be loaded: {lines[0]}. "
            "The file is missing or damaged; download the folder again."
        ) from error


def _load(kind: Any, folder: Path, part: str) -> Any:
    """Load a diffusers model and insist that every weight is there."""
    level = diffusers_logging.get_verbosity()
    # Training-time keys in public configs, and .bin beside no .safetensors, are no news to a user.
    diffusers_logging.set_verbosity(logging.CRITICAL)
    try:
        model, info = _guarded(
            lambda: kind.from_pretrained(
                folder,
                subfolder=part,
                torch_dtype=torch.float32,
                output_loading_info=True,
                local_files_only=True,
            ),
            folder,
            part,
        )
    finally:
        diffusers_logging.set_verbosity(level)
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
    if problems := {key: sorted(map(str, info[key]))[:3] for key in kinds if info[key]}:
        raise WeightsError(f"{part} in {folder} does not fit its config: {problems}. Download the folder again.")
    model.register_to_config(_name_or_path="")  # diffusers would publish where the files lay on this machine
    return model.eval()


def _load_scheduler(folder: Path, published: bool) -> SchedulerMixin:
    """The solver a published folder names; for public folders a faster one on their noise schedule."""
    config = DPMSolverMultistepScheduler.load_config(folder, subfolder="scheduler", local_files_only=True)
    kind: Any = DPMSolverMultistepScheduler
    if published:
        kind = getattr(diffusers, str(config.get("_class_name")), None)
        if not (isinstance(kind, type) and issubclass(kind, SchedulerMixin)):
            raise WeightsError(
                f"{folder / 'scheduler'} names {config.get('_class_name')!r}, which is no scheduler of "
                f"diffusers {diffusers.__version__}; install a version that has it."
            )
    scheduler: SchedulerMixin = kind.from_config(config)
    return scheduler
