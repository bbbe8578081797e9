"""Train the judge on real procedural clips."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from audio_agent_zoo.data.sources.synthesis import ClipItem
from audio_agent_zoo.models.foley_classifier import FoleyClassifier
from audio_agent_zoo.synthesis.catalogue import CLASS_NAMES
from audio_agent_zoo.training.optimization import adamw_with_warmup


class ClassifierTraining(LightningModule):
    """Cross-entropy over the classes of the Foley world, on clips of varied length.

    Args:
        learning_rate: Peak rate of AdamW.
        shortest_share: Training clips are cut to a random length down to this share of their own.
    """

    def __init__(self, learning_rate: float = 2e-3, shortest_share: float = 0.5) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.learning_rate = learning_rate
        self.shortest_share = shortest_share
        self.classifier: FoleyClassifier

    def configure_model(self) -> None:
        """Build the network (once; Lightning calls this again before validation)."""
        if not hasattr(self, "classifier"):
            self.classifier = FoleyClassifier(class_names=CLASS_NAMES)

    def training_step(self, batch: ClipItem, batch_idx: int) -> Tensor:
        """Loss on clips that start at the same instant and end at a random one."""
        audio, target = batch["audio"], torch.as_tensor(batch["class_index"])
        share = self.shortest_share + (1 - self.shortest_share) * torch.rand(()).item()
        logits = self.classifier(audio[:, : int(audio.shape[1] * share)])
        loss = F.cross_entropy(logits.float(), target, label_smoothing=0.05)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: ClipItem, batch_idx: int) -> None:
        """Log how many whole clips are named right."""
        right = self.classifier(batch["audio"]).argmax(1) == torch.as_tensor(batch["class_index"])
        self.log("validation/accuracy", right.float().mean(), prog_bar=True, batch_size=len(right))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over the whole network."""
        steps = int(self.trainer.estimated_stepping_batches)
        return adamw_with_warmup(self.classifier.parameters(), self.learning_rate, total_steps=steps)

    def publish(self, folder: Path, **kwargs: Any) -> None:
        """Write the `classifier` part of a published folder."""
        self.classifier.save_pretrained(folder / "classifier", **kwargs)
