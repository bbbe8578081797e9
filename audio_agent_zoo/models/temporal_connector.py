"""From frames to the language model: a 1-D convolution block over time and a projection (stage 1)."""

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from audio_agent_zoo.rates import FRAME_RATE, SEMANTIC_TOKEN_RATE, n_video_frames


class _ConvolutionBlock(nn.Module):
    """Residual: norm, convolution over time, GELU, convolution over time."""

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.first = nn.Conv1d(dim, dim, kernel_size, padding=kernel_size // 2)
        self.second = nn.Conv1d(dim, dim, kernel_size, padding=kernel_size // 2)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        # Masked before each convolution, so that padding is silence to its neighbours, as at a clip's edge.
        inner = self.first((self.norm(states) * mask).transpose(1, 2))
        inner = self.second(F.gelu(inner) * mask.transpose(1, 2)).transpose(1, 2)
        out: Tensor = states + inner
        return out


class TemporalConnector(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers' bases are untyped
    """Frame vectors to embeddings of the language model, in order.

    Args:
        frame_dim: Size of a frame's vector.
        llm_dim: Width of the language model.
        hidden_dim: Width of the convolutions; `frame_dim` when None.
        n_blocks: Convolution blocks.
        kernel_size: Frames each convolution sees; odd.
        temporal: False replaces everything but the projection, for the paper's ablation.
        token_aligned: Give one embedding per semantic token (50 Hz) instead of one per frame (21.5 Hz), so
            that a token and the picture of its instant stay at one distance: what a small language model
            needs, and the paper's does without. A bare projection never does.

    Raises:
        ValueError: If `kernel_size` is even.

    Source: Audio-Agent, section 3.3. Its convolution block is not described further; this one is ours.
    """

    @register_to_config
    def __init__(
        self,
        frame_dim: int = 1024,
        llm_dim: int = 2304,
        hidden_dim: int | None = None,
        n_blocks: int = 2,
        kernel_size: int = 3,
        temporal: bool = True,
        token_aligned: bool = False,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {kernel_size}; give an odd one, so that a frame stays in its place.")
        width = hidden_dim or frame_dim
        self.enter = nn.Linear(frame_dim, width) if temporal and width != frame_dim else nn.Identity()
        self.blocks = nn.ModuleList([_ConvolutionBlock(width, kernel_size) for _ in range(n_blocks if temporal else 0)])
        self.projection = nn.Linear(width if temporal else frame_dim, llm_dim)
        self.norm = nn.LayerNorm(llm_dim)
        # Brings the embeddings to the scale of the language model's own; see `match_scale`.
        self.scale = nn.Parameter(torch.ones(()))

    @torch.no_grad()
    def match_scale(self, embeddings: Tensor) -> None:
        """Start at the mean size of a language model's embeddings `(rows, llm_dim)`, as its layers see them."""
        self.scale.fill_(float(embeddings.float().square().mean().sqrt()))

    def n_outputs(self, n_frames: int, n_tokens: int) -> int:
        """Embeddings given for a clip of so many frames and semantic tokens."""
        return n_tokens if self.config.temporal and self.config.token_aligned else n_frames

    def stretch(self, embedded: Tensor, start: int, n_tokens: int) -> Tensor:
        """The embeddings that belong to `n_tokens` semantic tokens from token `start` on.

        Args:
            embedded: `(batch, outputs, llm_dim)` of a whole clip; its last one stands for what lies beyond.
            start: First token.
            n_tokens: Number of tokens.
        """
        if self.config.temporal and self.config.token_aligned:
            index = start + torch.arange(n_tokens)
        else:
            index = round(start / SEMANTIC_TOKEN_RATE * FRAME_RATE) + torch.arange(
                n_video_frames(n_tokens / SEMANTIC_TOKEN_RATE)
            )
        return embedded[:, index.clamp(max=embedded.shape[1] - 1).to(embedded.device)]

    def forward(self, frames: Tensor, n_tokens: int, mask: Tensor | None = None) -> Tensor:
        """Embed clips.

        Args:
            frames: `(batch, frames, frame_dim)`.
            n_tokens: Semantic tokens of the clips.
            mask: `(batch, frames)`, False on padding.

        Returns:
            `(batch, n_outputs(frames, n_tokens), llm_dim)`.
        """
        weight = self.projection.weight
        states: Tensor = self.enter(frames.to(weight.dtype))
        keep = torch.ones(states.shape[:2], device=states.device) if mask is None else mask
        keep = keep.to(states.dtype).unsqueeze(-1)
        for block in self.blocks:
            states = block(states, keep)
        if self.config.temporal and self.config.token_aligned:
            states = _at_tokens(states, n_tokens)
        embedded: Tensor = self.norm(self.projection(states)) * self.scale
        return embedded


def _at_tokens(states: Tensor, n_tokens: int) -> Tensor:
    """Frame states at the middle of each semantic token, between the two frames around it."""
    instants = (torch.arange(n_tokens, device=states.device) + 0.5) / SEMANTIC_TOKEN_RATE * FRAME_RATE
    before = instants.floor().long().clamp(max=states.shape[1] - 1)
    after = (before + 1).clamp(max=states.shape[1] - 1)
    share = (instants - instants.floor()).to(states.dtype).view(1, -1, 1)
    return states[:, before] * (1 - share) + states[:, after] * share
