"""audio_agent_zoo: generate, edit and compose sound from text or video."""

__version__ = "0.1.0"
