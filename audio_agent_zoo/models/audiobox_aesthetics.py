"""Audiobox aesthetics: how people would rate a sound on four scales, without a reference."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import WavLMConfig, WavLMModel

SAMPLE_RATE = 16_000
"""Samples per second it was trained on."""

AXES = ("CE", "CU", "PC", "PQ")
"""Content enjoyment, content usefulness, production complexity, production quality; each from 1 to 10."""

WINDOW_SAMPLES = 10 * SAMPLE_RATE
"""Samples it rates at once."""

_STRIDES = (5, 2, 2, 2, 2, 2, 2)
# From the names of WavLM's own release to those of transformers.
_RENAMED = (
    (r"^mask_emb$", "masked_spec_embed"),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^(feature_extractor\.conv_layers\.\d+)\.0\.", r"\1.conv."),
    (r"^(feature_extractor\.conv_layers\.\d+)\.2\.", r"\1.layer_norm."),
    (r"^encoder\.pos_conv\.0\.weight_g$", "encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"^encoder\.pos_conv\.0\.weight_v$", "encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"\.self_attn\.grep_linear\.", ".attention.gru_rel_pos_linear."),
    (r"\.self_attn\.grep_a$", ".attention.gru_rel_pos_const"),
    (r"\.self_attn\.relative_attention_bias\.", ".attention.rel_attn_embed."),
    (r"\.self_attn\.", ".attention."),
    (r"\.self_attn_layer_norm\.", ".layer_norm."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
)


@dataclass(frozen=True)
class AestheticsSettings:
    """What the published `config.json` says beside the weights.

    Attributes:
        layers: Linear layers after the pooled embedding, for each scale.
        layer_norm: Whether each but the last is followed by a layer norm.
        dropout: Whether each but the last ends in a dropout, which takes a place in the names.
        normalized: Whether the pooled embedding has length 1.
        means: Of each scale's ratings in training, in the order of `AXES`.
        spreads: Their standard deviations.
    """

    layers: int = 1
    layer_norm: bool = False
    dropout: bool = False
    normalized: bool = True
    means: tuple[float, ...] = (0.0,) * len(AXES)
    spreads: tuple[float, ...] = (1.0,) * len(AXES)


def translated(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names of `AudioboxAesthetics`: those of WavLM as transformers has them, the others as they are.

    Args:
        state: As published.
    """
    made = {}
    for key, value in state.items():
        part, _, rest = key.partition(".")
        if part == "wavlm_model":
            for pattern, name in _RENAMED:
                rest = re.sub(pattern, name, rest)
            key = f"{part}.{rest}"
        made[key] = value
    return made


def wavlm_config(state: Mapping[str, Tensor]) -> "WavLMConfig":
    """Sizes of the WavLM in a published state dict.

    Args:
        state: As published.

    Raises:
        KeyError: If it holds no WavLM.
    """
    from transformers import WavLMConfig

    prefix = "wavlm_model."
    convolutions = [state[f"{prefix}feature_extractor.conv_layers.{place}.0.weight"] for place in range(len(_STRIDES))]
    positions = state[f"{prefix}encoder.pos_conv.0.weight_v"]
    places = state[f"{prefix}encoder.layers.0.self_attn.relative_attention_bias.weight"]
    return WavLMConfig(
        hidden_size=len(positions),
        num_hidden_layers=len({key.split(".")[3] for key in state if key.startswith(f"{prefix}encoder.layers.")}),
        num_attention_heads=places.shape[1],
        intermediate_size=len(state[f"{prefix}encoder.layers.0.fc1.weight"]),
        conv_dim=tuple(len(weight) for weight in convolutions),
        conv_kernel=tuple(weight.shape[2] for weight in convolutions),
        conv_stride=_STRIDES,
        num_conv_pos_embeddings=positions.shape[2],
        num_conv_pos_embedding_groups=len(positions) // positions.shape[1],
        num_buckets=len(places),
        max_bucket_distance=800,
        feat_extract_norm="group",
        do_stable_layer_norm=False,
    )


class AudioboxAesthetics(nn.Module):
    """A WavLM whose layers are weighed anew for each scale, and a few linear layers to a rating.

    For inference alone. The WavLM is transformers'; see `translated` for the published names.

    Args:
        wavlm: The network that hears.
        settings: What the published config says.

    Source: Tjandra et al., "Meta Audiobox Aesthetics" (2025).
    """

    means: Tensor
    spreads: Tensor

    def __init__(self, wavlm: "WavLMModel", settings: AestheticsSettings) -> None:
        super().__init__()
        self.wavlm_model, self.normalized = wavlm, settings.normalized
        dim, depth = int(wavlm.config.hidden_size), int(wavlm.config.num_hidden_layers)
        self.layer_weights = nn.ParameterDict({axis: nn.Parameter(torch.zeros(depth + 1)) for axis in AXES})
        self.proj_layer = nn.ModuleDict({axis: _projection(dim, settings) for axis in AXES})
        self.register_buffer("means", torch.tensor(settings.means), persistent=False)
        self.register_buffer("spreads", torch.tensor(settings.spreads), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Ratings `(clips, 4)` of clips `(clips, samples)` at 16 kHz, in the order of `AXES`.

        Longer clips are rated in stretches of 10 s; a last, shorter one counts by its length.

        Raises:
            ValueError: If the shape differs.
        """
        if waveform.ndim != 2 or not waveform.shape[1]:
            raise ValueError(f"waveform has shape {tuple(waveform.shape)}; give mono clips (clips, samples).")
        ratings, lengths = [], []
        for stretch in waveform.split(WINDOW_SAMPLES, dim=1):
            lengths.append(stretch.shape[1])
            ratings.append(self._rated(stretch.to(self.layer_weights[AXES[0]])) * lengths[-1])
        total: Tensor = torch.stack(ratings).sum(dim=0) / sum(lengths)
        return total

    def _rated(self, stretch: Tensor) -> Tensor:
        states, kept = self._states(F.pad(stretch, (0, WINDOW_SAMPLES - stretch.shape[1])), stretch.shape[1])
        rows = []
        for axis in AXES:
            mixed = torch.einsum("l,lbtd->btd", self.layer_weights[axis].softmax(dim=0), states)
            pooled = mixed[:, kept].mean(dim=1)
            pooled = F.normalize(pooled, dim=1) if self.normalized else pooled
            rows.append(self.proj_layer[axis](pooled).squeeze(1))
        return torch.stack(rows, dim=1) * self.spreads + self.means

    def _states(self, window: Tensor, heard: int) -> tuple[Tensor, Tensor]:
        """What enters and leaves the layers `(layers + 1, clips, frames, dim)`, and which frames are no padding."""
        features = self.wavlm_model.feature_extractor(window).transpose(1, 2)
        hidden, _ = self.wavlm_model.feature_projection(features)
        # A frame is padding when all of its share of samples is: a share as WavLM's release counts it.
        share = window.shape[1] // hidden.shape[1]
        kept = torch.arange(hidden.shape[1], device=hidden.device) * share < heard
        states: list[Tensor] = []

        def before(_: nn.Module, given: tuple[Any, ...]) -> None:
            states.append(given[0])

        def after(_: nn.Module, __: tuple[Any, ...], made: Any) -> None:
            states.append(made[0] if isinstance(made, tuple) else made)

        layers = self.wavlm_model.encoder.layers
        hooks = [layers[0].register_forward_pre_hook(before), *(layer.register_forward_hook(after) for layer in layers)]
        try:
            mask = None if bool(kept.all()) else kept.expand(len(hidden), -1)
            self.wavlm_model.encoder(hidden, attention_mask=mask)
        finally:
            for hook in hooks:
                hook.remove()
        return torch.stack(states), kept


def _projection(dim: int, settings: AestheticsSettings) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(settings.layers - 1):
        layers.append(nn.Linear(dim, dim))
        if settings.layer_norm:
            layers.append(nn.LayerNorm(dim))
        layers.append(nn.GELU())
        if settings.dropout:
            layers.append(nn.Identity())
    return nn.Sequential(*layers, nn.Linear(dim, 1))
