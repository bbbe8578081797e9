"""The picture of a look through the clips: classes, lengths, loudness, captions, and what is left out."""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audio_agent_zoo.data.check import LEFT_OUT, REMARKS, DataReport
from audio_agent_zoo.media import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which stay apart for colour-blind eyes.
_COLOURS = {"train": "#2B7FB0", "validation": "#E69F00", "test": "#009E73", "left out": "#C4573A"}
_REMARK = "#B08A2E"
_INK, _SOFT, _FAINT = "#1F2328", "#59616B", "#D5DAE0"

_DPI, _WIDTH_IN, _LEAST_HEIGHT_IN = 150, 11.0, 6.9
_LEFT_IN, _RIGHT_IN, _TOP_IN, _BOTTOM_IN = 0.45, 10.75, 1.3, 0.55
_ROW_IN, _TALL_ROW_IN, _MOST_ROWS = 0.235, 0.36, 32
_LABEL_CHARACTERS, _CHARACTER_IN = 27, 0.082
_FEWEST_BINS, _MOST_BINS = 8, 24
_DULL_WORD = re.compile(
    r"an?|and|are|as|at|be(ing)?|by|for|from|in(to)?|is|its?|off?|on(to)?|or|out|over|the(n|re|ir)?|to|up|while|with"
)


@dataclass(frozen=True)
class _Row:
    """A bar in pieces."""

    label: str
    counts: dict[str, int]


def draw_report(path: str | Path, report: DataReport, title: str = "") -> None:
    """Draw the report and write it as PNG, whole or not at all.

    Args:
        path: PNG to write.
        report: What was found.
        title: Name of the data.

    Raises:
        MediaError: If the file can't be written.
    """
    with warnings.catch_warnings():
        # A script that no font here has is drawn as boxes; that is no news to whoever asked for the picture.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = _figure(report, title)
        with atomic_path(path) as partial:
            figure.savefig(partial, format="png", pil_kwargs={"compress_level": 6})


def _figure(report: DataReport, title: str) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    has_classes = any(clip.class_name for clip in report.clips)
    rows = _class_rows(report) if has_classes else _word_rows(report)
    shown = rows[:_MOST_ROWS]
    height_in = max(_LEAST_HEIGHT_IN, _TOP_IN + _BOTTOM_IN + _ROW_IN * len(shown))
    figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)

    def panel(left_in: float, right_in: float, top_in: float, bottom_in: float) -> "Axes":
        """Axes between edges in inches, from the left and from the top."""
        wide, tall = (right_in - left_in) / _WIDTH_IN, (bottom_in - top_in) / height_in
        return figure.add_axes((left_in / _WIDTH_IN, 1 - bottom_in / height_in, wide, tall))

    _draw_heading(figure, report, title, height_in)
    name = "clips by class" if has_classes else "clips by word of their captions"
    if shown:
        room_in = min(height_in - _TOP_IN - _BOTTOM_IN, _TALL_ROW_IN * len(shown))
        label_in = _LEFT_IN + 0.1 + _CHARACTER_IN * min(_LABEL_CHARACTERS, max(len(row.label) for row in shown))
        _draw_rows(panel(label_in, 5.5, _TOP_IN, _TOP_IN + room_in), shown, name, len(rows))
    usable, middle_in = report.usable, _TOP_IN + 0.46 * (height_in - _TOP_IN - _BOTTOM_IN)
    by_split = {split: [clip for clip in usable if clip.split == split] for split in report.n_clips}
    for left_in, label, values in (
        (6.15, "length of the sound, s", {s: [c.duration_s for c in clips] for s, clips in by_split.items()}),
        (8.75, "loudness, LUFS", {s: [c.loudness_lufs for c in clips] for s, clips in by_split.items()}),
    ):
        _draw_histogram(panel(left_in, left_in + 2.0, _TOP_IN, middle_in - 0.35), label, values)
    below = (middle_in + 0.35, height_in - _BOTTOM_IN)
    lengths = {s: [len(text.split()) for c in clips for text in c.captions] for s, clips in by_split.items()}
    _draw_histogram(panel(6.15, 8.15, *below), "words in a caption", lengths)
    _draw_findings(panel(9.8, 10.75, below[0] - 0.25, below[1]), report)
    return figure


def _class_rows(report: DataReport) -> list[_Row]:
    """A row for each class, by split, and what of it is left out."""
    return [
        _Row(name or "(no class)", dict(Counter("left out" if clip.left_out else clip.split for clip in clips)))
        for name, clips in report.by_class().items()
    ]


def _word_rows(report: DataReport) -> list[_Row]:
    """A row for each word that says something, by the clips whose captions have it."""
    rows: dict[str, Counter[str]] = {}
    for clip in report.usable:
        for word in {word for text in clip.captions for word in re.findall(r"\w+", text.lower())}:
            if not _DULL_WORD.fullmatch(word):
                rows.setdefault(word, Counter())[clip.split] += 1
    return [_Row(word, dict(counts)) for word, counts in sorted(rows.items(), key=lambda r: (-r[1].total(), r[0]))]


def _draw_heading(figure: "Figure", report: DataReport, title: str, height_in: float) -> None:
    from matplotlib.patches import Rectangle

    found = report.summary()
    total = found["duration_s"].get("sum", 0.0)
    minutes = f"{total:.0f} s" if total < 120 else f"{total / 60:.0f} min" if total < 7200 else f"{total / 3600:.1f} h"
    there = sum(report.n_clips.values())
    facts = [f"{there:,} clips", f"{len(report.clips):,} looked at" if len(report.clips) < there else ""]
    facts += [f"{found['n_usable']:,} can be used", f"{minutes} of sound"]
    if report.usable:
        facts.append(f"{found['silence']:.0%} of it silence")
    line = "   ·   ".join(fact for fact in facts if fact)
    name = title if len(title) <= 60 else title[:59] + "…"
    for text, from_top, size, ink, weight in ((name, 0.42, 15.0, _INK, "bold"), (line, 0.72, 9.5, _SOFT, "normal")):
        place = (_LEFT_IN / _WIDTH_IN, 1 - from_top / height_in)
        figure.text(*place, text, fontsize=size, color=ink, fontweight=weight, va="center", parse_math=False)
    kinds = [*report.n_clips, *(["left out"] if report.counts(LEFT_OUT) else [])]
    figure.legend(
        handles=[Rectangle((0, 0), 1, 1, color=_COLOURS[kind]) for kind in kinds],
        labels=kinds,
        ncols=len(kinds),
        loc="center right",
        bbox_to_anchor=(_RIGHT_IN / _WIDTH_IN, 1 - 0.42 / height_in),
        borderaxespad=0,
        borderpad=0,
        handlelength=0.9,
        handleheight=0.9,
        handletextpad=0.5,
        columnspacing=1.6,
        frameon=False,
        fontsize=9,
        labelcolor=_SOFT,
    )


def _draw_rows(axes: "Axes", rows: Sequence[_Row], name: str, n_all: int) -> None:
    """Bars in pieces, with their sum at the end."""
    kinds = [kind for kind in _COLOURS if any(row.counts.get(kind) for row in rows)]
    ends = np.zeros(len(rows))
    for kind in kinds:
        counts = np.array([row.counts.get(kind, 0) for row in rows])
        axes.barh(range(len(rows)), counts, left=ends, height=0.68, color=_COLOURS[kind], linewidth=0)
        ends += counts
    for i, (row, end) in enumerate(zip(rows, ends, strict=True)):
        label = row.label.replace("_", " ")
        label = label if len(label) <= _LABEL_CHARACTERS else label[: _LABEL_CHARACTERS - 1] + "…"
        style: dict[str, Any] = {"va": "center", "fontsize": 8.5, "parse_math": False}
        axes.text(-0.02, i, label, ha="right", color=_INK, transform=axes.get_yaxis_transform(), **style)
        axes.text(end + 0.012 * ends.max(), i, f"{int(end):,}", ha="left", color=_SOFT, **style)
    axes.set(xlim=(0, ends.max() * 1.1), ylim=(len(rows) - 0.4, -0.6), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.axvline(0, color=_FAINT, linewidth=1.2)
    rest = f", the first {len(rows)} of {n_all:,}" if n_all > len(rows) else ""
    _name_panel(axes, name + rest)


def _name_panel(axes: "Axes", name: str) -> None:
    axes.annotate(
        name, (0, 1), xycoords="axes fraction", xytext=(0, 7), textcoords="offset points", fontsize=9, color=_SOFT
    )


def _draw_histogram(axes: "Axes", name: str, by_split: dict[str, list[Any]]) -> None:
    """How often which values are, by split, with the middle one marked."""
    from matplotlib.ticker import MaxNLocator

    values = {split: np.array([v for v in all_of if v is not None], float) for split, all_of in by_split.items()}
    every = np.concatenate(list(values.values())) if values else np.zeros(0)
    _name_panel(axes, name)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    axes.tick_params(axis="both", length=0, labelsize=8, labelcolor=_SOFT)
    axes.set_yticks([])
    if not len(every):
        axes.set_xticks([])
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", fontsize=9, color=_SOFT)
        return
    edges = _edges(every)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=bool(edges[1] - edges[0] == 1), steps=[1, 2, 5, 10]))
    axes.hist(list(values.values()), edges.tolist(), stacked=True, color=[_COLOURS[s] for s in values], rwidth=0.9)
    middle, top = float(np.median(every)), axes.get_ylim()[1]
    axes.set_ylim(0, top * 1.12)
    axes.axvline(middle, color=_INK, linewidth=0.9, linestyle=(0, (3, 2)))
    to_left = middle > (edges[0] + edges[-1]) / 2
    axes.annotate(
        f"median {middle:.3g}".replace("-", "−"),
        (middle, top * 1.12),
        xytext=(-4 if to_left else 4, -2),
        textcoords="offset points",
        ha="right" if to_left else "left",
        va="top",
        fontsize=8.5,
        color=_INK,
    )


def _edges(values: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Edges of the bins: around whole numbers where there is nothing else, else evenly."""
    low, high = float(values.min()), float(values.max())
    if np.all(values == np.round(values)) and high - low < _MOST_BINS:
        return np.arange(low - 0.5, max(high, low + 4) + 1)
    room = max(high - low, 0.1 * abs(high), 1e-3)
    n_bins = int(np.clip(2 * np.sqrt(len(values)), _FEWEST_BINS, _MOST_BINS))
    return np.linspace((low + high - room) / 2, (low + high + room) / 2, n_bins + 1)


def _draw_findings(axes: "Axes", report: DataReport) -> None:
    """What was looked for, and in how many clips it was found."""
    found = {kind: len(clips) for kind, clips in report.counts((*LEFT_OUT, *REMARKS)).items()}
    most = max(found.values(), default=1)
    y = -1.0
    for heading, kinds, colour in (("left out", LEFT_OUT, _COLOURS["left out"]), ("worth a look", REMARKS, _REMARK)):
        y += 1.0
        style: dict[str, Any] = {"va": "center", "ha": "right", "transform": axes.get_yaxis_transform()}
        axes.text(-0.06, y, heading, fontsize=9, color=_SOFT, **style)
        for kind in kinds:
            y, count = y + 1, found.get(kind, 0)
            ink = _INK if count else "#8A929B"
            axes.barh(y, count, height=0.68, color=colour, linewidth=0)
            axes.plot((0, 0), (y - 0.5, y + 0.5), color=_FAINT, linewidth=1.2)
            axes.text(-0.06, y, kind, fontsize=8.5, color=ink, **style)
            number = f"{count:,}" if count else "none"
            axes.text(count + 0.05 * most, y, number, va="center", fontsize=8.5, color=ink)
        y += 0.5
    axes.set(xlim=(0, most * 1.25), ylim=(y + 0.2, -0.9), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
