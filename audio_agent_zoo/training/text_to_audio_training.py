"""Train a text-to-audio base from nothing: text encoder, condition adapter and UNet on frozen latents."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from audio_agent_zoo.data.caption_tokenizer import train_caption_tokenizer
from audio_agent_zoo.data.foley_latents import FoleyLatentsDataModule, LatentBatch
from audio_agent_zoo.models.text_conditioning import ConditionAdapter, TextConditioning, TextEncoder
from audio_agent_zoo.training.averaged_training import AveragedTraining
from audio_agent_zoo.training.optimization import adamw_with_warmup

NOISE_SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
}
"""Stable Diffusion's noise with velocity targets, which keep the loudness of silence right."""


class TextToAudioTraining(AveragedTraining):
    """Velocity prediction on latents under captions, a tenth of them dropped for guidance.

    Args:
        block_out_channels: UNet widths from fine to coarse; all but the finest level attend.
        layers_per_block: Residual blocks per level.
        attention_heads: Heads of every attention layer.
        cross_attention_dim: Width of the text condition.
        text_layers: Layers of the text encoder.
        vocabulary_size: Most entries of the tokenizer, learned from the training captions.
        max_tokens: Tokens a caption is padded or cut to.
        learning_rate: Peak rate of AdamW.
        caption_dropout: Share of captions replaced by the empty condition.
        ema_decay: Decay of the averaged weights, which are what is published.
    """

    def __init__(
        self,
        block_out_channels: tuple[int, ...] = (64, 128, 128),
        layers_per_block: int = 1,
        attention_heads: int = 4,
        cross_attention_dim: int = 128,
        text_layers: int = 3,
        vocabulary_size: int = 1600,
        max_tokens: int = 32,
        learning_rate: float = 5e-4,
        caption_dropout: float = 0.1,
        ema_decay: float = 0.998,
    ) -> None:
        super().__init__(ema_decay)
        self.save_hyperparameters()
        self.tokenizer: CLIPTokenizer
        self.unet: UNet2DConditionModel
        self.conditioning: TextConditioning
        self.noise = DDPMScheduler(**NOISE_SCHEDULE)

    def setup(self, stage: str) -> None:
        """Learn the tokenizer from the training captions; the same data always give the same one."""
        if hasattr(self, "tokenizer"):
            return
        source = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(source, FoleyLatentsDataModule):
            raise TypeError(f"TextToAudioTraining reads FoleyLatentsDataModule, not {type(source).__name__}.")
        self.tokenizer = train_caption_tokenizer(
            source.training_captions(), self.hparams["vocabulary_size"], self.hparams["max_tokens"]
        )

    def configure_model(self) -> None:
        """Build text encoder, adapter and UNet (once)."""
        if hasattr(self, "unet"):
            return
        h = self.hparams
        width = h["cross_attention_dim"]
        encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(self.tokenizer),
                hidden_size=width,
                intermediate_size=4 * width,
                projection_dim=width,
                num_hidden_layers=h["text_layers"],
                num_attention_heads=4,
                max_position_embeddings=h["max_tokens"],
                bos_token_id=self.tokenizer.bos_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
                pad_token_id=self.tokenizer.eos_token_id,
            )
        )
        adapter = ConditionAdapter(width, width)
        self.conditioning = TextConditioning([TextEncoder(self.tokenizer, encoder, h["max_tokens"], adapter)])
        coarse = len(h["block_out_channels"]) - 1
        self.unet = UNet2DConditionModel(
            sample_size=None,
            in_channels=4,
            out_channels=4,
            block_out_channels=tuple(h["block_out_channels"]),
            layers_per_block=h["layers_per_block"],
            down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * coarse,
            up_block_types=("CrossAttnUpBlock2D",) * coarse + ("UpBlock2D",),
            attention_head_dim=h["attention_heads"],  # diffusers' name for the number of heads here
            cross_attention_dim=width,
            norm_num_groups=16,
        )
        self.start_average()

    def trained(self) -> dict[str, nn.Parameter]:
        """UNet, text encoder and adapter."""
        parts = {"unet": self.unet, "conditioning": self.conditioning}
        return {f"{part}.{name}": p for part, module in parts.items() for name, p in module.named_parameters()}

    def _loss(self, batch: LatentBatch, generator: torch.Generator | None = None) -> Tensor:
        latents = batch["latents"]
        device = latents.device
        size = len(latents)
        noise = torch.randn(latents.shape, generator=generator).to(device)
        steps = torch.randint(0, NOISE_SCHEDULE["num_train_timesteps"], (size,), generator=generator).to(device)
        condition = self.conditioning(batch["captions"])
        if self.training:
            kept = torch.rand(size, 1, 1, device=device) >= self.hparams["caption_dropout"]
            condition = torch.where(kept, condition, self.conditioning.unconditional(condition))
        noisy = self.noise.add_noise(latents, noise, steps)
        target = self.noise.get_velocity(latents, noise, steps)
        predicted = self.unet(noisy, steps, condition).sample
        return F.mse_loss(predicted.float(), target.float())

    def training_step(self, batch: LatentBatch, batch_idx: int) -> Tensor:
        """Velocity loss at random noise levels."""
        loss = self._loss(batch)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["latents"]))
        return loss

    def validation_step(self, batch: LatentBatch, batch_idx: int) -> None:
        """The same loss under the averaged weights, with fixed noise."""
        loss = self._loss(batch, torch.Generator().manual_seed(batch_idx))
        self.log("validation/loss", loss, prog_bar=True, batch_size=len(batch["latents"]))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over UNet, text encoder and adapter."""
        total = int(self.trainer.estimated_stepping_batches)
        return adamw_with_warmup(
            self.optimized().values(), self.hparams["learning_rate"], total_steps=total, warmup_steps=200
        )

    def publish(self, folder: Path, **kwargs: Any) -> None:
        """Write `unet`, `scheduler`, `text_encoder_0`, `condition_adapter_0` and the list of conditions."""
        self.unet.save_pretrained(folder / "unet", **kwargs)
        self.conditioning.save_pretrained(folder)
        scheduler = DPMSolverMultistepScheduler(
            **NOISE_SCHEDULE, algorithm_type="dpmsolver++", timestep_spacing="trailing"
        )
        scheduler.save_pretrained(folder / "scheduler")
