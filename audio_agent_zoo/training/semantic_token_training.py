"""Stage 1: connector and language model learn to write the semantic tokens of a video's sound."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.distributed.fsdp import register_fsdp_forward_method
from transformers import Gemma2Config, Gemma2ForCausalLM

from audio_agent_zoo.data.caption_tokenizer import train_gemma_tokenizer
from audio_agent_zoo.data.feature_identity import check_weights
from audio_agent_zoo.data.foley_features import FeatureBatch, FoleyFeaturesDataModule
from audio_agent_zoo.hub import (
    FRAME_ENCODER,
    HUBERT,
    LANGUAGE_MODEL,
    SEMANTIC_QUANTIZER,
    SEMANTIC_TOKEN_LM,
    TEMPORAL_CONNECTOR,
    resolve,
)
from audio_agent_zoo.models.audio_vocabulary import INSTRUCTION, AudioVocabulary
from audio_agent_zoo.models.semantic_quantizer import SemanticQuantizer
from audio_agent_zoo.models.semantic_token_lm import LoraSettings, SemanticTokenLM
from audio_agent_zoo.models.temporal_connector import TemporalConnector
from audio_agent_zoo.training.averaged_training import AveragedTraining
from audio_agent_zoo.training.optimization import adamw_with_warmup
from audio_agent_zoo.training.quantized_base import load_in_4bit
from audio_agent_zoo.training.row_noise import RowNoise
from audio_agent_zoo.training.sharding import shard


class SemanticTokenTraining(AveragedTraining):
    """Next-token loss on semantic tokens given frames and caption; connector, LoRA and new words learn.

    Args:
        base: Gemma 2 to adapt: a folder or repository. None takes `language_model` of `hub_folder`, and builds
            a new small one where there is none.
        revision: Revision of a repository.
        hub_folder: Published folder with the quantizer, and the language model where `base` is None.
        start: Published folder whose connector and adapter this training goes on from; None starts anew.
        lora_rank: Rank of the low-rank weights; the paper's is 64.
        lora_dropout: Dropout before them.
        train_base: Train the base's own weights too: for a new base, which knows nothing yet.
        new_base: `Gemma2Config` values of a new base.
        temporal: False puts a bare projection in the connector's place (ablation).
        token_aligned: See `TemporalConnector`.
        connector_blocks: Convolution blocks of the connector.
        full_softmax: The paper's softmax over all words; else over the semantic tokens alone.
        token_noise: Tokens it has read so far are replaced at random, in each clip a share drawn from 0 to this. Above
            1 some clips leave it nothing to copy, so that it must find the picture of each instant by itself.
        token_hold: Stretches of what it has read are held at the token before, as if it had passed an event over; in
            each clip a share drawn from 0 to this. It must then begin late rather than never.
        connector_weight: Weight of reading each token directly off the connector's embedding of its instant, by the
            rows that the language model writes with; needs `token_aligned`.
        window_tokens: Learn from random stretches of so many tokens, as they are written later; None for whole clips.
        change_weight: Weight of a token unlike the one before it: onsets are few among what goes on.
        frame_noise: Standard deviation of noise on frame vectors, against their own.
        learning_rate: Peak rate of AdamW.
        warmup_steps: Steps of linear warm-up.
        ema_decay: Decay of the averaged weights, which are what is published.
        checkpoint_activations: Trade a third more computation for the memory of activations.
        base_dtype: Precision of a frozen base.
        base_quantization: "nf4" keeps the linear layers of a frozen base in four bits, for cards of 16 GB.
        compile_blocks: Compile the blocks of the base; takes minutes at the start and pays on long runs.

    Raises:
        ValueError: If `connector_weight` is set for a connector that is not aligned with the tokens.

    Source: Audio-Agent, sections 3.3-3.4, eq. (1). Noise, held stretches and `connector_weight` are ours.
    """

    publishes = (TEMPORAL_CONNECTOR, SEMANTIC_TOKEN_LM, LANGUAGE_MODEL)

    def __init__(
        self,
        base: str | None = "google/gemma-2-2b-it",
        revision: str | None = None,
        hub_folder: str = "foley-mini",
        start: str | None = None,
        lora_rank: int = 64,
        lora_dropout: float = 0.05,
        train_base: bool = False,
        new_base: dict[str, Any] | None = None,
        temporal: bool = True,
        token_aligned: bool = False,
        connector_blocks: int = 2,
        full_softmax: bool = False,
        token_noise: float = 0.0,
        token_hold: float = 0.0,
        connector_weight: float = 0.0,
        window_tokens: int | None = None,
        change_weight: float = 1.0,
        frame_noise: float = 0.0,
        learning_rate: float = 1e-4,
        warmup_steps: int = 100,
        ema_decay: float = 0.999,
        checkpoint_activations: bool = False,
        base_dtype: str = "bfloat16",
        base_quantization: Literal["nf4"] | None = None,
        compile_blocks: bool = False,
    ) -> None:
        super().__init__(ema_decay)
        if base_quantization is not None and train_base:
            raise ValueError("base_quantization is nf4 and train_base true; a base in four bits can't be trained.")
        if connector_weight and not (temporal and token_aligned):
            raise ValueError(
                f"connector_weight is {connector_weight:g} and the connector gives one embedding per frame; "
                "set token_aligned: true, or connector_weight: 0."
            )
        self.save_hyperparameters()
        self.lm: SemanticTokenLM
        self.connector: TemporalConnector

    def _data(self) -> FoleyFeaturesDataModule:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, FoleyFeaturesDataModule):
            raise TypeError(f"SemanticTokenTraining reads FoleyFeaturesDataModule, not {type(data).__name__}.")
        return data

    def _folder(self) -> Path:
        return resolve(self.hparams["hub_folder"], parts=("*",))

    def _language_model(self, n_audio: int) -> tuple[Gemma2ForCausalLM, AudioVocabulary]:
        h = self.hparams
        own = self._folder() / LANGUAGE_MODEL
        if h["base"] is None and not (own / "config.json").exists():
            tokenizer = train_gemma_tokenizer([*self._data().train.captions(), INSTRUCTION], 1200)
            vocabulary = AudioVocabulary.extend(tokenizer, n_audio)
            config = Gemma2Config(vocab_size=vocabulary.base_size, **(h["new_base"] or {}))
            return Gemma2ForCausalLM(config), vocabulary
        folder = own if h["base"] is None else resolve(h["base"], revision=h["revision"], parts=("*",))
        dtype = torch.float32 if h["train_base"] else getattr(torch, h["base_dtype"])
        if h["base_quantization"] is None:
            model = Gemma2ForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
        else:
            model = load_in_4bit(folder, dtype, self.trainer.strategy.root_device)
        return model, AudioVocabulary.from_pretrained(folder, n_audio)

    def configure_model(self) -> None:
        """Build connector and language model (once)."""
        if hasattr(self, "lm"):
            return
        h = self.hparams
        check_weights(self._data(), self._folder(), (FRAME_ENCODER, HUBERT, SEMANTIC_QUANTIZER))
        quantizer = SemanticQuantizer.from_pretrained(self._folder(), subfolder=SEMANTIC_QUANTIZER)
        base, vocabulary = self._language_model(int(quantizer.config.n_centroids))
        if h["checkpoint_activations"]:
            base.activation_checkpointing_enable()
        settings = LoraSettings(h["lora_rank"], h["lora_rank"], h["lora_dropout"])
        start = None if h["start"] is None else resolve(h["start"], parts=("*",))
        if start is None:
            self.lm = SemanticTokenLM(base, vocabulary, settings)
        else:
            self.lm = SemanticTokenLM.from_pretrained(start / SEMANTIC_TOKEN_LM, base, vocabulary.n_audio)
        if h["train_base"]:
            for parameter in base.parameters():
                parameter.requires_grad_(True)
        frames = self._data().train.batch([0], np.random.default_rng(0))["frames"]
        if start is None:
            self.connector = TemporalConnector(
                frame_dim=int(frames.shape[-1]),
                llm_dim=self.lm.llm_dim,
                temporal=h["temporal"],
                token_aligned=h["token_aligned"],
                n_blocks=h["connector_blocks"],
            )
            words = torch.as_tensor(base.get_input_embeddings().weight)
            self.connector.match_scale(words * self.lm.embedding_scale)
        else:
            self.connector = TemporalConnector.from_pretrained(start, subfolder=TEMPORAL_CONNECTOR)
        self.frame_std = float(frames.std())
        # Weights are loaded for use: without this neither dropout nor checkpoints of activations would happen.
        self.lm.train()
        if h["compile_blocks"]:
            for block in base.model.layers:
                block.compile()
        shard(self, [self.connector, *base.model.layers, self.lm])
        for method in ("loss", "direct_loss"):
            register_fsdp_forward_method(self.lm, method)
        self.start_average()

    def trained(self) -> dict[str, nn.Parameter]:
        """Connector, low-rank weights and new words; the base too where it is new."""
        parts = {f"connector.{name}": p for name, p in self.connector.named_parameters()}
        lm = dict(self.lm.named_parameters()) if self.hparams["train_base"] else self.lm.trained()
        return {**parts, **{f"lm.{name}": p for name, p in lm.items()}}

    def predicted(self, batch: FeatureBatch, noisy: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, likeliest tokens `(batch, tokens)`, and true ones; each token given the true ones before it.

        Args:
            batch: Rows of one length.
            noisy: As in training, with what hides its input from it.
        """
        frames, tokens, heard = batch["frames"], batch["tokens"], None
        draw = RowNoise(batch["row_seeds"], tokens.device)
        if noisy and self.hparams["frame_noise"]:
            frames = frames + self.hparams["frame_noise"] * self.frame_std * draw.normal(*frames.shape[1:])
        if noisy and (self.hparams["token_noise"] or self.hparams["token_hold"]):
            heard = self._misheard(tokens, draw)
        video = self.connector(frames, tokens.shape[1])
        weight = 1 + (self.hparams["change_weight"] - 1) * (tokens != tokens.roll(1, 1)).float()
        direct = self.lm.direct_loss(video, tokens, weight) if noisy and self.hparams["connector_weight"] else None
        window = self.hparams["window_tokens"]
        if window is not None and window < tokens.shape[1]:
            room = tokens.shape[1] - window
            shared = torch.Generator().manual_seed(batch["seed"])
            start = int(torch.randint(room + 1, (), generator=shared).item()) if noisy else room // 2
            tokens, weight = tokens[:, start : start + window], weight[:, start : start + window]
            heard = None if heard is None else heard[:, start : start + window]
            video = self.connector.stretch(video, start, window)
        loss, predicted = self.lm.loss(
            batch["captions"],
            video,
            tokens,
            full_softmax=self.hparams["full_softmax"],
            heard=heard,
            weight=weight if noisy else None,
        )
        if direct is not None:
            loss = loss + self.hparams["connector_weight"] * direct
        return loss, predicted, tokens

    def _step(self, batch: FeatureBatch, noisy: bool) -> tuple[Tensor, Tensor]:
        loss, predicted, tokens = self.predicted(batch, noisy)
        return loss, (predicted == tokens)[tokens >= 0].float().mean()

    def _misheard(self, tokens: Tensor, draw: RowNoise) -> Tensor:
        """What the model reads of its own past while it learns: in part wrong, in part without what happened."""
        if self.hparams["token_noise"]:
            other = draw.integers(self.lm.vocabulary.n_audio, tokens.shape[1])
            share = self.hparams["token_noise"] * draw.uniform(1)
            tokens = torch.where(draw.uniform(tokens.shape[1]) < share, other, tokens)
        return draw.held(tokens, self.hparams["token_hold"]) if self.hparams["token_hold"] else tokens

    def training_step(self, batch: FeatureBatch, batch_idx: int) -> Tensor:
        """Loss on semantic tokens and the end of the sound."""
        loss, accuracy = self._step(batch, noisy=True)
        values = {"train/loss": loss, "train/accuracy": accuracy}
        self.log_dict(values, prog_bar=True, batch_size=len(batch["tokens"]), sync_dist=True)
        return loss

    def validation_step(self, batch: FeatureBatch, batch_idx: int) -> None:
        """Loss and token accuracy of the averaged weights."""
        loss, accuracy = self._step(batch, noisy=False)
        values = {"validation/loss": loss, "validation/accuracy": accuracy}
        self.log_dict(values, prog_bar=True, batch_size=len(batch["tokens"]), sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over what is trained, nothing else."""
        return adamw_with_warmup(
            self.optimized().values(),
            self.hparams["learning_rate"],
            total_steps=int(self.trainer.estimated_stepping_batches),
            warmup_steps=self.hparams["warmup_steps"],
        )

    def publish(self, folder: Path, **kwargs: Any) -> None:
        """Write `temporal_connector`, `semantic_token_lm`, and a new base's `language_model`."""
        self.connector.save_pretrained(folder / TEMPORAL_CONNECTOR, **kwargs)
        base = self.hparams["base"]
        self.lm.save_pretrained(folder / SEMANTIC_TOKEN_LM, "" if base is None or Path(base).exists() else base)
        if self.hparams["train_base"]:
            self.lm.save_base(folder / LANGUAGE_MODEL)
