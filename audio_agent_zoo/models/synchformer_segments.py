"""What Synchformer sees and hears: overlapping segments of a video and of its sound."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from audio_agent_zoo.models.frame_scaling import short_side_scaled

SAMPLE_RATE = 16_000
"""Samples per second of the sound."""

FRAME_RATE = 25
"""Frames per second of the video."""

SEGMENT_SAMPLES, SEGMENT_FRAMES = 10_240, 16
"""Lengths of a segment (0.64 s); the next begins at its half."""

BANDS, SPECTROGRAM_FRAMES = 128, 66
"""Size of a segment's spectrogram."""

IMAGE = 224
"""Pixels along each side of a frame."""

_WINDOW, _HOP, _N_FFT = 400, 160, 1024
_LOG_OFFSET = 1e-6
_MEAN, _SPREAD = -4.2677393, 4.5689974


@lru_cache(maxsize=1)
def _bands() -> Tensor:
    """HTK's mel filterbank `(bins, bands)`: triangles straight in Hz, without normalisation."""
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(
        num_frequency_bins=_N_FFT // 2 + 1,
        num_mel_filters=BANDS,
        min_frequency=0.0,
        max_frequency=SAMPLE_RATE / 2,
        sampling_rate=SAMPLE_RATE,
        norm=None,
        mel_scale="htk",
    )
    return torch.from_numpy(bank).float()


def sound_segments(waveform: Tensor) -> Tensor:
    """Normalised log-mel spectrograms of overlapping segments; what is left at the end is dropped.

    Args:
        waveform: `(samples,)` in [-1, 1] at 16 kHz, of at least one segment (0.64 s).

    Returns:
        `(segments, 128, 66)` float32, bands by frames. The last frame of each stands past its sound.

    Raises:
        ValueError: If the shape differs or the sound is shorter than a segment.

    Source: Iashin et al., "Synchformer" (2024), with the constants of MMAudio's benchmark: Hann windows of 25 ms every
        10 ms, centred and reflected, mel bands of power, 1e-6 added before the log, a 0 for the frame that lacks.
    """
    if waveform.ndim != 1 or len(waveform) < SEGMENT_SAMPLES:
        raise ValueError(
            f"waveform has shape {tuple(waveform.shape)}; give mono sound of at least {SEGMENT_SAMPLES} samples."
        )
    segments = waveform.float().unfold(0, SEGMENT_SAMPLES, SEGMENT_SAMPLES // 2)
    window = torch.hann_window(_WINDOW, device=segments.device)
    spectrum = torch.stft(segments, _N_FFT, _HOP, _WINDOW, window, center=True, pad_mode="reflect", return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    log_mel = (_bands().to(power.device).T @ power + _LOG_OFFSET).log()
    log_mel = F.pad(log_mel, (0, SPECTROGRAM_FRAMES - log_mel.shape[2]))
    return (log_mel - _MEAN) / (2 * _SPREAD)


def video_segments(frames: Tensor) -> Tensor:
    """Overlapping segments of a video, its middle square scaled and normalised; what is left at the end is dropped.

    Args:
        frames: `(frames, height, width, 3)` uint8 at 25 frames per second, of at least one segment (16 frames).

    Returns:
        `(segments, 3, 16, 224, 224)` float32 in [-1, 1].

    Raises:
        ValueError: If shape or type differ or the video is shorter than a segment.
    """
    images = short_side_scaled(frames, IMAGE, fewest=SEGMENT_FRAMES)
    top, left = (round((side - IMAGE) / 2) for side in images.shape[2:])
    images = images[:, :, top : top + IMAGE, left : left + IMAGE] / 127.5 - 1
    return images.unfold(0, SEGMENT_FRAMES, SEGMENT_FRAMES // 2).permute(0, 1, 4, 2, 3)
