"""Planning by the text answers of a language model, wherever they come from."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

from audio_agent_zoo.planner import errors
from audio_agent_zoo.planner.plan import Plan, PlannerInfo, clean_text
from audio_agent_zoo.planner.prompts import AGAIN, PROMPT_VERSION, chat_messages
from audio_agent_zoo.planner.recording import Recording
from audio_agent_zoo.planner.repair import repair_plan
from audio_agent_zoo.planner.reply_parser import parse_reply
from audio_agent_zoo.planner.revision import Revision, revise_plan
from audio_agent_zoo.planner.rule_planner import MAX_REQUEST_CHARACTERS
from audio_agent_zoo.rates import check_duration

log = logging.getLogger(__name__)
Result = TypeVar("Result")

MAX_DETAIL_CHARACTERS = 300
"""Most that is shown of what a model or a server said."""


class ChatPlanner(ABC):
    """Plans any request through a language model, in the paper's manner.

    Args:
        model: Name of the language model.
        deadline_s: Wall-clock seconds for everything, waits included.
        max_attempts: Times it is asked at most.
        max_polyphony: Most sounds at once.
        on_wait: Called as `(kind of error, seconds)` before a pause.
        record: File that every answer is added to, for a `RecordedPlanner`.
    """

    def __init__(
        self,
        model: str,
        *,
        deadline_s: float = 60.0,
        max_attempts: int = 3,
        max_polyphony: int = 2,
        on_wait: Callable[[str, float], None] | None = None,
        record: str | Path | None = None,
    ) -> None:
        self.model = model
        self.deadline_s, self.max_attempts, self.max_polyphony = deadline_s, max_attempts, max_polyphony
        self.on_wait = on_wait
        self._record = None if record is None else Recording(record, model)

    def plan(self, text: str, duration_s: float = 10.0, *, history: Sequence[tuple[str, str]] = ()) -> Plan:
        """Plan a request.

        Args:
            text: The request, at most 4,000 characters.
            duration_s: Length in seconds, unless the text names one.
            history: Earlier `(request, plan as JSON)` turns of the conversation.

        Raises:
            ValueError: If the text is empty or too long, or the duration unusable.
            PlannerError: One kind per way to fail; see `audio_agent_zoo.planner.errors`.
        """
        request = self._checked(text, duration_s)

        def read(reply: dict[str, Any]) -> Plan:
            return self._as_plan(reply, request, duration_s)

        return self._answered(chat_messages(request, duration_s, self.max_polyphony, history), read)

    def revise(
        self,
        text: str,
        plan: Plan | None,
        *,
        duration_s: float = 10.0,
        history: Sequence[tuple[str, str]] = (),
        next_id: int = 1,
    ) -> Revision:
        """Change a plan as a request says, or plan anew.

        Args:
            text: The request, at most 4,000 characters.
            plan: The plan that counts; None where there is none yet.
            duration_s: Length of a first plan in seconds, unless the text names one.
            history: Earlier `(request, plan as JSON)` turns of the conversation.
            next_id: Smallest number that no step of the conversation ever had.

        Raises:
            ValueError: If the text is empty or too long, or the duration unusable.
            PlannerError: As `plan`.
        """
        request = self._checked(text, duration_s)
        length = duration_s if plan is None else plan.duration_s
        polyphony = self.max_polyphony if plan is None else max(self.max_polyphony, plan.max_polyphony)

        def read(reply: dict[str, Any]) -> Revision:
            return revise_plan(
                reply,
                plan,
                request=request,
                planner=self._info(),
                next_id=next_id,
                duration_s=length,
                max_polyphony=self.max_polyphony,
            )

        return self._answered(chat_messages(request, length, polyphony, history, plan), read)

    def _info(self) -> PlannerInfo:
        return PlannerInfo(name="openai", model=self.model, prompt_version=PROMPT_VERSION)

    @staticmethod
    def _checked(text: str, duration_s: float) -> str:
        check_duration(duration_s)
        request = clean_text(text)
        if not request:
            raise ValueError("the request is empty; say what you want to hear.")
        if len(request) > MAX_REQUEST_CHARACTERS:
            raise ValueError(
                f"the request has {len(request)} characters, at most {MAX_REQUEST_CHARACTERS} are accepted."
            )
        return request

    def _answered(self, messages: list[dict[str, str]], read: Callable[[dict[str, Any]], Result]) -> Result:
        """What `read` makes of the answer, asked for again where it makes nothing of it."""
        started = monotonic()
        deadline = started + self.deadline_s
        asked_again = False
        for attempt in range(1, self.max_attempts + 1):
            try:
                content = self._recorded(messages, deadline)
                log.info("planner %s answered on attempt %d after %.1f s", self.model, attempt, monotonic() - started)
                return read(parse_reply(content))
            except errors.MalformedPlanError:
                if asked_again or attempt == self.max_attempts:
                    raise
                asked_again = True
                messages = [*messages, {"role": "user", "content": AGAIN}]
            except errors.PlannerError as error:
                if not error.retryable or attempt == self.max_attempts:
                    raise
                self._wait(error, attempt, deadline)
        raise AssertionError("every attempt returns or raises")

    def _recorded(self, messages: list[dict[str, str]], deadline: float) -> str:
        """The text of one answer, added to the record where one is kept; a refusal is an answer too."""
        try:
            content = self._content(messages, deadline)
        except errors.RefusalError as refusal:
            if self._record is not None:
                self._record.add(messages, str(refusal), refused=True)
            raise
        if self._record is not None:
            self._record.add(messages, content)
        return content

    @abstractmethod
    def _content(self, messages: list[dict[str, str]], deadline: float) -> str:
        """The text of one answer.

        Args:
            messages: What the language model is told.
            deadline: Instant of the monotonic clock by which it must be there.
        """

    def _as_plan(self, reply: dict[str, Any], request: str, duration_s: float) -> Plan:
        said = clean_text(str(reply.get("reply") or ""))[:MAX_DETAIL_CHARACTERS]
        if reply.get("mode") == "refuse":
            raise errors.RefusalError(
                f"the planner declined: {said or 'no reason given'}. Word the request differently."
            )
        if reply.get("mode") == "ask":
            raise errors.QuestionError(f"the planner asks: {said or 'please say more'}")
        return repair_plan(
            reply, duration_s=duration_s, request=request, planner=self._info(), max_polyphony=self.max_polyphony
        )

    def _wait(self, error: errors.PlannerError, attempt: int, deadline: float) -> None:
        """Pause before the next attempt, as long as the server asked for; give up if that is past the deadline."""
        pause = error.retry_after_s if error.retry_after_s is not None else min(8.0, 0.5 * 2 ** (attempt - 1))
        if monotonic() + pause >= deadline:
            raise error
        log.info("planner %s: %s, next attempt in %.1f s", self.model, error.kind, pause)
        if self.on_wait:
            self.on_wait(error.kind, pause)
        sleep(pause)
