"""Measured values with their intervals, and the file they are kept in."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.evaluation.intervals import DRAWS, bounds, draw_rows
from audio_agent_zoo.evaluation.tables import Table, table_markdown
from audio_agent_zoo.media import atomic_path

_PACKAGES = (
    "audio-agent-zoo",
    "torch",
    "torchmetrics",
    "diffusers",
    "transformers",
    "numpy",
    "scipy",
    "scikit-learn",
    "librosa",
    "soxr",
    "soundfile",
    "av",
)
_ARROWS = {"higher": " (higher is better)", "lower": " (lower is better)", "": ""}


@dataclass(frozen=True)
class Figure:
    """One measured value.

    Attributes:
        name: What was measured.
        value: The value.
        unit: Its unit, "" for a share or a ratio.
        better: Its direction: "higher" or "lower", "" for a reference that is neither.
        n: Number of clips behind it.
        interval: 95 % bootstrap interval over clips, or None.
        protocol: Key into the `protocols` of `results.json`, which say how it was measured.
    """

    name: str
    value: float
    unit: str
    better: str
    n: int
    interval: tuple[float, float] | None = None
    protocol: str = ""


def mean(
    name: str, values: NDArray[Any], seed: int, *, unit: str = "", better: str = "higher", protocol: str = ""
) -> Figure:
    """Mean over clips with its interval; of hits and misses, the share of hits. Of no clips at all it is NaN."""
    if not len(values):
        return Figure(name, float("nan"), unit, better, 0, None, protocol)
    interval = bounds(values[draw_rows(len(values), DRAWS, seed)].mean(axis=1))
    return Figure(name, float(values.mean()), unit, better, len(values), interval, protocol)


def ratio(name: str, ours: NDArray[Any], real: NDArray[Any], seed: int, *, protocol: str = "") -> Figure:
    """Ratio of two means over the same clips, drawn together for the interval."""
    rows = draw_rows(len(ours), DRAWS, seed)
    interval = bounds(ours[rows].mean(axis=1) / np.maximum(real[rows].mean(axis=1), 1e-9))
    return Figure(name, float(ours.mean() / max(real.mean(), 1e-9)), "", "higher", len(ours), interval, protocol)


def under(protocol: str, figures: Sequence[Figure]) -> list[Figure]:
    """The same figures with the protocol they were measured under."""
    return [replace(figure, protocol=protocol) for figure in figures]


def write_results(
    folder: Path,
    recipe: Path,
    settings: Any,
    figures: Sequence[Figure],
    more: Mapping[str, Any],
    *,
    protocols: Mapping[str, Mapping[str, Any]] | None = None,
    networks: Mapping[str, Mapping[str, Any]] | None = None,
    seeds: Mapping[str, int] | None = None,
    tables: Sequence[Table] = (),
) -> dict[str, Any]:
    """Write `results.json` and `results.md`: settings, seeds, protocols, package versions, figures, tables of them.

    Figures that came out as no number, such as a share of nothing, are named under `undefined` and left out.

    Args:
        folder: Where to.
        recipe: What was run.
        settings: A dataclass of settings.
        figures: What was measured.
        more: What else tells how, such as weights and judge.
        protocols: Key -> how it was measured: a `text`, and settings as plain values.
        networks: Feature network -> its revision or hash, and what else decides over its values.
        seeds: What was drawn -> its seed.
        tables: How a paper would lay the figures out.

    Raises:
        ValueError: If a figure names a protocol that is not among them.
    """
    told = dict(protocols or {})
    if unknown := sorted({figure.protocol for figure in figures} - {"", *told}):
        raise ValueError(f"figures name the protocols {unknown}; those described are {sorted(told)}.")
    results = {
        "recipe": recipe.name,
        "settings": asdict(settings),
        **more,
        "seeds": dict(seeds or {}),
        "bootstrap": f"95 % percentile interval over clips, {DRAWS} draws; of distances as their protocol says",
        "networks": {name: dict(details) for name, details in (networks or {}).items()},
        "protocols": {name: dict(details) for name, details in told.items()},
        "versions": {name: version(name) for name in _PACKAGES},
        "figures": [asdict(figure) for figure in figures if isfinite(figure.value)],
        "tables": [table.to_dict() for table in tables],
        "undefined": [figure.name for figure in figures if not isfinite(figure.value)],
    }
    text = json.dumps(results, indent=2, allow_nan=False)
    with atomic_path(folder / "results.json") as partial:
        partial.write_text(text + "\n", encoding="utf-8")
    with atomic_path(folder / "results.md") as partial:
        partial.write_text(results_markdown(results), encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def shown(figure: Mapping[str, Any]) -> tuple[str, str]:
    """Value with its unit, and interval, of a figure of `results.json`, as text."""
    interval = figure["interval"]
    value = f"{figure['value']:z.3f}{' ' + figure['unit'] if figure['unit'] else ''}"
    return value, f"{interval[0]:z.3f} to {interval[1]:z.3f}" if interval else ""


def results_markdown(results: Mapping[str, Any]) -> str:
    """The figures of `results.json` as a Markdown table for a card, and how they were measured."""
    lines = [table_markdown(table, results["figures"]) for table in results.get("tables", [])]
    lines += ["| Figure | Value | 95 % interval | Clips |", "| --- | --- | --- | --- |"]
    for figure in results["figures"]:
        value, interval = shown(figure)
        name = figure["name"].replace("|", "\\|")
        lines.append(f"| {name}{_ARROWS[figure['better']]} | {value} | {interval} | {figure['n']} |")
    texts = {name: details.get("text", "") for name, details in results.get("protocols", {}).items()}
    lines += ["", *(f"- **{name}**: {text}" for name, text in texts.items() if text)] if texts else []
    return "\n".join(lines) + "\n"


def results_table(results: Mapping[str, Any]) -> str:
    """The figures of `results.json` as a text table."""
    width = max([36, *(len(figure["name"]) + 2 for figure in results["figures"])])
    lines = [f"{'figure':<{width}}{'value':>10}  {'95 % interval':<18}{'n':>5}"]
    for figure in results["figures"]:
        value, interval = shown(figure)
        lines.append(f"{figure['name']:<{width}}{value:>10}  {interval:<18}{figure['n']:>5}")
    return "\n".join(lines)
