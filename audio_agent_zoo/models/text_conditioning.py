"""Text encoders and condition adapters of the text-to-audio base.

Two public layouts exist. The stock one has a single CLIP encoder whose padded output conditions the UNet
directly. The condition-adapter one has any number of encoders, each with an adapter of its own.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from transformers.utils import logging as transformers_logging

from audio_agent_zoo.errors import WeightsError

CONDITION_CONFIG = "condition_config.json"
_STOCK_LENGTH = 77


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
    def from_pretrained(cls, folder: str | Path) -> "ConditionAdapter":
        """Load our safetensors or the public pickle (tensors only), in float32.

        Raises:
            WeightsError: If the file is missing, damaged or of another shape.
        """
        place = Path(folder)
        ours = place / "condition_adapter.safetensors"
        try:
            if ours.exists():
                state = load_file(ours)
            else:
                state = torch.load(place / "condition_adapter.pt", map_location="cpu", weights_only=True)
            width, condition_dim = state["proj.weight"].shape
            adapter = cls(condition_dim, width)
            adapter.load_state_dict({key: value.float() for key, value in state.items()})
        except Exception as error:  # unpickling, parsing and shapes fail with a dozen kinds of error
            raise WeightsError(
                f"the condition adapter in {place} can't be loaded: {error}. It needs "
                "condition_adapter.safetensors or condition_adapter.pt; download the folder again."
            ) from error
        return adapter.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write condition_adapter.safetensors and its sizes as config.json."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        width, condition_dim = self.proj.weight.shape
        sizes = {"condition_dim": condition_dim, "cross_attention_dim": width}
        (place / "config.json").write_text(json.dumps(sizes, indent=2) + "\n", encoding="utf-8")
        state = {key: value.detach().cpu().contiguous() for key, value in self.state_dict().items()}
        save_file(state, place / "condition_adapter.safetensors")


@dataclass
class TextEncoder:
    """One tokenizer with its encoder.

    Attributes:
        tokenizer: Tokenizer of the encoder.
        encoder: Encoder whose `last_hidden_state` is the condition.
        max_length: Tokens its condition is padded or cut to.
        adapter: Adapter after the padding; None in the stock layout.
        condition_type: What the public list of conditions calls the encoder; kept when saved again.
        base_model: The public id that list gives for it; kept when saved again.
    """

    tokenizer: PreTrainedTokenizerBase
    encoder: PreTrainedModel
    max_length: int
    adapter: ConditionAdapter | None = None
    condition_type: str = ""
    base_model: str = ""

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Condition `(batch, max_length, width)`; gradients flow to whatever is trainable."""
        if self.adapter is None:
            return self._stock(prompts)
        return self._adapted(prompts, self.adapter)

    def _stock(self, prompts: Sequence[str]) -> Tensor:
        """Padding tokens are encoded like any other."""
        tokens = self.tokenizer(
            list(prompts),
            padding="max_length",
            truncation=True,
            max_length=self.max_length,
            return_tensors="pt",
        ).to(self.encoder.device)
        hidden: Tensor = self.encoder(tokens.input_ids).last_hidden_state
        return hidden

    def _adapted(self, prompts: Sequence[str], adapter: ConditionAdapter) -> Tensor:
        """Real tokens alone are encoded; zeros stand for the rest before the adapter, which maps them too.

        Source: Auffusion encodes prompt by prompt without padding; the mask makes one batch equal to that.
        It does not cut long prompts, at which CLIP fails; ours are cut to what encoder and UNet take.
        """
        tokens = self.tokenizer(
            list(prompts),
            padding=True,
            padding_side="right",
            truncation=True,
            max_length=min(self.max_length, _positions(self.encoder)),
            return_tensors="pt",
        ).to(self.encoder.device)
        mask = tokens.attention_mask
        hidden = self.encoder(tokens.input_ids, attention_mask=mask).last_hidden_state
        hidden = hidden.masked_fill(~mask.bool().unsqueeze(-1), 0.0)
        padded = F.pad(hidden, (0, 0, 0, self.max_length - hidden.shape[1]))
        condition: Tensor = adapter(padded.to(adapter.proj.weight.dtype))
        return condition


class TextConditioning(nn.Module):
    """All text encoders of a base as one map from prompts to the UNet's condition.

    Args:
        encoders: Encoders in order; their conditions follow one another along the token axis. Either one
            without an adapter (the stock layout), or any number with one each.

    Raises:
        ValueError: For an empty list, or one of neither kind.
    """

    def __init__(self, encoders: Sequence[TextEncoder]) -> None:
        super().__init__()
        without = sum(part.adapter is None for part in encoders)
        if not encoders or (without and len(encoders) > 1):
            raise ValueError(
                f"{len(encoders)} text encoders, {without} of them without an adapter, fit no layout; "
                "give one encoder without an adapter, or any number with one each."
            )
        self.parts = list(encoders)
        self.encoders = nn.ModuleList(part.encoder for part in encoders)
        self.adapters = nn.ModuleList(part.adapter for part in encoders if part.adapter is not None)

    @property
    def stock(self) -> bool:
        """Whether this is the stock layout, whose empty condition is the encoding of an empty text."""
        return not len(self.adapters)

    @property
    def cross_attention_dim(self) -> int:
        """Width of the condition."""
        part = self.parts[0]
        if part.adapter is None:
            return int(part.encoder.config.hidden_size)
        return part.adapter.proj.out_features

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
            empty: Tensor = self([""])
            return empty.to(like).expand_as(like)
        return torch.zeros_like(like)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "TextConditioning":
        """Load the encoders of a stock or a condition-adapter folder, in float32.

        Raises:
            WeightsError: If a part is missing, damaged or of an unknown kind.
        """
        # Absolute, because transformers takes a relative name that does not exist for a Hub repository.
        place = Path(folder).resolve()
        listing = place / CONDITION_CONFIG
        try:
            if not listing.exists():
                return cls([_load_stock(place)])
            entries = json.loads(listing.read_text(encoding="utf-8"))
            return cls([_load_adapted(place, entry) for entry in entries])
        except WeightsError:
            raise
        except Exception as error:  # the libraries raise a dozen kinds of error for damaged files
            raise WeightsError(
                f"the text encoders in {place} can't be loaded: {error}. Download the folder again."
            ) from error

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the layout this was loaded from, as safetensors."""
        place = Path(folder)
        if self.stock:
            self.parts[0].tokenizer.save_pretrained(place / "tokenizer")
            with _no_progress_bars():
                self.parts[0].encoder.save_pretrained(place / "text_encoder")
            return
        listing: list[dict[str, Any]] = []
        adapted = [(part, part.adapter) for part in self.parts if part.adapter is not None]
        for i, (part, adapter) in enumerate(adapted):
            with _no_progress_bars():
                part.encoder.save_pretrained(place / f"text_encoder_{i}")
            part.tokenizer.save_pretrained(place / f"text_encoder_{i}")
            adapter.save_pretrained(place / f"condition_adapter_{i}")
            width, condition_dim = adapter.proj.weight.shape
            listing.append(
                {
                    "text_encoder_name": f"text_encoder_{i}",
                    "condition_adapter_name": f"condition_adapter_{i}",
                    "condition_type": part.condition_type or f"{part.encoder.config.model_type}_{i}",
                    "pretrained_model_name_or_path": part.base_model,
                    "condition_max_length": part.max_length,
                    "condition_dim": condition_dim,
                    "cross_attention_dim": width,
                }
            )
        (place / CONDITION_CONFIG).write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing a bar for every small file."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _positions(encoder: PreTrainedModel) -> int:
    """Longest token sequence an encoder has positions for."""
    if isinstance(encoder, T5EncoderModel):
        return 1 << 20  # relative positions have no end
    if isinstance(encoder, ClapTextModelWithProjection):
        # RoBERTa numbers positions from the one after its padding index.
        return int(encoder.config.max_position_embeddings) - int(encoder.config.pad_token_id or 0) - 1
    return int(encoder.config.max_position_embeddings)


def _load_stock(folder: Path) -> TextEncoder:
    tokenizer = _load_tokenizer(folder / "tokenizer")
    encoder = _load_encoder(folder / "text_encoder")
    length = min(_STOCK_LENGTH, tokenizer.model_max_length, _positions(encoder))
    return TextEncoder(tokenizer, encoder, length)


def _load_adapted(folder: Path, entry: dict[str, Any]) -> TextEncoder:
    place = folder / entry["text_encoder_name"]
    encoder, tokenizer = _load_encoder(place), _load_tokenizer(place)
    adapter = ConditionAdapter.from_pretrained(folder / entry["condition_adapter_name"])
    if encoder.config.hidden_size != adapter.proj.in_features:
        raise WeightsError(
            f"the encoder in {place} is {encoder.config.hidden_size} wide, its adapter takes "
            f"{adapter.proj.in_features}; the folder mixes parts of two models, download it again."
        )
    return TextEncoder(
        tokenizer,
        encoder,
        int(entry["condition_max_length"]),
        adapter,
        condition_type=str(entry.get("condition_type", "")),
        base_model=str(entry.get("pretrained_model_name_or_path", "")),
    )


def _load_tokenizer(place: Path) -> PreTrainedTokenizerBase:
    if not place.is_dir():
        raise WeightsError(f"{place} is missing; download the folder again.")
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        place, local_files_only=True, trust_remote_code=False
    )
    return tokenizer


def _load_encoder(place: Path) -> PreTrainedModel:
    """Load an encoder by the first architecture its config names; every weight it has must be there."""
    if not place.is_dir():
        raise WeightsError(f"{place} is missing; download the folder again.")
    config = AutoConfig.from_pretrained(place, local_files_only=True, trust_remote_code=False)
    kind = str((config.architectures or ["none"])[0])
    lowered = kind.lower()
    model: type[PreTrainedModel]
    if "t5" in lowered:
        model = T5EncoderModel
    elif "clap" in lowered:
        model = ClapTextModelWithProjection
    elif "clip" in lowered:
        model = CLIPTextModel
    else:
        raise WeightsError(f"{place} holds a {kind}; known text encoders are CLIP, T5 and CLAP.")
    # Keys beyond the encoder's own are no error: some folders hold the other tower as well.
    with _no_progress_bars():
        loaded: Any = model.from_pretrained(place, dtype=torch.float32, local_files_only=True, output_loading_info=True)
    encoder, info = loaded
    if missing := sorted(info["missing_keys"]) + sorted(map(str, info["mismatched_keys"])):
        raise WeightsError(
            f"the {kind} in {place} lacks {len(missing)} weights, {missing[0]} first; download the folder again."
        )
    frozen: PreTrainedModel = encoder.eval()
    return frozen
