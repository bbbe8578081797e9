"""The judge: a small convolutional network that names the class of a Foley sound.

It is trained on real procedural clips alone, so that its verdict on generated sound is independent of
the generator; its embedding is the feature space of the offline Fréchet distance.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from audio_agent_zoo.models.mel import MelConfig, log_mel, to_image


class FoleyClassifier(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers' bases are untyped
    """Log-mel image -> convolutions -> pooled embedding -> class logits.

    Args:
        class_names: Label names in the order of the logits.
        channels: Width of each convolution block; every block halves both axes of the image.
        embedding_dim: Size of the feature vector.
        mel: Front-end constants as plain values (`MelConfig.to_dict`).
        dropout: Dropout before the last layer.
    """

    @register_to_config
    def __init__(
        self,
        class_names: Sequence[str] = ("silence",),
        channels: Sequence[int] = (16, 32, 64, 96),
        embedding_dim: int = 128,
        mel: dict[str, Any] | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.mel = MelConfig.from_dict(mel) if mel else MelConfig(n_mels=64)
        blocks: list[nn.Module] = []
        width = 1
        for out in channels:
            blocks += [
                nn.Conv2d(width, out, 3, stride=2, padding=1),
                nn.GroupNorm(8, out),
                nn.SiLU(),
                nn.Conv2d(out, out, 3, padding=1),
                nn.GroupNorm(8, out),
                nn.SiLU(),
            ]
            width = out
        self.blocks = nn.Sequential(*blocks)
        rows = -(-self.mel.n_mels // 2 ** len(channels))
        self.embed = nn.Linear(2 * width * rows, embedding_dim)
        self.drop = nn.Dropout(dropout)  # not `dropout`: diffusers reads that name from the config
        self.head = nn.Linear(embedding_dim, len(class_names))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Label names in the order of the logits."""
        return tuple(self.config.class_names)

    def features(self, waveform: Tensor) -> Tensor:
        """Embed clips of one length.

        Args:
            waveform: `(batch, samples)` at 16 kHz; each is scaled to peak 0.95 first, so level is no clue.

        Returns:
            `(batch, embedding_dim)`.
        """
        peak = waveform.abs().amax(dim=1, keepdim=True)
        waveform = torch.where(peak > 1e-6, waveform * (0.95 / peak.clamp(min=1e-6)), waveform)
        image = to_image(log_mel(waveform, self.mel), self.mel)[:, :1].to(self.dtype)
        maps = self.blocks(image).flatten(1, 2)
        pooled = torch.cat([maps.mean(-1), maps.amax(-1)], dim=1)
        return F.silu(self.embed(pooled))

    def forward(self, waveform: Tensor) -> Tensor:
        """Class logits `(batch, classes)` of clips `(batch, samples)` of one length at 16 kHz."""
        logits: Tensor = self.head(self.drop(self.features(waveform)))
        return logits
