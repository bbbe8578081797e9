"""What a run shows of itself while it trains: norms and speed, and at validation sounds beside the truth.

Everything goes through Lightning's loggers: Weights & Biases (offline too), TensorBoard, CSV, or none.
"""

from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor
from torch.optim import Optimizer

from audio_agent_zoo.app.spectrogram import mel_decibels
from audio_agent_zoo.data.foley_features import FeatureBatch, FoleyFeaturesDataModule
from audio_agent_zoo.media import write_audio
from audio_agent_zoo.metrics.onsets import CONDFOLEY, OnsetMetric
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from audio_agent_zoo.pipelines.visual_guide import VisualGuide
from audio_agent_zoo.rates import SAMPLE_RATE
from audio_agent_zoo.training.visual_adapter_training import VisualAdapterTraining


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
        if trainer.global_step % self.every_n_steps:
            return
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if grads:
            norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(grad.float()) for grad in grads]))
            pl_module.log("train/gradient_norm", norm)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Speed since the last time it was logged."""
        if trainer.global_step % self.every_n_steps:
            return
        now = perf_counter()
        if self._last is not None and trainer.global_step > self._last[0]:
            pl_module.log("train/steps_per_s", (trainer.global_step - self._last[0]) / (now - self._last[1]))
        self._last = (trainer.global_step, now)
        if pl_module.device.type == "cuda":
            pl_module.log("train/peak_memory_gb", torch.cuda.max_memory_allocated(pl_module.device) / 1e9)


class LogSamples(Callback):
    """Every few validations of stage 2: sounds of true tokens beside what they come from, and their onset figures.

    Args:
        folder: Where sounds and pictures are written, whatever logger there is.
        n_clips: Validation clips.
        every_n_validations: How often.
        num_inference_steps: Denoising steps.
    """

    def __init__(
        self, folder: str, n_clips: int = 4, every_n_validations: int = 1, num_inference_steps: int | None = None
    ) -> None:
        self.folder, self.n_clips = Path(folder), n_clips
        self.every_n_validations, self.num_inference_steps = every_n_validations, num_inference_steps
        self._count = 0

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the sounds under the averaged weights, which are in place now."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        self._count += 1
        if (self._count - 1) % self.every_n_validations:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(pl_module, VisualAdapterTraining) or not isinstance(data, FoleyFeaturesDataModule):
            raise TypeError(f"LogSamples hears VisualAdapterTraining on features, not {type(pl_module).__name__}.")
        rows = data.validation.by_length[0][: self.n_clips]
        batch = data.validation.batch(rows.tolist(), np.random.default_rng(0))
        made, truth = self._sounds(pl_module, batch)
        metric = OnsetMetric(CONDFOLEY)
        metric.update(list(made), list(truth), SAMPLE_RATE)
        pl_module.log_dict({f"validation/{name}": float(value) for name, value in metric.compute().items()})
        self._show(trainer, batch["captions"], made, truth)

    @torch.no_grad()
    def _sounds(self, module: VisualAdapterTraining, batch: FeatureBatch) -> tuple[list[Any], list[Any]]:
        """Sounds made from tokens, and those of the true latents."""
        pipeline = TextToAudioPipeline(module.frozen[0])
        pipeline.device = module.device
        centroids = [module.quantizer.lookup(tokens.to(module.device)).cpu() for tokens in batch["tokens"]]
        guide = VisualGuide(module.adapter, centroids, module.hparams["visual_scale"], module.frozen[0].mel_rate)
        columns = batch["latents"].shape[-1] * module.frozen[0].vae_factor
        duration_s = columns / module.frozen[0].mel_rate
        captions = [caption or "sound" for caption in batch["captions"]]
        made = pipeline(captions, duration_s, num_inference_steps=self.num_inference_steps, guide=guide).audios
        mel = pipeline._decode(batch["latents"].to(module.device))
        truth: Tensor = pipeline._vocode(mel, columns)
        return list(made), list(truth.numpy())

    def _show(self, trainer: Trainer, captions: list[str], made: list[Any], truth: list[Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        step = trainer.global_step
        pictures = []
        for i, (ours, real) in enumerate(zip(made, truth, strict=True)):
            write_audio(self.folder / f"{step:06d}-{i}.wav", ours, SAMPLE_RATE)
            both = np.concatenate([mel_decibels(real, SAMPLE_RATE), mel_decibels(ours, SAMPLE_RATE)], axis=1)
            pictures.append(np.uint8(255 * (both[::-1] / 80 + 1).clip(0, 1)))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                rates = [SAMPLE_RATE] * len(made)
                logger.log_audio("validation/made", made, step=step, sample_rate=rates, caption=captions)
                logger.log_audio("validation/truth", truth, step=step, sample_rate=rates, caption=captions)
                logger.log_image("validation/truth_and_made", pictures, step=step, caption=captions)
