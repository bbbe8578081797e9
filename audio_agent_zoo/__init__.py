"""audio_agent_zoo: generate, edit and compose sound from text or video."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audio_agent_zoo.pipelines.audio_agent import AudioAgent
    from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
    from audio_agent_zoo.pipelines.video_to_audio import VideoToAudioPipeline
    from audio_agent_zoo.planner.openai_planner import OpenAIPlanner
    from audio_agent_zoo.planner.plan import Plan, Step
    from audio_agent_zoo.planner.recorded_planner import RecordedPlanner
    from audio_agent_zoo.planner.rule_planner import RulePlanner
    from audio_agent_zoo.studio.session import Session

__version__ = "0.1.0"

__all__ = [
    "AudioAgent",
    "OpenAIPlanner",
    "Plan",
    "RecordedPlanner",
    "RulePlanner",
    "Session",
    "Step",
    "TextToAudioPipeline",
    "VideoToAudioPipeline",
    "__version__",
]

_HOMES = {
    "AudioAgent": "pipelines.audio_agent",
    "OpenAIPlanner": "planner.openai_planner",
    "Plan": "planner.plan",
    "RecordedPlanner": "planner.recorded_planner",
    "RulePlanner": "planner.rule_planner",
    "Session": "studio.session",
    "Step": "planner.plan",
    "TextToAudioPipeline": "pipelines.text_to_audio",
    "VideoToAudioPipeline": "pipelines.video_to_audio",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that importing the package stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
