"""A conversation had again from a file: the planner's answers as they were recorded, without a chat API."""

from pathlib import Path

from audio_agent_zoo.planner.chat_planner import ChatPlanner
from audio_agent_zoo.planner.recording import RecordedAnswers


class RecordedPlanner(ChatPlanner):
    """Plans as a chat planner did while it was recorded; anything else is an error, never a guess.

    Args:
        path: The file that `OpenAIPlanner(record=path)` or `audio-agent chat --record` wrote.
        max_polyphony: Most sounds at once, as when it was recorded.

    Raises:
        MediaError: If the file can't be read.
        ValueError: If it is no recording, or one made with other instructions.
    """

    def __init__(self, path: str | Path, *, max_polyphony: int = 2) -> None:
        self._answers = RecordedAnswers(path)
        super().__init__(self._answers.model, max_polyphony=max_polyphony)

    def __repr__(self) -> str:
        """File and model."""
        return f"RecordedPlanner({str(self._answers.path)!r}, model={self.model!r})"

    def _content(self, messages: list[dict[str, str]], deadline: float) -> str:
        return self._answers.next(messages)
