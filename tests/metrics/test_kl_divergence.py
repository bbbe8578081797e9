"""Divergences of class probabilities against sums written out, and torch's own; shards; logits out of range."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from audio_agent_zoo.metrics.features import FeatureNetwork
from audio_agent_zoo.metrics.kl_divergence import (
    MELCEPTION,
    PASST,
    PROTOCOLS,
    DivergenceProtocol,
    InceptionScore,
    KLDivergence,
    kl_divergence,
)


def _logits(n: int, classes: int, seed: int, scale: float = 3.0) -> Tensor:
    return torch.randn(n, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def _shares(logits: Tensor) -> list[list[float]]:
    rows = []
    for row in logits.tolist():
        powers = [math.exp(value - max(row)) for value in row]
        rows.append([power / sum(powers) for power in powers])
    return rows


def _written_formula(first: Tensor, second: Tensor, epsilon: float) -> float:
    pairs = zip(_shares(first), _shares(second), strict=True)
    sums = [sum(p * (math.log(p) - math.log(q + epsilon)) for p, q in zip(a, b, strict=True)) for a, b in pairs]
    return sum(sums) / len(sums)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
@pytest.mark.parametrize(("n", "classes"), [(1, 2), (7, 309), (30, 5)])
def test_equals_the_written_formula(protocol: DivergenceProtocol, n: int, classes: int) -> None:
    made, real = _logits(n, classes, 1), _logits(n, classes, 2)
    for one in (protocol, replace(protocol, direction="generated||real")):
        metric = KLDivergence(one)
        metric.update(made, real)
        first, second = (real, made) if one is protocol else (made, real)
        assert float(metric.compute()) == pytest.approx(_written_formula(first, second, one.epsilon), rel=1e-10)


def test_equals_what_the_public_scripts_call() -> None:
    made, real = _logits(9, 40, 3), _logits(9, 40, 4)
    melception = torch.nn.functional.kl_div((made.softmax(1) + 1e-6).log(), real.softmax(1), reduction="sum") / 9
    passt = torch.nn.functional.kl_div(made.log_softmax(1), real.log_softmax(1), reduction="sum", log_target=True) / 9
    assert float(kl_divergence(made, real, MELCEPTION).mean()) == pytest.approx(float(melception), rel=1e-10)
    assert float(kl_divergence(made, real, PASST).mean()) == pytest.approx(float(passt), rel=1e-10)


def test_epsilon_bounds_what_a_class_ruled_out_costs() -> None:
    real, made = torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])
    assert float(kl_divergence(made, real, PASST)) == pytest.approx(1e4)
    assert float(kl_divergence(made, real, MELCEPTION)) == pytest.approx(-math.log(1e-6), rel=1e-6)


def test_a_clip_does_not_differ_from_itself() -> None:
    logits = _logits(8, 20, 5)
    assert torch.equal(kl_divergence(logits, logits, PASST), torch.zeros(8, dtype=torch.float64))
    assert -2e-5 < float(kl_divergence(logits, logits, MELCEPTION).mean()) <= 0


def test_the_order_of_pairs_counts() -> None:
    real = _logits(12, 6, 6)
    assert float(kl_divergence(real.flip(0), real).mean()) > float(kl_divergence(real + 0.1, real).mean()) + 0.5


def test_two_shards_add_up_to_the_whole() -> None:
    made, real = _logits(25, 7, 7), _logits(25, 7, 8)
    whole, first, second = (KLDivergence(MELCEPTION) for _ in range(3))
    whole.update(made, real)
    first.update(made[:4], real[:4])
    second.update(made[4:], real[4:])
    first.merge_state(second)
    assert float(first.compute()) == pytest.approx(float(whole.compute()), rel=1e-12)


def test_what_cannot_be_compared_is_refused_and_counted_nowhere() -> None:
    metric = KLDivergence()
    with pytest.raises(ValueError, match="no clips"):
        metric.compute()
    with pytest.raises(ValueError, match="pairs of clips"):
        metric.update(_logits(3, 4, 9), _logits(2, 4, 9))
    with pytest.raises(ValueError, match="at least 2 classes"):
        metric.update(_logits(3, 1, 9), _logits(3, 1, 9))
    with pytest.raises(ValueError, match="1 of 3 clips hold NaN"):
        metric.update(_logits(3, 4, 9), torch.tensor([[0.0] * 4, [0.0] * 4, [float("inf")] + [0.0] * 3]))
    with pytest.raises(ValueError, match="epsilon is 1"):
        KLDivergence(DivergenceProtocol("mine", 1.0))
    assert int(metric.clips) == 0


def test_inception_score_equals_the_written_formula_in_shards() -> None:
    logits = _logits(33, 11, 10)
    shares = _shares(logits)
    mean = [sum(column) / 33 for column in zip(*shares, strict=True)]
    expected = math.exp(sum(p * math.log(p / q) for row in shares for p, q in zip(row, mean, strict=True)) / 33)
    first, second = InceptionScore(11), InceptionScore(11)
    first.update(logits[:5])
    second.update(logits[5:])
    first.merge_state(second)
    assert float(first.compute()) == pytest.approx(expected, rel=1e-12)


def test_inception_score_at_its_ends() -> None:
    alike, sure = InceptionScore(4), InceptionScore(4)
    alike.update(_logits(1, 4, 11).expand(6, 4))
    assert float(alike.compute()) == pytest.approx(1.0, abs=1e-12)
    sure.update(torch.eye(4) * 1e5)
    assert float(sure.compute()) == pytest.approx(4.0)
    with pytest.raises(ValueError, match="n_classes is 1"):
        InceptionScore(1)
    with pytest.raises(ValueError, match="no clips"):
        InceptionScore(4).compute()


def test_a_classifier_is_asked_and_named() -> None:
    network = FeatureNetwork("bands", lambda waves: waves.unflatten(1, (4, -1)).square().mean(2), 4)
    waves = _logits(5, 80, 12)
    metric, score = KLDivergence(PASST, network), InceptionScore(4, network)
    metric.update(waves, waves * 2)
    score.update(waves)
    assert float(metric.compute()) == pytest.approx(
        float(kl_divergence(network(waves), network(waves * 2), PASST).mean())
    )
    assert metric.protocol == {
        "metric": "MKL", "variant": "passt", "direction": "real||generated", "epsilon": 0.0, "features": "bands",
    }  # fmt: skip
    assert score.protocol["features"] == "bands"
    with pytest.raises(ValueError, match="give 4 as bands"):
        InceptionScore(5, network)
