"""The mel front end against an independent computation, and its image mapping."""

import librosa
import numpy as np
import pytest
import torch

from audio_agent_zoo.models.mel import MelConfig, from_image, log_mel, mel_filters, to_image


def _reference(wave: np.ndarray, config: MelConfig) -> np.ndarray:
    pad = (config.n_fft - config.hop_length) // 2
    spectrum = librosa.stft(
        np.pad(wave, pad, mode="reflect").astype(np.float64),
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        win_length=config.win_length,
        center=False,
    )
    bank = librosa.filters.mel(sr=16_000, n_fft=config.n_fft, n_mels=config.n_mels, fmin=0.0, fmax=8000.0)
    return np.log(np.maximum(bank @ np.sqrt(np.abs(spectrum) ** 2 + 1e-9), 1e-5))


@pytest.mark.parametrize("n_mels", [64, 256])
def test_log_mel_equals_librosa(n_mels: int) -> None:
    config = MelConfig(n_mels=n_mels)
    wave = np.random.default_rng(0).uniform(-0.9, 0.9, 16_000).astype(np.float32)
    ours = log_mel(torch.from_numpy(wave)[None], config)[0].numpy()
    assert ours.shape == (n_mels, 100)
    np.testing.assert_allclose(ours, _reference(wave, config), atol=2e-3)


def test_columns_are_exactly_a_hundred_a_second() -> None:
    assert log_mel(torch.zeros(1, 160_000), MelConfig()).shape[-1] == 1000
    assert log_mel(torch.zeros(1, 163_840), MelConfig()).shape[-1] == 1024


def test_image_round_trip_and_orientation() -> None:
    config = MelConfig(n_mels=64)
    tone = torch.sin(2 * torch.pi * 200 * torch.arange(16_000) / 16_000)[None] * 0.9
    mel = log_mel(tone, config)
    image = to_image(mel, config)
    assert image.shape == (1, 3, 64, 100) and image.min() >= -1 and image.max() <= 1
    assert int(image[0, 0].mean(-1).argmax()) > 50, "low frequencies belong at the bottom of the picture"
    torch.testing.assert_close(from_image(image, config), mel.clamp(max=float(np.log(200))), atol=1e-4, rtol=0)


def test_only_the_first_channel_counts() -> None:
    config = MelConfig(n_mels=64)
    image = torch.rand(1, 3, 64, 8) * 2 - 1
    changed = image.clone()
    changed[:, 1:] = 0.3
    torch.testing.assert_close(from_image(image, config), from_image(changed, config))


def test_too_short_a_wave_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 944"):
        log_mel(torch.zeros(1, 944), MelConfig())


def test_settings_survive_a_file_and_reject_typos() -> None:
    config = MelConfig(n_mels=64)
    assert MelConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="n_mel"):
        MelConfig.from_dict({"n_mel": 64})


def test_filters_first_asked_for_in_inference_serve_a_training_too() -> None:
    config = MelConfig(n_mels=24)
    mel_filters.cache_clear()
    with torch.inference_mode():
        log_mel(torch.randn(1, 4000), config)
    waveform = torch.randn(1, 4000, requires_grad=True)
    log_mel(waveform, config).sum().backward()
    assert waveform.grad is not None
