"""What a video tells the UNet: the centroids that sound in the stretch of each image."""

from collections.abc import Sequence
from math import ceil
from typing import Any

import torch
from torch import Tensor

from audio_agent_zoo.models.visual_adapter import VisualAdapter
from audio_agent_zoo.pipelines.windows import Window
from audio_agent_zoo.rates import SEMANTIC_TOKEN_RATE


class VisualGuide:
    """The guide of a text-to-audio pipeline whose UNet has a visual adapter attached.

    Args:
        adapter: The attached adapter.
        centroids: `(tokens, centroid_dim)` of each sound, on the CPU.
        scale: Weight of the visual attention.
        mel_rate: Mel columns per second.
    """

    def __init__(self, adapter: VisualAdapter, centroids: Sequence[Tensor], scale: float, mel_rate: float) -> None:
        self.adapter, self.centroids, self.scale = adapter, centroids, scale
        self.mel_rate, self.columns_per_token = mel_rate, mel_rate / SEMANTIC_TOKEN_RATE

    def unet_arguments(self, windows: Sequence[Window], aspect: float, guided: bool) -> dict[str, Any]:
        """The visual condition of images of one width; the empty half of the batch sees none."""
        if self.scale == 0:
            return {}
        width = windows[0].width
        n_tokens = ceil(width / self.columns_per_token)
        dim = self.centroids[0].shape[1]
        device = self.adapter.device
        states, mask = torch.zeros(len(windows), n_tokens, dim), torch.zeros(len(windows), n_tokens, dtype=torch.bool)
        for row, window in enumerate(windows):
            first = round(window.start / self.columns_per_token)
            own = self.centroids[window.item][first : first + n_tokens]
            states[row, : len(own)] = own
            mask[row, : len(own)] = True
        dropped = torch.zeros(len(windows), dtype=torch.bool)
        if guided:
            states, mask = torch.cat([states, states]), torch.cat([mask, mask])
            dropped = torch.cat([~dropped, dropped])
        visual = self.adapter.condition(
            states.to(device),
            scale=self.scale,
            mask=None if bool(mask.all()) else mask.to(device),
            dropped=dropped.to(device) if guided else None,
            window_s=width / self.mel_rate,
            aspect=aspect,
        )
        return {"cross_attention_kwargs": {"visual": visual}}
