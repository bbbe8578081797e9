"""What a stage makes of some validation clips, beside the truth: sounds, spectrograms, tokens, figures, a table."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from numpy.typing import NDArray
from torch import Tensor

from audio_agent_zoo.app.spectrogram import FLOOR_DB, mel_decibels
from audio_agent_zoo.data.foley_features import FeatureBatch, FoleyFeaturesDataModule
from audio_agent_zoo.media import atomic_path, write_audio
from audio_agent_zoo.metrics.onsets import CONDFOLEY, OnsetMetric, detect_onsets, score_clip
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from audio_agent_zoo.pipelines.visual_guide import VisualGuide
from audio_agent_zoo.rates import SAMPLE_RATE
from audio_agent_zoo.training.semantic_token_training import SemanticTokenTraining
from audio_agent_zoo.training.visual_adapter_training import VisualAdapterTraining

_GAP = 4  # columns of white between two spectrograms

Row = dict[str, Any]


class LogSamples(Callback):
    """At validations, under the averaged weights: of stage 1 tokens, of stage 2 sounds, each beside the truth.

    Sounds of stage 2 are made from true tokens. Other stages have nothing to show.

    Args:
        folder: Where tables, sounds and pictures are written, whatever logger there is.
        n_clips: Validation clips.
        every_n_validations: How often.
        num_inference_steps: Denoising steps; the base's own when None.
    """

    def __init__(
        self, folder: str, n_clips: int = 4, every_n_validations: int = 1, num_inference_steps: int | None = None
    ) -> None:
        self.folder, self.n_clips = Path(folder), n_clips
        self.every_n_validations, self.num_inference_steps = every_n_validations, num_inference_steps
        self._count = 0

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make and log them; the averaged weights are in place now."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        shown = isinstance(pl_module, SemanticTokenTraining | VisualAdapterTraining)
        if trainer.sanity_checking or not shown or not isinstance(data, FoleyFeaturesDataModule):
            return
        self._count += 1
        # Weights spread over processes can't be run by one of them.
        if (self._count - 1) % self.every_n_validations or not trainer.is_global_zero or pl_module.device_mesh:
            return
        rows = data.validation.by_length[0][: self.n_clips]
        batch = data.validation.batch(rows.tolist(), np.random.default_rng(0))
        self.folder.mkdir(parents=True, exist_ok=True)
        if isinstance(pl_module, VisualAdapterTraining):
            table = self._heard(trainer, pl_module, batch)
        elif isinstance(pl_module, SemanticTokenTraining):
            table = _written(pl_module, batch)
        self._keep(trainer, table)

    def _heard(self, trainer: Trainer, module: VisualAdapterTraining, batch: FeatureBatch) -> list[Row]:
        made, truth = self._sounds(module, batch)
        onsets = [[detect_onsets(one, SAMPLE_RATE, CONDFOLEY) for one in side] for side in (truth, made)]
        metric = OnsetMetric(CONDFOLEY)
        metric.update(onsets[1], onsets[0])
        figures = {f"validation/{name}": float(value) for name, value in metric.compute().items()}
        module.log_dict(figures, rank_zero_only=True)
        scores = [score_clip(true, ours, CONDFOLEY) for true, ours in zip(*onsets, strict=True)]
        self._show(trainer, batch["captions"], made, truth)
        return [
            {
                "caption": caption,
                "onsets": len(true.times_s),
                "onsets made": len(ours.times_s),
                "average precision": score.average_precision,
                "f1": score.f1,
            }
            for caption, true, ours, score in zip(batch["captions"], *onsets, scores, strict=True)
        ]

    @torch.no_grad()
    def _sounds(
        self, module: VisualAdapterTraining, batch: FeatureBatch
    ) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
        """Sounds made from tokens, and those of the true latents."""
        pipeline = TextToAudioPipeline(module.frozen[0])
        pipeline.device = module.device
        centroids = [module.quantizer.lookup(tokens.to(module.device)).cpu() for tokens in batch["tokens"]]
        guide = VisualGuide(module.adapter, centroids, module.hparams["visual_scale"], module.frozen[0].mel_rate)
        columns = batch["latents"].shape[-1] * module.frozen[0].vae_factor
        captions = [caption or "sound" for caption in batch["captions"]]
        duration_s = columns / module.frozen[0].mel_rate
        made = pipeline(captions, duration_s, num_inference_steps=self.num_inference_steps, guide=guide).audios
        truth: Tensor = pipeline._vocode(pipeline._decode(batch["latents"].to(module.device)), columns)
        return list(made), list(truth.numpy())

    def _show(
        self, trainer: Trainer, captions: list[str], made: list[NDArray[np.float32]], truth: list[NDArray[np.float32]]
    ) -> None:
        step = trainer.global_step
        pictures = [_side_by_side(real, ours) for ours, real in zip(made, truth, strict=True)]
        for i, (ours, real) in enumerate(zip(made, truth, strict=True)):
            write_audio(self.folder / f"{step:06d}-{i}.wav", ours, SAMPLE_RATE)
            write_audio(self.folder / f"truth-{i}.wav", real, SAMPLE_RATE)
            with atomic_path(self.folder / f"{step:06d}-{i}.png") as partial:
                _save_picture(partial, pictures[i])
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                rates = [SAMPLE_RATE] * len(made)
                logger.log_audio("validation/made", made, step=step, sample_rate=rates, caption=captions)
                logger.log_audio("validation/truth", truth, step=step, sample_rate=rates, caption=captions)
                logger.log_image("validation/truth_and_made", pictures, step=step, caption=captions)
            elif isinstance(logger, TensorBoardLogger):
                board = logger.experiment
                for i, (ours, real) in enumerate(zip(made, truth, strict=True)):
                    board.add_audio(f"validation/made/{i}", ours[None], step, SAMPLE_RATE)
                    board.add_audio(f"validation/truth/{i}", real[None], step, SAMPLE_RATE)
                    board.add_image(f"validation/truth_and_made/{i}", pictures[i], step, dataformats="HW")

    def _keep(self, trainer: Trainer, table: list[Row]) -> None:
        """One table per validation, also on the disk."""
        step, columns = trainer.global_step, list(table[0])
        with (
            atomic_path(self.folder / f"{step:06d}.csv") as partial,
            partial.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(table)
        cells = [[row[name] for name in columns] for row in table]
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_table("validation/clips", columns, cells, step=step)
            elif isinstance(logger, TensorBoardLogger):
                lines = [columns, ["---"] * len(columns), *cells]
                text = "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
                logger.experiment.add_text("validation/clips", text, step)


@torch.no_grad()
def _written(module: SemanticTokenTraining, batch: FeatureBatch) -> list[Row]:
    """Tokens that stage 1 takes for the likeliest, each given the true ones before it."""
    moved = module.transfer_batch_to_device(batch, module.device, 0)
    _, predicted, tokens = module.predicted(moved)
    rows = []
    for caption, ours, true in zip(batch["captions"], predicted.cpu(), tokens.cpu(), strict=True):
        changes = true[1:] != true[:-1]
        found = (ours == true)[1:][changes]
        rows.append(
            {
                "caption": caption,
                "accuracy": float((ours == true).float().mean()),
                "accuracy at changes": float(found.float().mean()) if len(found) else 1.0,
                "true tokens": " ".join(map(str, true.tolist())),
                "likeliest tokens": " ".join(map(str, ours.tolist())),
            }
        )
    return rows


def _side_by_side(truth: NDArray[np.float32], made: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Spectrograms of the truth on the left and of what was made on the right, high frequencies on top."""
    left, right = (mel_decibels(one, SAMPLE_RATE)[::-1] / FLOOR_DB + 1 for one in (truth, made))
    whole = np.concatenate([left, np.ones((len(left), _GAP)), right], axis=1)
    return np.asarray(np.round(255 * whole.clip(0, 1)), np.uint8)


def _save_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    from PIL import Image

    Image.fromarray(picture).save(path)
