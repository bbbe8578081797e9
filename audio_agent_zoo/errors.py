"""Errors a caller may want to catch, each with a message that says what to do next."""


class AudioAgentError(Exception):
    """Base of every error this package raises on purpose, save `ValueError` for a wrong argument."""


class MediaError(AudioAgentError):
    """An audio or video file can't be read or written."""


class WeightsError(AudioAgentError):
    """Weights are missing, damaged, of another architecture or of a newer format."""


class GatedRepoError(WeightsError):
    """A Hub repository wants its terms accepted first; the message lists the steps."""


class UnsafePickleError(WeightsError):
    """A pickle asks for more than plain arrays; nothing of it was run."""


class RenderError(AudioAgentError):
    """A step of a plan could not be turned into sound."""


class SessionError(AudioAgentError):
    """A session's folder is in use elsewhere, damaged, or of a later format."""


# Planner errors live in `audio_agent_zoo.planner`, beside the protocol they describe.
