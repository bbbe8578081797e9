"""One exchange of a session: what was said, what was understood, and the timeline that came of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.pipelines.audio_agent import mix_steps
from audio_agent_zoo.planner.plan import Plan
from audio_agent_zoo.rates import SAMPLE_RATE, n_samples
from audio_agent_zoo.studio.step_sounds import SessionVideo, StepSound, Timeline

Audio = NDArray[np.float32]
Status = Literal["ok", "ask", "refused", "failed"]


@dataclass(frozen=True)
class TimelineSound:
    """What a plan sounds like.

    Attributes:
        audio: `(samples,)` or `(samples, 2)` float32 in [-1, 1], exactly as long as the plan.
        stems: Step id -> its sound at its place and level before the limiter, shaped like `audio`.
        renders: Step id -> its sound before it was cut, faded and levelled.
        notes: What was limited or left silent.
        sample_rate: Samples per second.
    """

    audio: Audio = field(repr=False)
    stems: dict[str, Audio] = field(repr=False)
    renders: dict[str, StepSound] = field(repr=False)
    notes: tuple[str, ...] = ()
    sample_rate: int = SAMPLE_RATE


def sound_of(plan: Plan, renders: Mapping[str, StepSound], failed: Mapping[str, str]) -> TimelineSound:
    """Mix a plan's steps; those that could not be made are silent, and the notes say so."""
    cut: dict[str, Audio] = {}
    for step in plan.steps:
        if step.id in renders:
            first = n_samples(renders[step.id].offset_s)
            length = n_samples(step.end_s) - n_samples(step.start_s)
            cut[step.id] = renders[step.id].audio[first : first + length]
    mixed, stems = mix_steps(plan, cut)
    silent = tuple(f"{name} is silent: {reason}" for name, reason in failed.items())
    return TimelineSound(mixed.audio, stems, dict(renders), (*silent, *mixed.notes))


@dataclass(frozen=True)
class Turn:
    """One exchange of a session.

    Attributes:
        number: 1 for the first.
        user: What was said or done.
        status: ok; ask: a question that changed nothing; refused; failed.
        action: What it was taken for: plan, edit, undo, redo, go_to, video or none.
        reply: What was understood or asked, in plain words.
        plan: The timeline after it; None before there is one.
        notes: What was assumed, adjusted or repaired.
        kept: Steps that sound as before without being made again.
        regenerated: Steps of which something was made.
        windows: Images that were made for them.
        failed: Step id -> why its sound could not be made; it is silent.
        parent: The turn whose timeline this one changed; None for the first, and for turns that changed nothing.
        head: The turn whose timeline counts after this one.
        video: The video under the timeline.
        widths: Step id -> mel columns of the windows that its sound is joined from.
        seconds: Wall time of this turn.
        at: When, in ISO 8601 (UTC).
        play: Makes `sound`; None without a plan.
    """

    number: int
    user: str
    status: Status
    action: str
    reply: str
    plan: Plan | None = None
    notes: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    regenerated: tuple[str, ...] = ()
    windows: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    parent: int | None = None
    head: int | None = None
    video: SessionVideo | None = None
    widths: dict[str, tuple[int, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    at: str = ""
    play: Callable[[], TimelineSound] | None = field(default=None, repr=False, compare=False)

    @property
    def timeline(self) -> Timeline | None:
        """The plan with its video and the windows of its steps; None before there is one."""
        return None if self.plan is None else Timeline(self.plan, self.video, self.widths)

    @property
    def sound(self) -> TimelineSound | None:
        """What the timeline sounds like, read from what is kept; a damaged sound is made again. None without a plan."""
        return None if self.play is None else self.play()

    @property
    def audio(self) -> Audio | None:
        """The mix, `(samples,)` or `(samples, 2)`."""
        sound = self.sound
        return None if sound is None else sound.audio

    @property
    def stems(self) -> dict[str, Audio]:
        """Step id -> its sound at its place and level."""
        sound = self.sound
        return {} if sound is None else sound.stems

    def record(self) -> dict[str, Any]:
        """This turn as a line of the log; the plan only where the turn made one."""
        values: dict[str, Any] = {
            "kind": "turn",
            "turn": self.number,
            "at": self.at,
            "user": self.user,
            "status": self.status,
            "action": self.action,
            "reply": self.reply,
            "notes": list(self.notes),
            "head": self.head,
        }
        if self.made_plan and self.plan is not None:
            values |= {
                "parent": self.parent,
                "kept": list(self.kept),
                "regenerated": list(self.regenerated),
                "windows": self.windows,
                "widths": {name: list(widths) for name, widths in self.widths.items()},
                "failed": self.failed,
                "seconds": round(self.seconds, 3),
                "plan": self.plan.model_dump(mode="json"),
            }
            if (video := self.video) is not None:
                values["video"] = {"file": video.path.name, "sha256": video.sha256, "duration_s": video.duration_s}
        return values

    @property
    def made_plan(self) -> bool:
        """Whether this turn made a new timeline, which undo and redo reach."""
        return self.status == "ok" and self.action in ("plan", "edit", "video")
