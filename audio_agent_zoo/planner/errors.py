"""What can go wrong between a request and a plan; each error says what to do next."""

from audio_agent_zoo.errors import AudioAgentError


class PlannerError(AudioAgentError):
    """A planner gave no plan.

    Attributes:
        kind: Stable short name for programs.
        retryable: Whether the same request may succeed later.
        retry_after_s: Seconds the server asked to wait, or None.
    """

    kind = "failed"
    retryable = False
    retry_after_s: float | None = None


class MissingKeyError(PlannerError):
    """No key is configured."""

    kind = "no_key"


class KeyRefusedError(PlannerError):
    """The API refused the key."""

    kind = "auth"


class UnknownModelError(PlannerError):
    """The API has no such model."""

    kind = "model"


class QuotaError(PlannerError):
    """The account has no credit left."""

    kind = "quota"


class RateLimitedError(PlannerError):
    """Too many requests for now."""

    kind = "rate_limit"
    retryable = True


class PlannerTimeoutError(PlannerError):
    """No whole answer before the deadline."""

    kind = "timeout"
    retryable = True


class PlannerConnectionError(PlannerError):
    """The API can't be reached, or broke off."""

    kind = "connection"
    retryable = True


class ServerError(PlannerError):
    """The API failed on its side."""

    kind = "server"
    retryable = True


class RequestRefusedError(PlannerError):
    """The API does not accept the request."""

    kind = "request"


class ProtocolError(PlannerError):
    """What answered is no chat API."""

    kind = "protocol"


class RefusalError(PlannerError):
    """The model declined to plan this."""

    kind = "refused"


class QuestionError(PlannerError):
    """The planner needs to know more; its question is the message."""

    kind = "ask"


class TruncatedError(PlannerError):
    """The answer was cut off at its length limit."""

    kind = "truncated"


class MalformedPlanError(PlannerError):
    """The answer holds no plan."""

    kind = "malformed"
    retryable = True


class LanguageError(PlannerError):
    """The offline rules don't read this language."""

    kind = "language"


class NotRecordedError(PlannerError):
    """A recorded conversation took another way."""

    kind = "not_recorded"
