"""AV-Align against counting by hand, optical flow against motion that is known, and both where nothing happens."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from audio_agent_zoo.media import write_video
from audio_agent_zoo.metrics.av_align import AV_ALIGN, AVAlign, align_clip, alignment, audio_peaks_s
from audio_agent_zoo.metrics.motion import MotionCurve, motion_of_frames, motion_of_video, optical_flow

RATE = 16_000


def _clicks(times_s: list[float], duration_s: float = 2.0) -> np.ndarray:
    rng = np.random.default_rng(3)
    wave = 1e-4 * rng.standard_normal(round(duration_s * RATE))
    for time_s in times_s:
        start = round(time_s * RATE)
        length = min(800, len(wave) - start)
        wave[start : start + length] += 0.8 * rng.uniform(-1, 1, length) * np.exp(-np.arange(length) / 150)
    return wave.astype(np.float32)


def _picture(seed: int = 0) -> np.ndarray:
    """A cloud of brightness in [0, 1], larger than what is looked at."""
    cloud = gaussian_filter(np.random.default_rng(seed).standard_normal((128, 144)), 2)
    return (cloud - cloud.min()) / np.ptp(cloud)


def _film(offsets: np.ndarray, seed: int = 0) -> np.ndarray:
    """A view that follows offsets `(frames, 2)` over the cloud, as frames."""
    cloud = _picture(seed)
    frames = [255 * shift(cloud, at, order=1, mode="wrap")[16:112, 16:128] for at in offsets]
    return np.repeat(np.stack(frames).round().astype(np.uint8)[..., None], 3, axis=-1)


def _jerks(at: list[int], n: int = 40, size: float = 3.0, drift: float = 0.05) -> np.ndarray:
    """Offsets of a view that jumps into some frames and drifts in between."""
    steps = np.full(n, drift)
    steps[at] = size
    return np.stack([np.cumsum(steps), np.zeros(n)], axis=1)


# --- Matching -------------------------------------------------------------------------------------------------------


def _most_pairs(sound: list[float], picture: list[float], tolerance: float) -> int:
    """Size of the largest matching, by trying all."""
    best = 0
    for order in itertools.permutations(range(len(sound))):
        free, met = list(picture), 0
        for i in order:
            near = [p for p in free if abs(p - sound[i]) < tolerance]
            if near:
                free.remove(min(near))
                met += 1
        best = max(best, met)
    return best


def test_the_score_counts_pairs_among_all_peaks() -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        sound, picture = (np.sort(rng.uniform(0, 2, rng.integers(1, 6))).tolist() for _ in range(2))
        met = _most_pairs(sound, picture, 0.15)
        expected = met / (len(sound) + len(picture) - met)
        assert alignment(sound, picture, 0.15) == pytest.approx(expected)


def test_where_there_are_no_peaks() -> None:
    assert alignment([], [], 0.1) == 1.0
    assert alignment([0.5], [], 0.1) == 0.0
    assert alignment([], [0.5], 0.1) == 0.0
    still = MotionCurve(np.zeros(9), 10.0)
    assert align_clip(audio_peaks_s(np.zeros(RATE, np.float32), RATE), still) == 1.0


def test_one_peak_of_the_picture_serves_one_sound() -> None:
    assert alignment([0.50, 0.52], [0.51], 0.1) == 0.5
    assert alignment([0.5], [0.6], 0.1) == 0.0  # strictly nearer


# --- Peaks ----------------------------------------------------------------------------------------------------------


def test_peaks_of_motion_follow_the_written_rule() -> None:
    rng = np.random.default_rng(2)
    values = rng.integers(0, 6, 200) / 1000
    expected = [
        i / 25 for i in range(1, 199) if values[i - 1] < values[i] > values[i + 1] and values[i] >= 0.003
    ]  # fmt: skip
    assert MotionCurve(values, 25.0).peaks_s(0.003).tolist() == expected
    for n in (1, 2):
        assert not len(MotionCurve(np.ones(n), 25.0).peaks_s(0.0))


def test_peaks_of_sound_lie_at_its_starts() -> None:
    starts = [0.4, 0.9, 1.5]
    found = audio_peaks_s(_clicks(starts), RATE)
    for start in starts:
        assert np.min(np.abs(found - start)) < 0.05
    assert not len(audio_peaks_s(np.zeros(RATE, np.float32), RATE))
    assert not len(audio_peaks_s(np.full(RATE, 0.3, np.float32), RATE))
    assert not len(audio_peaks_s(_clicks([0.01], 0.05), RATE))
    assert not len(audio_peaks_s(np.zeros(0, np.float32), RATE))
    with pytest.raises(ValueError, match="mono"):
        audio_peaks_s(np.zeros((2, 9), np.float32), RATE)
    with pytest.raises(ValueError, match="no numbers"):
        audio_peaks_s(np.array([0.0, np.nan], np.float32), RATE)
    with pytest.raises(ValueError, match="sample_rate is 0"):
        audio_peaks_s(np.zeros(9, np.float32), 0)


# --- Flow -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [(0.0, 0.0), (0.4, 0.0), (0.0, -1.0), (2.0, 3.0), (-6.0, 1.5)])
def test_flow_is_the_shift_of_the_picture(by: tuple[float, float]) -> None:
    cloud = _picture()
    now, later = cloud[16:112, 16:128], shift(cloud, by, order=3, mode="wrap")[16:112, 16:128]
    flow = optical_flow(now[None].astype(np.float32), later[None].astype(np.float32))
    inner = flow[:, 0, 16:-16, 16:-16]
    assert inner.mean(axis=(1, 2)) == pytest.approx(by, abs=0.06)
    assert np.abs(inner - np.array(by)[:, None, None]).mean() < 0.25


def test_a_flat_picture_and_a_flash_have_no_wild_flow() -> None:
    flat = np.full((1, 64, 64), 0.5, np.float32)
    assert np.all(optical_flow(flat, flat) == 0)
    assert np.all(optical_flow(flat, flat + 0.4) == 0)
    cloud = _picture()[None, :96, :96].astype(np.float32)
    assert np.abs(optical_flow(cloud, 1 - cloud)).max() <= 42
    with pytest.raises(ValueError, match="16 pixels"):
        optical_flow(flat[:, :8], flat[:, :8])
    with pytest.raises(ValueError, match="give two of"):
        optical_flow(flat, flat[:, :32])


def test_motion_is_a_share_of_the_height_into_each_frame() -> None:
    curve = motion_of_frames(_film(_jerks([12, 25])), 20.0)
    assert curve.magnitudes.shape == (40,)
    assert curve.magnitudes[0] == curve.magnitudes[1]
    assert curve.magnitudes[12] * 96 == pytest.approx(3.0, rel=0.15)
    assert curve.magnitudes[11] * 96 == pytest.approx(0.05, abs=0.03)
    assert curve.peaks_s(1 / 96).tolist() == [12 / 20, 25 / 20]


def test_chunks_and_a_single_frame() -> None:
    film = _film(_jerks([7], 35))
    whole = motion_of_frames(film, 20.0)
    parts = motion_of_frames([film[:1], film[1:20], film[20:]], 20.0)
    np.testing.assert_allclose(parts.magnitudes, whole.magnitudes, rtol=1e-5)
    assert motion_of_frames(film[:1], 20.0).magnitudes.tolist() == [0.0]
    with pytest.raises(ValueError, match="no frames"):
        motion_of_frames([], 20.0)
    with pytest.raises(ValueError, match="uint8"):
        motion_of_frames(film.astype(np.float32), 20.0)


def test_a_video_file_moves_as_its_frames_do(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_video(path, _film(_jerks([12, 25])), 20.0)
    curve = motion_of_video(path, height=96)
    assert curve.fps == pytest.approx(20.0)
    assert curve.peaks_s(1 / 96).tolist() == pytest.approx([12 / 20, 25 / 20])
    small = motion_of_video(path, height=48)
    assert small.magnitudes[12] == pytest.approx(curve.magnitudes[12], rel=0.15)
    kept = MotionCurve.from_dict(json.loads(json.dumps(curve.to_dict())))
    assert np.array_equal(kept.magnitudes, curve.magnitudes)
    assert kept.fps == curve.fps
    with pytest.raises(ValueError, match="height is 8"):
        motion_of_video(path, height=8)


@pytest.mark.parametrize(("values", "fps"), [([np.nan], 1.0), ([-1.0], 1.0), ([[1.0]], 1.0), ([1.0], 0.0)])
def test_a_curve_of_nonsense_is_refused(values: list[float], fps: float) -> None:
    with pytest.raises(ValueError, match=r"magnitudes have shape|fps is"):
        MotionCurve(np.array(values), fps)


# --- The metric -----------------------------------------------------------------------------------------------------


def test_sound_that_comes_later_fits_less() -> None:
    at = [8, 14, 21, 29, 36, 45]
    curve = motion_of_frames(_film(_jerks(at, 50, drift=0.0)), 20.0)
    scores = [
        align_clip(audio_peaks_s(_clicks([i / 20 + late for i in at], 3.0), RATE), curve)
        for late in (0.0, 0.05, 0.1, 0.2)
    ]
    assert scores[0] > 0.8
    assert scores[0] > max(scores[1:])
    assert scores[3] < 0.4


def test_two_shards_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(4)
    sounds = [_clicks(rng.uniform(0.1, 1.8, 3).tolist()) for _ in range(5)]
    curves = [MotionCurve(rng.uniform(0, 0.01, 40), 20.0) for _ in range(5)]
    whole, first, second = AVAlign(), AVAlign(), AVAlign()
    whole.update(sounds, curves, RATE)
    first.update(sounds[:1], curves[:1], RATE)
    second.update([audio_peaks_s(sound, RATE) for sound in sounds[1:]], curves[1:])
    first.merge_state(second)
    assert float(first.compute()) == pytest.approx(float(whole.compute()), rel=1e-12)
    expected = np.mean([align_clip(audio_peaks_s(s, RATE), c) for s, c in zip(sounds, curves, strict=True)])
    assert float(whole.compute()) == pytest.approx(expected)
    assert whole.protocol["metric"] == AV_ALIGN.name
    assert "Lucas-Kanade" in str(whole.protocol["flow"])


def test_what_cannot_be_compared_is_refused_and_counted_nowhere() -> None:
    metric = AVAlign()
    curve = MotionCurve(np.ones(9), 10.0)
    with pytest.raises(ValueError, match="no clips"):
        metric.compute()
    with pytest.raises(ValueError, match="1 sounds and 2 videos"):
        metric.update([np.zeros(0)], [curve, curve])
    with pytest.raises(ValueError, match="no numbers"):
        metric.update([np.zeros(RATE), np.array([np.nan])], [curve, curve], RATE)
    assert int(metric.clips) == 0
