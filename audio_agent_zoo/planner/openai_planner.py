"""Planning by a chat API: OpenAI's, or any server that speaks its protocol."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlparse

from audio_agent_zoo.planner import errors
from audio_agent_zoo.planner.chat_planner import MAX_DETAIL_CHARACTERS, ChatPlanner
from audio_agent_zoo.planner.plan import clean_text
from audio_agent_zoo.planner.prompts import WIRE_SCHEMA

if TYPE_CHECKING:
    import openai

DEFAULT_MODEL = "gpt-4.1"
MODEL_ENV, BASE_URL_ENV, KEY_ENV = (
    "AUDIO_AGENT_PLANNER_MODEL",
    "AUDIO_AGENT_PLANNER_BASE_URL",
    "AUDIO_AGENT_PLANNER_API_KEY",
)
_OPENAI_HOST = "api.openai.com"
_MAX_REPLY_BYTES = 2_000_000
_KEY_LIKE = re.compile(r"\b(?:sk|pk|key|hf)[-_][A-Za-z0-9_*.\-]{4,}", re.I)
_ABOUT_FORMAT = re.compile(r"response_format|json_schema|json_object|schema|grammar|structured|format", re.I)
_RUNGS: tuple[dict[str, Any] | None, ...] = (
    {"type": "json_schema", "json_schema": {"name": "sound_plan", "strict": True, "schema": WIRE_SCHEMA}},
    {"type": "json_object"},
    None,
)
"""Ways to ask for JSON, the strictest first; servers differ in which they know."""


class OpenAIPlanner(ChatPlanner):
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
        record: File that every answer is added to, for a `RecordedPlanner`.

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
        record: str | Path | None = None,
    ) -> None:
        self.base_url = base_url or os.environ.get(BASE_URL_ENV) or f"https://{_OPENAI_HOST}/v1"
        self.is_openai = urlparse(self.base_url).hostname == _OPENAI_HOST
        model = model or os.environ.get(MODEL_ENV) or (DEFAULT_MODEL if self.is_openai else "")
        if not model:
            raise ValueError(f"{self.base_url} needs a model name; give model=... or set {MODEL_ENV}.")
        self.api_key_env = api_key_env or ("OPENAI_API_KEY" if self.is_openai else KEY_ENV)
        super().__init__(
            model,
            deadline_s=deadline_s,
            max_attempts=max_attempts,
            max_polyphony=max_polyphony,
            on_wait=on_wait,
            record=record,
        )

    def __repr__(self) -> str:
        """Model and server; never a key."""
        return f"OpenAIPlanner(model={self.model!r}, base_url={self.base_url!r}, api_key_env={self.api_key_env!r})"

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
    return clean_text(_KEY_LIKE.sub("[key]", text))[:MAX_DETAIL_CHARACTERS]


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
