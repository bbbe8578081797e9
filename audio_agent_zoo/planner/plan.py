"""The contract between planner, renderer and mixer: a plan of timed steps, in and out of JSON."""

import json
import re
import unicodedata
from hashlib import sha256
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

SCHEMA_VERSION: Literal[1] = 1
MAX_STEPS = 32
MIN_STEP_S = 0.25
MAX_PROMPT_CHARACTERS = 200
FOREGROUND_LUFS, BACKGROUND_LUFS = -18.0, -26.0

Seconds = Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Step(_Frozen):
    """One sound on the timeline.

    Attributes:
        id: Short name, `e1`, `e2`, ...; stable over the turns of a conversation.
        prompt: Atomic caption: one source, one action.
        start_s: Start in seconds.
        end_s: End in seconds; the interval is half-open.
        level_lufs: Loudness in the mix.
        layer: A foreground event, or a background bed.
        kind: Sound effect, music or speech.
        source: Made from its prompt, or from a video.
        pan: -1 (left) to 1 (right).
        fade_in_s: Fade-in in seconds.
        fade_out_s: Fade-out in seconds.
        seed: Seed of its sound; None to derive one from the prompt.
        take: Another take of the same prompt gets another number.
        negative_prompt: What its sound must not hold.
        locked: Not to be changed by a planner.
        muted: Left out of the mix.
    """

    id: Annotated[str, Field(pattern=r"^e[1-9]\d{0,5}$")]
    prompt: str
    start_s: Seconds
    end_s: Seconds
    level_lufs: Annotated[float, Field(ge=-60, le=0, allow_inf_nan=False)] = FOREGROUND_LUFS
    layer: Literal["foreground", "background"] = "foreground"
    kind: Literal["sfx", "music", "speech"] = "sfx"
    source: Literal["text", "video"] = "text"
    pan: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] = 0.0
    fade_in_s: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 0.01
    fade_out_s: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 0.05
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    take: Annotated[int, Field(ge=0, lt=2**31)] = 0
    negative_prompt: str = ""
    locked: bool = False
    muted: bool = False

    @field_validator("prompt", "negative_prompt", mode="after")
    @classmethod
    def _plain_text(cls, value: str, info: Any) -> str:
        text = clean_text(value)
        if info.field_name == "prompt" and not text:
            raise ValueError("a prompt is empty; say what sounds.")
        if len(text) > MAX_PROMPT_CHARACTERS:
            raise ValueError(f"a prompt has {len(text)} characters; at most {MAX_PROMPT_CHARACTERS} are accepted.")
        return text

    @model_validator(mode="after")
    def _has_length(self) -> "Step":
        if self.end_s - self.start_s < MIN_STEP_S - 1e-6:
            raise ValueError(
                f"step {self.id} lasts from {self.start_s} to {self.end_s} s; give it at least {MIN_STEP_S} s."
            )
        return self

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s

    @property
    def render_key(self) -> str:
        """Identity of its sound: whatever it holds, the sound must be made again when it changes.

        Time, level, pan, fades, mute and lock are not in it: those are the mixer's.
        """
        return _digest(
            {
                "prompt": canonical(self.prompt),
                "negative_prompt": canonical(self.negative_prompt),
                "source": self.source,
                "seed": self.seed,
                "take": self.take,
            }
        )


class PlannerInfo(_Frozen):
    """Which planner made a plan.

    Attributes:
        name: rules, openai or user.
        model: Model of a chat API, else "".
        prompt_version: Version of its instructions, else "".
    """

    name: str = "user"
    model: str = ""
    prompt_version: str = ""


class Plan(_Frozen):
    """A timeline of steps.

    Attributes:
        duration_s: Length in seconds.
        steps: Its steps in order of start.
        max_polyphony: Most sounds at once.
        profile: "paper" keeps the paper's rule that a step ends with the plan; "free" does not.
        request: What was asked for.
        planner: Who made it.
        notes: What was assumed or repaired, for the user to read.
        schema_version: Version of this contract.
    """

    duration_s: Annotated[float, Field(ge=MIN_STEP_S, le=600, allow_inf_nan=False)]
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=MAX_STEPS)]
    max_polyphony: Annotated[int, Field(ge=1, le=16)] = 2
    profile: Literal["paper", "free"] = "paper"
    request: str = ""
    planner: PlannerInfo = PlannerInfo()
    notes: tuple[str, ...] = ()
    schema_version: Literal[1] = SCHEMA_VERSION

    @model_validator(mode="after")
    def _is_consistent(self) -> "Plan":
        if problems := plan_problems(self.steps, self.duration_s, self.max_polyphony, self.profile):
            raise ValueError(" ".join(problems))
        return self

    @property
    def digest(self) -> str:
        """Identity of the whole plan (sha256 of its canonical JSON)."""
        return _digest(self.model_dump(mode="json"))

    def to_json(self) -> str:
        """The plan as readable JSON."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Read a plan that `to_json` wrote.

        Raises:
            ValueError: If it is no JSON or no valid plan; the message says where.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the plan"
            raise ValueError(f"this is no valid plan: {place}: {first['msg']}") from None


def clean_text(text: str) -> str:
    """NFC text on one line, without control or surrogate characters."""
    kept = (c if unicodedata.category(c)[0] != "C" else " " for c in unicodedata.normalize("NFC", text))
    return re.sub(r"\s+", " ", "".join(kept)).strip()


def canonical(prompt: str) -> str:
    """Prompt without the differences that don't change its sound: case, spaces, a final stop."""
    return clean_text(prompt).lower().rstrip(". ")


def _digest(values: Any) -> str:
    return sha256(json.dumps(values, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def polyphony(steps: tuple[Step, ...]) -> int:
    """Most steps that sound at one instant; touching ends don't count."""
    borders = sorted([(s.start_s, 1) for s in steps] + [(s.end_s, -1) for s in steps], key=lambda b: (b[0], b[1]))
    now = most = 0
    for _, change in borders:
        now += change
        most = max(most, now)
    return most


def plan_problems(steps: tuple[Step, ...], duration_s: float, max_polyphony: int, profile: str) -> list[str]:
    """What keeps steps from being a valid plan; empty if nothing does."""
    problems = []
    if len({step.id for step in steps}) < len(steps):
        problems.append("two steps share an id.")
    for step in steps:
        if step.end_s > duration_s + 1e-6:
            problems.append(f"step {step.id} ends at {step.end_s} s, after the plan's {duration_s} s.")
    if any(a.start_s > b.start_s for a, b in pairwise(steps)):
        problems.append("steps are not in order of start.")
    seen: dict[tuple[str, float, float], str] = {}
    for step in steps:
        key = (canonical(step.prompt), step.start_s, step.end_s)
        if key in seen:
            problems.append(f"steps {seen[key]} and {step.id} are copies of each other.")
        seen[key] = step.id
    if (most := polyphony(steps)) > max_polyphony:
        problems.append(f"{most} steps sound at once, at most {max_polyphony} may.")
    if profile == "paper" and abs(max(step.end_s for step in steps) - duration_s) > 0.05:
        problems.append(f"no step ends at {duration_s} s, the end of the plan.")
    return problems


def plan_table(plan: Plan) -> str:
    """The plan as a text table, with who made it."""
    rows = [("step", "from", "to", "layer", "LUFS", "prompt")]
    rows += [(s.id, f"{s.start_s:.2f}", f"{s.end_s:.2f}", s.layer, f"{s.level_lufs:g}", s.prompt) for s in plan.steps]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[5]]) for row in rows]
    model = f" ({plan.planner.model})" if plan.planner.model else ""
    lines += [f"note: {note}" for note in plan.notes]
    return "\n".join([*lines, f"planner  {plan.planner.name}{model}, {plan.duration_s:g} s"])
