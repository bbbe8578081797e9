"""The IP-Adapter file that diffusers and ComfyUI share, and FoleyCrafter's semantic adapter, which is one."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from audio_agent_zoo.errors import WeightsError

PROJECTION, ATTENTION = "image_proj", "ip_adapter"
"""The two groups of weights in such a file: from what is looked at to tokens, and their keys and values."""

_IMAGE_PROMPT_KEYS = frozenset(
    f"{PROJECTION}.{layer}.{kind}" for layer in ("proj", "norm") for kind in ("weight", "bias")
)
_MOST_NAMED = 3


def read_ip_adapter(path: str | Path) -> dict[str, Tensor]:
    """Weights by flat names (`ip_adapter.1.to_k_ip.weight`) of a safetensors file, or of a torch file with two groups.

    Args:
        path: `.safetensors`, or any other ending for a torch file, of which tensors alone are read.

    Raises:
        WeightsError: If it can't be read, or holds something else.
    """
    try:
        if Path(path).suffix == ".safetensors":
            return load_file(str(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors' own kind, the unpickler's, and what the disk may raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(
            f"{path} can't be read: {lines[0]}. Give an intact safetensors or torch file of an IP-Adapter."
        ) from error
    groups = content if isinstance(content, dict) else {}
    if not all(isinstance(groups.get(name), dict) for name in (PROJECTION, ATTENTION)):
        raise WeightsError(
            f"{path} is no IP-Adapter: it holds {sorted(map(str, groups))[:_MOST_NAMED] or type(content).__name__}, "
            f"not the groups {PROJECTION} and {ATTENTION}."
        )
    return {f"{name}.{key}": value for name in (PROJECTION, ATTENTION) for key, value in groups[name].items()}


def attention_keys(state: dict[str, Tensor]) -> list[str]:
    """Names of the layers' key weights, in the order of `unet.attn_processors`."""
    return sorted((key for key in state if key.endswith(".to_k_ip.weight")), key=lambda key: int(key.split(".")[1]))


def is_image_prompt(state: dict[str, Tensor]) -> bool:
    """Whether the projection is the plain one, from one vector of an image to a few tokens, as FoleyCrafter's is."""
    return f"{PROJECTION}.proj.weight" in state


def check_image_prompt(state: dict[str, Tensor], path: str | Path) -> None:
    """Refuse a file that is not wholly of the plain layout.

    Raises:
        WeightsError: If weights are missing, too many, or of shapes that don't fit.
    """
    keys = attention_keys(state)
    expected = {*_IMAGE_PROMPT_KEYS, *keys, *(key.replace("to_k_ip", "to_v_ip") for key in keys)}
    if not keys or (wrong := sorted(expected ^ set(state))):
        raise WeightsError(
            f"{path} is no whole IP-Adapter of the plain layout: missing or too many are "
            f"{wrong[:_MOST_NAMED] if keys else 'all keys and values'}."
        )
    width = state[f"{PROJECTION}.norm.weight"].shape[0]
    rows = state[f"{PROJECTION}.proj.weight"].shape[0]
    if rows % width or any(state[key].shape[1] != width for key in expected - _IMAGE_PROMPT_KEYS):
        raise WeightsError(
            f"{path} does not fit itself: tokens are {width} wide, its projection gives {rows} values, and its keys "
            f"read {sorted({int(state[key].shape[1]) for key in keys})}. Download it again."
        )
