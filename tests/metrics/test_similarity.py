"""Cosine scores against the written formula, in shards, and for embeddings without a direction."""

import math

import pytest
import torch
from torch import Tensor

from audio_agent_zoo.metrics.features import FeatureNetwork
from audio_agent_zoo.metrics.similarity import (
    CLAP_SCORE,
    IB_SCORE,
    PROTOCOLS,
    EmbeddingSimilarity,
    SimilarityProtocol,
    cosine_similarity,
)


def _rows(n: int, dim: int, seed: int) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _written_formula(first: Tensor, second: Tensor) -> list[float]:
    values = []
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
        values.append(dot / math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b)))
    return values


@pytest.mark.parametrize(("n", "dim"), [(1, 1), (20, 3), (6, 512)])
def test_equals_the_written_formula(n: int, dim: int) -> None:
    a, b = _rows(n, dim, 1), _rows(n, dim, 2)
    assert cosine_similarity(a, b).tolist() == pytest.approx(_written_formula(a, b), rel=1e-12)


def test_lengths_do_not_count_however_extreme() -> None:
    a, b = _rows(5, 8, 3), _rows(5, 8, 4)
    expected = cosine_similarity(a, b).tolist()
    assert cosine_similarity(a * 1e200, b * 1e-200).tolist() == pytest.approx(expected, rel=1e-12)
    assert cosine_similarity(a, a).tolist() == pytest.approx([1.0] * 5)
    assert cosine_similarity(a, -a).tolist() == pytest.approx([-1.0] * 5)
    assert float(cosine_similarity(a, a).max()) <= 1.0


def test_the_scale_is_of_the_protocol() -> None:
    a, b = _rows(9, 4, 5), _rows(9, 4, 6)
    plain, percent = EmbeddingSimilarity(IB_SCORE), EmbeddingSimilarity(SimilarityProtocol("mine", "a", "b", 100.0))
    for metric in (plain, percent):
        metric.update(a, b)
    assert float(percent.compute()) == pytest.approx(100 * float(plain.compute()))
    assert float(plain.compute()) == pytest.approx(sum(_written_formula(a, b)) / 9)
    assert set(PROTOCOLS) == {"clap_score", "wav2clip_similarity", "ib_score"}


def test_two_shards_add_up_to_the_whole() -> None:
    a, b = _rows(15, 6, 7).float(), _rows(15, 6, 8).float()
    whole, first, second = (EmbeddingSimilarity(CLAP_SCORE) for _ in range(3))
    whole.update(a, b)
    first.update(a[:2], b[:2])
    second.update(a[2:], b[2:])
    first.merge_state(second)
    assert float(first.compute()) == pytest.approx(float(whole.compute()), rel=1e-12)


def test_networks_are_asked_and_named() -> None:
    letters = FeatureNetwork("letters", lambda words: torch.tensor([[float(len(w)), w.count("a")] for w in words]), 2)
    sound = FeatureNetwork("halves", lambda waves: waves.unflatten(1, (2, -1)).sum(2), 2, 16_000, details={"v": 3})
    waves = _rows(2, 10, 9).float()
    metric = EmbeddingSimilarity(CLAP_SCORE, letters, sound)
    metric.update(["rain", "a dog barks"], waves)
    expected = cosine_similarity(torch.tensor([[4.0, 1.0], [11.0, 2.0]]), sound(waves))
    assert float(metric.compute()) == pytest.approx(float(expected.mean()))
    assert metric.protocol == {
        "metric": "clap_score", "first": "caption", "second": "sound", "scale": 1.0,
        "first_features": "letters", "second_features": "halves", "second_v": 3,
    }  # fmt: skip
    with pytest.raises(ValueError, match="halves gives 2 numbers and letters 3"):
        EmbeddingSimilarity(CLAP_SCORE, sound, FeatureNetwork("letters", letters.compute, 3))


def test_what_cannot_be_compared_is_refused_and_counted_nowhere() -> None:
    metric = EmbeddingSimilarity(CLAP_SCORE)
    with pytest.raises(ValueError, match="no clips"):
        metric.compute()
    with pytest.raises(ValueError, match="one space"):
        metric.update(_rows(3, 4, 1), _rows(3, 5, 1))
    with pytest.raises(ValueError, match="1 embeddings are all zeros"):
        metric.update(_rows(2, 3, 1), torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    with pytest.raises(ValueError, match="1 of 1 clips hold NaN"):
        metric.update(torch.tensor([[float("nan"), 1.0]]), torch.ones(1, 2))
    assert int(metric.clips) == 0
