"""One turn of a conversation over a timeline: what was said in, the next plan and a plain answer out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from audio_agent_zoo.planner import Planner
from audio_agent_zoo.planner.clauses import looks_like_sound
from audio_agent_zoo.planner.composition import compose
from audio_agent_zoo.planner.draft import Draft
from audio_agent_zoo.planner.edit_grammar import parse_edits
from audio_agent_zoo.planner.edit_patterns import MECHANICAL, Edit
from audio_agent_zoo.planner.edits import APPLIED, apply
from audio_agent_zoo.planner.errors import QuestionError, RefusalError
from audio_agent_zoo.planner.insertion import insert, move_into, replace_steps
from audio_agent_zoo.planner.plan import Plan, PlannerInfo, clean_text
from audio_agent_zoo.planner.referents import listed, name, seconds
from audio_agent_zoo.planner.revision import RevisingPlanner, told
from audio_agent_zoo.planner.rule_planner import check_request

_RULES = PlannerInfo(name="rules")
_NOTHING_YET = "There is nothing to change yet. What do you want to hear?"
_ASKS = re.compile(r"(?:what|which|who|why|how|where|when|is|are|do|does|did)\b", re.I)
_INVENTS_NOTHING = "The offline planner adds only what you name; name the sounds you want to add."


@dataclass(frozen=True)
class Answer:
    """What a turn of a conversation leads to.

    Attributes:
        status: "ok"; "ask" with one question in the reply, or "refused", both of which change nothing.
        action: "plan" with a new plan; "undo" and "redo", which the session carries out; "none".
        plan: The plan after the turn where the action is "plan", else None.
        reply: What was understood, in a sentence or two.
        notes: What had to give way.
    """

    status: Literal["ok", "ask", "refused"]
    action: Literal["plan", "undo", "redo", "none"]
    plan: Plan | None
    reply: str
    notes: tuple[str, ...] = ()


def respond(
    planner: Planner,
    text: str,
    *,
    plan: Plan | None,
    earlier: Sequence[Plan] = (),
    history: Sequence[tuple[str, str]] = (),
    recent: Sequence[str] = (),
    next_id: int = 1,
    duration_s: float = 10.0,
) -> Answer:
    """Answer a turn.

    Args:
        planner: Plans what is new; one that can `revise` a plan is also asked for edits that the rules don't settle.
        text: What was said.
        plan: The plan that counts; None to plan anew.
        earlier: Plans of the session's turns, oldest first, for "the first result".
        history: `(request, plan as JSON)` of the last turns, for a planner that revises.
        recent: Ids that the last turn added or changed, for "it".
        next_id: Smallest number that no step of the session ever had.
        duration_s: Length of a new plan in seconds, unless the text names one.

    Raises:
        ValueError: If the text is empty or too long.
        PlannerError: If the planner fails, or its language is not that of the text.
    """
    try:
        if not any(c.isalpha() for c in text):
            raise QuestionError("What do you want to hear?" if plan is None else "What do you want to change?")
        edits = parse_edits(text)
        if edits is not None and len(edits) == 1 and edits[0].kind in ("undo", "redo"):
            kind = edits[0].kind
            return Answer("ok", "undo" if kind == "undo" else "redo", None, "Undone." if kind == "undo" else "Redone.")
        if isinstance(planner, RevisingPlanner):
            return _revised(planner, text, edits, plan, earlier, history, recent, next_id, duration_s)
        if plan is None:
            return _first(planner, text, edits, next_id, duration_s)
        check_request(text)
        if edits is None:
            raise QuestionError(_unclear(text))
        return _edited(planner, text, edits, plan, earlier, recent, next_id, duration_s)
    except QuestionError as question:
        return Answer("ask", "none", None, str(question))
    except RefusalError as refusal:
        return Answer("refused", "none", None, str(refusal))


def _revised(
    planner: RevisingPlanner,
    text: str,
    edits: list[Edit] | None,
    plan: Plan | None,
    earlier: Sequence[Plan],
    history: Sequence[tuple[str, str]],
    recent: Sequence[str],
    next_id: int,
    duration_s: float,
) -> Answer:
    """A turn with a chat planner; edits at the mixer that the rules understand whole need no call of it."""
    question: QuestionError | None = None
    if plan is not None and edits and all(edit.kind in MECHANICAL for edit in edits):
        try:
            return _edited(planner, text, edits, plan, earlier, recent, next_id, duration_s)
        except QuestionError as unclear:
            question = unclear
    revision = planner.revise(text, plan, duration_s=duration_s, history=history, next_id=next_id)
    if revision.plan is None:
        if question is not None:
            raise question
        return Answer("ok", "none", None, revision.said or "Nothing changed.", revision.notes)
    ours = _summary(revision.plan) if plan is None else told(plan, revision.plan)
    return Answer("ok", "plan", revision.plan, f"{revision.said} {ours}".strip(), revision.notes)


def _unclear(text: str) -> str:
    said = clean_text(text).rstrip(".!?")
    shown = said if len(said) <= 60 else said[:60] + "…"
    if not looks_like_sound(said) or _ASKS.match(said):
        return f"I did not understand '{shown}'. Which sound shall I add, change or remove?"
    return f"Shall I add '{shown}', or begin anew with it? Say 'add …' or 'something new: …'."


def _first(planner: Planner, text: str, edits: list[Edit] | None, next_id: int, duration_s: float) -> Answer:
    """Plan anew; an edit of nothing is asked about."""
    request = text
    if edits:
        if any(edit.kind in APPLIED or edit.kind in ("remove", "replace", "earlier") for edit in edits[:1]):
            raise QuestionError(_NOTHING_YET)
        if len(edits) == 1 and edits[0].kind in ("new", "insert"):
            request = edits[0].content
    return _new(planner, request, next_id, duration_s, ())


def _new(planner: Planner, request: str, next_id: int, duration_s: float, notes: Sequence[str]) -> Answer:
    if not any(c.isalpha() for c in request):
        raise QuestionError("What do you want to hear?")
    made = planner.plan(request, duration_s=duration_s)
    steps = tuple(step.model_copy(update={"id": f"e{next_id + i}"}) for i, step in enumerate(made.steps))
    made = made.model_copy(update={"steps": steps})
    return Answer("ok", "plan", made, _summary(made), tuple(dict.fromkeys([*notes, *made.notes])))


def _summary(plan: Plan) -> str:
    """A plan in a sentence."""
    count = "One sound" if len(plan.steps) == 1 else f"{len(plan.steps)} sounds"
    shown = [name(step) for step in plan.steps[:4]]
    if len(plan.steps) > 4:
        shown = [*shown[:3], f"{len(plan.steps) - 3} more"]
    return f"{count} in {seconds(plan.duration_s)} s: {listed(shown)}."


def _edited(
    planner: Planner,
    text: str,
    edits: Sequence[Edit],
    plan: Plan,
    earlier: Sequence[Plan],
    recent: Sequence[str],
    next_id: int,
    duration_s: float,
) -> Answer:
    """Carry out edits one after the other; a question at any of them leaves the plan as it was."""
    draft = Draft(plan, recent, next_id, earlier)
    for edit in edits:
        if edit.kind == "new":
            if len(edits) > 1:
                raise QuestionError("Shall I begin anew, or change what is there? Please ask for one at a time.")
            if locked := [step for step in plan.steps if step.locked]:
                raise QuestionError(f"{name(locked[0])} is locked and would go. Unlock it first?")
            return _new(planner, edit.content, next_id, duration_s, ())
        if edit.kind in ("undo", "redo"):
            raise QuestionError(f"Please say '{edit.kind}' by itself. Shall I {edit.kind} first?")
        if edit.kind == "earlier":
            compose(draft, edit.content, planner, earlier or (plan,))
        elif edit.kind == "insert":
            if edit.other == "move":
                move_into(draft, edit.target, edit.content)
            else:
                insert(draft, edit.content, planner, over=edit.other == "over")
        elif edit.kind == "replace":
            _replace(draft, edit, planner)
        elif edit.kind == "remove":
            _remove(draft, edit)
        elif edit.kind == "permit":
            draft.notes.append(_INVENTS_NOTHING)
        else:
            apply(draft, edit)
    made = draft.finish(text, _RULES)
    reply = " ".join(dict.fromkeys(draft.said))
    if made is None:
        reply = reply or " ".join(draft.notes) or "That is how it is already."
        return Answer("ok", "none", None, reply, tuple(draft.notes))
    return Answer("ok", "plan", made, reply or "The plan changed.", made.notes)


def _replace(draft: Draft, edit: Edit, planner: Planner) -> None:
    """Other sounds at the same time; "change it" without one sound in mind is the whole scene."""
    try:
        steps = draft.unlocked(edit.target)
    except QuestionError:
        if edit.target.lower() not in ("it", "this", "that") or any(step.locked for step in draft.steps):
            raise
        steps = tuple(draft.steps)
    replace_steps(draft, steps, edit.content, planner)


def _remove(draft: Draft, edit: Edit) -> None:
    steps = draft.unlocked(edit.target)
    if len(steps) == len(draft.steps):
        which = f"{name(steps[0])} is the only sound" if len(steps) == 1 else "Those are all the sounds"
        raise QuestionError(f"{which}; without it nothing is left. What do you want to hear instead?")
    draft.remove(steps)
    draft.said.append(f"{listed([name(step) for step in steps])} {'is' if len(steps) == 1 else 'are'} gone.")
