"""Text encoders and condition adapters of the text-to-audio base.

Two public layouts exist. The stock one has a single CLIP encoder whose padded output conditions the UNet
directly. The condition-adapter one has any number of encoders, each with an adapter of its own.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoTokenizer,
    ClapTextModelWithProjection,
    CLIPTextModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    T5EncoderModel,
)

from audio_agent_zoo.errors import WeightsError

CONDITION_CONFIG = "condition_config.json"


class ConditionAdapter(nn.Module):
    """LayerNorm of a linear map from an encoder's width to the UNet's cross-attention width."""

    def __init__(self, condition_dim: int, cross_attention_dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(condition_dim, cross_attention_dim)
        self.norm = nn.LayerNorm(cross_attention_dim)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map `(batch, tokens, condition_dim)` to `(batch, tokens, cross_attention_dim)`."""
        mapped: Tensor = self.norm(self.proj(hidden))
        return mapped

    @classmethod
    def from_pretrained(cls, folder: Path) -> "ConditionAdapter":
        """Load our safetensors or the public pickle (tensors only).

        Raises:
            WeightsError: If the file is missing, damaged or of another shape.
        """
        ours = folder / "condition_adapter.safetensors"
        try:
            if ours.exists():
                state = load_file(ours)
            else:
                state = torch.load(folder / "condition_adapter.pt", map_location="cpu", weights_only=True)
            width, condition_dim = state["proj.weight"].shape
            adapter = cls(condition_dim, width)
            adapter.load_state_dict({key: value.float() for key, value in state.items()})
        except Exception as error:
            raise WeightsError(
                f"the condition adapter in {folder} can't be loaded: {error}. Download the folder again."
            ) from error
        return adapter

    def save_pretrained(self, folder: Path) -> None:
        """Write condition_adapter.safetensors."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {key: value.detach().contiguous() for key, value in self.state_dict().items()}
        save_file(state, folder / "condition_adapter.safetensors")


@dataclass
class TextEncoder:
    """One tokenizer with its encoder.

    Attributes:
        tokenizer: Tokenizer of the encoder.
        encoder: Encoder whose `last_hidden_state` is the condition.
        max_length: Tokens its condition is padded or cut to.
        adapter: Adapter after the padding; None in the stock layout.
    """

    tokenizer: PreTrainedTokenizerBase
    encoder: PreTrainedModel
    max_length: int
    adapter: ConditionAdapter | None = None

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Condition `(batch, max_length, width)`.

        With an adapter, real tokens alone are encoded and zeros stand for the rest *before* the adapter,
        which turns them into its bias; without one, padding tokens are encoded like any other.
        """
        stock = self.adapter is None
        tokens = self.tokenizer(
            list(prompts),
            padding="max_length" if stock else True,
            truncation=True,
            max_length=self.max_length,
            return_tensors="pt",
        ).to(self.encoder.device)
        if stock:
            hidden: Tensor = self.encoder(tokens.input_ids).last_hidden_state
            return hidden
        hidden = self.encoder(tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
        hidden = hidden * tokens.attention_mask.unsqueeze(-1).to(hidden.dtype)
        assert self.adapter is not None
        padded = F.pad(hidden, (0, 0, 0, self.max_length - hidden.shape[1]))
        return self.adapter(padded.to(self.adapter.proj.weight.dtype))


class TextConditioning(nn.Module):
    """All text encoders of a base as one map from prompts to the UNet's condition.

    Args:
        encoders: Encoders in order; their conditions follow one another along the token axis.
    """

    def __init__(self, encoders: Sequence[TextEncoder]) -> None:
        super().__init__()
        if not encoders:
            raise ValueError("a text-to-audio base needs at least one text encoder; the list is empty.")
        self.parts = list(encoders)
        self.encoders = nn.ModuleList(part.encoder for part in encoders)
        self.adapters = nn.ModuleList(part.adapter for part in encoders if part.adapter is not None)

    @property
    def stock(self) -> bool:
        """Whether this is the stock layout, whose empty condition is the encoding of an empty text."""
        return all(part.adapter is None for part in self.parts)

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """Condition of prompts.

        Returns:
            `(batch, tokens, cross_attention_dim)`, the encoders' tokens one after the other.
        """
        return torch.cat([part(prompts) for part in self.parts], dim=1)

    def unconditional(self, like: Tensor) -> Tensor:
        """The empty condition in the shape of a batch of conditions.

        Source: Auffusion: zeros *after* the adapters; Stable Diffusion: the encoding of "".
        """
        if self.stock:
            return self([""]).to(like).expand_as(like)
        return torch.zeros_like(like)

    @classmethod
    def from_pretrained(cls, folder: Path) -> "TextConditioning":
        """Load the encoders of a stock or a condition-adapter folder.

        Raises:
            WeightsError: If a part is missing, damaged or of an unknown kind.
        """
        listing = folder / CONDITION_CONFIG
        try:
            if not listing.exists():
                tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
                encoder = _load_encoder(folder / "text_encoder")
                return cls([TextEncoder(tokenizer, encoder, min(77, tokenizer.model_max_length))])
            parts = []
            for entry in json.loads(listing.read_text(encoding="utf-8")):
                place = folder / entry["text_encoder_name"]
                encoder = _load_encoder(place)
                adapter = ConditionAdapter.from_pretrained(folder / entry["condition_adapter_name"])
                tokenizer = AutoTokenizer.from_pretrained(place)
                parts.append(TextEncoder(tokenizer, encoder, int(entry["condition_max_length"]), adapter))
            return cls(parts)
        except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise WeightsError(
                f"the text encoders in {folder} can't be loaded: {error}. Download the folder again."
            ) from error

    def save_pretrained(self, folder: Path) -> None:
        """Write the layout this was loaded from, as safetensors."""
        if self.stock:
            self.parts[0].tokenizer.save_pretrained(folder / "tokenizer")
            self.parts[0].encoder.save_pretrained(folder / "text_encoder")
            return
        listing: list[dict[str, Any]] = []
        for i, part in enumerate(self.parts):
            assert part.adapter is not None
            part.encoder.save_pretrained(folder / f"text_encoder_{i}")
            part.tokenizer.save_pretrained(folder / f"text_encoder_{i}")
            part.adapter.save_pretrained(folder / f"condition_adapter_{i}")
            width, condition_dim = part.adapter.proj.weight.shape
            listing.append(
                {
                    "text_encoder_name": f"text_encoder_{i}",
                    "condition_adapter_name": f"condition_adapter_{i}",
                    "condition_max_length": part.max_length,
                    "condition_dim": condition_dim,
                    "cross_attention_dim": width,
                }
            )
        (folder / CONDITION_CONFIG).write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")


def _load_encoder(place: Path) -> PreTrainedModel:
    """Load an encoder by the first architecture its config names."""
    kind = str((AutoConfig.from_pretrained(place).architectures or ["CLIPTextModel"])[0])
    lowered = kind.lower()
    if "t5" in lowered:
        model: type[PreTrainedModel] = T5EncoderModel
    elif "clap" in lowered:
        model = ClapTextModelWithProjection
    elif "clip" in lowered:
        model = CLIPTextModel
    else:
        raise WeightsError(f"{place} holds a {kind}; known text encoders are CLIP, T5 and CLAP.")
    return model.from_pretrained(place, dtype=torch.float32).eval()
