"""The Fréchet distance against the textbook formula, in shards, and where it is hard to compute."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from audio_agent_zoo.metrics.frechet import FrechetDistance


def _textbook(real: np.ndarray, generated: np.ndarray) -> float:
    mean_a, mean_b = real.mean(axis=0), generated.mean(axis=0)
    covariance_a, covariance_b = np.cov(real, rowvar=False), np.cov(generated, rowvar=False)
    cross = sqrtm(covariance_a @ covariance_b).real
    return float(np.sum((mean_a - mean_b) ** 2) + np.trace(covariance_a + covariance_b - 2 * cross))


def _features(n: int, n_features: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(n_features, n_features, generator=generator, dtype=torch.float64)
    rows = torch.randn(n, n_features, generator=generator, dtype=torch.float64)
    return rows @ mixing * scale + shift


def _distance(real: Tensor, generated: Tensor) -> float:
    metric = FrechetDistance(real.shape[1])
    metric.update(real, real=True)
    metric.update(generated, real=False)
    return float(metric.compute())


@pytest.mark.parametrize(("n_features", "scale", "shift"), [(1, 2.0, 0.5), (8, 1.3, 0.0), (40, 0.7, 3.0)])
def test_equals_the_textbook_formula(n_features: int, scale: float, shift: float) -> None:
    real, generated = _features(300, n_features, 1), _features(250, n_features, 2, scale, shift)
    if n_features == 1:
        a, b = real.numpy().ravel(), generated.numpy().ravel()
        expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    else:
        expected = _textbook(real.numpy(), generated.numpy())
    assert _distance(real, generated) == pytest.approx(expected, rel=1e-9)


def test_diagonal_gaussians_have_a_closed_form() -> None:
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    spread = rows * torch.tensor([3.0, 0.5])
    # Variances are 2/3 along each axis, times the square of the factor.
    expected = 2 / 3 * ((3.0 - 1) ** 2 + (0.5 - 1) ** 2)
    assert _distance(rows, spread) == pytest.approx(expected, rel=1e-12)
    assert _distance(rows, rows + 2.0) == pytest.approx(8.0, rel=1e-12)


def test_fewer_clips_than_features() -> None:
    real, generated = _features(20, 64, 3), _features(15, 64, 4)
    a, b = real - real.mean(0), generated - generated.mean(0)
    # The overlap of two covariances of low rank, from the small matrices of inner products.
    overlap = np.linalg.svd((a @ b.T).numpy(), compute_uv=False).sum() / np.sqrt(19 * 14)
    spread = a.square().sum() / 19 + b.square().sum() / 14 - 2 * overlap
    expected = float((real.mean(0) - generated.mean(0)).square().sum() + spread)
    assert _distance(real, generated) == pytest.approx(expected, rel=1e-9)


def test_a_set_has_no_distance_from_itself_also_without_full_rank() -> None:
    for n in (10, 500):
        features = _features(n, 64, 5)
        assert 0.0 <= _distance(features, features) < 1e-9 * float(features.square().mean())


def test_constant_features_differ_by_their_means_alone() -> None:
    assert _distance(torch.zeros(5, 4), torch.full((5, 4), 2.0)) == pytest.approx(16.0)
    assert _distance(torch.full((5, 4), 0.1), torch.full((7, 4), 0.1)) == pytest.approx(0.0, abs=1e-12)


def test_features_far_from_zero_lose_no_digits_that_matter() -> None:
    real, generated = _features(400, 16, 6), _features(400, 16, 7, 1.5)
    expected = _distance(real, generated)
    assert _distance(real + 1e4, generated + 1e4) == pytest.approx(expected, rel=1e-6)


def test_two_shards_add_up_to_the_whole() -> None:
    real, generated = _features(101, 12, 8).float(), _features(77, 12, 9, 0.8).float()
    whole, first, second = (FrechetDistance(12) for _ in range(3))
    whole.update(real, real=True)
    whole.update(generated, real=False)
    first.update(real[:10], real=True)
    first.update(generated[:50], real=False)
    second.update(real[10:], real=True)
    second.update(generated[50:], real=False)
    first.merge_state(second)
    assert (first.n_real, first.n_generated) == (101, 77)
    assert float(first.compute()) == pytest.approx(float(whole.compute()), rel=1e-12)


def test_few_clips_overestimate_as_the_docstring_warns() -> None:
    source = _features(4000, 32, 10)
    assert _distance(source[:50], source[2000:2050]) > 5 * _distance(source[:2000], source[2000:])


def test_reset_forgets() -> None:
    metric = FrechetDistance(4)
    metric.update(_features(9, 4, 11), real=True)
    metric.reset()
    assert metric.n_real == 0


@pytest.mark.parametrize("real", [True, False])
def test_broken_features_are_refused_and_counted_nowhere(real: bool) -> None:
    metric = FrechetDistance(4)
    features = torch.zeros(3, 4)
    features[1, 2] = float("nan")
    with pytest.raises(ValueError, match="1 of 3 clips hold NaN"):
        metric.update(features, real=real)
    with pytest.raises(ValueError, match=r"\(clips, 4\)"):
        metric.update(torch.zeros(3, 5), real=real)
    assert metric.n_real == metric.n_generated == 0


def test_one_clip_has_no_covariance() -> None:
    metric = FrechetDistance(4)
    metric.update(torch.zeros(2, 4), real=True)
    metric.update(torch.zeros(1, 4), real=False)
    with pytest.raises(ValueError, match="1 generated clips"):
        metric.compute()
    with pytest.raises(ValueError, match="n_features is 0"):
        FrechetDistance(0)
