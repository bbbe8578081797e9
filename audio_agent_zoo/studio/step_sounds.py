"""The sound of every step of a plan: kept ones from the store, the others made, each window at most once."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audio_agent_zoo.errors import RenderError
from audio_agent_zoo.pipelines.audio_agent import AudioAgent, step_seed
from audio_agent_zoo.pipelines.fingerprint import fingerprint
from audio_agent_zoo.pipelines.text_to_audio_request import Request
from audio_agent_zoo.pipelines.windows import Window, join_windows, overlap_columns, window_seed
from audio_agent_zoo.planner.plan import Plan, Step, canonical
from audio_agent_zoo.rates import HOP_LENGTH, n_mel_columns
from audio_agent_zoo.studio.kept_windows import fitted_widths
from audio_agent_zoo.studio.renders import RenderStore, render_key

Audio = NDArray[np.float32]
Progress = Callable[[str, int, int], None]
"""Called as `(stage, done, in all)`; raise in it to stop, what is finished is kept."""

_MAX_COLUMNS = 8192


@dataclass(frozen=True)
class RenderSettings:
    """How all sounds of a session are made.

    Attributes:
        seed: Seed of every step that has none of its own.
        num_inference_steps: Denoising steps; the weights' own default when None.
        guidance_scale: Classifier-free guidance; the weights' own default when None.
        visual_scale: Weight of a video's picture; the weights' own default when None.
        negative_prompt: What sound effects steer away from, unless a step says it itself; the weights' own default
            when None.
    """

    seed: int = 0
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    visual_scale: float | None = None
    negative_prompt: str | None = None


@dataclass(frozen=True)
class SessionVideo:
    """The video under a timeline.

    Attributes:
        path: The file.
        sha256: Its checksum.
        duration_s: Its length in seconds.
    """

    path: Path
    sha256: str
    duration_s: float


@dataclass(frozen=True)
class Timeline:
    """A plan and what it is heard from besides its words.

    Attributes:
        plan: The plan.
        video: The video under it.
        widths: Step id -> mel columns of the windows that its sound is joined from.
    """

    plan: Plan
    video: SessionVideo | None = None
    widths: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class StepSound:
    """The sound of one step before it is cut, faded and levelled.

    Attributes:
        audio: `(samples,)` float32, at least as long as the step where the model can.
        offset_s: Second of it at which the step begins.
    """

    audio: Audio = field(repr=False)
    offset_s: float = 0.0


@dataclass(frozen=True)
class _Piece:
    """One thing to make: a window of a text step, or the whole sound of the video."""

    key: str
    made_of: dict[str, Any]
    step: Step
    window: Window | None


class StepSounds:
    """Makes and keeps the sounds of steps.

    Args:
        agent: What makes them.
        store: Where they are kept.
        settings: How they are made.
    """

    def __init__(self, agent: AudioAgent, store: RenderStore, settings: RenderSettings) -> None:
        self.agent, self.store, self.settings = agent, store, settings

    @cached_property
    def _weights(self) -> str:
        parts = self.agent.text_to_audio.parts
        networks = (parts.conditioning, parts.unet, parts.vae, parts.vocoder)
        scheduler = json.dumps(dict(parts.scheduler.config), sort_keys=True, default=str)
        return render_key({"weights": fingerprint(networks), "solver": [type(parts.scheduler).__name__, scheduler]})

    @cached_property
    def _video_weights(self) -> str:
        return render_key(
            {"base": self._weights, "video": fingerprint(self.agent.video_to_audio.parts.networks())},
        )

    def widths(self, step: Step, heard: Sequence[int] = ()) -> tuple[int, ...]:
        """Columns of the windows of a text step: those it was heard from already, as far as they go, then others.

        Args:
            step: The step.
            heard: Columns of the windows that it was heard from before; none for a new sound.
        """
        parts = self.agent.text_to_audio.parts
        return fitted_widths(
            n_mel_columns(step.duration_s),
            heard,
            multiple=parts.width_multiple,
            min_columns=parts.generation.min_columns,
            native_columns=parts.generation.native_columns,
        )

    def _pieces(self, step: Step, timeline: Timeline) -> list[_Piece]:
        pipeline, settings = self.agent.text_to_audio, self.settings
        defaults, seed = pipeline.parts.generation, step_seed(step, settings.seed)
        usual = defaults.negative_prompt if settings.negative_prompt is None else settings.negative_prompt
        negative = step.negative_prompt or (usual if step.kind == "sfx" else "")
        steps, guidance = settings.num_inference_steps, settings.guidance_scale
        common = {
            "prompt": canonical(step.prompt),
            "negative_prompt": canonical(negative),
            "num_inference_steps": defaults.num_inference_steps if steps is None else steps,
            "guidance_scale": defaults.guidance_scale if guidance is None else guidance,
            "mel_iterations": defaults.mel_iterations,
        }
        if step.source == "video":
            if (video := timeline.video) is None:
                raise RenderError(f"{step.id} takes its sound from a video, and this session has none; attach one.")
            scale = settings.visual_scale
            own = self.agent.video_to_audio.parts.video
            values = {**asdict(own), "visual_scale": own.visual_scale if scale is None else scale}
            made_of = {**common, "video": video.sha256, "seed": seed, "how": values, "weights": self._video_weights}
            return [_Piece(render_key(made_of), made_of, step, None)]
        pieces = []
        for number, width in enumerate(timeline.widths.get(step.id) or self.widths(step)):
            # Made to its full width: what lies beyond the step is its handle, and a longer step needs no new one.
            window = Window(0, width, width, window_seed(seed, number))
            made_of = {**common, "seed": window.seed, "columns": width, "weights": self._weights}
            pieces.append(_Piece(render_key(made_of), made_of, step, window))
        return pieces

    def _all(self, timeline: Timeline) -> dict[str, list[_Piece]]:
        return {step.id: self._pieces(step, timeline) for step in timeline.plan.steps if not step.muted}

    def missing(self, timeline: Timeline) -> dict[str, int]:
        """Step id -> windows that must be made before it can be heard; steps that lack none are left out."""
        known: dict[str, bool] = {}
        counts: dict[str, int] = {}
        for name, pieces in self._all(timeline).items():
            for piece in pieces:
                if piece.key not in known:
                    known[piece.key] = self.store.get(piece.key) is not None
                    counts[name] = counts.get(name, 0) + (not known[piece.key])
        return {name: count for name, count in counts.items() if count}

    def keys(self, timeline: Timeline) -> set[str]:
        """Keys of everything the timeline is heard from."""
        return {piece.key for pieces in self._all(timeline).values() for piece in pieces}

    def make(self, timeline: Timeline, callback: Progress | None = None) -> tuple[dict[str, StepSound], dict[str, str]]:
        """Sounds of all steps that are heard; what is not kept yet is made, and kept.

        Args:
            timeline: The plan, the video where a step needs one, and the windows of steps.
            callback: Progress.

        Returns:
            Step id -> its sound, and step id -> why it could not be made.

        Raises:
            MediaError: If the video can't be read or a sound can't be kept.
        """
        pieces = self._all(timeline)
        waves = {piece.key: self.store.get(piece.key) for own in pieces.values() for piece in own}
        wanted = {piece.key: piece for own in pieces.values() for piece in own if waves[piece.key] is None}
        failed: dict[str, str] = {}
        texts = [piece for piece in wanted.values() if piece.window is not None]
        for batch in _batches(texts):
            for piece, wave in self._made(batch, callback, failed):
                self.store.put(piece.key, wave, piece.made_of)
                waves[piece.key] = wave
        for piece in wanted.values():
            if piece.window is None and timeline.video is not None:
                waves[piece.key] = wave = self._dubbed(piece, timeline.video, callback)
                self.store.put(piece.key, wave, piece.made_of)
        sounds: dict[str, StepSound] = {}
        for step in timeline.plan.steps:
            own = [waves[piece.key] for piece in pieces.get(step.id, [])]
            if own and all(wave is not None for wave in own):
                sounds[step.id] = self._joined(step, [wave for wave in own if wave is not None])
        return sounds, failed

    def _joined(self, step: Step, waves: Sequence[Audio]) -> StepSound:
        if step.source == "video":
            return StepSound(waves[0], step.start_s)
        overlap = overlap_columns(self.agent.text_to_audio.parts.generation.native_columns) * HOP_LENGTH
        return StepSound(join_windows([torch.from_numpy(wave) for wave in waves], overlap).numpy())

    def _made(
        self, pieces: Sequence[_Piece], callback: Progress | None, failed: dict[str, str]
    ) -> list[tuple[_Piece, Audio]]:
        """The windows of one batch; where one is broken, each by itself, so that the others are not lost."""
        try:
            return list(zip(pieces, self._denoised(pieces, callback), strict=True))
        except RenderError as error:
            if len(pieces) == 1:
                failed[pieces[0].step.id] = str(error)
                return []
        return [made for piece in pieces for made in self._made([piece], callback, failed)]

    def _denoised(self, pieces: Sequence[_Piece], callback: Progress | None) -> list[Audio]:
        pipeline = self.agent.text_to_audio
        request = Request.checked(
            [piece.step.prompt for piece in pieces],
            1.0,
            [piece.made_of["negative_prompt"] for piece in pieces],
            [piece.made_of["seed"] for piece in pieces],
            steps=pieces[0].made_of["num_inference_steps"],
            guidance=pieces[0].made_of["guidance_scale"],
            most_steps=int(pipeline.scheduler.config.num_train_timesteps),
        )
        windows = [
            Window(i, piece.window.width, piece.window.width, piece.window.seed)
            for i, piece in enumerate(pieces)
            if piece.window is not None
        ]
        advance = None if callback is None else lambda done, total: callback("denoise", done, total)
        with torch.inference_mode():
            return [wave.numpy() for wave in pipeline.make_windows(windows, request, advance, _MAX_COLUMNS, {}, None)]

    def _dubbed(self, piece: _Piece, video: SessionVideo, callback: Progress | None) -> Audio:
        made_of: Mapping[str, Any] = piece.made_of
        made = self.agent.video_to_audio(
            video.path,
            piece.step.prompt,
            visual_scale=made_of["how"]["visual_scale"],
            seed=made_of["seed"],
            negative_prompt=made_of["negative_prompt"] or None,
            num_inference_steps=made_of["num_inference_steps"],
            guidance_scale=made_of["guidance_scale"],
            callback=callback,
        )
        return made.audios[0]


def _batches(pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    """Windows of one width together, as the pipeline would take them, so that each finished batch can be kept."""
    by_width: dict[int, list[_Piece]] = {}
    for piece in pieces:
        if piece.window is not None:
            by_width.setdefault(piece.window.width, []).append(piece)
    most = {width: max(1, _MAX_COLUMNS // width) for width in by_width}
    return [
        own[i : i + most[width]] for width, own in sorted(by_width.items()) for i in range(0, len(own), most[width])
    ]
