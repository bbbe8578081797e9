"""A class of sounds that foley-mini has never met: a ping-pong ball on a table, heard, drawn and written to disk."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.media import write_video
from audio_agent_zoo.rates import FRAME_RATE, SAMPLE_RATE, n_samples
from audio_agent_zoo.synthesis.dsp import Rng, add, band_noise, decay, modes, room, seconds, unit_peak
from audio_agent_zoo.synthesis.events import SoundEvent
from audio_agent_zoo.synthesis.scenes import n_scene_frames
from audio_agent_zoo.synthesis.scenes.canvas import Film, Pen
from audio_agent_zoo.synthesis.scenes.motion import Motion
from audio_agent_zoo.synthesis.scenes.stage import BRIGHT, CLOTH, LIGHT, WHITE, Stage, camera_path, develop, furnish
from audio_agent_zoo.synthesis.scenes.stage import lighter as shade
from audio_agent_zoo.synthesis.style import Strike, Style

CLASS_NAME = "ping_pong"
CAPTIONS = (
    "a ping-pong ball bouncing on a table",
    "a table tennis ball bounces",
    "ping-pong",
    "the hollow pock of a ping-pong ball",
)
DURATION_S = 2.56
_PLACE = 64
_REACH = 0.02


@dataclass(frozen=True)
class Clip:
    """Sound and picture of one seed."""

    audio: NDArray[np.float32]
    frames: NDArray[np.uint8]
    onset_s: tuple[float, ...]
    caption: str


def pock(rng: Rng, style: Style) -> Strike:
    """Hollow celluloid on wood: two close modes that ring a tenth of a second, under a hard click."""
    n = seconds(0.25)
    base = style.hertz(820, 960, 1120)
    shell = modes(rng, n, base * np.array([1, 1.08, 2.95, 4.6]), [0.16, 0.13, 0.05, 0.03])
    click = band_noise(rng, n, 2500, 7500) * decay(n, 0.012, 0.0004)
    return Strike(unit_peak(shell) + 0.45 * unit_peak(click), body_s=0.1)


def _events(rng: Rng) -> list[SoundEvent]:
    """Bounces at irregular distances: what is guessed without looking is wrong."""
    at, events = float(rng.uniform(0.12, 0.6)), list[SoundEvent]()
    while at < DURATION_S - 0.12:
        events.append(SoundEvent(at, at + 0.1, float(rng.uniform(0.6, 1.0))))
        at += float(rng.choice([rng.uniform(0.28, 0.45), rng.uniform(0.5, 0.9)]))
    return events


def _scene(stage: Stage) -> None:
    """A ball falls on a table, is squashed for an instant and leaps up again; the longer the way, the higher."""
    pen, motion = stage.pen, stage.motion
    table, ball = stage.pick(CLOTH), stage.pick(BRIGHT) if stage.rng.random() < 0.5 else WHITE
    pen.box(0.52j, 1.3, 0.3, table, corner=0.02)
    pen.box(0.37j, 1.3, 0.035, shade(table, 0.7), edge=False)
    for x in (-0.5, 0.5):
        pen.box(x + 0.75j, 0.07, 0.3, shade(table, -0.5))
    gap = np.minimum(motion.since + motion.until, 1.0)
    way = np.clip(motion.since / np.maximum(gap, 1e-3), 0, 1)
    way = np.where(motion.last < 0, 1 - np.clip(motion.until, 0, 0.5), way)
    way = np.where(~motion.more, np.clip(motion.since, 0, 0.45), way)
    height = np.clip(4 * way * (1 - way), 0, 1) * np.clip(0.35 + 0.5 * gap, 0, 0.8)
    hit = motion.burst(0.06)
    at = 0.1 * np.sin(0.7 * motion.t + stage.rng.uniform(0, 6)) + 1j * (0.25 - height)
    pen.ellipse(at.real + 0.36j, 0.12 - 0.08 * height, 0.02, shade(table, -0.5), edge=False)
    pen.glow(at.real + 0.33j, 0.3, LIGHT, 0.9 * hit)
    stage.sparks(pen, at.real + 0.33j, 0.3, LIGHT, count=8)
    pen.ellipse(at, 0.1 * (1 + 0.35 * hit), 0.1 * (1 - 0.35 * hit), ball)


def _render(events: list[SoundEvent], seed: int, size: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng([seed, 77])
    index = np.arange(n_scene_frames(DURATION_S))
    margin = math.ceil(_REACH * size) + 1
    film = Film(len(index), size, margin, 0.01, rng.uniform(0.02, 0.2, 3))
    backdrop = Pen(film)
    pen = backdrop.posed(rng.uniform(0.45, 0.55) + 1j * rng.uniform(0.45, 0.52), 0.0, float(rng.uniform(0.85, 1.0)))
    stage = Stage(pen, backdrop, Motion.of(events, index / FRAME_RATE), rng)
    furnish(stage, outdoors=False)
    _scene(stage)
    frames = np.empty((len(index), size, size, 3), np.uint8)
    develop(film, camera_path(rng, index / FRAME_RATE, _REACH), index, rng, frames)
    return frames


def make_clip(seed: int, size: int = _PLACE) -> Clip:
    """One clip; the same seed gives the same clip."""
    rng = np.random.default_rng([seed, 78])
    style, events = Style(float(rng.uniform(-1, 1)), 0.0), _events(rng)
    wave = np.zeros(n_samples(DURATION_S))
    for event in events:
        add(wave, event.strength * unit_peak(pock(rng, style).wave), round(event.start_s * SAMPLE_RATE))
    if rng.random() < 0.3:
        wave = room(rng, wave, float(rng.uniform(0.15, 0.4)), float(rng.uniform(0.05, 0.15)))
    audio = (0.95 * unit_peak(wave)).astype(np.float32)
    onsets = tuple(event.start_s for event in events)
    return Clip(audio, _render(events, seed, size), onsets, CAPTIONS[int(rng.integers(len(CAPTIONS)))])


def write_folder(folder: Path, seeds: range) -> list[Path]:
    """Clips as mp4, and what they sound like in `metadata.jsonl`, as a newcomer has them."""
    folder.mkdir(parents=True)
    rows, paths = list[str](), list[Path]()
    for seed in seeds:
        clip = make_clip(seed)
        paths.append(folder / f"clip_{seed:04d}.mp4")
        write_video(paths[-1], clip.frames, FRAME_RATE, clip.audio)
        rows.append(json.dumps({"file_name": paths[-1].name, "caption": clip.caption, "class_name": CLASS_NAME}))
    (folder / "metadata.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return paths
