"""VGGish: one vector per 0.96 s of sound, the feature space that "FAD" means."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SAMPLE_RATE = 16_000
"""Samples per second it was trained on."""

_WINDOW, _HOP, _N_FFT = 400, 160, 512
_BANDS, _LOWEST_HZ, _HIGHEST_HZ = 64, 125.0, 7500.0
_LOG_OFFSET = 0.01
_PATCH_FRAMES = 96

SHORTEST_SAMPLES = _WINDOW + (_PATCH_FRAMES - 1) * _HOP
"""Samples of one patch (0.975 s)."""


@lru_cache(maxsize=1)
def _bands() -> Tensor:
    """Triangles on HTK's mel scale, straight in mel and not in Hz, without normalisation: `(bins, bands)` float64."""
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(
        num_frequency_bins=_N_FFT // 2 + 1,
        num_mel_filters=_BANDS,
        min_frequency=_LOWEST_HZ,
        max_frequency=_HIGHEST_HZ,
        sampling_rate=SAMPLE_RATE,
        norm=None,
        mel_scale="htk",
        triangularize_in_mel_space=True,
    )
    return torch.from_numpy(bank)


def vggish_patches(waveform: Tensor) -> Tensor:
    """Log-mel patches, one after the other without overlap; what is left at the end is dropped.

    A clip shorter than a patch is padded with silence; the public code has no patch for it, and so leaves it out of
    a distance without a word.

    Args:
        waveform: `(batch, samples)` in [-1, 1] at 16 kHz.

    Returns:
        `(batch, patches, 96, 64)` float32, frames by bands, natural log of magnitude.

    Raises:
        ValueError: If the shape differs.

    Source: Hershey et al., "CNN Architectures for Large-Scale Audio Classification" (2017), with the constants of
        its release: Hann windows of 25 ms every 10 ms, each zero-padded to 512 samples, 0.01 added before the log.
    """
    if waveform.ndim != 2 or not waveform.shape[1]:
        raise ValueError(f"waveform has shape {tuple(waveform.shape)}; give mono clips (batch, samples).")
    # In double precision, as the release computes it before the network.
    padded = F.pad(waveform.double(), (0, max(0, SHORTEST_SAMPLES - waveform.shape[1])))
    window = torch.hann_window(_WINDOW, dtype=padded.dtype, device=padded.device)
    spectrum = torch.fft.rfft(padded.unfold(1, _WINDOW, _HOP) * window, _N_FFT).abs()
    log_mel: Tensor = (spectrum @ _bands().to(padded.device) + _LOG_OFFSET).log()
    n_patches = log_mel.shape[1] // _PATCH_FRAMES
    return log_mel[:, : n_patches * _PATCH_FRAMES].reshape(len(waveform), n_patches, _PATCH_FRAMES, _BANDS).float()


class Vggish(nn.Module):
    """Six convolutions and three linear layers over a log-mel patch.

    Names and order of the weights are those of the public PyTorch port, so that its state dict loads as it is.

    Args:
        channels: Width after each convolution.
        hidden: Width of the two hidden layers.
        dim: Length of the embedding.

    Attributes:
        dim: Length of the embedding.

    Source: Hershey et al. (2017).
    """

    def __init__(
        self, channels: tuple[int, ...] = (64, 128, 256, 256, 512, 512), hidden: int = 4096, dim: int = 128
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 1
        for place, channel in enumerate(channels):
            layers += [nn.Conv2d(width, channel, 3, padding=1), nn.ReLU()]
            width = channel
            if place in (0, 1, 3, 5):
                layers.append(nn.MaxPool2d(2))
        self.dim = dim
        self.features = nn.Sequential(*layers)
        # The public Sequential ends in a ReLU that has no weights and is left out of distances.
        self.embeddings = nn.Sequential(
            nn.Linear(width * (_PATCH_FRAMES // 16) * (_BANDS // 16), hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, dim),
        )

    def forward(self, waveform: Tensor) -> Tensor:
        """Embeddings `(batch * patches, dim)` of clips `(batch, samples)` at 16 kHz, clip by clip.

        They are the raw ones of distances: without the last ReLU, whitening and rounding of the released AudioSet
        embeddings.
        """
        patches = vggish_patches(waveform).flatten(0, 1).unsqueeze(1)
        maps = self.features(patches.to(next(self.parameters())))
        # The original is laid out with the channels last.
        embeddings: Tensor = self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))
        return embeddings
