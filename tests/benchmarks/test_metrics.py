"""Metrics against the straightforward way to the same numbers; each a ratio within one run.

Run with `pytest -m benchmark tests/benchmarks -s`.
"""

from collections.abc import Callable
from time import perf_counter

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from audio_agent_zoo.evaluation.results import mean
from audio_agent_zoo.metrics.frechet import FrechetDistance
from audio_agent_zoo.metrics.kernel_distance import KernelDistance
from audio_agent_zoo.metrics.motion import motion_of_frames
from audio_agent_zoo.metrics.onsets import CONDFOLEY, OnsetMetric, OnsetScore, detect_onsets, score_clip

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

N_CLIPS, CLIP_S, RATE = 150, 2.0, 16_000
N_FEATURES, N_ROWS = 2048, 1500
RESAMPLES = 1000


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """Shortest of several runs."""
    times = []
    for _ in range(repeats):
        started = perf_counter()
        work()
        times.append(perf_counter() - started)
    return min(times)


def clicks(rng: np.random.Generator) -> np.ndarray:
    """Bursts at random in near silence."""
    wave = 1e-4 * rng.standard_normal(round(CLIP_S * RATE))
    for start in rng.integers(2000, len(wave) - 800, rng.integers(2, 7)):
        wave[start : start + 800] += rng.uniform(0.2, 0.8) * rng.uniform(-1, 1, 800) * np.exp(-np.arange(800) / 150)
    return wave.astype(np.float32)


def rows(seed: int, scale: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    spread = torch.linspace(0.1, 2.0, N_FEATURES)
    return torch.randn(N_ROWS, N_FEATURES, generator=generator) * spread * scale


def test_onset_figures_in_one_pass_against_a_pass_per_figure() -> None:
    rng = np.random.default_rng(1)
    true, made = ([clicks(rng) for _ in range(N_CLIPS)] for _ in range(2))
    figures: tuple[Callable[[OnsetScore], float], ...] = (
        lambda score: score.count_accuracy,
        lambda score: score.detection_accuracy,
        lambda score: score.average_precision,
    )
    score_clip(detect_onsets(true[0], RATE), detect_onsets(made[0], RATE))  # what is imported and compiled first
    values: list[float] = []

    def per_figure() -> None:
        for figure in figures:
            pairs = [(detect_onsets(a, RATE), detect_onsets(b, RATE)) for a, b in zip(true, made, strict=True)]
            values.append(float(np.mean([figure(score_clip(a, b)) for a, b in pairs])))

    known = [detect_onsets(a, RATE) for a in true]
    metric = OnsetMetric(CONDFOLEY)
    ours = seconds(lambda: metric.update([detect_onsets(b, RATE) for b in made], known))
    ratio = ours / seconds(per_figure)
    print(f"\n{N_CLIPS} clips, onsets of the truth kept, all figures at once / a pass per figure: {ratio:.2f}")
    found = metric.compute()
    names = ("count_accuracy", "detection_accuracy", "average_precision")
    assert [float(found[f"onset_{name}"]) for name in names] == pytest.approx(values)
    assert ratio <= 0.3


def test_frechet_distance_against_the_matrix_square_root() -> None:
    real, generated = rows(1, 1.0), rows(2, 1.2)
    metric = FrechetDistance(N_FEATURES)
    value = 0.0

    def straightforward() -> None:
        nonlocal value
        a, b = real.double().numpy(), generated.double().numpy()
        first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
        cross = np.trace(sqrtm(first @ second).real)
        value = float(np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(first) + np.trace(second) - 2 * cross)

    def ours() -> None:
        metric.reset()
        metric.update(real, real=True)
        metric.update(generated, real=False)
        metric.compute()

    ratio = seconds(ours) / seconds(straightforward)
    print(f"\nFréchet distance of {N_ROWS} rows of {N_FEATURES} / by scipy's sqrtm: {ratio:.2f} of its time")
    assert float(metric.compute()) == pytest.approx(value, rel=1e-3)
    assert ratio <= 0.25


def test_kernel_distance_in_blocks_against_whole_matrices() -> None:
    real, generated = rows(1, 1.0), rows(2, 1.2)
    metric = KernelDistance(N_FEATURES)
    metric.update(real, real=True)
    metric.update(generated, real=False)
    value = 0.0

    def straightforward() -> None:
        nonlocal value
        a, b = real.double(), generated.double()
        width = torch.pdist(a).median()
        kernel_aa, kernel_bb, kernel_ab = (
            (-torch.cdist(x, y).square() / (2 * width**2)).exp() for x, y in ((a, a), (b, b), (a, b))
        )
        n = len(a)
        within = (kernel_aa.sum() + kernel_bb.sum() - 2 * n) / (n * (n - 1))
        value = float(100 * (within - 2 * kernel_ab.mean()))

    ratio = seconds(metric.compute) / seconds(straightforward)
    print(f"\nkernel distance of {N_ROWS} rows of {N_FEATURES} / by whole matrices: {ratio:.2f} of its time")
    assert float(metric.compute()) == pytest.approx(value, rel=1e-6)
    assert ratio <= 1.0


def test_intervals_drawn_at_once_against_a_loop() -> None:
    values = np.random.default_rng(2).random(N_CLIPS)
    looped: list[float] = []

    def loop() -> None:
        rng = np.random.default_rng(3)
        means = [np.mean([values[rng.integers(0, len(values))] for _ in values]) for _ in range(RESAMPLES)]
        looped[:] = np.quantile(means, [0.025, 0.975]).tolist()

    ratio = seconds(lambda: mean("value", values, 3), 3) / seconds(loop)
    print(f"\nbootstrap interval of {N_CLIPS} clips / a loop: {ratio:.3f} of its time")
    assert mean("value", values, 3).interval == pytest.approx(looped, abs=0.01)
    assert ratio <= 0.1


def test_motion_of_a_video_takes_less_than_its_length() -> None:
    frames = np.random.default_rng(4).integers(0, 255, (48, 128, 170, 3)).astype(np.uint8)
    share = seconds(lambda: motion_of_frames(frames, 24.0), 2) / 2.0
    print(f"\noptical flow of 2 s at 24 frames per second: {share:.2f} of its length")
    assert share <= 1.0
