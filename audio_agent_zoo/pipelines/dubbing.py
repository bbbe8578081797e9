"""Dub a video: the sound of its picture, and sounds from text on the same timeline."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.mixing import Placement, mix
from audio_agent_zoo.pipelines.video_to_audio import VideoToAudioPipeline
from audio_agent_zoo.planner.plan import BACKGROUND_LUFS, MIN_STEP_S, Plan, PlannerInfo, Step
from audio_agent_zoo.rates import SAMPLE_RATE

_LAYER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?|end)\s*(?:@\s*(-\d+(?:\.\d+)?))?\s*:\s*(\S.*)")


@dataclass(frozen=True)
class Layer:
    """A sound from text over a video.

    Attributes:
        start_s: Start in seconds.
        end_s: End in seconds; None for the end of the video.
        prompt: What sounds.
        level_lufs: Loudness in the mix.
    """

    start_s: float
    end_s: float | None
    prompt: str
    level_lufs: float = BACKGROUND_LUFS

    @classmethod
    def parse(cls, text: str) -> "Layer":
        """Read `0-4: rain on a roof`, `2-end: wind`, or with a loudness in LUFS `0-4 @-20: rain`.

        Raises:
            ValueError: If it is written otherwise.
        """
        match = _LAYER.fullmatch(text)
        if match is None:
            raise ValueError(f"layer is {text!r}; write START-END: what sounds, such as '0-4: rain on a roof'.")
        start, end, level, prompt = match.groups()
        return cls(
            float(start),
            None if end == "end" else float(end),
            prompt.strip(),
            BACKGROUND_LUFS if level is None else float(level),
        )


@dataclass(frozen=True)
class DubOutput:
    """A dubbed video.

    Attributes:
        audio: `(samples,)` float32 in [-1, 1], exactly as long as the picture.
        sample_rate: Samples per second.
        plan: The timeline: the video's own sound, then the layers.
        stems: Step id -> its sound at its place and level, before the limiter.
        notes: What was assumed, trimmed or limited.
        seconds: Wall time of each stage in seconds.
    """

    audio: NDArray[np.float32]
    sample_rate: int
    plan: Plan
    stems: dict[str, NDArray[np.float32]]
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


def dub(
    pipeline: VideoToAudioPipeline,
    video: str | Path,
    caption: str | None = None,
    layers: Sequence[Layer] = (),
    *,
    visual_scale: float | None = None,
    seed: int = 0,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    callback: Callable[[str, int, int], None] | None = None,
) -> DubOutput:
    """Make the sound of a video and mix text layers over it.

    Args:
        pipeline: Makes both.
        video: Video file.
        caption: What the picture sounds like.
        layers: Sounds from text on the video's timeline.
        visual_scale: Weight of the picture against the caption; the weights' own default when None.
        seed: Seed of all sounds; layers get their own by their place in the list.
        num_inference_steps: Denoising steps; the weights' own default when None.
        guidance_scale: Classifier-free guidance; the weights' own default when None.
        callback: Called as `(stage, done, in all)`.

    Raises:
        MediaError: If the video can't be read.
        ValueError: If a layer lies outside of the video.
        RenderError: If a sound comes out broken.
    """
    made = pipeline(
        video,
        caption,
        visual_scale=visual_scale,
        seed=seed,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        callback=callback,
    )
    audio = made.audios[0]
    duration_s = len(audio) / SAMPLE_RATE
    steps = [_video_step(caption, duration_s, seed), *_layer_steps(layers, duration_s, seed)]
    seconds = dict(made.seconds)
    audios = [audio]
    if layers:
        texts = steps[1:]
        spoken = pipeline.base(
            [step.prompt for step in texts],
            [step.duration_s for step in texts],
            seed=[step.seed or 0 for step in texts],
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            callback=None if callback is None else lambda done, total: callback("layers", done, total),
        )
        audios += spoken.audios
        seconds["layers"] = sum(spoken.seconds.values())
    started = perf_counter()
    placements = [
        Placement(one, step.start_s, min(step.end_s, duration_s), step.level_lufs, name=step.id)
        for one, step in zip(audios, steps, strict=True)
    ]
    mixed = mix(placements, duration_s)
    seconds["mix"] = perf_counter() - started
    plan = Plan(
        duration_s=max(duration_s, MIN_STEP_S),
        steps=tuple(sorted(steps, key=lambda step: step.start_s)),
        max_polyphony=min(16, max(2, len(steps))),
        profile="free",
        request=caption or "",
        planner=PlannerInfo(name="user"),
    )
    stems = {step.id: stem for step, stem in zip(steps, mixed.stems, strict=True)}
    return DubOutput(mixed.audio, SAMPLE_RATE, plan, stems, (*made.notes, *mixed.notes), seconds)


def _video_step(caption: str | None, duration_s: float, seed: int) -> Step:
    text = (caption or "").strip()[:200] or "the sound of the picture"
    return Step(id="e1", prompt=text, start_s=0.0, end_s=max(duration_s, MIN_STEP_S), source="video", seed=seed)


def _layer_steps(layers: Sequence[Layer], duration_s: float, seed: int) -> list[Step]:
    steps = []
    for i, layer in enumerate(layers):
        end_s = duration_s if layer.end_s is None else layer.end_s
        if not 0 <= layer.start_s < end_s <= duration_s + 0.05:
            raise ValueError(
                f"layer {layer.prompt!r} lasts from {layer.start_s:g} to {end_s:g} s, the video {duration_s:.2f} s; "
                "keep it within the video, or end it with 'end'."
            )
        steps.append(
            Step(
                id=f"e{i + 2}",
                prompt=layer.prompt,
                start_s=layer.start_s,
                end_s=min(end_s, duration_s),
                level_lufs=layer.level_lufs,
                layer="background",
                seed=seed + 1 + i,
            )
        )
    return steps
