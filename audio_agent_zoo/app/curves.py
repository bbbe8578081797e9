"""Measured values over a setting, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from audio_agent_zoo.media import atomic_path

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#B4588F", "#9A6A00")
_MARKERS = ("o", "s", "^", "D", "v")


def draw_curves(path: Path, x_label: str, x: Sequence[float], curves: Mapping[str, Sequence[float]]) -> None:
    """Draw one line per measure over a common axis, in [0, 1], and write it as PNG.

    Args:
        path: File to write.
        x_label: What is varied.
        x: Its values.
        curves: Measure -> its value at each of them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for i, (name, values) in enumerate(curves.items()):
        axes.plot(x, values, color=_COLOURS[i % 5], marker=_MARKERS[i % 5], label=name)
        axes.annotate(f"{values[-1]:.2f}", (x[-1], values[-1]), xytext=(6, -3), textcoords="offset points", fontsize=8)
    axes.set(xlabel=x_label, ylim=(0, 1), xticks=list(x))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png")
