"""`audio-agent fit`: a recipe (YAML) names a training, its data and its trainer."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.cli import LightningCLI

# Bare class names in recipes resolve to what is imported here.
from audio_agent_zoo.data import foley_captions, foley_features, foley_latents, foley_scenes, foley_world  # noqa: F401
from audio_agent_zoo.training import (  # noqa: F401
    audio_text_training,
    autoencoder_training,
    callbacks,
    classifier_training,
    frame_encoder_training,
    hubert_training,
    semantic_token_training,
    text_to_audio_training,
    visual_adapter_training,
    vocoder_training,
)


def _cli(arguments: list[str], *, run: bool) -> LightningCLI:
    from lightning import LightningDataModule, LightningModule

    # The arguments come from our own command line; LightningCLI's advice against that is for scripts.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    return LightningCLI(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_kwargs={"overwrite": True},
        args=arguments,
        run=run,
    )


def fit(arguments: Sequence[str]) -> LightningCLI:
    """Run LightningCLI's `fit` with `arguments` (`--config recipe.yaml`, overrides)."""
    return _cli(["fit", *arguments], run=True)


def instantiate(recipe: Path) -> LightningCLI:
    """Parse a recipe and build its training, its data and its trainer, without running anything.

    Raises:
        SystemExit: If a key or a value of the recipe is wrong; the parser prints which.
    """
    return _cli(["--config", str(recipe)], run=False)
