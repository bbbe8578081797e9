"""CLIP as a frame encoder: one pooled vector per frame of a video, frozen."""

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection

from audio_agent_zoo.errors import WeightsError

Pooling = Literal["pooler_output", "image_embeds", "patch_mean"]
"""How a frame becomes one vector: the class token (1024 for ViT-L/14), its projection (768), or the patches' mean."""

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
_FRAMES_AT_ONCE = 64
_BYTES_AT_ONCE = 2**26
"""Frames of an array that are resized together: 64 at most, and fewer of those as large as a cinema's."""

_WIDEST = 16
"""Sides of a frame are seen at this ratio at most, so that a frame one pixel high is no image of a million."""


class FrameEncoder(nn.Module):
    """CLIP vision tower over single frames.

    Args:
        clip: The tower.
        pooling: Which vector stands for a frame. The paper pools "within each frame" to CLIP's hidden size,
            which is what `pooler_output` gives.

    Raises:
        ValueError: For an unknown pooling.

    Source: Audio-Agent, section 3.3.
    """

    def __init__(self, clip: CLIPVisionModelWithProjection, pooling: Pooling = "pooler_output") -> None:
        super().__init__()
        if pooling not in get_args(Pooling):
            raise ValueError(f"pooling is {pooling!r}; choose one of {', '.join(get_args(Pooling))}.")
        self.clip = clip.eval().requires_grad_(False)
        self.pooling: Pooling = pooling
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, pooling: Pooling = "pooler_output", dtype: torch.dtype = torch.float32
    ) -> "FrameEncoder":
        """Load a CLIP vision tower, or the vision half of a whole CLIP, from a local folder.

        Raises:
            WeightsError: If weights of the tower are missing there.
            ValueError: For an unknown pooling.
        """
        kind: Any = CLIPVisionModelWithProjection  # typed as if it always gave the model alone
        clip, report = kind.from_pretrained(folder, dtype=dtype, local_files_only=True, output_loading_info=True)
        # A tower that was saved without its projection does for the vectors that don't pass through it.
        spared = set() if pooling == "image_embeds" else {"visual_projection.weight"}
        if missing := sorted(set(report["missing_keys"]) - spared):
            raise WeightsError(f"{folder} lacks {len(missing)} weights of a CLIP vision tower, such as {missing[0]}.")
        return cls(clip, pooling)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the tower to `folder`; the pooling belongs into the published config."""
        self.clip.save_pretrained(folder)

    @property
    def image_size(self) -> int:
        """Pixels along each side of what the tower sees."""
        return int(self.clip.config.image_size)

    @property
    def dim(self) -> int:
        """Size of a frame's vector."""
        config = self.clip.config
        return int(config.projection_dim if self.pooling == "image_embeds" else config.hidden_size)

    def fitted_size(self, width: int, height: int) -> tuple[int, int]:
        """`(height, width)` a video is best decoded at: its shorter side as long as the tower's image."""
        size, scale = self.image_size, self.image_size / min(width, height)
        tall, wide = (min(max(size, round(side * scale)), _WIDEST * size) for side in (height, width))
        return tall, wide

    def pixels(self, frames: Tensor) -> Tensor:
        """Centre of each frame, scaled and normalised.

        Args:
            frames: `(frames, height, width, 3)` uint8.

        Returns:
            `(frames, 3, image_size, image_size)` in the tower's dtype.
        """
        size = self.image_size
        images = frames.permute(0, 3, 1, 2).to(self.mean.device, torch.float32) / 255
        target = self.fitted_size(images.shape[-1], images.shape[-2])
        if target != images.shape[-2:]:
            images = F.interpolate(images, target, mode="bicubic", antialias=True).clamp(0, 1)
        top, left = (target[0] - size) // 2, (target[1] - size) // 2
        images = images[..., top : top + size, left : left + size]
        return ((images - self.mean) / self.std).to(self.clip.dtype)

    def forward(self, pixels: Tensor) -> Tensor:
        """Vectors `(frames, dim)` of normalised images `(frames, 3, image_size, image_size)`."""
        if self.pooling == "image_embeds":
            vectors: Tensor = self.clip(pixels).image_embeds
            return vectors
        states = self.clip.vision_model(pixels)
        vectors = states.pooler_output if self.pooling == "pooler_output" else states.last_hidden_state[:, 1:].mean(1)
        return vectors

    @torch.inference_mode()
    def encode(self, frames: NDArray[np.uint8] | Tensor) -> Tensor:
        """Vectors `(frames, dim)` in float32 on the CPU, of frames `(frames, height, width, 3)` uint8.

        Raises:
            ValueError: If the frames have another shape or type.
        """
        check_frames(frames)
        step = max(1, min(_FRAMES_AT_ONCE, _BYTES_AT_ONCE // (frames.shape[1] * frames.shape[2] * 3)))
        vectors = []
        for start in range(0, len(frames), step):
            part = frames[start : start + step]
            # A copy, as arrays may be read-only or run backwards, which PyTorch has no word for.
            pictures = part if isinstance(part, Tensor) else torch.from_numpy(np.array(part))
            vectors.append(self(self.pixels(pictures)).float().cpu())
        return torch.cat(vectors)


def check_frames(frames: NDArray[np.uint8] | Tensor) -> None:
    """Refuse what is no `(frames, height, width, 3)` uint8 with at least one frame.

    Raises:
        ValueError: If the frames have another shape or type.
    """
    shape = tuple(frames.shape)
    if len(shape) != 4 or shape[-1] != 3 or 0 in shape or frames.dtype not in (torch.uint8, np.uint8):
        raise ValueError(f"frames are {shape} {frames.dtype}; give (frames, height, width, 3) uint8, at least one.")
