"""How much memory weights will take, read from the heads of their files before any is loaded."""

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.hub import TEXT_TO_AUDIO, VIDEO_TO_AUDIO
from audio_agent_zoo.published import PublishedConfig, weight_files

_FULL_PRECISION = ("vocoder", "semantic_quantizer", "temporal_connector", "visual_adapter")
"""Parts that stay in float32 whatever the pipeline's precision."""


@dataclass(frozen=True)
class PartMemory:
    """One part.

    Attributes:
        name: Its subfolder.
        n_parameters: Values in its weight files.
        n_bytes: What they take once loaded.
    """

    name: str
    n_parameters: int
    n_bytes: int


@dataclass(frozen=True)
class MemoryPlan:
    """What all parts take.

    Attributes:
        parts: Largest first.
    """

    parts: tuple[PartMemory, ...]

    @property
    def n_bytes(self) -> int:
        """All parts together."""
        return sum(part.n_bytes for part in self.parts)

    def __str__(self) -> str:
        """One line: the parts that matter, and the sum."""
        shown = [f"{part.name} {_size(part.n_bytes)}" for part in self.parts if part.n_bytes > 0.05 * self.n_bytes]
        return f"{', '.join(shown)}; {_size(self.n_bytes)} in all"


@dataclass(frozen=True)
class TrainingMemory:
    """What a training holds besides activations.

    Attributes:
        frozen: Bytes of weights that are not trained.
        trained: Bytes of trained weights, their gradients, AdamW's two moments and the average, in float32.
    """

    frozen: int
    trained: int

    @classmethod
    def of(cls, parameters: Iterable[torch.nn.Parameter]) -> "TrainingMemory":
        """Count the parameters of a training, on any device, the meta device too."""
        frozen = trained = 0
        for parameter in parameters:
            if parameter.requires_grad:
                trained += parameter.numel() * (parameter.element_size() * 2 + 3 * 4)
            else:
                frozen += parameter.numel() * parameter.element_size()
        return cls(frozen, trained)

    @property
    def n_bytes(self) -> int:
        """Both."""
        return self.frozen + self.trained

    def __str__(self) -> str:
        """One line."""
        return f"frozen weights {_size(self.frozen)}, trained with optimizer {_size(self.trained)}, and activations"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"


def file_parameters(path: Path) -> int:
    """Values in a weight file, from its head alone where it is safetensors.

    Raises:
        WeightsError: If the file is damaged.
    """
    if path.suffix == ".safetensors":
        with path.open("rb") as file:
            head = file.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if not 0 < length < min(1 << 28, path.stat().st_size):
                raise WeightsError(f"{path} is no safetensors file; download it again.")
            try:
                entries = json.loads(file.read(length))
                shapes = [entry["shape"] for name, entry in entries.items() if name != "__metadata__"]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise WeightsError(f"{path} is damaged: {error}. Download it again.") from error
        return sum(prod(shape) for shape in shapes)
    try:
        state = torch.load(path, map_location="meta", weights_only=True, mmap=True)
    except Exception as error:  # pickle and zip errors of a dozen kinds
        raise WeightsError(f"{path} can't be read: {error}. Download it again.") from error
    state = state.get("generator", state)
    return sum(value.numel() for value in state.values() if isinstance(value, torch.Tensor))


def memory_plan(folder: Path, dtype: torch.dtype = torch.float32) -> MemoryPlan:
    """What the parts of a folder take once a pipeline has loaded them.

    Args:
        folder: Published or public folder, as `resolve` finds it.
        dtype: Precision of the pipeline.

    Raises:
        WeightsError: If a weight file is damaged.
    """
    config = PublishedConfig.read(folder)
    named = {path.name for path in folder.iterdir() if path.is_dir()}
    wanted = named & (set(config.parts) if config else named)
    parts = []
    for name in wanted:
        known = name in VIDEO_TO_AUDIO or any(name.startswith(part.rstrip("*")) for part in TEXT_TO_AUDIO)
        if not known or name in ("scheduler", "tokenizer", "hubert"):
            continue
        count = sum(file_parameters(path) for path in weight_files(folder / name))
        width = 4 if name in _FULL_PRECISION else dtype.itemsize
        parts.append(PartMemory(name, count, count * width))
    return MemoryPlan(tuple(sorted(parts, key=lambda part: -part.n_bytes)))
