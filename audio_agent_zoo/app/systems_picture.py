"""What several systems made of the same requests, as spectrograms one under the other on one clock."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.app.filmstrip import draw_strip
from audio_agent_zoo.app.spectrogram import FLOOR_DB, N_BANDS, mel_decibels
from audio_agent_zoo.media import atomic_path
from audio_agent_zoo.rates import SAMPLE_RATE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _SOFT, _MARK = "#1F2328", "#59616B", "#00E5FF"
_WIDTH_IN, _ROW_IN, _STRIP_IN, _TITLE_IN = 10.0, 0.95, 0.62, 0.42
_FRAMES = 12


@dataclass(frozen=True, eq=False)
class SystemRow:
    """One sound of a picture.

    Attributes:
        label: Who made it.
        audio: `(samples,)` at 16 kHz.
        marks_s: Instants to mark, such as onsets.
        spans: Words over a stretch of the sound: start, end in seconds, text.
    """

    label: str
    audio: NDArray[np.float32]
    marks_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    spans: Sequence[tuple[float, float, str]] = ()


def draw_video_systems(path: Path, clips: Sequence[tuple[str, NDArray[np.uint8], Sequence[SystemRow]]]) -> None:
    """Draw clips under one another: frames of the video, then a spectrogram with its onsets per system.

    Args:
        path: PNG to write.
        clips: Caption, frames `(frames, height, width, 3)`, and sounds of each clip.
    """
    heights = [h for _, _, rows in clips for h in (_TITLE_IN + _STRIP_IN, *[_ROW_IN] * len(rows))]
    figure, axes = _stacked(heights)
    at = 0
    for caption, frames, rows in clips:
        duration_s = max(len(row.audio) for row in rows) / SAMPLE_RATE
        chosen = frames[np.linspace(0, len(frames) - 1, _FRAMES).round().astype(int)]
        draw_strip(axes[at], chosen, duration_s)
        _titled(axes[at], caption)
        _plain(axes[at])
        _draw_rows(axes[at + 1 : at + 1 + len(rows)], rows, duration_s)
        at += 1 + len(rows)
    _save(figure, path)


def draw_long_prompts(path: Path, prompts: Sequence[tuple[str, Sequence[SystemRow]]]) -> None:
    """Draw prompts under one another, a spectrogram per system.

    Args:
        path: PNG to write.
        prompts: Words and sounds of each.
    """
    heights = [_ROW_IN + _TITLE_IN / len(rows) for _, rows in prompts for _ in rows]
    figure, axes = _stacked(heights)
    at = 0
    for words, rows in prompts:
        duration_s = max(len(row.audio) for row in rows) / SAMPLE_RATE
        _titled(axes[at], words)
        _draw_rows(axes[at : at + len(rows)], rows, duration_s)
        at += len(rows)
    _save(figure, path)


def _stacked(heights: Sequence[float]) -> "tuple[Figure, list[Axes]]":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_IN, sum(heights) + 0.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(heights), 1, height_ratios=list(heights), hspace=0.02)
    return figure, [figure.add_subplot(grid[i]) for i in range(len(heights))]


def _titled(axes: "Axes", words: str) -> None:
    shown = "\n".join(wrap(words, 125, max_lines=2, placeholder=" …"))
    axes.set_title(shown, fontsize=9.5, color=_INK, loc="left", parse_math=False)


def _plain(axes: "Axes") -> None:
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_visible(False)


def _draw_rows(axes: "Sequence[Axes]", rows: Sequence[SystemRow], duration_s: float) -> None:
    for i, (one, row) in enumerate(zip(axes, rows, strict=True)):
        length_s = len(row.audio) / SAMPLE_RATE
        one.imshow(
            mel_decibels(row.audio, SAMPLE_RATE),
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=-FLOOR_DB,
            vmax=0,
            extent=(0, length_s, 0, N_BANDS),
        )
        for mark_s in row.marks_s:
            one.axvline(float(mark_s), color=_MARK, linewidth=1.1, alpha=0.9)
        for start, end, text in row.spans:
            one.axvspan(start, end, ymin=0.86, facecolor="white", edgecolor=_INK, alpha=0.85, linewidth=0.6)
            shown = text[: max(4, int((end - start) / duration_s * 150))]
            one.text(start, 0.93 * N_BANDS, f" {shown}", fontsize=6.5, color=_INK, va="center", parse_math=False)
        one.set(xlim=(0, duration_s), ylim=(0, N_BANDS), yticks=[])
        one.set_ylabel(row.label, rotation=0, ha="right", va="center", fontsize=8.5, color=_INK, parse_math=False)
        last = i == len(rows) - 1
        one.tick_params(labelsize=7.5, colors=_SOFT, labelbottom=last, length=2 if last else 0)
    axes[-1].set_xlabel("seconds", fontsize=7.5, color=_SOFT)


def _save(figure: "Figure", path: Path) -> None:
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png")
