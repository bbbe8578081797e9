"""Train the autoencoder between mel images and the latent space of the text-to-audio base."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from audio_agent_zoo.data.sources.synthesis import ClipItem
from audio_agent_zoo.models.mel import MelConfig, log_mel, to_image
from audio_agent_zoo.training.optimization import adamw_with_warmup


def _slopes(image: Tensor) -> tuple[Tensor, Tensor]:
    return image.diff(dim=-1), image.diff(dim=-2)


class AutoencoderTraining(LightningModule):
    """`AutoencoderKL` on random stretches of mel images: L1 on values and on slopes, and a light KL term.

    The slopes keep onsets and partials sharp, which a plain L1 would trade for smooth areas.

    Args:
        block_out_channels: Widths from the image to the latent; each but the last halves both axes.
        latent_channels: Channels of the latent.
        layers_per_block: Residual blocks per level.
        n_mels: Bands of the mel image.
        columns: Width of a training stretch in mel columns.
        learning_rate: Peak rate of AdamW.
        slope_weight: Weight of the slope term.
        kl_weight: Weight of the mean KL divergence per latent value.
    """

    def __init__(
        self,
        block_out_channels: tuple[int, ...] = (16, 32, 64, 64),
        latent_channels: int = 4,
        layers_per_block: int = 1,
        n_mels: int = 64,
        columns: int = 128,
        learning_rate: float = 1e-3,
        slope_weight: float = 0.5,
        kl_weight: float = 1e-4,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.mel = MelConfig(n_mels=n_mels)
        self.columns = columns
        self.learning_rate = learning_rate
        self.slope_weight = slope_weight
        self.kl_weight = kl_weight
        self.architecture: dict[str, Any] = {
            "block_out_channels": tuple(block_out_channels),
            "latent_channels": latent_channels,
            "layers_per_block": layers_per_block,
        }
        self.register_buffer("latent_std", torch.tensor(1.0))
        self.latent_std: Tensor
        self.vae: AutoencoderKL

    def configure_model(self) -> None:
        """Build the autoencoder (once)."""
        if hasattr(self, "vae"):
            return
        levels = len(self.architecture["block_out_channels"])
        self.vae = AutoencoderKL(
            in_channels=3,
            out_channels=3,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            norm_num_groups=8,
            sample_size=self.mel.n_mels,
            mid_block_add_attention=False,
            **self.architecture,
        )

    def images(self, audio: Tensor) -> Tensor:
        """Mel images `(batch, 3, n_mels, columns)` of clips `(batch, samples)`."""
        with torch.no_grad():
            return to_image(log_mel(audio, self.mel), self.mel)

    def _losses(self, image: Tensor, *, sample: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        posterior = self.vae.encode(image).latent_dist
        latent = posterior.sample() if sample else posterior.mode()
        decoded = self.vae.decode(latent).sample
        value = F.l1_loss(decoded.float(), image)
        slope = torch.stack(
            [F.l1_loss(a, b) for a, b in zip(_slopes(decoded.float()), _slopes(image), strict=True)]
        ).mean()
        return value, slope, posterior.kl().mean() / latent[0].numel(), latent

    def training_step(self, batch: ClipItem, batch_idx: int) -> Tensor:
        """Reconstruct a random stretch of every clip."""
        image = self.images(batch["audio"])
        start = int(torch.randint(0, image.shape[-1] - self.columns + 1, ()).item())
        value, slope, kl, latent = self._losses(image[..., start : start + self.columns], sample=True)
        with torch.no_grad():
            self.latent_std.lerp_(latent.float().std(), 0.02)
        self.log_dict({"train/l1": value, "train/slope": slope, "train/kl": kl}, prog_bar=True)
        return value + self.slope_weight * slope + self.kl_weight * kl

    def validation_step(self, batch: ClipItem, batch_idx: int) -> None:
        """Log the reconstruction error of whole clips."""
        value, slope, kl, _ = self._losses(self.images(batch["audio"]), sample=False)
        self.log_dict({"validation/l1": value, "validation/slope": slope, "validation/kl": kl}, prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over the autoencoder."""
        steps = int(self.trainer.estimated_stepping_batches)
        return adamw_with_warmup(self.vae.parameters(), self.learning_rate, total_steps=steps)

    def publish(self, folder: Path, **kwargs: Any) -> None:
        """Write the `vae` part of a published folder, its scaling factor bringing latents to unit variance."""
        self.vae.register_to_config(scaling_factor=round(1 / float(self.latent_std), 5))
        self.vae.save_pretrained(folder / "vae", **kwargs)
