"""Notice when a training learns its clips by heart, and say so once."""

from itertools import pairwise
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

TRAIN, VALIDATION = "train/loss", "validation/loss"


class WarnOfOverfitting(Callback):
    """Warn where the validation loss rises at several validations in a row while the training loss falls.

    Args:
        patience: Validations in a row.
        least_rise: How much of itself the validation loss must have risen.
    """

    def __init__(self, patience: int = 3, least_rise: float = 0.02) -> None:
        self.patience, self.least_rise = patience, least_rise
        self._history: list[tuple[int, float, float]] = []  # step, training loss since the last one, validation loss
        self._sum: float | torch.Tensor = 0.0
        self._n, self._warned = 0, False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add up the training loss."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, torch.Tensor):
            # Added up where it is, for reading it would make a GPU wait; Lightning divides what is accumulated.
            self._sum, self._n = self._sum + loss.detach() * trainer.accumulate_grad_batches, self._n + 1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare with the validations before."""
        now = trainer.callback_metrics.get(VALIDATION)
        if trainer.sanity_checking or now is None or not self._n:
            return
        self._history.append((trainer.global_step, float(self._sum) / self._n, float(now)))
        self._history, self._sum, self._n = self._history[-self.patience - 1 :], 0.0, 0
        if not self._warned and self._is_overfitting():
            self._warned = True
            rank_zero_warn(self._text())

    def _is_overfitting(self) -> bool:
        if len(self._history) <= self.patience:
            return False
        losses = [validation for _, _, validation in self._history]
        rises = all(before < after for before, after in pairwise(losses))
        return rises and losses[-1] > (1 + self.least_rise) * losses[0] and self._history[-1][1] < self._history[0][1]

    def _text(self) -> str:
        (first, train_then, then), (last, train_now, now) = self._history[0], self._history[-1]
        return (
            f"{VALIDATION} rose at {self.patience} validations in a row, from {then:.4g} at step {first} to {now:.4g} "
            f"at step {last}, while {TRAIN} fell from {train_then:.4g} to {train_now:.4g}: the training learns its "
            "clips by heart. The best checkpoint is kept. Stop here, or give it more clips, fewer steps "
            "(--trainer.max_steps) or a lower --model.init_args.learning_rate."
        )

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on needs."""
        return {"history": self._history, "sum": float(self._sum), "n": self._n, "warned": self._warned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it up again."""
        self._history = [tuple(one) for one in state_dict["history"]]
        self._sum, self._n, self._warned = state_dict["sum"], state_dict["n"], state_dict["warned"]
