"""The mixer: exact lengths, levels, fades, stems that add up, and a ceiling that holds."""

import warnings

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from audio_agent_zoo import loudness
from audio_agent_zoo.loudness import limiter_gain, loudness_lufs, oversampled_peaks, true_peak_dbtp
from audio_agent_zoo.mixing import MAX_GAIN_DB, Mix, Placement, mix

RATE = 16_000
Audio = NDArray[np.floating]


def noise(seconds: float, level: float = 0.1, seed: int = 0) -> Audio:
    return level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def tone(seconds: float, hertz: float = 1000.0, level: float = 0.5, rate: int = RATE) -> Audio:
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def click(seconds: float, at_s: float = 0.0, length_s: float = 0.01, seed: int = 5) -> Audio:
    """A burst that begins with its full force."""
    audio = np.zeros(round(seconds * RATE))
    start, n = round(at_s * RATE), round(length_s * RATE)
    audio[start : start + n] = 0.9 * np.exp(-np.arange(n) / (n / 5)) * np.cos(2.1 * np.arange(n))
    return audio


def peak_dbtp_by_soxr(audio: Audio) -> float:
    """True peak by another resampler, 16 times over."""
    dense = soxr.resample(np.pad(audio.astype(np.float64), 400), RATE, 16 * RATE, quality="VHQ")
    return 20 * float(np.log10(np.abs(dense).max()))


def below_7_khz(audio: Audio) -> Audio:
    """Without what resamplers disagree about."""
    spectrum = np.fft.rfft(audio)
    spectrum[np.fft.rfftfreq(len(audio), 1 / RATE) > 7000] = 0
    return np.fft.irfft(spectrum, len(audio))


def rms(audio: Audio) -> float:
    return float(np.sqrt(np.mean(np.square(audio))))


# --- lengths and places


@pytest.mark.parametrize("seconds", [0.25, 0.30001, 1.0, 3.33333, 9.99997, 10.0, 59.9999, 600.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_mix_has_exactly_the_samples_of_its_duration(seconds: float, channels: int) -> None:
    made = mix([Placement(noise(0.2), 0.0, min(0.25, seconds))], seconds, channels=channels)
    assert len(made.audio) == round(seconds * RATE)
    assert made.audio.shape == made.stems[0].shape == made.unlimited.shape
    assert made.audio.dtype == made.stems[0].dtype == np.float32
    assert np.isfinite(made.audio).all()


@given(
    duration=st.floats(0.25, 8.0),
    spans=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.0, 4.0)), max_size=3),
)
def test_any_spans_give_the_exact_length_and_stay_in_their_slots(
    duration: float, spans: list[tuple[float, float, float]]
) -> None:
    placements = []
    for a, b, seconds in spans:
        start, end = sorted((a * duration, b * duration))
        if end > start:
            placements.append(Placement(noise(seconds), start, end, level_lufs=-18))
    made = mix(placements, duration)
    assert len(made.audio) == round(duration * RATE)
    for placement, stem in zip(placements, made.stems, strict=True):
        outside = stem.copy()
        outside[round(placement.start_s * RATE) : round(placement.end_s * RATE)] = 0
        assert not outside.any()


def test_a_sound_starts_on_its_sample() -> None:
    made = mix([Placement(click(1.0), 1.23456, 2.5, fade_in_s=0.0)], 3.0)
    assert np.flatnonzero(made.audio)[0] == round(1.23456 * RATE)


def test_nothing_to_mix_is_silence() -> None:
    made = mix([], 2.0)
    assert made.audio.shape == (32_000,)
    assert not made.audio.any()
    assert made.limiter_gain_db == 0.0


def test_a_long_sound_is_cut_with_a_fade_and_says_so() -> None:
    made = mix([Placement(tone(3.0), 0.0, 1.0, fade_out_s=0.1, name="e1 (tone)")], 2.0)
    assert any("e1 (tone) lasts 3.00 s and was cut to its slot of 1.00 s" in note for note in made.notes)
    assert not made.audio[RATE:].any()
    assert rms(made.audio[RATE - 160 : RATE]) < 0.1 * rms(made.audio[4000:8000])


def test_a_short_sound_is_left_and_silence_follows() -> None:
    made = mix([Placement(tone(0.5), 0.0, 2.0, name="e1")], 2.0)
    assert any("silence follows" in note for note in made.notes)
    assert not made.audio[round(0.5 * RATE) :].any()
    assert made.audio[: round(0.5 * RATE)].any()


def test_a_muted_sound_is_left_out() -> None:
    heard, muted = Placement(tone(1.0), 0, 1), Placement(noise(1.0), 0, 1, muted=True)
    both, alone = mix([heard, muted], 1.0), mix([heard], 1.0)
    np.testing.assert_array_equal(both.audio, alone.audio)
    assert not both.stems[1].any()


# --- fades


def test_fades_are_equal_power() -> None:
    ones = np.ones(RATE)
    made = mix([Placement(ones, 0, 1, fade_in_s=0.1, fade_out_s=0.1)], 1.0, ceiling_dbtp=0.0)
    rise, fall = made.unlimited[:1600], made.unlimited[-1600:]
    np.testing.assert_allclose(rise**2 + fall**2, 1.0, atol=1e-6)
    assert (np.diff(rise) > 0).all()


def test_a_click_guard_never_eats_an_attack() -> None:
    sharp = click(1.0)
    made = mix([Placement(sharp, 0, 1, fade_in_s=0.01, fade_out_s=0)], 1.0)
    before, after = np.abs(sharp).max(), np.abs(made.unlimited).max()
    assert after > 0.7 * before  # a plain 10 ms fade would leave 0.3 of it
    later = click(1.0, at_s=0.5)
    untouched = mix([Placement(later, 0, 1, fade_in_s=0.01, fade_out_s=0)], 1.0).unlimited
    np.testing.assert_allclose(untouched, later, atol=2**-23)


def test_a_wanted_fade_in_is_kept() -> None:
    made = mix([Placement(tone(2.0), 0, 2, fade_in_s=1.0, fade_out_s=0)], 2.0)
    assert rms(made.audio[1600:3200]) < 0.3 * rms(made.audio[-RATE // 2 :])


def test_fades_longer_than_the_sound_leave_something() -> None:
    made = mix([Placement(tone(0.02), 0, 1, fade_in_s=5, fade_out_s=5, level_lufs=-20)], 1.0)
    assert np.isfinite(made.audio).all()
    assert made.audio.any()


# --- loudness


def test_loudness_is_that_of_the_standards_reference() -> None:
    # EBU Tech 3341, case 1: a stereo sine of 1 kHz at -23 dBFS is at -23 LUFS.
    rate, level = 48_000, 10 ** (-23 / 20)
    stereo = np.stack([tone(20.0, level=level, rate=rate)] * 2, axis=1)
    assert loudness_lufs(stereo, rate) == pytest.approx(-23.0, abs=0.1)
    assert loudness_lufs(stereo[:, 0], rate) == pytest.approx(-26.0, abs=0.1)


def test_loudness_gates_silence() -> None:
    sound = tone(4.0)
    assert loudness_lufs(np.pad(sound, (0, 20 * RATE)), RATE) == pytest.approx(loudness_lufs(sound, RATE), abs=0.5)


@pytest.mark.parametrize("seconds", [0.01, 0.1, 0.39, 0.44])
def test_a_short_sound_is_as_loud_as_with_silence_after_it(seconds: float) -> None:
    short = click(seconds, at_s=seconds - 0.01)
    padded = np.pad(short, (0, 5 * RATE))
    assert loudness_lufs(short, RATE) == pytest.approx(loudness_lufs(padded, RATE), abs=0.5)


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros(10), np.zeros(RATE), noise(1.0, level=1e-6)])
def test_silence_has_no_loudness(audio: Audio) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loudness_lufs(audio, RATE) == float("-inf")


@pytest.mark.parametrize("level", [-40.0, -26.0, -18.0])
@pytest.mark.parametrize("sound", [noise(2.0), tone(3.0), noise(0.3), noise(1.0, level=0.02)])
def test_a_step_comes_out_at_its_level(sound: Audio, level: float) -> None:
    made = mix([Placement(sound, 0.5, 4.0, level_lufs=level)], 5.0)
    start = round(0.5 * RATE)
    assert loudness_lufs(made.audio[start : start + len(sound)], RATE) == pytest.approx(level, abs=0.1)


@pytest.mark.parametrize("pan", [-1.0, -0.3, 0.0, 1.0])
def test_pan_keeps_loudness_and_power(pan: float) -> None:
    made = mix([Placement(noise(2.0), 0, 2, level_lufs=-23, pan=pan)], 2.0, channels=2)
    assert loudness_lufs(made.audio, RATE) == pytest.approx(-23, abs=0.3)
    left, right = rms(made.audio[:, 0]), rms(made.audio[:, 1])
    assert left**2 + right**2 == pytest.approx(
        rms(mix([Placement(noise(2.0), 0, 2, level_lufs=-23)], 2.0).audio) ** 2, rel=1e-4
    )
    assert np.sign(round(right - left, 4)) == np.sign(pan)


def test_silence_stays_silent_and_says_so() -> None:
    made = mix([Placement(np.zeros(RATE), 0, 1, level_lufs=-18, name="e7")], 1.0)
    assert not made.audio.any()
    assert made.gains_db == [0.0]
    assert made.notes == ["e7 is silent."]


def test_a_faint_sound_is_not_raised_to_noise() -> None:
    made = mix([Placement(noise(1.0, level=0.001), 0, 1, level_lufs=-18, name="e2")], 1.0)
    assert made.gains_db == [MAX_GAIN_DB]
    assert any("e2 stays at" in note and "24 dB" in note for note in made.notes)


def test_a_loud_sound_is_lowered_however_far() -> None:
    made = mix([Placement(noise(1.0, level=50.0), 0, 1, level_lufs=-55)], 1.0)
    assert loudness_lufs(made.audio, RATE) == pytest.approx(-55, abs=0.5)


def test_one_click_never_passes_full_scale_alone() -> None:
    made = mix([Placement(click(2.0, at_s=1.0, length_s=0.002), 0, 2, level_lufs=-12, name="e1")], 2.0)
    assert np.abs(made.stems[0]).max() <= 1.0
    assert any("e1 stays at" in note and "full scale" in note for note in made.notes)


# --- stems


def dense_mix(channels: int = 1) -> Mix:
    placements = [Placement(noise(4.0, seed=i), 0.3 * i, 4.0, level_lufs=-9.0 - i, pan=i / 10 - 0.5) for i in range(8)]
    return mix(placements, 4.0, channels=channels)


@pytest.mark.parametrize("channels", [1, 2])
def test_stems_add_up_bit_for_bit_in_any_order(channels: int) -> None:
    made = dense_mix(channels)
    gain = made.limiter_gain if channels == 1 else made.limiter_gain[:, None]
    for order in (range(8), reversed(range(8)), (3, 1, 7, 0, 2, 6, 5, 4)):
        total = np.zeros(made.audio.shape)
        for i in order:
            total += made.stems[i]
        np.testing.assert_array_equal(total, made.unlimited)
        np.testing.assert_array_equal((total * gain).astype(np.float32), made.audio)
    assert made.limiter_gain_db < -3  # otherwise this shows nothing of the limiter


def test_without_limiting_the_mix_is_the_sum_itself() -> None:
    made = mix([Placement(noise(1.0), 0, 1, level_lufs=-30), Placement(tone(1.0), 0, 1, level_lufs=-30)], 1.0)
    np.testing.assert_array_equal(made.audio.astype(np.float64), made.unlimited)
    assert (made.limiter_gain == 1).all()


# --- ceiling


@pytest.mark.parametrize("ceiling", [-1.0, -6.0, 0.0])
@pytest.mark.parametrize("kind", ["noise", "low tone", "near the top", "clicks", "square"])
def test_the_true_peak_stays_under_the_ceiling(kind: str, ceiling: float) -> None:
    sounds = {
        "noise": below_7_khz(noise(2.0, level=2.0)),
        "low tone": tone(2.0, hertz=50, level=4.0),
        "near the top": tone(2.0, hertz=7900.0, level=3.0),
        "clicks": 5 * sum((click(2.0, at_s=0.1 + 0.37 * i, length_s=0.003) for i in range(5)), np.zeros(2 * RATE)),
        "square": 3 * np.sign(tone(2.0, hertz=333.0)),
    }
    made = mix([Placement(sounds[kind], 0, 2, fade_in_s=0, fade_out_s=0)], 2.0, ceiling_dbtp=ceiling)
    assert true_peak_dbtp(made.audio, RATE) <= ceiling + 1e-3
    assert peak_dbtp_by_soxr(made.audio) <= ceiling + (0.2 if kind == "near the top" else 0.1)
    assert np.abs(made.audio).max() <= 1.0
    assert made.limiter_gain_db < -3
    assert any("limiter" in note for note in made.notes)


def test_the_limiter_is_smooth_and_lets_go() -> None:
    loud = np.concatenate([noise(1.0, level=0.1), noise(0.05, level=1.5, seed=1), noise(1.0, level=0.1, seed=2)])
    gain = limiter_gain(loud, RATE, -1.0).astype(np.float64)
    assert (gain[: round(0.99 * RATE)] == 1).all()  # nothing is touched before its 5 ms
    assert gain[-1] == 1
    assert np.abs(np.diff(20 * np.log10(gain))).max() < 0.5  # dB per sample
    assert gain.min() < 0.5


@pytest.mark.parametrize("channels", [1, 2])
def test_loudness_of_a_long_sound_is_that_of_the_whole(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    level = np.repeat(10 ** rng.uniform(-4, 0, 47), RATE // 2)[: 23 * RATE + 777, None]
    sound = (rng.standard_normal((len(level), channels)) * 0.3 * level).astype(np.float32).squeeze()
    whole = loudness_lufs(sound, RATE)
    monkeypatch.setattr(loudness, "_METERED_S", 5.0)
    assert loudness_lufs(sound, RATE) == pytest.approx(whole, abs=0.01)
    assert loudness_lufs(sound * 1e-6, RATE) == -np.inf


def test_the_limiter_works_in_blocks_as_over_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    bursts = np.exp(-np.arange(RATE) / 2000)[None] * rng.uniform(0, 6, (30, 1))
    loud = (rng.standard_normal(30 * RATE) * (0.05 + bursts.ravel())).astype(np.float32)
    whole = limiter_gain(loud, RATE, -1.0)
    monkeypatch.setattr(loudness, "_LIMITED", 5 * RATE + 77)
    assert whole.min() < 0.2
    np.testing.assert_allclose(limiter_gain(loud, RATE, -1.0), whole, atol=2e-4)
    assert true_peak_dbtp(loud * limiter_gain(loud, RATE, -1.0), RATE) <= -1.0 + 1e-4


def test_the_limiter_does_not_follow_the_cycles_of_a_low_tone() -> None:
    gain = limiter_gain(tone(2.0, hertz=50, level=2.0), RATE, -1.0)[RATE // 2 : -RATE // 2]
    assert 20 * np.log10(gain.max() / gain.min()) < 0.7


def test_peaks_have_no_seams_between_chunks() -> None:
    audio = noise(10.0)
    shifted = np.concatenate([np.zeros(12_345), audio])
    np.testing.assert_allclose(oversampled_peaks(shifted)[12_345:], oversampled_peaks(audio), atol=1e-6)


def test_true_peak_sees_between_the_samples() -> None:
    # A tone at a quarter of the rate, sampled 45 degrees off its peaks.
    audio = np.sin(np.pi / 2 * np.arange(RATE) + np.pi / 4)
    assert np.abs(audio).max() == pytest.approx(np.sqrt(0.5))
    middle = audio * np.hanning(RATE)
    assert true_peak_dbtp(middle, RATE) == pytest.approx(0.0, abs=0.05)
    assert true_peak_dbtp(np.zeros(100), RATE) == float("-inf")


# --- refusals


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sound_that_is_no_number_is_refused_by_name(bad: float) -> None:
    audio = tone(1.0)
    audio[77] = bad
    with pytest.raises(ValueError, match=r"e3 \(dog\).*no numbers"):
        mix([Placement(tone(1.0), 0, 1), Placement(audio, 0, 1, name="e3 (dog)")], 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": np.zeros((2, 9))}, "shape"),
        ({"start_s": -0.1}, "lies at"),
        ({"start_s": 1.0, "end_s": 1.0}, "lies at"),
        ({"end_s": 5.0}, "lies at"),
        ({"start_s": float("nan")}, "lies at"),
        ({"pan": 1.5}, "pan"),
        ({"level_lufs": float("nan")}, "level_lufs"),
        ({"fade_in_s": -1.0}, "fade"),
        ({"fade_out_s": float("inf")}, "fade"),
    ],
)
def test_a_placement_out_of_range_is_refused(change: dict[str, object], message: str) -> None:
    values: dict[str, object] = {"audio": tone(1.0), "start_s": 0.0, "end_s": 1.0} | change
    with pytest.raises(ValueError, match=message):
        mix([Placement(**values)], 2.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("duration", [0.0, -1.0, float("nan"), float("inf"), 601.0])
def test_a_duration_out_of_range_is_refused(duration: float) -> None:
    with pytest.raises(ValueError, match="duration_s"):
        mix([], duration)


def test_other_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="channels"):
        mix([], 1.0, channels=3)
    with pytest.raises(ValueError, match="ceiling_dbtp"):
        mix([], 1.0, ceiling_dbtp=1.0)
    with pytest.raises(ValueError, match="sample_rate"):
        true_peak_dbtp(np.ones(3), 0)
