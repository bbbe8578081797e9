"""The agent: a planner turns a request into timed steps, the text-to-audio base makes each, one mix comes out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.mixing import Mix, Placement, mix
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from audio_agent_zoo.planner.plan import canonical
from audio_agent_zoo.rates import SAMPLE_RATE

if TYPE_CHECKING:
    from audio_agent_zoo.pipelines.video_to_audio import VideoToAudioPipeline
    from audio_agent_zoo.planner import Planner
    from audio_agent_zoo.planner.plan import Plan, Step
    from audio_agent_zoo.studio.session import Session
    from audio_agent_zoo.studio.step_sounds import RenderSettings

Progress = Callable[[int, int], None]
"""Called as `(denoising steps done, denoising steps in all)`."""


def step_seed(step: "Step", seed: int) -> int:
    """The seed a step is made with: its own if it has one, else drawn from what it says.

    The same prompt under another id keeps its sound; another take gets another one.
    """
    if step.seed is not None:
        return step.seed
    digest = sha256(f"{seed}|{canonical(step.prompt)}|{step.take}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


def mix_steps(plan: "Plan", audios: Mapping[str, NDArray[np.float32]]) -> tuple[Mix, dict[str, NDArray[np.float32]]]:
    """Mix the sounds of a plan's steps at their places and levels.

    Args:
        plan: The plan.
        audios: Step id -> its sound `(samples,)`; steps without one are left out.

    Returns:
        The mix, stereo where a step is panned, and step id -> stem.
    """
    steps = [step for step in plan.steps if step.id in audios]
    placements = [
        Placement(
            audio=audios[step.id],
            start_s=step.start_s,
            end_s=step.end_s,
            level_lufs=step.level_lufs,
            pan=step.pan,
            fade_in_s=step.fade_in_s,
            fade_out_s=step.fade_out_s,
            name=f"{step.id} ({step.prompt})",
        )
        for step in steps
    ]
    channels = 2 if any(step.pan for step in steps) else 1
    mixed = mix(placements, plan.duration_s, sample_rate=SAMPLE_RATE, channels=channels)
    return mixed, {step.id: stem for step, stem in zip(steps, mixed.stems, strict=True)}


@dataclass(frozen=True)
class AudioAgentOutput:
    """A rendered plan.

    Attributes:
        audio: `(samples,)` float32 in [-1, 1], or `(samples, 2)` where a step is panned; exactly the plan's length.
        sample_rate: Samples per second.
        plan: The plan it was made from.
        stems: Step id -> its sound at its place and level, before the limiter, shaped like the mix.
        notes: What was trimmed, limited or left silent.
        seconds: Wall time of each stage in seconds.
        seeds: Step id -> the seed it was made with.
    """

    audio: NDArray[np.float32]
    sample_rate: int
    plan: "Plan"
    stems: dict[str, NDArray[np.float32]]
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    seeds: dict[str, int] = field(default_factory=dict)


class AudioAgent:
    """Planner, text-to-audio base and mixer as one object.

    Args:
        text_to_audio: Makes the sound of each step.
        planner: Turns a request into a plan.
        load_video: Loads the video half over the same base when a video first needs it; None where there is none.
    """

    def __init__(
        self,
        text_to_audio: TextToAudioPipeline,
        planner: "Planner",
        load_video: "Callable[[TextToAudioPipeline], VideoToAudioPipeline] | None" = None,
    ) -> None:
        self.text_to_audio = text_to_audio
        self.planner = planner
        self._load_video = load_video

    @classmethod
    def from_pretrained(
        cls, path_or_repo: str = "foley-mini", *, planner: "str | Planner" = "auto", **kwargs: Any
    ) -> "AudioAgent":
        """Load the text-to-audio base and choose a planner.

        Args:
            path_or_repo: What `TextToAudioPipeline.from_pretrained` takes.
            planner: "auto" (the chat API where one is configured, else rules), "rules", "openai", or a planner.
            **kwargs: Its other arguments: revision, device, dtype and so on.

        Raises:
            WeightsError: If the weights can't be loaded.
            ValueError: For an unknown planner.
        """
        from audio_agent_zoo.planner import make_planner

        def load_video(base: TextToAudioPipeline) -> "VideoToAudioPipeline":
            from audio_agent_zoo.pipelines.video_to_audio import VideoToAudioPipeline

            return VideoToAudioPipeline.from_pretrained(path_or_repo, base=base, **kwargs)

        return cls(TextToAudioPipeline.from_pretrained(path_or_repo, **kwargs), make_planner(planner), load_video)

    @cached_property
    def video_to_audio(self) -> "VideoToAudioPipeline":
        """The video half over the same base, loaded when it is first asked for.

        Raises:
            WeightsError: If the weights have none.
        """
        if self._load_video is None:
            raise WeightsError(f"{self.text_to_audio.name} was loaded without a video half; use from_pretrained.")
        return self._load_video(self.text_to_audio)

    def session(self, folder: str | Path, settings: "RenderSettings | None" = None) -> "Session":
        """Open a conversation about a sound, kept in a folder; a folder that holds one is gone on with.

        Args:
            folder: Folder of the session; made if it is missing.
            settings: How a new session makes its sounds; one that is there keeps its own.

        Raises:
            SessionError: If the session is open elsewhere, damaged, or was made with other settings.
            MediaError: If the folder can't be written.
        """
        from audio_agent_zoo.studio.session import Session

        return Session(self, folder, settings)

    def plan(self, text: str, duration_s: float = 10.0) -> "Plan":
        """Plan a request without making a sound."""
        return self.planner.plan(text, duration_s=duration_s)

    def render(
        self,
        plan: "Plan",
        *,
        seed: int = 0,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        callback: Progress | None = None,
    ) -> AudioAgentOutput:
        """Make every step of a plan and mix them.

        Args:
            plan: Steps whose `source` is "text".
            seed: Seed of every step that has none of its own.
            num_inference_steps: Denoising steps; the weights' own default when None.
            guidance_scale: Classifier-free guidance; the weights' own default when None.
            callback: Progress of the denoising.

        Raises:
            ValueError: If a step wants a video.
            RenderError: If a step's sound comes out broken.
        """
        heard = [step for step in plan.steps if not step.muted]
        if other := [step.id for step in heard if step.source != "text"]:
            raise ValueError(f"steps {', '.join(other)} take their sound from a video; this agent renders text steps.")
        seeds = {step.id: step_seed(step, seed) for step in heard}
        audios: list[NDArray[np.float32]] = []
        seconds: dict[str, float] = {}
        if heard:
            made = self.text_to_audio(
                [step.prompt for step in heard],
                [step.end_s - step.start_s for step in heard],
                negative_prompt=[step.negative_prompt for step in heard],
                num_inference_steps=num_inference_steps,
                guidance_scale=guidance_scale,
                seed=[seeds[step.id] for step in heard],
                callback=callback,
            )
            audios, seconds = made.audios, dict(made.seconds)
        started = perf_counter()
        mixed, stems = mix_steps(plan, {step.id: audio for step, audio in zip(heard, audios, strict=True)})
        seconds["mix"] = perf_counter() - started
        return AudioAgentOutput(mixed.audio, SAMPLE_RATE, plan, stems, tuple(mixed.notes), seconds, seeds)

    def __call__(self, text: str, duration_s: float = 10.0, **kwargs: Any) -> AudioAgentOutput:
        """Plan a request and render it; `kwargs` go to `render`."""
        return self.render(self.plan(text, duration_s), **kwargs)
