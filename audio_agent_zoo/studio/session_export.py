"""A session's timeline as an export takes it."""

from dataclasses import asdict
from datetime import UTC, datetime

from audio_agent_zoo.pipelines.audio_agent import step_seed
from audio_agent_zoo.planner.plan import Plan
from audio_agent_zoo.studio.export_project import ExportProject
from audio_agent_zoo.studio.step_sounds import RenderSettings, SessionVideo
from audio_agent_zoo.studio.turn import TimelineSound


def now() -> str:
    """This moment in ISO 8601 (UTC)."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def project_of(
    plan: Plan,
    sound: TimelineSound,
    settings: RenderSettings,
    weights: str,
    license: str,
    video: SessionVideo | None,
) -> ExportProject:
    """What is exported of a timeline, and what made it.

    Args:
        plan: The timeline.
        sound: What it sounds like.
        settings: How its sounds were made.
        weights: Name of the weights.
        license: Their licence.
        video: The video under it.
    """
    return ExportProject(
        plan=plan,
        audio=sound.audio,
        stems=sound.stems,
        sample_rate=sound.sample_rate,
        renders={name: render.audio for name, render in sound.renders.items()},
        source_offsets_s={name: render.offset_s for name, render in sound.renders.items()},
        video=None if video is None else video.path,
        provenance={
            "weights": weights,
            "license": license,
            "seed": settings.seed,
            "seeds": {step.id: step_seed(step, settings.seed) for step in plan.steps},
            "settings": asdict(settings),
            "created": now(),
        },
    )
