"""Wav2CLIP: a sound as a vector in the space of CLIP's images, to measure how a sound fits a video."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SAMPLE_RATE = 16_000
"""Samples per second it was trained on."""

_N_FFT, _HOP = 512, 353
_LOG_OFFSET = 1e-7
_SPREAD_FLOOR = 1e-9

SHORTEST_SAMPLES = _N_FFT // 2 + 1
"""Samples below which a window can't be reflected at the ends."""


def wav2clip_spectrogram(waveform: Tensor) -> Tensor:
    """Log power spectrogram, each clip brought to mean 0 and spread 1.

    The public code takes mean and spread over the whole batch, so that a clip's values depend on its neighbours; here
    they are the clip's own, as there for a batch of one. A clip too short for a window is padded with silence.

    Args:
        waveform: `(batch, samples)` in [-1, 1] at 16 kHz.

    Returns:
        `(batch, 257, frames)` float32, bins by frames. Silence is all zeros.

    Raises:
        ValueError: If the shape differs.

    Source: Wu et al., "Wav2CLIP" (2022), with the constants of its release: Hann windows of 512 samples every 353,
        centred and reflected at the ends, 1e-7 added before the log.
    """
    if waveform.ndim != 2 or not waveform.shape[1]:
        raise ValueError(f"waveform has shape {tuple(waveform.shape)}; give mono clips (batch, samples).")
    padded = F.pad(waveform.float(), (0, max(0, SHORTEST_SAMPLES - waveform.shape[1])))
    window = torch.hann_window(_N_FFT, device=padded.device)
    spectrum = torch.stft(padded, _N_FFT, _HOP, window=window, center=True, pad_mode="reflect", return_complex=True)
    logs = (spectrum.real.square() + spectrum.imag.square() + _LOG_OFFSET).log()
    # A constant spectrogram would otherwise come out as its rounding error divided by next to nothing.
    centred = torch.where(
        logs.amax((1, 2), keepdim=True) > logs.amin((1, 2), keepdim=True),
        logs - logs.mean((1, 2), keepdim=True),
        torch.zeros_like(logs),
    )
    return centred / (logs.std((1, 2), keepdim=True) + _SPREAD_FLOOR)


class _Block(nn.Module):
    """Two convolutions beside a shortcut, named as in the public checkpoint."""

    def __init__(self, width: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, channels, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or width != channels:
            self.downsample = nn.Sequential(nn.Conv2d(width, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, maps: Tensor) -> Tensor:
        made = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps)))))
        return F.relu(made + self.downsample(maps))


class _Encoder(nn.Module):
    """A ResNet-18 over spectrograms, up to its pooled maps."""

    def __init__(self, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels[0], 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        first, second, third, fourth = channels
        self.layer1 = nn.Sequential(_Block(first, first, 1), _Block(first, first, 1))
        self.layer2 = nn.Sequential(_Block(first, second, 2), _Block(second, second, 1))
        self.layer3 = nn.Sequential(_Block(second, third, 2), _Block(third, third, 1))
        self.layer4 = nn.Sequential(_Block(third, fourth, 2), _Block(fourth, fourth, 1))

    def forward(self, spectrogram: Tensor) -> Tensor:
        maps = F.max_pool2d(F.relu(self.bn1(self.conv1(spectrogram.unsqueeze(1)))), 3, 2, padding=1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = layer(maps)
        return maps.mean(dim=(2, 3))


class _Projection(nn.Module):
    """From what is heard to where CLIP would see it."""

    def __init__(self, width: int, hidden: int, dim: int) -> None:
        super().__init__()
        # The third place is the public layout's dropout.
        self.sequential = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Identity(), nn.Linear(hidden, dim))

    def forward(self, heard: Tensor) -> Tensor:
        seen: Tensor = self.sequential(heard)
        return seen


class Wav2Clip(nn.Module):
    """A ResNet-18 over spectrograms and two linear layers into the image space of CLIP ViT-B/32.

    For inference alone. Names and order of the weights are those of the public checkpoint, which also holds what only
    its training needed.

    Args:
        channels: Width after each of the four stages.
        hidden: Width between the two linear layers.
        dim: Length of the embedding; that of CLIP's images.

    Source: Wu et al., "Wav2CLIP: Learning Robust Audio Representations From CLIP" (2022).
    """

    def __init__(
        self, channels: tuple[int, int, int, int] = (64, 128, 256, 512), hidden: int = 512, dim: int = 512
    ) -> None:
        super().__init__()
        self.dim = dim
        self.audio_encoder = _Encoder(channels)
        self.audio_transform = _Projection(channels[-1], hidden, dim)

    def forward(self, waveform: Tensor) -> Tensor:
        """Embeddings `(batch, dim)` of clips `(batch, samples)` at 16 kHz; their length has no meaning."""
        spectrogram = wav2clip_spectrogram(waveform).to(next(self.parameters()))
        embeddings: Tensor = self.audio_transform(self.audio_encoder(spectrogram))
        return embeddings
