"""What a run folder holds of an earlier run of the same command, and whether this one may go on from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from audio_agent_zoo.errors import AudioAgentError
from audio_agent_zoo.training.resume_checkpoint import LAST

_FREE = {"path", "num_workers"}
"""Settings that may differ: where features lie is nobody's business, as long as they are the same ones."""


@dataclass(frozen=True)
class EarlierRun:
    """The last checkpoint of a run folder.

    Attributes:
        path: The checkpoint.
        global_step: Steps taken.
        stopped_early: Whether early stopping ended it.
        settings: "model" and "data" -> their arguments.
    """

    path: Path
    global_step: int
    stopped_early: bool
    settings: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, folder: Path) -> "EarlierRun | None":
        """Read the last checkpoint of a folder; None where there is none.

        Raises:
            AudioAgentError: If it can't be read.
        """
        return cls.read(folder / LAST) if (folder / LAST).is_file() else None

    @classmethod
    def read(cls, path: Path) -> "EarlierRun":
        """Read a checkpoint; nothing in it is run, whoever wrote it.

        Raises:
            AudioAgentError: If it can't be read, or holds more than tensors and plain values.
        """
        try:
            kept = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            return cls(
                path,
                int(kept["global_step"]),
                any(_has_run_out(name, state) for name, state in kept.get("callbacks", {}).items()),
                {"model": kept.get("hyper_parameters", {}), "data": kept.get("datamodule_hyper_parameters", {})},
            )
        except Exception as error:  # whatever a damaged archive makes torch raise
            raise AudioAgentError(
                f"{path} can't be read as tensors and plain values ({type(error).__name__}); nothing else of it was "
                "opened. Start anew with --fresh, or name a checkpoint that audio-agent fit wrote with --ckpt_path."
            ) from error

    def ended(self, max_steps: int) -> str:
        """Why there is nothing left to do; "" where there is."""
        if 0 < max_steps <= self.global_step:
            return f"max_steps is {max_steps}"
        return "early stopping ended it" if self.stopped_early else ""

    def check(self, model: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """Compare its settings with those of the command.

        Raises:
            AudioAgentError: If any differs.
        """
        wrong = [
            f"{part}.init_args.{name} was {old[name]!r}, now it is {now[name]!r}"
            for part, old, now in (("model", self.settings["model"], model), ("data", self.settings["data"], data))
            for name in sorted(old.keys() & now.keys())
            if not name.startswith("_") and name not in _FREE and _plain(old[name]) != _plain(now[name])
        ]
        if wrong:
            raise AudioAgentError(
                f"{self.path} is of another training: {'; '.join(wrong)}. Start anew with --fresh, choose another run "
                f"folder, or go on all the same with --ckpt_path {self.path}."
            )


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _has_run_out(name: str, state: Any) -> bool:
    return name.startswith("EarlyStopping") and state["wait_count"] >= state["patience"]


def run_folder(trainer: Trainer) -> Path:
    """Where a recipe keeps its checkpoints, else where its trainer writes."""
    folders = [one.dirpath for one in trainer.checkpoint_callbacks if isinstance(one, ModelCheckpoint) and one.dirpath]
    return Path(folders[0] if folders else trainer.default_root_dir)


def set_aside(folder: Path) -> Path | None:
    """Move the checkpoints of an earlier run into a folder of their own; returns it, or None where there are none."""
    found = sorted(folder.glob("*.ckpt"))
    if not found:
        return None
    number = 1
    while (target := folder / f"earlier-{number}").exists():
        number += 1
    target.mkdir()
    for path in found:
        path.replace(target / path.name)
    return target
