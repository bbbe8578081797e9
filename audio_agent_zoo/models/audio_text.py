"""Sound and sentence in one space: a small judge of whether a sound is what its caption says.

It learns from real procedural clips and their captions alone, so that its verdict on generated sound is
independent of the generator. CLAP does the same at scale.
"""

from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.models.foley_classifier import FoleyClassifier

_SHARPEST = log(100.0)


class AudioTextModel(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers' bases are untyped
    """A convolutional network for sound and a CLIP text transformer, both projected onto one sphere.

    Args:
        vocabulary_size: Words of the tokenizer.
        max_length: Longest caption in tokens.
        dim: Size of the shared space.
        text_width: Width of the text transformer.
        text_layers: Its blocks.
        channels: Width of each convolution block of the sound network.
        mel: Front-end constants as plain values (`MelConfig.to_dict`).

    Source: Wu et al., "Large-scale contrastive language-audio pretraining", with other networks.
    """

    tokenizer: CLIPTokenizer

    @register_to_config
    def __init__(
        self,
        vocabulary_size: int = 1024,
        max_length: int = 64,
        dim: int = 128,
        text_width: int = 96,
        text_layers: int = 2,
        channels: Sequence[int] = (16, 32, 64, 96),
        mel: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.sound = FoleyClassifier(channels=tuple(channels), embedding_dim=2 * dim, mel=mel)
        self.sound.head = nn.Linear(2 * dim, dim)
        self.text = CLIPTextModelWithProjection(
            CLIPTextConfig(
                vocab_size=vocabulary_size,
                hidden_size=text_width,
                intermediate_size=4 * text_width,
                projection_dim=dim,
                num_hidden_layers=text_layers,
                num_attention_heads=4,
                max_position_embeddings=max_length,
                bos_token_id=vocabulary_size - 2,
                eos_token_id=vocabulary_size - 1,
                pad_token_id=vocabulary_size - 1,
            )
        )
        self.log_scale = nn.Parameter(torch.tensor(log(1 / 0.07)))

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by in the loss."""
        return self.log_scale.clamp(max=_SHARPEST).exp()

    def embed_sounds(self, waveform: Tensor) -> Tensor:
        """Unit vectors `(batch, dim)` of clips `(batch, samples)` of one length at 16 kHz."""
        return F.normalize(self.sound(waveform).float(), dim=-1)

    def embed_texts(self, captions: Sequence[str]) -> Tensor:
        """Unit vectors `(batch, dim)` of captions.

        Raises:
            ValueError: If there is none, or one is empty.
        """
        if not captions or not all(caption.strip() for caption in captions):
            raise ValueError("captions are missing or empty; give a few words each.")
        tokens = self.tokenizer(
            list(captions), padding=True, truncation=True, max_length=self.config.max_length, return_tensors="pt"
        )
        embedded: Tensor = self.text(**tokens.to(self.device)).text_embeds
        return F.normalize(embedded.float(), dim=-1)

    def loss(self, waveform: Tensor, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Contrastive loss of a batch, and the share of sounds whose nearest caption is their own."""
        logits = self.scale * self.embed_sounds(waveform) @ self.embed_texts(captions).T
        target = torch.arange(len(logits), device=logits.device)
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        return loss, (logits.argmax(1) == target).float().mean()

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Write weights, config and tokenizer."""
        super().save_pretrained(save_directory, **kwargs)
        self.tokenizer.save_pretrained(save_directory)

    @classmethod
    def load(cls, folder: str | Path) -> "AudioTextModel":
        """Load weights and tokenizer.

        Raises:
            WeightsError: If the folder lacks them.
        """
        if not (Path(folder) / "config.json").is_file():
            raise WeightsError(
                f"{folder} holds no audio-text model; train one with recipes/foley_mini/audio_text.yaml, "
                "or take foley-mini's."
            )
        model: AudioTextModel = cls.from_pretrained(folder, local_files_only=True)
        model.tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        model.eval()
        return model
