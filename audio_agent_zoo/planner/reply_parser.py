"""Find the plan in what a language model wrote: JSON in any wrapping, or the paper's one-string grammar."""

import json
import re
from itertools import pairwise
from typing import Any

from audio_agent_zoo.planner.errors import MalformedPlanError

MAX_REPLY_CHARACTERS = 200_000

_THINKING = re.compile(r"<(think|thinking|reasoning)>.*?(?:</\1>|\Z)", re.S | re.I)
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")
_CALL = re.compile(r"\.\s*generate\s*\(", re.I)
_OPENING = "'\"‘’“”"
# A caption may hold apostrophes, so it ends only at a quote that the next argument or the call's end follows.
_CAPTION = re.compile(
    rf"^\s*(?:(?:text|prompt|caption)\s*=\s*)?[{_OPENING}](.*?)[{_OPENING}]\s*(?=,\s*(?:start_time|end_time|volume)\s*=|$)",
    re.S | re.I,
)
_ARGUMENT = re.compile(r"\b(start_time|end_time|volume)\s*=\s*(-?\d+(?:\.\d+)?)", re.I)


def parse_reply(text: str) -> dict[str, Any]:
    """Read a model's reply as a mapping that `repair_plan` takes.

    Args:
        text: The reply; it is data, and nothing in it is ever executed.

    Raises:
        MalformedPlanError: If it holds neither a JSON object with events nor a call of the paper's grammar.
    """
    body = _THINKING.sub(" ", text[:MAX_REPLY_CHARACTERS])
    for candidate in _json_objects(body):
        if isinstance(candidate.get("plan"), str) and (events := parse_calls(candidate["plan"])):
            rest = {key: value for key, value in candidate.items() if key != "plan"}
            return {**rest, "events": events}
        if any(isinstance(candidate.get(key), list) for key in ("events", "steps", "plan")) or candidate.get(
            "mode"
        ) in ("ask", "refuse"):
            return candidate
    if events := parse_calls(body):
        return {"events": events}
    raise MalformedPlanError("the planner's answer holds no plan; try again, use a stronger model, or planner='rules'.")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _json_objects(text: str) -> list[dict[str, Any]]:
    """Outermost JSON objects of a text, those with trailing commas too; NaN and infinities make one invalid."""
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    found: list[dict[str, Any]] = []
    for source in dict.fromkeys((text, _TRAILING_COMMA.sub(r"\1", text))):
        at, attempts = source.find("{"), 0
        while at >= 0 and attempts < 200:
            attempts += 1
            try:
                value, end = decoder.raw_decode(source, at)
            except (ValueError, RecursionError):
                end = at + 1
            else:
                if isinstance(value, dict):
                    found.append(value)
            at = source.find("{", end)
    return found


def parse_calls(text: str) -> list[dict[str, Any]]:
    """Calls of the paper's grammar, `Auffusion.generate('caption',start_time=2,end_time=5,volume=-20)`.

    Straight and curly quotes, apostrophes and parentheses in captions, and any order of the keywords are read.
    Source: Audio-Agent, Tables 8-11; the volume is that of the authors' supplement.
    """
    starts = [match.end() for match in _CALL.finditer(text)]
    events = []
    for start, stop in pairwise([*starts, len(text)]):
        chunk = text[start:stop]
        # The arguments end at the last parenthesis before the next call.
        inside = chunk[: chunk.rfind(")")] if ")" in chunk else chunk
        caption = _CAPTION.match(inside)
        if caption is None:
            continue
        values = {key.lower(): float(value) for key, value in _ARGUMENT.findall(inside[caption.end() :])}
        event: dict[str, Any] = {"prompt": caption.group(1)}
        for key, name in (("start_time", "start"), ("end_time", "end"), ("volume", "level")):
            if key in values:
                event[name] = values[key]
        events.append(event)
    return events
