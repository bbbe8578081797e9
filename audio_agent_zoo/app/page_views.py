"""What the page shows of a session: plan cards, the table of steps, the picture. Text of others is always escaped."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audio_agent_zoo.app.filmstrip import read_strip
from audio_agent_zoo.app.timeline import draw_timeline
from audio_agent_zoo.metrics.onsets import CONDFOLEY, detect_onsets
from audio_agent_zoo.planner.plan import Plan, Step
from audio_agent_zoo.studio.plan_changes import plan_of_steps
from audio_agent_zoo.studio.session import Session
from audio_agent_zoo.studio.turn import Turn

COLUMNS = ("step", "what sounds", "from s", "to s", "LUFS", "pan", "muted", "locked", "take", "not this")
"""Heads of the table of steps."""

DATATYPES = ("str", "str", "number", "number", "number", "number", "bool", "bool", "number", "str")

_FIELDS = ("id", "prompt", "start_s", "end_s", "level_lufs", "pan", "muted", "locked", "take", "negative_prompt")


def table_rows(plan: Plan | None) -> list[list[Any]]:
    """The steps as rows of the table."""
    steps = () if plan is None else plan.steps
    return [[getattr(step, name) for name in _FIELDS] for step in steps]


def plan_of_table(rows: Sequence[Sequence[Any]], plan: Plan | None, next_id: int) -> Plan:
    """The plan that a table edited by hand asks for; what the table does not show stays as it was.

    Args:
        rows: Rows under `COLUMNS`; one without a step's name is a new step, an empty one is none.
        plan: The plan the table was filled from.
        next_id: Number of the next new step's id.

    Raises:
        ValueError: If a value is not usable; the message names the row.
    """
    known: dict[str, Step] = {} if plan is None else {step.id: step for step in plan.steps}
    steps: list[dict[str, Any]] = []
    for number, row in enumerate(rows, 1):
        values = dict(zip(_FIELDS, (_cell(value) for value in row), strict=True))
        if values["prompt"] in ("", None) and values["id"] in ("", None):
            continue
        try:
            for name in ("start_s", "end_s", "level_lufs", "pan"):
                values[name] = float(values[name]) if values[name] not in ("", None) else _DEFAULTS[name]
            values["take"] = int(float(values["take"] or 0))
            for name in ("muted", "locked"):
                values[name] = str(values[name]).strip().lower() in ("true", "1", "yes")
        except (TypeError, ValueError):
            raise ValueError(f"row {number} holds {values[name]!r} under {name}; give a number.") from None
        values = {name: "" if value is None else value for name, value in values.items()}
        name = str(values.pop("id"))
        if name not in known:
            name, next_id = f"e{next_id}", next_id + 1
            steps.append({"id": name, **values})
        else:
            steps.append({**known[name].model_dump(), **values})
    return plan_of_steps(plan, steps)


_DEFAULTS = {"start_s": 0.0, "end_s": 2.0, "level_lufs": -18.0, "pan": 0.0}


def _cell(value: Any) -> Any:
    value = value.strip() if isinstance(value, str) else value
    return None if isinstance(value, float) and np.isnan(value) else value


def card(turn: Turn) -> str:
    """A turn's timeline as a small HTML table."""
    if turn.plan is None:
        return ""
    rows = "".join(
        f"<tr><td>{escape(step.id)}</td><td>{step.start_s:g}–{step.end_s:g} s</td><td>{escape(step.prompt)}</td>"
        f"<td>{_state(step, turn)}</td></tr>"
        for step in turn.plan.steps
    )
    return f'<table class="plan-card" aria-label="timeline of turn {turn.number}">{rows}</table>'


def _state(step: Step, turn: Turn) -> str:
    if step.muted:
        return "muted"
    if step.id in turn.failed:
        return "failed"
    return "new" if step.id in turn.regenerated else "kept"


def words(turn: Turn, before: Turn | None = None) -> str:
    """What happened in a turn, in plain text; what the turn before noted already is not said again."""
    lines = [turn.reply, *(note for note in turn.notes if before is None or note not in before.notes)]
    if turn.made_plan:
        made = f"made {', '.join(turn.regenerated)} in {turn.seconds:.1f} s" if turn.regenerated else "nothing made"
        lines.append(f"{made}, {len(turn.kept)} kept")
    return "\n".join(line for line in lines if line)


def lanes(plan: Plan) -> list[Step]:
    """The steps as the picture names them: those that are not heard say so."""
    return [step.model_copy(update={"prompt": f"{step.prompt} (muted)"}) if step.muted else step for step in plan.steps]


def picture(session: Session, turn: Turn) -> Image.Image | None:
    """The timeline picture of a turn."""
    sound = turn.sound
    if sound is None or turn.plan is None:
        return None
    video = session.video
    with TemporaryDirectory() as folder:
        path = Path(folder) / "timeline.png"
        draw_timeline(
            path,
            sound.audio,
            sound.sample_rate,
            lanes(turn.plan),
            title=turn.plan.request or turn.user,
            notes=turn.notes,
            frames=None if video is None else read_strip(video.path),
            onsets_s=detect_onsets(sound.audio, sound.sample_rate, CONDFOLEY).times_s.tolist(),
        )
        with Image.open(path) as image:
            return image.convert("RGB")


def playable(audio: NDArray[np.floating], sample_rate: int) -> tuple[int, NDArray[np.int16]]:
    """Sound as a player takes it, without the player's own normalisation."""
    return sample_rate, (np.clip(audio, -1, 1) * 32767).round().astype(np.int16)


def measured(turn: Turn) -> str:
    """Length, loudness and peak of a turn's mix, in words."""
    from audio_agent_zoo.loudness import loudness_lufs, true_peak_dbtp

    sound = turn.sound
    if sound is None:
        return ""
    loudness = loudness_lufs(sound.audio, sound.sample_rate)
    peak = true_peak_dbtp(sound.audio, sound.sample_rate)
    seconds = len(sound.audio) / sound.sample_rate
    return f"{seconds:.2f} s · {loudness:.1f} LUFS · peak {peak:.1f} dBTP"
