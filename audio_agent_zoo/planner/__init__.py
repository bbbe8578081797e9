"""Planners: a request in, a plan of timed steps out. Nothing here imports torch."""

import os
from typing import Protocol

from audio_agent_zoo.planner.errors import PlannerError
from audio_agent_zoo.planner.plan import Plan, Step, plan_table

__all__ = ["Plan", "Planner", "PlannerError", "Step", "make_planner", "plan_table"]


class Planner(Protocol):
    """Anything that turns a request into a plan."""

    def plan(self, text: str, duration_s: float = 10.0) -> Plan:
        """Plan a request of the given length in seconds."""


def make_planner(choice: "str | Planner" = "auto") -> Planner:
    """Choose a planner.

    Args:
        choice: "rules", "openai", a planner, or "auto": the chat API where a key or a server is configured in the
            environment, else the rules. A planner that fails is an error; nothing falls back to another.

    Raises:
        ValueError: For an unknown name.
    """
    if not isinstance(choice, str):
        return choice
    if choice not in ("auto", "rules", "openai"):
        raise ValueError(f"planner is {choice!r}; choose auto, rules, openai, or give a planner object.")
    from audio_agent_zoo.planner.openai_planner import BASE_URL_ENV, OpenAIPlanner
    from audio_agent_zoo.planner.rule_planner import RulePlanner

    configured = os.environ.get(BASE_URL_ENV) or os.environ.get("OPENAI_API_KEY")
    if choice == "openai" or (choice == "auto" and configured):
        return OpenAIPlanner()
    return RulePlanner()
