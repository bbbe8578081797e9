"""The log-spectral distance against its formula written out, in shards, and on silence."""

import numpy as np
import pytest
import torch

from audio_agent_zoo.metrics.log_spectral_distance import LogSpectralDistance


def _clips(n: int, seed: int, n_samples: int = 6000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.2 * torch.randn(n, n_samples, generator=generator)


def _distance(predicted: torch.Tensor, target: torch.Tensor, **arguments: float) -> float:
    metric = LogSpectralDistance(**arguments)
    metric.update(predicted, target)
    return float(metric.compute())


def _written_out(predicted: np.ndarray, target: np.ndarray, n_fft: int = 2048, hop: int = 512) -> float:
    """The definition for one clip, frame by frame, in float64."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)

    def magnitudes(wave: np.ndarray) -> np.ndarray:
        padded = np.pad(wave.astype(np.float64), n_fft // 2, mode="reflect")
        starts = range(0, len(padded) - n_fft + 1, hop)
        return np.array([np.abs(np.fft.rfft(padded[start : start + n_fft] * window)) for start in starts])

    ours, theirs = magnitudes(predicted), magnitudes(target)
    floor = theirs.max() * 1e-4
    decibels = 20 * np.log10(np.maximum(ours, floor)) - 20 * np.log10(np.maximum(theirs, floor))
    return float(np.mean([np.sqrt(np.mean(frame**2)) for frame in decibels]))


def test_equals_the_formula_written_out() -> None:
    predicted, target = _clips(3, 1), _clips(3, 2)
    target[:, 3000:] = 0
    expected = np.mean([_written_out(p, t) for p, t in zip(predicted.numpy(), target.numpy(), strict=True)])
    assert _distance(predicted, target) == pytest.approx(expected, rel=1e-9)


def test_a_gain_is_its_decibels_and_phase_does_not_count() -> None:
    target = _clips(2, 3)
    assert _distance(target, target) == 0.0
    assert _distance(-target, target) == 0.0
    assert _distance(target / 2, target) == pytest.approx(20 * np.log10(2), rel=1e-3)


def test_digital_silence_compares_as_silence() -> None:
    target = _clips(1, 4)
    target[:, 2000:] = 0
    assert _distance(target, target) == 0.0
    silence = torch.zeros_like(target)
    assert _distance(silence, silence) == 0.0
    # Nothing is further from nothing than the floor is from the loudest bin.
    assert 0.0 < _distance(silence, target) < 80.0
    assert np.isfinite(_distance(target, silence))


def test_a_lower_floor_hears_quieter_differences() -> None:
    target = _clips(1, 5)
    quiet = torch.cat([target[:, :3000], torch.zeros(1, 3000)], dim=1)
    heard = quiet + torch.cat([torch.zeros(1, 3000), 1e-4 * _clips(1, 6)[:, 3000:]], dim=1)
    assert _distance(heard, quiet, floor_db=-120.0) > 3 * _distance(heard, quiet, floor_db=-80.0)


def test_two_shards_add_up_to_the_whole_and_every_clip_weighs_the_same() -> None:
    predicted, target = _clips(5, 7), _clips(5, 8)
    whole, first, second = (LogSpectralDistance() for _ in range(3))
    whole.update(predicted, target)
    first.update(predicted[:1], target[:1])
    second.update(predicted[1:], target[1:])
    first.merge_state(second)
    assert float(first.compute()) == pytest.approx(float(whole.compute()), rel=1e-12)


@pytest.mark.parametrize(
    ("predicted", "target", "message"),
    [
        (torch.zeros(1, 6000), torch.zeros(1, 5000), "one shape"),
        (torch.zeros(6000), torch.zeros(6000), "one shape"),
        (torch.zeros(1, 1024), torch.zeros(1, 1024), "more than 1024"),
        (torch.full((1, 6000), float("nan")), torch.zeros(1, 6000), "NaN"),
    ],
)
def test_bad_waveforms_are_refused(predicted: torch.Tensor, target: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogSpectralDistance().update(predicted, target)


@pytest.mark.parametrize("arguments", [{"hop_length": 0}, {"n_fft": 1}, {"floor_db": 0.0}, {"floor_db": float("nan")}])
def test_bad_settings_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"give"):
        LogSpectralDistance(**arguments)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_no_clips_is_an_error() -> None:
    with pytest.raises(ValueError, match="no clips"):
        LogSpectralDistance().compute()
