"""Train a small CLIP vision tower on the procedural videos; the public one needs no training."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from audio_agent_zoo.data.foley_scenes import SceneItem
from audio_agent_zoo.models.frame_encoder import FrameEncoder
from audio_agent_zoo.synthesis.scenes import VISIBLE_CLASSES
from audio_agent_zoo.training.optimization import adamw_with_warmup

_SHIFT = 5
"""Most pixels that a training clip is shifted by."""


class FrameEncoderTraining(LightningModule):
    """Class of the scene from single frames; contact and sounding from a small convolution over their vectors.

    The convolution is thrown away: it is there to make the vectors tell poses, whose course tells the onset.

    Args:
        image_size: Pixels along each side.
        patch_size: Pixels along each side of a patch.
        hidden_size: Width, and size of a frame's vector.
        layers: Transformer blocks.
        heads: Attention heads.
        learning_rate: Peak rate of AdamW.
        contact_weight: Weight of the contact term against the class.
    """

    def __init__(
        self,
        image_size: int = 64,
        patch_size: int = 16,
        hidden_size: int = 128,
        layers: int = 4,
        heads: int = 4,
        learning_rate: float = 1.5e-3,
        contact_weight: float = 4.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.encoder: FrameEncoder

    def configure_model(self) -> None:
        """Build the tower and its heads (once)."""
        if hasattr(self, "encoder"):
            return
        h = self.hparams
        clip = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=h["hidden_size"],
                intermediate_size=4 * h["hidden_size"],
                projection_dim=h["hidden_size"],
                num_hidden_layers=h["layers"],
                num_attention_heads=h["heads"],
                image_size=h["image_size"],
                patch_size=h["patch_size"],
            )
        )
        self.encoder = FrameEncoder(clip)
        clip.requires_grad_(True)
        self.class_head = nn.Linear(h["hidden_size"], len(VISIBLE_CLASSES))
        self.state_head = nn.Sequential(
            nn.Conv1d(h["hidden_size"], 128, 5, padding=2), nn.GELU(), nn.Conv1d(128, 2, 5, padding=2)
        )

    def _terms(self, batch: SceneItem) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        frames = batch["frames"]
        with torch.no_grad():
            pixels = self.encoder.pixels(frames.flatten(0, 1))
        if self.training:
            pixels = self._varied(pixels.unflatten(0, frames.shape[:2])).flatten(0, 1)
        vectors = self.encoder(pixels)
        target = torch.as_tensor(batch["class_index"]).repeat_interleave(frames.shape[1])
        logits = self.class_head(vectors).float()
        states = self.state_head(vectors.unflatten(0, frames.shape[:2]).transpose(1, 2)).float()
        contact = F.binary_cross_entropy_with_logits(states[:, 0], batch["contact"])
        sounding = F.binary_cross_entropy_with_logits(states[:, 1], batch["sounding"])
        return F.cross_entropy(logits, target), contact, sounding, (logits.argmax(1) == target).float().mean()

    def _varied(self, pixels: Tensor) -> Tensor:
        """Other light, colour and place for each clip `(clips, frames, 3, size, size)`, the same in all its frames."""
        n, device = len(pixels), pixels.device
        pixels = pixels * (1 + 0.15 * torch.randn(n, 1, 3, 1, 1, device=device))
        pixels = pixels + 0.15 * torch.randn(n, 1, 3, 1, 1, device=device)
        flipped = torch.rand(n, 1, 1, 1, 1, device=device) < 0.5
        pixels = torch.where(flipped, pixels.flip(-1), pixels)
        padded = F.pad(pixels.flatten(1, 2), (_SHIFT,) * 4, mode="replicate").unflatten(1, pixels.shape[1:3])
        corners = torch.randint(0, 2 * _SHIFT + 1, (n, 2)).tolist()
        size = pixels.shape[-1]
        return torch.stack(
            [clip[..., top : top + size, left : left + size] for clip, (top, left) in zip(padded, corners, strict=True)]
        )

    def training_step(self, batch: SceneItem, batch_idx: int) -> Tensor:
        """Class, contact and sounding of a run of frames."""
        class_loss, contact, sounding, accuracy = self._terms(batch)
        self.log_dict({"train/class": class_loss, "train/contact": contact, "train/accuracy": accuracy}, prog_bar=True)
        loss: Tensor = class_loss + self.hparams["contact_weight"] * (contact + 0.5 * sounding)
        return loss

    def validation_step(self, batch: SceneItem, batch_idx: int) -> None:
        """The same of whole videos."""
        _, contact, sounding, accuracy = self._terms(batch)
        self.log_dict({"validation/contact": contact, "validation/sounding": sounding, "validation/accuracy": accuracy})

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over tower and heads."""
        steps = int(self.trainer.estimated_stepping_batches)
        return adamw_with_warmup(
            [p for p in self.parameters() if p.requires_grad], self.hparams["learning_rate"], total_steps=steps
        )

    def publish(self, folder: Path, **kwargs: Any) -> None:
        """Write the `frame_encoder` part of a published folder."""
        self.encoder.clip.save_pretrained(folder / "frame_encoder", **kwargs)
