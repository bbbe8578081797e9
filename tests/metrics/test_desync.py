"""Offsets of sounds that are known to be late or early, against a written correlation, and of silence."""

import numpy as np
import pytest
import torch

from audio_agent_zoo.metrics.desync import (
    ONSET_ENVELOPE_OFFSET,
    Desync,
    Offset,
    OffsetProtocol,
    OnsetEnvelopeOffset,
    best_offset,
    onset_envelope,
)
from audio_agent_zoo.metrics.features import FeatureNetwork

RATE = 16_000


def _clip(seed: int, late_s: float = 0.0, duration_s: float = 3.0) -> np.ndarray:
    """Bursts at random, the same ones for one seed, in near silence."""
    rng = np.random.default_rng(seed)
    wave = 1e-4 * rng.standard_normal(round(duration_s * RATE))
    for time_s in rng.uniform(0.5, duration_s - 0.7, 5):
        start = round((time_s + late_s) * RATE)
        wave[start : start + 800] += 0.8 * rng.uniform(-1, 1, 800) * np.exp(-np.arange(800) / 150)
    return wave.astype(np.float32)


@pytest.mark.parametrize("late_s", [-0.4, -0.1, 0.0, 0.05, 0.2, 0.4])
def test_the_offset_is_how_late_the_sound_is(late_s: float) -> None:
    for seed in range(3):
        found = best_offset(onset_envelope(_clip(seed, late_s), RATE), onset_envelope(_clip(seed), RATE))
        assert found.offset_s == pytest.approx(late_s, abs=0.011)
        assert found.correlation > 0.9


def test_equals_a_written_correlation_at_each_shift() -> None:
    rng = np.random.default_rng(5)
    made, true = rng.random(90), rng.random(120)
    protocol = OffsetProtocol("mine", longest_s=0.3, least_overlap_s=0.2)
    values = {}
    for shift in range(-30, 31):
        pairs = [(made[i], true[i - shift]) for i in range(90) if 0 <= i - shift < 120]
        values[shift] = float(np.corrcoef(np.array(pairs).T)[0, 1])
    best = max(values, key=values.__getitem__)
    found = best_offset(made, true, protocol)
    assert found.offset_s == pytest.approx(best / 100)
    assert found.correlation == pytest.approx(values[best], rel=1e-10)
    assert found.correlation_in_place == pytest.approx(values[0], rel=1e-10)


def test_later_sounds_score_worse_in_order() -> None:
    clips = [_clip(seed) for seed in range(4)]
    offsets, correlations = [], []
    for late_s in (0.0, 0.05, 0.1, 0.2, 0.4):
        metric = OnsetEnvelopeOffset()
        metric.update([_clip(seed, late_s) for seed in range(4)], clips, RATE)
        value = metric.compute()
        offsets.append(float(value["onset_envelope_offset_s"]))
        correlations.append(float(value["onset_envelope_correlation"]))
    assert offsets == sorted(offsets)
    assert offsets == pytest.approx([0.0, 0.05, 0.1, 0.2, 0.4], abs=0.01)
    assert correlations[0] > 0.9
    assert max(correlations[1:]) < 0.5


def test_silence_is_as_late_as_can_be() -> None:
    silence = onset_envelope(np.zeros(RATE, np.float32), RATE)
    sound = onset_envelope(_clip(1), RATE)
    assert best_offset(silence, sound) == Offset(2.0, 0.0, 0.0)
    assert best_offset(sound, silence) == Offset(2.0, 0.0, 0.0)
    assert best_offset(silence, silence) == Offset(0.0, 1.0, 1.0)


def test_two_shards_add_up_to_the_whole() -> None:
    made, true = [_clip(seed, 0.1 * seed) for seed in range(4)], [_clip(seed) for seed in range(4)]
    whole, first, second = (OnsetEnvelopeOffset() for _ in range(3))
    whole.update(made, true, RATE)
    first.update(made[:1], true[:1], RATE)
    second.update(made[1:], true[1:], RATE)
    first.merge_state(second)
    for name, value in whole.compute().items():
        assert float(first.compute()[name]) == pytest.approx(float(value), rel=1e-12)
    assert whole.protocol["metric"] == ONSET_ENVELOPE_OFFSET.name


def test_what_cannot_be_compared_is_refused_and_counted_nowhere() -> None:
    metric = OnsetEnvelopeOffset()
    with pytest.raises(ValueError, match="no clips"):
        metric.compute()
    with pytest.raises(ValueError, match="1 generated and 2 true"):
        metric.update([_clip(1)], [_clip(1), _clip(2)], RATE)
    with pytest.raises(ValueError, match=r"at least 0\.2 s"):
        metric.update([_clip(1), np.zeros(99, np.float32)], [_clip(1), _clip(2)], RATE)
    with pytest.raises(ValueError, match="no numbers"):
        metric.update([np.full(RATE, np.nan, np.float32)], [_clip(1)], RATE)
    with pytest.raises(ValueError, match=r"at least 0\.5 s"):
        best_offset(np.arange(30.0), np.arange(30.0))
    assert int(metric.clips) == 0


def test_the_offset_a_network_names() -> None:
    logits = torch.randn(30, 21, generator=torch.Generator().manual_seed(1))
    grid = [-2 + 0.2 * i for i in range(21)]
    expected = sum(abs(grid[max(range(21), key=row.__getitem__)]) for row in logits.tolist()) / 30
    whole, first, second = Desync(), Desync(), Desync()
    whole.update(logits)
    first.update(logits[:7])
    second.update(logits[7:])
    first.merge_state(second)
    assert float(whole.compute()) == pytest.approx(expected, rel=1e-9)
    assert float(first.compute()) == pytest.approx(expected, rel=1e-9)
    network = FeatureNetwork("sync", lambda pairs: pairs * 2, 21)
    asked = Desync(network=network)
    asked.update(logits)
    assert float(asked.compute()) == pytest.approx(expected)
    assert asked.protocol["features"] == "sync"
    for wrong in (20, 1, 5):
        with pytest.raises(ValueError, match=f"n_offsets is {wrong}"):
            Desync(wrong, network=network)
    with pytest.raises(ValueError, match="longest_s is 0"):
        Desync(longest_s=0.0)
    with pytest.raises(ValueError, match="no clips"):
        Desync().compute()
    with pytest.raises(ValueError, match="1 of 2 clips hold NaN"):
        whole.update(torch.tensor([[float("nan")] * 21, [0.0] * 21]))
