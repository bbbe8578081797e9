"""Results as one page that opens anywhere: nothing is loaded from a network, and everything named in it is escaped."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from audio_agent_zoo.app.spectrogram import N_BANDS, band_of
from audio_agent_zoo.evaluation.report_clips import (
    ReportClip,
    ReportSound,
    data_address,
    embedded_sound,
    spectrogram_png,
)
from audio_agent_zoo.evaluation.report_style import SCRIPT, STYLE
from audio_agent_zoo.evaluation.results import shown
from audio_agent_zoo.evaluation.tables import table_html
from audio_agent_zoo.media import atomic_path
from audio_agent_zoo.rates import SAMPLE_RATE

MOST_EMBEDDED = 12_000_000
"""Bytes of sound a page holds in itself; what comes after is linked to."""

_POLICY = "default-src 'none'; img-src data:; media-src data: file: 'self'; style-src 'unsafe-inline'; "
_POLICY += "script-src 'unsafe-inline'"
_WAYS = {"higher": ("&#9650;", "higher is better"), "lower": ("&#9660;", "lower is better")}
_PITCHES = ((250, "250 Hz"), (1000, "1 kHz"), (4000, "4 kHz"))
_NOTED = {
    "left_out": "Left out",
    "undefined": "Without a value",
    "silent": "Silent generated sounds",
    "missing": "Without a generated sound",
    "extra": "Without a reference",
    "ambiguous": "There twice",
    "unreadable": "Unreadable",
}


def write_report(
    path: Path,
    title: str,
    results: Mapping[str, Any],
    clips: Sequence[ReportClip] = (),
    pictures: Mapping[str, Path] | None = None,
    *,
    order: str = "",
    most_embedded: int = MOST_EMBEDDED,
) -> None:
    """Write one self-contained HTML page.

    Args:
        path: File to write.
        title: What was measured.
        results: What `results.json` holds.
        clips: Clips to show, with their sounds.
        pictures: What is seen -> PNG file.
        order: How the clips were chosen.
        most_embedded: Bytes of sound the page holds in itself; later sounds are linked by relative path.

    Raises:
        MediaError: If it can't be written.
    """
    with atomic_path(path) as partial:
        partial.write_text(
            report_page(title, results, clips, pictures or {}, path.parent, most_embedded, order), encoding="utf-8"
        )


def report_page(
    title: str,
    results: Mapping[str, Any],
    clips: Sequence[ReportClip],
    pictures: Mapping[str, Path],
    folder: Path,
    most_embedded: int = MOST_EMBEDDED,
    order: str = "",
) -> str:
    """The page as text; `folder` is where it will lie, for links. See `write_report`."""
    sections = [
        _opening(title, results),
        *(table_html(table, results["figures"]) for table in results.get("tables", [])),
        _figures(results),
        _pictures(pictures),
        _clips(clips, folder, most_embedded, order),
        _noted(results),
        _protocols(results),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(section for section in sections if section)
        + f"\n</main><script>{SCRIPT}</script></body></html>\n"
    )


def _opening(title: str, results: Mapping[str, Any]) -> str:
    counts = [figure["n"] for figure in results["figures"]]
    tags = {
        "weights": results.get("weights"),
        "judge": results.get("judge"),
        "networks": ", ".join(results.get("networks", {})),
        "recipe": results["recipe"],
        "clips": max(counts, default=0),
        "version": results["versions"].get("audio-agent-zoo"),
    }
    items = "".join(f"<li>{name} <b>{escape(str(value))}</b></li>" for name, value in tags.items() if value)
    return (
        f"<h1>{escape(title)}</h1>"
        '<p class="lead">Every figure with its 95 % interval over clips, how it was measured, and the sounds '
        f'themselves.</p><ul class="tags">{items}</ul>'
    )


def _spoken(name: str) -> str:
    """A figure's or a protocol's key as words."""
    return escape(name.replace("_", " "))


def _bar(figure: Mapping[str, Any]) -> str:
    """The value and its interval on a rail from 0 to 1; nothing for figures on other scales."""
    interval = figure["interval"]
    if not interval or figure["unit"] or not (interval[0] >= 0 and interval[1] <= 1):
        return ""
    low, high, value = (100 * min(1.0, max(0.0, x)) for x in (*interval, figure["value"]))
    return (
        '<svg class="bar" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">'
        '<line class="rail" x1="0" x2="100" y1="6" y2="6" vector-effect="non-scaling-stroke"/>'
        f'<line class="span" x1="{low:.2f}" x2="{high:.2f}" y1="6" y2="6" vector-effect="non-scaling-stroke"/>'
        f'<line class="at" x1="{value:.2f}" x2="{value:.2f}" y1="1" y2="11" vector-effect="non-scaling-stroke"/></svg>'
    )


def _figures(results: Mapping[str, Any]) -> str:
    """The table, protocol by protocol; references that nobody wants higher or lower are pale."""
    rows, headed = list[str](), False
    for protocol, members in groupby(results["figures"], key=lambda figure: figure.get("protocol", "")):
        group = list(members)
        variant = ""
        if protocol and len(group) > 1:
            rows.append(f'<tr class="group"><th colspan="4" scope="rowgroup">{_spoken(protocol)}</th></tr>')
            variant = "_" + protocol.rpartition("_")[2]
            variant = variant if all(figure["name"].endswith(variant) for figure in group) else ""
        elif headed:
            rows.append('<tr class="group"><th colspan="4" scope="rowgroup">others</th></tr>')
        headed = bool(protocol) and len(group) > 1
        for figure in group:
            value, interval = shown(figure)
            number, _, unit = value.partition(" ")
            sign, meaning = _WAYS.get(figure["better"], ("", ""))
            way = f'<span class="way" title="{meaning}" aria-label="{meaning}">{sign}</span>' if sign else ""
            unit = f" <small>{escape(unit)}</small>" if unit else ""
            kind = "" if figure["better"] else " class=reference"
            rows.append(
                f'<tr{kind}><th scope="row">{_spoken(figure["name"].removesuffix(variant))}{way}</th>'
                f'<td class="value">{escape(number)}{unit}</td>'
                f'<td class="bars"><div>{_bar(figure)}<span class="range">{escape(interval)}</span></div></td>'
                f'<td class="n">{figure["n"]}</td></tr>'
            )
    head = '<thead><tr><th scope="col">Figure</th><th scope="col">Value</th>'
    head += '<th scope="col">95 % interval</th><th scope="col">Clips</th></tr></thead>'
    note = '<p class="soft">&#9650; higher is better, &#9660; lower is better; pale rows are to read them against.</p>'
    return f'<h2>Figures</h2><div class="card"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>{note}'


def _pictures(pictures: Mapping[str, Path]) -> str:
    there = {name: path for name, path in pictures.items() if path.is_file()}
    shown_ones = "".join(
        f'<figure><img alt="{escape(name)}" src="{data_address("image/png", path.read_bytes())}">'
        f'<p class="soft">{escape(name)}</p></figure>'
        for name, path in there.items()
    )
    return f'<h2>Pictures</h2><div class="pictures">{shown_ones}</div>' if there else ""


_SWATCH = '<span><svg width="20" height="20"><rect width="20" height="20" rx="4" fill="#080816"/>'
_KEY = (
    f'<div class="key">{_SWATCH}<path d="M10 4v16" stroke="#7df3ff" stroke-width="1.5"/>'
    '<path d="M5.5 3h9l-4.5 7z" fill="#7df3ff"/></svg>onset with a partner within the tolerance</span>'
    f'{_SWATCH}<path d="M10 9v11" stroke="#fff" stroke-width="1.5" stroke-dasharray="2 2"/>'
    '<circle cx="10" cy="6" r="3" fill="none" stroke="#fff" stroke-width="1.5"/></svg>onset without one</span>'
    f'{_SWATCH}<path d="M10 10v10" stroke="#ffd257" stroke-width="3"/></svg>where the truth starts</span></div>'
)


def _clips(clips: Sequence[ReportClip], folder: Path, most_embedded: int, order: str) -> str:
    if not clips:
        return ""
    left, cards = most_embedded, []
    for clip in clips:
        longest = max(sound.duration_s for sound in clip.sounds)
        figures = []
        for sound in clip.sounds:
            player, used = _player(sound, folder, left)
            left -= used
            figures.append(_sound(clip, sound, longest, player))
        values = "".join(f"<span>{_spoken(name)} <b>{value:.3g}</b></span>" for name, value in clip.values.items())
        caption = f"<p>{escape(clip.caption)}</p>" if clip.caption else ""
        chips = f'<div class="chips">{values}</div>' if values else ""
        cards.append(
            f'<article class="card clip"><header><h3>{escape(clip.name)}</h3>{caption}</header>'
            f'<div class="sounds">{"".join(figures)}</div>{chips}</article>'
        )
    key = _KEY if any(sound.onsets is not None for clip in clips for sound in clip.sounds) else ""
    chosen = f'<p class="soft">{escape(order)}</p>' if order else ""
    return f"<h2>Clips</h2>{chosen}{key}{''.join(cards)}"


def _player(sound: ReportSound, folder: Path, left: int) -> tuple[str, int]:
    """Controls of a sound, and the bytes it takes in the page."""
    content = embedded_sound(sound.audio)
    if len(content) <= left:
        address, used = data_address("audio/flac", content), len(content)
    elif sound.path is not None:
        relative = Path(os.path.relpath(sound.path.resolve(), folder.resolve())).as_posix()
        address, used = quote(relative, safe="/"), 0
    else:
        return '<p class="soft">The sound is left out: the page holds enough.</p>', 0
    name = escape(sound.label, quote=True)
    return f'<audio controls preload="metadata" aria-label="{name}" src="{escape(address, quote=True)}"></audio>', used


def _sound(clip: ReportClip, sound: ReportSound, longest_s: float, player: str) -> str:
    """Spectrogram with marks, all sounds of a clip on one scale of time."""
    share = sound.duration_s / longest_s
    picture = data_address("image/png", spectrogram_png(sound.audio, SAMPLE_RATE))
    marks = []
    truth = clip.sounds[0]
    if sound.onsets is not None:
        for at, near in zip(sound.onsets.times_s, clip.near(sound), strict=True):
            marks.append(
                f'<i{"" if near else " class=far"} style="left:{100 * at / longest_s:.2f}%" title="{at:.2f} s"></i>'
            )
    if sound is not truth and truth.onsets is not None:
        marks += [f'<i class="truth" style="left:{100 * at / longest_s:.2f}%"></i>' for at in truth.onsets.times_s]
    pitches = "".join(
        f'<u style="bottom:{100 * (band_of(hertz, SAMPLE_RATE) + 0.5) / N_BANDS:.1f}%">{name}</u>'
        for hertz, name in _PITCHES
    )
    count = len(sound.onsets) if sound.onsets is not None else 0
    starts = f", {count} onset{'' if count == 1 else 's'}" if sound.onsets is not None else ""
    described = escape(f"Spectrogram of {clip.name}, {sound.label}: {sound.duration_s:.2f} s{starts}", quote=True)
    return (
        f'<figure class="sound"><figcaption><b>{escape(sound.label)}</b>'
        f"<span>{sound.duration_s:.2f} s{starts}</span></figcaption>"
        f'<div class="stage" data-share="{share:.4f}" data-seconds="{sound.duration_s:.4f}">'
        f'<img alt="{described}" style="width:{100 * share:.2f}%" src="{picture}">{pitches}{"".join(marks)}'
        f"<s></s></div>{player}</figure>"
    )


def _noted(results: Mapping[str, Any]) -> str:
    """What a figure would hide: left out, silent, of another length, without a partner."""
    noted = {**results, **results.get("problems", {})}
    blocks = []
    for key, heading in _NOTED.items():
        if entries := noted.get(key):
            items = "".join(f"<li>{escape(str(entry))}</li>" for entry in entries)
            blocks.append(_folded(f"{heading} ({len(entries)})", f'<ul class="plain">{items}</ul>'))
    if lengths := results.get("length_differences"):
        items = "".join(
            f"<li>{escape(name)}: {both['generated_s']} s generated, {both['reference_s']} s reference</li>"
            for name, both in lengths.items()
        )
        blocks.append(
            _folded(f"Of another length than the reference ({len(lengths)})", f'<ul class="plain">{items}</ul>')
        )
    return f"<h2>Worth knowing</h2>{''.join(blocks)}" if blocks else ""


def _folded(heading: str, content: str) -> str:
    return f"<details><summary>{escape(heading)}</summary>{content}</details>"


def _listing(values: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<dt>{_spoken(str(key))}</dt><dd>{escape(str(value))}</dd>"
        for key, value in values.items()
        if value is not None
    )
    return f"<dl>{rows}</dl>"


def _protocols(results: Mapping[str, Any]) -> str:
    """How each figure was measured, by which networks and packages."""
    blocks = []
    for name, details in results.get("protocols", {}).items():
        text = f"<p>{escape(str(details.get('text', '')))}</p>"
        rest = {key: value for key, value in details.items() if key != "text"}
        blocks.append(_folded(name.replace("_", " "), text + _listing(rest)))
    for name, details in results.get("networks", {}).items():
        blocks.append(_folded(f"network {name}", _listing(details)))
    blocks.append(_folded("settings", _listing(results["settings"])))
    seeds = {f"seed of {name}": seed for name, seed in results.get("seeds", {}).items()}
    bootstrap = {"bootstrap": results["bootstrap"]} if "bootstrap" in results else {}
    blocks.append(_folded("seeds and versions", _listing({**seeds, **bootstrap, **results["versions"]})))
    return f"<h2>How it was measured</h2>{''.join(blocks)}"
