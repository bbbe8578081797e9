"""What makes the same command go on after a stop: a checkpoint that is always whole, and draws of the step alone."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from audio_agent_zoo.media import atomic_path

LAST = "last.ckpt"
STOPPED = 143
"""Exit code of a training that was told to stop and can go on, as shells have it for SIGTERM."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the final name and then renames: a kill while it writes leaves the earlier checkpoint."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            MediaError: If the folder can't be written or the disk is full.
        """
        with atomic_path(path) as partial:
            torch.save(checkpoint, partial)


class ResumeCheckpoint(Checkpoint):
    """Keep `last.ckpt` of a run: every so many steps, at each validation, and when the run is told to stop.

    It takes that file over from Lightning's `ModelCheckpoint`, which keeps the best one: a checkpoint written before
    a validation that is due would make a resumed run leave the validation out.

    All random draws of a step are seeded by its number and by the process, so that they are those of an unbroken
    run. SIGTERM and Ctrl-C end the run after the step (or the validation) it is in.

    Args:
        folder: Folder of the run.
        every_n_steps: Steps between two checkpoints, where no validation comes before.
    """

    def __init__(self, folder: Path, every_n_steps: int = 100) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps is {every_n_steps}; give a whole number above 0.")
        self.path, self.every_n_steps = folder / LAST, every_n_steps
        self._told_to_stop = self._stops = self._within_step = False
        self._saved_at = self._step_before = 0
        self._seed = 0
        self._handlers: dict[int, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take over `last.ckpt`, and clear away what a kill left half written."""
        self._seed = torch.initial_seed()
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()
        for other in trainer.checkpoint_callbacks:
            if isinstance(other, ModelCheckpoint):
                other.save_last = False
        if trainer.is_global_zero:
            for left in self.path.parent.glob(".unfinished-*.ckpt"):
                left.unlink(missing_ok=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to signals from here on: before, there is nothing to lose."""
        self._saved_at = trainer.global_step
        self._draws_of(trainer, "data")

        def told(number: int, frame: FrameType | None) -> None:
            if number == signal.SIGINT and self._told_to_stop:
                raise KeyboardInterrupt  # asked twice
            if trainer.is_global_zero and not self._told_to_stop:
                print(f"{signal.Signals(number).name}: the step is finished and kept, then it stops.", file=sys.stderr)
            self._told_to_stop = True
            if number == signal.SIGTERM and trainer.strategy.launcher is not None:
                trainer.strategy.launcher.kill(number)

        try:
            self._handlers = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
        except ValueError:
            self._handlers = {}  # only the main thread of a process may listen

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Make the draws of this step its own."""
        self._step_before = trainer.global_step
        self._draws_of(trainer, "step")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save where it is time to, or where the run shall stop; never between gradients that belong together."""
        self._draws_of(trainer, "data")
        self._stops = self._stops or self._all_agree_to_stop(trainer)
        self._within_step = trainer.global_step == self._step_before
        if self._within_step or _validates_now(trainer):
            return
        ends = 0 < trainer.max_steps <= trainer.global_step
        if self._stops or ends or trainer.global_step - self._saved_at >= self.every_n_steps:
            self._save(trainer)
        self._stop(ends)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after each validation, with what all the other callbacks noted of it."""
        if trainer.sanity_checking:
            return
        self._draws_of(trainer, "data")
        if self._within_step:
            self._saved_at = -self.every_n_steps  # at the next whole step
            return
        self._save(trainer)
        self._stop(0 < trainer.max_steps <= trainer.global_step)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave signals as they were."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._saved_at = trainer.global_step

    def _stop(self, ends: bool) -> None:
        if self._stops and not ends:  # else it is finished anyway
            raise SIGTERMException

    def _all_agree_to_stop(self, trainer: Trainer) -> bool:
        """Whether any process was told to; a checkpoint is written by all of them at one step."""
        told = self._told_to_stop or trainer.received_sigterm
        if trainer.world_size == 1:
            return told
        return bool(trainer.strategy.reduce_boolean_decision(told, all=False))

    def _draws_of(self, trainer: Trainer, what: str) -> None:
        """Seed the draws of the step that is running, or of the data that is read next."""
        number = trainer.fit_loop.total_batch_idx + 1
        entropy = [self._seed, trainer.global_rank, number, len(what)]
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1))


def _validates_now(trainer: Trainer) -> bool:
    """Whether a validation may follow this batch."""
    every = trainer.val_check_batch
    if not trainer.enable_validation or every is None:
        return False
    loop = trainer.fit_loop
    number = loop.total_batch_idx if trainer.check_val_every_n_epoch is None else loop.batch_idx
    return bool((number + 1) % every == 0)


def is_first_process() -> bool:
    """Whether this is the process that speaks for all, before the trainer says so."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
