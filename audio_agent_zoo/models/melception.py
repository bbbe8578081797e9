"""Melception: an Inception v3 over mel spectrograms with VGGSound's classes, which "MKL" and its "FID" stand on."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SAMPLE_RATE = 22_050
"""Samples per second it was trained on."""

CLIP_SAMPLES = 10 * SAMPLE_RATE
"""Samples it hears."""

BANDS = 80
"""Mel bands, each with a mean and a spread of its own."""

_N_FFT, _HOP = 1024, 256
_LOWEST_HZ, _HIGHEST_HZ = 125.0, 7600.0
_MAGNITUDE_FLOOR = 1e-5
_FRAMES, _CROPPED_FRAMES = 860, 848


@lru_cache(maxsize=1)
def _bands() -> Tensor:
    """Slaney-normalised mel filterbank `(bins, bands)`."""
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(
        num_frequency_bins=_N_FFT // 2 + 1,
        num_mel_filters=BANDS,
        min_frequency=_LOWEST_HZ,
        max_frequency=_HIGHEST_HZ,
        sampling_rate=SAMPLE_RATE,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(bank)


def melception_log_mel(waveform: Tensor) -> Tensor:
    """Log-mel image of the first 10 s, as SpecVQGAN and its successors store sounds.

    Shorter clips are padded with silence. Of 860 frames the middle 848 are kept, as in training; the public script
    crops neither side where it reads generated WAV files.

    Args:
        waveform: `(batch, samples)` in [-1, 1] at 22.05 kHz.

    Returns:
        `(batch, 80, 848)` float32 in [0, 1], bands by frames: 0 at -100 dB and below, 1 at 0 dB and above, where
        0 dB is a magnitude of 10.

    Raises:
        ValueError: If the shape differs.

    Source: Iashin and Rahtu, "Taming Visually Guided Sound Generation" (2021), and its release: Hann windows of 1024
        samples every 256, reflected at the ends as librosa did before 0.10, magnitudes and not powers.
    """
    if waveform.ndim != 2 or not waveform.shape[1]:
        raise ValueError(f"waveform has shape {tuple(waveform.shape)}; give mono clips (batch, samples).")
    # In double precision, as the release computes it.
    heard = waveform[:, :CLIP_SAMPLES].double()
    heard = F.pad(heard, (0, CLIP_SAMPLES - heard.shape[1]))
    window = torch.hann_window(_N_FFT, dtype=heard.dtype, device=heard.device)
    spectrum = torch.stft(heard, _N_FFT, _HOP, window=window, center=True, pad_mode="reflect", return_complex=True)
    first = (_FRAMES - _CROPPED_FRAMES) // 2
    magnitudes = spectrum[:, :, first : first + _CROPPED_FRAMES].abs()
    decibels = 20 * (_bands().to(heard.device).T @ magnitudes).clamp(min=_MAGNITUDE_FLOOR).log10() - 20
    return ((decibels + 100) / 100).clamp(0.0, 1.0).float()


class _Conv(nn.Module):
    """Convolution, batch norm and ReLU, named as in the public checkpoint."""

    def __init__(
        self,
        width: int,
        channels: int,
        size: int | tuple[int, int] = 1,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, channels, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(maps)))


def _smoothed(maps: Tensor) -> Tensor:
    return F.avg_pool2d(maps, 3, 1, padding=1)


class _InceptionA(nn.Module):
    """Windows of 1, 5 and twice 3, and a smoothed branch."""

    def __init__(self, width: int, pooled: int, part: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(width, 64 // part)
        self.branch5x5_1 = _Conv(width, 48 // part)
        self.branch5x5_2 = _Conv(48 // part, 64 // part, 5, padding=2)
        self.branch3x3dbl_1 = _Conv(width, 64 // part)
        self.branch3x3dbl_2 = _Conv(64 // part, 96 // part, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96 // part, 96 // part, 3, padding=1)
        self.branch_pool = _Conv(width, pooled // part)

    def forward(self, maps: Tensor) -> Tensor:
        fives = self.branch5x5_2(self.branch5x5_1(maps))
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(maps)))
        return torch.cat([self.branch1x1(maps), fives, threes, self.branch_pool(_smoothed(maps))], dim=1)


class _InceptionB(nn.Module):
    """Halves the maps: a strided convolution, three of them, and the largest values."""

    def __init__(self, width: int, part: int) -> None:
        super().__init__()
        self.branch3x3 = _Conv(width, 384 // part, 3, 2)
        self.branch3x3dbl_1 = _Conv(width, 64 // part)
        self.branch3x3dbl_2 = _Conv(64 // part, 96 // part, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96 // part, 96 // part, 3, 2)

    def forward(self, maps: Tensor) -> Tensor:
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(maps)))
        return torch.cat([self.branch3x3(maps), threes, F.max_pool2d(maps, 3, 2)], dim=1)


class _InceptionC(nn.Module):
    """Windows of 7 as a row and a column, once and twice, and a smoothed branch."""

    def __init__(self, width: int, inner: int, part: int) -> None:
        super().__init__()
        inner, out = inner // part, 192 // part
        row: tuple[tuple[int, int], tuple[int, int]] = ((1, 7), (0, 3))
        column: tuple[tuple[int, int], tuple[int, int]] = ((7, 1), (3, 0))
        self.branch1x1 = _Conv(width, out)
        self.branch7x7_1 = _Conv(width, inner)
        self.branch7x7_2 = _Conv(inner, inner, row[0], padding=row[1])
        self.branch7x7_3 = _Conv(inner, out, column[0], padding=column[1])
        self.branch7x7dbl_1 = _Conv(width, inner)
        self.branch7x7dbl_2 = _Conv(inner, inner, column[0], padding=column[1])
        self.branch7x7dbl_3 = _Conv(inner, inner, row[0], padding=row[1])
        self.branch7x7dbl_4 = _Conv(inner, inner, column[0], padding=column[1])
        self.branch7x7dbl_5 = _Conv(inner, out, row[0], padding=row[1])
        self.branch_pool = _Conv(width, out)

    def forward(self, maps: Tensor) -> Tensor:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(maps)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(maps)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(maps), once, twice, self.branch_pool(_smoothed(maps))], dim=1)


class _InceptionD(nn.Module):
    """Halves the maps again, one branch with windows of 7 before."""

    def __init__(self, width: int, part: int) -> None:
        super().__init__()
        inner = 192 // part
        self.branch3x3_1 = _Conv(width, inner)
        self.branch3x3_2 = _Conv(inner, 320 // part, 3, 2)
        self.branch7x7x3_1 = _Conv(width, inner)
        self.branch7x7x3_2 = _Conv(inner, inner, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = _Conv(inner, inner, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = _Conv(inner, inner, 3, 2)

    def forward(self, maps: Tensor) -> Tensor:
        sevens = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(maps)))
        threes = self.branch3x3_2(self.branch3x3_1(maps))
        return torch.cat([threes, self.branch7x7x3_4(sevens), F.max_pool2d(maps, 3, 2)], dim=1)


class _InceptionE(nn.Module):
    """Windows of 3 that end in a row beside a column."""

    def __init__(self, width: int, part: int) -> None:
        super().__init__()
        inner = 384 // part
        self.branch1x1 = _Conv(width, 320 // part)
        self.branch3x3_1 = _Conv(width, inner)
        self.branch3x3_2a = _Conv(inner, inner, (1, 3), padding=(0, 1))
        self.branch3x3_2b = _Conv(inner, inner, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = _Conv(width, 448 // part)
        self.branch3x3dbl_2 = _Conv(448 // part, inner, 3, padding=1)
        self.branch3x3dbl_3a = _Conv(inner, inner, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = _Conv(inner, inner, (3, 1), padding=(1, 0))
        self.branch_pool = _Conv(width, 192 // part)

    def forward(self, maps: Tensor) -> Tensor:
        once = self.branch3x3_1(maps)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(maps))
        crosses = [self.branch3x3_2a(once), self.branch3x3_2b(once)]
        crosses += [self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice)]
        return torch.cat([self.branch1x1(maps), *crosses, self.branch_pool(_smoothed(maps))], dim=1)


class Melception(nn.Module):
    """Inception v3 with one input channel and without its first two poolings.

    For inference alone: without the side classifier of training and without dropout. Names and order of the weights
    are those of torchvision's Inception v3, and so of the public checkpoint.

    Args:
        n_classes: Number of classes; 309 of VGGSound.
        part: Divisor of every width, a power of two up to 16; 1 is the published network.

    Attributes:
        dim: Length of the embedding.
        band_means: `(80, 1)` mean of each band over VGGSound; no weight of the checkpoint.
        band_spreads: `(80, 1)` standard deviation of each band likewise.

    Raises:
        ValueError: For another divisor.

    Source: Iashin and Rahtu (2021); Szegedy et al., "Rethinking the Inception Architecture" (2016).
    """

    band_means: Tensor
    band_spreads: Tensor

    def __init__(self, n_classes: int = 309, part: int = 1) -> None:
        super().__init__()
        if part not in (1, 2, 4, 8, 16):
            raise ValueError(f"part is {part}; give 1, 2, 4, 8 or 16.")
        self.dim = 2048 // part
        self.register_buffer("band_means", torch.zeros(BANDS, 1), persistent=False)
        self.register_buffer("band_spreads", torch.ones(BANDS, 1), persistent=False)
        self.Conv2d_1a_3x3 = _Conv(1, 32 // part, 3, 2)
        self.Conv2d_2a_3x3 = _Conv(32 // part, 32 // part, 3)
        self.Conv2d_2b_3x3 = _Conv(32 // part, 64 // part, 3, padding=1)
        self.Conv2d_3b_1x1 = _Conv(64 // part, 80 // part)
        self.Conv2d_4a_3x3 = _Conv(80 // part, 192 // part, 3)
        self.Mixed_5b = _InceptionA(192 // part, 32, part)
        self.Mixed_5c = _InceptionA(256 // part, 64, part)
        self.Mixed_5d = _InceptionA(288 // part, 64, part)
        self.Mixed_6a = _InceptionB(288 // part, part)
        self.Mixed_6b = _InceptionC(768 // part, 128, part)
        self.Mixed_6c = _InceptionC(768 // part, 160, part)
        self.Mixed_6d = _InceptionC(768 // part, 160, part)
        self.Mixed_6e = _InceptionC(768 // part, 192, part)
        self.Mixed_7a = _InceptionD(768 // part, part)
        self.Mixed_7b = _InceptionE(1280 // part, part)
        self.Mixed_7c = _InceptionE(2048 // part, part)
        self.fc = nn.Linear(self.dim, n_classes)

    def features(self, waveform: Tensor) -> Tensor:
        """Embeddings `(batch, dim)` of clips `(batch, samples)` at 22.05 kHz."""
        log_mel = melception_log_mel(waveform).to(self.band_means)
        maps = ((log_mel - self.band_means) / self.band_spreads).unsqueeze(1).to(self.fc.weight)
        for name, layer in self.named_children():
            if name != "fc":
                maps = layer(maps)
        return maps.mean(dim=(2, 3))

    def forward(self, waveform: Tensor) -> Tensor:
        """Class logits `(batch, n_classes)` of clips `(batch, samples)` at 22.05 kHz."""
        logits: Tensor = self.fc(self.features(waveform))
        return logits
