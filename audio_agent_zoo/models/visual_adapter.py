"""The visual adapter: keys and values for the sound's centroids in every text attention of a frozen UNet (stage 2)."""

from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Literal, get_args

import torch
from diffusers import ConfigMixin, ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.embeddings import IPAdapterFullImageProjection
from safetensors.torch import save_file
from torch import Tensor, nn

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.models.ip_adapter_file import (
    PROJECTION,
    attention_keys,
    check_image_prompt,
    is_image_prompt,
    read_ip_adapter,
)
from audio_agent_zoo.models.visual_attention import SelfAttention, VisualCondition, VisualCrossAttention
from audio_agent_zoo.rates import SEMANTIC_TOKEN_RATE

Positions = Literal["sinusoidal", "relative", "none"]
"""How centroids tell their time: added to them, as a bias by distance in time, or not at all."""

SD15_LAYERS = (320, 320, 640, 640, 1280, 1280) + (1280,) * 3 + (640,) * 3 + (320,) * 3 + (1280,)
"""Widths of the text attentions of Stable Diffusion 1.5: down, up, middle, as `unet.attn_processors` lists them."""

_PROJECTION_KEYS = {"ff.net.0.proj": "proj.0", "ff.net.2": "proj.2", "norm": "proj.3"}
"""Our names of the projection -> the IP-Adapter file's."""


def _text_attentions(unet: UNet2DConditionModel) -> list[str]:
    return [name for name in unet.attn_processors if name.endswith("attn2.processor")]


class VisualAdapter(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers' bases are untyped
    """Centroids -> projection with time -> own keys and values per cross-attention layer.

    Args:
        centroid_dim: Size of a centroid.
        cross_attention_dim: Width of the UNet's text condition.
        layer_dims: Width of each text attention, in the order of `unet.attn_processors`.
        positions: How centroids tell their time. "sinusoidal" adds it to them, so that the adapter works in any
            IP-Adapter loader; "relative" favours near tokens in each head by its own reach, which learns in a
            fraction of the steps; "none" is the ablation.
        centroid_rms: Root mean square of the centroids, which they are divided by.

    Raises:
        ValueError: For unknown positions, or centroids without size.

    Source: Audio-Agent, section 3.5, eq. (2)-(3).
    """

    @register_to_config
    def __init__(
        self,
        centroid_dim: int = 768,
        cross_attention_dim: int = 768,
        layer_dims: Sequence[int] = SD15_LAYERS,
        positions: Positions = "sinusoidal",
        centroid_rms: float = 1.0,
    ) -> None:
        super().__init__()
        if positions not in get_args(Positions):
            raise ValueError(f"positions is {positions!r}; choose one of {', '.join(get_args(Positions))}.")
        if not centroid_rms > 0:
            raise ValueError(f"centroid_rms is {centroid_rms}; give the centroids' root mean square, above 0.")
        self.image_proj = IPAdapterFullImageProjection(centroid_dim, cross_attention_dim)
        self.to_k_ip = nn.ModuleList([nn.Linear(cross_attention_dim, dim, bias=False) for dim in layer_dims])
        self.to_v_ip = nn.ModuleList([nn.Linear(cross_attention_dim, dim, bias=False) for dim in layer_dims])

    @classmethod
    def for_unet(
        cls, unet: UNet2DConditionModel, centroids: Tensor, *, positions: Positions = "sinusoidal"
    ) -> "VisualAdapter":
        """A new adapter whose keys and values start as copies of the UNet's own.

        Args:
            unet: The frozen base.
            centroids: `(n_centroids, centroid_dim)`.
            positions: How centroids tell their time.

        Raises:
            ValueError: If the centroids are all zero, or the UNet reads no text.
        """
        layers = [unet.get_submodule(name.removesuffix(".processor")) for name in _text_attentions(unet)]
        if not layers:
            raise ValueError("the UNet has no cross-attention; take one that reads text.")
        adapter: VisualAdapter = cls(
            centroid_dim=int(centroids.shape[1]),
            cross_attention_dim=int(unet.config.cross_attention_dim),
            layer_dims=[int(layer.to_k.weight.shape[0]) for layer in layers],
            positions=positions,
            centroid_rms=round(float(centroids.float().square().mean().sqrt()), 6),
        )
        for index, layer in enumerate(layers):
            adapter.to_k_ip[index].load_state_dict(layer.to_k.state_dict())
            adapter.to_v_ip[index].load_state_dict(layer.to_v.state_dict())
        return adapter

    def attach(self, unet: UNet2DConditionModel) -> None:
        """Make the UNet's attention layers read a `VisualCondition`; its own weights stay untouched.

        Raises:
            WeightsError: If the UNet has other layers than this adapter was made for.
        """
        names = _text_attentions(unet)
        dims = [unet.get_submodule(n.removesuffix(".processor")).to_k.weight.shape[0] for n in names]
        width = int(unet.config.cross_attention_dim)
        if dims != list(self.config.layer_dims) or width != self.config.cross_attention_dim:
            raise WeightsError(
                f"the visual adapter is for {len(self.config.layer_dims)} layers {list(self.config.layer_dims)} over "
                f"{self.config.cross_attention_dim}, the UNet has {len(dims)} layers {dims} over {width}; "
                "take the base it was trained on."
            )
        index = {name: i for i, name in enumerate(names)}
        unet.set_attn_processor(
            {
                name: VisualCrossAttention(self, index[name]) if name in index else SelfAttention()
                for name in unet.attn_processors
            }
        )

    @staticmethod
    def detach(unet: UNet2DConditionModel) -> None:
        """Give the UNet its own attention back."""
        unet.set_attn_processor(AttnProcessor2_0())

    def timed(self, centroids: Tensor) -> Tensor:
        """Centroids `(batch, tokens, centroid_dim)` at unit size, with their time added if positions are sinusoidal."""
        states: Tensor = centroids / self.config.centroid_rms
        if self.config.positions != "sinusoidal":
            return states
        return states + time_encoding(states.shape[1], states.shape[2]).to(states)

    def condition(
        self,
        centroids: Tensor,
        *,
        scale: float,
        mask: Tensor | None = None,
        dropped: Tensor | None = None,
        window_s: float,
        aspect: float,
    ) -> VisualCondition:
        """What the attached layers read during one UNet call.

        Args:
            centroids: `(batch, tokens, centroid_dim)`, the first token at the image's left edge.
            scale: Weight of the visual attention.
            mask: `(batch, tokens)`, False where the sound is over; whatever lies there is not read.
            dropped: `(batch,)`, True where the video is left out (guidance).
            window_s: Seconds the image spans.
            aspect: Width over height of the latent.
        """
        states = self.timed(centroids.to(self.dtype))
        if mask is not None:
            # So that a row without any token says as much as one that is dropped.
            states = states.masked_fill(~mask.unsqueeze(-1), 0.0)
        if dropped is not None:
            states = states.masked_fill(dropped.view(-1, 1, 1), 0.0)
        relative = self.config.positions == "relative"
        return VisualCondition(
            states=self.image_proj(states),
            scale=scale,
            mask=mask,
            window_s=window_s,
            aspect=aspect,
            token_s=1 / SEMANTIC_TOKEN_RATE if relative else None,
        )

    def save_ip_adapter(self, path: str | Path) -> None:
        """Write the file that diffusers' `load_ip_adapter` and ComfyUI read (the "full" layout).

        What they feed it is `timed(centroids)`. Relative positions have no place in that layout: the weights
        load there, but every token is then as near as any other.
        """
        state = {}
        for name, value in self.image_proj.state_dict().items():
            layer, kind = name.rsplit(".", 1)
            state[f"image_proj.{_PROJECTION_KEYS[layer]}.{kind}"] = value
        for i, (key, value) in enumerate(zip(self.to_k_ip, self.to_v_ip, strict=True)):
            state[f"ip_adapter.{2 * i + 1}.to_k_ip.weight"] = key.weight
            state[f"ip_adapter.{2 * i + 1}.to_v_ip.weight"] = value.weight
        save_file({name: value.detach().contiguous().cpu() for name, value in state.items()}, str(path))

    @classmethod
    def from_ip_adapter(
        cls, path: str | Path, *, positions: Positions = "sinusoidal", centroid_rms: float = 1.0
    ) -> "VisualAdapter":
        """Read a file of the "full" layout.

        Raises:
            WeightsError: If it is of another layout, or can't be read.
        """
        state = read_ip_adapter(path)
        keys = attention_keys(state)
        if not keys or "image_proj.proj.3.weight" not in state:
            raise WeightsError(
                f"{path} is no IP-Adapter of the full layout: image_proj.proj.0 to 3, ip_adapter.N.to_k_ip."
            )
        adapter: VisualAdapter = cls(
            centroid_dim=int(state["image_proj.proj.0.weight"].shape[1]),
            cross_attention_dim=int(state["image_proj.proj.3.weight"].shape[0]),
            layer_dims=[int(state[key].shape[0]) for key in keys],
            positions=positions,
            centroid_rms=centroid_rms,
        )
        own = {}
        for name in adapter.image_proj.state_dict():
            layer, kind = name.rsplit(".", 1)
            own[f"image_proj.{name}"] = f"image_proj.{_PROJECTION_KEYS[layer]}.{kind}"
        for i, key in enumerate(keys):
            own[f"to_k_ip.{i}.weight"], own[f"to_v_ip.{i}.weight"] = key, key.replace("to_k_ip", "to_v_ip")
        if wrong := sorted(set(own.values()) ^ set(state)):
            raise WeightsError(
                f"{path} is no whole IP-Adapter of the full layout: missing or too many are {wrong[:3]}."
            )
        adapter.load_state_dict({ours: state[theirs] for ours, theirs in own.items()})
        return adapter

    @classmethod
    def from_image_prompt(
        cls, path: str | Path, centroids: Tensor, *, positions: Positions = "sinusoidal"
    ) -> "VisualAdapter":
        """Start from an adapter of the plain layout, which looks at one vector of an image: FoleyCrafter's.

        Its keys and values are taken as they are, and the scale of the tokens they read. How it gets tokens from
        CLIP's vector has no meaning for centroids and is left out; that layer starts anew. So the result is where
        stage 2 may start from, not an adapter to make sound with.

        Args:
            path: Such as FoleyCrafter's `semantic/semantic_adapter.bin`.
            centroids: `(n_centroids, centroid_dim)` that it shall read.
            positions: How centroids tell their time.

        Raises:
            WeightsError: If it is of another layout, or can't be read.

        Source: Zhang et al., "FoleyCrafter" (2024), its published weights; the layout is that of IP-Adapter.
        """
        state = read_ip_adapter(path)
        if not is_image_prompt(state):
            raise WeightsError(f"{path} is no IP-Adapter of the plain layout: it lacks {PROJECTION}.proj.weight.")
        check_image_prompt(state, path)
        keys = attention_keys(state)
        adapter: VisualAdapter = cls(
            centroid_dim=int(centroids.shape[1]),
            cross_attention_dim=int(state[f"{PROJECTION}.norm.weight"].shape[0]),
            layer_dims=[int(state[key].shape[0]) for key in keys],
            positions=positions,
            centroid_rms=round(float(centroids.float().square().mean().sqrt()), 6),
        )
        taken = {f"image_proj.norm.{kind}": state[f"{PROJECTION}.norm.{kind}"] for kind in ("weight", "bias")}
        for i, key in enumerate(keys):
            taken[f"to_k_ip.{i}.weight"] = state[key]
            taken[f"to_v_ip.{i}.weight"] = state[key.replace("to_k_ip", "to_v_ip")]
        adapter.load_state_dict({**adapter.state_dict(), **taken})
        return adapter


def time_encoding(n_tokens: int, dim: int) -> Tensor:
    """Sines and cosines of each token's instant `(n_tokens, dim)`, with periods from 40 ms to 40 s."""
    seconds = (torch.arange(n_tokens) + 0.5) / SEMANTIC_TOKEN_RATE
    half = (dim + 1) // 2
    periods = torch.exp(torch.linspace(log(0.04), log(40.0), half))
    phase = 2 * torch.pi * seconds[:, None] / periods[None]
    return torch.cat([phase.sin(), phase.cos()], dim=1)[:, :dim]
