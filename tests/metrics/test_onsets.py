"""Onset figures against the written protocol, on click trains whose onsets are known, and at every edge."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from audio_agent_zoo.metrics import onsets
from audio_agent_zoo.metrics.onsets import (
    CONDFOLEY,
    MMAUDIO,
    PROTOCOLS,
    OnsetMetric,
    OnsetProtocol,
    Onsets,
    OnsetScore,
    detect_onsets,
    match_onsets,
    score_clip,
)

RATE = 16_000
NONE = Onsets.from_times([])


def _clicks(times_s: list[float], levels: list[float] | None = None, duration_s: float = 2.0) -> np.ndarray:
    """Decaying bursts of noise in near silence."""
    rng = np.random.default_rng(3)
    wave = 1e-4 * rng.standard_normal(round(duration_s * RATE))
    for time_s, level in zip(times_s, levels or [0.8] * len(times_s), strict=True):
        start = round(time_s * RATE)
        length = min(800, len(wave) - start)
        wave[start : start + length] += level * rng.uniform(-1, 1, length) * np.exp(-np.arange(length) / 150)
    return wave.astype(np.float32)


def _random(rng: np.random.Generator, n: int) -> Onsets:
    """Onsets in 2 s with confidences that all differ."""
    return Onsets(np.sort(rng.uniform(0, 2, n)), rng.permutation(n) / (n + 1) + 0.05)


def _written_protocol(
    truth: list[float], times: list[float], trust: list[float], tolerance: float
) -> tuple[int, list[tuple[int, float]]]:
    """Hits and rows as the protocol's text has them, by crossing off pairs."""
    left = dict(zip(times, trust, strict=True))
    rows: list[tuple[int, float]] = []
    hits = 0
    for true in truth:
        candidates = {time: trusted for time, trusted in left.items() if abs(time - true) < tolerance}
        if not candidates:
            rows.append((1, 0.0))
            continue
        taken = max(candidates, key=lambda time: left[time])
        rows.append((1, left.pop(taken)))
        hits += 1
        if not left:
            break
    return hits, rows + [(0, trusted) for trusted in left.values()]


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_matching_equals_the_written_protocol(protocol: OnsetProtocol) -> None:
    rng = np.random.default_rng(0)
    used_up = 0
    for _ in range(300):
        truth, generated = _random(rng, int(rng.integers(1, 9))), _random(rng, int(rng.integers(1, 6)))
        hits, rows = _written_protocol(
            truth.times_s.tolist(), generated.times_s.tolist(), generated.confidences.tolist(), protocol.tolerance_s
        )
        match = match_onsets(truth, generated, protocol)
        assert match.hits == hits
        assert sorted(zip(match.y_true.tolist(), match.y_score.tolist(), strict=True)) == sorted(rows)
        labels, scores = zip(*rows, strict=True)
        assert match.average_precision == pytest.approx(average_precision_score(labels, scores))
        # By hand: precision at each true row, rows of equal score taken together.
        order = sorted({score for _, score in rows}, reverse=True)
        area, found = 0.0, 0
        for threshold in order:
            above = [label for label, score in rows if score >= threshold]
            area += (sum(above) - found) / sum(labels) * sum(above) / len(above)
            found = sum(above)
        assert match.average_precision == pytest.approx(area)
        used_up += sum(labels) < len(truth)
    assert used_up > 10, "the quirk must have been met"


def test_clicks_are_found_where_they_are() -> None:
    times = [0.31, 0.74, 1.2, 1.66]
    for protocol in PROTOCOLS.values():
        found = detect_onsets(_clicks(times), RATE, protocol)
        assert found.times_s == pytest.approx(times, abs=0.04)
        assert found.times_s.dtype == found.confidences.dtype == np.float64
    # One frame of librosa's detector, so times lie on its grid whatever the rate of the clip.
    frames = found.times_s * 22_050 / 512
    assert frames == pytest.approx(np.round(frames))


def test_confidence_is_the_level_nearby_and_signed_only_for_mmaudio() -> None:
    wave = np.zeros(44_100, np.float32)
    for start, height in ((11_000, 1.0), (22_000, -0.5), (33_000, 0.25)):
        wave[start : start + 200] = height * np.exp(-np.arange(200) / 60)
    loud = detect_onsets(wave, 22_050, replace(CONDFOLEY, delta=0.05))
    assert loud.confidences == pytest.approx([1.0, 0.5, 0.25])
    signed = detect_onsets(wave, 22_050, replace(MMAUDIO, delta=0.05))
    assert signed.confidences == pytest.approx([1.0, 1 / 3, 0.75 / 1.5], abs=0.01)


def test_the_first_window_starts_at_the_clip() -> None:
    protocol = replace(CONDFOLEY, delta=0.1, confidence_window_s=0.1)
    found = detect_onsets(_clicks([0.03, 1.0], [0.4, 0.8]), RATE, protocol)
    assert found.times_s[0] < 0.1
    assert 0.2 < found.confidences[0] < 0.8 < found.confidences[1] == 1.0


def test_of_close_onsets_the_most_confident_stays() -> None:
    def kept(samples: list[int], confidences: list[float]) -> list[int]:
        return onsets._confident(np.array(confidences), np.array(samples, dtype=np.int64), 50)

    assert kept([0, 40, 80], [0.5, 0.9, 0.4]) == [1]  # the public scripts overlook the third
    assert kept([0, 40, 80], [0.9, 0.5, 0.4]) == [0, 2]  # held against what stays, not against what went
    assert kept([0, 40, 80, 120], [0.5, 0.5, 0.5, 0.5]) == [1, 3]
    assert kept([0, 50], [0.5, 0.9]) == [0, 1]
    assert kept([], []) == []


def test_suppression_reaches_what_is_detected() -> None:
    wave = _clicks([0.3, 0.5, 1.2], [0.8, 0.5, 0.7])
    protocol = replace(CONDFOLEY, delta=0.1)
    assert len(detect_onsets(wave, RATE, protocol)) == 3
    found = detect_onsets(wave, RATE, replace(protocol, suppression_s=0.4))
    assert found.times_s == pytest.approx([0.3, 1.2], abs=0.04)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
@pytest.mark.parametrize("level", [0.0, 0.5])
@pytest.mark.parametrize("n_samples", [0, 1, 300, RATE])
def test_silent_constant_and_empty_clips_have_no_onsets(n_samples: int, level: float, protocol: OnsetProtocol) -> None:
    assert len(detect_onsets(np.full(n_samples, level, np.float32), RATE, protocol)) == 0


def test_a_sound_may_have_no_onsets() -> None:
    burst = np.zeros(RATE, np.float32)
    burst[0] = 0.5
    found = detect_onsets(burst, RATE)
    assert found.times_s.shape == found.confidences.shape == (0,)


@pytest.mark.filterwarnings("error")
def test_a_clip_shorter_than_a_window_has_no_onsets() -> None:
    burst = np.zeros(2047, np.float32)
    burst[1000:1100] = 0.5
    assert len(detect_onsets(burst, 22_050)) == 0
    assert len(detect_onsets(np.append(burst, np.float32(0)), 22_050)) == 1
    assert len(detect_onsets(_clicks([0.05], duration_s=0.09), RATE)) == 0


def test_jitter_misses_and_extras_cost_what_they_should() -> None:
    truth = detect_onsets(_clicks([0.3, 0.7, 1.1, 1.5]), RATE)
    jittered = detect_onsets(_clicks([0.34, 0.66, 1.14, 1.46]), RATE)
    assert score_clip(truth, jittered) == OnsetScore(1.0, 1.0, 1.0, 1.0)
    late = score_clip(truth, detect_onsets(_clicks([0.5, 0.9, 1.3, 1.7]), RATE))
    # Four misses and four leftovers: average precision is their share, F1 knows better.
    assert late == OnsetScore(1.0, 0.0, 0.5, 0.0)
    missed = score_clip(truth, detect_onsets(_clicks([0.3, 0.7]), RATE))
    assert missed == OnsetScore(0.0, 0.5, 1.0, pytest.approx(2 / 3))
    faint = score_clip(truth, detect_onsets(_clicks([0.3, 0.5, 0.7, 1.1, 1.5], [0.8, 0.5, 0.8, 0.8, 0.8]), RATE))
    assert faint == OnsetScore(0.0, 1.0, 1.0, pytest.approx(8 / 9))
    loud = score_clip(truth, detect_onsets(_clicks([0.3, 0.5, 0.7, 1.1, 1.5], [0.5, 0.8, 0.5, 0.5, 0.5]), RATE))
    assert loud.average_precision < faint.average_precision
    assert replace(loud, average_precision=1.0) == faint


def test_misses_after_the_last_generated_onset_count_on_demand_alone() -> None:
    truth, generated = Onsets.from_times([0.5, 1.0, 1.5]), Onsets(np.array([0.5]), np.array([0.9]))
    assert match_onsets(truth, generated).y_true.tolist() == [1]
    assert match_onsets(truth, generated, replace(CONDFOLEY, count_all_misses=True)).y_true.tolist() == [1, 1, 1]
    assert score_clip(truth, generated).f1 == pytest.approx(0.5)
    assert score_clip(truth, generated, MMAUDIO).f1 == pytest.approx(1.0)
    assert score_clip(truth, generated, replace(MMAUDIO, count_all_misses_in_f1=True)).f1 == pytest.approx(0.5)
    # A miss before the last generated onset is used up counts in every protocol.
    late = Onsets(np.array([1.5]), np.array([0.9]))
    assert match_onsets(truth, late).y_true.tolist() == [1, 1, 1]
    # Every miss, and an onset that hits nothing and is more confident than the hit.
    both = Onsets(np.array([0.5, 2.0]), np.array([0.4, 0.9]))
    assert match_onsets(truth, both).average_precision == pytest.approx(1 / 3 * 1 / 2 + 2 / 3 * 3 / 4)


@pytest.mark.parametrize("count_all", [True, False])
@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_clips_without_onsets(protocol: OnsetProtocol, count_all: bool) -> None:
    protocol = replace(protocol, count_all_misses=count_all, count_all_misses_in_f1=count_all)
    some = Onsets.from_times([0.5, 1.0])
    assert score_clip(NONE, NONE, protocol) == OnsetScore(1.0, 1.0, 1.0, 1.0)
    assert score_clip(NONE, some, protocol) == OnsetScore(0.0, 0.0, 0.0, 0.0)
    assert score_clip(some, NONE, protocol) == OnsetScore(0.0, 0.0, 0.0, 0.0)
    nothing = match_onsets(NONE, NONE, protocol)
    assert (nothing.hits, nothing.n_truth, nothing.n_generated, nothing.average_precision) == (0, 0, 0, 1.0)
    assert nothing.y_true.shape == nothing.y_score.shape == (0,)
    assert match_onsets(some, NONE, protocol).y_score.tolist() == [0.0, 0.0]


def test_an_onset_at_the_tolerance_is_outside_whatever_the_decimals() -> None:
    for tenth in range(15):
        truth, generated = Onsets.from_times([tenth / 10]), Onsets.from_times([tenth / 10 + 0.1])
        assert match_onsets(truth, generated).hits == 0
        assert match_onsets(truth, generated, MMAUDIO).hits == 1
        assert match_onsets(truth, Onsets.from_times([tenth / 10 + 0.0999])).hits == 1


def test_the_confident_one_is_taken_and_among_equals_the_nearest() -> None:
    truth = Onsets.from_times([0.5, 0.62])
    nearest = match_onsets(truth, Onsets.from_times([0.45, 0.51, 0.59]))
    assert nearest.hits == 2
    # 0.55 is more confident than 0.5, so the first true onset takes it and the second finds nothing near.
    greedy = match_onsets(truth, Onsets(np.array([0.5, 0.55]), np.array([0.2, 0.9])))
    assert greedy.hits == 1
    assert greedy.y_score.tolist() == [0.9, 0.0, 0.2]


def test_annotated_times_may_stand_for_the_truth() -> None:
    times = [0.9, 0.3, 1.5]
    metric = OnsetMetric(MMAUDIO)
    metric.update([_clicks(times)], [Onsets.from_times(times)], RATE)
    assert {name: float(value) for name, value in metric.compute().items()} == {
        "onset_count_accuracy": 1.0,
        "onset_detection_accuracy": 1.0,
        "onset_average_precision": 1.0,
        "onset_f1": 1.0,
    }
    assert Onsets.from_times(times).times_s.tolist() == [0.3, 0.9, 1.5]


def test_the_metric_is_the_mean_of_the_scores_in_one_part_or_two() -> None:
    rng = np.random.default_rng(1)
    truth = [_random(rng, int(rng.integers(0, 6))) for _ in range(30)]
    generated = [_random(rng, int(rng.integers(0, 6))) for _ in range(30)]
    whole, first, second = OnsetMetric(), OnsetMetric(), OnsetMetric()
    whole.update(generated, truth)
    first.update(generated[:7], truth[:7])
    second.update(generated[7:12], truth[7:12])
    second.update(generated[12:], truth[12:])
    first.merge_state(second)
    scores = [score_clip(true, made) for true, made in zip(truth, generated, strict=True)]
    for short in ("count_accuracy", "detection_accuracy", "average_precision", "f1"):
        expected = np.mean([getattr(score, short) for score in scores])
        assert 0.0 < expected < 1.0
        assert float(whole.compute()[f"onset_{short}"]) == pytest.approx(expected, rel=1e-12)
        assert float(first.compute()[f"onset_{short}"]) == pytest.approx(expected, rel=1e-12)


def test_sound_and_its_onsets_measure_the_same() -> None:
    truth, generated = [_clicks([0.3, 1.0]), _clicks([0.6])], [_clicks([0.3, 1.4]), _clicks([0.62, 1.1])]
    heard, cached = OnsetMetric(), OnsetMetric()
    heard.update(generated, truth, RATE)
    cached.update([detect_onsets(w, RATE) for w in generated], [detect_onsets(w, RATE) for w in truth])
    assert heard.compute() == cached.compute()
    assert float(heard.compute()["onset_detection_accuracy"]) == pytest.approx(0.75)


def test_what_is_refused_is_counted_nowhere() -> None:
    broken = _clicks([0.5])
    broken[3] = np.nan
    metric = OnsetMetric()
    with pytest.raises(ValueError, match="NaN"):
        metric.update([_clicks([0.5]), broken], [NONE, NONE], RATE)
    with pytest.raises(ValueError, match="2 generated and 1 true"):
        metric.update([NONE, NONE], [NONE])
    with pytest.raises(ValueError, match="sample_rate is None"):
        metric.update([_clicks([0.5])], [NONE])
    with pytest.raises(ValueError, match="no clips"):
        metric.compute()
    with pytest.raises(ValueError, match="mono"):
        detect_onsets(np.zeros((2, RATE), np.float32), RATE)
    with pytest.raises(ValueError, match="sample_rate is 0"):
        detect_onsets(np.zeros(RATE, np.float32), 0)


@pytest.mark.parametrize(
    ("times", "confidences", "message"),
    [
        ([0.5, 0.4], [1.0, 1.0], "ascending"),
        ([-0.1], [1.0], "from 0 on"),
        ([float("nan")], [1.0], "finite"),
        ([0.5], [1.5], "0 to 1"),
        ([0.5], [float("nan")], "0 to 1"),
        ([0.5], [0.5, 0.6], "two of"),
    ],
)
def test_onsets_are_checked(times: list[float], confidences: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Onsets(np.array(times), np.array(confidences))
