"""Discriminators that tell real sound from vocoded sound by its spectrograms at several resolutions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

Resolution = tuple[int, int]
"""`(n_fft, hop)` in samples."""


class SpectrogramDiscriminator(nn.Module):
    """Convolutions over one log-magnitude spectrogram; each output judges a patch of time and frequency.

    Args:
        n_fft: FFT and window size in samples.
        hop: Samples between columns.
        width: Channels of the hidden layers.
    """

    def __init__(self, n_fft: int, hop: int, width: int = 16) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        strides = ((1, 1), (2, 1), (2, 1), (2, 2))
        widths = (1, width, width, 2 * width, 2 * width)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (5, 3), stride, padding=(2, 1)))
            for a, b, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.last = weight_norm(nn.Conv2d(2 * width, 1, 3, padding=1))

    def forward(self, waveform: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Judge `(batch, samples)`; returns patch scores `(batch, 1, rows, columns)` and the hidden maps."""
        window = torch.hann_window(self.n_fft, device=waveform.device)
        spectrum = torch.stft(waveform.float(), self.n_fft, self.hop, window=window, return_complex=True)
        maps, hidden = torch.log(spectrum.abs().clamp(min=1e-4)).unsqueeze(1), []
        for layer in self.layers:
            maps = F.leaky_relu(layer(maps), 0.1)
            hidden.append(maps)
        return self.last(maps), hidden


class SpectrogramDiscriminators(nn.Module):
    """One `SpectrogramDiscriminator` per resolution.

    Source: UnivNet's multi-resolution discriminator, with magnitudes in log.
    """

    def __init__(
        self, resolutions: tuple[Resolution, ...] = ((1024, 256), (512, 128), (2048, 512)), width: int = 16
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleList(SpectrogramDiscriminator(n_fft, hop, width) for n_fft, hop in resolutions)

    def forward(self, waveform: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
        """Scores and hidden maps of `(batch, samples)` at every resolution."""
        return [part(waveform) for part in self.parts]
