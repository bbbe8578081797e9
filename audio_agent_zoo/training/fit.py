"""`audio-agent fit`: a recipe (YAML) names training, data and trainer; the same command goes on after a stop."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import SIGTERMException

# Bare class names in recipes resolve to what is imported here.
from audio_agent_zoo.data import foley_captions, foley_features, foley_latents, foley_scenes, foley_world  # noqa: F401
from audio_agent_zoo.training import (  # noqa: F401
    audio_text_training,
    autoencoder_training,
    callbacks,
    classifier_training,
    frame_encoder_training,
    hubert_training,
    overfitting,
    semantic_token_training,
    text_to_audio_training,
    tracking,
    visual_adapter_training,
    vocoder_training,
)
from audio_agent_zoo.training.callbacks import callbacks_of
from audio_agent_zoo.training.earlier_run import EarlierRun, run_folder, set_aside
from audio_agent_zoo.training.memory import plan_of
from audio_agent_zoo.training.overfitting import WarnOfOverfitting
from audio_agent_zoo.training.resume_checkpoint import STOPPED, ResumeCheckpoint, is_first_process
from audio_agent_zoo.training.tracking import Tracker, track


def _say(text: str) -> None:
    if is_first_process():
        print(text, file=sys.stderr, flush=True)


def _card_gb(trainer: Trainer) -> float | None:
    """Memory of the GPU that is trained on, None on a CPU."""
    device = trainer.strategy.root_device
    return torch.cuda.get_device_properties(device).total_memory / 1e9 if device.type == "cuda" else None


class FitCLI(LightningCLI):
    """LightningCLI with what a run of ours always has: it goes on by itself, shows how it goes, warns in time."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """`fit` alone, without the arguments that are decided here."""
        return {"fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule", "weights_only"}}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Arguments beside those of training, data and trainer."""
        parser.add_argument(
            "--fresh", action="store_true", help="Start anew; the run's earlier checkpoints are set aside."
        )
        parser.add_argument(
            "--checkpoint_every", type=int, default=100, help="Steps between two checkpoints to go on from."
        )
        parser.add_argument(
            "--track",
            type=Tracker | None,
            default=None,
            help="Logger in place of the recipe's: wandb (WANDB_MODE=offline works), tensorboard, csv or none.",
        )

    def _parse_ckpt_path(self) -> None:
        """Look at a named checkpoint first; Lightning would further put its settings in place of the command's.

        Raises:
            AudioAgentError: If it can't be read.
        """
        chosen = self.config[self.config.subcommand] if self.config.get("subcommand") else {}
        if (path := chosen.get("ckpt_path")) and Path(path).is_file():
            EarlierRun.read(Path(path))

    def before_instantiate_classes(self) -> None:
        """Take `fresh` out of the configuration, which is kept with the run and may be used again."""
        chosen = self.config[self.subcommand] if self.subcommand else self.config
        self._fresh, chosen.fresh = bool(chosen.fresh), False

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add the callbacks of every run to those of the recipe."""
        trainer = super().instantiate_trainer(**kwargs)
        if self.subcommand == "fit":
            callbacks = callbacks_of(trainer)
            callbacks.insert(0, WarnOfOverfitting())
            callbacks.append(ResumeCheckpoint(run_folder(trainer), self.config["fit"]["checkpoint_every"]))
        return trainer

    def before_fit(self) -> None:
        """Find the checkpoint of an earlier run, and print what memory the training takes, before any weight is read.

        Raises:
            AudioAgentError: If the earlier run was another training.
        """
        folder, given = run_folder(self.trainer), self.config_init["fit"].get("ckpt_path")
        self.nothing_to_do = False
        if self._fresh and given is None:
            if is_first_process() and (aside := set_aside(folder)) is not None:
                _say(f"The checkpoints of an earlier run are in {aside} now.")
        elif given is None and (earlier := EarlierRun.of(folder)) is not None:
            earlier.check(self.model.hparams, self.datamodule.hparams)
            if why := earlier.ended(self.trainer.max_steps):
                self.nothing_to_do = True
                _say(
                    f"{folder} holds a finished run: {earlier.global_step} steps, {why}. Nothing was trained. Raise "
                    "--trainer.max_steps to go on, start anew with --fresh, or choose another run folder."
                )
                return
            _say(f"Going on from step {earlier.global_step} of {earlier.path}; --fresh would start anew.")
            self.config_init["fit"]["ckpt_path"] = str(earlier.path)
        track(self.trainer, self.config["fit"]["track"], folder, self.config_dump)
        if plan := plan_of(self.model, self.datamodule, str(self.trainer.precision)):
            _say(f"Memory of one process, by the shapes of its parts:\n{plan.table(_card_gb(self.trainer))}")

    def fit(self, model: LightningModule, **kwargs: Any) -> None:
        """Train, unless that is done; a checkpoint is read as tensors and plain values alone."""
        if not self.nothing_to_do:
            self.trainer.fit(model, **{**kwargs, "weights_only": True})


def _cli(arguments: list[str], *, run: bool) -> FitCLI:
    # The arguments come from our own command line; LightningCLI's advice against that is for scripts.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    # Ours do so: batches are numbered over the whole run.
    # Frozen parts are so on purpose, and a run that goes on does so in its own folder.
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode at the start of training")
    warnings.filterwarnings("ignore", message=r"Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before the epoch ended")
    return FitCLI(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_kwargs={"overwrite": True},
        args=arguments,
        run=run,
    )


def fit(arguments: Sequence[str]) -> FitCLI:
    """Run LightningCLI's `fit` with `arguments` (`--config recipe.yaml`, overrides).

    A run that was stopped or killed is taken up by the same arguments.

    Raises:
        AudioAgentError: If the run folder holds another training.
        SIGTERMException: If it is told to stop; it can go on.
    """
    return _cli(["fit", *arguments], run=True)


def fit_until_told(arguments: Sequence[str]) -> int:
    """Run `fit`, and say how to go on where it was told to stop; returns an exit code.

    Raises:
        AudioAgentError: If the run folder holds another training.
    """
    try:
        fit(arguments)
    except SIGTERMException:
        _say("Stopped. The same command goes on from here.")
        return STOPPED if is_first_process() else 0  # the first one would take another code for a crash
    return 0


def instantiate(recipe: Path) -> FitCLI:
    """Parse a recipe and build its training, its data and its trainer, without running anything.

    Raises:
        SystemExit: If a key or a value of the recipe is wrong; the parser prints which.
    """
    return _cli(["--config", str(recipe)], run=False)
