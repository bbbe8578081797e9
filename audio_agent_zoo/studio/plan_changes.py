"""Changes of a plan that are made by hand: a field of a step, a video under all of it; and what changed, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from audio_agent_zoo.planner.plan import (
    MAX_PROMPT_CHARACTERS,
    MIN_STEP_S,
    Plan,
    PlannerInfo,
    Step,
    clean_text,
    polyphony,
)

_WITHOUT_CAPTION = "the sound of the picture"


def with_step_changed(plan: Plan, step_id: str, values: Mapping[str, Any]) -> Plan:
    """The plan with some fields of one step changed.

    Args:
        plan: The plan.
        step_id: A step of it.
        values: Fields of `Step` and their new values.

    Raises:
        ValueError: If there is no such field, or the plan would not be valid; the message says why.
    """
    if "id" in values:
        raise ValueError("a step keeps its id; change its other fields, or remove it and add another.")
    steps = [{**step.model_dump(), **(values if step.id == step_id else {})} for step in plan.steps]
    return plan_of_steps(plan, steps)


def plan_of_steps(plan: Plan | None, steps: Sequence[Mapping[str, Any]]) -> Plan:
    """The plan with other steps, in order of their start; without a plan, as long as they last.

    Args:
        plan: The plan so far; its length and rules stay, but for those that only a planner must keep.
        steps: Fields of each step.

    Raises:
        ValueError: If they make no valid plan; the message says why.
    """
    if not steps:
        raise ValueError("the timeline would be empty; leave at least one step, or undo.")
    name = ""
    try:
        checked = list[Step]()
        for step in steps:
            name = f"{step.get('id', 'a step')} can't be so: "
            checked.append(Step.model_validate(step))
        name = "the timeline can't be so: "
        checked.sort(key=lambda step: step.start_s)
        rules = {"duration_s": max(step.end_s for step in checked)} if plan is None else dict(plan)
        # What a hand puts there may overlap and end as it likes.
        free = {"profile": "free", "max_polyphony": max(polyphony(tuple(checked)), rules.get("max_polyphony", 2))}
        return Plan.model_validate({**rules, **free, "steps": tuple(checked)})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{name}{place + ': ' if place else ''}{message}") from None


def over_video(plan: Plan | None, duration_s: float, caption: str | None, number: int) -> tuple[Plan, Step]:
    """The plan over a video: its length, its sound as a step, and the steps from text that were there.

    Args:
        plan: The plan so far; a video that is under it already gives way.
        duration_s: Length of the video in seconds.
        caption: What the picture sounds like.
        number: Number of the new step's id.

    Returns:
        The plan, and the step that sounds from the video.

    Raises:
        ValueError: If a step reaches beyond the video's end.
    """
    length = max(round(duration_s, 6), MIN_STEP_S)
    text = clean_text(caption or "")[:MAX_PROMPT_CHARACTERS] or _WITHOUT_CAPTION
    others = [] if plan is None else [step for step in plan.steps if step.source == "text"]
    if late := [step.id for step in others if step.end_s > length + 1e-6]:
        raise ValueError(f"{', '.join(late)} last beyond the video's {length:g} s; shorten or remove them first.")
    own = Step(id=f"e{number}", prompt=text, start_s=0.0, end_s=length, source="video")
    steps = tuple(sorted([own, *others], key=lambda step: step.start_s))
    planner = PlannerInfo(name="user")
    return (
        Plan(duration_s=length, steps=steps, max_polyphony=16, profile="free", request=text, planner=planner),
        own,
    )


def difference(before: Plan | None, after: Plan) -> str:
    """What changed from one plan to another, in words."""
    old: Mapping[str, Step] = {} if before is None else {step.id: step for step in before.steps}
    new = {step.id: step for step in after.steps}
    kinds = {
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "changed": [name for name in new if name in old and new[name] != old[name]],
    }
    said = [f"{word} {', '.join(names)}" for word, names in kinds.items() if names]
    if before is not None and before.duration_s != after.duration_s:
        said.append(f"length {after.duration_s:g} s")
    return ("; ".join(said) or "nothing changed").capitalize() + "."
