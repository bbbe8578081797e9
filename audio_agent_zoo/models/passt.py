"""PaSST: a vision transformer over mel spectrograms, whose AudioSet logits and embedding "KL-PaSST" stands on."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SAMPLE_RATE = 32_000
"""Samples per second it was trained on."""

CLIP_SAMPLES = 10 * SAMPLE_RATE
"""Samples it hears: its places in time end after 10 s."""

_WINDOW, _HOP, _N_FFT = 800, 320, 1024
# The upper edge is what the public wrapper falls back to: 1 kHz, half its augmentation, below the highest frequency.
_BANDS, _LOWEST_HZ, _HIGHEST_HZ = 128, 0.0, 15_000.0
_PREEMPHASIS = 0.97
_LOG_OFFSET = 1e-5
_PATCH, _STRIDE = 16, 10


@lru_cache(maxsize=1)
def _bands() -> Tensor:
    """Kaldi's mel filterbank `(bins, bands)`: triangles that are straight in mel, without normalisation."""
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(
        num_frequency_bins=_N_FFT // 2 + 1,
        num_mel_filters=_BANDS,
        min_frequency=_LOWEST_HZ,
        max_frequency=_HIGHEST_HZ,
        sampling_rate=SAMPLE_RATE,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    return torch.from_numpy(bank).float()


def passt_log_mel(waveform: Tensor) -> Tensor:
    """Normalised log-mel spectrogram of the first 10 s, one frame per 10 ms.

    Shorter clips are padded with silence, as MMAudio's benchmark does; the network itself would take them as they
    are and give other values.

    Args:
        waveform: `(batch, samples)` in [-1, 1] at 32 kHz.

    Returns:
        `(batch, 128, 1000)` float32, bands by frames.

    Raises:
        ValueError: If the shape differs.

    Source: Koutini et al., "Efficient Training of Audio Transformers with Patchout" (2022), with the constants of its
        release: pre-emphasis, symmetric Hann windows of 25 ms, centred and reflected, 1e-5 added before the log.
    """
    if waveform.ndim != 2 or not waveform.shape[1]:
        raise ValueError(f"waveform has shape {tuple(waveform.shape)}; give mono clips (batch, samples).")
    heard = waveform[:, :CLIP_SAMPLES].float()
    heard = F.pad(heard, (0, CLIP_SAMPLES - heard.shape[1]))
    heard = heard[:, 1:] - _PREEMPHASIS * heard[:, :-1]
    window = torch.hann_window(_WINDOW, periodic=False, device=heard.device)
    spectrum = torch.stft(heard, _N_FFT, _HOP, _WINDOW, window, center=True, pad_mode="reflect", return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    log_mel = (_bands().to(power.device).T @ power + _LOG_OFFSET).log()
    return (log_mel + 4.5) / 5.0


class _Patches(nn.Module):
    """Overlapping squares of the spectrogram to vectors."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, dim, _PATCH, _STRIDE)

    def forward(self, log_mel: Tensor) -> Tensor:
        maps: Tensor = self.proj(log_mel.unsqueeze(1))
        return maps


class _Attention(nn.Module):
    """Self-attention with query, key and value in one matrix."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed: Tensor = self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return mixed


class _Mlp(nn.Module):
    """Two linear layers."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        mixed: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return mixed


class _Block(nn.Module):
    """One layer of the transformer, normalised before each half."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn, self.mlp = _Attention(dim, heads), _Mlp(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        tokens = tokens + self.mlp(self.norm2(tokens))
        return tokens


class Passt(nn.Module):
    """Overlapping patches, two tokens that gather, a transformer, a logit per class.

    For inference alone: it knows no patchout, dropout or augmentation. Names and order of the weights are those of
    the public checkpoint.

    Args:
        dim: Width of the transformer, and length of the embedding.
        depth: Number of layers.
        heads: Attention heads per layer.
        n_classes: Number of classes; 527 of AudioSet.

    Source: Koutini et al. (2022), `passt_s_swa_p16_128_ap476`: 16x16 patches every 10, places in frequency and in
        time learned apart.
    """

    def __init__(self, dim: int = 768, depth: int = 12, heads: int = 12, n_classes: int = 527) -> None:
        super().__init__()
        rows, columns = (_BANDS - _PATCH) // _STRIDE + 1, (CLIP_SAMPLES // _HOP - _PATCH) // _STRIDE + 1
        self.cls_token, self.dist_token = nn.Parameter(torch.zeros(1, 1, dim)), nn.Parameter(torch.zeros(1, 1, dim))
        self.new_pos_embed = nn.Parameter(torch.zeros(1, 2, dim))
        self.freq_new_pos_embed = nn.Parameter(torch.zeros(1, dim, rows, 1))
        self.time_new_pos_embed = nn.Parameter(torch.zeros(1, dim, 1, columns))
        self.patch_embed = _Patches(dim)
        self.blocks = nn.Sequential(*(_Block(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, n_classes))
        # Of the distillation that DeiT was trained with: it has weights, and no part in the result.
        self.head_dist = nn.Linear(dim, n_classes)

    @property
    def dim(self) -> int:
        """Length of the embedding."""
        return self.norm.normalized_shape[0]

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.head_dist.out_features

    def features(self, waveform: Tensor) -> Tensor:
        """Embeddings `(batch, dim)` of clips `(batch, samples)` at 32 kHz: the mean of the two gathering tokens."""
        maps = self.patch_embed(passt_log_mel(waveform).to(self.cls_token))
        tokens = (maps + self.time_new_pos_embed + self.freq_new_pos_embed).flatten(2).transpose(1, 2)
        gathering = torch.cat([self.cls_token, self.dist_token], dim=1) + self.new_pos_embed
        tokens = torch.cat([gathering.expand(len(tokens), -1, -1), tokens], dim=1)
        return torch.as_tensor(self.norm(self.blocks(tokens))[:, :2].mean(dim=1))

    def forward(self, waveform: Tensor) -> Tensor:
        """Class logits `(batch, n_classes)` of clips `(batch, samples)` at 32 kHz."""
        logits: Tensor = self.head(self.features(waveform))
        return logits
