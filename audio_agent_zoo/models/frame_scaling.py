"""Frames of a video at the size a public network sees them."""

import torch
import torch.nn.functional as F
from torch import Tensor


def short_side_scaled(frames: Tensor, pixels: int, *, fewest: int = 1) -> Tensor:
    """Frames whose shorter side has a given length, with their proportions kept.

    Args:
        frames: `(frames, height, width, 3)` uint8.
        pixels: Length of the shorter side.
        fewest: Frames there must be.

    Returns:
        `(frames, 3, height, width)` float32, whole numbers in [0, 255]: rounded, as images of bytes are when scaled.

    Raises:
        ValueError: If shape or type differ, or there are too few frames.
    """
    if (
        frames.ndim != 4
        or frames.shape[3] != 3
        or frames.dtype != torch.uint8
        or not frames.shape[1] * frames.shape[2]
        or len(frames) < fewest
    ):
        raise ValueError(
            f"frames have shape {tuple(frames.shape)} and are {frames.dtype}; give (frames, height, width, 3) uint8, "
            f"at least {fewest} frames."
        )
    height, width = frames.shape[1:3]
    short = min(height, width)
    size = (pixels * height // short, pixels * width // short)
    images = frames.permute(0, 3, 1, 2).float()
    if size != (height, width):
        images = F.interpolate(images, size, mode="bicubic", antialias=True).round().clamp(0, 255)
    return images
