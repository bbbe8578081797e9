"""What holds of every metric: its example runs, it says its protocol, it refuses to be computed of nothing."""

import doctest
import inspect
import pkgutil
from importlib import import_module
from types import ModuleType

import pytest
import torch
from torchmetrics import Metric

from audio_agent_zoo import metrics
from audio_agent_zoo.metrics.frechet import FrechetDistance
from audio_agent_zoo.metrics.kernel_distance import KernelDistance
from audio_agent_zoo.metrics.kl_divergence import KLDivergence
from audio_agent_zoo.metrics.similarity import CLAP_SCORE, EmbeddingSimilarity

MODULES = [import_module(f"{metrics.__name__}.{found.name}") for found in pkgutil.iter_modules(metrics.__path__)]
METRICS = sorted(
    {
        kind
        for module in MODULES
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, Metric) and kind.__module__ == module.__name__
    },
    key=lambda kind: kind.__name__,
)
ARGUMENTS = {"EmbeddingSimilarity": [CLAP_SCORE], "FrechetDistance": [4], "InceptionScore": [4], "KernelDistance": [4]}
"""Metric -> what its constructor can't do without."""


def test_there_are_metrics_to_look_at() -> None:
    names = {kind.__name__ for kind in METRICS}
    assert {"OnsetMetric", "FrechetDistance", "KernelDistance", "KLDivergence", "Desync", "AVAlign"} <= names


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_examples_of_docstrings_hold(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("kind", METRICS, ids=lambda kind: kind.__name__)
def test_a_metric_has_an_example_a_direction_and_a_protocol(kind: type[Metric]) -> None:
    assert doctest.DocTestFinder(recurse=False).find(kind)[0].examples, "its docstring has no example"
    metric = kind(*ARGUMENTS.get(kind.__name__, []))
    assert metric.higher_is_better in (True, False, None)
    protocol = metric.protocol
    told = protocol if isinstance(protocol, dict) else vars(protocol)
    assert told.get("metric") or told.get("name"), "results could not say what was measured"
    with pytest.raises(ValueError):
        metric.compute()


def _values(device: str) -> list[float]:
    generator = torch.Generator().manual_seed(0)
    real, made = (torch.randn(60, 8, generator=generator).to(device) for _ in range(2))
    values = list[float]()
    for kind in (FrechetDistance, KernelDistance):
        distance = kind(8).to(device)
        distance.update(real, real=True)
        distance.update(made, real=False)
        values.append(float(distance.compute()))
    for pair in (KLDivergence().to(device), EmbeddingSimilarity(CLAP_SCORE).to(device)):
        pair.update(made, real)
        values.append(float(pair.compute()))
    return values


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_values_are_the_same_on_a_gpu() -> None:
    assert _values("cuda") == pytest.approx(_values("cpu"), rel=1e-6)
