"""Planning by a chat API: OpenAI's, or any server that speaks its protocol."""

import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import urlparse

from audio_agent_zoo.planner import errors
from audio_agent_zoo.planner.plan import Plan, PlannerInfo, clean_text
from audio_agent_zoo.planner.prompts import AGAIN, PROMPT_VERSION, WIRE_SCHEMA, chat_messages
from audio_agent_zoo.planner.repair import repair_plan
from audio_agent_zoo.planner.reply_parser import parse_reply
from audio_agent_zoo.planner.revision import Revision, revise_plan
from audio_agent_zoo.planner.rule_planner import MAX_REQUEST_CHARACTERS
from audio_agent_zoo.rates import check_duration

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)
Result = TypeVar("Result")

DEFAULT_MODEL = "gpt-4.1"
MODEL_ENV, BASE_URL_ENV, KEY_ENV = (
    "AUDIO_AGENT_PLANNER_MODEL",
    "AUDIO_AGENT_PLANNER_BASE_URL",
    "AUDIO_AGENT_PLANNER_API_KEY",
)
_OPENAI_HOST = "api.openai.com"
_MAX_REPLY_BYTES = 2_000_000
_MAX_DETAIL_CHARACTERS = 300
_KEY_LIKE = re.compile(r"\b(?:sk|pk|key|hf)[-_][A-Za-z0-9_*.\-]{4,}", re.I)
_ABOUT_FORMAT = re.compile(r"response_format|json_schema|json_object|schema|grammar|structured|format", re.I)
_RUNGS: tuple[dict[str, Any] | None, ...] = (
    {"type": "json_schema", "json_schema": {"name": "sound_plan", "strict": True, "schema": WIRE_SCHEMA}},
    {"type": "json_object"},
    None,
)
"""Ways to ask for JSON, the strictest first; servers differ in which they know."""


class OpenAIPlanner:
    """Plans any request through a chat API, in the paper's manner.

    The key is read from the environment at each call and kept nowhere: not on this object, nor in a log, an
    error or a plan.

    Args:
        model: Model name; the environment's AUDIO_AGENT_PLANNER_MODEL, else OpenAI's default here.
        base_url: Address of a compatible server; AUDIO_AGENT_PLANNER_BASE_URL, else OpenAI.
        api_key_env: Name of the variable that holds the key; OPENAI_API_KEY for OpenAI itself,
            AUDIO_AGENT_PLANNER_API_KEY for another server, which then may need none.
        deadline_s: Wall-clock seconds for everything, waits included.
        max_attempts: Requests at most, not counting steps down the ladder of formats.
        max_polyphony: Most sounds at once.
        on_wait: Called as `(kind of error, seconds)` before a pause.

    Raises:
        ValueError: If another server is named without a model.
    """

    _known_rungs: ClassVar[dict[tuple[str, str], int]] = {}

    def __init__(
        self,
        model: str | None = None,
        *,
        base_url: str | None = None,
        api_key_env: str | None = None,
        deadline_s: float = 60.0,
        max_attempts: int = 3,
        max_polyphony: int = 2,
        on_wait: Callable[[str, float], None] | None = None,
    ) -> None:
        self.base_url = base_url or os.environ.get(BASE_URL_ENV) or f"https://{_OPENAI_HOST}/v1"
        self.is_openai = urlparse(self.base_url).hostname == _OPENAI_HOST
        self.model = model or os.environ.get(MODEL_ENV) or (DEFAULT_MODEL if self.is_openai else "")
        if not self.model:
            raise ValueError(f"{self.base_url} needs a model name; give model=... or set {MODEL_ENV}.")
        self.api_key_env = api_key_env or ("OPENAI_API_KEY" if self.is_openai else KEY_ENV)
        self.deadline_s, self.max_attempts, self.max_polyphony = deadline_s, max_attempts, max_polyphony
        self.on_wait = on_wait

    def __repr__(self) -> str:
        """Model and server; never a key."""
        return f"OpenAIPlanner(model={self.model!r}, base_url={self.base_url!r}, api_key_env={self.api_key_env!r})"

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
        deadline = monotonic() + self.deadline_s
        asked_again = False
        started = monotonic()
        for attempt in range(1, self.max_attempts + 1):
            try:
                reply = parse_reply(self._content(messages, deadline))
                log.info(
                    "planner %s answered on attempt %d after %.1f s",
                    self.model,
                    attempt,
                    monotonic() - started,
                )
                return read(reply)
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

    def _as_plan(self, reply: dict[str, Any], request: str, duration_s: float) -> Plan:
        said = clean_text(str(reply.get("reply") or ""))[:_MAX_DETAIL_CHARACTERS]
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

    def _key(self) -> str:
        key = os.environ.get(self.api_key_env, "").strip()
        if key and not key.isascii():
            raise errors.MissingKeyError(
                f"the key in {self.api_key_env} holds characters that no key has; set it again."
            )
        if not key and self.is_openai:
            raise errors.MissingKeyError(
                f"{self.api_key_env} is not set. Set it to your key, point {BASE_URL_ENV} at a local server, "
                "or use planner='rules'."
            )
        # A server of one's own often wants no key, but the client insists on some text.
        return key or "none"

    def _client(self, key: str) -> "openai.OpenAI":
        import openai

        # OpenAI's own organisation and project must not travel to another server.
        foreign: dict[str, Any] = {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()}
        return openai.OpenAI(
            api_key=key,
            base_url=self.base_url,
            max_retries=0,
            default_headers=None if self.is_openai else foreign,
        )

    def _content(self, messages: list[dict[str, str]], deadline: float) -> str:
        """The text of one answer, asking for JSON as strictly as the server is known to accept."""
        server = (self.base_url, self.model)
        key = self._key()
        with self._client(key) as client:
            for rung in range(self._known_rungs.get(server, 0), len(_RUNGS)):
                try:
                    content = _read_answer(self._request(client, key, messages, _RUNGS[rung], deadline), key)
                except errors.RequestRefusedError as error:
                    if rung + 1 < len(_RUNGS) and _ABOUT_FORMAT.search(str(error)):
                        continue
                    raise
                self._known_rungs[server] = rung
                return content
        raise AssertionError("the last rung returns or raises")

    def _request(
        self,
        client: "openai.OpenAI",
        key: str,
        messages: list[dict[str, str]],
        form: dict[str, Any] | None,
        deadline: float,
    ) -> bytes:
        """Body of one response, read piece by piece so that a slow drip cannot outlast the deadline."""
        import httpx2
        import openai

        remaining = deadline - monotonic()
        if remaining <= 0:
            raise self._timed_out()
        extra: dict[str, Any] = {} if form is None else {"response_format": form}
        body = b""
        try:
            with client.chat.completions.with_streaming_response.create(
                model=self.model,
                messages=messages,  # type: ignore[arg-type]  # plain mappings of the same shape
                timeout=remaining,
                **extra,
            ) as response:
                for block in response.iter_bytes():
                    body += block
                    if monotonic() > deadline:
                        raise self._timed_out()
                    if len(body) > _MAX_REPLY_BYTES:
                        raise errors.ProtocolError(f"{self.base_url} sent more than 2 MB; that is no plan.")
        except openai.APITimeoutError:
            raise self._timed_out() from None
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            raise self._unreachable(error) from None
        except openai.APIStatusError as error:
            raise self._refused(error, key) from None
        except openai.OpenAIError as error:
            raise errors.PlannerError(f"the planner failed: {redact(str(error), key)}") from None
        return body

    def _timed_out(self) -> errors.PlannerTimeoutError:
        return errors.PlannerTimeoutError(
            f"{self.base_url} gave no whole answer within {self.deadline_s:g} s; try again, raise deadline_s, "
            "or use planner='rules'."
        )

    def _unreachable(self, error: Exception) -> errors.PlannerConnectionError:
        local = urlparse(self.base_url).hostname in ("localhost", "127.0.0.1", "::1")
        hint = " If a proxy is set, add it to NO_PROXY=127.0.0.1,localhost." if local else ""
        return errors.PlannerConnectionError(
            f"{self.base_url} can't be reached or broke off ({type(error).__name__}). "
            f"Check the address and the network.{hint}"
        )

    def _refused(self, error: "openai.APIStatusError", key: str) -> errors.PlannerError:
        """The typed error of an HTTP status."""
        status, code = error.status_code, str(getattr(error, "code", "") or "")
        detail = redact(str(error.body if isinstance(error.body, dict) else error.message), key)
        if status in (401, 403):
            return errors.KeyRefusedError(
                f"{self.base_url} refused the key from {self.api_key_env}: {detail}. Set it again."
            )
        if status == 404:
            return errors.UnknownModelError(
                f"model {self.model!r} is not available at {self.base_url}: {detail}. "
                f"Choose another with {MODEL_ENV} or model=..."
            )
        if status == 429 and "quota" in f"{code} {detail}".lower():
            return errors.QuotaError(f"the account has no credit left: {detail}")
        if status in (408, 409) or status >= 500:
            return errors.ServerError(f"{self.base_url} failed with status {status}: {detail}")
        if status == 429:
            limited = errors.RateLimitedError(
                f"{self.base_url} limits the rate of requests: {detail}. Wait and try again."
            )
            limited.retry_after_s = _retry_after(error)
            return limited
        return errors.RequestRefusedError(f"{self.base_url} does not accept the request (status {status}): {detail}")


def redact(text: str, key: str) -> str:
    """Text of a server without the key, or anything that looks like one, and not too long."""
    if len(key) >= 6:
        text = text.replace(key, "[key]")
    return clean_text(_KEY_LIKE.sub("[key]", text))[:_MAX_DETAIL_CHARACTERS]


def _retry_after(error: "openai.APIStatusError") -> float | None:
    value = error.response.headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        return None


def _read_answer(body: bytes, key: str) -> str:
    """Text of a chat completion.

    Raises:
        ProtocolError: If the body is none.
        RefusalError: If the model declined.
        TruncatedError: If it ran out of room.
        MalformedPlanError: If it said nothing.
    """
    try:
        answer = json.loads(body)
        choice = answer["choices"][0]
        message = choice["message"]
        finish, refusal, content = choice.get("finish_reason"), message.get("refusal"), message.get("content")
    except (ValueError, LookupError, TypeError, AttributeError):
        shown = redact(body[:200].decode("utf-8", "replace"), key)
        raise errors.ProtocolError(
            f"the server answered with something that is no chat completion: {shown!r}. A base_url usually ends in /v1."
        ) from None
    if refusal or finish == "content_filter":
        said = redact(str(refusal or "its content filter stopped it"), key)
        raise errors.RefusalError(f"the planner declined: {said}. Word the request differently.")
    if finish == "length":
        raise errors.TruncatedError("the planner's answer was cut off at its length limit; ask for fewer sounds.")
    if not isinstance(content, str) or not content.strip():
        raise errors.MalformedPlanError("the planner answered with no text.")
    return content
