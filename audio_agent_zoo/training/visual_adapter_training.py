"""Stage 2: the visual adapter learns to place sound by semantic tokens, in a frozen UNet."""

from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from audio_agent_zoo.data.feature_identity import check_weights
from audio_agent_zoo.data.foley_features import FeatureBatch, FoleyFeaturesDataModule
from audio_agent_zoo.hub import HUBERT, SEMANTIC_QUANTIZER, VISUAL_ADAPTER, resolve
from audio_agent_zoo.models.semantic_quantizer import SemanticQuantizer
from audio_agent_zoo.models.visual_adapter import Positions, VisualAdapter
from audio_agent_zoo.pipelines.text_to_audio_parts import TextToAudioParts
from audio_agent_zoo.training.averaged_training import AveragedTraining
from audio_agent_zoo.training.optimization import adamw_with_warmup
from audio_agent_zoo.training.row_noise import RowNoise
from audio_agent_zoo.training.sharding import shard


class VisualAdapterTraining(AveragedTraining):
    """Diffusion loss of a frozen text-to-audio base that also reads the centroids of the true sound.

    Args:
        base: Text-to-audio base: a folder or repository.
        revision: Revision of a repository.
        hub_folder: Published folder with the quantizer.
        start: Published folder whose adapter this training goes on from; None starts from the base's own attention.
        positions: How centroids tell their time; see `VisualAdapter`.
        visual_scale: The paper's lambda, the same in training as later.
        caption_dropout: Share of captions left out, for guidance.
        video_dropout: Share of videos left out.
        both_dropout: Share of both left out.
        min_snr_gamma: Weigh noise levels by min-SNR with this gamma; None for none.
        learning_rate: Peak rate of AdamW.
        warmup_steps: Steps of linear warm-up.
        ema_decay: Decay of the averaged weights, which are what is published.
        checkpoint_activations: Trade a third more computation for the memory of activations.
        compile_unet: Compile the UNet; takes minutes at the start and pays on long runs.

    Source: Audio-Agent, section 3.5, eq. (2)-(3).
    """

    publishes = (VISUAL_ADAPTER,)

    def __init__(
        self,
        base: str = "auffusion/auffusion-full-no-adapter",
        revision: str | None = None,
        hub_folder: str = "foley-mini",
        start: str | None = None,
        positions: Positions = "sinusoidal",
        visual_scale: float = 0.5,
        caption_dropout: float = 0.1,
        video_dropout: float = 0.05,
        both_dropout: float = 0.05,
        min_snr_gamma: float | None = None,
        learning_rate: float = 1e-4,
        warmup_steps: int = 100,
        ema_decay: float = 0.999,
        checkpoint_activations: bool = False,
        compile_unet: bool = False,
    ) -> None:
        super().__init__(ema_decay)
        self.save_hyperparameters()
        self.adapter: VisualAdapter
        # Held in a list, so that Lightning neither moves nor saves the frozen base as a part of this module's weights.
        self.frozen: list[TextToAudioParts] = []

    def configure_model(self) -> None:
        """Load the frozen base and build the adapter (once)."""
        if hasattr(self, "adapter"):
            return
        h = self.hparams
        base, hub = resolve(h["base"], revision=h["revision"]), resolve(h["hub_folder"], parts=("*",))
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, FoleyFeaturesDataModule):
            check_weights(data, base, ("vae",))
            check_weights(data, hub, (HUBERT, SEMANTIC_QUANTIZER))
        parts = TextToAudioParts.load(base, str(h["base"]))
        self.frozen.append(parts)
        self.unet, self.conditioning = parts.unet.requires_grad_(False), parts.conditioning.requires_grad_(False)
        if h["checkpoint_activations"]:
            self.unet.enable_gradient_checkpointing()
        self.quantizer = SemanticQuantizer.from_pretrained(hub, subfolder=SEMANTIC_QUANTIZER)
        if h["start"] is None:
            self.adapter = VisualAdapter.for_unet(self.unet, self.quantizer.centroids, positions=h["positions"])
        else:
            start = resolve(h["start"], parts=("*",))
            self.adapter = VisualAdapter.from_pretrained(start, subfolder=VISUAL_ADAPTER)
        self.adapter.attach(self.unet)
        shard(self, [*self.adapter.to_k_ip, *self.adapter.to_v_ip, self.adapter.image_proj, self.unet])
        if h["compile_unet"]:
            self.unet.compile()
        self.noise = DDPMScheduler.from_config(parts.scheduler.config)
        self.start_average()

    def trained(self) -> dict[str, nn.Parameter]:
        """The adapter."""
        return {f"adapter.{name}": parameter for name, parameter in self.adapter.named_parameters()}

    def _loss(self, batch: FeatureBatch, *, training: bool) -> Tensor:
        h, latents = self.hparams, batch["latents"]
        device, draw = latents.device, RowNoise(batch["row_seeds"], latents.device)
        noise = draw.normal(*latents.shape[1:])
        steps = draw.integers(self.noise.config.num_train_timesteps)
        with torch.no_grad():
            text = self.conditioning(batch["captions"]).to(device)
            empty = self.conditioning.unconditional(text)
        chance = draw.uniform()
        both, words, video = h["both_dropout"], h["caption_dropout"], h["video_dropout"]
        no_text = chance < both + words
        no_video = (chance < both) | ((chance >= both + words) & (chance < both + words + video))
        if not training:
            no_text, no_video = torch.zeros_like(no_text), torch.zeros_like(no_video)
        text = torch.where(no_text.view(-1, 1, 1), empty, text)
        factor = self.frozen[0].vae_factor
        visual = self.adapter.condition(
            self.quantizer.lookup(batch["tokens"]),
            scale=h["visual_scale"],
            dropped=no_video,
            window_s=latents.shape[-1] * factor / self.frozen[0].mel_rate,
            aspect=latents.shape[-1] / latents.shape[-2],
        )
        noisy = self.noise.add_noise(latents, noise, steps)
        velocity = self.noise.config.prediction_type == "v_prediction"
        target = self.noise.get_velocity(latents, noise, steps) if velocity else noise
        predicted = self.unet(noisy, steps, text, cross_attention_kwargs={"visual": visual}).sample
        error = (predicted.float() - target.float()).square().mean((1, 2, 3))
        if h["min_snr_gamma"] is not None:
            snr = compute_snr(self.noise, steps)
            error = error * snr.clamp(max=h["min_snr_gamma"]) / (snr + 1 if velocity else snr)
        loss: Tensor = error.mean()
        return loss

    def training_step(self, batch: FeatureBatch, batch_idx: int) -> Tensor:
        """Diffusion loss at random noise levels."""
        loss = self._loss(batch, training=True)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["latents"]), sync_dist=True)
        return loss

    def validation_step(self, batch: FeatureBatch, batch_idx: int) -> None:
        """The same under the averaged weights, with fixed noise."""
        loss = self._loss(batch, training=False)
        self.log("validation/loss", loss, prog_bar=True, batch_size=len(batch["latents"]), sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over the adapter, nothing else."""
        return adamw_with_warmup(
            self.optimized().values(),
            self.hparams["learning_rate"],
            total_steps=int(self.trainer.estimated_stepping_batches),
            warmup_steps=self.hparams["warmup_steps"],
        )

    def publish(self, folder: Path, **kwargs: Any) -> None:
        """Write the `visual_adapter` part of a published folder, and a quantizer that nobody else could load."""
        self.adapter.save_pretrained(folder / VISUAL_ADAPTER, **kwargs)
        if Path(self.hparams["hub_folder"]).is_dir():
            self.quantizer.save_pretrained(folder / SEMANTIC_QUANTIZER, **kwargs)
