"""What a run shows of itself while it trains: rate, norms, speed, memory, and what it learned, by the logger one likes.

Weights & Biases (also offline), TensorBoard, CSV, or none; recipes need no change for any of them.
"""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any, Literal
from uuid import uuid4

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from torch.optim import Optimizer

from audio_agent_zoo.published import file_sha256, weight_files
from audio_agent_zoo.training.callbacks import PublishParts, callbacks_of
from audio_agent_zoo.training.samples import LogSamples
from audio_agent_zoo.training.sharding import gathered

Tracker = Literal["wandb", "tensorboard", "csv", "none"]
PROJECT = "audio-agent-zoo"
RUN_ID = "wandb_run.txt"


def track(trainer: Trainer, tracker: Tracker | None, folder: Path, config: Mapping[str, Any]) -> None:
    """Put a logger in place of the recipe's, and add the callbacks that feed whichever there is.

    Args:
        trainer: Before it runs.
        tracker: Which logger; None leaves the recipe's, and adds no sounds.
        folder: Folder of the run.
        config: Configuration of the run, to be kept by Weights & Biases.
    """
    if tracker is not None:
        trainer.loggers = _loggers(tracker, folder, config)
    callbacks = callbacks_of(trainer)
    callbacks.insert(0, TrackTraining(trainer.log_every_n_steps))  # type: ignore[attr-defined]
    if not trainer.loggers:
        return
    callbacks.insert(0, LearningRateMonitor("step"))
    if tracker is not None and not any(isinstance(one, LogSamples) for one in callbacks):
        callbacks.insert(0, LogSamples(str(folder / "samples")))
    if tracker == "wandb":
        callbacks.append(LogAdapter())


def _loggers(tracker: Tracker, folder: Path, config: Mapping[str, Any]) -> list[Logger]:
    if tracker == "csv":
        return [CSVLogger(folder)]
    if tracker == "tensorboard":
        return [TensorBoardLogger(folder)]
    return [wandb_logger(folder, config)] if tracker == "wandb" else []


def wandb_logger(folder: Path, config: Mapping[str, Any]) -> WandbLogger:
    """A run that goes on under its own id when the training does; `WANDB_MODE=offline` keeps it on the disk."""
    path = folder / RUN_ID
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid4().hex[:8] + "\n", encoding="utf-8")
    name = "/".join(folder.parts[-2:])
    return WandbLogger(name, folder, id=path.read_text(encoding="utf-8").strip(), project=PROJECT, config=dict(config))


class TrackTraining(Callback):
    """Log gradient norm, steps per second and, on a GPU, the peak of its memory.

    Args:
        every_n_steps: How often.
    """

    def __init__(self, every_n_steps: int = 25) -> None:
        self.every_n_steps = max(1, every_n_steps)
        self._last: tuple[int, float] | None = None

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """The norm before clipping."""
        if (trainer.global_step + 1) % self.every_n_steps:
            return
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if grads:
            norms = [gathered(torch.linalg.vector_norm(grad.detach().float())) for grad in grads]
            pl_module.log("train/gradient_norm", torch.linalg.vector_norm(torch.stack(norms)))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Speed since it was logged last, validations apart."""
        step = trainer.global_step
        if step % self.every_n_steps or (self._last is not None and self._last[0] == step):
            return
        now = perf_counter()
        if self._last is not None:
            pl_module.log("train/steps_per_s", (step - self._last[0]) / (now - self._last[1]))
        self._last = (step, now)
        if pl_module.device.type == "cuda":
            pl_module.log("train/peak_memory_gb", torch.cuda.max_memory_allocated(pl_module.device) / 1e9)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Its time is not the steps'."""
        self._last = (trainer.global_step, perf_counter())


class LogAdapter(Callback):
    """Keep the parts that a stage published as artifacts of Weights & Biases, and say what they were made from.

    What other stages wrote into the published folder are inputs of this run: so stage 2 leads back to stage 1. They
    stand in the metadata of its artifacts and in the run's configuration; online, they are also linked.
    """

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the parts of this stage."""
        logger = next((one for one in trainer.loggers if isinstance(one, WandbLogger)), None)
        publish = next((one for one in callbacks_of(trainer) if isinstance(one, PublishParts)), None)
        if logger is None or publish is None or not trainer.is_global_zero:
            return
        run, folder, parts = logger.experiment, publish.folder, part_hashes(publish.folder)
        own = getattr(pl_module, "publishes", ())
        inputs = {name: digest for name, digest in parts.items() if name not in own}
        if not run.offline:  # the client looks inputs up
            for name, digest in inputs.items():
                run.use_artifact(_artifact(folder, name, {"sha256": digest}))
        made = {name: digest for name, digest in parts.items() if name in own}
        run.config.update({"made": made, "made_from": inputs}, allow_val_change=True)
        for name, digest in made.items():
            run.log_artifact(_artifact(folder, name, {"sha256": digest, "made_from": inputs}))


def _artifact(folder: Path, part: str, metadata: Mapping[str, Any]) -> Any:
    import wandb

    artifact = wandb.Artifact(f"{folder.parent.name}-{part}", "adapter", metadata=dict(metadata))
    artifact.add_dir(str(folder / part), name=part)
    return artifact


def part_hashes(folder: Path) -> dict[str, str]:
    """Part of a published folder -> hash over its weights."""
    files = {path.name: weight_files(path) for path in sorted(folder.iterdir()) if path.is_dir()}
    return {
        name: sha256("".join(file_sha256(file) for file in found).encode()).hexdigest()
        for name, found in files.items()
        if found and name[0] != "."
    }
