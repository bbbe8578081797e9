"""One picture of a result: the steps as lanes, the waveform, and the log-mel spectrogram under one clock."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.media import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe-Ito: eight colours that stay apart for colour-blind eyes.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F", "#5E5E5E")
_INK, _FAINT = "#22262B", "#C9CED6"
_N_BANDS, _N_FFT = 96, 1024
_MAX_COLUMNS = 1600


class TimelineStep(Protocol):
    """What a lane shows of a step."""

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
        """foreground or background."""

    @property
    def level_lufs(self) -> float:
        """Loudness in LUFS."""


def mel_decibels(audio: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Log-mel picture `(bands, columns)` in dB relative to its maximum, at most 1600 columns wide."""
    from librosa.filters import mel

    hop = max(_N_FFT // 8, -(-len(audio) // _MAX_COLUMNS))
    padded = np.pad(audio, (_N_FFT // 2, _N_FFT // 2 + hop))
    starts = np.arange(0, max(len(audio), 1), hop)
    frames = padded[starts[:, None] + np.arange(_N_FFT)] * np.hanning(_N_FFT)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    bands = mel(sr=sample_rate, n_fft=_N_FFT, n_mels=_N_BANDS) @ power.T
    decibels = 10 * np.log10(np.maximum(bands, 1e-10))
    return np.asarray(decibels - decibels.max())


def _lanes(steps: Sequence[TimelineStep]) -> list[int]:
    """Row of each step: the first that is free, backgrounds at the bottom."""
    ends: dict[str, list[float]] = {"foreground": [], "background": []}
    rows: list[tuple[str, int]] = []
    for step in steps:
        taken = ends["background" if step.layer == "background" else "foreground"]
        row = next((i for i, end in enumerate(taken) if end <= step.start_s + 1e-6), len(taken))
        taken[row : row + 1] = [step.end_s]
        rows.append(("background" if step.layer == "background" else "foreground", row))
    above = len(ends["foreground"])
    return [row if layer == "foreground" else above + row for layer, row in rows]


def _draw_steps(axes: "Axes", steps: Sequence[TimelineStep], duration_s: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    lanes = _lanes(steps)
    for i, (step, lane) in enumerate(zip(steps, lanes, strict=True)):
        colour, background = _COLOURS[i % len(_COLOURS)], step.layer == "background"
        width = step.end_s - step.start_s
        inset = min(0.002 * duration_s, 0.2 * width)
        box = FancyBboxPatch(
            (step.start_s + inset, lane + 0.12), width - 2 * inset, 0.76,
            boxstyle=f"round,pad=0,rounding_size={min(0.006 * duration_s, 0.3 * width):.4f}", mutation_aspect=1 / (0.02 * duration_s),
            facecolor=colour, alpha=0.30 if background else 0.92, edgecolor=colour, linewidth=1.2,
            hatch="///" if background else None,
        )
        axes.add_patch(box)
        room = int(118 * width / duration_s) - 2
        label = shorten(f"{step.id}  {step.prompt}", room, placeholder="…") if room >= 12 else step.id if room >= 2 else ""
        level = f"{step.level_lufs:g} LUFS"
        if room >= len(label) + len(level) + 4:
            axes.text(step.end_s - 0.008 * duration_s, lane + 0.5, level, ha="right", va="center", fontsize=7.5,
                      color=_INK if background else "white", alpha=0.85)
        axes.text(step.start_s + 0.008 * duration_s, lane + 0.5, label, va="center", fontsize=9, clip_on=True,
                  color=_INK if background else "white", fontweight="medium")
    axes.set_ylim(max(lanes, default=0) + 1, 0)
    axes.set_yticks([])


def draw_timeline(
    path: str | Path,
    audio: NDArray[np.float32],
    sample_rate: int,
    steps: Sequence[TimelineStep],
    *,
    title: str = "",
    notes: Sequence[str] = (),
) -> None:
    """Draw the picture and write it as PNG, whole or not at all.

    Args:
        path: PNG to write.
        audio: `(samples,)` or `(samples, 2)`.
        sample_rate: Samples per second.
        steps: Steps of the plan.
        title: One line above, cut to fit.
        notes: Shown small below, cut to fit.

    Raises:
        MediaError: If the file can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    mono = np.asarray(audio if audio.ndim == 1 else audio.mean(axis=1), dtype=np.float32)
    duration_s = len(mono) / sample_rate
    rows = max(_lanes(steps), default=0) + 1
    lanes_height = 0.36 * rows
    figure = Figure(figsize=(11, 4.3 + lanes_height), dpi=130, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 1, height_ratios=[max(lanes_height, 0.4), 0.75, 2.6], hspace=0.10,
                               left=0.065, right=0.985, top=1 - 0.5 / (4.3 + lanes_height), bottom=0.62 / (4.3 + lanes_height))
    top, wave, picture = (figure.add_subplot(grid[i]) for i in range(3))
    figure.text(0.065, 1 - 0.3 / (4.3 + lanes_height), shorten(title, 120, placeholder="…"), fontsize=12, color=_INK, fontweight="bold")
    _draw_steps(top, steps, duration_s)

    bins = min(1400, len(mono))
    chunks = np.array_split(mono, bins)
    times = (np.arange(bins) + 0.5) / bins * duration_s
    wave.fill_between(times, [c.min() for c in chunks], [c.max() for c in chunks], color="#4A6FA5", linewidth=0.4)
    wave.set_ylim(-1.02, 1.02)
    wave.set_yticks([-1, 0, 1])
    wave.set_ylabel("amplitude", fontsize=8, color=_INK)

    decibels = mel_decibels(mono, sample_rate)
    shown = picture.imshow(decibels, origin="lower", aspect="auto", cmap="magma", vmin=-80, vmax=0,
                           extent=(0, duration_s, 0, _N_BANDS), interpolation="nearest")
    from librosa import mel_frequencies

    marks = [125, 500, 1000, 2000, 4000, 7900]
    centres = mel_frequencies(n_mels=_N_BANDS, fmax=sample_rate / 2)
    picture.set_yticks([float(np.interp(hz, centres, np.arange(_N_BANDS))) + 0.5 for hz in marks],
                       ["125", "500", "1k", "2k", "4k", "8k"])
    picture.set_ylabel("frequency (Hz)", fontsize=8, color=_INK)
    picture.set_xlabel("time (s)", fontsize=8, color=_INK)
    bar = picture.inset_axes((0.865, 0.90, 0.12, 0.035))
    figure.colorbar(shown, cax=bar, orientation="horizontal", ticks=[-80, -40, 0])
    bar.tick_params(labelsize=6, colors="white", length=2)
    bar.set_title("dB", fontsize=6, color="white", pad=2)

    for axes in (top, wave, picture):
        axes.set_xlim(0, duration_s)
        axes.tick_params(labelsize=8, colors=_INK, labelbottom=axes is picture)
        for side in axes.spines.values():
            side.set_color(_FAINT)
        for step in steps:
            axes.axvline(step.start_s, color="white" if axes is picture else _FAINT, linewidth=0.7, alpha=0.6, zorder=0 if axes is not picture else 2)
    if notes:
        figure.text(0.065, 0.12 / (4.3 + lanes_height), shorten(" · ".join(notes), 190, placeholder="…"), fontsize=7, color="#555B63")
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png")
