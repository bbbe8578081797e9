"""CLIP as a frame encoder: one pooled vector per frame of a video, frozen."""

from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection

Pooling = Literal["pooler_output", "image_embeds", "patch_mean"]
"""How a frame becomes one vector: the class token (1024 for ViT-L/14), its projection (768), or the patches' mean."""

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
_FRAMES_AT_ONCE = 64


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
        """Load a CLIP vision tower, or the vision half of a whole CLIP, from a local folder."""
        clip = CLIPVisionModelWithProjection.from_pretrained(folder, dtype=dtype, local_files_only=True)
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
        scale = self.image_size / min(width, height)
        return max(self.image_size, round(height * scale)), max(self.image_size, round(width * scale))

    def pixels(self, frames: Tensor) -> Tensor:
        """Centre of each frame, scaled and normalised.

        Args:
            frames: `(frames, height, width, 3)` uint8.

        Returns:
            `(frames, 3, image_size, image_size)` in the tower's dtype.
        """
        size = self.image_size
        images = frames.permute(0, 3, 1, 2).to(self.mean.device, torch.float32) / 255
        height, width = images.shape[-2:]
        if min(height, width) != size:
            scale = size / min(height, width)
            target = (max(size, round(height * scale)), max(size, round(width * scale)))
            images = F.interpolate(images, target, mode="bicubic", antialias=True).clamp(0, 1)
            height, width = target
        top, left = (height - size) // 2, (width - size) // 2
        images = images[..., top : top + size, left : left + size]
        return ((images - self.mean) / self.std).to(self.clip.dtype)

    def forward(self, pixels: Tensor) -> Tensor:
        """Vectors `(frames, dim)` of normalised images `(frames, 3, image_size, image_size)`."""
        if self.pooling == "image_embeds":
            return self.clip(pixels).image_embeds
        states = self.clip.vision_model(pixels)
        return states.pooler_output if self.pooling == "pooler_output" else states.last_hidden_state[:, 1:].mean(1)

    @torch.inference_mode()
    def encode(self, frames: NDArray[np.uint8] | Tensor) -> Tensor:
        """Vectors `(frames, dim)` in float32 on the CPU, of frames `(frames, height, width, 3)` uint8.

        Raises:
            ValueError: If the frames have another shape or type.
        """
        pictures = torch.as_tensor(frames)
        if pictures.ndim != 4 or pictures.shape[-1] != 3 or pictures.dtype != torch.uint8 or not len(pictures):
            raise ValueError(
                f"frames are {tuple(pictures.shape)} {pictures.dtype}; give (frames, height, width, 3) uint8."
            )
        parts = [self(self.pixels(part)).float().cpu() for part in pictures.split(_FRAMES_AT_ONCE)]
        return torch.cat(parts)
