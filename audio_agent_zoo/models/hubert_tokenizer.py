"""Audio to semantic tokens and back to their centroids: HuBERT up to one layer, and k-means on it, frozen."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import HubertModel

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.models.kmeans_import import KM500_SHA256
from audio_agent_zoo.models.semantic_quantizer import SemanticQuantizer
from audio_agent_zoo.rates import SAMPLES_PER_TOKEN, TOKEN_CONTEXT

_MAX_BATCH_SAMPLES = 16 * 160_000
_KM500_LAYER = 9
"""Block that the public 500 centroids were trained on."""


class HubertTokenizer(nn.Module):
    """Semantic tokens at 50 Hz, one for every 320 samples begun.

    Only equal lengths share a batch: HuBERT-base normalises over time in its first layer, so that padding
    would change every token of a clip. Samples go in as they are, without normalisation of their level, as
    the model was trained.

    Args:
        hubert: The encoder; blocks above `layer` are dropped, since nobody reads them.
        quantizer: Centroids on that layer, whose parameters are frozen.
        layer: Block whose output is quantized, counted from 1 (`hidden_states[layer]`).
        max_chunk_s: Longest stretch encoded at once, in seconds; longer clips are cut on the token grid.

    Raises:
        ValueError: If layer or centroids don't fit the encoder, or it hears at another rate.

    Source: Audio-Agent, section 3.2 (layer 9, 500 centroids); chunks of 100 s as in textlesslib.
    """

    def __init__(
        self, hubert: HubertModel, quantizer: SemanticQuantizer, *, layer: int = 9, max_chunk_s: float = 100.0
    ) -> None:
        super().__init__()
        if hubert.config.do_stable_layer_norm:
            raise ValueError("this HuBERT normalises after its last block (do_stable_layer_norm); take a base model.")
        if not 1 <= layer <= len(hubert.encoder.layers):
            raise ValueError(f"layer is {layer}; this HuBERT has blocks 1 to {len(hubert.encoder.layers)}.")
        if quantizer.centroids.shape[1] != hubert.config.hidden_size:
            raise ValueError(
                f"the centroids have {quantizer.centroids.shape[1]} values, HuBERT's states "
                f"{hubert.config.hidden_size}; take both from one model."
            )
        if prod(hubert.config.conv_stride) != SAMPLES_PER_TOKEN:
            raise ValueError(
                f"this HuBERT gives a state every {prod(hubert.config.conv_stride)} samples; take one with "
                f"{SAMPLES_PER_TOKEN}, 50 a second."
            )
        hubert.encoder.layers = hubert.encoder.layers[:layer]
        hubert.config.num_hidden_layers = layer
        self.hubert = hubert.eval().requires_grad_(False)
        self.quantizer = quantizer.requires_grad_(False)
        self.chunk_samples = max(1, int(max_chunk_s * 16_000) // SAMPLES_PER_TOKEN) * SAMPLES_PER_TOKEN

    @classmethod
    def from_pretrained(
        cls, hubert: str | Path, quantizer: str | Path, *, layer: int | None = None
    ) -> "HubertTokenizer":
        """Load from local folders.

        Args:
            hubert: Folder of the encoder.
            quantizer: Folder of the centroids.
            layer: Block to quantize; when None, 9 for the public 500 centroids, else the last that the folder has.

        Raises:
            WeightsError: If weights of the encoder are missing there.
            ValueError: If layer or centroids don't fit the encoder.
        """
        kind: Any = HubertModel  # typed as if it always gave the model alone
        encoder, report = kind.from_pretrained(
            hubert, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
        # Only training hides stretches of its input behind this vector.
        if missing := sorted(set(report["missing_keys"]) - {"masked_spec_embed"}):
            raise WeightsError(f"{hubert} lacks {len(missing)} weights of a HuBERT, such as {missing[0]}.")
        centroids = SemanticQuantizer.from_pretrained(quantizer, local_files_only=True)
        if layer is None:
            public = centroids.config.source_sha256 == KM500_SHA256
            layer = _KM500_LAYER if public else int(encoder.config.num_hidden_layers)
        return cls(encoder, centroids, layer=layer)

    @property
    def n_tokens(self) -> int:
        """Number of distinct tokens."""
        return int(self.quantizer.centroids.shape[0])

    def features(self, audio: Tensor) -> Tensor:
        """States of the quantized layer `(batch, tokens, hidden)` of clips `(batch, samples)` of one length.

        Args:
            audio: In [-1, 1] at 16 kHz; padded with silence up to the end of its last token.
        """
        samples = audio.shape[1]
        wanted = -(-samples // SAMPLES_PER_TOKEN)
        padded = F.pad(audio, (0, wanted * SAMPLES_PER_TOKEN + TOKEN_CONTEXT - samples))
        parts = []
        for start in range(0, wanted * SAMPLES_PER_TOKEN, self.chunk_samples):
            # Chunks share the samples that the last token of the first one reaches over.
            chunk = padded[:, start : start + self.chunk_samples + TOKEN_CONTEXT]
            parts.append(self.hubert(chunk.to(self.hubert.dtype)).last_hidden_state)
        return torch.cat(parts, dim=1)

    @torch.inference_mode()
    def encode(self, audios: Sequence[Tensor]) -> list[Tensor]:
        """Tokens of clips of any lengths; those of one length are encoded together.

        Args:
            audios: `(samples,)` each, in [-1, 1] at 16 kHz.

        Returns:
            `(tokens,)` int64 each, on the CPU: `ceil(samples / 320)` of them.

        Raises:
            ValueError: If a clip is empty, has another shape, or values that are no numbers.
        """
        for i, audio in enumerate(audios):
            if audio.ndim != 1 or not len(audio) or not audio.is_floating_point():
                raise ValueError(
                    f"clip {i} is {tuple(audio.shape)} {audio.dtype}; give (samples,) in [-1, 1], at least one sample."
                )
            if not torch.isfinite(audio).all():
                raise ValueError(f"clip {i} holds values that are no numbers; check where the sound comes from.")
        tokens: dict[int, Tensor] = {}
        device = self.quantizer.centroids.device
        for length in sorted({len(audio) for audio in audios}):
            rows = [i for i, audio in enumerate(audios) if len(audio) == length]
            size = max(1, _MAX_BATCH_SAMPLES // length)
            for first in range(0, len(rows), size):
                batch = rows[first : first + size]
                states = self.features(torch.stack([audios[i].float() for i in batch]).to(device))
                for i, row in zip(batch, self.quantizer.assign(states).cpu(), strict=True):
                    tokens[i] = row
        return [tokens[i] for i in range(len(audios))]
