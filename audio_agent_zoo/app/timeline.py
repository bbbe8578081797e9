"""One picture of a result: the steps as bars, the waveform, and the log-mel spectrogram, over one clock."""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.app.filmstrip import draw_onsets, draw_strip
from audio_agent_zoo.app.spectrogram import FLOOR_DB, N_BANDS, band_of, mel_decibels
from audio_agent_zoo.loudness import loudness_lufs, true_peak_dbtp
from audio_agent_zoo.media import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which stay apart for colour-blind eyes; the light ones a little darker.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#B4588F", "#9A6A00", "#2B7FB0", "#7A5C14", "#5A5F66")
_INK, _SOFT, _FAINT, _PANEL = "#1F2328", "#59616B", "#D5DAE0", "#F6F7F9"

_DPI, _WIDTH_IN = 150, 11.0
_LEFT_IN, _RIGHT_IN = 0.95, 1.05
_TOP_IN, _AXIS_IN, _GAP_IN = 0.72, 0.52, 0.12
_WAVE_IN, _MEL_IN, _NOTE_IN, _STRIP_IN = 0.72, 2.55, 0.17, 0.8
_MAX_NOTES = 4
_HERTZ = (125, 250, 500, 1000, 2000, 4000, 8000, 16_000)
_AMPLITUDES = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


class TimelineStep(Protocol):
    """What the picture shows of a step."""

    @property
    def id(self) -> str:
        """Short name."""

    @property
    def prompt(self) -> str:
        """What sounds."""

    @property
    def start_s(self) -> float:
        """Start in seconds."""

    @property
    def end_s(self) -> float:
        """End in seconds."""

    @property
    def layer(self) -> str:
        """Either foreground or background."""

    @property
    def level_lufs(self) -> float:
        """Loudness in LUFS."""


class _Ruler:
    """Measures words in inches, and cuts them where there is no room."""

    def __init__(self, canvas: Any) -> None:
        from matplotlib.font_manager import FontProperties

        self._renderer, self._font = canvas.get_renderer(), FontProperties()

    def width_in(self, text: str, size: float, weight: str = "normal") -> float:
        font = self._font.copy()
        font.set_size(size)
        font.set_weight(weight)
        return float(self._renderer.get_text_width_height_descent(text, font, ismath=False)[0]) / _DPI

    def fitted(self, text: str, room_in: float, size: float, weight: str = "normal") -> str:
        """As much of `text` as there is room for, an ellipsis for the rest; empty where hardly any."""
        line = " ".join(text.split())
        if self.width_in(line, size, weight) <= room_in:
            return line
        low, high = 0, len(line)
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.width_in(line[:middle].rstrip() + "…", size, weight) <= room_in
            low, high = (middle, high) if fits else (low, middle - 1)
        return line[:low].rstrip(" ,;.") + "…" if low >= 2 else ""


def _seconds(value: float, duration_s: float) -> str:
    """A time on the axis: seconds, or minutes and seconds on a long one."""
    if duration_s < 120:
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return f"{int(value + 0.5) // 60}:{int(value + 0.5) % 60:02d}"


def _with_minus(text: str) -> str:
    """Numbers with a minus sign instead of a hyphen."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text)


def _time_step(duration_s: float) -> float:
    """Distance of the marks on the time axis, for about ten of them."""
    steps = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120)
    return next((step for step in steps if duration_s / step <= 13), 120)


def _draw_steps(axes: "Axes", ruler: _Ruler, steps: Sequence[TimelineStep], duration_s: float, row_in: float) -> None:
    """One row per step: a bar, its caption in or beside it, its name to the left, its level to the right."""
    inch_s = duration_s / (_WIDTH_IN - _LEFT_IN - _RIGHT_IN)  # seconds per inch
    size = 9.0 if row_in > 0.27 else 7.5
    for row, step in enumerate(steps):
        colour, is_background = _COLOURS[row % len(_COLOURS)], step.layer == "background"
        start, end = max(0.0, step.start_s), min(duration_s, step.end_s)
        axes.axhspan(row, row + 1, color=_PANEL if row % 2 == 0 else "white", linewidth=0, zorder=0)
        axes.barh(
            row + 0.5,
            max(end - start, 0.02 * inch_s),
            left=start,
            height=0.72,
            facecolor="white" if is_background else colour,
            edgecolor=colour,
            linewidth=1.4,
            zorder=2,
        )
        if is_background:
            hatched: dict[str, Any] = {
                "hatch": "////",
                "edgecolor": colour,
                "alpha": 0.28,
                "facecolor": "none",
                "linewidth": 0,
            }
            axes.barh(row + 0.5, end - start, left=start, height=0.72, zorder=2.5, **hatched)
        _caption(
            axes,
            ruler,
            step.prompt,
            (start / inch_s, end / inch_s, duration_s / inch_s),
            row,
            size,
            is_background,
        )
        level = _with_minus(f"{step.level_lufs:g} LUFS")
        for x, text, align, ink in ((-0.008, step.id, "right", _INK), (1.008, level, "left", _SOFT)):
            style: dict[str, Any] = {
                "fontsize": size - 0.5,
                "color": ink,
                "ha": align,
                "va": "center",
                "parse_math": False,
            }
            axes.text(x, row + 0.5, text, transform=axes.get_yaxis_transform(), **style)
    axes.set_ylim(max(len(steps), 1), 0)
    axes.set_yticks([])


def _caption(
    axes: "Axes",
    ruler: _Ruler,
    prompt: str,
    span_in: tuple[float, float, float],
    row: int,
    size: float,
    is_background: bool,
) -> None:
    """The prompt inside its bar if it fits, else where there is most room: inside, after or before."""
    start, end, total = span_in
    margin = 0.08
    rooms = {"in": end - start - 2 * margin, "after": total - end - 2 * margin, "before": start - 2 * margin}
    wanted = ruler.width_in(" ".join(prompt.split()), size) + 0.01
    place = next((where for where, room in rooms.items() if room >= wanted), max(rooms, key=lambda w: rooms[w]))
    text = ruler.fitted(prompt, rooms[place], size)
    x = {"in": start + margin, "after": end + margin, "before": start - margin}[place]
    white = place == "in" and not is_background
    drawn = axes.text(
        x / total,
        row + 0.5,
        text,
        transform=axes.get_yaxis_transform(),
        ha="right" if place == "before" else "left",
        va="center",
        fontsize=size,
        color="white" if white else _INK,
        zorder=4,
        parse_math=False,
    )
    if place == "in" and is_background:
        drawn.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0})


def _draw_wave(axes: "Axes", audio: NDArray[np.floating], duration_s: float) -> None:
    """The highest and lowest sample of each column, over all channels."""
    columns = min(1400, len(audio))
    edges = np.linspace(0, len(audio), columns, endpoint=False).astype(int)
    samples = np.asarray(audio, dtype=np.float32).reshape(len(audio), -1)
    highest = np.maximum.reduceat(samples.max(axis=1), edges)
    lowest = np.minimum.reduceat(samples.min(axis=1), edges)
    times = edges / len(audio) * duration_s
    axes.fill_between(times, lowest, highest, color="#3F6C9B", linewidth=0.5)
    peak = max(float(highest.max()), -float(lowest.min()))
    top = next((one for one in _AMPLITUDES if peak <= one), 1.0)
    axes.set_ylim(-1.06 * top, 1.06 * top)
    axes.set_yticks([-top, 0, top], [f"−{top:g}", "0", f"{top:g}"])
    axes.set_facecolor(_PANEL)
    axes.set_ylabel("amplitude", fontsize=8, color=_SOFT)


def _draw_mel(figure: "Figure", axes: "Axes", audio: NDArray[np.floating], sample_rate: int) -> None:
    duration_s = len(audio) / sample_rate
    shown = axes.imshow(
        mel_decibels(audio, sample_rate),
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=-FLOOR_DB,
        vmax=0,
        extent=(0, duration_s, 0, N_BANDS),
        interpolation="bilinear",
    )
    marks = [hertz for hertz in _HERTZ if hertz <= sample_rate / 2]
    names = [f"{hertz // 1000} k" if hertz >= 1000 else f"{hertz}" for hertz in marks]
    axes.set_yticks([min(N_BANDS, band_of(hertz, sample_rate) + 0.5) for hertz in marks], names)
    axes.set_ylabel("frequency (Hz, mel scale)", fontsize=8, color=_SOFT)
    bar = axes.inset_axes((1.012, 0.0, 0.012, 1.0))
    figure.colorbar(shown, cax=bar, ticks=[-80, -60, -40, -20, 0])
    bar.set_yticklabels(["−80", "−60", "−40", "−20", "0"])
    bar.tick_params(labelsize=7.5, colors=_SOFT, length=2)
    bar.set_ylabel("level below the maximum (dB)", fontsize=7.5, color=_SOFT)
    for side in bar.spines.values():
        side.set_visible(False)


def _facts(audio: NDArray[np.floating], sample_rate: int) -> str:
    loudness, peak = loudness_lufs(audio, sample_rate), true_peak_dbtp(audio, sample_rate)
    channels = "mono" if audio.ndim == 1 else "stereo"
    heard = f"{loudness:.1f} LUFS · peak {peak:.1f} dBTP" if np.isfinite(loudness) else "silent"
    return f"{len(audio) / sample_rate:.3f} s · {sample_rate / 1000:g} kHz {channels} · {heard}"


def _style(axes: "Axes", duration_s: float, is_lowest: bool) -> None:
    marks = np.arange(0, duration_s * (1 + 1e-9), _time_step(duration_s))
    axes.set_xlim(0, duration_s)
    axes.set_xticks(marks, [_seconds(mark, duration_s) for mark in marks])
    axes.tick_params(labelsize=8, colors=_SOFT, length=3 if is_lowest else 0, labelbottom=is_lowest)
    axes.tick_params(axis="y", length=2)
    for side in axes.spines.values():
        side.set_color(_FAINT)
    if is_lowest:
        axes.set_xlabel("time (s)" if duration_s < 120 else "time (min:s)", fontsize=8.5, color=_SOFT)
    else:
        axes.grid(axis="x", color=_FAINT, linewidth=0.6, zorder=1)
        axes.set_axisbelow(True)


def _legend(figure: "Figure", steps: Sequence[TimelineStep], height_in: float) -> None:
    from matplotlib.patches import Patch

    if len({step.layer for step in steps}) < 2:
        return
    keys = [
        Patch(facecolor=_SOFT, edgecolor=_SOFT, label="foreground"),
        Patch(facecolor="white", edgecolor=_SOFT, hatch="//////", label="background"),
    ]
    figure.legend(
        handles=keys,
        loc="upper right",
        bbox_to_anchor=(1 - _RIGHT_IN / _WIDTH_IN, 1 - 0.46 / height_in),
        ncols=2,
        frameon=False,
        fontsize=8,
        labelcolor=_SOFT,
        handlelength=1.6,
        borderpad=0,
        borderaxespad=0,
        columnspacing=1.4,
    )


def _figure(
    audio: NDArray[np.floating],
    sample_rate: int,
    steps: Sequence[TimelineStep],
    title: str,
    notes: Sequence[str],
    frames: NDArray[np.uint8] | None,
    onsets_s: Sequence[float],
) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    duration_s = len(audio) / sample_rate
    row_in = 0.34 if len(steps) <= 12 else 0.25
    steps_in = row_in * max(len(steps), 1)
    shown = [*notes[: _MAX_NOTES - 1], f"and {len(notes) - _MAX_NOTES + 1} more notes"]
    lines = list(notes) if len(notes) <= _MAX_NOTES else shown
    notes_in = _NOTE_IN * len(lines) + (0.1 if lines else 0.0)
    heights_in = [steps_in, *([_STRIP_IN] if frames is not None else []), _WAVE_IN, _MEL_IN]
    height_in = _TOP_IN + sum(heights_in) + (len(heights_in) - 1) * _GAP_IN + _AXIS_IN + notes_in

    figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=_DPI, facecolor="white")
    ruler = _Ruler(FigureCanvasAgg(figure))
    panels, below = [], height_in - _TOP_IN
    for panel_in in heights_in:
        below -= panel_in
        width = 1 - (_LEFT_IN + _RIGHT_IN) / _WIDTH_IN
        panels.append(figure.add_axes((_LEFT_IN / _WIDTH_IN, below / height_in, width, panel_in / height_in)))
        below -= _GAP_IN
    _draw_steps(panels[0], ruler, steps, duration_s, row_in)
    if frames is not None:
        draw_strip(panels[1], frames, duration_s)
    _draw_wave(panels[-2], audio, duration_s)
    _draw_mel(figure, panels[-1], audio, sample_rate)
    draw_onsets(panels[-2], onsets_s)
    for panel in panels:
        _style(panel, duration_s, is_lowest=panel is panels[-1])

    room_in = _WIDTH_IN - _LEFT_IN - 0.25
    written = [(ruler.fitted(title, room_in, 13, "bold"), 0.28, 13.0, _INK, "bold")]
    written.append((_facts(audio, sample_rate), 0.53, 8.5, _SOFT, "normal"))
    for i, note in enumerate(lines):
        from_top = height_in - notes_in + _NOTE_IN * i
        written.append((ruler.fitted(f"· {note}", room_in, 8), from_top, 8.0, _SOFT, "normal"))
    for text, from_top, size, colour, weight in written:
        style: dict[str, Any] = {
            "fontsize": size,
            "color": colour,
            "fontweight": weight,
            "va": "center",
            "parse_math": False,
        }
        figure.text(_LEFT_IN / _WIDTH_IN, 1 - from_top / height_in, _with_minus(text), **style)
    _legend(figure, steps, height_in)
    return figure


def draw_timeline(
    path: str | Path,
    audio: NDArray[np.floating],
    sample_rate: int,
    steps: Sequence[TimelineStep],
    *,
    title: str = "",
    notes: Sequence[str] = (),
    frames: NDArray[np.uint8] | None = None,
    onsets_s: Sequence[float] = (),
) -> None:
    """Draw the picture of a result and write it as PNG, whole or not at all.

    Args:
        path: PNG to write.
        audio: `(samples,)` or `(samples, 2)` in [-1, 1].
        sample_rate: Samples per second.
        steps: Steps of the plan in the order of their rows; foreground is filled, background hatched.
        title: One line above, cut to fit.
        notes: Up to four lines below, each cut to fit.
        frames: `(frames, height, width, 3)` uint8 at even distances, for a strip above the sound; None for none.
        onsets_s: Instants to mark on the waveform, in seconds.

    Raises:
        ValueError: If there is no sound or it is not finite.
        MediaError: If the file can't be written.
    """
    if audio.ndim not in (1, 2) or not len(audio) or not np.isfinite(audio).all():
        raise ValueError(f"the sound {audio.shape} is empty or holds values that are no numbers; give (samples,).")
    with warnings.catch_warnings():
        # A script that no font here has is drawn as boxes; that is no news to whoever asked for the picture.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = _figure(audio, sample_rate, steps, title, notes, frames, onsets_s)
        with atomic_path(path) as partial:
            figure.savefig(partial, format="png", pil_kwargs={"compress_level": 4})
