"""CNN14 of PANNs at 16 kHz: embedding and AudioSet logits of a clip, a feature space of FD, KL and IS."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SAMPLE_RATE = 16_000
"""Samples per second it was trained on."""

_N_FFT, _HOP = 512, 160
_BANDS, _LOWEST_HZ, _HIGHEST_HZ = 64, 50.0, 8000.0
_POWER_FLOOR = 1e-10

SHORTEST_SAMPLES = 31 * _HOP
"""Samples below which five halvings leave no frame (0.31 s)."""


@lru_cache(maxsize=1)
def mel_weights() -> Tensor:
    """Slaney-normalised mel filterbank `(bins, bands)`, as the public checkpoint carries it."""
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(
        num_frequency_bins=_N_FFT // 2 + 1,
        num_mel_filters=_BANDS,
        min_frequency=_LOWEST_HZ,
        max_frequency=_HIGHEST_HZ,
        sampling_rate=SAMPLE_RATE,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(bank).float()


def panns_log_mel(waveform: Tensor) -> Tensor:
    """Log-mel spectrogram in dB of power, one frame per 10 ms.

    A clip too short for the network is padded with silence; the public code fails on it.

    Args:
        waveform: `(batch, samples)` in [-1, 1] at 16 kHz.

    Returns:
        `(batch, frames, 64)` float32.

    Raises:
        ValueError: If the shape differs.

    Source: Kong et al., "PANNs" (2020), the 16 kHz variant: Hann windows of 512 samples, centred, reflected at the
        ends, powers floored at 1e-10.
    """
    if waveform.ndim != 2 or not waveform.shape[1]:
        raise ValueError(f"waveform has shape {tuple(waveform.shape)}; give mono clips (batch, samples).")
    padded = F.pad(waveform.float(), (0, max(0, SHORTEST_SAMPLES - waveform.shape[1])))
    window = torch.hann_window(_N_FFT, device=padded.device)
    spectrum = torch.stft(padded, _N_FFT, _HOP, window=window, center=True, pad_mode="reflect", return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    return 10 * (power.transpose(1, 2) @ mel_weights().to(padded.device)).clamp(min=_POWER_FLOOR).log10()


class _ConvBlock(nn.Module):
    """Two convolutions with batch norm, named as in the public checkpoint."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps))))))


class Cnn14(nn.Module):
    """Six blocks of two convolutions over a log-mel spectrogram, a pooled embedding, a logit per class.

    For inference alone: it knows no dropout and no augmentation. Names and order of the weights are those of the
    public checkpoint.

    Args:
        channels: Width of each block.
        dim: Length of the embedding.
        n_classes: Number of classes; 527 of AudioSet.

    Source: Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition" (2020).
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048),
        dim: int = 2048,
        n_classes: int = 527,
    ) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(_BANDS)
        widths = (1, *channels)
        self.conv_block1, self.conv_block2, self.conv_block3, self.conv_block4, self.conv_block5, self.conv_block6 = (
            _ConvBlock(width, channel) for width, channel in zip(widths, channels, strict=False)
        )
        self.fc1 = nn.Linear(channels[-1], dim)
        self.fc_audioset = nn.Linear(dim, n_classes)

    def features(self, waveform: Tensor) -> Tensor:
        """Embeddings `(batch, dim)` of clips `(batch, samples)` at 16 kHz, at least 0."""
        log_mel = panns_log_mel(waveform).to(self.fc1.weight)
        maps = self.bn0(log_mel.transpose(1, 2).unsqueeze(2)).permute(0, 2, 3, 1)
        for block in (self.conv_block1, self.conv_block2, self.conv_block3, self.conv_block4, self.conv_block5):
            maps = F.avg_pool2d(block(maps), 2)
        course = self.conv_block6(maps).mean(dim=3)
        return F.relu(self.fc1(course.amax(dim=2) + course.mean(dim=2)))

    def forward(self, waveform: Tensor) -> Tensor:
        """Class logits `(batch, n_classes)` of clips `(batch, samples)` at 16 kHz."""
        logits: Tensor = self.fc_audioset(self.features(waveform))
        return logits
