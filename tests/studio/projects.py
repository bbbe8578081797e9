"""Small rendered plans for the export tests, mixed by the real mixer from sounds that reach beyond their steps."""

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.mixing import Mix, Placement, mix
from audio_agent_zoo.planner.plan import Plan, Step
from audio_agent_zoo.studio.export_project import ExportProject

RATE = 16_000
DURATION_S = 4.0
Audio = NDArray[np.float32]

OFFSETS_S = {"e2": 0.75}


def noise(seconds: float, level: float, seed: int) -> Audio:
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def tone(seconds: float, hertz: float, level: float) -> Audio:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def knocks(seconds: float, at_s: tuple[float, ...]) -> Audio:
    """Bursts that begin with their full force."""
    audio = np.zeros(round(seconds * RATE), np.float32)
    shape = 0.8 * np.exp(-np.arange(800) / 150) * np.cos(0.35 * np.arange(800))
    for one in at_s:
        start = round(one * RATE)
        audio[start : start + 800] += shape[: len(audio) - start].astype(np.float32)
    return audio


def steps(pans: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> tuple[Step, ...]:
    """A bed with long fades, a tone from inside its render, knocks whose attack shortens the fade, a muted hum."""
    return (
        Step(
            id="e1",
            prompt="Rain falls on a roof",
            start_s=0.0,
            end_s=4.0,
            layer="background",
            level_lufs=-26,
            pan=pans[0],
            fade_in_s=0.5,
            fade_out_s=0.7,
        ),
        Step(id="e2", prompt='A kettle says "peep"', start_s=0.51, end_s=2.0, level_lufs=-20, pan=pans[1]),
        Step(id="e4", prompt="A hum", start_s=1.0, end_s=2.0, muted=True, level_lufs=-24),
        Step(id="e3", prompt="Someone knocks twice", start_s=2.25, end_s=3.51, pan=pans[2], seed=7),
    )


def renders() -> dict[str, Audio]:
    return {
        "e1": noise(5.12, 0.05, 1),
        "e2": tone(5.12, 880, 0.3) * np.linspace(0.2, 1, round(5.12 * RATE), dtype=np.float32),
        "e3": knocks(5.12, (0.001, 0.4, 2.0)),
        "e4": tone(5.12, 100, 0.2),
    }


def mixed(parts: tuple[Step, ...], sounds: dict[str, Audio], duration_s: float = DURATION_S) -> Mix:
    heard = [step for step in parts if not step.muted]
    placements = [
        Placement(
            audio=sounds[step.id][round(OFFSETS_S.get(step.id, 0) * RATE) :],
            start_s=step.start_s,
            end_s=step.end_s,
            level_lufs=step.level_lufs,
            pan=step.pan,
            fade_in_s=step.fade_in_s,
            fade_out_s=step.fade_out_s,
        )
        for step in heard
    ]
    return mix(placements, duration_s, channels=2 if any(step.pan for step in heard) else 1)


def project(
    pans: tuple[float, float, float] = (0.0, 0.0, 0.0), *, with_renders: bool = True, request: str = "A rainy kitchen"
) -> ExportProject:
    parts, sounds = steps(pans), renders()
    made = mixed(parts, sounds)
    heard = [step.id for step in parts if not step.muted]
    return ExportProject(
        plan=Plan(duration_s=DURATION_S, steps=parts, max_polyphony=3, request=request),
        audio=made.audio,
        stems=dict(zip(heard, made.stems, strict=True)),
        renders=sounds if with_renders else {},
        source_offsets_s=OFFSETS_S if with_renders else {},
        provenance={
            "weights": "foley-mini",
            "license": "apache-2.0",
            "seed": 3,
            "seeds": {"e1": 11, "e2": 12, "e3": 7},
        },
    )
