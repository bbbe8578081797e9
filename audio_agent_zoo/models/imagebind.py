"""ImageBind's eyes and ears: videos and sounds in one space, which "IB score" stands on."""

from functools import lru_cache
from warnings import catch_warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audio_agent_zoo.models.frame_scaling import short_side_scaled

SAMPLE_RATE = 16_000
"""Samples per second of the sound."""

VISION_HEADS, AUDIO_HEADS = 16, 12
"""Attention heads of the published network."""

_WINDOW, _HOP, _N_FFT = 400, 160, 512
_BANDS, _LOWEST_HZ = 128, 20.0
_PREEMPHASIS = 0.97
_POWER_FLOOR = 2.0**-23
_MEAN, _SPREAD = -4.268, 9.138
_FRAMES = 204
_SOUND_CLIPS, _CLIP_SAMPLES = 3, 2 * SAMPLE_RATE
_PATCH, _STRIDE = 16, 10

_IMAGE, _IMAGE_PATCH, _PAIR = 224, 14, 2
_IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
_IMAGE_SPREAD = (0.26862954, 0.26130258, 0.27577711)


@lru_cache(maxsize=1)
def _bands() -> Tensor:
    """Kaldi's mel filterbank `(bins, bands)`: triangles straight in mel, without normalisation."""
    from transformers.audio_utils import mel_filter_bank

    # The lowest bands lie between two bins and are empty, as they were in training.
    with catch_warnings(category=UserWarning, action="ignore"):
        bank = mel_filter_bank(
            num_frequency_bins=_N_FFT // 2 + 1,
            num_mel_filters=_BANDS,
            min_frequency=_LOWEST_HZ,
            max_frequency=SAMPLE_RATE / 2,
            sampling_rate=SAMPLE_RATE,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
    return torch.from_numpy(bank).float()


def sound_clips(waveform: Tensor) -> Tensor:
    """Normalised log-mel spectrograms of 2 s each, from the beginning, the middle and the end of a sound.

    Sounds shorter than 2 s give the same clip three times. What lacks to a spectrogram's 204 frames is 0 before
    normalisation, which is what the published network was trained with.

    Args:
        waveform: `(batch, samples)` in [-1, 1] at 16 kHz; at least 400 samples.

    Returns:
        `(batch, 3, 128, 204)` float32, clips of bands by frames.

    Raises:
        ValueError: If the shape differs or the sounds are shorter than a window.

    Source: Girdhar et al., "ImageBind" (2023), and its release: Kaldi's mel bands of power, symmetric Hann windows of
        25 ms every 10 ms, each without its mean and pre-emphasised.
    """
    if waveform.ndim != 2 or waveform.shape[1] < _WINDOW:
        raise ValueError(
            f"waveform has shape {tuple(waveform.shape)}; give mono clips (batch, samples) of at least {_WINDOW}."
        )
    latest = max(0, waveform.shape[1] - _CLIP_SAMPLES)
    starts = [latest * place // (_SOUND_CLIPS - 1) for place in range(_SOUND_CLIPS)]
    clips = torch.stack([waveform[:, start : start + _CLIP_SAMPLES] for start in starts], dim=1).float()
    clips = clips - clips.mean(dim=2, keepdim=True)
    frames = clips.unfold(2, _WINDOW, _HOP)
    frames = frames - frames.mean(dim=3, keepdim=True)
    frames = frames - _PREEMPHASIS * torch.cat([frames[..., :1], frames[..., :-1]], dim=3)
    window = torch.hann_window(_WINDOW, periodic=False, device=frames.device)
    spectrum = torch.fft.rfft(frames * window, _N_FFT)
    power = spectrum.real.square() + spectrum.imag.square()
    log_mel = (power @ _bands().to(power.device)).clamp(min=_POWER_FLOOR).log().transpose(2, 3)
    return (F.pad(log_mel, (0, _FRAMES - log_mel.shape[3])) - _MEAN) / _SPREAD


def video_clips(frames: Tensor) -> Tensor:
    """Each two neighbouring frames, in three crops: the left, the middle and the right (or from top to bottom).

    Args:
        frames: `(frames, height, width, 3)` uint8, one every 2 s in MMAudio's benchmark. A single one is repeated, as
            ImageBind repeats images.

    Returns:
        `(clips, 3, 2, 224, 224)` float32, normalised as CLIP's images.

    Raises:
        ValueError: If shape or type differ.
    """
    images = short_side_scaled(frames, _IMAGE) / 255
    mean, spread = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (_IMAGE_MEAN, _IMAGE_SPREAD))
    images = (images - mean) / spread
    if len(images) == 1:
        images = images.repeat(_PAIR, 1, 1, 1)
    high, wide = (side - _IMAGE for side in images.shape[2:])
    corners = ((0, 0), (-(-high // 2), -(-wide // 2)), (high, wide))
    crops = [images[:, :, top : top + _IMAGE, left : left + _IMAGE] for top, left in corners]
    pairs = [crop[at : at + _PAIR].transpose(0, 1) for crop in crops for at in range(len(images) - 1)]
    return torch.stack(pairs)


class _Block(nn.Module):
    """One layer of a transformer, normalised before each half."""

    def __init__(self, dim: int, heads: int, bias_kv: bool) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, heads, add_bias_kv=bias_kv, batch_first=True)
        self.norm_1, self.norm_2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})

    def forward(self, tokens: Tensor) -> Tensor:
        normalised = self.norm_1(tokens)
        tokens = tokens + self.attn(normalised, normalised, normalised, need_weights=False)[0]
        tokens = tokens + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm_2(tokens))))
        return tokens


class _Patches(nn.Module):
    """A class token and patches with their places."""

    def __init__(self, stem: nn.Module, dim: int, n_patches: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.rgbt_stem = stem
        places = nn.Parameter(torch.zeros(1, 1 + n_patches, dim))
        self.pos_embedding_helper = nn.ParameterDict({"pos_embed": places})

    def forward(self, clips: Tensor) -> Tensor:
        tokens = torch.cat([self.cls_token.expand(len(clips), -1, -1), self.rgbt_stem(clips)], dim=1)
        placed: Tensor = tokens + self.pos_embedding_helper["pos_embed"]
        return placed


class _ImageStem(nn.Module):
    """Patches of two frames at once."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        block = (_PAIR, _IMAGE_PATCH, _IMAGE_PATCH)
        # The first place is the public layout's repetition of single images.
        self.proj = nn.Sequential(nn.Identity(), nn.Conv3d(3, dim, block, block, bias=False))

    def forward(self, clips: Tensor) -> Tensor:
        patches: Tensor = self.proj(clips).flatten(2).transpose(1, 2)
        return patches


class _SoundStem(nn.Module):
    """Overlapping patches of a spectrogram, normalised."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, dim, _PATCH, _STRIDE, bias=False)
        self.norm_layer = nn.LayerNorm(dim)

    def forward(self, clips: Tensor) -> Tensor:
        patches: Tensor = self.norm_layer(self.proj(clips.unsqueeze(1)).flatten(2).transpose(1, 2))
        return patches


class _Trunk(nn.Module):
    """The transformer of one sense."""

    def __init__(self, dim: int, depth: int, heads: int, first: nn.Module, bias_kv: bool) -> None:
        super().__init__()
        self.pre_transformer_layer = nn.Sequential(first)
        self.blocks = nn.Sequential(*(_Block(dim, heads, bias_kv) for _ in range(depth)))

    def forward(self, tokens: Tensor) -> Tensor:
        mixed: Tensor = self.blocks(self.pre_transformer_layer(tokens))
        return mixed


def _head(dim: int, out: int) -> nn.Sequential:
    # The place between is the public layout's choice of the class token.
    return nn.Sequential(nn.LayerNorm(dim, eps=1e-6), nn.Identity(), nn.Linear(dim, out, bias=False))


class ImageBind(nn.Module):
    """The two of ImageBind's six senses that a video has.

    For inference alone. Names and order of the weights are those of the public checkpoint, which also holds text,
    depth, heat and motion.

    Args:
        dim: Length of an embedding.
        vision_dim: Width of the video's transformer.
        vision_depth: Its layers.
        audio_dim: Width of the sound's transformer.
        audio_depth: Its layers.

    Source: Girdhar et al., "ImageBind: One Embedding Space To Bind Them All" (2023), `imagebind_huge`.
    """

    def __init__(
        self,
        dim: int = 1024,
        vision_dim: int = 1280,
        vision_depth: int = 32,
        audio_dim: int = 768,
        audio_depth: int = 12,
    ) -> None:
        super().__init__()
        self.dim = dim
        n_images = (_IMAGE // _IMAGE_PATCH) ** 2
        n_squares = ((_BANDS - _PATCH) // _STRIDE + 1) * ((_FRAMES - _PATCH) // _STRIDE + 1)
        self.modality_preprocessors = nn.ModuleDict(
            {
                "vision": _Patches(_ImageStem(vision_dim), vision_dim, n_images),
                "audio": _Patches(_SoundStem(audio_dim), audio_dim, n_squares),
            }
        )
        normalised = nn.LayerNorm(vision_dim, eps=1e-6)
        self.modality_trunks = nn.ModuleDict(
            {
                "vision": _Trunk(vision_dim, vision_depth, VISION_HEADS, normalised, bias_kv=False),
                "audio": _Trunk(audio_dim, audio_depth, AUDIO_HEADS, nn.Identity(), bias_kv=True),
            }
        )
        self.modality_heads = nn.ModuleDict({"vision": _head(vision_dim, dim), "audio": _head(audio_dim, dim)})

    def forward(self, clips: Tensor, sense: str) -> Tensor:
        """Embeddings `(clips, dim)` of length 1.

        Args:
            clips: `(clips, 3, 2, 224, 224)` of `video_clips`, or `(clips, 128, 204)` of `sound_clips`.
            sense: "vision" or "audio".
        """
        tokens = self.modality_trunks[sense](self.modality_preprocessors[sense](clips))
        return F.normalize(self.modality_heads[sense](tokens[:, 0]), dim=1)

    def hear(self, waveform: Tensor) -> Tensor:
        """Embeddings `(batch, dim)` of sounds `(batch, samples)` at 16 kHz: the mean over three clips of each."""
        clips = sound_clips(waveform).to(next(self.parameters()))
        embeddings: Tensor = self(clips.flatten(0, 1), "audio").unflatten(0, (-1, _SOUND_CLIPS)).mean(dim=1)
        return embeddings

    def see(self, frames: Tensor) -> Tensor:
        """Embedding `(dim,)` of a video `(frames, height, width, 3)` uint8: the mean over its crops and pairs."""
        embedding: Tensor = self(video_clips(frames).to(next(self.parameters())), "vision").mean(dim=0)
        return embedding
