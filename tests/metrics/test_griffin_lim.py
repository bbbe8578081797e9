"""Griffin-Lim gives back a sound with the mel spectrogram it was given, in its place."""

import numpy as np
import pytest
import torch

from audio_agent_zoo.metrics.griffin_lim import griffin_lim_from_mel
from audio_agent_zoo.models.mel import MelConfig, log_mel

CONFIG = MelConfig(n_mels=64)


@pytest.fixture(scope="module")
def bursts() -> torch.Tensor:
    """Two decaying bursts of tone in near silence, `(1, 16000)`."""
    time = np.arange(16_000) / 16_000
    wave = 1e-4 * np.random.default_rng(0).standard_normal(16_000)
    for start_s, frequency in ((0.25, 440.0), (0.7, 1250.0)):
        since = np.maximum(time - start_s, 0)
        wave += 0.5 * np.sin(2 * np.pi * frequency * since) * np.exp(-12 * since) * (since > 0)
    return torch.from_numpy(wave.astype(np.float32))[None]


def test_the_spectrogram_comes_back_in_its_place(bursts: torch.Tensor) -> None:
    mel = log_mel(bursts, CONFIG)
    wave = torch.from_numpy(griffin_lim_from_mel(mel[0], CONFIG, n_iter=32))
    assert wave.dtype == torch.float32
    assert wave.shape == (16_000,)
    again = log_mel(wave[None], CONFIG)
    loud = mel > mel.amax() - 5.0
    assert (again - mel)[loud].abs().mean() < 0.3
    for shift in (-3, 3):
        assert (again.roll(shift, -1) - mel)[loud].abs().mean() > 2 * (again - mel)[loud].abs().mean()


def test_one_seed_gives_one_sound(bursts: torch.Tensor) -> None:
    mel = log_mel(bursts, CONFIG)[0, :, :40]
    one, same, other = (griffin_lim_from_mel(mel, CONFIG, n_iter=2, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("mel", "message"),
    [
        (torch.zeros(1, 64, 10), "give \\(64, columns\\)"),
        (torch.zeros(80, 10), "give \\(64, columns\\)"),
        (torch.full((64, 10), float("nan")), "NaN"),
    ],
)
def test_bad_spectrograms_are_refused(mel: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        griffin_lim_from_mel(mel, CONFIG)
