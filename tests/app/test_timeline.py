"""The picture of a result: written whole, nothing overflowing or overlapping, in any size of plan."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from audio_agent_zoo.app import timeline
from audio_agent_zoo.app.spectrogram import FLOOR_DB, N_BANDS, band_of, mel_decibels
from audio_agent_zoo.app.timeline import draw_timeline
from audio_agent_zoo.errors import MediaError

RATE = 16_000
Audio = NDArray[np.floating]


@dataclass(frozen=True)
class Lane:
    id: str
    prompt: str
    start_s: float
    end_s: float
    layer: str = "foreground"
    level_lufs: float = -18.0


def tone(seconds: float, hertz: float, level: float = 0.5) -> Audio:
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def lanes(n: int, duration_s: float, prompt: str = "A dog barks") -> list[Lane]:
    """Steps of many lengths and places, every third a background."""
    rng = np.random.default_rng(n)
    made = []
    for i in range(n):
        start = float(rng.uniform(0, 0.97)) * duration_s
        end = min(duration_s, start + float(rng.choice([0.01, 0.2, 0.6])) * duration_s)
        made.append(Lane(f"e{i + 1}", prompt, start, end, "background" if i % 3 == 2 else "foreground", -18 - i))
    return made


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that gets drawn, for its texts to be measured."""
    kept: list[Figure] = []
    make = timeline._figure

    def keep(*args: object) -> Figure:
        kept.append(make(*args))  # type: ignore[arg-type]
        return kept[-1]

    monkeypatch.setattr(timeline, "_figure", keep)
    return kept


def text_boxes(figure: Figure) -> list[tuple[str, tuple[float, float, float, float]]]:
    texts = [t for axes in figure.axes for t in [*axes.texts, *axes.get_xticklabels()]] + list(figure.texts)
    texts += [t for legend in figure.legends for t in legend.get_texts()]
    return [(t.get_text(), t.get_window_extent().extents) for t in texts if t.get_text() and t.get_visible()]


LONG = "A very long and winding description of a dog that barks at a distant train in the rain " * 3
CASES: list[tuple[float, int, str]] = [
    (0.25, 1, "A dog barks"),
    (0.5, 3, LONG),
    (10.0, 3, "Rain pours"),
    (10.0, 12, LONG),
    (60.0, 12, "Église\nbell $x_{ tolls \\frac"),
    (600.0, 32, LONG),
]


@pytest.mark.parametrize(("duration_s", "n", "prompt"), CASES)
def test_no_text_overflows_or_overlaps(
    tmp_path: Path, figures: list[Figure], duration_s: float, n: int, prompt: str
) -> None:
    audio = np.zeros(round(duration_s * RATE))
    audio[:RATE] = np.random.default_rng(0).uniform(-0.5, 0.5, len(audio[:RATE]))
    notes = [f"e{i} {LONG}" for i in range(9)]
    draw_timeline(tmp_path / "a.png", audio, RATE, lanes(n, duration_s, prompt), title=LONG, notes=notes)
    width, height = figures[0].canvas.get_width_height()
    boxes = text_boxes(figures[0])
    assert len(boxes) >= 2 * n + 5
    for text, (left, bottom, right, top) in boxes:
        assert left >= 0 and bottom >= 0 and right <= width and top <= height, text
    for i, (text, (left, bottom, right, top)) in enumerate(boxes):
        for other, (other_left, other_bottom, other_right, other_top) in boxes[:i]:
            apart = right <= other_left or other_right <= left or top <= other_bottom or other_top <= bottom
            assert apart, (text, other)
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
        assert image.size == (width, height)


def test_captions_stay_out_of_each_others_bars(tmp_path: Path, figures: list[Figure]) -> None:
    steps = lanes(12, 10.0, LONG)
    draw_timeline(tmp_path / "a.png", tone(10.0, 440), RATE, steps)
    axes = figures[0].axes[0]
    captions = [t for t in axes.texts if t.get_text().startswith("A very")]
    assert len(captions) == 12
    for caption, step in zip(captions, steps, strict=True):
        box = caption.get_window_extent()
        start, end = (axes.transData.transform((x, 0))[0] for x in (step.start_s, step.end_s))
        inside = start <= box.x0 and box.x1 <= end
        assert inside or box.x1 <= start or end <= box.x0
        assert axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
        assert caption.get_text().endswith("…")


def test_a_caption_that_fits_is_whole_and_dollars_stay_dollars(tmp_path: Path, figures: list[Figure]) -> None:
    draw_timeline(tmp_path / "a.png", tone(4.0, 440), RATE, [Lane("e1", "Coins: $5 and $6", 0, 4)], title="$1 $2")
    texts = [text for text, _ in text_boxes(figures[0])]
    assert "Coins: $5 and $6" in texts
    assert "$1 $2" in texts
    assert "−18 LUFS" in texts


def test_layers_differ_by_more_than_colour(tmp_path: Path, figures: list[Figure]) -> None:
    steps = [Lane("e1", "Dog", 0, 1), Lane("e2", "Rain", 0, 1, "background")]
    draw_timeline(tmp_path / "a.png", tone(1.0, 440), RATE, steps)
    axes = figures[0].axes[0]
    hatches = {round(bar.get_y()): bar.get_hatch() for bar in axes.patches if bar.get_hatch()}
    assert set(hatches) == {1}
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ["foreground", "background"]


def test_all_panels_share_the_clock(tmp_path: Path, figures: list[Figure]) -> None:
    draw_timeline(tmp_path / "a.png", tone(7.5, 440), RATE, lanes(3, 7.5))
    panels = figures[0].axes[:3]
    assert {axes.get_xlim() for axes in panels} == {(0.0, 7.5)}
    assert len({(round(axes.bbox.x0), round(axes.bbox.x1)) for axes in panels}) == 1
    assert panels[2].get_xlabel() == "time (s)"
    assert "(Hz" in panels[2].get_ylabel()


@pytest.mark.parametrize(
    "audio",
    [np.zeros(RATE), np.zeros((RATE, 2), np.float32), tone(0.001, 440), np.ones(1), -np.ones((RATE, 2))],
)
def test_silence_and_splinters_are_drawn(tmp_path: Path, audio: Audio) -> None:
    with np.errstate(all="raise", under="ignore"):
        draw_timeline(tmp_path / "a.png", audio, RATE, [])
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_scripts_without_a_font_are_no_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    draw_timeline(tmp_path / "a.png", tone(1.0, 440), RATE, [Lane("e1", "犬が吠える 🐕", 0, 1)], title="犬")
    assert not [w for w in recwarn if "Glyph" in str(w.message)]


def test_the_picture_is_the_same_twice(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw_timeline(tmp_path / name, tone(1.0, 440), RATE, lanes(3, 1.0), title="Twice")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_global_state_of_pyplot(tmp_path: Path) -> None:
    draw_timeline(tmp_path / "a.png", tone(1.0, 440), RATE, lanes(3, 1.0))
    if "matplotlib.pyplot" in sys.modules:
        assert not sys.modules["matplotlib.pyplot"].get_fignums()


def test_errors_leave_no_file(tmp_path: Path) -> None:
    broken: Sequence[Audio] = (np.zeros(0), np.array([0.0, np.nan]), np.zeros((2, 2, 2)))
    for audio in broken:
        with pytest.raises(ValueError, match="no numbers"):
            draw_timeline(tmp_path / "a.png", audio, RATE, [])
    (tmp_path / "file").touch()
    with pytest.raises(MediaError):
        draw_timeline(tmp_path / "file" / "a.png", tone(0.1, 440), RATE, [])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# --- the spectrogram


@pytest.mark.parametrize("hertz", [200.0, 440.0, 1000.0, 3000.0, 7000.0])
def test_a_tone_lies_at_its_frequency(hertz: float) -> None:
    picture = mel_decibels(tone(1.0, hertz), RATE)
    assert picture.shape[0] == N_BANDS
    assert picture[:, picture.shape[1] // 2].argmax() == pytest.approx(band_of(hertz, RATE), abs=1.0)


@pytest.mark.parametrize("seconds", [0.25, 10.0, 600.0])
def test_a_click_lies_at_its_time_however_long_the_sound(seconds: float) -> None:
    audio = np.zeros(round(seconds * RATE), np.float32)
    audio[round(0.7 * len(audio))] = 1.0
    picture = mel_decibels(audio, RATE)
    assert picture.shape[1] <= 1600
    brightest = (picture.sum(axis=0).argmax() + 0.5) / picture.shape[1]
    assert brightest == pytest.approx(0.7, abs=0.01)
    assert picture.max() == 0.0
    assert picture.min() == -FLOOR_DB


def test_silence_is_black() -> None:
    assert (mel_decibels(np.zeros(RATE), RATE) == -FLOOR_DB).all()
    assert mel_decibels(1e-7 * np.ones(RATE), RATE).max() < 0
