"""Decoupled cross-attention: the UNet's text attention, plus one over the centroids of the sound (eq. 2-3)."""

from dataclasses import dataclass, field
from math import log, sqrt
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor

if TYPE_CHECKING:
    from audio_agent_zoo.models.visual_adapter import VisualAdapter

_NEAREST_S, _FARTHEST_S = 0.03, 0.8
"""Reach of the most and the least local attention head under relative positions, in seconds."""


@dataclass
class VisualCondition:
    """What every visual attention layer of one UNet call reads.

    Attributes:
        states: `(batch, tokens, cross_attention_dim)`: projected centroids.
        scale: The paper's lambda; 0 leaves the base as it is, bit for bit.
        mask: `(batch, tokens)`, False where there is no token; None if all count.
        window_s: Seconds the image spans.
        aspect: Its width over its height, in latents.
        token_s: Seconds between two tokens, for relative positions; None without them.
    """

    states: Tensor
    scale: float
    mask: Tensor | None = None
    window_s: float = 0.0
    aspect: float = 1.0
    token_s: float | None = None
    _biases: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def bias(self, n_queries: int, heads: int) -> Tensor | None:
        """What is added to the attention scores, `(batch or 1, heads or 1, queries, tokens)`; None for nothing."""
        key = (n_queries, heads)
        if key not in self._biases:
            away = self._distance_bias(n_queries, heads) if self.token_s is not None else None
            if self.mask is not None:
                outside = torch.zeros_like(self.mask, dtype=self.states.dtype).masked_fill(~self.mask, -1e4)
                outside = outside[:, None, None]
                away = outside if away is None else away + outside
            if away is None:
                return None
            self._biases[key] = away
        return self._biases[key]

    def _distance_bias(self, n_queries: int, heads: int) -> Tensor:
        """Minus the distance in time between an image column and a token, in reaches of each head."""
        assert self.token_s is not None
        states = self.states
        # The UNet rounds odd sides up where it halves them, so that deep images have not quite this aspect.
        wanted = sqrt(n_queries * self.aspect)
        sides = [n for n in range(1, n_queries + 1) if n_queries % n == 0]
        columns = min(sides, key=lambda n: abs(log(n / wanted)))
        rows = n_queries // columns
        middle = (torch.arange(columns, device=states.device) + 0.5) / columns * self.window_s
        token = (torch.arange(states.shape[1], device=states.device) + 0.5) * self.token_s
        share = torch.arange(heads, device=states.device) / max(1, heads - 1)
        reach = _NEAREST_S * (_FARTHEST_S / _NEAREST_S) ** share
        distance = (middle[:, None] - token[None]).abs()
        bias = -distance[None] / reach[:, None, None]
        # Rows of the image share their column's instant; positions run row by row.
        return bias[:, None].expand(-1, rows, -1, -1).reshape(1, heads, n_queries, -1).to(states.dtype)


class VisualCrossAttention:
    """Attention processor of one text cross-attention layer; its weights live in the adapter.

    Args:
        adapter: Holds keys and values.
        index: Which of its layers this is.
    """

    def __init__(self, adapter: "VisualAdapter", index: int) -> None:
        self.adapter, self.index = adapter, index
        self.text_only = AttnProcessor2_0()

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        visual: VisualCondition | None = None,
    ) -> Tensor:
        """Text attention plus `visual.scale` times attention over the centroids, before the output projection."""
        if visual is None or visual.scale == 0:
            text: Tensor = self.text_only(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
            return text
        batch, n_queries, _ = hidden_states.shape
        heads = attn.heads
        if attention_mask is not None:
            length = encoder_hidden_states.shape[1] if encoder_hidden_states is not None else n_queries
            attention_mask = attn.prepare_attention_mask(attention_mask, length, batch)
            attention_mask = attention_mask.view(batch, heads, -1, attention_mask.shape[-1])

        def split(states: Tensor) -> Tensor:
            return states.view(batch, states.shape[1], heads, -1).transpose(1, 2)

        query = split(attn.to_q(hidden_states))
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        mixed = F.scaled_dot_product_attention(
            query, split(attn.to_k(source)), split(attn.to_v(source)), attn_mask=attention_mask
        )
        key = split(self.adapter.to_k_ip[self.index](visual.states))
        value = split(self.adapter.to_v_ip[self.index](visual.states))
        bias = visual.bias(n_queries, heads)
        if bias is not None:
            bias = bias.to(query.dtype)
        seen = F.scaled_dot_product_attention(query, key.to(query.dtype), value.to(query.dtype), attn_mask=bias)
        mixed = (mixed + visual.scale * seen).transpose(1, 2).reshape(batch, n_queries, -1).to(query.dtype)
        out: Tensor = attn.to_out[1](attn.to_out[0](mixed))
        return out


class SelfAttention(AttnProcessor2_0):  # type: ignore[misc]  # diffusers' bases are untyped
    """The UNet's self-attention, which takes the visual condition in and leaves it alone."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        visual: VisualCondition | None = None,
    ) -> Tensor:
        """As in the base; without this signature diffusers warns on every call."""
        out: Tensor = super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        return out
