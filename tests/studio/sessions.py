"""Sessions over tiny random weights, for the tests of the studio."""

from pathlib import Path

from audio_agent_zoo.media import write_video
from audio_agent_zoo.pipelines.audio_agent import AudioAgent
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from audio_agent_zoo.pipelines.video_to_audio import VideoToAudioPipeline
from audio_agent_zoo.planner import Planner
from audio_agent_zoo.planner.plan import Plan, Step
from audio_agent_zoo.planner.rule_planner import RulePlanner
from audio_agent_zoo.rates import FRAME_RATE
from tests import tiny, tiny_video


def tiny_agent(planner: Planner | None = None) -> AudioAgent:
    """Text half and video half over one base; its images are at most 64 columns (0.64 s) wide."""

    def load_video(base: TextToAudioPipeline) -> VideoToAudioPipeline:
        return VideoToAudioPipeline(base, tiny_video.video_parts(base.parts.unet))

    return AudioAgent(TextToAudioPipeline(tiny.parts()), planner or RulePlanner(), load_video)


def step(number: int, prompt: str, start_s: float, end_s: float, **more: object) -> Step:
    return Step.model_validate({"id": f"e{number}", "prompt": prompt, "start_s": start_s, "end_s": end_s, **more})


def plan(*steps: Step, duration_s: float = 2.0) -> Plan:
    return Plan(duration_s=duration_s, steps=steps, profile="free", max_polyphony=4)


RAIN = step(1, "rain on a roof", 0.0, 0.6)
BARK = step(2, "a dog barks", 0.5, 1.0)
BELL = step(3, "a bell rings", 1.2, 1.7)


def tiny_video_file(path: Path, seconds: float = 1.0) -> Path:
    write_video(path, tiny_video.moving(round(seconds * FRAME_RATE)), FRAME_RATE)
    return path
