"""The page of results: whole by itself, safe with any name, and readable on a phone."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio_agent_zoo.evaluation.report import report_page, write_report
from audio_agent_zoo.evaluation.report_clips import ReportClip, ReportSound, spectrogram_png, spread_over
from audio_agent_zoo.media import read_audio, write_audio
from audio_agent_zoo.metrics.onsets import Onsets

EVIL = "\"><script>alert(1)</script>&'<img src=x onerror=y>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VOID = {"meta", "img", "line", "path", "rect", "circle", "br", "input"}


class _Elements(HTMLParser):
    """Every element with its attributes, and whether each that was opened was closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if self.open and self.open[-1] not in ("script", "style") else ""

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def _results(name: str = "onset_f1") -> dict[str, Any]:
    figures = [
        {
            "name": name,
            "value": 0.5,
            "unit": "",
            "better": "higher",
            "n": 4,
            "interval": [0.25, 0.75],
            "protocol": name,
        },
        {"name": "d_x", "value": 3.25, "unit": "dB", "better": "lower", "n": 4, "interval": None, "protocol": ""},
        {"name": "chance", "value": 0.1, "unit": "", "better": "", "n": 4, "interval": [0.0, 0.2]},
    ]
    return {
        "recipe": name,
        "settings": {"weights": name},
        "protocols": {name: {"text": name, "tolerance_s": 0.1}},
        "networks": {name: {"sha256": "ab"}},
        "seeds": {"bootstrap": 3},
        "bootstrap": "1000 draws",
        "versions": {"torch": "2"},
        "problems": {"missing": [name], "unreadable": []},
        "left_out": [name],
        "length_differences": {name: {"generated_s": 1.0, "reference_s": 2.0}},
        "figures": figures,
    }


def _noise(seconds: float = 0.5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * 16_000)).astype(np.float32)


def _clip(name: str = "a clip", path: Path | None = None) -> ReportClip:
    truth = ReportSound("truth", path, _noise(), Onsets.from_times([0.1, 0.3]))
    made = ReportSound(name, path, _noise(0.25, 1), Onsets.from_times([0.12]))
    return ReportClip(name, (truth, made), {"onset_f1": 0.667}, 0.05, name)


def _parsed(page: str) -> _Elements:
    elements = _Elements()
    elements.feed(page)
    assert not elements.open, "every element is closed"
    return elements


def test_figures_directions_intervals_and_how_they_were_measured_are_there(tmp_path: Path) -> None:
    elements = _parsed(report_page("Mini", _results(), [_clip()], {}, tmp_path))
    for words in ("onset f1", "0.500", "0.250 to 0.750", "3.250", "dB", "1000 draws", "seed of bootstrap", "torch"):
        assert words in elements.text
    assert "1.0 s generated, 2.0 s reference" in elements.text
    ways = [one["aria-label"] for one in elements.of("span") if "aria-label" in one]
    assert ways == ["higher is better", "lower is better"]
    spans = [line for line in elements.of("line") if line["class"] == "span"]
    assert [(line["x1"], line["x2"]) for line in spans] == [("25.00", "75.00"), ("0.00", "20.00")]


def test_onsets_are_marked_by_whether_they_meet_and_times_share_one_scale(tmp_path: Path) -> None:
    elements = _parsed(report_page("Mini", _results(), [_clip()], {}, tmp_path))
    marks = [(one.get("class", ""), one["style"]) for one in elements.of("i")]
    own, far, ghost = "", "far", "truth"
    assert marks == [
        (own, "left:20.00%"),
        (far, "left:60.00%"),
        (own, "left:24.00%"),
        (ghost, "left:20.00%"),
        (ghost, "left:60.00%"),
    ]
    widths = [one["style"] for one in elements.of("img")]
    assert widths == ["width:100.00%", "width:50.00%"]
    assert "2 onsets" in elements.text and "1 onset" in elements.text


def test_nothing_is_loaded_from_anywhere(tmp_path: Path) -> None:
    page = report_page("Mini", _results(), [_clip()], {}, tmp_path)
    elements = _parsed(page)
    addresses = [one[key] or "" for _, one in elements.found for key in ("src", "href") if key in one]
    assert len(addresses) == 4 and all(one.startswith(("data:image/png", "data:audio/flac")) for one in addresses)
    assert not re.search(r"https?://|@import|url\(", page)
    assert any("default-src 'none'" in (one.get("content") or "") for one in elements.of("meta"))
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page


def test_names_from_outside_stay_words(tmp_path: Path) -> None:
    plain = _parsed(report_page("Mini", _results(), [_clip()], {}, tmp_path))
    evil = _parsed(report_page(EVIL, _results(EVIL), [_clip(EVIL)], {}, tmp_path))
    assert [tag for tag, _ in evil.found if tag in ("script", "img")] == [
        tag for tag, _ in plain.found if tag in ("script", "img")
    ]
    assert not [one for _, one in evil.found if "onerror" in one]
    assert EVIL in evil.text


def test_sounds_beyond_the_budget_are_linked_beside_the_page(tmp_path: Path) -> None:
    sound = tmp_path / "sounds of mine" / "a#1.wav"
    write_audio(sound, _noise(), 16_000)
    clips = [_clip(path=sound), _clip()]
    (tmp_path / "out").mkdir()
    elements = _parsed(report_page("Mini", _results(), clips, {}, tmp_path / "out", most_embedded=0))
    assert [one["src"] for one in elements.of("audio")] == ["../sounds%20of%20mine/a%231.wav"] * 2
    assert elements.text.count("The sound is left out") == 2
    small = report_page("Mini", _results(), clips[:1], {}, tmp_path, most_embedded=0)
    assert len(small) < len(report_page("Mini", _results(), clips[:1], {}, tmp_path))


def test_embedded_sounds_and_pictures_read_back(tmp_path: Path) -> None:
    import base64
    import io

    from PIL import Image

    elements = _parsed(report_page("Mini", _results(), [_clip()], {}, tmp_path))
    content = base64.b64decode((elements.of("audio")[0]["src"] or "").split(",")[1])
    assert np.abs(read_audio(content) - _noise()).max() < 1e-4
    tone = np.sin(2 * np.pi * 500 * np.arange(16_000) / 16_000).astype(np.float32)
    picture = np.asarray(Image.open(io.BytesIO(spectrogram_png(tone))).convert("L"), dtype=np.float64)
    brightest = int(picture.mean(axis=1).argmax())
    assert picture.shape[0] == 96 and 60 < brightest < 78, "500 Hz lies in the lower third"
    assert Image.open(io.BytesIO(spectrogram_png(np.zeros(100, np.float32)))).convert("L").getextrema()[1] < 40


def test_a_page_without_clips_or_pictures_has_no_empty_sections(tmp_path: Path) -> None:
    page = report_page(
        "Mini", {**_results(), "problems": {}, "left_out": [], "length_differences": {}}, [], {}, tmp_path
    )
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == ["Figures", "How it was measured"]
    assert spread_over([5, 6, 7, 8, 9], 3) == [5, 7, 9] and spread_over([1], 3) == [1]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
def test_a_browser_shows_it_without_complaint_and_nothing_sticks_out_of_a_phone(tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    write_report(tmp_path / "results.html", "Mini", _results("a_very_long_name_of_a_figure_indeed" * 2), [_clip()])
    said: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 360, "height": 700}, color_scheme="dark")
        page.on("console", lambda message: said.append(message.text))
        page.goto(f"file://{tmp_path / 'results.html'}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.wait_for_function("[...document.querySelectorAll('audio')].every(one => one.duration > 0)", timeout=10_000)
        assert page.evaluate("document.querySelector('audio').duration") == pytest.approx(0.5, abs=0.05)
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.emulate_media(color_scheme="light")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
        browser.close()
    assert not said
