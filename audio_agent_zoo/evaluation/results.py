"""Measured values with their intervals, and the file they are kept in."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.media import atomic_path

_BOOTSTRAPS = 1000
_PACKAGES = ("audio-agent-zoo", "torch", "diffusers", "transformers", "numpy", "scipy", "librosa")


@dataclass(frozen=True)
class Figure:
    """One measured value.

    Attributes:
        name: What was measured.
        value: The value.
        unit: Its unit, "" for a share or a ratio.
        better: "higher" or "lower", "" for a reference that is neither.
        n: Number of clips behind it.
        interval: 95 % bootstrap interval over clips, or None.
    """

    name: str
    value: float
    unit: str
    better: str
    n: int
    interval: tuple[float, float] | None = None


def mean(name: str, values: NDArray[Any], seed: int, *, unit: str = "", better: str = "higher") -> Figure:
    """Mean over clips with its interval; of hits and misses, the share of hits."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (_BOOTSTRAPS, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Figure(name, float(values.mean()), unit, better, len(values), (float(low), float(high)))


def ratio(name: str, ours: NDArray[Any], real: NDArray[Any], seed: int) -> Figure:
    """Ratio of two means over the same clips, drawn together for the interval."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(ours), (_BOOTSTRAPS, len(ours)))
    ratios = ours[rows].mean(axis=1) / np.maximum(real[rows].mean(axis=1), 1e-9)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Figure(name, float(ours.mean() / max(real.mean(), 1e-9)), "", "higher", len(ours), (float(low), float(high)))


def write_results(
    folder: Path, recipe: Path, settings: Any, figures: Sequence[Figure], more: Mapping[str, Any]
) -> dict[str, Any]:
    """Write `results.json`: settings, package versions, figures.

    Args:
        folder: Where to.
        recipe: What was run.
        settings: A dataclass of settings.
        figures: What was measured.
        more: What else tells how, such as weights and judge.
    """
    results = {
        "recipe": recipe.name,
        "settings": asdict(settings),
        **more,
        "versions": {name: version(name) for name in _PACKAGES},
        "figures": [asdict(figure) for figure in figures],
    }
    with atomic_path(folder / "results.json") as partial:
        partial.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    with atomic_path(folder / "results.md") as partial:
        partial.write_text(results_markdown(results), encoding="utf-8")
    return results


def results_markdown(results: Mapping[str, Any]) -> str:
    """The figures of `results.json` as a Markdown table for a card."""
    arrows = {"higher": " (higher is better)", "lower": " (lower is better)", "": ""}
    lines = ["| Figure | Value | 95 % interval | Clips |", "| --- | --- | --- | --- |"]
    for figure in results["figures"]:
        low_high = figure["interval"]
        interval = f"{low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else ""
        value = f"{figure['value']:.3f}{' ' + figure['unit'] if figure['unit'] else ''}"
        lines.append(f"| {figure['name']}{arrows[figure['better']]} | {value} | {interval} | {figure['n']} |")
    return "\n".join(lines) + "\n"


def results_table(results: dict[str, Any]) -> str:
    """The figures of `results.json` as a text table."""
    lines = [f"{'figure':<36}{'value':>10}  {'95 % interval':<18}{'n':>5}"]
    for figure in results["figures"]:
        interval = figure["interval"]
        bounds = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
        value = f"{figure['value']:.3f}{' ' + figure['unit'] if figure['unit'] else ''}"
        lines.append(f"{figure['name']:<36}{value:>10}  {bounds:<18}{figure['n']:>5}")
    return "\n".join(lines)
