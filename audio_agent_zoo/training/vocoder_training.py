"""Train the HiFi-GAN vocoder: mel images back to sound, also from what the autoencoder makes of them."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from lightning import LightningModule
from torch import Tensor
from torch.optim import AdamW, Optimizer

from audio_agent_zoo.data.sources.synthesis import ClipItem
from audio_agent_zoo.models.hifigan import HifiGanConfig, HifiGanGenerator
from audio_agent_zoo.models.mel import MelConfig, from_image, log_mel, to_image
from audio_agent_zoo.models.spectrogram_discriminator import SpectrogramDiscriminators

_STFT_SIZES = ((512, 128), (1024, 256), (2048, 512))


def spectral_distance(fake: Tensor, real: Tensor) -> Tensor:
    """Mean over three resolutions of spectral convergence plus L1 of log magnitudes, for `(batch, samples)`."""
    terms = []
    for n_fft, hop in _STFT_SIZES:
        window = torch.hann_window(n_fft, device=real.device)
        a, b = (
            torch.stft(x.float(), n_fft, hop, window=window, return_complex=True).abs().clamp(min=1e-4)
            for x in (fake, real)
        )
        terms.append((a - b).norm() / b.norm().clamp(min=1e-3) + F.l1_loss(a.log(), b.log()))
    return torch.stack(terms).mean()


class VocoderTraining(LightningModule):
    """Generator with spectral losses, and after a while against spectrogram discriminators.

    Half of the inputs go through the frozen autoencoder first: the vocoder then learns to put back the
    texture that the latent space loses, which is what it meets in the pipeline.

    Args:
        hub_folder: Published folder that holds the `vae/` part.
        upsample_initial_channel: Width of the generator before its first upsampling.
        n_mels: Bands of its input.
        segment_columns: Length of a training stretch in mel columns (a multiple of 8).
        learning_rate: Peak rate of the generator; the discriminators use the same.
        decoded_share: Share of inputs that pass through the autoencoder.
        adversarial_start: Step from which the discriminators take part.
        mel_weight: Weight of the L1 distance of log-mels.
        feature_weight: Weight of feature matching.
    """

    def __init__(
        self,
        hub_folder: str = "runs/foley_mini/hub",
        upsample_initial_channel: int = 128,
        n_mels: int = 64,
        segment_columns: int = 64,
        learning_rate: float = 1e-3,
        decoded_share: float = 0.5,
        adversarial_start: int = 1600,
        mel_weight: float = 1.0,
        feature_weight: float = 2.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False  # two optimizers take turns
        self.hub_folder = hub_folder
        self.mel = MelConfig(n_mels=n_mels)
        self.config = HifiGanConfig(
            num_mels=n_mels,
            upsample_rates=(8, 5, 4),
            upsample_kernel_sizes=(16, 11, 8),
            upsample_initial_channel=upsample_initial_channel,
            resblock_kernel_sizes=(3, 7),
            resblock_dilation_sizes=((1, 3, 5), (1, 3, 5)),
        )
        self.segment_columns = segment_columns
        self.learning_rate = learning_rate
        self.decoded_share = decoded_share
        self.adversarial_start = adversarial_start
        self.mel_weight, self.feature_weight = mel_weight, feature_weight
        self.generator: HifiGanGenerator
        self.discriminators: SpectrogramDiscriminators

    def configure_model(self) -> None:
        """Build generator and discriminators, and read the frozen autoencoder (once)."""
        if hasattr(self, "generator"):
            return
        self.generator = HifiGanGenerator(self.config)
        self.discriminators = SpectrogramDiscriminators()
        # A list keeps the frozen network out of parameters and checkpoints.
        self.frozen = [AutoencoderKL.from_pretrained(self.hub_folder, subfolder="vae").eval().requires_grad_(False)]

    def _segment(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """A random stretch of every clip and its log-mel, some of them decoded from latents."""
        columns, hop = self.segment_columns, self.mel.hop_length
        mel = log_mel(audio, self.mel)
        start = int(torch.randint(0, (mel.shape[-1] - columns) // 8 + 1, ()).item()) * 8
        mel = mel[..., start : start + columns]
        decoded = round(self.decoded_share * len(mel))
        if decoded:
            vae = self.frozen[0].to(mel.device)
            latent = vae.encode(to_image(mel[:decoded], self.mel)).latent_dist.mode()
            mel = torch.cat([from_image(vae.decode(latent).sample, self.mel), mel[decoded:]])
        return audio[:, start * hop : (start + columns) * hop], mel

    def _generator_loss(self, fake: Tensor, real: Tensor, adversarial: bool) -> Tensor:
        mel_error = F.l1_loss(log_mel(fake, self.mel), log_mel(real, self.mel))
        spectral = spectral_distance(fake, real)
        self.log_dict({"train/mel": mel_error, "train/spectral": spectral}, prog_bar=True)
        loss = self.mel_weight * mel_error + spectral
        if adversarial:
            with torch.no_grad():
                real_maps = [maps for _, maps in self.discriminators(real)]
            judged = self.discriminators(fake)
            fooled = torch.stack([(1 - score).square().mean() for score, _ in judged]).mean()
            matching = torch.stack(
                [
                    F.l1_loss(a, b)
                    for (_, maps), wanted in zip(judged, real_maps, strict=True)
                    for a, b in zip(maps, wanted, strict=True)
                ]
            ).mean()
            self.log_dict({"train/fooled": fooled, "train/matching": matching}, prog_bar=True)
            loss = loss + fooled + self.feature_weight * matching
        return loss

    def training_step(self, batch: ClipItem, batch_idx: int) -> None:
        """One step of the discriminators (once they take part), then one of the generator."""
        with torch.no_grad():
            real, mel = self._segment(batch["audio"])
        adversarial = self.global_step >= self.adversarial_start
        generator_optimizer, discriminator_optimizer = self._rated_optimizers()
        fake = self.generator(mel).float()
        if adversarial:
            judged = zip(self.discriminators(real), self.discriminators(fake.detach()), strict=True)
            loss = torch.stack([(1 - r).square().mean() + f.square().mean() for (r, _), (f, _) in judged]).mean()
            discriminator_optimizer.zero_grad()
            self.manual_backward(loss)
            discriminator_optimizer.step()
            self.log("train/discriminator", loss, prog_bar=True)
        loss = self._generator_loss(fake, real, adversarial)
        wrapped = self.optimizers()
        generator_optimizer.zero_grad()
        self.manual_backward(loss)
        torch.nn.utils.clip_grad_norm_(self.generator.parameters(), 5.0)
        wrapped[0].step()  # type: ignore[index]  # only this one counts as a global step

    def _rated_optimizers(self) -> tuple[Optimizer, Optimizer]:
        """The plain optimizers at the rate of this step: warm-up, then linear to a tenth."""
        total = max(1, self.trainer.max_steps)
        share = min(1.0, (self.global_step + 1) / 100) * (1 - 0.9 * min(1.0, self.global_step / total))
        plain = [wrapped.optimizer for wrapped in self.optimizers()]  # type: ignore[union-attr]
        for optimizer in plain:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * share
        return plain[0], plain[1]

    def validation_step(self, batch: ClipItem, batch_idx: int) -> None:
        """Log distances on whole clips, from true mels and from decoded ones."""
        audio = batch["audio"]
        mel = log_mel(audio, self.mel)
        self.log("validation/mel", F.l1_loss(log_mel(self.generator(mel).float(), self.mel), mel), prog_bar=True)
        self.log("validation/spectral", spectral_distance(self.generator(mel).float(), audio), prog_bar=True)
        vae = self.frozen[0].to(mel.device)
        decoded = from_image(vae.decode(vae.encode(to_image(mel, self.mel)).latent_dist.mode()).sample, self.mel)
        self.log("validation/decoded_spectral", spectral_distance(self.generator(decoded).float(), audio))

    def configure_optimizers(self) -> list[AdamW]:
        """AdamW for the generator and for the discriminators."""
        return [
            AdamW(part.parameters(), lr=self.learning_rate, betas=(0.8, 0.99), weight_decay=0.01)
            for part in (self.generator, self.discriminators)
        ]

    def publish(self, folder: Path, **kwargs: Any) -> None:
        """Write the `vocoder` part of a published folder."""
        self.generator.save_pretrained(folder / "vocoder", **kwargs)
