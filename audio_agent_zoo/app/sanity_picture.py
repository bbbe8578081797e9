"""Many small panels with intervals, one measure each: whether every measure puts known conditions in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audio_agent_zoo.media import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 4
_INK, _SOFT = "#1F2328", "#59616B"
_GOOD, _BAD = "#0072B2", "#D55E00"
_LEGEND = "↑ higher is better, ↓ lower is better; orange: comes out no worse than the condition to its left"


@dataclass(frozen=True)
class Panel:
    """One measure under conditions that have a known order, the best first.

    Attributes:
        title: The measure.
        x: What the conditions are.
        labels: The conditions.
        values: The measure under each.
        intervals: Its 95 % interval under each, or None.
        lower_is_better: Direction of the measure.
    """

    title: str
    x: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    intervals: tuple[tuple[float, float] | None, ...]
    lower_is_better: bool = False


def draw_panels(path: Path, panels: Sequence[Panel]) -> None:
    """Draw panels in rows of four and write them as PNG.

    Args:
        path: File to write.
        panels: What to draw, those of one kind of condition behind one another.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups: dict[str, list[Panel]] = {}
    for panel in panels:
        groups.setdefault(panel.x, []).append(panel)
    heights = [-(-len(group) // _COLUMNS) for group in groups.values()]
    figure = Figure(figsize=(3.1 * _COLUMNS, 2.15 * sum(heights) + 0.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(sum(heights), _COLUMNS)
    row = 0
    for group, height in zip(groups.values(), heights, strict=True):
        for i, panel in enumerate(group):
            _draw(figure.add_subplot(grid[row + i // _COLUMNS, i % _COLUMNS]), panel)
        row += height
    figure.suptitle(_LEGEND, fontsize=8.5, color=_SOFT)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png")


def _draw(axes: "Axes", panel: Panel) -> None:
    sign = 1 if panel.lower_is_better else -1
    steps = [sign * (b - a) for a, b in zip(panel.values[:-1], panel.values[1:], strict=True)]
    axes.plot(range(len(panel.values)), panel.values, color=_SOFT, linewidth=1, zorder=1)
    for i, (value, interval) in enumerate(zip(panel.values, panel.intervals, strict=True)):
        # A condition that does not come out worse than the one before it stands out.
        colour = _BAD if i and steps[i - 1] <= 0 else _GOOD
        if interval:
            axes.plot([i, i], interval, color=colour, linewidth=2.4, alpha=0.45, zorder=2)
        axes.plot(i, value, marker="o", markersize=5, color=colour, zorder=3)
    axes.set_title(f"{panel.title} {'↓' if panel.lower_is_better else '↑'}", fontsize=8.5, color=_INK)
    axes.set_xticks(range(len(panel.labels)), [label.replace(" ", "\n", 1) for label in panel.labels])
    axes.set_xlabel("" if panel.x == "system" else panel.x, fontsize=7.5, color=_SOFT)
    axes.tick_params(labelsize=7 if len(panel.labels) < 6 else 6, colors=_SOFT)
    axes.margins(x=0.12, y=0.12)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
