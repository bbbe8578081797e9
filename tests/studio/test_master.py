"""The master: loudness by another meter, true peak by another resampler, and what can't be reached."""

import numpy as np
import pyloudnorm
import pytest
import soxr
from numpy.typing import NDArray

from audio_agent_zoo.studio.master import LOUDNESS_PROFILES, Delivery, at_rate, make_master, on_24_bit_grid

RATE = 48_000
Audio = NDArray[np.float32]
TARGETS = [value for value in LOUDNESS_PROFILES.values() if value is not None]


def mix_of(seconds: float, level: float, channels: int = 1, seed: int = 0) -> Audio:
    """Noise that comes and goes, with a few peaks above it."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    noise = soxr.resample(rng.standard_normal((n // 3 + 1, channels)), 16_000, RATE)[:n]
    swell = 0.55 + 0.45 * np.sin(np.arange(n) / RATE * 2.1)
    audio = level * noise * swell[:, None]
    for at in range(n // 5, n - 400, n // 4):
        audio[at : at + 300] += 4 * level * np.sin(np.arange(300) * 0.3)[:, None]
    return (audio[:, 0] if channels == 1 else audio).astype(np.float32)


def true_peak_db(audio: Audio) -> float:
    dense = soxr.resample(np.pad(audio.reshape(len(audio), -1).astype(np.float64), [(500, 500), (0, 0)]), 1, 4, "VHQ")
    return 20 * float(np.log10(np.abs(dense).max()))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("level", [0.02, 0.1])
def test_the_master_has_its_loudness_and_keeps_its_ceiling(target: float, channels: int, level: float) -> None:
    audio = mix_of(5, level, channels)
    made = make_master(audio, audio.astype(np.float64), Delivery(loudness_lufs=target))
    measured = pyloudnorm.Meter(RATE).integrated_loudness(made.audio.astype(np.float64))
    assert measured == pytest.approx(target, abs=0.1)
    assert made.loudness_lufs == pytest.approx(measured, abs=0.05)
    assert true_peak_db(made.audio) <= -1.0 + 0.1
    assert made.true_peak_dbtp <= -1.0 + 1e-3
    assert made.audio.shape == audio.shape


def test_as_mixed_stays_as_mixed() -> None:
    audio = mix_of(2, 0.05)
    made = make_master(audio, audio.astype(np.float64), Delivery())
    np.testing.assert_array_equal(made.audio, audio)
    assert (made.gain_db, made.limiter_gain_db, made.notes, made.target_lufs) == (0.0, 0.0, (), None)


def test_a_lower_ceiling_holds_without_a_loudness() -> None:
    audio = mix_of(2, 0.15)
    made = make_master(audio, audio.astype(np.float64), Delivery(ceiling_dbtp=-6))
    assert true_peak_db(audio) > -5
    assert true_peak_db(made.audio) <= -5.9
    assert made.limiter_gain_db < -0.5


def test_turning_down_is_not_limited_twice() -> None:
    """A quiet target is made from the sum of the stems, so its peaks are whole again."""
    summed = mix_of(3, 0.3).astype(np.float64)
    finished = np.clip(summed, -0.5, 0.5).astype(np.float32)
    made = make_master(finished, summed, Delivery(loudness_lufs=-35))
    assert made.limiter_gain_db == 0.0
    np.testing.assert_allclose(made.audio, summed * 10 ** (made.gain_db / 20), atol=1e-6)


def test_one_click_is_not_crushed_for_the_sake_of_a_number() -> None:
    audio = np.zeros(2 * RATE, np.float32)
    audio[RATE : RATE + 40] = 0.5
    made = make_master(audio, audio.astype(np.float64), Delivery(loudness_lufs=-14))
    assert np.isfinite(made.audio).all()
    assert made.limiter_gain_db >= -12.5
    assert made.loudness_lufs < -14.5
    assert any("under -14 LUFS" in note for note in made.notes)


def test_faint_noise_is_not_raised_without_bound() -> None:
    audio = mix_of(2, 2e-3)
    made = make_master(audio, audio.astype(np.float64), Delivery(loudness_lufs=-14))
    assert made.gain_db == 24.0
    assert any("24 dB already" in note for note in made.notes)


def test_silence_stays_silent() -> None:
    audio = np.zeros((RATE, 2), np.float32)
    made = make_master(audio, audio.astype(np.float64), Delivery(loudness_lufs=-23))
    assert not made.audio.any()
    assert made.loudness_lufs == float("-inf")
    assert any("silent" in note for note in made.notes)


@pytest.mark.parametrize("duration_s", [0.25, 0.30001, 1.00003, 3.33333, 9.99997])
@pytest.mark.parametrize("channels", [1, 2])
def test_resampled_sound_has_the_exact_length(duration_s: float, channels: int) -> None:
    audio = mix_of(duration_s + 1, 0.1, channels)[: round(duration_s * 16_000)]
    length = round(duration_s * 48_000)
    made = at_rate(audio, 16_000, 48_000, length)
    assert len(made) == length
    assert made.dtype == np.float32
    assert len(at_rate(made, 48_000, 16_000, len(audio))) == len(audio)


def test_sums_on_the_grid_are_exact_in_any_order() -> None:
    stems = [on_24_bit_grid(mix_of(0.1, 0.1, seed=seed)) for seed in range(7)]
    forwards = np.sum(np.array(stems, np.float64), axis=0)
    backwards = np.sum(np.array(stems[::-1], np.float64), axis=0)
    np.testing.assert_array_equal(forwards, backwards)
    np.testing.assert_array_equal(on_24_bit_grid(stems[0]), stems[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"file_format": "mp3"}, "choose wav or flac"),
        ({"bits": "8"}, "choose 16, 24 or 32f"),
        ({"file_format": "flac", "bits": "32f"}, "FLAC holds no float"),
        ({"sample_rate": 44_100}, "choose 16000 or 48000"),
        ({"loudness_lufs": 3.0}, "give -40 to -8"),
        ({"loudness_lufs": float("nan")}, "give -40 to -8"),
        ({"ceiling_dbtp": 1.0}, "give -20 to 0"),
        ({"frame_rate": 0.0}, "give 1 to 240"),
        ({"start_hour": 24}, "give 0 to 23"),
    ],
)
def test_a_wrong_delivery_says_what_is_accepted(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Delivery(**arguments)  # type: ignore[arg-type]
