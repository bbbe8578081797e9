"""The kernel distance against its written formula, in shards and in blocks, and where features are degenerate."""

import numpy as np
import pytest
import torch
from torch import Tensor

from audio_agent_zoo.metrics import kernel_distance
from audio_agent_zoo.metrics.features import FeatureNetwork
from audio_agent_zoo.metrics.frechet import FrechetDistance
from audio_agent_zoo.metrics.kernel_distance import KernelDistance, median_distance


def _written_formula(real: np.ndarray, generated: np.ndarray, bandwidth: float | None = None) -> float:
    """One pair after the other, as the paper has it."""

    def kernel(a: np.ndarray, b: np.ndarray, width: float) -> float:
        return float(np.exp(-np.sum((a - b) ** 2) / (2 * width**2 + 1e-8)))

    m, n = len(real), len(generated)
    if bandwidth is None:
        distances = sorted(float(np.linalg.norm(real[i] - real[j])) for i in range(m) for j in range(i))
        bandwidth = distances[(len(distances) - 1) // 2]
    within_real = sum(kernel(real[i], real[j], bandwidth) for i in range(m) for j in range(m) if i != j)
    within_made = sum(kernel(generated[i], generated[j], bandwidth) for i in range(n) for j in range(n) if i != j)
    between = sum(kernel(a, b, bandwidth) for a in real for b in generated)
    return 100 * (within_real / (m * (m - 1)) + within_made / (n * (n - 1)) - 2 * between / (m * n))


def _rows(n: int, dim: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=generator, dtype=torch.float64) * scale + shift


def _distance(real: Tensor, generated: Tensor, bandwidth: float | None = None) -> float:
    metric = KernelDistance(real.shape[1], bandwidth)
    metric.update(real, real=True)
    metric.update(generated, real=False)
    return float(metric.compute())


@pytest.mark.parametrize("bandwidth", [None, 0.7, 30.0])
@pytest.mark.parametrize(("m", "n", "dim"), [(2, 2, 1), (30, 21, 5), (12, 9, 200)])
def test_equals_the_written_formula(m: int, n: int, dim: int, bandwidth: float | None) -> None:
    real, generated = _rows(m, dim, 1), _rows(n, dim, 2, 1.4, 0.3)
    expected = _written_formula(real.numpy(), generated.numpy(), bandwidth)
    assert _distance(real, generated, bandwidth) == pytest.approx(expected, rel=1e-10, abs=1e-10)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = _rows(21, 6, 3), _rows(17, 6, 4, 1.2)
    whole = _distance(real, generated)
    for pairs in (1, 100, 333):
        monkeypatch.setattr(kernel_distance, "_BLOCK_PAIRS", pairs)
        assert _distance(real, generated) == pytest.approx(whole, rel=1e-12)


@pytest.fixture(params=[1 << 22, 7], ids=["at once", "by bits"])
def _block_pairs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_distance, "_BLOCK_PAIRS", request.param)


@pytest.mark.usefixtures("_block_pairs")
@pytest.mark.parametrize("n", [2, 3, 4, 5, 30, 61])
def test_the_median_is_the_lower_one_of_all_pairs(n: int) -> None:
    rows = _rows(n, 3, n)
    expected = float(torch.median(torch.pdist(rows)))
    assert median_distance(rows) == pytest.approx(expected, rel=1e-12)


@pytest.mark.usefixtures("_block_pairs")
def test_the_median_of_many_equal_distances() -> None:
    assert median_distance(torch.eye(9, dtype=torch.float64)) == pytest.approx(2**0.5, rel=1e-12)
    assert median_distance(torch.zeros(9, 4, dtype=torch.float64)) == 0.0
    twins = torch.tensor([[0.0], [0.0], [0.0], [0.0], [7.0]], dtype=torch.float64)
    assert median_distance(twins) == 0.0


def test_two_sources_alike_differ_by_nothing_on_average() -> None:
    """No bias with few clips, where the Fréchet distance has much."""
    values, frechet_values = [], []
    for seed in range(60):
        a, b = _rows(15, 8, 2 * seed), _rows(15, 8, 2 * seed + 1)
        values.append(_distance(a, b))
        metric = FrechetDistance(8)
        metric.update(a, real=True)
        metric.update(b, real=False)
        frechet_values.append(float(metric.compute()))
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0
    assert np.mean(frechet_values) > 2


def test_more_noise_lies_further_away() -> None:
    real = _rows(120, 16, 5)
    noise = _rows(120, 16, 6)
    distances = [_distance(real, _rows(120, 16, 7) + level * noise) for level in (0.0, 0.5, 1.0, 2.0)]
    assert distances == sorted(distances)


def test_constant_features() -> None:
    same = torch.full((4, 3), 0.1, dtype=torch.float64)
    assert _distance(same, same[:3]) == pytest.approx(0.0, abs=1e-9)
    assert _distance(same, same[:3] + 1.0) == pytest.approx(200.0)


def test_features_far_from_zero_lose_no_digits_that_matter() -> None:
    real, generated = _rows(50, 16, 8), _rows(50, 16, 9, 1.5)
    assert _distance(real + 1e6, generated + 1e6) == pytest.approx(_distance(real, generated), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_lower_precision_is_measured_as_the_numbers_it_holds(dtype: torch.dtype) -> None:
    real, generated = _rows(20, 4, 10).to(dtype), _rows(20, 4, 11, 2.0).to(dtype)
    assert _distance(real, generated) == pytest.approx(_distance(real.double(), generated.double()), rel=1e-12)


def test_two_shards_add_up_to_the_whole() -> None:
    real, generated = _rows(31, 6, 12).float(), _rows(24, 6, 13, 0.8).float()
    first, second = KernelDistance(6), KernelDistance(6)
    first.update(real[:10], real=True)
    first.update(generated[:20], real=False)
    second.update(real[10:20], real=True)
    second.update(real[20:], real=True)
    second.update(generated[20:], real=False)
    first.merge_state(second)
    assert float(first.compute()) == pytest.approx(_distance(real, generated), rel=1e-12)
    first.reset()
    with pytest.raises(ValueError, match="0 real clips"):
        first.compute()


def test_a_network_is_asked_and_named() -> None:
    network = FeatureNetwork("halves", lambda waves: waves.unflatten(1, (2, -1)).mean(2), 2, 16_000, "FAD", {"v": 1})
    waves = _rows(9, 40, 14).float()
    metric, plain = KernelDistance(network=network), KernelDistance(2)
    for real in (True, False):
        metric.update(waves * (1.0 + real), real=real)
        plain.update(network(waves * (1.0 + real)), real=real)
    assert float(metric.compute()) == float(plain.compute())
    assert metric.protocol["features"] == "halves"
    assert metric.protocol["v"] == 1
    assert KernelDistance(3, 0.5).protocol["bandwidth"] == 0.5
    assert FrechetDistance(network=network).protocol["metric"] == "FAD"
    with pytest.raises(ValueError, match="halves gives 2"):
        KernelDistance(3, network=network)
    with pytest.raises(ValueError, match="and says"):
        FeatureNetwork("wrong", lambda waves: waves, 3)(waves)


def test_what_cannot_be_measured_is_refused_and_counted_nowhere() -> None:
    metric = KernelDistance(4)
    rows = torch.zeros(3, 4)
    rows[1, 2] = float("nan")
    with pytest.raises(ValueError, match="1 of 3 clips hold NaN"):
        metric.update(rows, real=True)
    with pytest.raises(ValueError, match=r"\(clips, 4\)"):
        metric.update(torch.zeros(3, 5), real=True)
    with pytest.raises(ValueError, match="floats"):
        metric.update(torch.zeros(3, 4, dtype=torch.int64), real=True)
    assert not metric.real
    metric.update(torch.zeros(1, 4), real=True)
    with pytest.raises(ValueError, match="1 real clips"):
        metric.compute()
    with pytest.raises(ValueError, match="n_features is None"):
        KernelDistance()
    with pytest.raises(ValueError, match="bandwidth is 0"):
        KernelDistance(4, 0.0)
