"""Train a small HuBERT and its centroids on procedural sound; the public ones need no training."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from transformers import HubertConfig, HubertModel

from audio_agent_zoo.data.foley_world import FoleyWorldDataModule
from audio_agent_zoo.data.sources.synthesis import ClipItem
from audio_agent_zoo.models.mel import MelConfig, log_mel
from audio_agent_zoo.models.semantic_quantizer import SemanticQuantizer
from audio_agent_zoo.synthesis.catalogue import CLASS_NAMES
from audio_agent_zoo.training.optimization import adamw_with_warmup

_CLUSTERED_CLIPS = 380


class HubertTraining(LightningModule):
    """Masked prediction of acoustic units, as HuBERT's first iteration, and the class of the whole clip.

    The class term is what twenty minutes of training have in place of a thousand hours of sound: it makes
    states of different sources fall into different clusters.

    Args:
        hidden_size: Width, and size of a centroid.
        layers: Transformer blocks; the last one is quantized.
        heads: Attention heads.
        conv_dim: Width of the convolutions over samples.
        n_units: Acoustic units (k-means on log-mel) to predict.
        n_centroids: Semantic tokens.
        mask_share: Share of instants that are masked.
        class_weight: Weight of the class term.
        learning_rate: Peak rate of AdamW.
    """

    def __init__(
        self,
        hidden_size: int = 128,
        layers: int = 3,
        heads: int = 4,
        conv_dim: int = 48,
        n_units: int = 192,
        n_centroids: int = 128,
        mask_share: float = 0.3,
        class_weight: float = 0.5,
        learning_rate: float = 1e-3,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.mel = MelConfig(n_mels=64)
        self.register_buffer("units", torch.zeros(n_units, 2 * self.mel.n_mels))
        self.units: Tensor
        self.hubert: HubertModel

    def configure_model(self) -> None:
        """Build encoder and heads (once)."""
        if hasattr(self, "hubert"):
            return
        h = self.hparams
        self.hubert = HubertModel(
            HubertConfig(
                hidden_size=h["hidden_size"],
                intermediate_size=4 * h["hidden_size"],
                num_hidden_layers=h["layers"],
                num_attention_heads=h["heads"],
                conv_dim=(h["conv_dim"],) * 7,
                num_conv_pos_embeddings=32,
                num_conv_pos_embedding_groups=8,
                hidden_dropout=0.0,
                attention_dropout=0.0,
                activation_dropout=0.0,
                feat_proj_dropout=0.0,
                layerdrop=0.0,
                apply_spec_augment=False,
            )
        )
        self.unit_head = nn.Linear(h["hidden_size"], h["n_units"])
        self.class_head = nn.Linear(h["hidden_size"], len(CLASS_NAMES))

    def _acoustics(self, audio: Tensor) -> Tensor:
        """Log-mel of the two columns of each token `(batch, tokens, 2 * n_mels)`."""
        columns = log_mel(audio, self.mel).transpose(1, 2)
        n_tokens = columns.shape[1] // 2
        return columns[:, : 2 * n_tokens].reshape(len(audio), n_tokens, -1)

    def on_fit_start(self) -> None:
        """Find the acoustic units, unless a checkpoint brought them."""
        if bool(self.units.any()):
            return
        frames = torch.cat([self._acoustics(audio[None])[0] for audio in self._some_clips()])
        self.units.copy_(torch.from_numpy(_centroids(frames.numpy(), self.hparams["n_units"])))

    def _some_clips(self) -> list[Tensor]:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, FoleyWorldDataModule):
            raise TypeError(f"HubertTraining reads FoleyWorldDataModule, not {type(data).__name__}.")
        return [data.train[i]["audio"] for i in range(min(_CLUSTERED_CLIPS, len(data.train)))]

    def _states(self, audio: Tensor, mask: Tensor | None) -> Tensor:
        """Last states `(batch, tokens, hidden)`; masked instants are hidden from the transformer."""
        padded = F.pad(audio, (0, 80))
        out: Tensor = self.hubert(padded, mask_time_indices=mask).last_hidden_state
        return out

    def _losses(self, batch: ClipItem, masked: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        audio = batch["audio"]
        with torch.no_grad():
            acoustics = self._acoustics(audio)
            distance = self.units.square().sum(1) - 2 * acoustics.float() @ self.units.T
            target = distance.argmin(-1)
        mask = None
        if masked:
            starts = torch.rand(target.shape, device=audio.device) < self.hparams["mask_share"] / 6
            mask = F.max_pool1d(starts.float().unsqueeze(1), 6, 1, 3)[:, 0, : target.shape[1]] > 0
        states = self._states(audio, mask)[:, : target.shape[1]]
        units = F.cross_entropy(self.unit_head(states).float().flatten(0, 1), target.flatten(), reduction="none")
        weight = torch.ones_like(units) if mask is None else mask.flatten().float() + 0.3
        logits = self.class_head(states).float()
        wanted = torch.as_tensor(batch["class_index"], device=audio.device)
        named = F.cross_entropy(logits.mean(1), wanted)
        right = (logits.mean(1).argmax(1) == wanted).float().mean()
        hits = (self.unit_head(states).argmax(-1) == target).float().mean()
        return (units * weight).sum() / weight.sum(), named, right, hits

    def training_step(self, batch: ClipItem, batch_idx: int) -> Tensor:
        """Units at every instant, masked ones above all, and the class."""
        units, named, right, _ = self._losses(batch, masked=True)
        self.log_dict({"train/units": units, "train/class": named, "train/accuracy": right}, prog_bar=True)
        loss: Tensor = units + self.hparams["class_weight"] * named
        return loss

    def validation_step(self, batch: ClipItem, batch_idx: int) -> None:
        """The same without masks."""
        units, _, right, hits = self._losses(batch, masked=False)
        self.log_dict(
            {"validation/units": units, "validation/accuracy": right, "validation/unit_accuracy": hits},
            batch_size=len(batch["audio"]),
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over everything."""
        steps = int(self.trainer.estimated_stepping_batches)
        return adamw_with_warmup(self.parameters(), self.hparams["learning_rate"], total_steps=steps)

    @torch.no_grad()
    def publish(self, folder: Path, **kwargs: Any) -> None:
        """Write the `hubert` and `semantic_quantizer` parts of a published folder."""
        was_training = self.training
        self.eval()
        clips = torch.stack(self._some_clips())
        states = torch.cat([self._states(part.to(self.device), None).float().cpu() for part in clips.split(16)])
        centroids = _centroids(states.flatten(0, 1).numpy(), self.hparams["n_centroids"])
        quantizer = SemanticQuantizer.from_centroids(centroids)
        self.hubert.save_pretrained(folder / "hubert", **kwargs)
        quantizer.save_pretrained(folder / "semantic_quantizer", **kwargs)
        self.train(was_training)


def _centroids(rows: "np.ndarray", n: int) -> "np.ndarray":
    """K-means centroids `(n, dim)` float32 of `rows`, always the same for the same rows."""
    from sklearn.cluster import MiniBatchKMeans

    means = MiniBatchKMeans(n, batch_size=4096, n_init=2, max_iter=60, random_state=0, reassignment_ratio=0.005)
    return np.asarray(means.fit(rows).cluster_centers_, dtype=np.float32)
