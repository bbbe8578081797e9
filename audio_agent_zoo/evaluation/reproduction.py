"""Whether an evaluation comes to the figures that lie beside the weights, each within its own interval."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.hub import resolve

_ROUNDING = 1e-6


@dataclass(frozen=True)
class Reproduction:
    """New figures beside the committed ones.

    Attributes:
        within: Figures that lie in the committed interval.
        outside: Name -> committed value, its interval, and the new value.
        absent: Committed figures that were not made now, such as those of an ablation whose weights are not there.
    """

    within: tuple[str, ...]
    outside: Mapping[str, tuple[float, tuple[float, float], float]]
    absent: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether something was compared, nothing lies outside and nothing is missing."""
        return bool(self.within) and not self.outside and not self.absent

    def __str__(self) -> str:
        """A line per figure outside, and the sum."""
        lines = [
            f"outside  {name}: {new:.4f} now, committed {old:.4f} ({low:.4f} to {high:.4f})"
            for name, (old, (low, high), new) in self.outside.items()
        ]
        lines += [f"absent   {name}" for name in self.absent]
        n = len(self.within) + len(self.outside)
        return "\n".join([*lines, f"{len(self.within)} of {n} figures lie within their committed intervals"])


def committed_results(recipe: Path, weights: str = "foley-mini") -> dict[str, Any]:
    """What `results.json` of a recipe held when the weights were published.

    Args:
        recipe: The recipe; `table_2_eval.yaml` has its results in `table_2_results.json`.
        weights: Published folder or name.

    Raises:
        WeightsError: If the folder has none.
    """
    path = resolve(weights) / f"{recipe.stem.removesuffix('_eval')}_results.json"
    if not path.is_file():
        raise WeightsError(f"{weights} has no committed results of {recipe.name}: {path.name} is not in its folder.")
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return results


def compare(results: Mapping[str, Any], committed: Mapping[str, Any]) -> Reproduction:
    """Hold every committed figure against the new one; without an interval the values must be equal."""
    new = {figure["name"]: float(figure["value"]) for figure in results["figures"]}
    within, absent = list[str](), list[str]()
    outside: dict[str, tuple[float, tuple[float, float], float]] = {}
    for figure in committed["figures"]:
        name, old = figure["name"], float(figure["value"])
        if name not in new:
            absent.append(name)
            continue
        low, high = figure["interval"] or (old, old)
        room = _ROUNDING * max(1.0, abs(old))
        if low - room <= new[name] <= high + room:
            within.append(name)
        else:
            outside[name] = (old, (low, high), new[name])
    return Reproduction(tuple(within), outside, tuple(absent))
