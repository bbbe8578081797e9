"""Train the audio-text judge on real procedural clips and their captions."""

from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from audio_agent_zoo.data.caption_tokenizer import train_caption_tokenizer
from audio_agent_zoo.data.foley_captions import CaptionBatch, FoleyCaptionsDataModule
from audio_agent_zoo.hub import AUDIO_TEXT
from audio_agent_zoo.models.audio_text import AudioTextModel
from audio_agent_zoo.training.optimization import adamw_with_warmup


class AudioTextTraining(LightningModule):
    """Contrastive loss between sounds and captions, on clips of varied length.

    Args:
        learning_rate: Peak rate of AdamW.
        vocabulary_size: Most words of the tokenizer, which is learned first.
        shortest_share: Training clips are cut at a random place down to this share of their own length.
    """

    def __init__(self, learning_rate: float = 1e-3, vocabulary_size: int = 1024, shortest_share: float = 0.75) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.model: AudioTextModel

    def configure_model(self) -> None:
        """Learn the tokenizer and build the model (once)."""
        if hasattr(self, "model"):
            return
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, FoleyCaptionsDataModule):
            raise TypeError(f"AudioTextTraining reads FoleyCaptionsDataModule, not {type(data).__name__}.")
        tokenizer = train_caption_tokenizer(data.training_captions(), self.hparams["vocabulary_size"], 64)
        self.model = AudioTextModel(vocabulary_size=len(tokenizer))
        self.model.tokenizer = tokenizer

    def training_step(self, batch: CaptionBatch, batch_idx: int) -> Tensor:
        """Loss on clips that start at the same instant; a pair keeps both of its sounds."""
        audio = batch["audio"]
        if batch_idx % 4 == 0:
            share = self.hparams["shortest_share"] + (1 - self.hparams["shortest_share"]) * torch.rand(()).item()
            audio = audio[:, : int(audio.shape[1] * share)]
        loss, accuracy = self.model.loss(audio, batch["captions"])
        self.log_dict({"train/loss": loss, "train/accuracy": accuracy}, prog_bar=True, batch_size=len(audio))
        return loss

    def validation_step(self, batch: CaptionBatch, batch_idx: int) -> None:
        """Loss, and how often a sound's nearest caption of 38 is its own; for single sounds and for pairs."""
        loss, accuracy = self.model.loss(batch["audio"], batch["captions"])
        kind = "pairs" if batch_idx % 2 else "singles"
        self.log("validation/loss", loss, prog_bar=True, batch_size=len(batch["audio"]))
        self.log(f"validation/{kind}", accuracy, prog_bar=True, batch_size=len(batch["audio"]))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over the whole model."""
        steps = int(self.trainer.estimated_stepping_batches)
        return adamw_with_warmup(self.model.parameters(), self.hparams["learning_rate"], total_steps=steps)

    def publish(self, folder: Path, **kwargs: Any) -> None:
        """Write the `audio_text` part of a published folder."""
        self.model.save_pretrained(folder / AUDIO_TEXT, **kwargs)
